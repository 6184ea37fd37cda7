#include "tests/sim/lib/sweep.h"

enum { CUT_FATES = 2, FAILURES_MAX = 3 };

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

static bool sweep_disk(const struct run_options *scenario, uint64_t stride, int error)
{
    struct run_options o = *scenario;
    unsigned wrong = 0;
    bool failed = true;
    uint64_t n = 1;

    o.fail_error = error;
    o.failed_out = &failed;
    for (; failed && wrong == 0; n += stride) {
        o.fail_disk = n;
        o.fail_disk_count = n % 4 == 0 ? 5 : 1;
        wrong += run_once(&o, NULL);
        if (wrong > 0)
            fprintf(stderr, "with --fail-disk %" PRIu64 " --errno %d\n", n, error);
    }
    printf("%s: %" PRIu64 " runs, %u wrong\n", error == EIO ? "error" : "full", (n - 1) / stride, wrong);
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

bool sweep_run(const char *what, const struct run_options *scenario, uint64_t stride)
{
    struct run_options o = *scenario;

    o.quiet = true;
    if (strcmp(what, "cuts") == 0)
        return sweep_cuts(&o, stride);
    if (strcmp(what, "full") == 0)
        return sweep_disk(&o, stride, ENOSPC);
    if (strcmp(what, "error") == 0)
        return sweep_disk(&o, stride, EIO);
    if (strcmp(what, "memory") == 0)
        return sweep_memory(&o, stride);
    fprintf(stderr, "sim: no sweep %s\n", what);
    return false;
}
