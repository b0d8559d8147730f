/* Who is there, and are we quorate: corosync's own answer, whatever provider gives it. */

#define QUORUM_MODEL_V1 ...
#define CS_TRACK_CURRENT ...
#define CS_TRACK_CHANGES_ONLY ...

typedef uint64_t quorum_handle_t;
typedef int... quorum_model_t;

struct quorum_ring_id {
    uint32_t nodeid;
    uint64_t seq;
};

typedef void (*quorum_v1_quorum_notification_fn_t)(quorum_handle_t handle, uint32_t quorate,
                                                   struct quorum_ring_id ring_id,
                                                   uint32_t member_list_entries, const uint32_t *member_list);
typedef void (*quorum_v1_nodelist_notification_fn_t)(quorum_handle_t handle, struct quorum_ring_id ring_id,
                                                     uint32_t member_list_entries, const uint32_t *member_list,
                                                     uint32_t joined_list_entries, const uint32_t *joined_list,
                                                     uint32_t left_list_entries, const uint32_t *left_list);

typedef struct {
    quorum_model_t model;
    ...;
} quorum_model_data_t;

typedef struct {
    quorum_model_t model;
    quorum_v1_quorum_notification_fn_t quorum_notify_fn;
    quorum_v1_nodelist_notification_fn_t nodelist_notify_fn;
    ...;
} quorum_model_v1_data_t;

cs_error_t quorum_model_initialize(quorum_handle_t *handle, quorum_model_t model, quorum_model_data_t *model_data,
                                   uint32_t *quorum_type, void *context);
cs_error_t quorum_finalize(quorum_handle_t handle);
cs_error_t quorum_fd_get(quorum_handle_t handle, int *fd);
cs_error_t quorum_dispatch(quorum_handle_t handle, cs_dispatch_flags_t dispatch_types);
cs_error_t quorum_getquorate(quorum_handle_t handle, int *quorate);
cs_error_t quorum_trackstart(quorum_handle_t handle, unsigned int flags);
cs_error_t quorum_trackstop(quorum_handle_t handle);

extern "Python" {
    void quorum_changed(quorum_handle_t, uint32_t, struct quorum_ring_id, uint32_t, const uint32_t *);
    void quorum_nodelist_changed(quorum_handle_t, struct quorum_ring_id, uint32_t, const uint32_t *,
                                 uint32_t, const uint32_t *, uint32_t, const uint32_t *);
}
