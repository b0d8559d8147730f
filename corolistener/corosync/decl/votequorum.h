/* Votes, expected votes and the quorum device. */

#define CS_TRACK_CURRENT ...
#define CS_TRACK_CHANGES_ONLY ...
#define VOTEQUORUM_QDEVICE_MAX_NAME_LEN ...

typedef uint64_t votequorum_handle_t;

struct votequorum_info {
    unsigned int node_id;
    unsigned int node_state;
    unsigned int node_votes;
    unsigned int node_expected_votes;
    unsigned int highest_expected;
    unsigned int total_votes;
    unsigned int quorum;
    unsigned int flags;
    unsigned int qdevice_votes;
    char qdevice_name[...];
    ...;
};

typedef struct {
    uint32_t nodeid;
    uint32_t state;
} votequorum_node_t;

typedef struct {
    uint32_t nodeid;
    uint64_t seq;
} votequorum_ring_id_t;

typedef void (*votequorum_quorum_notification_fn_t)(votequorum_handle_t handle, uint64_t context, uint32_t quorate,
                                                    uint32_t node_list_entries, votequorum_node_t node_list[]);
typedef void (*votequorum_nodelist_notification_fn_t)(votequorum_handle_t handle, uint64_t context,
                                                      votequorum_ring_id_t ring_id,
                                                      uint32_t node_list_entries, uint32_t node_list[]);
typedef void (*votequorum_expectedvotes_notification_fn_t)(votequorum_handle_t handle, uint64_t context,
                                                           uint32_t expected_votes);

typedef struct {
    votequorum_quorum_notification_fn_t votequorum_quorum_notify_fn;
    votequorum_expectedvotes_notification_fn_t votequorum_expectedvotes_notify_fn;
    votequorum_nodelist_notification_fn_t votequorum_nodelist_notify_fn;
    ...;
} votequorum_callbacks_t;

cs_error_t votequorum_initialize(votequorum_handle_t *handle, votequorum_callbacks_t *callbacks);
cs_error_t votequorum_finalize(votequorum_handle_t handle);
cs_error_t votequorum_fd_get(votequorum_handle_t handle, int *fd);
cs_error_t votequorum_dispatch(votequorum_handle_t handle, cs_dispatch_flags_t dispatch_types);
cs_error_t votequorum_getinfo(votequorum_handle_t handle, unsigned int nodeid, struct votequorum_info *info);
cs_error_t votequorum_setexpected(votequorum_handle_t handle, unsigned int expected_votes);
cs_error_t votequorum_setvotes(votequorum_handle_t handle, unsigned int nodeid, unsigned int votes);
cs_error_t votequorum_trackstart(votequorum_handle_t handle, uint64_t context, unsigned int flags);
cs_error_t votequorum_trackstop(votequorum_handle_t handle);
cs_error_t votequorum_qdevice_register(votequorum_handle_t handle, const char *name);
cs_error_t votequorum_qdevice_unregister(votequorum_handle_t handle, const char *name);
cs_error_t votequorum_qdevice_update(votequorum_handle_t handle, const char *oldname, const char *newname);
cs_error_t votequorum_qdevice_poll(votequorum_handle_t handle, const char *name, unsigned int cast_vote,
                                   votequorum_ring_id_t ring_id);
cs_error_t votequorum_qdevice_master_wins(votequorum_handle_t handle, const char *name, unsigned int allow);

extern "Python" {
    void votequorum_states_changed(votequorum_handle_t, uint64_t, uint32_t, uint32_t, votequorum_node_t *);
    void votequorum_nodelist_changed(votequorum_handle_t, uint64_t, votequorum_ring_id_t, uint32_t, uint32_t *);
    void votequorum_expected_changed(votequorum_handle_t, uint64_t, uint32_t);
}
