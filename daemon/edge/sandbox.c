/* Design. The lists are of what is allowed; they were made by watching each role at work (strace) and then cut to what it is for.
 * (B1) No role may make a process, run a program, open for writing what Landlock does not name, trace or signal others, or make memory
 *      executable. (B2) inbound opens nothing and connects to nobody: what it works with was given to it. */
#include "daemon/edge/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- calls --- */

static const int EVERYBODY[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getrandom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstat),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(membarrier),
};
static const int ACCEPTING[] = {SCMP_SYS(accept), SCMP_SYS(accept4)};
static const int CONNECTING[] = {SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg)};
static const int STORING[] = {SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
    SCMP_SYS(msync), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(sync_file_range), SCMP_SYS(flock),
    SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(openat), SCMP_SYS(access), SCMP_SYS(faccessat2), SCMP_SYS(unlink),
    SCMP_SYS(getdents64), SCMP_SYS(getrusage)};
/* For threads, once clone itself is allowed for them. */
static const int THREADING[] = {
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(prctl)};

/* What a role is, in these terms. */
struct powers {
    bool accepts, connects, reads, stores, threads, memory_files;
};

static struct powers powers_of(enum ipc_role role)
{
    switch (role) {
    case ROLE_INBOUND:
        return (struct powers){.accepts = true};
    case ROLE_OUTBOUND:
        return (struct powers){.connects = true, .reads = true};
    case ROLE_QUEUED:
        return (struct powers){.accepts = true, .stores = true, .threads = true};
    case ROLE_AUTH:
        return (struct powers){.reads = true, .threads = true};
    case ROLE_KEYS:
        return (struct powers){.memory_files = true};
    default:
        return (struct powers){0};
    }
}

bool sandbox_has_role(enum ipc_role role)
{
    return role == ROLE_INBOUND || role == ROLE_OUTBOUND || role == ROLE_QUEUED || role == ROLE_AUTH ||
           role == ROLE_KEYS;
}

static bool allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) != 0)
            return false;
    return true;
}

#define ALLOW(filter, calls) allow(filter, calls, COUNT_OF(calls))

static bool allow_if(scmp_filter_ctx filter, int call, struct scmp_arg_cmp condition)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, condition) == 0;
}

/* Calls whose arguments matter, for everybody. */
static bool allow_careful(scmp_filter_ctx filter)
{
    return allow_if(filter, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) &&
           allow_if(filter, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) &&
           allow_if(filter, SCMP_SYS(newfstatat), SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH)) &&
           allow_if(filter, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONBIO, 0)) &&
           allow_if(filter, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIOCLEX, 0)) &&
           allow_if(filter, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONREAD, 0)) &&
           allow_if(filter, SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0, 0)) && /* asking, not setting */
           allow_if(filter, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)); /* abort() */
}

static bool allow_sockets(scmp_filter_ctx filter, bool network, bool local)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    enum { TYPE_MASK = 0xf };

    for (size_t f = network ? 0 : 2; f < (local ? 3 : 2); f++)
        for (size_t t = 0; t < COUNT_OF(types); t++)
            if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[f], 0),
                    SCMP_A1(SCMP_CMP_MASKED_EQ, TYPE_MASK, (scmp_datum_t)types[t])) != 0)
                return false;
    return true;
}

static bool allow_role(scmp_filter_ctx filter, struct powers powers, bool local_sockets)
{
    static const unsigned writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
    bool good = ALLOW(filter, EVERYBODY) && allow_careful(filter);

    if (powers.accepts)
        good = good && ALLOW(filter, ACCEPTING);
    if (powers.connects || local_sockets)
        good = good && ALLOW(filter, CONNECTING) && allow_sockets(filter, powers.connects, local_sockets);
    if (powers.stores)
        good = good && ALLOW(filter, STORING);
    else if (powers.reads)
        good = good && allow_if(filter, SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0));
    if (powers.memory_files)
        good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(memfd_create), 0) == 0;
    if (powers.threads) /* clone3 hides its flags behind a pointer; without it glibc takes clone */
        good = good && ALLOW(filter, THREADING) &&
               allow_if(filter, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) &&
               seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
    return good;
}

static RESULT calls_restrict(struct powers powers, bool local_sockets)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    bool good = filter != NULL && seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
                seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 && /* a tree, not a list */
                allow_role(filter, powers, local_sockets);
    int sys = good ? -seccomp_load(filter) : EINVAL;

    seccomp_release(filter);
    return sys == 0 ? OK : FAIL_SYS(sys, "the kernel takes no seccomp filter (sandbox = false goes without)");
}

/* --- files --- */

/* Newer than the headers of the distribution. */
enum { LANDLOCK_TRUNCATE = 1 << 14, LANDLOCK_IOCTL_DEV = 1 << 15, LANDLOCK_ACCESS_V1 = (1 << 13) - 1 };
enum { LANDLOCK_SCOPE_ABSTRACT = 1 << 0, LANDLOCK_SCOPE_SIGNALS = 1 << 1, LANDLOCK_SCOPED_SINCE = 6 };

struct landlock_attributes { /* as of version 6 */
    uint64_t files, net, scoped;
};

static const uint64_t READING = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t WRITING = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                                LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                                LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_TRUNCATE;

struct files {
    int ruleset;
    uint64_t handled;
};

/* What is not there cannot be allowed, and needs not be. */
static bool file_allow(const struct files *files, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access & files->handled};
    struct stat st;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return true;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
    long added = syscall(SYS_landlock_add_rule, files->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return added == 0;
}

/* The folder that holds it: editors replace files by renaming, so the file itself will be another one. */
static bool folder_allow(const struct files *files, struct bytes path, uint64_t access)
{
    ptrdiff_t slash = bytes_rindex(path, '/');
    char folder[PATH_MAX];

    if (slash < 0 || snprintf(folder, sizeof folder, "%.*s", slash == 0 ? 1 : (int)slash, (const char *)path.data) >=
                         (int)sizeof folder)
        return true;
    return file_allow(files, folder, access);
}

static bool role_files_allow(const struct files *files, enum ipc_role role, const struct config *cfg)
{
    /* Of the resolver and of TLS; random octets for query ids, without which c-ares guesses its own. */
    static const char *const network[] = {"/dev/urandom", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/usr/lib/ssl"};
    bool good = true;

    if (role == ROLE_QUEUED) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/queue", (const char *)cfg->state_dir.data) < (int)sizeof path)
            good = file_allow(files, path, WRITING);
        for (size_t d = 0; d < cfg->domain_count; d++)
            for (size_t i = 0; i < cfg->domains[d].aliases.count; i++)
                good = good && folder_allow(files, cfg->domains[d].aliases.items[i], READING);
    }
    for (size_t i = 0; role == ROLE_OUTBOUND && i < COUNT_OF(network); i++)
        good = good && file_allow(files, network[i], READING);
    if (role == ROLE_AUTH)
        good = folder_allow(files, cfg->auth.users, LANDLOCK_ACCESS_FS_READ_FILE);
    return good;
}

static RESULT files_restrict(enum ipc_role role, const struct config *cfg, int *version_out)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct files files = {.handled = LANDLOCK_ACCESS_V1};

    *version_out = version > 0 ? (int)version : 0;
    if (version <= 0) /* not built in, or switched off: the filter of calls is still there */
        return OK;
    files.handled |= version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    files.handled |= version >= 3 ? LANDLOCK_TRUNCATE : 0;
    files.handled |= version >= 5 ? LANDLOCK_IOCTL_DEV : 0;
    struct landlock_attributes attributes = {.files = files.handled};
    if (version >= LANDLOCK_SCOPED_SINCE)
        attributes.scoped = LANDLOCK_SCOPE_ABSTRACT | LANDLOCK_SCOPE_SIGNALS;
    size_t size = version >= LANDLOCK_SCOPED_SINCE ? sizeof attributes : sizeof attributes.files;
    files.ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (files.ruleset < 0)
        return FAIL_SYS(errno, "landlock_create_ruleset");
    bool good = role_files_allow(&files, role, cfg) && syscall(SYS_landlock_restrict_self, files.ruleset, 0) == 0;
    int sys = errno;
    close(files.ruleset);
    return good ? OK : FAIL_SYS(sys, "the kernel takes no Landlock rules (sandbox = false goes without)");
}

/* Who has to reach a UNIX socket by its path: auth where Dovecot knows the passwords, outbound where a route names one. */
static bool needs_local_sockets(enum ipc_role role, const struct config *cfg)
{
    if (role == ROLE_AUTH)
        return cfg->auth.passwords == PASSWORDS_DOVECOT;
    for (size_t i = 0; role == ROLE_OUTBOUND && i < cfg->routes.count; i++)
        if (cfg->routes.items[i].target.kind == ROUTE_LMTP &&
            bytes_find(cfg->routes.items[i].target.hop, BYTES("unix:")) != BYTES_NOT_FOUND)
            return true;
    return false;
}

RESULT
sandbox_enter(enum ipc_role role, const struct config *cfg, struct sandbox_state *state_out)
{
    static const struct rlimit none = {0, 0};

    ASSERT(sandbox_has_role(role));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return FAIL_SYS(errno, "prctl PR_SET_NO_NEW_PRIVS");
    if ((role == ROLE_AUTH || role == ROLE_KEYS) &&
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) /* nobody of our uid looks at its memory */
        return FAIL_SYS(errno, "prctl PR_SET_DUMPABLE");
    if (!powers_of(role).threads && setrlimit(RLIMIT_NPROC, &none) != 0)
        return FAIL_SYS(errno, "setrlimit RLIMIT_NPROC");
    TRY(files_restrict(role, cfg, &state_out->landlock));
    return calls_restrict(powers_of(role), needs_local_sockets(role, cfg));
}
