/* Fills the queue of a stopped server with messages that wait for later, for measurements with a deep queue.
 *
 *   queue_fill FOLDER [MESSAGES [RECIPIENTS_EACH [BODY_SIZE [LANE [HOURS [DOMAINS]]]]]]
 * FOLDER is STATE_DIR/queue. Each recipient is in state `waiting` for LANE (relay:[127.0.0.3]:2599), its next try spread over
 * the hour that starts HOURS (2) from now, as a server would have left it after failed attempts. Run it as the user that
 * owns the queue. With DOMAINS the recipients are of 0.deep.test, 1.deep.test … in turn, else all of deep.test. Commits of 10,000 messages; prints how many it wrote and how long that took. */
#include <stdio.h>
#include <time.h>

#include "queue/store.h"

enum { PER_COMMIT = 10000, BODY_SIZE_MAX = 262144 };

static struct {
    uint64_t messages, recipients_each, body_size, hours, domains;
    const char *lane;
} plan = {100000, 1, 1024, 2, 0, "relay:[127.0.0.3]:2599"};

static double seconds_now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(struct result r)
{
    if (is_ok(r))
        return;
    fprintf(stderr, "queue_fill: %s (%d)\n", r.why, r.sys);
    exit(1);
}

static RESULT put_message(struct store *s, struct message_id id, int64_t now_ms, struct bytes body)
{
    struct envelope_head head = {.id = id,
        .arrival = {now_ms},
        .reverse_path = BYTES("sender@load.test"),
        .body_size = body.size,
        .rcpt_count = (uint32_t)plan.recipients_each,
        .client = BYTES("192.0.2.1"),
        .helo = BYTES("load.test"),
        .message_id = BYTES("<deferred@load.test>"),
        .subject = BYTES("a message that waits")};

    TRY(store_body_put(s, id, 0, body));
    TRY(store_message_put(s, &head));
    for (uint32_t n = 0; n < plan.recipients_each; n++) {
        char path[64], domain[32] = "";
        if (plan.domains > 0)
            snprintf(domain, sizeof domain, "%" PRIu64 ".", (id.value * plan.recipients_each + n) % plan.domains);
        int size = snprintf(path, sizeof path, "u%" PRIu64 ".%u@%sdeep.test", id.value, n, domain);
        struct recipient rcpt = {.n = n,
            .forward_path = {(const uint8_t *)path, (size_t)size},
            .lane = bytes_of(plan.lane),
            .attempts = 1,
            .last_reply = BYTES("450 4.2.0 come again later"),
            .next_try = {now_ms + (int64_t)plan.hours * 3600000 + (int64_t)((id.value * 7919 + n) % 3600000)}};

        TRY(store_recipient_put(s, id, &rcpt));
    }
    return OK;
}

static RESULT put_batch(struct store *s, uint64_t count, struct bytes body)
{
    int64_t now_ms = (int64_t)(seconds_now(CLOCK_REALTIME) * 1e3);
    struct message_id first;

    TRY(store_begin(s));
    TRY(store_ids_reserve(s, (uint64_t)now_ms * 1000, (uint32_t)count, &first));
    for (uint64_t i = 0; i < count; i++)
        TRY(put_message(s, (struct message_id){first.value + i}, now_ms, body));
    return store_commit(s);
}

/* A server enters what stays into its index of domains as it goes. */
static void index_all(struct store *s)
{
    while (store_index_wanted(s)) {
        struct result r = store_begin(s);
        if (is_ok(r))
            r = store_index_advance(s, PER_COMMIT);
        if (is_ok(r))
            r = store_commit(s);
        if (r.code == CODE_FULL && r.sys != 0) {
            store_abandon(s);
            r = store_grow(s);
        }
        must(r);
    }
}

static void options(int argc, char **argv)
{
    uint64_t *numbers[] = {&plan.messages, &plan.recipients_each, &plan.body_size};

    for (int i = 0; i < 3 && i + 2 < argc; i++)
        must(bytes_to_u64(bytes_of(argv[i + 2]), UINT32_MAX, numbers[i]));
    if (argc > 5)
        plan.lane = argv[5];
    if (argc > 6)
        must(bytes_to_u64(bytes_of(argv[6]), 100000, &plan.hours));
    if (argc > 7)
        must(bytes_to_u64(bytes_of(argv[7]), 1000000, &plan.domains));
    if (plan.body_size > BODY_SIZE_MAX)
        plan.body_size = BODY_SIZE_MAX;
}

int main(int argc, char **argv)
{
    static uint8_t body[BODY_SIZE_MAX];
    struct store_config cfg = {.path = argc > 1 ? argv[1] : "", .size_max = (uint64_t)64 << 30};
    struct store *s;
    double start = seconds_now(CLOCK_MONOTONIC);
    uint64_t done = 0;

    options(argc, argv);
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'a';
    must(store_open(&cfg, &s));
    while (done < plan.messages) {
        uint64_t count = plan.messages - done < PER_COMMIT ? plan.messages - done : PER_COMMIT;
        struct result r = put_batch(s, count, (struct bytes){body, plan.body_size});

        if (r.code == CODE_FULL && r.sys != 0) {
            store_abandon(s);
            must(store_grow(s));
            continue;
        }
        must(r);
        done += count;
    }
    index_all(s);
    store_close(&s);
    printf("%" PRIu64 " messages in %.1f s\n", done, seconds_now(CLOCK_MONOTONIC) - start);
    return 0;
}
