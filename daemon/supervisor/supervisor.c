/* One poll loop over a signalfd and the sockets of the children; no libuv, no look at mail.
 *
 * (S1) Everything of a child follows from its slot: state, generation, pid. A slot with a pid has a living process.
 * (S2) queued is one process over all generations; the others are replaced by a reload, and the old ones keep their
 *      channel to queued until they have finished.
 * (S3) The old generation is told to drain only when every process of the new one is ready: at no moment does nobody
 *      accept. A new generation that cannot start leaves the old one at work.
 * (S4) Nothing here waits: a child that does not read is killed, deadlines bound the stop. */
#include "daemon/supervisor/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/passing.h"
#include "daemon/edge/sandbox.h"
#include "daemon/supervisor/child.h"
#include "daemon/supervisor/credentials.h"
#include "daemon/supervisor/notify.h"
#include "daemon/supervisor/pickup.h"
#include "daemon/supervisor/places.h"

enum {
    CHILD_COUNT_MAX = 256,
    DRAIN_MS = 5000, /* sessions get so long to end */
    STOP_MS = 1000,  /* then the processes so long to let go */
    QUEUE_STOP_MS = 5000,
    BIND_WAIT_MS = 1000,
    BIND_STEP_MS = 20,
};

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_RELOADING, PHASE_DRAINING, PHASE_STOPPING, PHASE_CLOSING };

struct supervisor {
    const struct house_role *roles;
    enum phase phase;
    struct configuration configuration;
    uint32_t generation;
    struct listeners listeners;
    struct credentials credentials;
    int inject_fd, control_fd, metrics_fd, log_fd, lock_fd, signal_fd;
    char inject_path[PLACES_PATH_SIZE_MAX], control_path[PLACES_PATH_SIZE_MAX], metrics_path[PLACES_PATH_SIZE_MAX];
    struct child children[CHILD_COUNT_MAX];
    struct pickup pickup;
    struct instant deadline; /* of the phase */
    bool reload_wanted;      /* a SIGHUP came: it is kept until the start is over */
    int stop_signal;         /* what made us stop; 0: a failure */
    int status;
};

static const struct config *tree(const struct supervisor *s)
{
    return s->configuration.tree;
}

static struct child_kit kit_of(const struct supervisor *s)
{
    return (struct child_kit){
        .configuration = &s->configuration,
        .generation = s->generation,
        .listeners = &s->listeners,
        .inject_fd = s->inject_fd,
        .control_fd = s->control_fd,
        .metrics_fd = s->metrics_fd,
        .log_fd = s->log_fd,
        .lock_fd = s->lock_fd,
        .credentials_fd = s->credentials.fd,
    };
}

/* --- children --- */

static bool number_is_free(const struct supervisor *s, enum ipc_role role, uint32_t number)
{
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        if (s->children[i].state != CHILD_NONE && s->children[i].role == role && s->children[i].number == number)
            return false;
    return true;
}

static size_t slots_free(const struct supervisor *s)
{
    size_t count = 0;

    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        count += s->children[i].state == CHILD_NONE;
    return count;
}

static bool auth_is_wanted(const struct config *cfg)
{
    for (size_t i = 0; i < cfg->listen_count; i++)
        if (cfg->listens[i].auth)
            return true;
    return false;
}

static uint32_t wanted_of(const struct supervisor *s, enum ipc_role role)
{
    if (role == ROLE_SUPERVISOR || s->roles[role].main == NULL)
        return 0;
    if (role == ROLE_KEYS)
        return tree(s)->tls_certificates.count > 0 ? 1 : 0;
    if (role == ROLE_AUTH)
        return auth_is_wanted(tree(s)) ? 1 : 0;
    if (role == ROLE_PAM)
        return auth_is_wanted(tree(s)) && tree(s)->auth.passwords == PASSWORDS_PAM ? 1 : 0;
    return role == ROLE_INBOUND ? tree(s)->processes.inbound : role == ROLE_OUTBOUND ? tree(s)->processes.outbound : 1;
}

/* queued with all who bring or take mail, over generations (S2); auth, lookup and keys with the inbound processes of their
 * own, pam with their auth. */
static bool work_together(const struct child *a, const struct child *b)
{
    enum ipc_role low = a->role < b->role ? a->role : b->role, high = a->role < b->role ? b->role : a->role;

    if (high == ROLE_PAM)
        return low == ROLE_AUTH && a->generation == b->generation;
    if (high == ROLE_AUTH || high == ROLE_LOOKUP || high == ROLE_KEYS)
        return (low == ROLE_INBOUND && a->generation == b->generation) || (high == ROLE_LOOKUP && low == ROLE_QUEUED);
    return a->role != b->role && (a->role == ROLE_QUEUED || b->role == ROLE_QUEUED);
}

/* Starts the process of a slot and brings it together with those that it works with. */
static void child_start(struct supervisor *s, struct child *c)
{
    struct child_kit kit = kit_of(s);
    struct instant now = clock_instant();

    struct result r = child_spawn(c, &kit, now);
    if (!is_ok(r)) {
        LOG(CHILD_FAILED, LOG_STR("role", ipc_role_name(c->role)), LOG_NUM("pid", 0), LOG_STR("why", r.why));
        c->started = now;
        child_restart_plan(c, now);
        return;
    }
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        if (&s->children[i] != c && work_together(c, &s->children[i]))
            child_connect(&s->children[i], c);
    child_say(c, MSG_sup_go);
}

static void role_start(struct supervisor *s, enum ipc_role role)
{
    uint32_t wanted = wanted_of(s, role);

    for (size_t i = 0; i < CHILD_COUNT_MAX && wanted > 0; i++) {
        struct child *c = &s->children[i];
        uint32_t number = 1;
        if (c->state != CHILD_NONE)
            continue;
        while (!number_is_free(s, role, number))
            number++;
        *c = (struct child){
            .state = CHILD_WAITING, .role = role, .number = number, .generation = s->generation, .socket = -1};
        child_start(s, c);
        wanted--;
    }
}

static void workers_start(struct supervisor *s)
{
    role_start(s, ROLE_KEYS);
    role_start(s, ROLE_PAM);
    role_start(s, ROLE_AUTH);
    role_start(s, ROLE_LOOKUP);
    role_start(s, ROLE_INBOUND);
    role_start(s, ROLE_OUTBOUND);
    role_start(s, ROLE_LOCAL);
}

/* --- phases --- */

static void enter(struct supervisor *s, enum phase phase, int64_t bound_ms)
{
    s->phase = phase;
    s->deadline = bound_ms < 0 ? INSTANT_NEVER : instant_after(clock_instant(), bound_ms);
}

static bool all_ready(const struct supervisor *s)
{
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++) {
        const struct child *c = &s->children[i];
        if ((c->generation == s->generation || c->role == ROLE_QUEUED) &&
            (c->state == CHILD_WAITING || c->state == CHILD_STARTING))
            return false;
    }
    return true;
}

static bool none_left(const struct supervisor *s, bool queued_too)
{
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        if (s->children[i].pid > 0 && (queued_too || s->children[i].role != ROLE_QUEUED))
            return false;
    return s->pickup.pid == 0;
}

/* Tells those of the other roles than queued to finish: the older ones after a reload, all when the house stops. */
static void workers_drain(struct supervisor *s, bool stopping)
{
    struct msg m = {.kind = MSG_sup_drain, .sup_drain = {.stopping = stopping}};

    for (size_t i = 0; i < CHILD_COUNT_MAX; i++) {
        struct child *c = &s->children[i];
        if (c->role == ROLE_QUEUED || (!stopping && c->generation == s->generation))
            continue;
        if (c->state == CHILD_WAITING) {
            c->state = CHILD_NONE;
        } else if (c->pid > 0 && (c->state != CHILD_DRAINING || stopping)) {
            c->state = CHILD_DRAINING;
            child_send(c, &m, -1);
        }
    }
}

static void children_say(struct supervisor *s, enum msg_kind kind, bool queued)
{
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++) {
        struct child *c = &s->children[i];
        if ((c->role == ROLE_QUEUED) != queued)
            continue;
        if (c->state == CHILD_WAITING)
            c->state = CHILD_NONE;
        if (c->pid > 0) {
            c->state = CHILD_DRAINING;
            child_say(c, kind);
        }
    }
}

static void children_kill(struct supervisor *s)
{
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        child_kill(&s->children[i]);
    pickup_stop(&s->pickup, SIGKILL);
}

static void stop_begin(struct supervisor *s)
{
    notify("STOPPING=1");
    pickup_stop(&s->pickup, SIGTERM);
    workers_drain(s, true);
    enter(s, PHASE_DRAINING, DRAIN_MS);
}

static void start_failed(struct supervisor *s, const char *what, const char *why)
{
    LOG(START_FAILED, LOG_STR("why", why), LOG_STR("what", what));
    s->status = EXIT_FAILURE;
    if (s->phase == PHASE_STARTING)
        stop_begin(s);
}

static void phase_step(struct supervisor *s)
{
    bool late = instant_reached(s->deadline, clock_instant());

    switch (s->phase) {
    case PHASE_STARTING:
        if (!all_ready(s))
            return;
        LOG(STARTED, LOG_STR("version", MANSIO_VERSION), LOG_TEXT("hostname", tree(s)->hostname),
            LOG_STR("config", s->configuration.path));
        notify("READY=1");
        enter(s, PHASE_RUNNING, -1);
        return;
    case PHASE_RUNNING:
        return;
    case PHASE_RELOADING:
        if (!all_ready(s)) /* (S3) */
            return;
        workers_drain(s, false);
        LOG(RELOADED, LOG_STR("config", s->configuration.path));
        notify("READY=1");
        enter(s, PHASE_RUNNING, -1);
        return;
    case PHASE_DRAINING:
        if (!late && !none_left(s, false))
            return;
        children_say(s, MSG_sup_stop, false);
        enter(s, PHASE_STOPPING, STOP_MS);
        return;
    case PHASE_STOPPING:
        if (!none_left(s, false)) {
            if (!late)
                return;
            for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
                if (s->children[i].role != ROLE_QUEUED)
                    child_kill(&s->children[i]);
        }
        children_say(s, MSG_sup_stop, true);
        enter(s, PHASE_CLOSING, QUEUE_STOP_MS);
        return;
    case PHASE_CLOSING:
        if (late)
            children_kill(s);
        return;
    }
}

/* What the passing of time, or a child's end, moves on: as many phases as are over. */
static void phases_step(struct supervisor *s)
{
    enum phase before;

    do {
        before = s->phase;
        phase_step(s);
    } while (s->phase != before);
}

static bool stopping(const struct supervisor *s)
{
    return s->phase >= PHASE_DRAINING;
}

/* --- what children say, and how they end --- */

static void child_listen(struct child *c)
{
    struct passing_room room;
    struct msg m;
    int fd = -1;
    struct result r;

    while (c->socket >= 0 && is_ok(r = passing_receive(c->socket, c->role, ROLE_SUPERVISOR, &room, &m, &fd))) {
        if (fd >= 0) /* children have none to give */
            close(fd);
        if (m.kind == MSG_child_ready && c->state == CHILD_STARTING) {
            c->state = CHILD_READY;
        } else if (m.kind == MSG_child_failed) {
            LOG(CHILD_FAILED, LOG_STR("role", ipc_role_name(c->role)), LOG_NUM("pid", c->pid),
                LOG_TEXT("why", m.child_failed.why));
        }
    }
    if (c->socket < 0 || r.code == CODE_MORE)
        return;
    if (r.code != CODE_GONE)
        LOG(CHANNEL_MALFORMED, LOG_STR("peer", ipc_role_name(c->role)), LOG_STR("frame", "?"), LOG_STR("why", r.why));
    close(c->socket); /* whether it has ended or talks nonsense: it is of no more use */
    c->socket = -1;
    child_kill(c);
}

static void child_reaped(struct supervisor *s, struct child *c, int status)
{
    struct child was = *c;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    int by_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    bool asked = was.state == CHILD_DRAINING;
    bool replaced = was.generation != s->generation && was.role != ROLE_QUEUED;

    c->pid = 0;      /* the number may be somebody else's already */
    child_listen(c); /* its last words */
    child_ended(c);
    if (asked && code == 0 && by_signal == 0) {
        LOG(CHILD_RETIRED, LOG_STR("role", ipc_role_name(was.role)), LOG_NUM("pid", was.pid));
        return;
    }
    /* A start that fails by itself fails for good; one that somebody kills (an operator, the kernel short of memory) goes on. */
    bool start_over = s->phase == PHASE_STARTING && !asked && by_signal != SIGKILL;
    if (!asked && !replaced && !stopping(s) && !start_over)
        child_restart_plan(c, clock_instant());
    LOG(CHILD_ENDED, LOG_STR("role", ipc_role_name(was.role)), LOG_NUM("pid", was.pid), LOG_NUM("status", code),
        LOG_NUM("signal", by_signal), LOG_NUM("restart_ms", c->state == CHILD_WAITING ? c->restart_ms : -1));
    if (start_over)
        start_failed(s, ipc_role_name(was.role), "a process ended before it was ready");
}

static void children_reap(struct supervisor *s)
{
    int status = 0;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pickup_ended(&s->pickup, pid, status, clock_instant()))
            continue;
        for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
            if (s->children[i].pid == pid)
                child_reaped(s, &s->children[i], status);
    }
}

/* --- the log --- */

static RESULT log_open(const struct config *cfg, int *fd_out, struct config_error *error_out)
{
    const char *path = cfg->log.to == LOG_TO_FILE ? (const char *)cfg->log.path.data : NULL;
    int fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640)
                          : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        snprintf(
            error_out->text, sizeof error_out->text, "%s: %s", path != NULL ? path : "standard error", strerror(errno));
        return FAIL_SYS(errno, "cannot open the log");
    }
    *fd_out = fd;
    return OK;
}

static void log_settle(const struct supervisor *s)
{
    log_init(&(struct log_config){
        .fd = s->log_fd,
        .format = tree(s)->log.json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT,
        .level = (enum log_level)tree(s)->log.level,
        .process = "supervisor",
        .journal = tree(s)->log.to == LOG_TO_JOURNAL,
    });
}

/* --- reload --- */

/* What is tied to the lock, the sockets and the rights of living processes stays. */
static RESULT reload_check(const struct supervisor *s, const struct config *cfg)
{
    const struct config *old = tree(s);
    size_t wanted = 2 + (size_t)cfg->processes.inbound + cfg->processes.outbound;

    if (!bytes_equal(cfg->state_dir, old->state_dir) || !bytes_equal(cfg->run_dir, old->run_dir) ||
        !bytes_equal(cfg->user, old->user))
        return FAIL(CODE_REFUSED, "state_dir, run_dir and user change by a restart only");
    if (wanted > slots_free(s))
        return FAIL(CODE_FULL, "too many processes still finish sessions of older configurations");
    return OK;
}

static void reload_refused(const char *path, const char *why)
{
    LOG(RELOAD_REFUSED, LOG_STR("config", path), LOG_STR("why", why));
    notify("READY=1");
}

static void reload(struct supervisor *s)
{
    struct configuration next;
    static struct listeners next_listeners;
    struct config_error error = {0};
    char told[64];
    int log_fd = -1;

    snprintf(told, sizeof told, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_instant().ms * 1000);
    notify(told);
    if (!is_ok(configuration_read(s->configuration.path, &next, &error))) {
        reload_refused(s->configuration.path, error.text);
        return;
    }
    struct result r = reload_check(s, next.tree);
    if (is_ok(r))
        r = log_open(next.tree, &log_fd, &error);
    if (is_ok(r))
        r = listeners_open(next.tree, &s->listeners, &next_listeners, &error);
    if (is_ok(r)) {
        r = credentials_read(next.tree, clock_instant(), &s->credentials, &error);
        if (!is_ok(r))
            listeners_close(&next_listeners);
    }
    if (!is_ok(r)) {
        reload_refused(next.path, error.text[0] != 0 ? error.text : r.why);
        if (log_fd >= 0)
            close(log_fd);
        configuration_free(&next);
        return;
    }
    listeners_close(&s->listeners);
    s->listeners = next_listeners;
    configuration_free(&s->configuration);
    s->configuration = next;
    log_flush();
    close(s->log_fd);
    s->log_fd = log_fd;
    log_settle(s);
    s->generation++;
    struct child_kit kit = kit_of(s);
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++) {
        struct child *c = &s->children[i];
        if (c->pid > 0)
            child_give_log(c, &kit);
        if (c->pid > 0 && c->role == ROLE_QUEUED) {
            child_give_configuration(c, &kit);
            child_give_metrics(c, &kit);
            child_give_tables(c, &kit);
        }
        if (c->state == CHILD_WAITING && c->role != ROLE_QUEUED) /* its successor comes now */
            c->state = CHILD_NONE;
    }
    enter(s, PHASE_RELOADING, -1);
    workers_start(s);
}

/* --- signals and the loop --- */

static RESULT signals_take(struct supervisor *s)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return FAIL_SYS(errno, "sigprocmask");
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd >= 0 ? OK : FAIL_SYS(errno, "signalfd");
}

static void signals_handle(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            s->reload_wanted = true;
        } else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
            if (stopping(s)) { /* asked twice: do not wait for sessions */
                s->deadline = clock_instant();
                continue;
            }
            s->stop_signal = (int)info.ssi_signo;
            stop_begin(s);
        }
    }
}

static int64_t wait_ms(const struct supervisor *s)
{
    struct instant now = clock_instant(), first = s->deadline;

    if (s->phase == PHASE_RUNNING)
        first = instant_min(first, pickup_deadline(&s->pickup));
    if (s->phase == PHASE_RUNNING || s->phase == PHASE_RELOADING)
        first = instant_min(first, credentials_deadline(&s->credentials));
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        if (s->children[i].state == CHILD_WAITING)
            first = instant_min(first, s->children[i].restart_at);
    if (first.ms == INSTANT_NEVER.ms)
        return -1;
    return first.ms <= now.ms ? 0 : first.ms - now.ms < 60000 ? first.ms - now.ms : 60000;
}

/* Certificates that were renewed go to every keys process, those of older generations too. */
static void credentials_look(struct supervisor *s)
{
    if (!credentials_turn(&s->credentials, tree(s), clock_instant()))
        return;
    struct child_kit kit = kit_of(s);
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        if (s->children[i].pid > 0 && s->children[i].role == ROLE_KEYS)
            child_give_credentials(&s->children[i], &kit);
}

static void turn(struct supervisor *s)
{
    struct pollfd fds[1 + CHILD_COUNT_MAX] = {{.fd = s->signal_fd, .events = POLLIN}};
    struct child *owners[1 + CHILD_COUNT_MAX] = {NULL};
    nfds_t count = 1;

    for (size_t i = 0; i < CHILD_COUNT_MAX; i++) {
        if (s->children[i].socket < 0 || s->children[i].pid == 0)
            continue;
        fds[count] = (struct pollfd){.fd = s->children[i].socket, .events = POLLIN};
        owners[count++] = &s->children[i];
    }
    log_flush();
    if (poll(fds, count, (int)wait_ms(s)) > 0) {
        for (nfds_t i = 1; i < count; i++)
            if (fds[i].revents != 0)
                child_listen(owners[i]);
        if (fds[0].revents != 0)
            signals_handle(s);
    }
    children_reap(s);
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++) {
        struct child *c = &s->children[i];
        if (c->state == CHILD_WAITING && instant_reached(c->restart_at, clock_instant()))
            child_start(s, c);
    }
    phases_step(s);
    if (s->phase == PHASE_RUNNING || s->phase == PHASE_RELOADING)
        credentials_look(s);
    if (s->phase == PHASE_RUNNING)
        pickup_turn(&s->pickup, tree(s), s->configuration.path, clock_instant());
    if (s->reload_wanted && (s->phase == PHASE_RUNNING || s->phase == PHASE_RELOADING)) {
        s->reload_wanted = false;
        reload(s);
    }
}

/* --- start and end --- */

static RESULT local_sockets_open(struct supervisor *s, struct config_error *error_out)
{
    if (!is_ok(places_path(s->inject_path, tree(s)->run_dir, "inject")) ||
        !is_ok(places_path(s->metrics_path, tree(s)->run_dir, "metrics")) ||
        !is_ok(places_path(s->control_path, tree(s)->run_dir, "control"))) {
        snprintf(error_out->text, sizeof error_out->text, "run_dir: path too long");
        return FAIL(CODE_FULL, "path too long");
    }
    if (s->inject_fd < 0)
        TRY(listeners_local(s->inject_path, &s->inject_fd, error_out));
    if (s->metrics_fd < 0)
        TRY(listeners_local(s->metrics_path, &s->metrics_fd, error_out));
    return s->control_fd < 0 ? listeners_local(s->control_path, &s->control_fd, error_out) : OK;
}

/* The local ones that are open already stay so. */
static RESULT sockets_open(struct supervisor *s, struct config_error *error_out)
{
    TRY(local_sockets_open(s, error_out));
    return listeners_open(tree(s), NULL, &s->listeners, error_out);
}

/* It holds the private keys: nobody of its user looks at its memory. */
static RESULT memory_close(const struct config *cfg)
{
    static const struct rlimit none = {0, 0};

    if (!SANDBOX_BUILD || !cfg->sandbox)
        return OK;
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return FAIL_SYS(errno, "the supervisor's memory cannot be closed to others");
    return OK;
}

static RESULT prepare(struct supervisor *s, struct config_error *error_out)
{
    TRY(memory_close(tree(s)));
    TRY(log_open(tree(s), &s->log_fd, error_out));
    log_settle(s);
    TRY(signals_take(s));
    TRY(places_lock(tree(s), &s->lock_fd, error_out));
    TRY(places_make(tree(s), error_out));
    TRY(credentials_read(tree(s), clock_instant(), &s->credentials, error_out));
    /* A killed server's children may give the lock back a moment before their sockets. */
    struct instant deadline = instant_after(clock_instant(), BIND_WAIT_MS);
    struct result r;
    while ((r = sockets_open(s, error_out)).sys == EADDRINUSE && !instant_reached(deadline, clock_instant()))
        poll(NULL, 0, BIND_STEP_MS);
    return r;
}

static void finish(struct supervisor *s)
{
    listeners_close(&s->listeners);
    credentials_close(&s->credentials);
    if (s->inject_fd >= 0)
        unlink(s->inject_path);
    if (s->control_fd >= 0)
        unlink(s->control_path);
    if (s->metrics_fd >= 0)
        unlink(s->metrics_path);
    log_flush();
    log_init(&(struct log_config){.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .process = "supervisor"});
    int fds[] = {s->inject_fd, s->control_fd, s->metrics_fd, s->lock_fd, s->log_fd, s->signal_fd};
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    configuration_free(&s->configuration);
}

int supervisor_run(const char *path, const struct house_role roles[ROLE_COUNT])
{
    static struct supervisor s;
    struct config_error error = {0};

    s = (struct supervisor){.roles = roles,
        .credentials = {.fd = -1, .next_look = INSTANT_NEVER, .rotate_at = INSTANT_NEVER},
        .inject_fd = -1,
        .control_fd = -1,
        .metrics_fd = -1,
        .log_fd = -1,
        .lock_fd = -1,
        .signal_fd = -1};
    for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
        s.children[i].socket = -1;
    notify_init();
    listeners_inherit();
    if (!is_ok(configuration_read(path, &s.configuration, &error))) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    enter(&s, PHASE_STARTING, -1);
    struct result r = prepare(&s, &error);
    if (!is_ok(r)) {
        LOG(START_FAILED, LOG_STR("why", error.text[0] != 0 ? error.text : r.why),
            LOG_STR("what", s.configuration.path));
        finish(&s);
        return EXIT_FAILURE;
    }
    role_start(&s, ROLE_QUEUED);
    workers_start(&s);
    while (!(stopping(&s) && none_left(&s, true)))
        turn(&s);
    LOG(STOPPED, LOG_NUM("signal", s.stop_signal));
    finish(&s);
    return s.status;
}
