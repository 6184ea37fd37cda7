/* Channels of the simulation: real frames, encoded and decoded by the real codec, that arrive a little later and in order. */
#include "tests/sim/lib/edge_parts.h"

struct frame {
    struct frame *next;
    int64_t due;
    size_t size;
    uint8_t octets[];
};

struct pipe_side {
    struct channel *channel;    /* NULL: not made yet, or gone */
    struct frame *first, **end; /* on their way to this side */
    size_t size;
    struct world_timer timer;
    bool closing; /* the other side is gone: after the frames, on_closed */
};

struct pipe {
    struct pipe_side sides[2];
    bool used[2];
};

struct channel {
    struct pipe *pipe;
    unsigned side;
    enum ipc_role self, peer;
    const struct channel_handlers *handlers;
    void *ctx;
    bool dead, paused, congested;
    bool busy, free_due;
};

enum { PIPE_DESCRIPTOR_FIRST = 1 << 24, PIPES_MAX = 64, FRAME_DELAY_MS = 3, LATER_SIZE = 32768 };

static struct pipe *pipes[PIPES_MAX];

static void on_frames(void *ctx);
static void frames_release(struct pipe_side *there);

RESULT channel_pair(int fd_out[2])
{
    for (int i = 0; i < PIPES_MAX; i++)
        if (pipes[i] == NULL) {
            pipes[i] = world_take(sizeof *pipes[i]);
            for (int side = 0; side < 2; side++) {
                struct pipe_side *s = &pipes[i]->sides[side];
                s->end = &s->first;
                s->timer = (struct world_timer){.fn = on_frames, .ctx = s};
                fd_out[side] = PIPE_DESCRIPTOR_FIRST + 2 * i + side;
            }
            return OK;
        }
    return FAIL(CODE_FULL, "too many channels");
}

struct channel *channel_new(struct loop *loop, int fd, enum ipc_role self, enum ipc_role peer,
    const struct channel_handlers *handlers, void *ctx)
{
    struct channel *ch = world_take(sizeof *ch);
    int number = fd - PIPE_DESCRIPTOR_FIRST;

    (void)loop;
    *ch = (struct channel){.pipe = pipes[number / 2],
        .side = (unsigned)number % 2,
        .self = self,
        .peer = peer,
        .handlers = handlers,
        .ctx = ctx};
    ch->pipe->sides[ch->side].channel = ch;
    ch->pipe->used[ch->side] = true;
    world_timer_set(&ch->pipe->sides[ch->side].timer, world.now_ms);
    return ch;
}

static void frames_drop(struct pipe_side *s)
{
    while (s->first != NULL) {
        struct frame *next = s->first->next;
        free(s->first);
        s->first = next;
    }
    s->end = &s->first;
    s->size = 0;
}

static void pipe_free(struct pipe *p)
{
    for (int i = 0; i < PIPES_MAX; i++)
        if (pipes[i] == p)
            pipes[i] = NULL;
    for (int side = 0; side < 2; side++) {
        world_timer_stop(&p->sides[side].timer);
        frames_drop(&p->sides[side]);
    }
    free(p);
}

void channel_free(struct channel **channel)
{
    struct channel *ch = *channel;

    *channel = NULL;
    if (ch == NULL)
        return;
    struct pipe *p = ch->pipe;
    struct pipe_side *here = &p->sides[ch->side], *there = &p->sides[1 - ch->side];
    here->channel = NULL;
    world_timer_stop(&here->timer);
    frames_drop(here);
    if (there->channel != NULL)
        frames_release(there);
    there->closing = true;
    if (there->channel != NULL && !there->channel->dead)
        world_timer_set(&there->timer, there->first != NULL ? there->first->due : world.now_ms);
    if (ch->busy)
        ch->free_due = true; /* inside one of its own calls */
    if (there->channel == NULL && p->used[0] && p->used[1] && !ch->busy)
        pipe_free(p);
    if (!ch->busy)
        free(ch);
}

void edge_channel_die(int fd)
{
    struct pipe *p = pipes[(fd - PIPE_DESCRIPTOR_FIRST) / 2];
    unsigned side = (unsigned)(fd - PIPE_DESCRIPTOR_FIRST) % 2;
    size_t count = 0;

    if (p == NULL || p->sides[side].channel == NULL)
        return;
    struct pipe_side *there = &p->sides[1 - side];
    for (struct frame *f = there->first; f != NULL && f->due != INT64_MAX; f = f->next)
        count++; /* what was held back had not left the process */
    size_t kept = world_chance(300) ? count : (size_t)world_below(count + 1);
    struct frame **at = &there->first;
    for (; kept > 0; kept--)
        at = &(*at)->next;
    struct frame *gone = *at;
    *at = NULL;
    there->end = at;
    while (gone != NULL) {
        struct frame *next = gone->next;
        there->size -= gone->size;
        free(gone);
        gone = next;
    }
    p->sides[side].channel->dead = true;
}

/* Held frames (channel_send_later) have no due time yet; from here on they have. */
static void frames_release(struct pipe_side *there)
{
    for (struct frame *f = there->first; f != NULL; f = f->next)
        if (f->due == INT64_MAX)
            f->due = world.now_ms + (int64_t)world_below(FRAME_DELAY_MS + 1);
    if (there->first != NULL && (there->timer.place == 0 || there->timer.at > there->first->due))
        world_timer_set(&there->timer, there->first->due);
}

/* The side that reads what this channel writes; NULL when nobody will. */
static struct pipe_side *channel_there(const struct channel *ch)
{
    struct pipe_side *there = &ch->pipe->sides[1 - ch->side];

    if (ch->dead || there->closing || (ch->pipe->used[1 - ch->side] && there->channel == NULL))
        return NULL;
    return there;
}

static struct pipe_side *frame_put(struct channel *ch, const struct msg *m)
{
    static uint8_t room[FRAME_SIZE_MAX];
    struct buf out = BUF(room);
    struct pipe_side *there = channel_there(ch);

    if (there == NULL)
        return NULL;
    struct result r = msg_encode(&out, m);
    ASSERT(is_ok(r));
    struct frame *f = world_take(sizeof *f + out.size);
    f->size = out.size;
    memcpy(f->octets, room, out.size);
    f->due = INT64_MAX;
    *there->end = f;
    there->end = &f->next;
    there->size += f->size;
    if (there->size > CHANNEL_QUEUE_SIZE_HIGH)
        ch->congested = true;
    return there;
}

void channel_send(struct channel *ch, const struct msg *m)
{
    struct pipe_side *there = frame_put(ch, m);

    if (there != NULL)
        frames_release(there);
}

void channel_send_later(struct channel *ch, const struct msg *m)
{
    struct pipe_side *there = frame_put(ch, m);

    if (there != NULL && there->size >= LATER_SIZE)
        frames_release(there);
}

void channel_hurry(struct channel *ch)
{
    struct pipe_side *there = channel_there(ch);

    if (there != NULL)
        frames_release(there);
}

/* All frames that have arrived, in order; each may end the channel. */
static void on_frames(void *ctx)
{
    struct pipe_side *s = ctx;
    struct channel *ch = s->channel;

    if (ch == NULL || ch->paused || ch->dead)
        return;
    struct pipe *p = ch->pipe;
    struct channel *other = p->sides[1 - ch->side].channel;
    ch->busy = true;
    while (s->first != NULL && s->first->due <= world.now_ms && !ch->free_due && !ch->paused) {
        struct frame *f = s->first;
        struct msg m;
        s->first = f->next;
        if (s->first == NULL)
            s->end = &s->first;
        s->size -= f->size;
        struct result r = msg_decode((struct bytes){f->octets, f->size}, ch->peer, ch->self, &m);
        if (!is_ok(r))
            world_wrong("a frame between our processes does not decode: %s", r.why);
        else
            ch->handlers->on_message(ch->ctx, &m);
        free(f);
    }
    if (!ch->free_due && s->first == NULL && s->closing) {
        ch->dead = true;
        ch->handlers->on_closed(ch->ctx, CHANNEL_END_PEER);
    }
    ch->busy = false;
    if (ch->free_due) {
        bool gone = p->sides[0].channel == NULL && p->sides[1].channel == NULL && p->used[0] && p->used[1];
        free(ch);
        if (gone)
            pipe_free(p);
        return;
    }
    if (s->first != NULL)
        world_timer_set(&s->timer, s->first->due);
    if (other != NULL && s->channel != NULL && p->sides[1 - ch->side].channel == other && other->congested &&
        s->size < CHANNEL_QUEUE_SIZE_LOW) {
        other->congested = false;
        if (other->handlers->on_drained != NULL)
            other->handlers->on_drained(other->ctx);
    }
}

bool channel_congested(const struct channel *ch)
{
    return ch->congested;
}

size_t channel_queue_size(const struct channel *ch)
{
    return ch->pipe->sides[1 - ch->side].size;
}

void channel_flush(struct channel *ch)
{
    (void)ch;
}

void channel_pause(struct channel *ch)
{
    ch->paused = true;
}

void channel_resume(struct channel *ch)
{
    ch->paused = false;
    world_timer_set(&ch->pipe->sides[ch->side].timer, world.now_ms);
}

bool channel_is_dead(const struct channel *ch)
{
    return ch->dead;
}

size_t edge_fini(void)
{
    size_t left = edge_loop_count() + edge_descriptor_count();

    for (int i = 0; i < PIPES_MAX; i++)
        if (pipes[i] != NULL) {
            left += (pipes[i]->sides[0].channel != NULL) + (pipes[i]->sides[1].channel != NULL);
            pipe_free(pipes[i]);
        }
    return left;
}
