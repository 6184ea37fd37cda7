/* mansiod: the roles of this build, and nothing else. */
#include "daemon/auth/auth.h"
#include "daemon/inbound/inbound.h"
#include "daemon/keys/keys.h"
#include "daemon/local/local.h"
#include "daemon/lookup/lookup.h"
#include "daemon/outbound/outbound.h"
#include "daemon/pam/pam.h"
#include "daemon/queued/queued.h"
#include "daemon/supervisor/house.h"

static const struct house_role roles[ROLE_COUNT] = {
    [ROLE_INBOUND] = {inbound_main},
    [ROLE_QUEUED] = {queued_main},
    [ROLE_OUTBOUND] = {outbound_main},
    [ROLE_LOCAL] = {local_main},
    [ROLE_AUTH] = {auth_main},
    [ROLE_LOOKUP] = {lookup_main},
    [ROLE_KEYS] = {keys_main},
    [ROLE_PAM] = {pam_main},
};

int main(int argc, char **argv)
{
    return house_main(argc, argv, roles);
}
