import CLibSecret
import Glibc

/// libsecret and the GLib under it, loaded when this is made and not before.
struct LibSecret {
    let free: ram_g_error_free
    let unref: ram_g_object_unref
    let newTable: ram_g_hash_table_new_full
    let insert: ram_g_hash_table_insert
    let lookup: ram_g_hash_table_lookup
    let unrefTable: ram_g_hash_table_unref
    let hashText: ram_g_str_hash
    let equalTexts: ram_g_str_equal
    let freeMemory: ram_g_free
    let append: ram_g_list_append
    let length: ram_g_list_length
    let element: ram_g_list_nth_data
    let freeList: ram_g_list_free
    let newCancellable: ram_g_cancellable_new
    let cancel: ram_g_cancellable_cancel
    let isCancelled: ram_g_cancellable_is_cancelled
    let stripRemoteError: ram_g_dbus_error_strip_remote_error
    let remoteError: ram_g_dbus_error_get_remote_error

    let call: ram_g_dbus_proxy_call_sync
    let newString: ram_g_variant_new_string
    let newVariant: ram_g_variant_new_variant
    let newTuple: ram_g_variant_new_tuple
    let child: ram_g_variant_get_child_value
    let typeString: ram_g_variant_get_type_string
    let fixedArray: ram_g_variant_get_fixed_array
    let unrefVariant: ram_g_variant_unref

    let service: ram_secret_service_get_sync
    let search: ram_secret_service_search_sync
    let unlock: ram_secret_service_unlock_sync
    let store: ram_secret_service_store_sync
    let collection: ram_secret_collection_for_alias_sync
    let isCollectionLocked: ram_secret_collection_get_locked
    let isItemLocked: ram_secret_item_get_locked
    let attributes: ram_secret_item_get_attributes
    let modified: ram_secret_item_get_modified
    let loadSecret: ram_secret_item_load_secret_sync
    let secret: ram_secret_item_get_secret
    let delete: ram_secret_item_delete_sync
    let newValue: ram_secret_value_new
    let value: ram_secret_value_get
    let unrefValue: ram_secret_value_unref

    /// Loads the library.
    ///
    /// - Throws: ``KeyringFault`` with the loader's own words.
    init() throws(KeyringFault) {
        guard let library = dlopen("libsecret-1.so.0", RTLD_LAZY | RTLD_LOCAL) else { throw Self.fault() }
        func symbol(_ name: String) throws(KeyringFault) -> UnsafeMutableRawPointer {
            guard let symbol = dlsym(library, name) else { throw Self.fault() }
            return symbol
        }
        free = unsafeBitCast(try symbol("g_error_free"), to: ram_g_error_free.self)
        unref = unsafeBitCast(try symbol("g_object_unref"), to: ram_g_object_unref.self)
        newTable = unsafeBitCast(try symbol("g_hash_table_new_full"), to: ram_g_hash_table_new_full.self)
        insert = unsafeBitCast(try symbol("g_hash_table_insert"), to: ram_g_hash_table_insert.self)
        lookup = unsafeBitCast(try symbol("g_hash_table_lookup"), to: ram_g_hash_table_lookup.self)
        unrefTable = unsafeBitCast(try symbol("g_hash_table_unref"), to: ram_g_hash_table_unref.self)
        hashText = unsafeBitCast(try symbol("g_str_hash"), to: ram_g_str_hash.self)
        equalTexts = unsafeBitCast(try symbol("g_str_equal"), to: ram_g_str_equal.self)
        freeMemory = unsafeBitCast(try symbol("g_free"), to: ram_g_free.self)
        append = unsafeBitCast(try symbol("g_list_append"), to: ram_g_list_append.self)
        length = unsafeBitCast(try symbol("g_list_length"), to: ram_g_list_length.self)
        element = unsafeBitCast(try symbol("g_list_nth_data"), to: ram_g_list_nth_data.self)
        freeList = unsafeBitCast(try symbol("g_list_free"), to: ram_g_list_free.self)
        newCancellable = unsafeBitCast(try symbol("g_cancellable_new"), to: ram_g_cancellable_new.self)
        cancel = unsafeBitCast(try symbol("g_cancellable_cancel"), to: ram_g_cancellable_cancel.self)
        isCancelled = unsafeBitCast(
            try symbol("g_cancellable_is_cancelled"),
            to: ram_g_cancellable_is_cancelled.self
        )
        stripRemoteError = unsafeBitCast(
            try symbol("g_dbus_error_strip_remote_error"),
            to: ram_g_dbus_error_strip_remote_error.self
        )
        remoteError = unsafeBitCast(
            try symbol("g_dbus_error_get_remote_error"),
            to: ram_g_dbus_error_get_remote_error.self
        )
        call = unsafeBitCast(try symbol("g_dbus_proxy_call_sync"), to: ram_g_dbus_proxy_call_sync.self)
        newString = unsafeBitCast(try symbol("g_variant_new_string"), to: ram_g_variant_new_string.self)
        newVariant = unsafeBitCast(try symbol("g_variant_new_variant"), to: ram_g_variant_new_variant.self)
        newTuple = unsafeBitCast(try symbol("g_variant_new_tuple"), to: ram_g_variant_new_tuple.self)
        child = unsafeBitCast(try symbol("g_variant_get_child_value"), to: ram_g_variant_get_child_value.self)
        typeString = unsafeBitCast(try symbol("g_variant_get_type_string"), to: ram_g_variant_get_type_string.self)
        fixedArray = unsafeBitCast(try symbol("g_variant_get_fixed_array"), to: ram_g_variant_get_fixed_array.self)
        unrefVariant = unsafeBitCast(try symbol("g_variant_unref"), to: ram_g_variant_unref.self)
        service = unsafeBitCast(try symbol("secret_service_get_sync"), to: ram_secret_service_get_sync.self)
        search = unsafeBitCast(try symbol("secret_service_search_sync"), to: ram_secret_service_search_sync.self)
        unlock = unsafeBitCast(try symbol("secret_service_unlock_sync"), to: ram_secret_service_unlock_sync.self)
        store = unsafeBitCast(try symbol("secret_service_store_sync"), to: ram_secret_service_store_sync.self)
        collection = unsafeBitCast(
            try symbol("secret_collection_for_alias_sync"),
            to: ram_secret_collection_for_alias_sync.self
        )
        isCollectionLocked = unsafeBitCast(
            try symbol("secret_collection_get_locked"),
            to: ram_secret_collection_get_locked.self
        )
        isItemLocked = unsafeBitCast(try symbol("secret_item_get_locked"), to: ram_secret_item_get_locked.self)
        attributes = unsafeBitCast(try symbol("secret_item_get_attributes"), to: ram_secret_item_get_attributes.self)
        modified = unsafeBitCast(try symbol("secret_item_get_modified"), to: ram_secret_item_get_modified.self)
        loadSecret = unsafeBitCast(
            try symbol("secret_item_load_secret_sync"),
            to: ram_secret_item_load_secret_sync.self
        )
        secret = unsafeBitCast(try symbol("secret_item_get_secret"), to: ram_secret_item_get_secret.self)
        delete = unsafeBitCast(try symbol("secret_item_delete_sync"), to: ram_secret_item_delete_sync.self)
        newValue = unsafeBitCast(try symbol("secret_value_new"), to: ram_secret_value_new.self)
        value = unsafeBitCast(try symbol("secret_value_get"), to: ram_secret_value_get.self)
        unrefValue = unsafeBitCast(try symbol("secret_value_unref"), to: ram_secret_value_unref.self)
    }

    private static func fault() -> KeyringFault {
        KeyringFault(.noLibrary, dlerror().map { String(cString: $0) } ?? "libsecret-1.so.0 cannot be loaded")
    }
}
