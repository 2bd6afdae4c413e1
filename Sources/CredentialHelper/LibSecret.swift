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
        Self.nameRuntimeDirectory()
        guard let library = dlopen("libsecret-1.so.0", RTLD_LAZY | RTLD_LOCAL) else { throw Self.fault() }
        free = try Self.function("g_error_free", in: library)
        unref = try Self.function("g_object_unref", in: library)
        newTable = try Self.function("g_hash_table_new_full", in: library)
        insert = try Self.function("g_hash_table_insert", in: library)
        lookup = try Self.function("g_hash_table_lookup", in: library)
        unrefTable = try Self.function("g_hash_table_unref", in: library)
        hashText = try Self.function("g_str_hash", in: library)
        equalTexts = try Self.function("g_str_equal", in: library)
        freeMemory = try Self.function("g_free", in: library)
        append = try Self.function("g_list_append", in: library)
        length = try Self.function("g_list_length", in: library)
        element = try Self.function("g_list_nth_data", in: library)
        freeList = try Self.function("g_list_free", in: library)
        newCancellable = try Self.function("g_cancellable_new", in: library)
        cancel = try Self.function("g_cancellable_cancel", in: library)
        isCancelled = try Self.function("g_cancellable_is_cancelled", in: library)
        stripRemoteError = try Self.function("g_dbus_error_strip_remote_error", in: library)
        remoteError = try Self.function("g_dbus_error_get_remote_error", in: library)
        call = try Self.function("g_dbus_proxy_call_sync", in: library)
        newString = try Self.function("g_variant_new_string", in: library)
        newVariant = try Self.function("g_variant_new_variant", in: library)
        newTuple = try Self.function("g_variant_new_tuple", in: library)
        child = try Self.function("g_variant_get_child_value", in: library)
        typeString = try Self.function("g_variant_get_type_string", in: library)
        fixedArray = try Self.function("g_variant_get_fixed_array", in: library)
        unrefVariant = try Self.function("g_variant_unref", in: library)
        service = try Self.function("secret_service_get_sync", in: library)
        search = try Self.function("secret_service_search_sync", in: library)
        unlock = try Self.function("secret_service_unlock_sync", in: library)
        store = try Self.function("secret_service_store_sync", in: library)
        collection = try Self.function("secret_collection_for_alias_sync", in: library)
        isCollectionLocked = try Self.function("secret_collection_get_locked", in: library)
        isItemLocked = try Self.function("secret_item_get_locked", in: library)
        attributes = try Self.function("secret_item_get_attributes", in: library)
        modified = try Self.function("secret_item_get_modified", in: library)
        loadSecret = try Self.function("secret_item_load_secret_sync", in: library)
        secret = try Self.function("secret_item_get_secret", in: library)
        delete = try Self.function("secret_item_delete_sync", in: library)
        newValue = try Self.function("secret_value_new", in: library)
        value = try Self.function("secret_value_get", in: library)
        unrefValue = try Self.function("secret_value_unref", in: library)
    }

    /// Looks a function up; its type is that of the property that takes it, which the header ties to the name.
    private static func function<Function>(
        _ name: String,
        in library: UnsafeMutableRawPointer
    ) throws(KeyringFault) -> Function {
        guard let symbol = dlsym(library, name) else { throw fault() }
        return unsafeBitCast(symbol, to: Function.self)
    }

    /// Says where the person's session bus is, if the environment does not: under `su`, `cron` and the like there may be
    /// a session all the same.
    ///
    /// Left alone, GLib would take `~/.cache` for that directory and make it (`g_get_user_runtime_dir`).
    private static func nameRuntimeDirectory() {
        let isNamed = getenv("XDG_RUNTIME_DIR").map { $0.pointee != 0 } ?? false
        if !isNamed { setenv("XDG_RUNTIME_DIR", "/run/user/\(geteuid())", 1) }
    }

    private static func fault() -> KeyringFault {
        KeyringFault(.noLibrary, dlerror().map { String(cString: $0) } ?? "libsecret-1.so.0 cannot be loaded")
    }
}
