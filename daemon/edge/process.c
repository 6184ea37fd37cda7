#include "daemon/edge/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/base/log.h"
#include "daemon/edge/passing.h"
#include "daemon/edge/rights.h"
#include "daemon/edge/sandbox.h"

enum { NAME_SIZE_MAX = 32, CONFIG_TEXT_SIZE_MAX = 16777216 };

struct process {
    enum ipc_role role;
    uint32_t index;
    char name[NAME_SIZE_MAX];
    struct config *cfg;
    int log_fd;
    struct loop *loop;
    struct loop_timer orphan;
    uv_poll_t poll;
    const struct process_handlers *handlers;
    void *ctx;
    struct config_text_list reads;
    bool ready, stopping, ended;
    int status;
};

/* --- start-up, step by step; each says by its name what it is for --- */

static RESULT supervisor_socket_check(void)
{
    int type = 0;
    socklen_t size = sizeof type;

    if (getsockopt(PROCESS_SUPERVISOR_FD, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET)
        return FAIL(CODE_REFUSED, "roles are started by the supervisor, not by hand");
    return OK;
}

/* kill -9 of the supervisor takes us with it. The kernel forgets this when ids change, so it is asked for twice. */
static RESULT die_with_supervisor(void)
{
    struct pollfd p = {.fd = PROCESS_SUPERVISOR_FD};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return FAIL_SYS(errno, "prctl PR_SET_PDEATHSIG");
    if (poll(&p, 1, 0) < 0 || (p.revents & POLLHUP) != 0) /* it died before we asked */
        return FAIL(CODE_GONE, "the supervisor is gone");
    return OK;
}

/* The lock stays open, unused: as long as one child of a killed supervisor lives, a new one waits for it. */
static RESULT forget_other_descriptors(void)
{
    for (int fd = PROCESS_SUPERVISOR_FD; fd <= PROCESS_LOCK_FD; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return FAIL_SYS(errno, "fcntl FD_CLOEXEC");
    if (close_range(PROCESS_LOCK_FD + 1, ~0U, 0) != 0)
        return FAIL_SYS(errno, "close_range");
    return OK;
}

/* Terminals and service managers signal the whole group; the supervisor alone decides when we end. */
static RESULT settle_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM};
    sigset_t none;

    for (size_t i = 0; i < COUNT_OF(ignored); i++)
        if (signal(ignored[i], SIG_IGN) == SIG_ERR)
            return FAIL_SYS(errno, "signal");
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        return FAIL_SYS(errno, "sigprocmask");
    return OK;
}

static RESULT packet_wait(
    struct process *p, enum msg_kind kind, struct passing_room *room, struct msg *m_out, int *fd_out)
{
    struct pollfd ready = {.fd = PROCESS_SUPERVISOR_FD, .events = POLLIN};
    struct result r;

    while (
        (r = passing_receive(PROCESS_SUPERVISOR_FD, ROLE_SUPERVISOR, p->role, room, m_out, fd_out)).code == CODE_MORE)
        if (poll(&ready, 1, -1) < 0 && errno != EINTR)
            return FAIL_SYS(errno, "poll");
    TRY(r);
    return m_out->kind == kind && *fd_out >= 0 ? OK : FAIL(CODE_CORRUPT, "unexpected packet from the supervisor");
}

static RESULT take_log(struct process *p)
{
    struct passing_room room;
    struct msg m;

    return packet_wait(p, MSG_sup_log, &room, &m, &p->log_fd);
}

/* Reads the tree from the text in the memory file, and closes it. */
static RESULT config_take(struct bytes path, int fd, struct config **cfg_out)
{
    struct config_error error = {0};
    char name[1025];
    struct stat st;

    if (path.size >= sizeof name || fstat(fd, &st) != 0 || st.st_size < 0 || st.st_size > CONFIG_TEXT_SIZE_MAX) {
        close(fd);
        return FAIL(CODE_IO, "configuration text");
    }
    memcpy(name, path.data, path.size);
    name[path.size] = 0;
    size_t size = (size_t)st.st_size, done = 0;
    uint8_t *text = mem_take(size + 1);
    while (text != NULL && done < size) {
        ssize_t n = pread(fd, text + done, size - done, (off_t)done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    struct result r = FAIL(CODE_IO, "configuration text");
    if (text != NULL && done == size)
        r = config_read_text(name, (struct bytes){text, size}, cfg_out, &error);
    mem_free(text);
    return r;
}

static void log_settle(const struct process *p)
{
    log_init(&(struct log_config){
        .fd = p->log_fd,
        .format = p->cfg->log.json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT,
        .level = (enum log_level)p->cfg->log.level,
        .process = p->name,
        .journal = p->cfg->log.to == LOG_TO_JOURNAL,
    });
}

static RESULT take_config(struct process *p)
{
    struct passing_room room;
    struct msg m;
    int fd = -1;

    TRY(packet_wait(p, MSG_sup_config, &room, &m, &fd));
    p->index = m.sup_config.index;
    struct buf name;
    buf_init(&name, p->name, sizeof p->name - 1);
    TRY(buf_put_str(&name, ipc_role_name(p->role)));
    TRY(buf_put_octet(&name, '.'));
    TRY(buf_put_u64(&name, p->index));
    TRY(config_take(m.sup_config.path, fd, &p->cfg));
    log_settle(p);
    return OK;
}

/* A descriptor a session: as many as the system lets us have. Core files could show mail. */
static RESULT set_limits(void)
{
    struct rlimit files, core = {0, 0};

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return FAIL_SYS(errno, "getrlimit");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || setrlimit(RLIMIT_CORE, &core) != 0)
        return FAIL_SYS(errno, "setrlimit");
    return OK;
}

/* Hashing is long work that strangers ask for: whoever serves mail comes first. Where that cannot be said, all are equal. */
static RESULT step_back(const struct process *p)
{
    enum { NICE_OF_AUTH = 10 };

    if (p->role == ROLE_AUTH)
        (void)setpriority(PRIO_PROCESS, 0, NICE_OF_AUTH);
    return OK;
}

static RESULT drop_rights(const struct process *p)
{
    struct rights rights;

    TRY(rights_find((const char *)p->cfg->user.data, p->role, &rights));
    TRY(p->role == ROLE_LOCAL || p->role == ROLE_PAM ? rights_lower(&rights) : rights_drop(&rights));
    /* Those of local that need root are made first (process_rights_drop); PAM's modules may need to gain rights where we are not root. */
    if (p->role != ROLE_LOCAL && (p->role != ROLE_PAM || rights.change) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return FAIL_SYS(errno, "prctl PR_SET_NO_NEW_PRIVS");
    return OK;
}

static RESULT process_start(struct process *p)
{
    TRY(supervisor_socket_check());
    TRY(die_with_supervisor());
    TRY(forget_other_descriptors());
    TRY(settle_signals());
    TRY(take_log(p));
    TRY(take_config(p));
    TRY(set_limits());
    TRY(step_back(p));
    TRY(drop_rights(p));
    TRY(die_with_supervisor());
    p->loop = loop_new();
    return p->loop != NULL ? OK : FAIL(CODE_FULL, "out of memory");
}

static void failed_tell(const char *why)
{
    struct msg m = {.kind = MSG_child_failed, .child_failed = {.why = bytes_head(bytes_of(why), 512)}};
    struct result r = passing_send(PROCESS_SUPERVISOR_FD, &m, -1);

    (void)r; /* if it cannot be told, our end tells it */
}

struct process *process_new(enum ipc_role role)
{
    struct process *p = mem_take_zero(sizeof *p);

    if (p == NULL)
        return NULL;
    p->role = role;
    p->log_fd = STDERR_FILENO;
    struct result r = process_start(p);
    if (is_ok(r))
        return p;
    if (is_ok(supervisor_socket_check()))
        failed_tell(r.why);
    else
        fprintf(stderr, "mansiod: %s\n", r.why);
    process_free(&p);
    return NULL;
}

void process_free(struct process **p)
{
    struct process *q = *p;

    if (q == NULL)
        return;
    log_flush();
    if (q->loop != NULL)
        loop_timer_stop(q->loop, &q->orphan);
    loop_free(&q->loop);
    config_free(&q->cfg);
    log_init(&(struct log_config){.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .process = "mansiod"});
    mem_free(q);
    *p = NULL;
}

/* --- what the supervisor says --- */

static void on_new_config(struct process *p, const struct msg_sup_config *m, int fd)
{
    struct config *cfg = NULL;
    struct result r = config_take(m->path, fd, &cfg);

    if (!is_ok(r)) {
        LOG(RELOAD_REFUSED, LOG_TEXT("config", m->path), LOG_STR("why", r.why));
        return;
    }
    struct config *old = p->cfg;
    p->cfg = cfg;
    log_settle(p);
    if (p->handlers->on_config != NULL)
        p->handlers->on_config(p->ctx, cfg);
    config_free(&old);
}

static void on_drain(struct process *p, bool stopping)
{
    p->stopping = stopping;
    LOG(PROCESS_STOPPING, LOG_STR("why", stopping ? "stop" : "reload"));
    if (p->handlers->on_drain != NULL)
        p->handlers->on_drain(p->ctx);
    else
        process_exit(p, 0);
}

/* Takes fd over, whatever the message. */
static void packet_handle(struct process *p, const struct msg *m, int fd)
{
    const struct process_handlers *h = p->handlers;

    switch (m->kind) {
    case MSG_sup_log:
        if (fd >= 0) {
            log_flush();
            dup3(fd, p->log_fd, O_CLOEXEC);
        }
        break;
    case MSG_sup_config:
        if (fd >= 0)
            on_new_config(p, &m->sup_config, fd);
        return;
    case MSG_sup_listener:
        if (fd < 0 || h->on_listener == NULL)
            break;
        h->on_listener(p->ctx, m->sup_listener.listen_index, m->sup_listener.address_index, fd);
        return;
    case MSG_sup_channel:
        if (fd < 0 || h->on_channel == NULL)
            break;
        h->on_channel(p->ctx, m->sup_channel.peer, m->sup_channel.index, fd);
        if (m->sup_channel.peer == ROLE_QUEUED)
            loop_timer_stop(p->loop, &p->orphan);
        return;
    case MSG_sup_credentials:
        if (fd < 0 || h->on_credentials == NULL)
            break;
        h->on_credentials(p->ctx, fd);
        return;
    case MSG_sup_table:
        if (fd < 0 || h->on_table == NULL || m->sup_table.table >= TABLE_COUNT)
            break;
        h->on_table(p->ctx, (enum config_table)m->sup_table.table, fd);
        return;
    case MSG_sup_go:
        h->on_go(p->ctx);
        break;
    case MSG_sup_drain:
        on_drain(p, m->sup_drain.stopping);
        break;
    case MSG_sup_stop:
        p->stopping = true;
        if (h->on_stop != NULL)
            h->on_stop(p->ctx);
        process_exit(p, 0);
        break;
    default:
        break;
    }
    if (fd >= 0)
        close(fd);
}

static void on_packet(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    struct passing_room room;
    struct result r = status < 0 ? FAIL(CODE_GONE, "the supervisor is gone") : OK;
    struct msg m;
    int fd = -1;

    (void)events;
    while (is_ok(r) && !p->ended) {
        r = passing_receive(PROCESS_SUPERVISOR_FD, ROLE_SUPERVISOR, p->role, &room, &m, &fd);
        if (is_ok(r))
            packet_handle(p, &m, fd);
    }
    if (!is_ok(r) && r.code != CODE_MORE) {
        LOG(CHANNEL_LOST, LOG_STR("peer", "supervisor"), LOG_STR("why", r.why));
        process_exit(p, 1);
    }
}

int process_serve(struct process *p, const struct process_handlers *handlers, void *ctx)
{
    if (p->ended)
        return p->status;
    p->handlers = handlers;
    p->ctx = ctx;
    if (uv_poll_init(loop_uv(p->loop), &p->poll, PROCESS_SUPERVISOR_FD) != 0) {
        process_fail(p, "no event loop for the supervisor's socket");
        return p->status;
    }
    p->poll.data = p;
    uv_poll_start(&p->poll, UV_READABLE, on_packet);
    loop_run(p->loop);
    uv_close((uv_handle_t *)&p->poll, NULL);
    return p->status;
}

/* What needed rights has been opened. */
static RESULT sandbox_settle(const struct process *p)
{
    struct sandbox_state state = {0};

    if (!SANDBOX_BUILD || !p->cfg->sandbox || !sandbox_has_role(p->role))
        return OK;
    TRY(sandbox_enter(p->role, p->cfg, &p->reads, &state));
    LOG(SANDBOXED, LOG_STR("role", ipc_role_name(p->role)), LOG_NUM("landlock", state.landlock));
    return OK;
}

RESULT process_rights_drop(struct process *p)
{
    struct rights rights;

    TRY(rights_raise());
    TRY(rights_find((const char *)p->cfg->user.data, p->role, &rights));
    TRY(rights_drop(&rights));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return FAIL_SYS(errno, "prctl PR_SET_NO_NEW_PRIVS");
    return die_with_supervisor();
}

void process_reads(struct process *p, const struct config_text_list *paths)
{
    p->reads = *paths;
}

void process_ready(struct process *p)
{
    struct msg m = {.kind = MSG_child_ready};

    if (p->ready)
        return;
    struct result settled = sandbox_settle(p);
    if (!is_ok(settled)) {
        process_fail(p, settled.why);
        return;
    }
    p->ready = true;
    LOG(PROCESS_READY, LOG_NUM("pid", getpid()));
    struct result r = passing_send(PROCESS_SUPERVISOR_FD, &m, -1);
    if (!is_ok(r))
        process_exit(p, 1);
}

void process_fail(struct process *p, const char *why)
{
    failed_tell(why);
    process_exit(p, 1);
}

void process_exit(struct process *p, int status)
{
    if (!p->ended)
        p->status = status;
    p->ended = true;
    loop_stop(p->loop);
}

static void on_orphan(void *ctx)
{
    process_exit(ctx, 1);
}

void process_orphaned(struct process *p)
{
    p->orphan = (struct loop_timer){.fn = on_orphan, .ctx = p};
    loop_timer_set(p->loop, &p->orphan, instant_after(loop_now(p->loop), PROCESS_ORPHAN_MS));
}

bool process_is_stopping(const struct process *p)
{
    return p->stopping;
}

struct loop *process_loop(struct process *p)
{
    return p->loop;
}

const struct config *process_config(const struct process *p)
{
    return p->cfg;
}

enum ipc_role process_role(const struct process *p)
{
    return p->role;
}

const char *process_name(const struct process *p)
{
    return p->name;
}
