/* What every library of corosync shares; read before each of the others. */

#define CS_DISPATCH_ONE_NONBLOCKING ...

typedef int... cs_error_t;
typedef int... cs_dispatch_flags_t;
