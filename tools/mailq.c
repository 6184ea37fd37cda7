/* mailq: the traditional listing of the queue. Takes the options that scripts give it; -A and the like of other systems'
 * mailq are not ours to guess and are refused. */
#include <getopt.h>
#include <stdio.h>

#include "tools/queuectl.h"

static const char USAGE[] = "usage: mailq [-C FILE | -c FILE] [--json]\nsee mailq(1)\n";

enum { OPTION_JSON = 256 };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

int main(int argc, char **argv)
{
    struct tool t = {.program = "mailq", .traditional = true};
    const char *config_path = NULL;
    struct config *cfg = NULL;
    enum tool_exit exit;
    int c;

    while ((c = getopt_long(argc, argv, "c:C:vVh", options, NULL)) != -1) {
        switch (c) {
        case 'c':
        case 'C':
            config_path = optarg;
            break;
        case OPTION_JSON:
            t.json = true;
            break;
        case 'v': /* "verbose" of other mailers: this listing always says all it knows */
            break;
        case 'V':
            printf("mailq (mansio) %s\n", MANSIO_VERSION);
            return TOOL_OK;
        case 'h':
            fputs(USAGE, stdout);
            return TOOL_OK;
        default:
            fputs(USAGE, stderr);
            return TOOL_USAGE;
        }
    }
    if (optind != argc) {
        fputs(USAGE, stderr);
        return TOOL_USAGE;
    }
    exit = tool_configure(&t, config_path, &cfg);
    if (exit == TOOL_OK)
        exit = tool_list(&t, NULL, 0);
    config_free(&cfg);
    return exit;
}
