/* session, depot: a client on a real socket, sessions and depot under test, and a queued played by the test over a real
 * channel; all in one loop, turn by turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "daemon/inbound/session.h"

enum { TEXT_MAX = 65536, TURNS_MAX = 3000 };

static const char CONFIG[] = "hostname = \"mail.example.org\"\n"
                             "domain \"example.org\" { deliver = \"maildir\" maildir = \"/var/mail/%d/%u\" }\n"
                             "limits { sessions = 3 sessions_per_client = 100 }\n";

/* The test's queued. */
static struct {
    struct channel *channel;
    bool answers_commit, gives_credit;
    enum tx_outcome outcome;
    uint64_t next_id;
    unsigned begun, aborted, committed, rcpts;
    uint64_t body_size, committed_size, uncredited;
    struct message_id last;
    char forward_path[128];
    char body[TEXT_MAX];
} queued;

static struct inbound in;
static struct door door;
static struct loop *loop;
static struct loop_timer heartbeat;
static struct config *cfg;
static unsigned emptied;

static void on_heartbeat(void *ctx)
{
    (void)ctx;
    loop_timer_set(loop, &heartbeat, instant_after(loop_now(loop), 5));
}

static void queued_done(struct message_id id)
{
    struct msg m = {.kind = MSG_tx_done, .tx_done = {.id = id, .outcome = queued.outcome}};

    channel_send(queued.channel, &m);
}

/* As the real one does: when a chunk is whole. */
static void queued_credit(void)
{
    struct msg credit = {.kind = MSG_tx_credit, .tx_credit = {.id = queued.last, .size = BODY_CHUNK_SIZE_MAX}};

    for (; queued.gives_credit && queued.uncredited >= BODY_CHUNK_SIZE_MAX; queued.uncredited -= BODY_CHUNK_SIZE_MAX)
        channel_send(queued.channel, &credit);
}

static void queued_message(void *ctx, const struct msg *m)
{
    (void)ctx;
    switch (m->kind) {
    case MSG_ids_want: {
        struct msg grant = {.kind = MSG_ids_grant,
            .ids_grant = {.first = queued.next_id, .count = m->ids_want.count < 100 ? m->ids_want.count : 100}};

        queued.next_id += 100;
        channel_send(queued.channel, &grant);
        break;
    }
    case MSG_tx_begin:
        queued.begun++;
        break;
    case MSG_tx_rcpt:
        queued.rcpts++;
        snprintf(queued.forward_path, sizeof queued.forward_path, "%.*s", BYTES_ARG(m->tx_rcpt.rcpt.forward_path));
        break;
    case MSG_tx_body:
        if (queued.body_size + m->tx_body.body.size < TEXT_MAX)
            memcpy(queued.body + queued.body_size, m->tx_body.body.data, m->tx_body.body.size);
        queued.body_size += m->tx_body.body.size;
        queued.last = m->tx_body.id;
        queued.uncredited += m->tx_body.body.size;
        queued_credit();
        break;
    case MSG_tx_commit:
        queued.committed++;
        queued.committed_size = m->tx_commit.head.body_size;
        queued.last = m->tx_commit.id;
        if (queued.answers_commit)
            queued_done(m->tx_commit.id);
        break;
    case MSG_tx_abort:
        queued.aborted++;
        break;
    default:
        fail();
    }
}

static void queued_closed(void *ctx, enum channel_end why)
{
    (void)ctx;
    (void)why;
}

static const struct channel_handlers QUEUED_HANDLERS = {.on_message = queued_message, .on_closed = queued_closed};

static void queued_connect(void)
{
    int fd[2];

    assert_true(is_ok(channel_pair(fd)));
    channel_free(&queued.channel);
    queued.channel = channel_new(loop, fd[0], ROLE_QUEUED, ROLE_INBOUND, &QUEUED_HANDLERS, NULL);
    depot_channel(in.depot, fd[1]);
}

static void on_emptied(struct inbound *i)
{
    (void)i;
    emptied++;
}

static int setup(void **state)
{
    struct config_error error;

    (void)state;
    memset(&queued, 0, sizeof queued);
    memset(&in, 0, sizeof in);
    emptied = 0;
    queued.answers_commit = queued.gives_credit = true;
    queued.next_id = 1000000;
    loop = loop_new();
    heartbeat = (struct loop_timer){.fn = on_heartbeat};
    if (loop == NULL || !is_ok(config_read_text("test", bytes_of(CONFIG), &cfg, &error)))
        return -1;
    on_heartbeat(NULL);
    in.loop = loop;
    in.cfg = cfg;
    in.emptied = on_emptied;
    in.depot = depot_new(loop, &SESSION_DEPOT_HANDLERS, &in);
    if (in.depot == NULL || !is_ok(conn_room_new(loop, &in.room)) || !is_ok(census_open(0, 3, &in.census)))
        return -1;
    users_load(&in.users);
    door = (struct door){.class = LISTEN_SMTP,
        .smtp = {.hostname = cfg->hostname,
            .class = SMTP_CLASS_MX,
            .extensions = SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_ENHANCEDSTATUSCODES,
            .size_max = 50 * 1024 * 1024,
            .rcpt_max = 100,
            .idle_timeout_ms = 300000,
            .data_block_timeout_ms = 300000}};
    queued_connect();
    for (int i = 0; i < TURNS_MAX && !depot_is_stocked(in.depot); i++)
        loop_turn(loop, true);
    return depot_is_stocked(in.depot) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    conn_room_close_all(in.room);
    for (int i = 0; i < TURNS_MAX && conn_room_count(in.room) > 0; i++)
        loop_turn(loop, true);
    conn_room_free(&in.room);
    depot_free(&in.depot);
    channel_free(&queued.channel);
    census_close(&in.census);
    users_fini(&in.users);
    config_free(&cfg);
    loop_timer_stop(loop, &heartbeat);
    loop_free(&loop);
    return 0;
}

/* A client: its end of a socket pair (so it counts as local to the connection, and may relay). */
static int client_new(void)
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    session_new(&in, &door, fd[0]);
    return fd[1];
}

static char heard[TEXT_MAX];

/* Reads until the text ends with a line that starts with `want`; what came stands in `heard`. */
static void hear(int fd, const char *want)
{
    size_t size = 0;

    for (int i = 0; i < TURNS_MAX; i++) {
        ssize_t got = recv(fd, heard + size, sizeof heard - size - 1, MSG_DONTWAIT);

        if (got > 0) {
            char *line;

            size += (size_t)got;
            heard[size] = 0;
            for (line = heard; strchr(line, '\n') != NULL && strchr(line, '\n')[1] != 0; line = strchr(line, '\n') + 1)
                ;
            if (strncmp(line, want, strlen(want)) == 0 && heard[size - 1] == '\n')
                return;
        }
        loop_turn(loop, true);
    }
    fail_msg("wanted %s, heard %.*s", want, (int)size, heard);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void turn(int times)
{
    while (times-- > 0)
        loop_turn(loop, true);
}

static void takes_a_message(void **state)
{
    int fd = client_new();

    (void)state;
    hear(fd, "220 mail.example.org");
    say(fd, "EHLO c.example\r\n");
    hear(fd, "250 ");
    say(fd, "MAIL FROM:<a@b.example>\r\nRCPT TO:<x@example.org>\r\nRCPT TO:<postmaster>\r\nDATA\r\n");
    hear(fd, "354");
    assert_non_null(strstr(heard, "250 2.1.0"));
    say(fd, "Subject: one\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
    hear(fd, "221");
    assert_non_null(strstr(heard, "250 2.0.0"));
    assert_int_equal(queued.committed, 1);
    assert_int_equal(queued.rcpts, 2);
    assert_string_equal(queued.forward_path, "postmaster@example.org");
    assert_int_equal(queued.committed_size, queued.body_size);
    assert_non_null(strstr(queued.body, "Received: "));
    assert_non_null(strstr(queued.body, "\r\n.dot\r\n"));
    turn(3);
    assert_null(in.first);
    assert_int_equal(census_count(in.census, 0), 0);
    close(fd);
}

static void no_250_before_queued_says_so(void **state)
{
    int fd = client_new();
    char none[8];

    (void)state;
    queued.answers_commit = false;
    hear(fd, "220");
    say(fd, "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(fd, "354");
    say(fd, "hello\r\n.\r\n");
    turn(20);
    assert_int_equal(queued.committed, 1);
    assert_int_equal(recv(fd, none, sizeof none, MSG_DONTWAIT), -1);
    queued.outcome = TX_NO_SPACE;
    queued_done(queued.last);
    hear(fd, "452 4.3.1");
    close(fd);
}

static void queued_gone_is_451(void **state)
{
    int fd = client_new(), other = client_new();

    (void)state;
    queued.answers_commit = false;
    hear(fd, "220");
    hear(other, "220");
    say(fd, "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(fd, "354");
    say(fd, "hello\r\n.\r\n");
    say(other, "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(other, "354");
    turn(10);
    assert_int_equal(queued.committed, 1);
    channel_free(&queued.channel);
    hear(fd, "451 4.3.0"); /* it was waiting */
    say(other, "half\r\n.\r\n");
    hear(other, "451 4.3.0"); /* it was sending */
    say(fd, "MAIL FROM:<>\r\n");
    hear(fd, "451 4.3.0"); /* it is new */
    queued.answers_commit = true;
    queued_connect();
    for (int i = 0; i < TURNS_MAX && !depot_is_stocked(in.depot); i++)
        loop_turn(loop, true);
    say(fd, "MAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(fd, "354");
    say(fd, "again\r\n.\r\n");
    hear(fd, "250 2.0.0");
    close(fd);
    close(other);
}

static void credit_stops_the_client(void **state)
{
    static char line[1002];
    int fd = client_new();
    size_t sent = 0;
    ssize_t got;

    (void)state;
    memset(line, 'x', 1000);
    memcpy(line + 1000, "\r\n", 2);
    queued.gives_credit = false;
    hear(fd, "220");
    say(fd, "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(fd, "354");
    /* The window, our kept input and the kernel's buffers fill up, and then nothing goes any more. */
    for (int idle = 0; idle < 50;) {
        got = send(fd, line + sent % 1002, 1002 - sent % 1002, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (got > 0) {
            sent += (size_t)got;
            idle = 0;
        } else {
            loop_turn(loop, true);
            idle++;
        }
        assert_true(sent < 16 * 1024 * 1024);
    }
    assert_true(queued.body_size <= BODY_WINDOW_SIZE + 2048);
    assert_true(queued.body_size >= BODY_CHUNK_SIZE_MAX); /* else no credit would ever come */
    queued.gives_credit = true;
    queued_credit();
    for (int i = 0; i < 20000 && (sent < 3 * 1024 * 1024 || sent % 1002 != 0); i++) {
        got = send(fd, line + sent % 1002, 1002 - sent % 1002, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += got > 0 ? (size_t)got : 0;
        loop_turn(loop, true);
    }
    for (int i = 0; i < TURNS_MAX && send(fd, ".\r\n", 3, MSG_DONTWAIT | MSG_NOSIGNAL) != 3; i++)
        loop_turn(loop, true);
    hear(fd, "250 2.0.0");
    assert_int_equal(queued.committed_size, queued.body_size);
    assert_true(queued.body_size > sent);
    close(fd);
}

static void closed_admission_is_452(void **state)
{
    int fd = client_new();
    struct msg m = {.kind = MSG_admission, .admission = {.accepting = false, .reply = BYTES("The disk is full")}};

    (void)state;
    hear(fd, "220");
    channel_send(queued.channel, &m);
    turn(5);
    say(fd, "HELO c\r\nMAIL FROM:<>\r\n");
    hear(fd, "452 4.3.1 The disk is full");
    close(fd);
}

static void hang_up_aborts(void **state)
{
    int fd = client_new();

    (void)state;
    hear(fd, "220");
    say(fd, "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(fd, "354");
    say(fd, "half a mess");
    close(fd);
    for (int i = 0; i < TURNS_MAX && queued.aborted == 0; i++)
        loop_turn(loop, true);
    assert_int_equal(queued.aborted, 1);
    assert_int_equal(queued.committed, 0);
    turn(5);
    assert_null(in.first);
    assert_int_equal(depot_tx_count(in.depot), 0);
}

static void half_closed_client_hears_its_reply(void **state)
{
    int fd = client_new();

    (void)state;
    hear(fd, "220");
    say(fd, "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(fd, "354");
    queued.answers_commit = false;
    say(fd, "hello\r\n.\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    turn(20);
    queued_done(queued.last);
    hear(fd, "250 2.0.0");
    turn(5);
    assert_null(in.first);
    close(fd);
}

static void sessions_are_bounded(void **state)
{
    int fd[5];

    (void)state;
    for (int i = 0; i < 5; i++)
        fd[i] = client_new();
    for (int i = 0; i < 3; i++)
        hear(fd[i], "220");
    hear(fd[3], "421 4.3.2");
    hear(fd[4], "421 4.3.2");
    close(fd[0]);
    turn(10);
    int again = client_new();
    hear(again, "220");
    for (int i = 1; i < 5; i++)
        close(fd[i]);
    close(again);
}

static void drain_ends_when_sessions_do(void **state)
{
    int fd = client_new(), busy = client_new();

    (void)state;
    hear(fd, "220");
    hear(busy, "220");
    say(busy, "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n");
    hear(busy, "354");
    in.draining = true;
    for (struct session *s = in.first, *next; s != NULL; s = next) {
        next = session_next(s);
        session_stop(s);
    }
    hear(fd, "421 4.3.2");
    assert_int_equal(emptied, 0);
    say(busy, "hello\r\n.\r\n");
    hear(busy, "421 4.3.2");
    assert_non_null(strstr(heard, "250 2.0.0"));
    turn(10);
    assert_int_equal(emptied, 1);
    close(fd);
    close(busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_a_message, setup, teardown),
        cmocka_unit_test_setup_teardown(no_250_before_queued_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(queued_gone_is_451, setup, teardown),
        cmocka_unit_test_setup_teardown(credit_stops_the_client, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_admission_is_452, setup, teardown),
        cmocka_unit_test_setup_teardown(hang_up_aborts, setup, teardown),
        cmocka_unit_test_setup_teardown(half_closed_client_hears_its_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(drain_ends_when_sessions_do, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
