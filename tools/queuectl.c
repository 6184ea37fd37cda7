#include <getopt.h>
#include <stdio.h>

#include "tools/queuectl.h"

static const char USAGE[] =
    "usage: queuectl [-c FILE] [--json] VERB …\n"
    "  list                       what is in the queue, oldest first\n"
    "  show ID…                   all about a message, finished ones from the history\n"
    "  retry ID…|all|--lane LANE  make it due now\n"
    "  hold ID…|all               keep it; release ID…|all lets it go\n"
    "  delete ID…|all             forget it, tell nobody\n"
    "  lanes                      next hops: what works, waits, fails\n"
    "  stats                      sizes and counts\n"
    "  fsck                       check the queue's database\n"
    "  user add|passwd|delete NAME, user list\n"
    "                             who may log in; a password is asked for, or read from the input\n"
    "options: -c, --config FILE   --json   --yes   -V, --version   -h, --help\n"
    "see queuectl(8)\n";

enum { OPTION_JSON = 256, OPTION_YES, OPTION_LANE };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"yes", no_argument, NULL, OPTION_YES},
    {"lane", required_argument, NULL, OPTION_LANE},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

struct verb {
    const char *name;
    size_t args_min, args_max;
    bool changes;
};

static const struct verb verbs[] = {
    {"list", 0, 0, false},
    {"show", 1, SIZE_MAX, false},
    {"retry", 0, SIZE_MAX, true},
    {"delete", 0, SIZE_MAX, true},
    {"hold", 0, SIZE_MAX, true},
    {"release", 0, SIZE_MAX, true},
    {"lanes", 0, 0, false},
    {"stats", 0, 0, false},
    {"fsck", 0, 0, false},
    {"user", 1, 2, false},
};

/* Single-letter edits between two short words, for "did you mean". */
static size_t distance(const char *a, const char *b)
{
    enum { WORD_MAX = 15 };
    size_t row[WORD_MAX + 1], a_size = strlen(a), b_size = strlen(b);

    if (a_size > WORD_MAX || b_size > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);

            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_size];
}

static const struct verb *verb_find(const char *name)
{
    const struct verb *nearest = &verbs[0];

    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
        if (distance(name, verbs[i].name) < distance(name, nearest->name))
            nearest = &verbs[i];
    }
    fprintf(stderr, "queuectl: unknown verb");
    if (distance(name, nearest->name) <= 2)
        fprintf(stderr, "; did you mean %s?", nearest->name);
    fprintf(stderr, "\n%s", USAGE);
    return NULL;
}

static enum tool_exit verb_run(const struct tool *t, const struct verb *v, char *const *args, size_t count)
{
    if (v->changes)
        return tool_change(t, v->name, args, count);
    if (strcmp(v->name, "list") == 0)
        return tool_list(t);
    if (strcmp(v->name, "show") == 0)
        return tool_show(t, args, count);
    if (strcmp(v->name, "lanes") == 0)
        return tool_lanes(t);
    if (strcmp(v->name, "stats") == 0)
        return tool_stats(t);
    if (strcmp(v->name, "user") == 0)
        return tool_user(t, args, count);
    return tool_fsck(t);
}

/* TOOL_OK: go on. A negative answer: done, and well. */
static int options_read(struct tool *t, int argc, char **argv, const char **config_out)
{
    int c;

    while ((c = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            *config_out = optarg;
            break;
        case OPTION_JSON:
            t->json = true;
            break;
        case OPTION_YES:
            t->yes = true;
            break;
        case OPTION_LANE:
            t->lane = optarg;
            break;
        case 'V':
            printf("queuectl (mansio) %s\n", MANSIO_VERSION);
            return -1;
        case 'h':
            fputs(USAGE, stdout);
            return -1;
        default:
            fputs(USAGE, stderr);
            return TOOL_USAGE;
        }
    }
    return TOOL_OK;
}

int main(int argc, char **argv)
{
    struct tool t = {.program = "queuectl"};
    const char *config_path = NULL;
    int done = options_read(&t, argc, argv, &config_path);
    const struct verb *v;
    struct config *cfg = NULL;
    size_t count;
    enum tool_exit exit;

    if (done != TOOL_OK)
        return done < 0 ? TOOL_OK : done;
    if (optind == argc) {
        fputs(USAGE, stderr);
        return TOOL_USAGE;
    }
    v = verb_find(argv[optind++]);
    if (v == NULL)
        return TOOL_USAGE;
    count = (size_t)(argc - optind);
    if (count < v->args_min || count > v->args_max ||
        (t.lane != NULL && (count > 0 || strcmp(v->name, "retry") != 0))) {
        fprintf(stderr, "queuectl: %s %s\n%s", v->name,
            count < v->args_min ? "wants a message id" : "does not take that", USAGE);
        return TOOL_USAGE;
    }
    exit = tool_configure(&t, config_path, &cfg);
    if (exit == TOOL_OK)
        exit = verb_run(&t, v, argv + optind, count);
    config_free(&cfg);
    return exit;
}
