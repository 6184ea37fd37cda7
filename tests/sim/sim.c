/* sim: mail for days in seconds, with faults at every step, from one seed. docs/proof.md tells what it proves.
 *
 *   sim --seed N [--messages M] [--days D] [--talk]     one run; --talk prints the event log
 *   sim --from N --count K                              K seeds in a row, one line each when something is wrong
 *   sim ... --power                                     the queue lies on the recording disk, and the power is cut at times
 *   sim ... --cut E --fate S                            one cut, behind event E of the disk
 *   sim ... --figures                                   totals at the end, for docs/proof.md
 * Exit status 1 when a property was broken. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/lib/client.h"
#include "tests/sim/lib/house.h"
#include "tests/sim/lib/run.h"

int main(int argc, char **argv)
{
    struct run_options o = {.seed = 1, .count = 1, .messages = 0, .days = 2, .cut_at = SIZE_MAX};
    unsigned wrong = 0;
    bool figures = false;
    struct run_figures total = {0};

    for (int i = 1; i < argc; i++) {
        uint64_t value = 0;
        bool has = i + 1 < argc && is_ok(bytes_to_u64(bytes_of(argv[i + 1]), UINT64_MAX - 1, &value));
        if (strcmp(argv[i], "--talk") == 0)
            o.talk = true;
        else if (strcmp(argv[i], "--power") == 0)
            o.power = true;
        else if (strcmp(argv[i], "--figures") == 0)
            figures = true;
        else if (!has) {
            fprintf(stderr, "sim: %s?\n", argv[i]);
            return 2;
        } else if (strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--from") == 0)
            o.seed = value, i++;
        else if (strcmp(argv[i], "--count") == 0)
            o.count = value, i++;
        else if (strcmp(argv[i], "--messages") == 0)
            o.messages = (unsigned)value, i++;
        else if (strcmp(argv[i], "--days") == 0)
            o.days = (unsigned)value, i++;
        else if (strcmp(argv[i], "--cut") == 0)
            o.cut_at = (size_t)value, i++;
        else if (strcmp(argv[i], "--fate") == 0)
            o.cut_fate = value, i++;
        else {
            fprintf(stderr, "sim: %s?\n", argv[i]);
            return 2;
        }
    }
    for (uint64_t k = 0; k < o.count; k++) {
        struct run_options one = o;
        one.seed = o.seed + k;
        wrong += run_once(&one, &total) != 0;
    }
    if (figures)
        run_figures_print(&total);
    return wrong > 0;
}
