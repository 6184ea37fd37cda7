/* supervisor: a whole house with roles of this file's making. The program is its own mansiod: with arguments it runs as one.
 *
 * The inbound here greets each client with "220 <its pid> <queued's pid> <hostname>", asking queued for the second over
 * its channel, and keeps the session until the client closes. The test reads the house's log through a pipe and waits for
 * events there, never for time. */
#include "daemon/supervisor/house.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "daemon/edge/channel.h"
#include "daemon/edge/clock.h"

enum { SESSION_COUNT_MAX = 8, WAIT_MS = 20000 };

/* --- the roles --- */

struct dummy {
    struct process *process;
    struct channel *peers[64];
    uv_poll_t listeners[8];
    size_t listener_count;
    uv_poll_t sessions[SESSION_COUNT_MAX];
    bool used[SESSION_COUNT_MAX];
    bool closing[SESSION_COUNT_MAX]; /* the slot's handle is still the loop's */
    bool greeted[SESSION_COUNT_MAX];
    bool draining, stopping;
};

static int poll_fd(const uv_poll_t *poll)
{
    uv_os_fd_t fd = -1;
    uv_fileno((const uv_handle_t *)poll, &fd);
    return fd;
}

static void dummy_ask(struct dummy *d)
{
    for (size_t i = 0; i < COUNT_OF(d->peers); i++)
        if (d->peers[i] != NULL)
            channel_send(d->peers[i], &(struct msg){.kind = MSG_ids_want, .ids_want = {.count = 1}});
}

static void on_session_closed(uv_handle_t *handle)
{
    struct dummy *d = handle->data;

    d->closing[(uv_poll_t *)handle - d->sessions] = false;
}

static void session_close(struct dummy *d, size_t i)
{
    close(poll_fd(&d->sessions[i]));
    uv_close((uv_handle_t *)&d->sessions[i], on_session_closed);
    d->used[i] = false;
    d->closing[i] = true;
    for (size_t k = 0; k < SESSION_COUNT_MAX; k++)
        if (d->used[k])
            return;
    if (d->draining)
        process_exit(d->process, 0);
}

static void on_session(uv_poll_t *poll, int status, int events)
{
    struct dummy *d = poll->data;
    char room[256];
    (void)status;
    (void)events;

    if (read(poll_fd(poll), room, sizeof room) <= 0)
        session_close(d, (size_t)(poll - d->sessions));
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct dummy *d = poll->data;
    int fd = accept4(poll_fd(poll), NULL, NULL, SOCK_CLOEXEC);
    (void)status;
    (void)events;

    for (size_t i = 0; fd >= 0 && i < SESSION_COUNT_MAX; i++) {
        if (d->used[i] || d->closing[i])
            continue;
        d->used[i] = true;
        d->greeted[i] = false;
        d->sessions[i].data = d;
        uv_poll_init(loop_uv(process_loop(d->process)), &d->sessions[i], fd);
        uv_poll_start(&d->sessions[i], UV_READABLE, on_session);
        dummy_ask(d);
        return;
    }
}

static void on_message(void *ctx, const struct msg *m)
{
    struct dummy *d = ctx;
    char line[256];

    if (m->kind == MSG_ids_want) {
        for (size_t i = 0; i < COUNT_OF(d->peers); i++)
            if (d->peers[i] != NULL)
                channel_send(d->peers[i],
                    &(struct msg){.kind = MSG_ids_grant, .ids_grant = {.first = (uint64_t)getpid(), .count = 1}});
        return;
    }
    for (size_t i = 0; m->kind == MSG_ids_grant && i < SESSION_COUNT_MAX; i++) {
        if (!d->used[i] || d->greeted[i])
            continue;
        d->greeted[i] = true;
        int size = snprintf(line, sizeof line, "220 %d %d %s\r\n", (int)getpid(), (int)m->ids_grant.first,
            (const char *)process_config(d->process)->hostname.data);
        (void)!write(poll_fd(&d->sessions[i]), line, (size_t)size);
    }
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct dummy *d = ctx;
    (void)why;

    for (size_t i = 0; i < COUNT_OF(d->peers); i++)
        if (d->peers[i] != NULL && channel_is_dead(d->peers[i]))
            channel_free(&d->peers[i]);
}

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    static const struct channel_handlers handlers = {on_message, on_closed, NULL};
    struct dummy *d = ctx;
    enum ipc_role self = process_role(d->process);
    (void)peer_index;

    if (peer == ROLE_OUTBOUND || peer == ROLE_LOCAL) {
        close(fd); /* they hear only that it is closed */
        return;
    }
    for (size_t i = 0; i < COUNT_OF(d->peers); i++) {
        if (d->peers[i] != NULL)
            continue;
        d->peers[i] = channel_new(process_loop(d->process), fd, self, peer, &handlers, d);
        if (self == ROLE_INBOUND)
            dummy_ask(d); /* for clients that came while queued was away */
        return;
    }
    abort();
}

static bool is_stuck(const struct dummy *d)
{
    return process_role(d->process) == ROLE_INBOUND &&
           bytes_equal(process_config(d->process)->origin, BYTES("stuck.example"));
}

static void on_listener(void *ctx, uint32_t listen_index, uint32_t address_index, int fd)
{
    struct dummy *d = ctx;
    (void)address_index;

    if (listen_index == LISTENER_INJECT || listen_index == LISTENER_CONTROL || is_stuck(d)) {
        close(fd);
        return;
    }
    uv_poll_t *poll = &d->listeners[d->listener_count++];
    poll->data = d;
    uv_poll_init(loop_uv(process_loop(d->process)), poll, fd);
    uv_poll_start(poll, UV_READABLE, on_accept);
}

static void on_go(void *ctx)
{
    struct dummy *d = ctx;

    if (bytes_equal(process_config(d->process)->origin, BYTES("fails.example")) &&
        process_role(d->process) == ROLE_QUEUED)
        process_fail(d->process, "the queue is of a newer version");
    else if (!is_stuck(d))
        process_ready(d->process);
}

static void on_drain(void *ctx)
{
    struct dummy *d = ctx;

    d->draining = true;
    for (size_t i = 0; i < SESSION_COUNT_MAX && process_is_stopping(d->process) && d->used[i]; i++)
        if (bytes_equal(process_config(d->process)->origin, BYTES("polite.example")))
            session_close(d, i);
    while (d->listener_count > 0) {
        uv_poll_t *poll = &d->listeners[--d->listener_count];
        close(poll_fd(poll));
        uv_close((uv_handle_t *)poll, NULL);
    }
    for (size_t i = 0; i < SESSION_COUNT_MAX; i++)
        if (d->used[i])
            return;
    process_exit(d->process, 0);
}

static int dummy_main(struct process *p)
{
    static const struct process_handlers handlers = {
        .on_channel = on_channel, .on_listener = on_listener, .on_go = on_go, .on_drain = on_drain};
    static struct dummy d; /* its handles close after we have returned */

    d.process = p;
    int status = process_serve(p, &handlers, &d);
    on_drain(&d);
    for (size_t i = 0; i < SESSION_COUNT_MAX; i++)
        if (d.used[i])
            session_close(&d, i);
    for (size_t i = 0; i < COUNT_OF(d.peers); i++)
        channel_free(&d.peers[i]);
    return status;
}

static const struct house_role roles[ROLE_COUNT] = {[ROLE_INBOUND] = {dummy_main},
    [ROLE_QUEUED] = {dummy_main},
    [ROLE_OUTBOUND] = {dummy_main},
    [ROLE_LOCAL] = {dummy_main}};

/* --- the test's side --- */

struct house {
    char folder[64];
    char conf[128];
    uint16_t port;
    pid_t pid;
    int log; /* our end of its standard error */
    char seen[262144];
    size_t seen_size;
    size_t looked; /* what expect() has passed */
};

static void conf_write(struct house *h, const char *hostname, const char *more)
{
    FILE *f = fopen(h->conf, "w");

    assert_non_null(f);
    fprintf(f,
        "hostname = \"%s\"\nstate_dir = \"%s/state\"\nrun_dir = \"%s/run\"\nuser = \"nobody\"\n"
        "listen smtp { address = \"127.0.0.1:%u\" }\nprocesses { inbound = 2 outbound = 1 }\n"
        "log { level = \"debug\" }\n%s\n",
        hostname, h->folder, h->folder, h->port, more);
    fclose(f);
}

/* A port that was free a moment ago. */
static uint16_t port_free(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void house_start(struct house *h)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    h->pid = fork();
    assert_true(h->pid >= 0);
    if (h->pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        execl("/proc/self/exe", "mansiod", "-c", h->conf, (char *)NULL);
        _exit(99);
    }
    close(ends[1]);
    if (h->log >= 0)
        close(h->log);
    h->log = ends[0];
    h->seen_size = h->looked = 0;
}

/* Waits until the log, from where the last expect ended, holds `text`. False at the log's end or when it takes too long. */
static bool expect_or_end(struct house *h, const char *text)
{
    struct instant deadline = instant_after(clock_instant(), WAIT_MS);

    for (;;) {
        struct bytes rest = {(uint8_t *)h->seen + h->looked, h->seen_size - h->looked};
        ptrdiff_t at = bytes_find(rest, bytes_of(text));
        if (at >= 0) {
            h->looked += (size_t)at + strlen(text);
            return true;
        }
        struct pollfd p = {.fd = h->log, .events = POLLIN};
        int64_t left = deadline.ms - clock_instant().ms;
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return false;
        assert_true(h->seen_size < sizeof h->seen);
        ssize_t n = read(h->log, h->seen + h->seen_size, sizeof h->seen - h->seen_size);
        if (n <= 0)
            return false;
        h->seen_size += (size_t)n;
    }
}

static void expect(struct house *h, const char *text)
{
    if (!expect_or_end(h, text))
        fail_msg("\"%s\" did not come in the log:\n%.*s", text, (int)h->seen_size, h->seen);
}

static int house_wait(struct house *h)
{
    int status = 0;

    assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
    h->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct session {
    int fd, inbound, queued;
    char hostname[64];
};

static struct session session_open(const struct house *h)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(h->port)};
    struct session s = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct pollfd p = {.fd = s.fd, .events = POLLIN};
    char line[256] = {0};

    assert_int_equal(connect(s.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    assert_true(read(s.fd, line, sizeof line - 1) > 0);
    char *at = line + 4;
    s.inbound = (int)strtol(at, &at, 10);
    s.queued = (int)strtol(at, &at, 10);
    size_t size = strcspn(++at, "\r");
    assert_true(size < sizeof s.hostname);
    memcpy(s.hostname, at, size);
    return s;
}

static bool session_is_open(const struct session *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static bool path_exists(const struct house *h, const char *name)
{
    char path[256];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", h->folder, name);
    return stat(path, &st) == 0;
}

static int setup(void **state)
{
    struct house *h = calloc(1, sizeof *h);

    h->log = -1;
    snprintf(h->folder, sizeof h->folder, "/tmp/mansio-supervisor-XXXXXX");
    assert_non_null(mkdtemp(h->folder));
    snprintf(h->conf, sizeof h->conf, "%s/mansio.conf", h->folder);
    h->port = port_free();
    conf_write(h, "one.example", "");
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct house *h = *state;
    char command[128];

    if (h->pid > 0) {
        kill(h->pid, SIGKILL);
        waitpid(h->pid, NULL, 0);
    }
    if (h->log >= 0)
        close(h->log);
    snprintf(command, sizeof command, "rm -rf '%s'", h->folder);
    (void)!system(command);
    free(h);
    return 0;
}

/* --- tests --- */

static void test_start_and_stop(void **state)
{
    struct house *h = *state;

    house_start(h);
    expect(h, "event=started");
    struct session s = session_open(h);
    assert_string_equal(s.hostname, "one.example");
    assert_true(path_exists(h, "run/inject") && path_exists(h, "run/control") && path_exists(h, "state/queue"));
    close(s.fd);
    struct instant before = clock_instant();
    kill(h->pid, SIGTERM);
    expect(h, "event=stopped signal=15");
    assert_int_equal(house_wait(h), 0);
    assert_true(clock_instant().ms - before.ms < 900); /* no phase of the stop waits for its bound */
    assert_false(path_exists(h, "run/inject") || path_exists(h, "run/control"));
}

static void test_dead_children_come_back(void **state)
{
    struct house *h = *state;

    house_start(h);
    expect(h, "event=started");
    struct session a = session_open(h);
    kill(a.queued, SIGKILL);
    expect(h, "event=child_ended role=queued");
    expect(h, "signal=9 restart_ms=100");
    expect(h, "queued.1 event=process_ready");
    assert_true(session_is_open(&a)); /* inbound outlives it, and gets a new channel */
    struct session b = session_open(h);
    assert_int_not_equal(b.queued, a.queued);
    kill(b.queued, SIGKILL);
    expect(h, "restart_ms=200");
    expect(h, "queued.1 event=process_ready");
    kill(a.inbound, SIGKILL);
    expect(h, "event=child_ended role=inbound");
    expect(h, "restart_ms=100");
    expect(h, "event=process_ready");
    struct session c = session_open(h), d = session_open(h);
    assert_int_not_equal(c.inbound, a.inbound);
    assert_int_not_equal(d.inbound, a.inbound);
    close(a.fd), close(b.fd), close(c.fd), close(d.fd);
    kill(h->pid, SIGINT);
    expect(h, "event=stopped signal=2");
    assert_int_equal(house_wait(h), 0);
}

/* The pipe of the log ends when the last process that could write to it has ended. */
static void test_kill_9_takes_all_and_a_new_one_starts(void **state)
{
    struct house *h = *state;

    for (int turn = 0; turn < 3; turn++) {
        house_start(h);
        expect(h, "event=started");
        struct session s = session_open(h);
        kill(h->pid, SIGKILL);
        assert_int_equal(house_wait(h), 1000 + SIGKILL);
        if (turn == 1)
            assert_false(expect_or_end(h, "event=never"));
        close(s.fd);
    }
    house_start(h);
    expect(h, "event=started");
}

static void test_reload(void **state)
{
    struct house *h = *state;

    house_start(h);
    expect(h, "event=started");
    struct session old = session_open(h);
    conf_write(h, "two.example", "");
    kill(h->pid, SIGHUP);
    expect(h, "event=reloaded");
    assert_true(session_is_open(&old));
    struct session new = session_open(h);
    for (int i = 0; strcmp(new.hostname, "one.example") == 0 && i < 100; i++) { /* until the old have read their word */
        close(new.fd);
        new = session_open(h);
    }
    assert_string_equal(new.hostname, "two.example");
    assert_int_equal(new.queued, old.queued);
    assert_int_not_equal(new.inbound, old.inbound);
    expect(h, "event=child_retired role="); /* those without a session */
    assert_true(session_is_open(&old));
    char retired[64];
    snprintf(retired, sizeof retired, "event=child_retired role=inbound pid=%d", old.inbound);
    close(old.fd);
    expect(h, retired);
    close(new.fd);
}

static void test_reload_refused(void **state)
{
    struct house *h = *state;
    static const char *const faults[] = {
        "no_such_key = 1", "user = other", "listen extra { address = \"192.0.2.1:25\" }"};

    house_start(h);
    expect(h, "event=started");
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        conf_write(h, "two.example", faults[i]);
        kill(h->pid, SIGHUP);
        expect(h, "event=reload_refused");
        struct session s = session_open(h);
        assert_string_equal(s.hostname, "one.example");
        close(s.fd);
    }
}

/* New processes that never become ready: the old ones go on, until a better configuration comes. */
static void test_old_generation_serves_until_the_new_is_ready(void **state)
{
    struct house *h = *state;

    house_start(h);
    expect(h, "event=started");
    conf_write(h, "two.example", "origin = \"stuck.example\"");
    kill(h->pid, SIGHUP);
    expect(h, "outbound.2 event=process_ready");
    for (int i = 0; i < 4; i++) {
        struct session s = session_open(h);
        assert_string_equal(s.hostname, "one.example");
        close(s.fd);
    }
    conf_write(h, "three.example", "");
    kill(h->pid, SIGHUP);
    expect(h, "event=reloaded");
    kill(h->pid, SIGTERM);
    expect(h, "event=stopped");
    assert_int_equal(house_wait(h), 0);
}

static void test_second_signal_does_not_wait_for_sessions(void **state)
{
    struct house *h = *state;

    house_start(h);
    expect(h, "event=started");
    struct session s = session_open(h);
    kill(h->pid, SIGTERM);
    expect(h, "event=child_retired");
    assert_true(session_is_open(&s));
    kill(h->pid, SIGTERM);
    expect(h, "event=stopped");
    assert_int_equal(house_wait(h), 0);
    close(s.fd);
}

/* A process that drains since a reload, at leisure, hears that now the house stops. */
static void test_stop_reaches_the_old_generation(void **state)
{
    struct house *h = *state;

    conf_write(h, "one.example", "origin = \"polite.example\"");
    house_start(h);
    expect(h, "event=started");
    struct session s = session_open(h);
    kill(h->pid, SIGHUP);
    expect(h, "event=reloaded");
    expect(h, "event=child_retired");
    assert_true(session_is_open(&s));
    struct instant before = clock_instant();
    kill(h->pid, SIGTERM);
    expect(h, "event=stopped");
    assert_int_equal(house_wait(h), 0);
    assert_true(clock_instant().ms - before.ms < 4000);
    close(s.fd);
}

static void test_child_that_cannot_serve(void **state)
{
    struct house *h = *state;

    conf_write(h, "one.example", "origin = \"fails.example\"");
    house_start(h);
    expect(h, "event=child_failed role=queued");
    expect(h, "why=\"the queue is of a newer version\"");
    expect(h, "event=start_failed");
    assert_int_equal(house_wait(h), 1);
}

static void test_port_taken(void **state)
{
    struct house *h = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(h->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    house_start(h);
    expect(h, "event=start_failed why=\"127.0.0.1:");
    expect(h, "Address already in use");
    assert_int_equal(house_wait(h), 1);
    close(fd);
}

static void test_stale_and_foreign_sockets(void **state)
{
    struct house *h = *state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[128];

    snprintf(path, sizeof path, "%s/run", h->folder);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s/run/inject", h->folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    house_start(h);
    expect(h, "event=start_failed");
    assert_int_equal(house_wait(h), 1);
    assert_true(path_exists(h, "run/inject")); /* it is the other's */
    close(fd);
    house_start(h); /* nobody listens there any more */
    expect(h, "event=started");
}

static void test_check(void **state)
{
    struct house *h = *state;
    static const char *const rows[] = {"", "no_such_key = 1"};

    for (int i = 0; i < 2; i++) {
        int status = 0;
        conf_write(h, "one.example", rows[i]);
        pid_t pid = fork();
        if (pid == 0) {
            if (i == 1)
                dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
            execl("/proc/self/exe", "mansiod", "-t", "-c", h->conf, (char *)NULL);
            _exit(99);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), i);
    }
    assert_false(path_exists(h, "state"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start_and_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_children_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill_9_takes_all_and_a_new_one_starts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_generation_serves_until_the_new_is_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_signal_does_not_wait_for_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_reaches_the_old_generation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_child_that_cannot_serve, setup, teardown),
        cmocka_unit_test_setup_teardown(test_port_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_and_foreign_sockets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup, teardown),
    };
    if (argc > 1)
        return house_main(argc, argv, roles);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
