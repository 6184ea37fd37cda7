/* (A1) A seat is either idle, and then its fields are the loop's, or asking, and then its question and connection are its
 *      thread's, from work_submit to on_asked.
 * (A2) The text of an answer is the seat's until the next question; the cards copy it. */
#include "daemon/lookup/asker.h"

#include <stdlib.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/edge/work.h"
#include "daemon/lookup/backend.h"

enum {
    SEATS_MAX = 128, /* threads, over all lookups */
    FREE_TURNS_MS = 2000,
};

struct seat {
    struct asker *asker;
    size_t lookup;
    const struct backend *backend;
    void *conn;
    bool asking, was_open;
    struct question question;
    struct result result;
    struct buf answer;
    uint8_t key[ADDRESS_SIZE_MAX + 1];
};

struct asker {
    struct loop *loop;
    struct cards *cards;
    void (*on_cards)(void *ctx);
    void *ctx;
    struct loop_timer timer;
    struct seat *seats;
    size_t seat_count;
    bool started;
    bool stopping; /* threads come back, and nothing more is asked */
    bool *failing; /* of each lookup: its last answer was a failure, and that was told */
};

/* What threads still hold when the process ends must not look lost. */
static struct asker *the_asker;

static void on_ask(void *ctx)
{
    struct seat *s = ctx;

    s->was_open = s->conn != NULL;
    s->result = s->backend->ask(&s->conn, &s->question);
    if (is_ok(s->result) || s->result.code == CODE_GONE)
        return;
    s->backend->close(s->conn);
    s->conn = NULL;
    if (!s->was_open || backend_ms_left(&s->question) == 0)
        return;
    buf_reset(&s->answer); /* a connection that had been idle may have died meanwhile: a new one decides */
    s->result = s->backend->ask(&s->conn, &s->question);
    if (!is_ok(s->result) && s->result.code != CODE_GONE) {
        s->backend->close(s->conn);
        s->conn = NULL;
    }
}

static void tell(struct asker *a, const struct seat *s, bool failed)
{
    const struct config_lookup *lookup = s->question.lookup;

    if (failed && !a->failing[s->lookup])
        LOG(LOOKUP_FAILED, LOG_TEXT("lookup", lookup->name),
            LOG_STR("why", s->question.why[0] != 0 ? s->question.why : s->result.why));
    if (!failed && a->failing[s->lookup])
        LOG(LOOKUP_WORKS, LOG_TEXT("lookup", lookup->name));
    a->failing[s->lookup] = failed;
}

static void on_tick(void *ctx)
{
    asker_turn(ctx);
}

static void on_asked(void *ctx)
{
    struct seat *s = ctx;
    struct asker *a = s->asker;
    enum card_state state = is_ok(s->result) ? CARD_FOUND : s->result.code == CODE_GONE ? CARD_MISSING : CARD_FAILED;

    s->asking = false;
    if (a->stopping)
        return;
    a->cards->now = loop_now(a->loop);
    tell(a, s, state == CARD_FAILED);
    cards_answer(a->cards, s->lookup, s->question.key, state, buf_bytes(&s->answer));
    asker_turn(a);
}

static void seat_ask(struct seat *s, const struct card *card)
{
    const struct config_lookup *lookup = s->asker->cards->shelves[s->lookup].lookup;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    buf_reset(&s->answer);
    memcpy(s->key, card->key.data, card->key.size);
    s->key[card->key.size] = 0;
    s->question.key = (struct bytes){s->key, card->key.size};
    s->question.deadline_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + lookup->timeout;
    s->question.why[0] = 0;
    s->asking = work_submit(s->asker->loop, on_ask, on_asked, s);
    if (!s->asking)
        cards_answer(s->asker->cards, s->lookup, s->question.key, CARD_FAILED, BYTES_NONE);
}

void asker_turn(struct asker *a)
{
    struct instant next = cards_tick(a->cards, loop_now(a->loop));

    a->on_cards(a->ctx); /* who goes on may want more */
    for (size_t i = 0; a->started && i < a->seat_count; i++) {
        struct seat *s = &a->seats[i];
        const struct card *card = s->asking ? NULL : cards_next_wanted(a->cards, s->lookup);

        if (card != NULL) {
            seat_ask(s, card);
            next = instant_min(next, instant_after(loop_now(a->loop), s->question.lookup->timeout));
        }
    }
    loop_timer_set(a->loop, &a->timer, a->cards->ready != NULL ? loop_now(a->loop) : next);
}

/* A kind that this program was built without: it fails as a server does that is never there. */
static RESULT ask_nobody(void **conn, struct question *q)
{
    (void)conn;
    return backend_failed(q, "mansiod was built without this kind of lookup", NULL);
}

static void close_nobody(void *conn)
{
    (void)conn;
}

static bool seats_make(struct asker *a, const struct config *cfg)
{
    static const struct backend nobody = {ask_nobody, close_nobody};

    for (size_t i = 0; i < cfg->lookup_count; i++)
        for (uint32_t k = 0; k < cfg->lookups[i].connections && a->seat_count < SEATS_MAX; k++) {
            struct seat *s = &a->seats[a->seat_count];
            uint8_t *room = mem_take(CARD_TEXT_SIZE_MAX);

            if (room == NULL)
                return false;
            a->seat_count++;
            *s = (struct seat){.asker = a, .lookup = i, .backend = backend_of(cfg->lookups[i].kind)};
            if (s->backend == NULL)
                s->backend = &nobody;
            buf_init(&s->answer, room, CARD_TEXT_SIZE_MAX);
            s->question = (struct question){
                .lookup = &cfg->lookups[i], .hostname = (const char *)cfg->hostname.data, .answer = &s->answer};
        }
    return true;
}

static void asker_release(struct asker *a)
{
    for (size_t i = 0; i < a->seat_count; i++) {
        a->seats[i].backend->close(a->seats[i].conn);
        mem_free(a->seats[i].answer.data);
    }
    mem_free(a->seats);
    mem_free(a->failing);
    mem_free(a);
}

struct asker *asker_new(
    struct loop *loop, const struct config *cfg, struct cards *cards, void (*on_cards)(void *ctx), void *ctx)
{
    struct asker *a = mem_take_zero(sizeof *a);

    ASSERT(cfg->lookup_count > 0);
    if (a == NULL)
        return NULL;
    a->loop = loop;
    a->cards = cards;
    a->on_cards = on_cards;
    a->ctx = ctx;
    a->timer = (struct loop_timer){.fn = on_tick, .ctx = a};
    a->seats = mem_take_zero(SEATS_MAX * sizeof *a->seats);
    a->failing = mem_take_zero(cfg->lookup_count * sizeof *a->failing);
    if (a->seats == NULL || a->failing == NULL || !seats_make(a, cfg)) {
        asker_release(a);
        return NULL;
    }
    the_asker = a;
    return a;
}

void asker_start(struct asker *a)
{
    a->started = true;
    work_prepare(a->loop, (unsigned)a->seat_count);
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

bool asker_free(struct asker **asker)
{
    struct asker *a = *asker;
    struct loop_timer end;

    if (a == NULL)
        return true;
    loop_timer_stop(a->loop, &a->timer);
    a->stopping = true;
    struct instant until = instant_after(loop_now(a->loop), FREE_TURNS_MS);
    end = (struct loop_timer){.fn = on_nothing};
    while (work_count() > 0 && !instant_reached(until, loop_now(a->loop))) {
        loop_timer_set(a->loop, &end, until);
        loop_turn(a->loop, true);
    }
    loop_timer_stop(a->loop, &end);
    if (work_count() > 0)
        return false;
    the_asker = NULL;
    asker_release(a);
    *asker = NULL;
    return true;
}
