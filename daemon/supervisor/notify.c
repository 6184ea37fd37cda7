/* Twenty lines instead of libsystemd: the protocol is a stable promise of the manager, and the one process that keeps
 * root's rights stays small. */
#include "daemon/supervisor/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un manager;
static socklen_t manager_size;

void notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path == NULL ? 0 : strlen(path);

    if (size > 1 && size < sizeof manager.sun_path && (path[0] == '/' || path[0] == '@')) {
        manager.sun_family = AF_UNIX;
        memcpy(manager.sun_path, path, size);
        if (path[0] == '@') /* an abstract name */
            manager.sun_path[0] = 0;
        manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    }
    unsetenv("NOTIFY_SOCKET");
}

void notify(const char *state)
{
    if (manager_size == 0)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* A manager that does not listen is no reason to stop carrying mail. */
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&manager, manager_size);
    close(fd);
}
