#include <sys/auxv.h>
#include <unistd.h>

#include "daemon/config/config.h"

const char *config_path_choose(const char *option)
{
    const char *environment = getenv("MANSIO_CONFIG");

    if (option != NULL)
        return option;
    /* Whoever has more rights than the one who set its environment must not be led by it. */
    if (environment == NULL || environment[0] == 0 || geteuid() == 0 || getauxval(AT_SECURE) != 0)
        return CONFIG_PATH_DEFAULT;
    return environment;
}
