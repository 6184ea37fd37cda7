#include "daemon/supervisor/house.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/ipc/codec.h"
#include "daemon/supervisor/configuration.h"
#include "daemon/supervisor/supervisor.h"

static const char usage[] = "usage: mansiod [-c FILE] [-t] [-V] [-h]\n"
                            "  -c FILE  read this configuration (default " CONFIGURATION_PATH_DEFAULT ")\n"
                            "  -t       check the configuration and exit: 0, or 1 with file:line: message\n"
                            "  -V       print the version\n"
                            "  -h       print this help\n"
                            "SIGHUP reads the configuration again, SIGTERM stops in seconds.\n";

static int role_run(const char *name, const struct house_role roles[ROLE_COUNT])
{
    for (unsigned role = 0; role < ROLE_COUNT; role++) {
        if (roles[role].main == NULL || strcmp(name, ipc_role_name((enum ipc_role)role)) != 0)
            continue;
        struct process *p = process_new((enum ipc_role)role);
        if (p == NULL)
            return EXIT_FAILURE;
        int status = roles[role].main(p);
        process_free(&p);
        return status;
    }
    fprintf(stderr, "mansiod: no such role: %s\n", name);
    return EXIT_FAILURE;
}

static int check_run(const char *path)
{
    struct configuration c;
    struct config_error error = {0};

    if (!is_ok(configuration_read(path, &c, &error))) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    configuration_free(&c);
    return EXIT_SUCCESS;
}

int house_main(int argc, char **argv, const struct house_role roles[ROLE_COUNT])
{
    const char *path = NULL;
    bool check = false;
    int option;

    if (argc == 3 && strcmp(argv[1], "--role") == 0)
        return role_run(argv[2], roles);
    while ((option = getopt(argc, argv, "c:tVh")) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 't':
            check = true;
            break;
        case 'V':
            printf("mansiod %s\n", MANSIO_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fputs(usage, stderr);
            return EXIT_FAILURE;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    return check ? check_run(path) : supervisor_run(path, roles);
}
