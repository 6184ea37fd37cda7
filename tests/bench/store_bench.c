/* How fast the store takes messages in and lets them go, synced, by messages per commit.
 *
 *   store_bench FOLDER [MESSAGES [PER_COMMIT [DEPTH [BODY_SIZE [HISTORY]]]]]
 * Each commit accepts PER_COMMIT messages (ids, body, head, one recipient with its place in the schedule) and finishes as
 * many old ones (recipient, schedule, body, head; with HISTORY = 1 also one history row each) once DEPTH are queued.
 * BODY_SIZE 0: sizes as real mail has them, median 12 kB, mean 43 kB. Prints one line with rates and processor time; with more than
 * 50,000 messages a line for each sixth of them before: does the cost hold? */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "queue/store.h"

enum { BODY_SIZE_MAX = 10000000, LANES = 20, PARTS = 6, PARTS_FROM = 50000 };

struct old {
    uint64_t id;
    uint32_t lane;
};

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_now(double *system_out)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    *system_out = (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6;
    return (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6 + *system_out;
}

static void must(struct result r)
{
    if (is_ok(r))
        return;
    fprintf(stderr, "store_bench: %s (%d)\n", r.why, r.sys);
    exit(1);
}

static size_t body_size(struct rng *rng, size_t fixed)
{
    static const uint32_t sizes[] = {900, 2000, 3500, 5000, 8000, 12000, 15000, 22000, 40000, 80000, 280000};

    return fixed != 0 ? fixed : sizes[rng_below(rng, COUNT_OF(sizes))];
}

static struct bytes lane_name(uint32_t lane, char room[64])
{
    int size = snprintf(room, 64, "mx:domain%u.example", lane);
    return (struct bytes){(uint8_t *)room, (size_t)size};
}

static struct recipient rcpt_of(const struct old *old, char room[64])
{
    return (struct recipient){.forward_path = BYTES("somebody@destination.example"),
        .lane = lane_name(old->lane, room),
        .next_try = {1700000000000 + (int64_t)old->id}};
}

static RESULT accept_one(struct store *s, struct old *old, struct bytes body)
{
    char room[64];
    struct envelope_head head = {.id = {old->id},
        .arrival = {1700000000000},
        .reverse_path = BYTES("sender@origin.example"),
        .body_size = body.size,
        .rcpt_count = 1,
        .client = BYTES("192.0.2.1"),
        .helo = BYTES("client.origin.example"),
        .message_id = BYTES("<20261121.12345@origin.example>"),
        .subject = BYTES("a message of usual size")};
    struct recipient rcpt = rcpt_of(old, room);

    for (uint32_t chunk = 0; body.size > 0; chunk++, body = bytes_after(body, BODY_CHUNK_SIZE_MAX))
        TRY(store_body_put(s, head.id, chunk, bytes_head(body, BODY_CHUNK_SIZE_MAX)));
    TRY(store_message_put(s, &head));
    return store_recipient_put(s, head.id, &rcpt);
}

static RESULT finish_one(struct store *s, const struct old *old, bool history)
{
    static const uint8_t attempt[150];
    char room[64];
    struct recipient rcpt = rcpt_of(old, room);
    bool done;

    if (history)
        TRY(store_history_put(s, (struct message_id){old->id}, (struct walltime){1700000000000},
            (struct bytes){attempt, sizeof attempt}));
    TRY(store_recipient_delete(s, (struct message_id){old->id}, &rcpt));
    return store_message_finish(s, (struct message_id){old->id}, &done);
}

static uint64_t argument(int count, char **arguments, int at, uint64_t otherwise)
{
    uint64_t value = otherwise;

    if (at < count)
        must(bytes_to_u64(bytes_of(arguments[at]), UINT32_MAX, &value));
    return value;
}

int main(int count, char **arguments)
{
    uint64_t messages = argument(count, arguments, 2, 100000), per_commit = argument(count, arguments, 3, 100),
             depth = argument(count, arguments, 4, 10000), fixed = argument(count, arguments, 5, 4096),
             history = argument(count, arguments, 6, 0);
    struct store_config cfg = {.path = count > 1 ? arguments[1] : "store-bench", .size_max = (uint64_t)64 << 30};
    struct old *old = calloc(depth + per_commit + 1, sizeof *old);
    uint8_t *body = calloc(1, BODY_SIZE_MAX);
    struct rng rng = {1};
    struct store *s;
    struct store_stats stats;
    size_t live = 0, first = 0, ring = depth + per_commit + 1;
    uint64_t done = 0, warm = depth;
    double start = 0, cpu_start = 0, sys_start = 0, sys, part_wall = 0, part_cpu = 0;
    uint64_t part_done = 0;

    if (old == NULL || body == NULL)
        return 1;
    must(store_open(&cfg, &s));
    while (done < messages + warm) {
        struct message_id id;
        struct result r = store_begin(s);
        if (is_ok(r))
            r = store_ids_reserve(s, 1700000000000000, (uint32_t)per_commit, &id);
        for (uint64_t i = 0; is_ok(r) && i < per_commit; i++) {
            struct old *o = &old[(first + live + i) % ring];
            *o = (struct old){id.value + i, (uint32_t)rng_below(&rng, LANES)};
            r = accept_one(s, o, (struct bytes){body, body_size(&rng, fixed)});
        }
        uint64_t over = live + per_commit > depth ? live + per_commit - depth : 0;
        for (uint64_t i = 0; is_ok(r) && i < over; i++)
            r = finish_one(s, &old[(first + i) % ring], history != 0);
        if (is_ok(r))
            r = store_commit(s);
        if (r.code == CODE_FULL && r.sys != 0) {
            store_abandon(s);
            must(store_grow(s));
            continue;
        }
        must(r);
        live += per_commit - over;
        first = (first + over) % ring;
        done += per_commit;
        if (start == 0 && done >= warm) {
            start = seconds_now();
            cpu_start = cpu_now(&sys_start);
            warm = part_done = done;
            part_wall = start;
            part_cpu = cpu_start;
        }
        if (start != 0 && messages > PARTS_FROM && done - part_done >= messages / PARTS) {
            double wall_now = seconds_now(), cpu_part = cpu_now(&sys), part = (double)(done - part_done);

            store_stats_get(s, &stats);
            printf("  %.0f msg/s, cpu %.1f us/msg, used %.0f MB\n", part / (wall_now - part_wall),
                (cpu_part - part_cpu) * 1e6 / part, (double)stats.used_size / 1e6);
            part_done = done;
            part_wall = wall_now;
            part_cpu = cpu_part;
        }
    }
    double wall = seconds_now() - start, cpu = cpu_now(&sys) - cpu_start;
    store_stats_get(s, &stats);
    printf("per_commit=%" PRIu64 " depth=%" PRIu64 " body=%" PRIu64 " history=%" PRIu64
           ": %.0f msg/s, cpu %.1f us/msg (user %.1f, system %.1f), used %.0f MB\n",
        per_commit, depth, fixed, history, (double)(done - warm) / wall, cpu * 1e6 / (double)(done - warm),
        (cpu - (sys - sys_start)) * 1e6 / (double)(done - warm), (sys - sys_start) * 1e6 / (double)(done - warm),
        (double)stats.used_size / 1e6);
    store_close(&s);
    free(old);
    free(body);
    return 0;
}
