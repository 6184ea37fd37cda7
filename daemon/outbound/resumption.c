#include "daemon/outbound/resumption.h"

static void entry_wipe(struct resumption_entry *e)
{
    if (e->octets != NULL)
        explicit_bzero(e->octets, (size_t)e->key_size + e->session_size);
    mem_free(e->octets);
    *e = (struct resumption_entry){.octets = NULL};
}

static struct resumption_entry *entry_find(struct resumption *r, struct bytes key)
{
    for (size_t i = 0; i < RESUMPTION_COUNT_MAX; i++) {
        struct resumption_entry *e = &r->entries[i];
        if (e->octets != NULL && bytes_equal(key, (struct bytes){e->octets, e->key_size}))
            return e;
    }
    return NULL;
}

/* A free one, else the one that ends first. */
static struct resumption_entry *entry_choose(struct resumption *r)
{
    struct resumption_entry *first = &r->entries[0];

    for (size_t i = 0; i < RESUMPTION_COUNT_MAX; i++) {
        if (r->entries[i].octets == NULL)
            return &r->entries[i];
        if (r->entries[i].until.ms < first->until.ms)
            first = &r->entries[i];
    }
    return first;
}

void resumption_put(struct resumption *r, struct bytes key, struct bytes session, struct instant now)
{
    struct resumption_entry *e = entry_find(r, key);

    if (e == NULL)
        e = entry_choose(r);
    entry_wipe(e);
    if (key.size == 0 || key.size > RESUMPTION_KEY_SIZE_MAX || session.size == 0 ||
        session.size > RESUMPTION_SESSION_SIZE_MAX || (e->octets = mem_take(key.size + session.size)) == NULL)
        return;
    memcpy(e->octets, key.data, key.size);
    memcpy(e->octets + key.size, session.data, session.size);
    e->key_size = (uint16_t)key.size;
    e->session_size = (uint16_t)session.size;
    e->until = instant_after(now, RESUMPTION_KEEP_MS);
}

bool resumption_take(struct resumption *r, struct bytes key, struct instant now, struct buf *room)
{
    struct resumption_entry *e = entry_find(r, key);

    if (e == NULL)
        return false;
    bool good = !instant_reached(e->until, now) &&
                is_ok(buf_put(room, (struct bytes){e->octets + e->key_size, e->session_size}));
    entry_wipe(e);
    return good;
}

void resumption_fini(struct resumption *r)
{
    for (size_t i = 0; i < RESUMPTION_COUNT_MAX; i++)
        entry_wipe(&r->entries[i]);
}
