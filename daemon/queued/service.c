#include "daemon/queued/service.h"

#include "daemon/edge/loop.h"

#include <unistd.h>

enum { CLOSE_TURNS_MAX = 100 };

RESULT service_open(struct service *s, struct loop *loop, int fd,
    void (*on_accept)(void *owner, struct listener *l, int fd), void *owner)
{
    s->loop = loop;
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

void *service_take(struct service *s, int fd, size_t size, const struct conn_handler *handler)
{
    struct served *c = conn_room_count(s->room) < s->count_max ? mem_take_zero(size) : NULL;

    if (c == NULL || !is_ok(conn_adopt(s->room, fd, handler, c, &c->conn))) {
        close(fd);
        mem_free(c);
        return NULL;
    }
    c->service = s;
    c->next = s->all;
    s->all = c;
    served_wait(c);
    return c;
}

void served_wait(struct served *c)
{
    conn_set_deadline(c->conn, instant_after(loop_now(c->service->loop), c->service->idle_ms));
}

void served_end(struct served *c)
{
    for (struct served **at = &c->service->all; *at != NULL; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    mem_free(c);
}
