/* Closed process groups. The cpg_zcb_* calls are being removed upstream and are left out. */

#define CPG_MODEL_V1 ...
#define CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF ...
#define CPG_TYPE_AGREED ...
#define CPG_FLOW_CONTROL_ENABLED ...
#define CPG_MAX_NAME_LENGTH ...
#define CPG_MEMBERS_MAX ...
#define CPG_ITERATION_ALL ...

typedef uint64_t cpg_handle_t;
typedef uint64_t cpg_iteration_handle_t;
typedef int... cpg_guarantee_t;
typedef int... cpg_flow_control_state_t;
typedef int... cpg_iteration_type_t;
typedef int... cpg_model_t;

struct iovec {
    void *iov_base;
    size_t iov_len;
};

struct cpg_address {
    uint32_t nodeid;
    uint32_t pid;
    uint32_t reason;
    ...;
};

struct cpg_name {
    uint32_t length;
    char value[...];
    ...;
};

struct cpg_iteration_description_t {
    struct cpg_name group;
    uint32_t nodeid;
    uint32_t pid;
    ...;
};

struct cpg_ring_id {
    uint32_t nodeid;
    uint64_t seq;
};

typedef void (*cpg_deliver_fn_t)(cpg_handle_t handle, const struct cpg_name *group, uint32_t nodeid, uint32_t pid,
                                 void *msg, size_t msg_len);
typedef void (*cpg_confchg_fn_t)(cpg_handle_t handle, const struct cpg_name *group,
                                 const struct cpg_address *member_list, size_t member_list_entries,
                                 const struct cpg_address *left_list, size_t left_list_entries,
                                 const struct cpg_address *joined_list, size_t joined_list_entries);
typedef void (*cpg_totem_confchg_fn_t)(cpg_handle_t handle, struct cpg_ring_id ring_id,
                                       uint32_t member_list_entries, const uint32_t *member_list);

typedef struct {
    cpg_model_t model;
    ...;
} cpg_model_data_t;

typedef struct {
    cpg_model_t model;
    cpg_deliver_fn_t cpg_deliver_fn;
    cpg_confchg_fn_t cpg_confchg_fn;
    cpg_totem_confchg_fn_t cpg_totem_confchg_fn;
    unsigned int flags;
    ...;
} cpg_model_v1_data_t;

cs_error_t cpg_model_initialize(cpg_handle_t *handle, cpg_model_t model, cpg_model_data_t *model_data, void *context);
cs_error_t cpg_finalize(cpg_handle_t handle);
cs_error_t cpg_fd_get(cpg_handle_t handle, int *fd);
cs_error_t cpg_dispatch(cpg_handle_t handle, cs_dispatch_flags_t dispatch_types);
cs_error_t cpg_max_atomic_msgsize_get(cpg_handle_t handle, uint32_t *size);
cs_error_t cpg_join(cpg_handle_t handle, const struct cpg_name *group);
cs_error_t cpg_leave(cpg_handle_t handle, const struct cpg_name *group);
cs_error_t cpg_mcast_joined(cpg_handle_t handle, cpg_guarantee_t guarantee, const struct iovec *iovec,
                            unsigned int iov_len);
cs_error_t cpg_membership_get(cpg_handle_t handle, struct cpg_name *groupName, struct cpg_address *member_list,
                              int *member_list_entries);
cs_error_t cpg_local_get(cpg_handle_t handle, unsigned int *local_nodeid);
cs_error_t cpg_flow_control_state_get(cpg_handle_t handle, cpg_flow_control_state_t *flow_control_enabled);
cs_error_t cpg_iteration_initialize(cpg_handle_t handle, cpg_iteration_type_t iteration_type,
                                    const struct cpg_name *group, cpg_iteration_handle_t *cpg_iteration_handle);
cs_error_t cpg_iteration_next(cpg_iteration_handle_t handle, struct cpg_iteration_description_t *description);
cs_error_t cpg_iteration_finalize(cpg_iteration_handle_t handle);

extern "Python" {
    void cpg_delivered(cpg_handle_t, const struct cpg_name *, uint32_t, uint32_t, void *, size_t);
    void cpg_group_changed(cpg_handle_t, const struct cpg_name *, const struct cpg_address *, size_t,
                           const struct cpg_address *, size_t, const struct cpg_address *, size_t);
    void cpg_ring_changed(cpg_handle_t, struct cpg_ring_id, uint32_t, const uint32_t *);
}
