#include "tests/sim/lib/sweep.h"

enum { CUT_FATES = 2, GROWTH_STEPS = 4, GROWTH_SLACK = 262144, SEEDS_MAX = 2000, CALLS_NEVER = 1 << 30 };
enum { MAP_FIRST = 4 << 20, MAP_STEP = 256 << 10, MAP_LAST = 20 << 20 };

static bool sweep_cuts(const struct run_options *scenario, uint64_t stride)
{
    struct run_options o = *scenario;
    struct run_figures total = {0};
    size_t events = 0;
    unsigned wrong = 0;
    uint64_t cuts = 0;

    o.events_out = &events;
    wrong += run_once(&o, NULL);
    o.events_out = NULL;
    for (size_t at = 1; at <= events && wrong == 0; at += stride)
        for (uint64_t fate = 1; fate <= CUT_FATES && wrong == 0; fate++, cuts++) {
            o.cut_at = at;
            o.cut_fate = at * CUT_FATES + fate;
            wrong += run_once(&o, &total);
            if (wrong > 0)
                fprintf(stderr, "with --cut %zu --fate %" PRIu64 "\n", at, o.cut_fate);
        }
    printf("cuts: %zu events of the disk, %" PRIu64 " cuts, %" PRIu64 " second copies, %u wrong\n", events, cuts,
        total.doubles, wrong);
    return wrong == 0;
}

static bool sweep_disk(const struct run_options *scenario, const char *what, uint64_t stride)
{
    struct run_options o = *scenario;
    unsigned wrong = 0;
    bool failed = true;
    uint64_t n = 1;

    o.fail_error = strcmp(what, "error") == 0 ? EIO : ENOSPC;
    o.fail_short = strcmp(what, "short") == 0;
    o.failed_out = &failed;
    for (; failed && wrong == 0; n += stride) {
        o.fail_disk = n;
        o.fail_disk_count = n % 4 == 0 ? 5 : 1;
        wrong += run_once(&o, NULL);
        if (wrong > 0)
            fprintf(
                stderr, "with --fail-disk %" PRIu64 " --errno %d%s\n", n, o.fail_error, o.fail_short ? " --short" : "");
    }
    printf("%s: %" PRIu64 " runs, %u wrong\n", what, (n - 1) / stride, wrong);
    return wrong == 0;
}

/* Large messages against a queue that may not grow past one bound, and then another. */
static bool sweep_map(const struct run_options *scenario, uint64_t stride)
{
    struct run_options o = *scenario;
    struct run_figures total = {0};
    unsigned wrong = 0;

    o.heavy = true;
    for (uint64_t size = MAP_FIRST; size <= MAP_LAST && wrong == 0; size += MAP_STEP * stride) {
        o.map_size = size;
        wrong += run_once(&o, &total);
        if (wrong > 0)
            fprintf(stderr, "with --map %" PRIu64 " --heavy\n", size);
    }
    printf("map: %" PRIu64 " runs, %" PRIu64 " messages taken, %" PRIu64 " put off for want of room, %u wrong\n",
        total.runs, total.accepted, total.no_space, wrong);
    if (total.accepted == 0 || total.no_space == 0) {
        fprintf(stderr, "the bounds were not met\n");
        return false;
    }
    return wrong == 0;
}

static bool sweep_memory(const struct run_options *scenario, uint64_t stride)
{
    struct run_options o = *scenario;
    unsigned wrong = 0;
    bool failed = true;
    uint64_t n = 1;

    o.failed_out = &failed;
    for (; failed && wrong == 0; n += stride) {
        o.fail_memory = n;
        wrong += run_once(&o, NULL);
        if (wrong > 0)
            fprintf(stderr, "with --fail-memory %" PRIu64 "\n", n);
    }
    printf("memory: %" PRIu64 " runs, %u wrong\n", (n - 1) / stride, wrong);
    return wrong == 0;
}

/* Twice the mail, and twice again: what the processes hold when all of it is over does not grow with it (Q6). */
static bool sweep_growth(const struct run_options *scenario)
{
    struct run_options o = *scenario;
    unsigned wrong = 0, messages = o.messages > 0 ? o.messages : 100;
    size_t held = 0, first = 0;

    o.held_out = &held;
    for (unsigned k = 0; k < GROWTH_STEPS; k++) {
        o.messages = messages << k;
        wrong += run_once(&o, NULL);
        first = k == 0 ? held : first;
        printf("growth: %u messages, %zu octets held when they are over\n", o.messages, held);
        if (held > first + GROWTH_SLACK) {
            fprintf(stderr, "what is held grew from %zu octets to %zu\n", first, held);
            wrong++;
        }
    }
    return wrong == 0;
}

static const char *const call_names[] = {[CALL_ACCEPT] = "accept",
    [CALL_CONNECT] = "connect",
    [CALL_DNS] = "dns",
    [CALL_READ] = "read",
    [CALL_WRITE] = "write",
    [CALL_FORK] = "fork",
    [CALL_FILE] = "file",
    [CALL_FILE_LAST] = "file_last"};

enum world_call sweep_call(const char *name)
{
    for (enum world_call call = CALL_ACCEPT; call <= CALL_FILE_LAST; call++)
        if (strcmp(call_names[call], name) == 0)
            return call;
    return CALL_NONE;
}

static bool sweep_one_call(const struct run_options *scenario, uint64_t stride, enum world_call call)
{
    struct run_options o = *scenario;
    unsigned wrong = 0;
    bool failed = true;
    uint64_t n = 1;

    o.failed_out = &failed;
    o.fail_call = call;
    for (; failed && wrong == 0; n += stride) {
        o.fail_call_nth = n;
        wrong += run_once(&o, NULL);
        if (wrong > 0)
            fprintf(stderr, "with --fail-call %s --nth %" PRIu64 "\n", call_names[call], n);
    }
    printf("%s: %" PRIu64 " runs, %u wrong\n", call_names[call], (n - 1) / stride, wrong);
    return wrong == 0;
}

static bool sweep_calls(const struct run_options *scenario, uint64_t stride)
{
    bool well = true;

    for (enum world_call call = CALL_ACCEPT; call <= CALL_FILE_LAST; call++)
        well = sweep_one_call(scenario, stride, call) && well;
    return well;
}

/* Mail that is taken, expanded, delivered here and elsewhere, put off and reported; little enough to be swept. */
static bool is_rich(const char *what, const struct run_options *scenario)
{
    struct run_options o = *scenario;
    struct run_figures f = {0};
    size_t events = 0;
    uint64_t calls = CALLS_NEVER;
    bool is_call = strcmp(what, "calls") == 0 || sweep_call(what) != CALL_NONE;

    o.events_out = &events;
    o.fail_call = sweep_call(what);
    if (o.fail_call != CALL_NONE) {
        o.fail_call_nth = CALLS_NEVER;
        o.calls_out = &calls;
    }
    (void)run_once(&o, &f);
    return f.accepted >= 2 && f.dsns >= 1 && f.expanded >= 1 && f.local_copies >= 1 &&
           f.delivered >= f.local_copies + 2 && f.deferrals >= 1 && f.steps < 8000 && events > 150 &&
           (events < 450 || is_call) && calls >= 3;
}

/* Dice fall otherwise with every change of the simulator: the first seed from here on that has content. */
static bool rich_find(const char *what, struct run_options *o)
{
    for (unsigned k = 0; k < SEEDS_MAX; k++, o->seed++)
        if (is_rich(what, o)) {
            printf("%s: --seed %" PRIu64 " --messages %u --days %u\n", what, o->seed, o->messages, o->days);
            return true;
        }
    fprintf(stderr, "no scenario has content\n");
    return false;
}

bool sweep_run(const char *what, const struct run_options *scenario, uint64_t stride)
{
    struct run_options o = *scenario;

    o.quiet = true;
    if (o.rich && !rich_find(what, &o))
        return false;
    if (strcmp(what, "cuts") == 0)
        return sweep_cuts(&o, stride);
    if (strcmp(what, "full") == 0 || strcmp(what, "error") == 0 || strcmp(what, "short") == 0)
        return sweep_disk(&o, what, stride);
    if (strcmp(what, "map") == 0)
        return sweep_map(&o, stride);
    if (strcmp(what, "memory") == 0)
        return sweep_memory(&o, stride);
    if (strcmp(what, "growth") == 0)
        return sweep_growth(&o);
    if (strcmp(what, "calls") == 0)
        return sweep_calls(&o, stride);
    if (sweep_call(what) != CALL_NONE)
        return sweep_one_call(&o, stride, sweep_call(what));
    fprintf(stderr, "sim: no sweep %s\n", what);
    return false;
}
