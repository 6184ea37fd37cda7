/* Design. The lists are of what is allowed; they were made by watching each role at work (strace) and then cut to what it is for.
 * (B1) No role may make a process, run a program, open for writing what Landlock does not name, trace or signal others, or make memory
 *      executable. (B2) inbound opens nothing and connects to nobody: what it works with was given to it.
 * (B3) A hand that writes mailboxes makes processes (for mbox files), but runs no program. One that runs commands cannot be held to a
 *      list of what is allowed, since nobody knows what they need: it loses what mail commands never do, and rights that files give.
 * (B4) lookup loads libraries, its own and those of the name service, when they are asked for: it may map files as code, but has none
 *      that it could write, and no memory that was written can become code. */
#include "daemon/edge/sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/edge/landlock.h"

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

/* To look at files and folders by their names. */
static const int LOOKING[] = {SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(getdents64), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd),
    SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(getrusage), SCMP_SYS(flock), SCMP_SYS(fadvise64)};
/* Folders, names and modes of files. */
static const int NAMING[] = {SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(unlinkat), SCMP_SYS(fchmod), SCMP_SYS(umask),
    SCMP_SYS(chdir), SCMP_SYS(memfd_create)};
/* Processes of its own program, and their ends; clone itself stands elsewhere. */
static const int FORKING[] = {SCMP_SYS(wait4), SCMP_SYS(waitid), SCMP_SYS(kill), SCMP_SYS(setpgid),
    SCMP_SYS(pidfd_open), SCMP_SYS(close_range), SCMP_SYS(getresuid), SCMP_SYS(getrlimit), SCMP_SYS(setsid)};
/* Channels to processes that another makes, and the wait for that one's end. */
static const int PAIRING[] = {SCMP_SYS(socketpair), SCMP_SYS(wait4)};
/* What no command that takes mail needs, and what helps out of a sandbox or deep into the kernel. */
static const int NEVER[] = {SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(mount), SCMP_SYS(umount2),
    SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(pivot_root),
    SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(reboot),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl), SCMP_SYS(io_uring_setup), SCMP_SYS(acct),
    SCMP_SYS(quotactl), SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at), SCMP_SYS(iopl), SCMP_SYS(ioperm)};

/* What a process is, in these terms. */
struct powers {
    bool accepts, connects, connects_locally, reads, stores, threads, memory_files, looks, names, forks, pairs, loads;
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
    case ROLE_LOOKUP:
        return (struct powers){.connects = true, .reads = true, .threads = true, .looks = true, .loads = true};
    case ROLE_LOCAL:
        return (struct powers){.pairs = true};
    default:
        return (struct powers){0};
    }
}

bool sandbox_has_role(enum ipc_role role)
{
    return role != ROLE_SUPERVISOR && role != ROLE_PAM && role < ROLE_COUNT;
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
static bool allow_careful(scmp_filter_ctx filter, bool loads)
{
    enum { LOADING = PROT_EXEC | PROT_WRITE };

    return allow_if(filter, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) &&
           (!loads || allow_if(filter, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, LOADING, PROT_EXEC))) &&
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

/* clone3 hides its flags behind a pointer; without it glibc takes clone. */
static bool allow_clone(scmp_filter_ctx filter, bool forks)
{
    enum {
        NAMESPACES =
            CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
    };
    struct scmp_arg_cmp flags =
        forks ? SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES, 0) : SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);

    return allow_if(filter, SCMP_SYS(clone), flags) &&
           seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

static bool allow_powers(scmp_filter_ctx filter, const struct powers *powers)
{
    static const unsigned writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
    bool good = ALLOW(filter, EVERYBODY) && allow_careful(filter, powers->loads);

    if (powers->accepts)
        good = good && ALLOW(filter, ACCEPTING);
    if (powers->connects || powers->connects_locally)
        good = good && ALLOW(filter, CONNECTING) && allow_sockets(filter, powers->connects, powers->connects_locally);
    if (powers->stores)
        good = good && ALLOW(filter, STORING);
    else if (powers->reads)
        good = good && allow_if(filter, SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0));
    if (powers->looks)
        good = good && ALLOW(filter, LOOKING);
    if (powers->names)
        good = good && ALLOW(filter, NAMING);
    if (powers->forks)
        good = good && ALLOW(filter, FORKING);
    if (powers->pairs)
        good = good && ALLOW(filter, PAIRING);
    if (powers->memory_files)
        good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(memfd_create), 0) == 0;
    if (powers->threads)
        good = good && ALLOW(filter, THREADING);
    if (powers->threads || powers->forks)
        good = good && allow_clone(filter, powers->forks);
    return good;
}

/* Takes the filter over, NULL too. */
static RESULT filter_load(scmp_filter_ctx filter, bool good)
{
    good = good && seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
           seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0; /* a tree, not a list */
    int sys = good ? -seccomp_load(filter) : EINVAL;

    seccomp_release(filter);
    return sys == 0 ? OK : FAIL_SYS(sys, "the kernel takes no seccomp filter (sandbox = false goes without)");
}

static RESULT calls_restrict(const struct powers *powers)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    return filter_load(filter, filter != NULL && allow_powers(filter, powers));
}

/* (B3) */
static RESULT calls_forbid(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool good = filter != NULL;

    for (size_t i = 0; i < COUNT_OF(NEVER); i++)
        good = good && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), NEVER[i], 0) == 0;
    return filter_load(filter, good);
}

/* --- files --- */

/* Of the resolver and of TLS; random octets for query ids, without which c-ares guesses its own. */
static const char *const NETWORK[] = {"/dev/urandom", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/usr/lib/ssl"};
/* Of the loader and of the name service. */
static const char *const LIBRARIES[] = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib",
    "/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/gai.conf", "/etc/services",
    "/etc/host.conf", "/etc/ldap", "/var/lib/sss/mc", "/usr/share/ca-certificates", "/dev/null"};

static void list_allow(struct landlock *l, const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        landlock_allow(l, paths[i], LANDLOCK_READ);
}

static void texts_allow(struct landlock *l, const struct config_text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].data[0] == '/')
            landlock_allow_folder_of(l, list->items[i], LANDLOCK_READ);
}

static bool asks_network(const struct config_lookup *lookup)
{
    return lookup->kind == LOOKUP_POSTGRESQL || lookup->kind == LOOKUP_LDAP || lookup->kind == LOOKUP_CALLAHEAD;
}

static bool lookup_asks(const struct config *cfg, bool (*asks)(const struct config_lookup *lookup))
{
    for (size_t i = 0; i < cfg->lookup_count; i++)
        if (asks(&cfg->lookups[i]))
            return true;
    return false;
}

static bool has_system_users(const struct config *cfg)
{
    for (size_t i = 0; i < cfg->domain_count; i++)
        if (cfg->domains[i].system_users)
            return true;
    return cfg->hosted != NULL && cfg->hosted->system_users;
}

static bool asks_locally(const struct config_lookup *lookup)
{
    return lookup->kind == LOOKUP_POSTGRESQL || lookup->kind == LOOKUP_LDAP || lookup->kind == LOOKUP_DOVECOT;
}

static void domain_tables_allow(struct landlock *l, const struct config_domain *d)
{
    texts_allow(l, &d->aliases);
    texts_allow(l, &d->virtual);
    texts_allow(l, &d->users);
    texts_allow(l, &d->names);
}

/* Where no lookup goes over the network, TCP leads to name servers alone. */
static void ports_allow(struct landlock *l, const struct config *cfg)
{
    enum { DNS_PORT = 53 };

    landlock_allow_port(l, DNS_PORT);
    for (size_t i = 0; i < cfg->dns.servers.count; i++) {
        struct bytes server = cfg->dns.servers.items[i];
        ptrdiff_t colon = bytes_rindex(server, ':');
        uint64_t port = 0;

        if (colon >= 0 && is_ok(bytes_to_u64(bytes_after(server, (size_t)colon + 1), UINT16_MAX, &port)))
            landlock_allow_port(l, (uint16_t)port);
    }
}

static void lookup_allow(struct landlock *l, const struct config *cfg)
{
    list_allow(l, NETWORK, COUNT_OF(NETWORK));
    list_allow(l, LIBRARIES, COUNT_OF(LIBRARIES));
    /* useradd(8) and resolvers put new files in the places of passwd and resolv.conf. */
    if (has_system_users(cfg) || lookup_asks(cfg, asks_network))
        landlock_allow(l, "/etc", LANDLOCK_READ_FILES);
    for (size_t i = 0; i < cfg->domain_count; i++)
        domain_tables_allow(l, &cfg->domains[i]);
    if (cfg->hosted != NULL)
        domain_tables_allow(l, cfg->hosted);
    for (size_t i = 0; i < cfg->lookup_count; i++)
        if (cfg->lookups[i].from.size > 0 && cfg->lookups[i].from.data[0] == '/' &&
            cfg->lookups[i].kind != LOOKUP_DOVECOT)
            landlock_allow_folder_of(l, cfg->lookups[i].from, LANDLOCK_READ);
    if (!lookup_asks(cfg, asks_network))
        ports_allow(l, cfg);
}

static void queued_allow(struct landlock *l, const struct config *cfg)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/queue", (const char *)cfg->state_dir.data) < (int)sizeof path)
        landlock_allow(l, path, LANDLOCK_READ | LANDLOCK_CHANGE);
    for (size_t d = 0; d < cfg->domain_count; d++)
        texts_allow(l, &cfg->domains[d].aliases);
}

static RESULT files_restrict(
    enum ipc_role role, const struct config *cfg, const struct config_text_list *more, int *version_out)
{
    struct landlock l;

    TRY(landlock_begin(&l, role == ROLE_LOOKUP && !lookup_asks(cfg, asks_network)));
    *version_out = l.version;
    if (role == ROLE_QUEUED)
        queued_allow(&l, cfg);
    if (role == ROLE_OUTBOUND)
        list_allow(&l, NETWORK, COUNT_OF(NETWORK));
    if (role == ROLE_AUTH)
        landlock_allow_folder_of(&l, cfg->auth.users, LANDLOCK_READ_FILES);
    if (role == ROLE_LOOKUP)
        lookup_allow(&l, cfg);
    if (more != NULL)
        texts_allow(&l, more);
    return landlock_end(&l);
}

/* --- hands --- */

/* What stands before the first component that is different for each mailbox. */
static void mailboxes_allow(struct landlock *l, struct bytes pattern)
{
    ptrdiff_t percent = bytes_index(pattern, '%');
    struct bytes fixed = percent == BYTES_NOT_FOUND ? pattern : bytes_head(pattern, (size_t)percent);
    ptrdiff_t slash = bytes_rindex(fixed, '/');

    if (pattern.size > 0 && pattern.data[0] == '/')
        landlock_allow_existing(
            l, bytes_head(fixed, slash == 0 ? 1 : (size_t)slash), LANDLOCK_READ | LANDLOCK_CHANGE | LANDLOCK_FOLDERS);
}

static RESULT mailbox_hand_restrict(const struct sandbox_hand *hand, const struct config *cfg)
{
    static const struct powers powers = {.stores = true, .threads = true, .looks = true, .names = true, .forks = true};
    struct landlock l;

    TRY(landlock_begin(&l, true));
    for (size_t i = 0; i < cfg->domain_count + 1; i++) {
        const struct config_domain *d = i < cfg->domain_count ? &cfg->domains[i] : cfg->hosted;
        if (d == NULL)
            continue;
        mailboxes_allow(&l, d->maildir);
        mailboxes_allow(&l, d->mbox);
    }
    if (hand->home[0] != 0)
        landlock_allow_existing(&l, bytes_of(hand->home), LANDLOCK_READ | LANDLOCK_CHANGE | LANDLOCK_FOLDERS);
    landlock_allow(&l, "/tmp", LANDLOCK_READ_FILES | LANDLOCK_WRITE_FILES); /* copies without a name, for mbox */
    TRY(landlock_end(&l));
    return calls_restrict(&powers);
}

/* Of the server itself, where a command has its user. */
static RESULT server_hide(const struct config *cfg)
{
    enum { HIDDEN_MAX = 64 };
    const char *hidden[HIDDEN_MAX];
    char queue[PATH_MAX];
    struct landlock l;
    size_t count = 0;

    TRY(landlock_begin(&l, false));
    if (snprintf(queue, sizeof queue, "%s/queue", (const char *)cfg->state_dir.data) < (int)sizeof queue)
        hidden[count++] = queue;
    if (cfg->auth.users.size > 0)
        hidden[count++] = (const char *)cfg->auth.users.data;
    if (cfg->credentials.size > 0)
        hidden[count++] = (const char *)cfg->credentials.data;
    for (size_t i = 0; i < cfg->tls_keys.count && count < HIDDEN_MAX; i++)
        hidden[count++] = (const char *)cfg->tls_keys.items[i].data;
    landlock_allow_all_but(&l, hidden, count);
    return landlock_end(&l);
}

RESULT sandbox_enter_hand(const struct sandbox_hand *hand, const struct config *cfg)
{
    if (hand->commands && cfg->set_id_commands)
        return OK;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return FAIL_SYS(errno, "prctl PR_SET_NO_NEW_PRIVS");
    if (!hand->commands)
        return mailbox_hand_restrict(hand, cfg);
    if (hand->is_server)
        TRY(server_hide(cfg));
    return calls_forbid();
}

/* --- roles --- */

/* Who has to reach a UNIX socket by its path: auth where Dovecot knows the passwords, outbound where a route names one, lookup where
 * a lookup or the name service does. */
static bool needs_local_sockets(enum ipc_role role, const struct config *cfg)
{
    if (role == ROLE_AUTH)
        return cfg->auth.passwords == PASSWORDS_DOVECOT;
    if (role == ROLE_LOOKUP)
        return has_system_users(cfg) || lookup_asks(cfg, asks_locally);
    for (size_t i = 0; role == ROLE_OUTBOUND && i < cfg->routes.count; i++)
        if (cfg->routes.items[i].target.kind == ROUTE_LMTP &&
            bytes_find(cfg->routes.items[i].target.hop, BYTES("unix:")) != BYTES_NOT_FOUND)
            return true;
    return false;
}

RESULT
sandbox_enter(
    enum ipc_role role, const struct config *cfg, const struct config_text_list *more, struct sandbox_state *state_out)
{
    static const struct rlimit none = {0, 0};
    struct powers powers = powers_of(role);

    ASSERT(sandbox_has_role(role));
    powers.connects_locally = needs_local_sockets(role, cfg);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return FAIL_SYS(errno, "prctl PR_SET_NO_NEW_PRIVS");
    if ((role == ROLE_AUTH || role == ROLE_KEYS) &&
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) /* nobody of our uid looks at its memory */
        return FAIL_SYS(errno, "prctl PR_SET_DUMPABLE");
    if (!powers.threads && setrlimit(RLIMIT_NPROC, &none) != 0)
        return FAIL_SYS(errno, "setrlimit RLIMIT_NPROC");
    TRY(files_restrict(role, cfg, more, &state_out->landlock));
    return calls_restrict(&powers);
}
