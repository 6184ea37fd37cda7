/* A shelf has its cards in three lists, each in the order of `since`: wanted, asked, answered. So what is to be asked next, what has
 * waited too long and what must go is found at the oldest end. */
#include "daemon/lookup/cards.h"

static uint64_t key_hash(struct bytes key)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ octet_lower(key.data[i])) * 0x100000001b3u;
    return hash == 0 ? 1 : hash;
}

RESULT cards_init(struct cards *c, const struct config *cfg)
{
    *c = (struct cards){.count = cfg->lookup_count};
    c->ready_end = &c->ready;
    if (c->count == 0)
        return OK;
    c->shelves = mem_take_zero(c->count * sizeof *c->shelves);
    if (c->shelves == NULL)
        return FAIL(CODE_FULL, "out of memory");
    for (size_t i = 0; i < c->count; i++)
        c->shelves[i].lookup = &cfg->lookups[i];
    return OK;
}

static bool is_answered(const struct card *card)
{
    return card->state >= CARD_FOUND;
}

static struct card_list *list_of(struct card_shelf *s, const struct card *card)
{
    return is_answered(card) ? &s->answered : card->state == CARD_ASKED ? &s->asked : &s->wanted;
}

static void list_unlink(struct card_list *l, struct card *card)
{
    *(card->older != NULL ? &card->older->newer : &l->oldest) = card->newer;
    *(card->newer != NULL ? &card->newer->older : &l->newest) = card->older;
    card->older = card->newer = NULL;
}

static void list_append(struct card_list *l, struct card *card)
{
    card->older = l->newest;
    *(l->newest != NULL ? &l->newest->newer : &l->oldest) = card;
    l->newest = card;
}

static void card_text_drop(struct card *card)
{
    mem_free((void *)(uintptr_t)card->text.data);
    card->text = BYTES_NONE;
    if (card->parsed)
        alias_table_fini(&card->table);
    card->parsed = card->unusable = false;
}

static void card_free(struct card_shelf *s, struct card *card)
{
    uint64_t hash = key_hash(card->key);
    struct card *first = map_get(&s->by_key, hash);

    ASSERT(card->waiters == NULL);
    if (first == card && card->next_same_hash == NULL) {
        map_remove(&s->by_key, hash);
    } else if (first == card) {
        struct result r = map_put(&s->by_key, hash, card->next_same_hash);
        ASSERT(is_ok(r)); /* replacing takes no memory */
    } else {
        while (first->next_same_hash != card)
            first = first->next_same_hash;
        first->next_same_hash = card->next_same_hash;
    }
    list_unlink(list_of(s, card), card);
    s->count--;
    card_text_drop(card);
    mem_free(card);
}

static struct card *card_any(const struct card_shelf *s)
{
    return s->wanted.oldest != NULL ? s->wanted.oldest : s->asked.oldest != NULL ? s->asked.oldest : s->answered.oldest;
}

void cards_fini(struct cards *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct card_shelf *s = &c->shelves[i];
        struct card *card;

        while ((card = card_any(s)) != NULL) {
            card->waiters = NULL;
            card_free(s, card);
        }
        map_fini(&s->by_key);
    }
    mem_free(c->shelves);
    *c = (struct cards){.count = 0};
}

/* --- answers --- */

static bool is_held(const struct cards *c, const struct card *card) /* (C1) */
{
    return c->first != NULL && instant_reached(c->first->began, card->since);
}

static bool is_fresh(const struct cards *c, const struct card_shelf *s, const struct card *card)
{
    int64_t lasts = card->state == CARD_FOUND     ? s->lookup->cache
                    : card->state == CARD_MISSING ? s->lookup->cache_missing
                                                  : CARDS_FAILURE_MS;

    return is_held(c, card) || !instant_reached(instant_after(card->since, lasts), c->now);
}

/* Room for one more: the oldest answers go. */
static bool shelf_make_room(struct cards *c, struct card_shelf *s)
{
    struct card *card = s->answered.oldest;

    while (s->count >= s->lookup->cache_size && card != NULL && !is_held(c, card)) {
        struct card *newer = card->newer;

        card_free(s, card);
        card = newer;
    }
    return s->count < CARDS_HELD_MAX;
}

/* Into the list of its new state. */
static void card_enter(struct cards *c, struct card_shelf *s, struct card *card, enum card_state state)
{
    card->state = state;
    card->since = c->now;
    list_append(list_of(s, card), card);
}

static struct card *card_new(struct cards *c, struct card_shelf *s, struct bytes key)
{
    uint64_t hash = key_hash(key);
    struct card *card = shelf_make_room(c, s) ? mem_take_zero(sizeof *card + key.size) : NULL;
    uint8_t *name;

    if (card == NULL)
        return NULL;
    name = (uint8_t *)(card + 1);
    for (size_t i = 0; i < key.size; i++)
        name[i] = octet_lower(key.data[i]);
    card->key = (struct bytes){name, key.size};
    card->next_same_hash = map_get(&s->by_key, hash);
    if (!is_ok(map_put(&s->by_key, hash, card))) {
        mem_free(card);
        return NULL;
    }
    s->count++;
    card_enter(c, s, card, CARD_WANTED);
    return card;
}

static struct card *card_find(const struct card_shelf *s, struct bytes key)
{
    struct card *card = map_get(&s->by_key, key_hash(key));

    while (card != NULL && !bytes_equal_nocase(card->key, key))
        card = card->next_same_hash;
    return card;
}

struct card *cards_get(struct cards *c, size_t lookup, struct bytes key)
{
    ASSERT(lookup < c->count);
    struct card_shelf *s = &c->shelves[lookup];
    struct card *card = card_find(s, key);

    if (card == NULL) {
        card = card_new(c, s, key);
    } else if (is_answered(card) && !is_fresh(c, s, card)) {
        list_unlink(&s->answered, card);
        card_text_drop(card);
        card_enter(c, s, card, CARD_WANTED);
    }
    if (card != NULL && !is_answered(card))
        c->pending = card;
    return card;
}

/* The rows of an answer are what stands behind one key of a virtual table. */
static RESULT card_parse(struct card *card)
{
    static const struct bytes key = BYTES_INIT("card ");
    uint8_t *line = mem_take(key.size + card->text.size);
    struct buf text;
    uint32_t at;

    if (line == NULL)
        return FAIL(CODE_FULL, "out of memory");
    buf_init(&text, line, key.size + card->text.size);
    struct result r = buf_put(&text, key);
    if (is_ok(r))
        r = buf_put(&text, card->text);
    for (size_t i = key.size; i < text.size; i++)
        if (line[i] == '\n')
            line[i] = ',';
    if (is_ok(r))
        r = alias_table_read(&card->table, ALIAS_FORM_VIRTUAL, buf_bytes(&text), &at);
    mem_free(line);
    return r;
}

const struct alias_entry *card_targets(struct card *card)
{
    const struct alias_entry *entry;

    ASSERT(card->state == CARD_FOUND);
    if (!card->parsed) {
        alias_table_init(&card->table);
        card->parsed = true;
        card->unusable = !is_ok(card_parse(card));
    }
    entry = card->unusable ? NULL : alias_table_find(&card->table, BYTES("card"));
    for (const struct alias_target *t = entry != NULL ? entry->targets : NULL; t != NULL; t = t->next)
        if (t->kind != ALIAS_ADDRESS && t->kind != ALIAS_USER)
            return NULL;
    return entry != NULL && entry->targets != NULL ? entry : NULL;
}

/* --- waiters --- */

void cards_begin(struct cards *c, struct card_waiter *w, void *owner, struct instant now)
{
    c->now = now;
    *w = (struct card_waiter){.owner = owner, .began = now, .older = c->last};
    *(c->last != NULL ? &c->last->newer : &c->first) = w;
    c->last = w;
}

static void waiter_put(struct card_waiter *w, struct card_waiter **at)
{
    w->link = at;
    w->next = *at;
    if (w->next != NULL)
        w->next->link = &w->next;
    *at = w;
}

static void waiter_take(struct cards *c, struct card_waiter *w)
{
    if (w->link == NULL)
        return;
    if (c->ready_end == &w->next)
        c->ready_end = w->link;
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    w->link = NULL;
    w->next = NULL;
}

static void waiter_ready(struct cards *c, struct card_waiter *w)
{
    waiter_put(w, c->ready_end);
    c->ready_end = &w->next;
}

void cards_wait(struct cards *c, struct card_waiter *w)
{
    ASSERT(w->link == NULL);
    if (c->pending == NULL || is_answered(c->pending))
        waiter_ready(c, w);
    else
        waiter_put(w, &c->pending->waiters);
}

void cards_leave(struct cards *c, struct card_waiter *w)
{
    waiter_take(c, w);
    *(w->older != NULL ? &w->older->newer : &c->first) = w->newer;
    *(w->newer != NULL ? &w->newer->older : &c->last) = w->older;
    w->older = w->newer = NULL;
}

struct card_waiter *cards_next_ready(struct cards *c)
{
    struct card_waiter *w = c->ready;

    if (w != NULL)
        waiter_take(c, w);
    return w;
}

/* --- asking --- */

const struct card *cards_next_wanted(struct cards *c, size_t lookup)
{
    struct card_shelf *s = &c->shelves[lookup];
    struct card *card = s->wanted.oldest;

    if (card == NULL)
        return NULL;
    list_unlink(&s->wanted, card);
    card_enter(c, s, card, CARD_ASKED);
    return card;
}

static void card_settle(
    struct cards *c, struct card_shelf *s, struct card *card, enum card_state state, struct bytes text)
{
    uint8_t *copy = NULL;

    ASSERT(state >= CARD_FOUND);
    list_unlink(list_of(s, card), card);
    card_text_drop(card);
    if (state == CARD_FOUND && text.size > 0) {
        copy = text.size <= CARD_TEXT_SIZE_MAX ? mem_take(text.size) : NULL;
        if (copy != NULL)
            memcpy(copy, text.data, text.size);
        else
            state = CARD_FAILED;
        card->text = (struct bytes){copy, copy != NULL ? text.size : 0};
    }
    card_enter(c, s, card, state);
    while (card->waiters != NULL) {
        struct card_waiter *w = card->waiters;

        waiter_take(c, w);
        waiter_ready(c, w);
    }
}

void cards_answer(struct cards *c, size_t lookup, struct bytes key, enum card_state state, struct bytes text)
{
    struct card_shelf *s = &c->shelves[lookup];
    struct card *card = card_find(s, key);

    /* What comes after its time is good news for the next who asks; what has failed by then has been told. */
    if (card != NULL && (!is_answered(card) || state != CARD_FAILED))
        card_settle(c, s, card, state, text);
}

struct instant cards_tick(struct cards *c, struct instant now)
{
    struct instant next = INSTANT_NEVER;

    c->now = now;
    for (size_t i = 0; i < c->count; i++) {
        struct card_shelf *s = &c->shelves[i];

        if (s->asked.oldest == NULL)
            continue;
        struct instant end = instant_after(s->asked.oldest->since, s->lookup->timeout);
        if (!instant_reached(end, now)) {
            next = instant_min(next, end);
            continue;
        }
        for (struct card *card; (card = s->asked.oldest != NULL ? s->asked.oldest : s->wanted.oldest) != NULL;)
            card_settle(c, s, card, CARD_FAILED, BYTES_NONE);
    }
    return next;
}
