/* conn: real sockets on loopback, driven turn by turn; no sleeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/edge/conn.h"
#include "daemon/edge/listener.h"
#include "daemon/edge/loop.h"
#include "tests/unit/edge/tls_pair.h"

enum { GOT_SIZE_MAX = 4 * 1024 * 1024, TURNS_MAX = 2000 };

/* One connection and what its handlers heard. */
struct end {
    struct conn *conn;
    uint8_t *got;
    size_t got_size;
    size_t eat_max; /* per call; 0: all */
    unsigned inputs, opened, ends, secured, drained, deadlines, lost, closed;
    struct result lost_why;
    struct tls *tls_on_input; /* start it at the first input and eat `eat_max` octets of that */
};

static struct loop *loop;
static struct conn_room *room;
static struct loop_timer heartbeat; /* ends a turn that waits for something that has come already */

static void on_heartbeat(void *ctx)
{
    (void)ctx;
    loop_timer_set(loop, &heartbeat, instant_after(loop_now(loop), 5));
}

static void on_opened(void *owner, struct conn *c)
{
    (void)c;
    ((struct end *)owner)->opened++;
}
static size_t on_input(void *owner, struct conn *c, struct bytes in)
{
    struct end *e = owner;
    size_t take = e->eat_max > 0 && e->eat_max < in.size ? e->eat_max : in.size;

    e->inputs++;
    if (e->got == NULL)
        e->got = mem_take(GOT_SIZE_MAX);
    assert_true(e->got_size + take <= GOT_SIZE_MAX);
    memcpy(e->got + e->got_size, in.data, take);
    e->got_size += take;
    if (e->tls_on_input != NULL) {
        conn_write(c, BYTES("220 go\r\n"));
        conn_start_tls(c, e->tls_on_input);
        e->tls_on_input = NULL;
        e->eat_max = 0;
    }
    return take;
}
static void on_input_end(void *owner, struct conn *c)
{
    (void)c;
    ((struct end *)owner)->ends++;
}
static void on_secured(void *owner, struct conn *c)
{
    (void)c;
    ((struct end *)owner)->secured++;
}
static void on_drained(void *owner, struct conn *c)
{
    (void)c;
    ((struct end *)owner)->drained++;
}
static void on_deadline(void *owner, struct conn *c)
{
    (void)c;
    ((struct end *)owner)->deadlines++;
}
static void on_lost(void *owner, struct conn *c, struct result why)
{
    struct end *e = owner;

    (void)c;
    e->lost++;
    e->lost_why = why;
}
static void on_closed(void *owner, struct conn *c)
{
    struct end *e = owner;

    (void)c;
    e->closed++;
    e->conn = NULL;
}
static const struct conn_handler HANDLER = {
    on_opened, on_input, on_input_end, on_secured, on_drained, on_deadline, on_lost, on_closed};

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    if (loop == NULL || !is_ok(conn_room_new(loop, &room)))
        return -1;
    heartbeat = (struct loop_timer){.fn = on_heartbeat};
    on_heartbeat(NULL);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < TURNS_MAX && conn_room_count(room) > 0; i++)
        loop_turn(loop, true);
    loop_timer_stop(loop, &heartbeat);
    conn_room_free(&room);
    loop_free(&loop);
    return 0;
}

/* Turns until the condition holds; a broken connection shows as a failed test, not as a hang. */
#define TURN_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        int turns_ = 0;                                                                                                \
        while (!(condition) && turns_++ < TURNS_MAX)                                                                   \
            loop_turn(loop, true);                                                                                     \
        assert_true(condition);                                                                                        \
    } while (0)

static int listen_on_loopback(uint16_t *port_out, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port_out = ntohs(at.sin_port);
    return fd;
}

/* A TCP connection over loopback: fd[0] for the conn under test, fd[1] raw and blocking. */
static void tcp_pair(int fd[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint16_t port;
    int listening = listen_on_loopback(&port, 1);

    at.sin_port = htons(port);
    fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd[1], (struct sockaddr *)&at, sizeof at), 0);
    fd[0] = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd[0] >= 0);
    close(listening);
}

/* A client that resets before it is looked at has no address: it must not be given what the stack held. */
static void who_is_gone_has_no_address(void **state)
{
    struct linger at_once = {.l_onoff = 1};
    struct conn_end peer, none = {0};
    int fd[2];

    (void)state;
    tcp_pair(fd);
    memset(&peer, 0xa5, sizeof peer);
    assert_true(is_ok(conn_peer_read(fd[0], &peer)));
    assert_true(bytes_equal(conn_end_text(&peer), BYTES("127.0.0.1")));
    assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd[1]);
    assert_int_equal(conn_peer_read(fd[0], &peer).code, CODE_IO);
    assert_memory_equal(&peer, &none, sizeof none);
    close(fd[0]);
}

static void adopt(int fd, struct end *e)
{
    assert_true(is_ok(conn_adopt(room, fd, &HANDLER, e, &e->conn)));
}

static void close_end(struct end *e)
{
    if (e->conn != NULL)
        conn_close(e->conn);
    TURN_UNTIL(e->closed == 1);
    mem_free(e->got);
}

static void one_turn_is_one_segment(void **state)
{
    struct end e = {0};
    char text[64];
    int fd[2];

    (void)state;
    tcp_pair(fd);
    adopt(fd[0], &e);
    assert_true(bytes_equal(conn_end_text(conn_peer(e.conn)), BYTES("127.0.0.1")));
    assert_int_equal(conn_peer(e.conn)->address[10], 0xff);
    assert_int_equal(conn_peer(e.conn)->address[15], 1);
    assert_int_not_equal(conn_peer(e.conn)->port, 0);
    conn_write(e.conn, BYTES("250-one\r\n"));
    conn_write(e.conn, BYTES("250-two\r\n"));
    conn_write(e.conn, BYTES("250 three\r\n"));
    assert_int_equal(recv(fd[1], text, sizeof text, MSG_DONTWAIT), -1); /* not before the turn ends */
    loop_turn(loop, false);
    assert_int_equal(recv(fd[1], text, sizeof text, MSG_DONTWAIT), 29);
    assert_memory_equal(text, "250-one\r\n250-two\r\n250 three\r\n", 29);
    assert_int_equal(conn_unsent(e.conn), 0);
    close_end(&e);
    assert_int_equal(e.lost, 0);
    close(fd[1]);
}

static void uneaten_input_waits(void **state)
{
    struct end e = {.eat_max = 5};
    int fd[2];

    (void)state;
    tcp_pair(fd);
    adopt(fd[0], &e);
    assert_int_equal(write(fd[1], "MAIL\nRCPT\nDATA\n", 15), 15);
    TURN_UNTIL(e.got_size == 5);
    assert_true(conn_input_left(e.conn));
    assert_int_equal(write(fd[1], "QUIT\n", 5), 5);
    assert_int_equal(shutdown(fd[1], SHUT_WR), 0);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, false);
    assert_int_equal(e.inputs, 1); /* nothing is read meanwhile */
    conn_resume(e.conn);
    TURN_UNTIL(e.got_size == 10);
    assert_int_equal(e.ends, 0);
    e.eat_max = 0;
    conn_resume(e.conn);
    TURN_UNTIL(e.ends == 1);
    assert_int_equal(e.got_size, 20);
    assert_memory_equal(e.got, "MAIL\nRCPT\nDATA\nQUIT\n", 20);
    /* half closed: we may still answer */
    conn_write(e.conn, BYTES("221 bye\r\n"));
    conn_close_after_flush(e.conn);
    TURN_UNTIL(e.closed == 1);
    char text[32];
    assert_int_equal(recv(fd[1], text, sizeof text, MSG_DONTWAIT), 9);
    assert_int_equal(recv(fd[1], text, sizeof text, MSG_DONTWAIT), 0);
    close_end(&e);
    close(fd[1]);
}

static void paused_conn_reads_nothing(void **state)
{
    struct end e = {0};
    int fd[2];

    (void)state;
    tcp_pair(fd);
    adopt(fd[0], &e);
    conn_pause(e.conn);
    assert_int_equal(write(fd[1], "hello", 5), 5);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, false);
    assert_int_equal(e.inputs, 0);
    conn_resume(e.conn);
    TURN_UNTIL(e.got_size == 5);
    close_end(&e);
    close(fd[1]);
}

static size_t drain_some(int fd)
{
    static char text[65536];
    size_t total = 0;
    ssize_t got;

    while ((got = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0)
        total += (size_t)got;
    return total;
}

static void slow_reader_congests(void **state)
{
    static uint8_t text[100000];
    struct end e = {0};
    size_t sent = 0, got = 0;
    int fd[2];

    (void)state;
    tcp_pair(fd);
    adopt(fd[0], &e);
    while (!conn_congested(e.conn)) {
        conn_write(e.conn, (struct bytes){text, sizeof text});
        sent += sizeof text;
        loop_turn(loop, false);
        assert_true(sent < 64 * 1024 * 1024);
    }
    assert_true(conn_unsent(e.conn) > CONN_OUT_SIZE_HIGH);
    for (int i = 0; i < TURNS_MAX && e.drained == 0; i++) {
        got += drain_some(fd[1]);
        loop_turn(loop, false);
    }
    assert_int_equal(e.drained, 1);
    assert_false(conn_congested(e.conn));
    conn_close_after_flush(e.conn); /* what is left still goes out */
    for (int i = 0; i < TURNS_MAX && got < sent; i++) {
        got += drain_some(fd[1]);
        loop_turn(loop, false);
    }
    assert_int_equal(got, sent);
    close(fd[1]);
    close_end(&e);
}

static void reset_is_told_once(void **state)
{
    struct linger hard = {1, 0};
    struct end e = {0};
    int fd[2];

    (void)state;
    tcp_pair(fd);
    adopt(fd[0], &e);
    assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(fd[1]);
    TURN_UNTIL(e.closed == 1);
    assert_int_equal(e.lost, 1);
    assert_int_equal(e.lost_why.code, CODE_IO);
    close_end(&e);
}

static void deadline_comes_once(void **state)
{
    struct end e = {0};
    int fd[2];

    (void)state;
    tcp_pair(fd);
    adopt(fd[0], &e);
    conn_set_deadline(e.conn, instant_after(loop_now(loop), 5000));
    conn_set_deadline(e.conn, instant_after(loop_now(loop), 1));
    TURN_UNTIL(e.deadlines == 1);
    conn_set_deadline(e.conn, loop_now(loop));
    conn_set_deadline(e.conn, INSTANT_NEVER);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, false);
    assert_int_equal(e.deadlines, 1);
    close_end(&e);
    close(fd[1]);
}

static struct conn_dial dial_to(uint16_t port)
{
    struct conn_dial to = {.address = {127, 0, 0, 1}, .port = port, .deadline = INSTANT_NEVER};

    return to;
}

static void dials(void **state)
{
    static const uint8_t SOURCE[16] = {127, 0, 0, 9};
    struct conn_dial to;
    struct end e = {0};
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    uint16_t port;
    int listening = listen_on_loopback(&port, 4), fd;

    (void)state;
    to = dial_to(port);
    to.source = SOURCE;
    assert_true(is_ok(conn_dial(room, &to, &HANDLER, &e, &e.conn)));
    conn_write(e.conn, BYTES("early"));
    assert_int_equal(e.opened, 0);
    TURN_UNTIL(e.opened == 1);
    TURN_UNTIL(conn_unsent(e.conn) == 0);
    fd = accept(listening, (struct sockaddr *)&from, &size);
    assert_true(fd >= 0);
    assert_int_equal(ntohl(from.sin_addr.s_addr), 0x7f000009);
    assert_int_equal(conn_peer(e.conn)->port, port);
    close_end(&e);
    close(fd);
    close(listening);

    struct end refused = {0};
    assert_true(is_ok(conn_dial(room, &to, &HANDLER, &refused, &refused.conn)));
    TURN_UNTIL(refused.closed == 1);
    assert_int_equal(refused.lost, 1);
    assert_int_equal(refused.lost_why.sys, ECONNREFUSED);
    assert_int_equal(refused.opened, 0);
}

static void dial_has_a_deadline(void **state)
{
    struct end e[4] = {{0}};
    struct conn_dial to;
    uint16_t port;
    int listening = listen_on_loopback(&port, 0);
    unsigned late = 0;

    (void)state;
    /* Nobody accepts and the backlog takes one: the others get no answer at all. */
    to = dial_to(port);
    for (size_t i = 0; i < COUNT_OF(e); i++) {
        to.deadline = instant_after(loop_now(loop), 50);
        assert_true(is_ok(conn_dial(room, &to, &HANDLER, &e[i], &e[i].conn)));
    }
    TURN_UNTIL(e[3].closed == 1);
    for (size_t i = 0; i < COUNT_OF(e); i++) {
        late += e[i].lost_why.code == CODE_TIMEOUT;
        close_end(&e[i]);
    }
    assert_true(late > 0);
    close(listening);
}

static void knows_the_local_user(void **state)
{
    struct end e = {0};
    uint32_t uid = 12345;
    int fd[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    adopt(fd[0], &e);
    assert_true(conn_peer(e.conn)->local);
    assert_true(is_ok(conn_peer_uid(e.conn, &uid)));
    assert_int_equal(uid, getuid());
    close(fd[1]);
    TURN_UNTIL(e.ends == 1);
    close_end(&e);
}

static void starttls_drops_what_came_in_the_clear(void **state)
{
    struct tls_context *server_ctx, *client_ctx;
    struct end server = {.eat_max = 10}, client = {0};
    static uint8_t text[1000000];
    struct tls *tls;
    int fd[2];

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7 + i / 251);
    assert_true(is_ok(tls_context_server(bytes_of(TLS_PAIR_CERTIFICATE), bytes_of(TLS_PAIR_KEY), &server_ctx)));
    assert_true(is_ok(tls_context_client(&client_ctx)));
    tcp_pair(fd);
    assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
    assert_true(is_ok(tls_accept(server_ctx, &server.tls_on_input)));
    adopt(fd[0], &server);
    adopt(fd[1], &client);
    conn_write(client.conn, BYTES("STARTTLS\r\nRSET injected\r\n"));
    TURN_UNTIL(client.got_size == 8);
    assert_memory_equal(client.got, "220 go\r\n", 8);
    assert_true(is_ok(tls_connect(client_ctx, BYTES("mail.example.org"), &tls)));
    conn_start_tls(client.conn, tls);
    TURN_UNTIL(client.secured == 1 && server.secured == 1);
    client.got_size = server.got_size = 0;
    conn_write(client.conn, (struct bytes){text, sizeof text});
    conn_write(server.conn, (struct bytes){text, sizeof text});
    TURN_UNTIL(client.got_size == sizeof text && server.got_size == sizeof text);
    assert_memory_equal(server.got, text, sizeof text);
    assert_memory_equal(client.got, text, sizeof text);
    /* back-pressure holds under TLS too */
    server.eat_max = 3;
    server.got_size = 0;
    conn_write(client.conn, BYTES("onetwosix"));
    TURN_UNTIL(server.got_size == 3);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, false);
    assert_int_equal(server.got_size, 3);
    conn_resume(server.conn);
    TURN_UNTIL(server.got_size == 6);
    conn_resume(server.conn);
    TURN_UNTIL(server.got_size == 9);
    conn_close_after_flush(server.conn);
    TURN_UNTIL(client.ends == 1);
    close_end(&client);
    close_end(&server);
    tls_context_free(&server_ctx);
    tls_context_free(&client_ctx);
}

static void failed_handshake_is_lost(void **state)
{
    struct tls_context *ctx;
    struct end e = {0};
    struct tls *tls;
    int fd[2];

    (void)state;
    assert_true(is_ok(tls_context_server(bytes_of(TLS_PAIR_CERTIFICATE), bytes_of(TLS_PAIR_KEY), &ctx)));
    assert_true(is_ok(tls_accept(ctx, &tls)));
    tcp_pair(fd);
    adopt(fd[0], &e);
    conn_start_tls(e.conn, tls);
    assert_int_equal(write(fd[1], "EHLO plain.example.org\r\n", 24), 24);
    TURN_UNTIL(e.closed == 1);
    assert_int_equal(e.lost, 1);
    assert_int_equal(e.secured, 0);
    assert_int_equal(e.got_size, 0);
    close(fd[1]);
    close_end(&e);
    tls_context_free(&ctx);
}

static unsigned accepted;
static int accepted_fd = -1;

static void on_accept(void *owner, struct listener *l, int fd)
{
    (void)owner;
    (void)l;
    accepted++;
    accepted_fd = fd;
}

static void listener_hands_out(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct listener *l;
    uint16_t port;
    int listening = listen_on_loopback(&port, 4), fd, no_delay = 0;

    (void)state;
    assert_true(is_ok(listener_new(loop, listening, on_accept, NULL, &l)));
    at.sin_port = htons(port);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    TURN_UNTIL(accepted == 1);
    assert_true(fcntl(accepted_fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(getsockopt(accepted_fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &(socklen_t){sizeof no_delay}), 0);
    assert_true(no_delay != 0);
    close(accepted_fd);
    close(fd);
    listener_free(&l);
    assert_null(l);
    loop_turn(loop, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_turn_is_one_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(uneaten_input_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(paused_conn_reads_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_reader_congests, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(deadline_comes_once, setup, teardown),
        cmocka_unit_test(who_is_gone_has_no_address),
        cmocka_unit_test_setup_teardown(dials, setup, teardown),
        cmocka_unit_test_setup_teardown(dial_has_a_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(knows_the_local_user, setup, teardown),
        cmocka_unit_test_setup_teardown(starttls_drops_what_came_in_the_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_handshake_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(listener_hands_out, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
