/* corosync's map of configuration, run-time state and statistics. The typed get and set calls are shortcuts of
   cmap_get and cmap_set, and this side of the door has its own. */

#define CMAP_KEYNAME_MAXLEN ...
#define CMAP_TRACK_PREFIX ...

typedef uint64_t cmap_handle_t;
typedef uint64_t cmap_iter_handle_t;
typedef uint64_t cmap_track_handle_t;
typedef int... cmap_value_types_t;
typedef int... cmap_map_t;

struct cmap_notify_value {
    cmap_value_types_t type;
    size_t len;
    const void *data;
};

typedef void (*cmap_notify_fn_t)(cmap_handle_t handle, cmap_track_handle_t track, int32_t event, const char *key_name,
                                 struct cmap_notify_value new_value, struct cmap_notify_value old_value,
                                 void *user_data);

cs_error_t cmap_initialize_map(cmap_handle_t *handle, cmap_map_t map);
cs_error_t cmap_finalize(cmap_handle_t handle);
cs_error_t cmap_fd_get(cmap_handle_t handle, int *fd);
cs_error_t cmap_dispatch(cmap_handle_t handle, cs_dispatch_flags_t dispatch_types);
cs_error_t cmap_set(cmap_handle_t handle, const char *key_name, const void *value, size_t value_len,
                    cmap_value_types_t type);
cs_error_t cmap_delete(cmap_handle_t handle, const char *key_name);
cs_error_t cmap_get(cmap_handle_t handle, const char *key_name, void *value, size_t *value_len,
                    cmap_value_types_t *type);
cs_error_t cmap_inc(cmap_handle_t handle, const char *key_name);
cs_error_t cmap_dec(cmap_handle_t handle, const char *key_name);
cs_error_t cmap_iter_init(cmap_handle_t handle, const char *prefix, cmap_iter_handle_t *cmap_iter_handle);
cs_error_t cmap_iter_next(cmap_handle_t handle, cmap_iter_handle_t iter_handle, char key_name[], size_t *value_len,
                          cmap_value_types_t *type);
cs_error_t cmap_iter_finalize(cmap_handle_t handle, cmap_iter_handle_t iter_handle);
cs_error_t cmap_track_add(cmap_handle_t handle, const char *key_name, int32_t track_type, cmap_notify_fn_t notify_fn,
                          void *user_data, cmap_track_handle_t *cmap_track_handle);
cs_error_t cmap_track_delete(cmap_handle_t handle, cmap_track_handle_t track_handle);

extern "Python" {
    void cmap_key_changed(cmap_handle_t, cmap_track_handle_t, int32_t, const char *,
                          struct cmap_notify_value, struct cmap_notify_value, void *);
}
