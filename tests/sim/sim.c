/* sim: mail for days in seconds, with faults at every step, from one seed. docs/proof.md tells what it proves.
 *
 *   sim --seed N [--messages M] [--days D] [--talk]     one run; --talk prints the event log
 *   sim --from N --count K [--figures]                  K seeds in a row; --figures prints totals
 *   sim ... --power                                     the queue lies on the recording disk, and the power is cut at times
 *   sim ... --again                                     each seed twice, in another order and behind a run that broke off: it must be the same
 *   sim ... --quiet                                     no process is killed
 *   sim --sweep cuts|full|error|short|memory|calls|CALL [--stride S] [--rich]   the scenario of the seed once for every place where that
 *                                                     can happen; --rich: of the first seed from there on that has content
 *   sim --sweep map                                     large messages against a queue that may not grow, for many bounds
 *   sim --sweep growth                                  twice the mail, four times …: what is held at the end stays the same
 *   sim ... --cut E --fate S | --fail-disk N --errno E [--short] | --map SIZE --heavy | --fail-memory N | --fail-call CALL --nth N      one run of a sweep
 * Exit status 1 when a property was broken, 2 for a wrong option. */
#include <stdio.h>

#include "tests/sim/lib/sweep.h"

struct sim_options {
    struct run_options run;
    bool figures, again;
    const char *sweep;
    uint64_t stride;
};

/* Options with a number; false: there is none of that name. */
static bool number_option(struct sim_options *o, const char *name, uint64_t value)
{
    struct run_options *r = &o->run;

    if (strcmp(name, "--seed") == 0 || strcmp(name, "--from") == 0)
        r->seed = value;
    else if (strcmp(name, "--count") == 0)
        r->count = value;
    else if (strcmp(name, "--messages") == 0)
        r->messages = (unsigned)value;
    else if (strcmp(name, "--days") == 0)
        r->days = (unsigned)value;
    else if (strcmp(name, "--cut") == 0)
        r->cut_at = (size_t)value;
    else if (strcmp(name, "--fate") == 0)
        r->cut_fate = value;
    else if (strcmp(name, "--fail-disk") == 0)
        r->fail_disk = value, r->fail_disk_count = value % 4 == 0 ? 5 : 1;
    else if (strcmp(name, "--errno") == 0)
        r->fail_error = (int)value;
    else if (strcmp(name, "--map") == 0)
        r->map_size = value;
    else if (strcmp(name, "--break") == 0)
        r->break_at = value;
    else if (strcmp(name, "--fail-memory") == 0)
        r->fail_memory = value;
    else if (strcmp(name, "--nth") == 0)
        r->fail_call_nth = value;
    else if (strcmp(name, "--stride") == 0)
        o->stride = value;
    else
        return false;
    return true;
}

static bool options_read(struct sim_options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        uint64_t value = 0;
        if (strcmp(argv[i], "--talk") == 0)
            o->run.talk = true;
        else if (strcmp(argv[i], "--power") == 0)
            o->run.power = true;
        else if (strcmp(argv[i], "--quiet") == 0)
            o->run.quiet = true;
        else if (strcmp(argv[i], "--rich") == 0)
            o->run.rich = true;
        else if (strcmp(argv[i], "--heavy") == 0)
            o->run.heavy = true;
        else if (strcmp(argv[i], "--short") == 0)
            o->run.fail_short = true;
        else if (strcmp(argv[i], "--again") == 0)
            o->again = true;
        else if (strcmp(argv[i], "--figures") == 0)
            o->figures = true;
        else if (strcmp(argv[i], "--fail-call") == 0 && i + 1 < argc)
            o->run.fail_call = sweep_call(argv[++i]);
        else if (strcmp(argv[i], "--sweep") == 0 && i + 1 < argc)
            o->sweep = argv[++i];
        else if (i + 1 < argc && is_ok(bytes_to_u64(bytes_of(argv[i + 1]), UINT64_MAX, &value)) &&
                 number_option(o, argv[i], value))
            i++;
        else {
            fprintf(stderr, "sim: %s?\n", argv[i]);
            return false;
        }
    }
    return true;
}

static uint64_t print_of(const struct sim_options *o, uint64_t seed)
{
    struct run_options one = o->run;
    uint64_t print = 0;

    one.seed = seed;
    one.print_out = &print;
    return run_once(&one, NULL) == 0 ? print : 0;
}

/* A run follows from its seed alone, whatever this process has run before. */
static unsigned again(const struct sim_options *o)
{
    uint64_t *prints = world_take(o->run.count * sizeof *prints);
    unsigned wrong = 0;

    for (uint64_t k = 0; k < o->run.count; k++)
        prints[k] = print_of(o, o->run.seed + k);
    for (uint64_t k = o->run.count; k-- > 0;) {
        struct run_options broken = o->run;
        broken.seed = o->run.seed + k / 2;
        broken.break_at = 50 + k * 97 % 4000;
        (void)run_once(&broken, NULL);
        if (print_of(o, o->run.seed + k) == prints[k])
            continue;
        fprintf(stderr, "seed %" PRIu64 " is another run the second time\n", o->run.seed + k);
        wrong++;
    }
    free(prints);
    printf("%" PRIu64 " seeds again, %u of them another run\n", o->run.count, wrong);
    return wrong;
}

int main(int argc, char **argv)
{
    struct sim_options o = {.run = {.seed = 1, .count = 1, .days = 2, .cut_at = SIZE_MAX}, .stride = 1};
    struct run_figures total = {0};
    unsigned wrong = 0;

    if (!options_read(&o, argc, argv))
        return 2;
    if (o.sweep != NULL)
        return sweep_run(o.sweep, &o.run, o.stride) ? 0 : 1;
    if (o.again)
        return again(&o) > 0;
    for (uint64_t k = 0; k < o.run.count; k++) {
        struct run_options one = o.run;
        one.seed = o.run.seed + k;
        wrong += run_once(&one, &total) != 0;
    }
    if (o.figures)
        run_figures_print(&total);
    return wrong > 0;
}
