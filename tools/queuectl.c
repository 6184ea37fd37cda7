#include <getopt.h>
#include <stdio.h>

#include "queue/filter.h"
#include "tools/queuectl.h"

static const char USAGE[] =
    "usage: queuectl [-c FILE] [--json] VERB …\n"
    "  list [FILTER]              what is in the queue, oldest first; count [FILTER] only counts\n"
    "  show FILTER                all about messages, finished ones by id from the history\n"
    "  explain FILTER             why it is still here, and what would make it go\n"
    "  trace ID|MESSAGE-ID|ADDRESS  its whole life, finished ones too\n"
    "  retry FILTER | --lane LANE make it due now\n"
    "  hold FILTER                keep it; release FILTER lets it go\n"
    "  delete FILTER              forget it, tell nobody\n"
    "  bounce FILTER              give it back to its sender [--reason TEXT]\n"
    "  undo FILTER                take a deletion or bounce back, for an hour\n"
    "  reroute FILTER LANE        send it by another next hop\n"
    "  resend ID --to ADDRESS …   a copy for who was forgotten [--cc ADDRESS …]\n"
    "  lanes [GLOB]               next hops: what works, waits, fails\n"
    "  lanes suspend|resume LANE, lanes limit LANE concurrency=N rate=N/min\n"
    "  pause|unpause accepting|delivering\n"
    "  route ADDRESS [from=SENDER]  where mail for it would go\n"
    "  stats                      sizes and counts\n"
    "  metrics                    the same and more, as Prometheus text\n"
    "  top                        the whole, live on the screen; watch follows the log\n"
    "  fsck [--repair]            check the queue's database\n"
    "  backup DIR                 copy the running queue; restore DIR puts a copy in place, compact shrinks it\n"
    "  reload                     take the configuration up; stop ends the daemon\n"
    "  drain                      take nothing new, wait until all that can go has gone\n"
    "  doctor                     look for what is wrong, and say how to cure it\n"
    "  ban list, ban add ADDRESS [TIME], ban clear ADDRESS|LOGIN\n"
    "                             who is shut out, and which logins' mail is held\n"
    "  user add|passwd|delete NAME, user list\n"
    "                             who may log in; a password is asked for, or read from the input\n"
    "FILTER: message ids, the word all, or tests as from=*@a.example age>2h 'reason~greylist' held (and or not)\n"
    "options: -c, --config FILE   --json   --dry-run   --yes   --now   -V, --version   -h, --help\n"
    "see queuectl(8)\n";

enum {
    OPTION_JSON = 256,
    OPTION_YES,
    OPTION_LANE,
    OPTION_DRY_RUN,
    OPTION_NOW,
    OPTION_REPAIR,
    OPTION_REASON,
    OPTION_TO,
    OPTION_CC
};

enum { RESEND_ADDRESSES_MAX = 100 };
static char *resend_to[RESEND_ADDRESSES_MAX], *resend_cc[RESEND_ADDRESSES_MAX];

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"yes", no_argument, NULL, OPTION_YES},
    {"lane", required_argument, NULL, OPTION_LANE},
    {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
    {"now", no_argument, NULL, OPTION_NOW},
    {"repair", no_argument, NULL, OPTION_REPAIR},
    {"reason", required_argument, NULL, OPTION_REASON},
    {"to", required_argument, NULL, OPTION_TO},
    {"cc", required_argument, NULL, OPTION_CC},
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
    {"list", 0, SIZE_MAX, false},
    {"count", 0, SIZE_MAX, false},
    {"show", 1, SIZE_MAX, false},
    {"retry", 0, SIZE_MAX, true},
    {"hold", 0, SIZE_MAX, true},
    {"release", 0, SIZE_MAX, true},
    {"delete", 0, SIZE_MAX, true},
    {"bounce", 0, SIZE_MAX, true},
    {"undo", 0, SIZE_MAX, true},
    {"reroute", 0, SIZE_MAX, true},
    {"explain", 1, SIZE_MAX, false},
    {"trace", 1, SIZE_MAX, false},
    {"resend", 1, 1, false},
    {"lanes", 0, 4, false},
    {"pause", 1, 1, false},
    {"unpause", 1, 1, false},
    {"route", 1, 2, false},
    {"metrics", 0, 0, false},
    {"stats", 0, 0, false},
    {"fsck", 0, 0, false},
    {"backup", 1, 1, false},
    {"restore", 1, 1, false},
    {"compact", 0, 0, false},
    {"reload", 0, 0, false},
    {"stop", 0, 0, false},
    {"drain", 0, 0, false},
    {"doctor", 0, 0, false},
    {"top", 0, 0, false},
    {"watch", 0, 0, false},
    {"user", 1, 2, false},
    {"ban", 1, 3, false},
};

static const struct verb *verb_find(const char *name)
{
    const struct verb *nearest = &verbs[0];

    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
        if (filter_distance(bytes_of(name), bytes_of(verbs[i].name)) <
            filter_distance(bytes_of(name), bytes_of(nearest->name)))
            nearest = &verbs[i];
    }
    fprintf(stderr, "queuectl: unknown verb");
    if (filter_distance(bytes_of(name), bytes_of(nearest->name)) <= 2)
        fprintf(stderr, "; did you mean %s?", nearest->name);
    fprintf(stderr, "\n%s", USAGE);
    return NULL;
}

static enum tool_exit verb_run(const struct tool *t, const struct verb *v, char *const *args, size_t count)
{
    if (v->changes)
        return tool_change(t, v->name, args, count);
    if (strcmp(v->name, "list") == 0)
        return tool_list(t, args, count);
    if (strcmp(v->name, "count") == 0)
        return tool_count(t, args, count);
    if (strcmp(v->name, "show") == 0)
        return tool_show(t, args, count);
    if (strcmp(v->name, "explain") == 0)
        return tool_explain(t, args, count);
    if (strcmp(v->name, "trace") == 0)
        return tool_trace(t, args, count);
    if (strcmp(v->name, "resend") == 0)
        return tool_resend(t, args[0]);
    if (strcmp(v->name, "lanes") == 0)
        return tool_lanes(t, args, count);
    if (strcmp(v->name, "pause") == 0 || strcmp(v->name, "unpause") == 0)
        return tool_pause(t, v->name[0] == 'p', args[0]);
    if (strcmp(v->name, "backup") == 0)
        return tool_backup(t, args[0]);
    if (strcmp(v->name, "restore") == 0)
        return tool_restore(t, args[0]);
    if (strcmp(v->name, "compact") == 0)
        return tool_compact(t);
    if (strcmp(v->name, "reload") == 0)
        return tool_reload(t);
    if (strcmp(v->name, "stop") == 0)
        return tool_stop(t);
    if (strcmp(v->name, "drain") == 0)
        return tool_drain(t);
    if (strcmp(v->name, "doctor") == 0)
        return tool_doctor(t);
    if (strcmp(v->name, "top") == 0)
        return tool_top(t);
    if (strcmp(v->name, "watch") == 0)
        return tool_watch(t);
    if (strcmp(v->name, "metrics") == 0)
        return tool_metrics(t);
    if (strcmp(v->name, "route") == 0)
        return tool_route(t, args, count);
    if (strcmp(v->name, "stats") == 0)
        return tool_stats(t);
    if (strcmp(v->name, "user") == 0)
        return tool_user(t, args, count);
    if (strcmp(v->name, "ban") == 0)
        return tool_ban(t, args, count);
    return tool_fsck(t);
}

static bool address_take(struct tool *t, bool to, char *address)
{
    size_t *count = to ? &t->to_count : &t->cc_count;

    t->to = resend_to;
    t->cc = resend_cc;
    if (*count == RESEND_ADDRESSES_MAX) {
        fprintf(stderr, "queuectl: more than %d addresses\n", RESEND_ADDRESSES_MAX);
        return false;
    }
    (to ? resend_to : resend_cc)[(*count)++] = address;
    return true;
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
        case OPTION_DRY_RUN:
            t->dry_run = true;
            break;
        case OPTION_NOW:
            t->at_once = true;
            break;
        case OPTION_REPAIR:
            t->repair = true;
            break;
        case OPTION_REASON:
            t->reason = optarg;
            break;
        case OPTION_LANE:
            t->lane = optarg;
            break;
        case OPTION_TO:
        case OPTION_CC:
            if (!address_take(t, c == OPTION_TO, optarg))
                return TOOL_USAGE;
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
            count < v->args_min ? "wants an argument" : "does not take that", USAGE);
        return TOOL_USAGE;
    }
    exit = tool_configure(&t, config_path, &cfg);
    if (exit == TOOL_OK)
        exit = verb_run(&t, v, argv + optind, count);
    config_free(&cfg);
    return exit;
}
