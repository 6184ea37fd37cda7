#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/queued/postmasters.h"

enum { GROUPS_MAX = 1024 }; /* of one peer; one with more is judged by its uid and first group alone */

static gid_t group;
static bool has_group;

void postmasters_know(void)
{
    const struct group *entry = getgrnam("mansio");

    has_group = entry != NULL;
    if (has_group)
        group = entry->gr_gid;
}

bool postmasters_include(int fd)
{
    gid_t groups[GROUPS_MAX];
    socklen_t groups_size = sizeof groups;
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid() || (has_group && peer.gid == group))
        return true;
    if (!has_group || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_size) != 0)
        return false;
    for (size_t i = 0; i < groups_size / sizeof groups[0]; i++)
        if (groups[i] == group)
            return true;
    return false;
}
