/* The control conversation over a real store: the exact lines, the slices, the rights, and requests that are none. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "daemon/queued/control.h"
#include "queue/attempt.h"

enum { NOW_MS = 1700000000 }; /* of a thousand: see now() */

static struct walltime now(void)
{
    return (struct walltime){(int64_t)NOW_MS * 1000};
}

struct fixture {
    char path[64];
    struct store *store;
    uint32_t orders, recipients, lane_calls, hurries, changed_calls, fail_at, lane_orders;
    struct order order;
    struct message_id active;
    char *answer;
    size_t answer_size;
};

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    snprintf(f->path, sizeof f->path, "/tmp/mansio-control-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_true(is_ok(store_open(&(struct store_config){.path = f->path, .size_max = 1 << 26}, &f->store)));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    store_close(&f->store);
    nftw(f->path, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(f->answer);
    free(f);
    return 0;
}

static void message_add(
    struct fixture *f, uint64_t id, const char *from, const char *client, uint32_t rcpts, const char *to)
{
    struct envelope_head head = {.id = {id},
        .arrival = {now().ms - 60000},
        .reverse_path = bytes_of(from),
        .body_size = 5,
        .rcpt_count = rcpts,
        .origin = ORIGIN_LOCAL,
        .client = bytes_of(client),
        .subject = BYTES("s\x1b[31m")};

    assert_true(is_ok(store_begin(f->store)));
    assert_true(is_ok(store_body_put(f->store, head.id, 0, BYTES("body\n"))));
    assert_true(is_ok(store_message_put(f->store, &head)));
    for (uint32_t n = 0; n < rcpts; n++) {
        struct recipient rcpt = {.n = n,
            .forward_path = bytes_of(to),
            .lane = BYTES("mx:example.net"),
            .next_try = {now().ms + (n == 1 ? 90000 : 0)},
            .attempts = n == 1 ? 2 : 0,
            .last_reply = n == 1 ? BYTES("450 4.2.0 \"later\"") : BYTES_NONE,
            .state = n == 2 ? RECIPIENT_HELD : RECIPIENT_WAITING};

        assert_true(is_ok(store_recipient_put(f->store, head.id, &rcpt)));
    }
    assert_true(is_ok(store_commit(f->store)));
}

/* The whole answer to `request`, fed in pieces of `piece` octets; NUL-terminated in f->answer. Returns the pulls it took. */
static unsigned ask(struct fixture *f, struct control *c, const char *request, size_t piece)
{
    static uint8_t room[CONTROL_ROOM_MIN];
    struct bytes rest = bytes_of(request);
    unsigned pulls = 0;

    free(f->answer);
    f->answer = calloc(1, 1);
    f->answer_size = 0;
    while (rest.size > 0 || control_busy(c)) {
        struct buf out = BUF(room);

        if (control_busy(c)) {
            assert_int_equal(control_feed(c, BYTES("x")), 0);
            control_pull(c, now(), &out);
            f->answer = realloc(f->answer, f->answer_size + out.size + 1);
            if (out.size > 0)
                memcpy(f->answer + f->answer_size, out.data, out.size);
            f->answer_size += out.size;
            f->answer[f->answer_size] = 0;
            assert_true(++pulls < 100000);
            continue;
        }
        size_t eaten = control_feed(c, bytes_head(rest, piece));
        assert_true(eaten > 0);
        rest = bytes_after(rest, eaten);
    }
    return pulls;
}

static void offline(struct fixture *f, struct control *c)
{
    control_init(c, &(struct control_setup){.store = f->store, .may_all = true});
}

static void an_empty_list_is_one_end(void **state)
{
    struct fixture *f = *state;
    struct control c;

    offline(f, &c);
    ask(f, &c, "{\"v\":1,\"verb\":\"list\"}\n", 1000);
    assert_string_equal(f->answer, "{\"end\":true,\"size\":0,\"count\":0}\n");
    control_fini(&c);
}

/* CONTRACT "queuectl": this is the line that scripts read. */
static void the_list_line_is_exact(void **state)
{
    struct fixture *f = *state;
    struct control c;
    char id[2][MESSAGE_ID_SIZE_MAX + 1] = {"", ""}, wanted[2000];

    for (uint64_t i = 0; i < 2; i++) {
        struct buf out = {(uint8_t *)id[i], 0, MESSAGE_ID_SIZE_MAX};

        assert_true(is_ok(message_id_put(&out, (struct message_id){1000 + i})));
    }
    message_add(f, 1000, "a\x1b\xff@one.example", "uid 7", 3, "b@two.example");
    message_add(f, 1001, "", "uid 8", 1, "c@two.example");
    snprintf(wanted, sizeof wanted,
        "{\"v\":1,\"id\":\"%s\",\"from\":\"a\\u001b\\u00ff@one.example\",\"size\":5,\"arrival\":1699999940,"
        "\"recipients\":["
        "{\"to\":\"b@two.example\",\"state\":\"due\",\"attempts\":0,\"next_try\":1700000000,\"reply\":\"\",\"lane\":"
        "\"mx:example.net\"},"
        "{\"to\":\"b@two.example\",\"state\":\"deferred\",\"attempts\":2,\"next_try\":1700000090,\"reply\":\"450 4.2.0 "
        "\\\"later\\\"\","
        "\"lane\":\"mx:example.net\"},"
        "{\"to\":\"b@two.example\",\"state\":\"held\",\"attempts\":0,\"next_try\":1700000000,\"reply\":\"\",\"lane\":"
        "\"mx:example.net\"}]}\n"
        "{\"v\":1,\"id\":\"%s\",\"from\":\"\",\"size\":5,\"arrival\":1699999940,\"recipients\":["
        "{\"to\":\"c@two.example\",\"state\":\"due\",\"attempts\":0,\"next_try\":1700000000,\"reply\":\"\",\"lane\":"
        "\"mx:example.net\"}]}\n"
        "{\"end\":true,\"size\":10,\"count\":2}\n",
        id[0], id[1]);
    for (size_t piece = 1; piece < 40; piece += 6) {
        offline(f, &c);
        ask(f, &c, "{\"v\":1,\"verb\":\"list\"}\n", piece);
        assert_string_equal(f->answer, wanted);
        control_fini(&c);
    }
}

static void a_long_list_comes_in_slices(void **state)
{
    struct fixture *f = *state;
    struct control c;
    json_t *message;
    unsigned pulls;
    char *line;

    message_add(f, 1000, "a@one.example", "uid 7", 2500, "b@two.example");
    for (uint64_t id = 1001; id < 1400; id++)
        message_add(f, id, "a@one.example", "uid 7", 1, "b@two.example");
    offline(f, &c);
    pulls = ask(f, &c, "{\"v\":1,\"verb\":\"list\"}\n", 1000);
    assert_true(pulls >= 3); /* no more than CONTROL_ROWS_MAX rows, nor CONTROL_ROOM_MIN octets, in one turn */
    line = strchr(f->answer, '\n');
    message = json_loadb(f->answer, (size_t)(line - f->answer), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(message, "recipients")), 2500);
    json_decref(message);
    assert_non_null(strstr(f->answer, "{\"end\":true,\"size\":2000,\"count\":400}\n"));
    control_fini(&c);
}

static void a_message_may_end_between_slices(void **state)
{
    static uint8_t room[CONTROL_ROOM_MIN];
    struct fixture *f = *state;
    struct control c;
    struct buf out = BUF(room);

    message_add(f, 1000, "a@one.example", "uid 7", 2500, "b@two.example");
    offline(f, &c);
    control_feed(&c, BYTES("{\"v\":1,\"verb\":\"list\"}\n"));
    control_pull(&c, now(), &out);
    assert_true(control_busy(&c));
    assert_true(is_ok(store_begin(f->store)));
    assert_true(is_ok(store_message_delete(f->store, (struct message_id){1000})));
    assert_true(is_ok(store_commit(f->store)));
    buf_reset(&out);
    control_pull(&c, now(), &out);
    assert_false(control_busy(&c));
    assert_true(bytes_starts(buf_bytes(&out), BYTES("]}\n{\"end\":true")));
    control_fini(&c);
}

static void show_tells_all(void **state)
{
    struct fixture *f = *state;
    struct control c;
    char request[100];
    uint8_t row[ATTEMPT_SIZE_MAX];
    struct buf out = BUF(row);
    struct buf id = {(uint8_t *)request, 0, MESSAGE_ID_SIZE_MAX};
    struct attempt attempt = {.kind = ATTEMPT_DEFERRED,
        .n = 1,
        .count = 2,
        .forward_path = BYTES("b@two.example"),
        .host = BYTES("mx.two.example"),
        .reply = BYTES("450 later"),
        .lane = BYTES("mx:two.example")};
    json_t *shown;
    char text[200];

    message_add(f, 1000, "a@one.example", "uid 7", 3, "b@two.example");
    assert_true(is_ok(attempt_put(&out, &attempt)));
    assert_true(is_ok(store_begin(f->store)));
    assert_true(is_ok(store_history_put(f->store, (struct message_id){1000}, now(), buf_bytes(&out))));
    assert_true(is_ok(store_commit(f->store)));
    assert_true(is_ok(message_id_put(&id, (struct message_id){1000})));
    snprintf(text, sizeof text, "{\"v\":1,\"verb\":\"show\",\"id\":\"%.*s\"}\n", (int)id.size, request);

    offline(f, &c);
    ask(f, &c, text, 1000);
    shown = json_loadb(f->answer, (size_t)(strchr(f->answer, '\n') - f->answer), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(shown);
    assert_int_equal(json_array_size(json_object_get(shown, "recipients")), 3);
    assert_string_equal(json_string_value(json_object_get(shown, "subject")), "s\x1b[31m");
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(shown, "history"), 0), "host")),
        "mx.two.example");
    json_decref(shown);

    /* gone from the queue, known to the history */
    assert_true(is_ok(store_begin(f->store)));
    assert_true(is_ok(store_message_delete(f->store, (struct message_id){1000})));
    assert_true(is_ok(store_commit(f->store)));
    ask(f, &c, text, 1000);
    assert_non_null(strstr(f->answer, "\"queued\":false"));
    ask(f, &c, "{\"v\":1,\"verb\":\"show\",\"id\":\"zzzzzz\"}\n", 1000);
    assert_non_null(strstr(f->answer, "\"code\":\"gone\""));
    control_fini(&c);
}

static void stats_and_lanes(void **state)
{
    struct fixture *f = *state;
    struct control c;

    message_add(f, 1000, "a@one.example", "uid 7", 3, "b@two.example");
    offline(f, &c);
    ask(f, &c, "{\"v\":1,\"verb\":\"stats\"}\n{\"v\":1,\"verb\":\"lanes\"}\n", 1000);
    assert_non_null(strstr(f->answer, "\"messages\":1,\"recipients\":3,\"waiting\":2,\"held\":1"));
    assert_non_null(strstr(f->answer, "{\"v\":1,\"lane\":\"mx:example.net\",\"state\":\"due\""));
    control_fini(&c);
}

/* --- rights and changes --- */

static RESULT fake_order(void *context, const struct order *order, const struct order_target *targets, size_t count,
    struct walltime t, uint32_t *count_out)
{
    struct fixture *f = context;

    (void)t;
    assert_true(count > 0 && count <= ORDER_TARGETS_MAX);
    f->orders++;
    f->order = *order;
    f->recipients += (uint32_t)count;
    *count_out = (uint32_t)count;
    for (size_t i = 1; i < count && order->kind != ORDER_RETRY; i++)
        assert_true(targets[i].id.value > targets[i - 1].id.value ||
                    (targets[i].id.value == targets[i - 1].id.value && targets[i].n > targets[i - 1].n));
    return f->orders == f->fail_at ? FAIL(CODE_IO, "the disk failed") : OK;
}

static RESULT fake_lane(void *context, struct bytes lane, struct walltime t, uint32_t *count_out, bool *more_out)
{
    struct fixture *f = context;

    (void)t;
    f->lane_calls++;
    *count_out = 7;
    *more_out = f->lane_calls % 3 != 0;
    return bytes_equal(lane, BYTES("mx:a")) ? OK : FAIL(CODE_GONE, "no such lane");
}

static void fake_hurry(void *context, struct walltime t)
{
    (void)t;
    ((struct fixture *)context)->hurries++;
}

static RESULT fake_lane_order(
    void *context, struct bytes lane, enum lane_order order, uint32_t slots, struct walltime t)
{
    (void)t;
    assert_true(lane.size > 0 && (slots == 0 || order == LANE_ORDER_LIMIT));
    ((struct fixture *)context)->lane_orders += 1 + 100 * slots;
    return OK;
}

static RESULT fake_pause(void *context, bool paused, struct walltime t)
{
    (void)t;
    ((struct fixture *)context)->lane_orders += paused ? 10000 : 20000;
    return OK;
}

static bool fake_active(void *context, struct message_id id, uint32_t n)
{
    return id.value == ((struct fixture *)context)->active.value && n == 0;
}

static void fake_changed(void *context, uint32_t uid, const char *verb, uint64_t count)
{
    assert_int_equal(uid, 7);
    assert_true(strlen(verb) > 0 && count > 0);
    ((struct fixture *)context)->changed_calls++;
}

static void ports_make(struct fixture *f, struct control_ports *ports)
{
    *ports = (struct control_ports){f, fake_order, fake_lane, fake_hurry, fake_lane_order, fake_pause, NULL, NULL,
        fake_active, fake_changed, NULL, NULL, NULL};
}

static void changing_verbs(void **state)
{
    struct fixture *f = *state;
    struct control_ports ports;
    struct control c;

    ports_make(f, &ports);
    for (uint64_t id = 1000; id < 1050; id++)
        message_add(f, id, "a@one.example", "uid 7", 1, "b@two.example");
    message_add(f, 1050, "c@one.example", "uid 7", 4400, "b@three.example");
    f->active.value = 1001;
    control_init(&c, &(struct control_setup){.store = f->store, .ports = &ports, .uid = 7, .may_all = true});
    ask(f, &c, "{\"v\":1,\"verb\":\"list\"}\n", 1000);
    assert_non_null(strstr(f->answer, "\"state\":\"active\""));
    ask(f, &c, "{\"v\":1,\"verb\":\"retry\",\"all\":true}\n", 1000);
    assert_string_equal(
        f->answer, "{\"end\":true,\"recipients\":1,\"missing\":0,\"count\":1}\n"); /* the only later one */
    assert_int_equal(f->order.kind, ORDER_RETRY);
    assert_int_equal(f->hurries, 1);
    assert_true(ask(f, &c, "{\"v\":1,\"verb\":\"retry\",\"lane\":\"mx:a\"}\n", 1000) >= 3); /* a portion a turn */
    assert_string_equal(f->answer, "{\"end\":true,\"recipients\":21,\"missing\":0,\"count\":0}\n");
    ask(f, &c, "{\"v\":1,\"verb\":\"retry\",\"lane\":\"mx:b\"}\n", 1000);
    assert_non_null(strstr(f->answer, "\"code\":\"gone\""));
    ask(f, &c, "{\"v\":1,\"verb\":\"retry\",\"ids\":[\"1\",\"z8\",\"2\",\"z9\"]}\n", 1000);
    assert_string_equal(f->answer, "{\"end\":true,\"recipients\":2,\"missing\":2,\"count\":2}\n");
    f->orders = f->recipients = 0;
    assert_true(ask(f, &c, "{\"v\":1,\"verb\":\"hold\",\"all\":true}\n", 1000) >= 2); /* a transaction a turn */
    assert_int_equal(f->orders, 2);
    assert_string_equal(f->answer, "{\"end\":true,\"recipients\":4450,\"missing\":0,\"count\":51}\n");
    ask(f, &c, "{\"v\":1,\"verb\":\"release\",\"filter\":\"from=c@* held\"}\n", 1000);
    assert_string_equal(f->answer, "{\"end\":true,\"recipients\":1,\"missing\":0,\"count\":1}\n");
    assert_int_equal(f->order.kind, ORDER_RELEASE);
    ask(f, &c, "{\"v\":1,\"verb\":\"reroute\",\"id\":\"z8\",\"lane\":\"relay:Smart.example\"}\n", 1000);
    assert_int_equal(f->order.kind, ORDER_REROUTE);
    assert_int_equal(f->order.lane.size, strlen("relay:[smart.example]:25"));
    ask(f, &c, "{\"v\":1,\"verb\":\"delete\",\"id\":\"z8\"}\n", 1000);
    assert_int_equal(f->order.until.ms, now().ms + ORDER_UNDO_WINDOW_MS);
    ask(f, &c, "{\"v\":1,\"verb\":\"bounce\",\"id\":\"z8\",\"window\":0,\"reason\":\"no\"}\n", 1000);
    assert_int_equal(f->order.until.ms, 0);
    assert_int_equal(f->order.reason.size, 2);
    f->fail_at = f->orders + 2;
    ask(f, &c, "{\"v\":1,\"verb\":\"delete\",\"filter\":\"from=c@*\"}\n", 1000);
    /* it stops where the disk fails, and says what was done */
    assert_string_equal(f->answer,
        "{\"error\":\"the disk failed\",\"code\":\"failed\",\"recipients\":1000,\"missing\":0,\"count\":1}\n");
    assert_int_equal(f->changed_calls, 9);
    control_fini(&c);
}

static void lanes_are_told(void **state)
{
    static const char *const refused[] = {"{\"v\":1,\"verb\":\"suspend\"}\n",
        "{\"v\":1,\"verb\":\"limit\",\"lane\":\"mx:a\",\"slots\":-1}\n",
        "{\"v\":1,\"verb\":\"limit\",\"lane\":\"mx:a\",\"slots\":\"many\"}\n",
        "{\"v\":1,\"verb\":\"resume\",\"all\":true}\n"};
    struct fixture *f = *state;
    struct control_ports ports;
    struct control c;

    ports_make(f, &ports);
    control_init(&c, &(struct control_setup){.store = f->store, .ports = &ports, .uid = 7, .may_all = true});
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        ask(f, &c, refused[i], 1000);
        assert_non_null(strstr(f->answer, "\"code\":\"usage\""));
    }
    assert_int_equal(f->lane_orders, 0);
    ask(f, &c, "{\"v\":1,\"verb\":\"suspend\",\"lane\":\"*\"}\n", 1000);
    assert_int_equal(f->lane_orders, 1);
    control_fini(&c);
    control_init(&c, &(struct control_setup){.store = f->store, .ports = &ports, .uid = 7, .may_all = true});
    ask(f, &c, "{\"v\":1,\"verb\":\"limit\",\"lane\":\"mx:a\",\"slots\":3}\n", 1000);
    assert_int_equal(f->lane_orders, 302);
    ask(f, &c, "{\"v\":1,\"verb\":\"pause\"}\n", 1000);
    assert_int_equal(f->lane_orders, 10302);
    assert_string_equal(f->answer, "{\"end\":true,\"count\":1}\n");
    control_fini(&c);
}

static void trace_finds_the_living_and_the_dead(void **state)
{
    static const struct {
        const char *text, *first, *second;
    } cases[] = {{"a@one.example", "z8", NULL}, {"B@two.example", "z8", "z9"}, {"gone@one.example", "z9", NULL},
        {"m9@one.example", "z9", NULL}, {"<m9@one.example>", "z9", NULL}, {"x", NULL, NULL}};
    uint8_t row[ATTEMPT_SIZE_MAX];
    struct buf out = BUF(row);
    struct fixture *f = *state;
    struct control c;
    char text[200], id[40];

    message_add(f, 1000, "a@one.example", "uid 7", 3, "b@two.example");
    assert_true(is_ok(attempt_put(&out, &(struct attempt){.kind = ATTEMPT_DELIVERED,
                                            .forward_path = BYTES("b@two.example"),
                                            .from = BYTES("gone@one.example"),
                                            .message_id = BYTES("<m9@one.example>")})));
    assert_true(is_ok(store_begin(f->store)));
    for (unsigned i = 0; i < 3; i++)
        assert_true(is_ok(store_history_put(f->store, (struct message_id){1001}, now(), buf_bytes(&out))));
    assert_true(is_ok(store_commit(f->store)));
    offline(f, &c);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snprintf(text, sizeof text, "{\"v\":1,\"verb\":\"trace\",\"text\":\"%s\"}\n", cases[i].text);
        ask(f, &c, text, 1000);
        snprintf(id, sizeof id, "\"count\":%d}", (cases[i].first != NULL) + (cases[i].second != NULL));
        assert_non_null(strstr(f->answer, id));
        snprintf(id, sizeof id, "{\"v\":1,\"id\":\"%s\"}\n", cases[i].first != NULL ? cases[i].first : "");
        assert_int_equal(strncmp(f->answer, id, strlen(id)) == 0, cases[i].first != NULL);
    }
    ask(f, &c, "{\"v\":1,\"verb\":\"trace\"}\n", 1000);
    assert_non_null(strstr(f->answer, "\"code\":\"usage\""));
    control_fini(&c);
}

static void filters_choose(void **state)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"{\"v\":1,\"verb\":\"count\"}\n", "{\"end\":true,\"recipients\":5,\"count\":3}\n"},
        {"{\"v\":1,\"verb\":\"count\",\"filter\":\"domain=two.example\"}\n",
            "{\"end\":true,\"recipients\":4,\"count\":2}\n"},
        {"{\"v\":1,\"verb\":\"count\",\"filter\":\"held\"}\n", "{\"end\":true,\"recipients\":1,\"count\":1}\n"},
        {"{\"v\":1,\"verb\":\"count\",\"filter\":\"state=deferred attempts>1\"}\n",
            "{\"end\":true,\"recipients\":1,\"count\":1}\n"},
        {"{\"v\":1,\"verb\":\"count\",\"filter\":\"z8 or za\"}\n", "{\"end\":true,\"recipients\":4,\"count\":2}\n"},
        {"{\"v\":1,\"verb\":\"count\",\"filter\":\"age>2m\"}\n", "{\"end\":true,\"recipients\":0,\"count\":0}\n"},
        {"{\"v\":1,\"verb\":\"count\",\"ids\":[\"za\",\"z9\",\"1\"]}\n",
            "{\"end\":true,\"recipients\":2,\"count\":2}\n"},
        {"{\"v\":1,\"verb\":\"list\",\"filter\":\"reason~later\"}\n",
            "{\"v\":1,\"id\":\"z8\",\"from\":\"a@one.example\",\"size\":5,\"arrival\":1699999940,\"recipients\":[{"
            "\"to\":"
            "\"b@two.example\",\"state\":\"deferred\",\"attempts\":2,\"next_try\":1700000090,\"reply\":\"450 4.2.0 "
            "\\\"later\\\"\",\"lane\":\"mx:example.net\"}]}\n{\"end\":true,\"size\":5,\"count\":1}\n"},
        {"{\"v\":1,\"verb\":\"list\",\"filter\":\"from=nobody\"}\n", "{\"end\":true,\"size\":0,\"count\":0}\n"},
    };
    struct fixture *f = *state;
    struct control c;

    message_add(f, 1000, "a@one.example", "uid 7", 3, "b@two.example");
    message_add(f, 1001, "a@one.example", "uid 7", 1, "b@two.example");
    message_add(f, 1002, "b@one.example", "uid 7", 1, "b@three.example");
    offline(f, &c);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ask(f, &c, cases[i].request, 1000);
        assert_string_equal(f->answer, cases[i].answer);
    }
    ask(f, &c, "{\"v\":1,\"verb\":\"list\",\"limit\":2}\n", 1000);
    assert_string_equal(strstr(f->answer, "{\"end\""), "{\"end\":true,\"size\":10,\"count\":2}\n");
    ask(f, &c, "{\"v\":1,\"verb\":\"list\",\"ids\":[\"za\",\"z8\"]}\n", 1000);
    assert_true(strstr(f->answer, "\"za\"") < strstr(f->answer, "\"z8\""));
    assert_non_null(strstr(f->answer, "{\"end\":true,\"size\":10,\"count\":2}\n"));
    control_fini(&c);
}

static void strangers_see_their_own(void **state)
{
    static const char *const denied[] = {"{\"v\":1,\"verb\":\"stats\"}\n", "{\"v\":1,\"verb\":\"lanes\"}\n",
        "{\"v\":1,\"verb\":\"delete\",\"all\":true}\n", "{\"v\":1,\"verb\":\"retry\",\"all\":true}\n",
        "{\"v\":1,\"verb\":\"hold\",\"id\":\"2\"}\n", "{\"v\":1,\"verb\":\"release\",\"id\":\"2\"}\n"};
    struct fixture *f = *state;
    struct control_ports ports;
    struct control c;
    char id[MESSAGE_ID_SIZE_MAX + 1] = "", text[200];
    struct buf out = {(uint8_t *)id, 0, MESSAGE_ID_SIZE_MAX};

    ports_make(f, &ports);
    message_add(f, 1000, "mine@one.example", "uid 7", 1, "b@two.example");
    message_add(f, 1001, "other@one.example", "uid 77", 1, "b@two.example");
    control_init(&c, &(struct control_setup){.store = f->store, .ports = &ports, .uid = 7});
    ask(f, &c, "{\"v\":1,\"verb\":\"list\"}\n", 1000);
    assert_non_null(strstr(f->answer, "mine@one.example"));
    assert_null(strstr(f->answer, "other@one.example"));
    assert_non_null(strstr(f->answer, "\"size\":5,\"count\":1}\n"));
    assert_true(is_ok(message_id_put(&out, (struct message_id){1001})));
    snprintf(text, sizeof text, "{\"v\":1,\"verb\":\"show\",\"id\":\"%s\"}\n", id);
    ask(f, &c, text, 1000);
    assert_non_null(strstr(f->answer, "\"code\":\"denied\""));
    assert_null(strstr(f->answer, "other@one.example"));
    for (size_t i = 0; i < COUNT_OF(denied); i++) {
        ask(f, &c, denied[i], 1000);
        assert_non_null(strstr(f->answer, "\"code\":\"denied\""));
    }
    ask(f, &c, "{\"v\":1,\"verb\":\"count\",\"filter\":\"all\"}\n", 1000);
    assert_string_equal(f->answer, "{\"end\":true,\"recipients\":1,\"count\":1}\n");
    assert_int_equal(f->orders + f->lane_calls + f->hurries, 0);
    control_fini(&c);
}

static void bad_requests(void **state)
{
    static const struct {
        const char *request, *code;
    } cases[] = {
        {"\n", "usage"},
        {"list\n", "usage"},
        {"[]\n", "usage"},
        {"{}\n", "usage"},
        {"{\"v\":1}\n", "usage"},
        {"{\"verb\":\"list\"}\n", "usage"},
        {"{\"v\":2,\"verb\":\"list\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"lists\"}\n", "usage"},
        {"{\"v\":1,\"verb\":7}\n", "usage"},
        {"{\"v\":1,\"verb\":\"list\",\"verb\":\"delete\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"show\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"show\",\"id\":\"\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"show\",\"id\":\"../../etc\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"show\",\"ids\":[]}\n", "usage"},
        {"{\"v\":1,\"verb\":\"list\",\"lane\":\"mx:a\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"delete\",\"all\":true}\n", "read-only"},
        {"{\"v\":1,\"verb\":\"list\"}garbage\n", "usage"},
        {"{\"v\":1,\"verb\":\"list\",\"filter\":\"form=a\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"list\",\"filter\":7}\n", "usage"},
        {"{\"v\":1,\"verb\":\"list\",\"filter\":\"held\",\"id\":\"z8\"}\n", "usage"},
        {"{\"v\":1,\"verb\":\"list\",\"limit\":-1}\n", "usage"},
        {"{\"v\":1,\"verb\":\"delete\",\"all\":true,\"window\":-1}\n", "usage"},
        {"{\"v\":1,\"verb\":\"delete\",\"all\":true,\"window\":604801}\n", "usage"},
        {"{\"v\":1,\"verb\":\"bounce\",\"all\":true,\"reason\":7}\n", "usage"},
        {"{\"v\":1,\"verb\":\"reroute\",\"all\":true,\"lane\":\"mx:\"}\n", "usage"},
        {"\xff\xfe\n", "usage"},
    };
    struct fixture *f = *state;
    struct control c;

    offline(f, &c);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char wanted[64];

        snprintf(wanted, sizeof wanted, "\"code\":\"%s\"", cases[i].code);
        ask(f, &c, cases[i].request, i % 5 + 1);
        assert_non_null(strstr(f->answer, wanted));
        assert_int_equal(f->answer[f->answer_size - 1], '\n');
    }
    assert_false(control_dead(&c));
    control_fini(&c);
}

static void an_endless_request_is_the_last(void **state)
{
    static uint8_t room[CONTROL_ROOM_MIN];
    struct fixture *f = *state;
    struct control c;
    struct buf out = BUF(room);
    char piece[1024];
    size_t fed = 0;

    memset(piece, ' ', sizeof piece);
    offline(f, &c);
    while (!control_busy(&c)) {
        fed += control_feed(&c, (struct bytes){(uint8_t *)piece, sizeof piece});
        assert_true(fed <= CONTROL_REQUEST_SIZE_MAX + sizeof piece);
    }
    control_pull(&c, now(), &out);
    assert_true(bytes_find(buf_bytes(&out), BYTES("too long")) > 0);
    assert_true(control_dead(&c));
    control_feed(&c, BYTES("{\"v\":1,\"verb\":\"list\"}\n"));
    assert_false(control_busy(&c));
    control_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_list_is_one_end, setup, teardown),
        cmocka_unit_test_setup_teardown(the_list_line_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_list_comes_in_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_may_end_between_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(show_tells_all, setup, teardown),
        cmocka_unit_test_setup_teardown(stats_and_lanes, setup, teardown),
        cmocka_unit_test_setup_teardown(changing_verbs, setup, teardown),
        cmocka_unit_test_setup_teardown(filters_choose, setup, teardown),
        cmocka_unit_test_setup_teardown(lanes_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(trace_finds_the_living_and_the_dead, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_see_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(an_endless_request_is_the_last, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
