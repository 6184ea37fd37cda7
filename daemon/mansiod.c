/* mansiod: the roles of this build, and nothing else. */
#include "daemon/supervisor/house.h"

static const struct house_role roles[ROLE_COUNT] = {
    [ROLE_SUPERVISOR] = {NULL},
};

int main(int argc, char **argv)
{
    return house_main(argc, argv, roles);
}
