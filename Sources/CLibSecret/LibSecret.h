// What docker-credential-ram calls of libsecret-1 and of the GLib under it, as their headers declare it.
//
// The library is loaded by dlopen, and only when the keyring is needed: a refused registry must not pay for it. So
// nothing here may be called by name; each function has a pointer type `ram_<function>`, under which Swift looks it up.
// Written out rather than taken from the library's own headers, whose pkg-config names libraries for the link line
// and would bring the library back in. A test compiles this file together with those headers.
#ifndef DOCKER_RAM_LIBSECRET_H
#define DOCKER_RAM_LIBSECRET_H

// Types; skipped where the library's own headers have been read before.
#ifndef __G_LIB_H__

typedef char gchar;
typedef int gint;
typedef gint gboolean;
typedef unsigned int guint;
typedef unsigned int guint32;
typedef unsigned long gsize;
typedef unsigned long guint64;
typedef long gssize;
typedef void *gpointer;
typedef const void *gconstpointer;

typedef struct _GHashTable GHashTable;
typedef struct _GList GList;
typedef struct _GCancellable GCancellable;
typedef struct _GVariant GVariant;
typedef struct _GDBusProxy GDBusProxy;

typedef struct _GError {
    guint32 domain;
    gint code;
    gchar *message;
} GError;

typedef struct _SecretService SecretService;
typedef struct _SecretCollection SecretCollection;
typedef struct _SecretItem SecretItem;
typedef struct _SecretValue SecretValue;
typedef struct _SecretSchema SecretSchema;

typedef guint (*GHashFunc)(gconstpointer key);
typedef gboolean (*GEqualFunc)(gconstpointer a, gconstpointer b);
typedef void (*GDestroyNotify)(gpointer data);

typedef enum { G_DBUS_CALL_FLAGS_NONE = 0 } GDBusCallFlags;
typedef enum { SECRET_SERVICE_NONE = 0 } SecretServiceFlags;
typedef enum { SECRET_SEARCH_NONE = 0, SECRET_SEARCH_ALL = 1 << 1 } SecretSearchFlags;
typedef enum { SECRET_COLLECTION_NONE = 0 } SecretCollectionFlags;

#endif

// Functions.

void g_free(gpointer mem);
void g_error_free(GError *error);
void g_object_unref(gpointer object);
GHashTable *g_hash_table_new_full(
    GHashFunc hash_func, GEqualFunc key_equal_func, GDestroyNotify key_destroy_func, GDestroyNotify value_destroy_func);
gboolean g_hash_table_insert(GHashTable *hash_table, gpointer key, gpointer value);
gpointer g_hash_table_lookup(GHashTable *hash_table, gconstpointer key);
void g_hash_table_unref(GHashTable *hash_table);
guint g_str_hash(gconstpointer v);
gboolean g_str_equal(gconstpointer v1, gconstpointer v2);
GList *g_list_append(GList *list, gpointer data);
guint g_list_length(GList *list);
gpointer g_list_nth_data(GList *list, guint n);
void g_list_free(GList *list);
GCancellable *g_cancellable_new(void);
void g_cancellable_cancel(GCancellable *cancellable);
gboolean g_cancellable_is_cancelled(GCancellable *cancellable);
gboolean g_dbus_error_strip_remote_error(GError *error);
gchar *g_dbus_error_get_remote_error(const GError *error);
GVariant *g_dbus_proxy_call_sync(
    GDBusProxy *proxy, const gchar *method_name, GVariant *parameters, GDBusCallFlags flags, gint timeout_msec,
    GCancellable *cancellable, GError **error);
GVariant *g_variant_new_string(const gchar *string);
GVariant *g_variant_new_variant(GVariant *value);
GVariant *g_variant_new_tuple(GVariant *const *children, gsize n_children);
GVariant *g_variant_get_child_value(GVariant *value, gsize index_);
const gchar *g_variant_get_type_string(GVariant *value);
gconstpointer g_variant_get_fixed_array(GVariant *value, gsize *n_elements, gsize element_size);
void g_variant_unref(GVariant *value);

SecretService *secret_service_get_sync(SecretServiceFlags flags, GCancellable *cancellable, GError **error);
GList *secret_service_search_sync(
    SecretService *service, const SecretSchema *schema, GHashTable *attributes, SecretSearchFlags flags,
    GCancellable *cancellable, GError **error);
gint secret_service_unlock_sync(
    SecretService *service, GList *objects, GCancellable *cancellable, GList **unlocked, GError **error);
gboolean secret_service_store_sync(
    SecretService *service, const SecretSchema *schema, GHashTable *attributes, const gchar *collection,
    const gchar *label, SecretValue *value, GCancellable *cancellable, GError **error);
SecretCollection *secret_collection_for_alias_sync(
    SecretService *service, const gchar *alias, SecretCollectionFlags flags, GCancellable *cancellable, GError **error);
gboolean secret_collection_get_locked(SecretCollection *self);
gboolean secret_item_get_locked(SecretItem *self);
GHashTable *secret_item_get_attributes(SecretItem *self);
guint64 secret_item_get_modified(SecretItem *self);
gboolean secret_item_load_secret_sync(SecretItem *self, GCancellable *cancellable, GError **error);
SecretValue *secret_item_get_secret(SecretItem *self);
gboolean secret_item_delete_sync(SecretItem *self, GCancellable *cancellable, GError **error);
SecretValue *secret_value_new(const gchar *secret, gssize length, const gchar *content_type);
const gchar *secret_value_get(SecretValue *value, gsize *length);
void secret_value_unref(gpointer value);

// The types of the functions above; `ram_x` is the type of a pointer to `x`.
typedef __typeof__(&g_free) ram_g_free;
typedef __typeof__(&g_error_free) ram_g_error_free;
typedef __typeof__(&g_object_unref) ram_g_object_unref;
typedef __typeof__(&g_hash_table_new_full) ram_g_hash_table_new_full;
typedef __typeof__(&g_hash_table_insert) ram_g_hash_table_insert;
typedef __typeof__(&g_hash_table_lookup) ram_g_hash_table_lookup;
typedef __typeof__(&g_hash_table_unref) ram_g_hash_table_unref;
typedef __typeof__(&g_str_hash) ram_g_str_hash;
typedef __typeof__(&g_str_equal) ram_g_str_equal;
typedef __typeof__(&g_list_append) ram_g_list_append;
typedef __typeof__(&g_list_length) ram_g_list_length;
typedef __typeof__(&g_list_nth_data) ram_g_list_nth_data;
typedef __typeof__(&g_list_free) ram_g_list_free;
typedef __typeof__(&g_cancellable_new) ram_g_cancellable_new;
typedef __typeof__(&g_cancellable_cancel) ram_g_cancellable_cancel;
typedef __typeof__(&g_cancellable_is_cancelled) ram_g_cancellable_is_cancelled;
typedef __typeof__(&g_dbus_error_strip_remote_error) ram_g_dbus_error_strip_remote_error;
typedef __typeof__(&g_dbus_error_get_remote_error) ram_g_dbus_error_get_remote_error;
typedef __typeof__(&g_dbus_proxy_call_sync) ram_g_dbus_proxy_call_sync;
typedef __typeof__(&g_variant_new_string) ram_g_variant_new_string;
typedef __typeof__(&g_variant_new_variant) ram_g_variant_new_variant;
typedef __typeof__(&g_variant_new_tuple) ram_g_variant_new_tuple;
typedef __typeof__(&g_variant_get_child_value) ram_g_variant_get_child_value;
typedef __typeof__(&g_variant_get_type_string) ram_g_variant_get_type_string;
typedef __typeof__(&g_variant_get_fixed_array) ram_g_variant_get_fixed_array;
typedef __typeof__(&g_variant_unref) ram_g_variant_unref;
typedef __typeof__(&secret_service_get_sync) ram_secret_service_get_sync;
typedef __typeof__(&secret_service_search_sync) ram_secret_service_search_sync;
typedef __typeof__(&secret_service_unlock_sync) ram_secret_service_unlock_sync;
typedef __typeof__(&secret_service_store_sync) ram_secret_service_store_sync;
typedef __typeof__(&secret_collection_for_alias_sync) ram_secret_collection_for_alias_sync;
typedef __typeof__(&secret_collection_get_locked) ram_secret_collection_get_locked;
typedef __typeof__(&secret_item_get_locked) ram_secret_item_get_locked;
typedef __typeof__(&secret_item_get_attributes) ram_secret_item_get_attributes;
typedef __typeof__(&secret_item_get_modified) ram_secret_item_get_modified;
typedef __typeof__(&secret_item_load_secret_sync) ram_secret_item_load_secret_sync;
typedef __typeof__(&secret_item_get_secret) ram_secret_item_get_secret;
typedef __typeof__(&secret_item_delete_sync) ram_secret_item_delete_sync;
typedef __typeof__(&secret_value_new) ram_secret_value_new;
typedef __typeof__(&secret_value_get) ram_secret_value_get;
typedef __typeof__(&secret_value_unref) ram_secret_value_unref;

#endif
