/* The control socket on a real loop, with a real engine and store, and clients on the other end of UNIX sockets: a client
 * that does not read holds up nobody, commands reach the engine, and all ends when the server is freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/queued/control_serve.h"
#include "tests/support/folder.h"

enum { TURNS_MAX = 5000, ANSWER_ROOM = 8 << 20 };

struct bench {
    char folder[FOLDER_SIZE_MAX];
    struct sockaddr_un at;
    struct config *cfg;
    struct store *store;
    struct engine *engine;
    struct loop *loop;
    struct control_serve *serve;
    unsigned changed;
};

static void on_send(void *context, void *channel, const struct msg *msg)
{
    (void)context;
    (void)channel;
    (void)msg;
}

static void on_changed(void *ctx)
{
    ((struct bench *)ctx)->changed++;
}

static int setup(void **state)
{
    static struct bench bench;
    struct bench *b = &bench;
    struct config_error error;
    int fd, quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

    log_init(&(struct log_config){.fd = quiet, .level = LOG_LEVEL_INFO, .process = "test"});
    *b = (struct bench){.at = {.sun_family = AF_UNIX}};
    folder_make(b->folder);
    assert_true(is_ok(config_read_text("test", BYTES("hostname = mx.test"), &b->cfg, &error)));
    assert_true(is_ok(store_open(&(struct store_config){.path = b->folder, .size_max = 1 << 28}, &b->store)));
    b->engine = engine_new(&(struct engine_setup){
        .config = b->cfg, .store = b->store, .ports = {.context = b, .send = on_send}, .seed = 1});
    assert_non_null(b->engine);
    assert_true(is_ok(engine_start(b->engine, clock_walltime())));
    b->loop = loop_new();
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(b->at.sun_path, sizeof b->at.sun_path, "%.90s/control", b->folder);
    assert_int_equal(bind(fd, (struct sockaddr *)&b->at, sizeof b->at), 0);
    assert_int_equal(listen(fd, 128), 0);
    b->serve = control_serve_new(b->loop, fd, b->engine, b->cfg);
    assert_non_null(b->serve);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    control_serve_free(&b->serve);
    assert_null(b->serve);
    loop_free(&b->loop);
    engine_free(&b->engine);
    store_close(&b->store);
    config_free(&b->cfg);
    folder_remove(b->folder);
    return 0;
}

static void messages_add(struct bench *b, uint64_t first, uint64_t count)
{
    assert_true(is_ok(store_begin(b->store)));
    for (uint64_t i = first; i < first + count; i++) {
        struct envelope_head head = {.id = {i},
            .arrival = clock_walltime(),
            .reverse_path = BYTES("a@one.example"),
            .body_size = 5,
            .rcpt_count = 1,
            .client = BYTES("192.0.2.1")};
        struct recipient rcpt = {.forward_path = BYTES("a-recipient-with-a-long-name@two.example"),
            .lane = BYTES("mx:two.example"),
            .next_try = {clock_walltime().ms + 3600000},
            .last_reply = BYTES("450 4.2.0 come back later, as often as you like")};

        assert_true(is_ok(store_body_put(b->store, head.id, 0, BYTES("body\n"))));
        assert_true(is_ok(store_message_put(b->store, &head)));
        assert_true(is_ok(store_recipient_put(b->store, head.id, &rcpt)));
    }
    assert_true(is_ok(store_commit(b->store)));
}

static int client_connect(struct bench *b)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&b->at, sizeof b->at), 0);
    return fd;
}

static void client_say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Turns the loop until the last line has come; the answer, NUL-terminated, to be freed. */
static char *answer_take(struct bench *b, int fd)
{
    char *answer = calloc(1, ANSWER_ROOM);
    size_t size = 0;

    for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
        ssize_t n;

        loop_turn(b->loop, false);
        while ((n = recv(fd, answer + size, ANSWER_ROOM - 1 - size, 0)) > 0)
            size += (size_t)n;
        if (strstr(answer, "{\"end\":true") != NULL || strstr(answer, "{\"error\":") != NULL)
            return answer;
        assert_true(n != 0);
    }
    fail_msg("no answer");
    return answer;
}

static unsigned lines_of(const char *text)
{
    unsigned count = 0;

    for (; *text != 0; text++)
        count += *text == '\n';
    return count;
}

static void several_requests_on_one_connection(void **state)
{
    struct bench *b = *state;
    int fd = client_connect(b);
    char *answer;

    messages_add(b, 1000, 3);
    client_say(fd, "{\"v\":1,\"verb\":\"list\"}\n{\"v\":1,\"verb\":\"stats\"}\n");
    answer = answer_take(b, fd);
    assert_true(lines_of(answer) >= 4);
    free(answer);
    client_say(fd, "nonsense\n");
    for (unsigned turn = 0; turn < 10; turn++)
        loop_turn(b->loop, false);
    answer = answer_take(b, fd);
    free(answer);
    close(fd);
}

static void a_client_that_does_not_read_holds_up_nobody(void **state)
{
    struct bench *b = *state;
    int lazy[8], eager;
    char *answer;

    messages_add(b, 1000, 4000);
    for (size_t i = 0; i < COUNT_OF(lazy); i++) {
        lazy[i] = client_connect(b);
        client_say(lazy[i], "{\"v\":1,\"verb\":\"list\"}\n");
    }
    eager = client_connect(b);
    for (unsigned turn = 0; turn < 50; turn++)
        loop_turn(b->loop, false);
    client_say(eager, "{\"v\":1,\"verb\":\"stats\"}\n");
    answer = answer_take(b, eager);
    assert_non_null(strstr(answer, "\"messages\":4000"));
    free(answer);
    /* the store is not held: a writer and a map growth have their way */
    messages_add(b, 100000, 10);
    answer = answer_take(b, lazy[0]);
    assert_int_equal(lines_of(answer), 4001); /* what came later is not part of it */
    free(answer);
    close(lazy[1]); /* leaves in the middle */
    for (unsigned turn = 0; turn < 50; turn++)
        loop_turn(b->loop, false);
    for (size_t i = 2; i < COUNT_OF(lazy); i++)
        close(lazy[i]); /* some are still open to the server when it is freed */
    close(lazy[0]);
    close(eager);
}

static void commands_reach_the_engine(void **state)
{
    struct bench *b = *state;
    int fd = client_connect(b);
    struct envelope_head head;
    char *answer;

    messages_add(b, 1000, 4400);
    control_serve_on_change(b->serve, on_changed, b);
    client_say(fd, "{\"v\":1,\"verb\":\"hold\",\"all\":true}\n");
    answer = answer_take(b, fd);
    assert_non_null(strstr(answer, "{\"end\":true,\"recipients\":4400,\"missing\":0,\"count\":4400}"));
    free(answer);
    assert_true(b->changed >= 2);                                                 /* ORDER_TARGETS_MAX in a turn */
    client_say(fd, "{\"v\":1,\"verb\":\"delete\",\"id\":\"z8\",\"window\":0}\n"); /* 1000 in the base of ids */
    answer = answer_take(b, fd);
    assert_non_null(strstr(answer, "\"count\":1}"));
    free(answer);
    assert_true(is_ok(store_read_begin(b->store)));
    assert_int_equal(store_message_get(b->store, (struct message_id){1000}, &head).code, CODE_GONE);
    store_read_end(b->store);
    close(fd);
}

static void too_many_clients_are_turned_away(void **state)
{
    struct bench *b = *state;
    int fds[CONTROL_CLIENTS_MAX + 8];
    char octet;
    unsigned refused = 0;

    for (size_t i = 0; i < COUNT_OF(fds); i++)
        fds[i] = client_connect(b);
    for (unsigned turn = 0; turn < 200; turn++)
        loop_turn(b->loop, false);
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        refused += recv(fds[i], &octet, 1, 0) == 0;
    assert_int_equal(refused, 8);
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(several_requests_on_one_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_holds_up_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(commands_reach_the_engine, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_clients_are_turned_away, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
