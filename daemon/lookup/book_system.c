/* The user database of the host, by whatever its nsswitch.conf names: a directory there may answer slowly or not at all. */
#include <pwd.h>

#include "daemon/lookup/backend.h"

enum { PASSWD_ROOM_SIZE = 65536 };

static RESULT system_ask(void **conn, struct question *q)
{
    char room[PASSWD_ROOM_SIZE];
    struct passwd entry, *found = NULL;

    (void)conn;
    if (bytes_index(q->key, 0) != BYTES_NOT_FOUND || bytes_index(q->key, ':') != BYTES_NOT_FOUND)
        return FAIL(CODE_GONE, "no name of a user");
    int error = getpwnam_r((const char *)q->key.data, &entry, room, sizeof room, &found);
    if (found != NULL)
        return backend_row(q, q->key);
    /* getpwnam(3): these, too, say that there is none */
    if (error == 0 || error == ENOENT || error == ESRCH)
        return FAIL(CODE_GONE, "no such user");
    return backend_failed(q, "the user database", strerrordesc_np(error));
}

static void system_close(void *conn)
{
    (void)conn;
}

const struct backend BACKEND_SYSTEM = {system_ask, system_close};
