#include "daemon/queued/service.h"

#include "daemon/edge/loop.h"

#include <unistd.h>

enum { CLOSE_TURNS_MAX = 100 };

RESULT service_open(struct service *s, struct loop *loop, int fd,
    void (*on_accept)(void *owner, struct listener *l, int fd), void *owner)
{
    *s = (struct service){.loop = loop};
    struct result r = conn_room_new(loop, &s->room);
    if (is_ok(r))
        r = listener_new(loop, fd, on_accept, owner, &s->listener);
    if (is_ok(r))
        return OK;
    close(fd);
    if (s->room != NULL)
        conn_room_free(&s->room);
    return r;
}

void service_close(struct service *s)
{
    listener_free(&s->listener);
    conn_room_close_all(s->room);
    /* `closed` comes from the loop (libuv handles end in a turn of their own) */
    for (unsigned turn = 0; turn < CLOSE_TURNS_MAX && conn_room_count(s->room) > 0; turn++)
        loop_turn(s->loop, false);
    conn_room_free(&s->room);
}
