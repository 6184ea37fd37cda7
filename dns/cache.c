/* One block of memory: entries, then cells, then buckets.
 *
 *   (C1) An entry is on exactly one list: the free list, or a bucket's chain and the list by use; or it is fresh.
 *   (C2) A cell is on exactly one list: the free list, or the chain of one entry; or it is fresh. cells_left counts the free
 *        and the fresh ones.
 *   (C3) The octets of an entry are: the name in lower case, then the answer as pack() writes it. */
#include "dns/cache.h"

enum {
    CELL_DATA_SIZE = 124,
    CELLS_PER_ENTRY = 2, /* an address answer takes one, the MX set of a big provider two or three */
    CELLS_EXTRA = 512,   /* so that a small cache still holds the largest answer */
    NEGATIVE_TTL_MAX = 10800,
    PACKED_SIZE_MAX = 16384,
};
#define NONE UINT32_MAX

STATIC_ASSERT(PACKED_SIZE_MAX >= (DNS_MX_COUNT_MAX + 2) * (DNS_NAME_SIZE_MAX + 6) + 64);
STATIC_ASSERT(PACKED_SIZE_MAX >= DNS_TLSA_DATA_SIZE_MAX + DNS_TLSA_COUNT_MAX * 8 + 2 * (DNS_NAME_SIZE_MAX + 4) + 64);

struct dns_cache_entry {
    struct instant expires;
    uint64_t hash;
    uint32_t cells;
    uint32_t size;
    uint32_t chain; /* next in the bucket, or next free */
    uint32_t newer;
    uint32_t older;
    uint16_t type;
};

struct dns_cache_cell {
    uint32_t next;
    uint8_t data[CELL_DATA_SIZE];
};

static uint32_t cells_for(unsigned entries)
{
    return entries == 0 ? 0 : entries * CELLS_PER_ENTRY + CELLS_EXTRA;
}

size_t dns_cache_room_size(unsigned entries)
{
    return (size_t)entries * (sizeof(struct dns_cache_entry) + sizeof(uint32_t)) +
           (size_t)cells_for(entries) * sizeof(struct dns_cache_cell);
}

void dns_cache_init(struct dns_cache *c, const struct dns_cache_config *cfg, void *room, size_t room_size)
{
    ASSERT(room_size >= dns_cache_room_size(cfg->entries));
    ASSERT(cfg->entries < INT32_MAX / sizeof(struct dns_cache_cell));
    *c = (struct dns_cache){.cfg = *cfg, .cell_count = cells_for(cfg->entries), .bucket_count = cfg->entries};
    if (c->cfg.ttl_max == 0 || c->cfg.ttl_max > DNS_TTL_MAX)
        c->cfg.ttl_max = DNS_TTL_MAX;
    if (c->cfg.negative_ttl_max == 0)
        c->cfg.negative_ttl_max = NEGATIVE_TTL_MAX;
    c->entries = room;
    c->cells = (struct dns_cache_cell *)(void *)(c->entries + cfg->entries);
    c->buckets = (uint32_t *)(void *)(c->cells + c->cell_count);
    dns_cache_reset(c);
}

void dns_cache_reset(struct dns_cache *c)
{
    c->entry_free = c->cell_free = c->newest = c->oldest = NONE;
    c->entry_fresh = c->cell_fresh = 0;
    for (uint32_t i = 0; i < c->bucket_count; i++)
        c->buckets[i] = NONE;
    c->cells_left = c->cell_count;
    c->entry_count = 0;
}

/* --- lists --- */

static void use_unlink(struct dns_cache *c, uint32_t index)
{
    struct dns_cache_entry *e = &c->entries[index];

    *(e->newer == NONE ? &c->newest : &c->entries[e->newer].older) = e->older;
    *(e->older == NONE ? &c->oldest : &c->entries[e->older].newer) = e->newer;
}

static void use_link(struct dns_cache *c, uint32_t index)
{
    struct dns_cache_entry *e = &c->entries[index];

    e->newer = NONE;
    e->older = c->newest;
    *(c->newest == NONE ? &c->oldest : &c->entries[c->newest].newer) = index;
    c->newest = index;
}

static void entry_drop(struct dns_cache *c, uint32_t index)
{
    struct dns_cache_entry *e = &c->entries[index];
    uint32_t *link = &c->buckets[e->hash % c->bucket_count];

    while (*link != index) {
        ASSERT(*link != NONE); /* (C1) */
        link = &c->entries[*link].chain;
    }
    *link = e->chain;
    use_unlink(c, index);
    while (e->cells != NONE) {
        uint32_t cell = e->cells;
        e->cells = c->cells[cell].next;
        c->cells[cell].next = c->cell_free;
        c->cell_free = cell;
        c->cells_left++;
    }
    e->chain = c->entry_free;
    c->entry_free = index;
    c->entry_count--;
}

/* --- packing --- */

static RESULT pack_record(struct buf *out, const struct dns_answer *a, unsigned i)
{
    switch (a->type) {
    case DNS_TYPE_MX:
        TRY(wire_put_u16(out, a->mx[i].preference));
        return wire_put_bytes(out, dns_name_bytes(&a->mx[i].host));
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        TRY(wire_put_u8(out, a->address[i].family));
        return buf_put(out, (struct bytes){a->address[i].octets, a->address[i].family == 4 ? 4 : 16});
    case DNS_TYPE_TLSA:
        TRY(wire_put_u8(out, a->tlsa[i].usage));
        TRY(wire_put_u8(out, a->tlsa[i].selector));
        TRY(wire_put_u8(out, a->tlsa[i].matching));
        return wire_put_bytes(out, dns_tlsa_data(a, i));
    default:
        return wire_put_bytes(out, dns_name_bytes(&a->ptr[i]));
    }
}

static RESULT pack(struct buf *out, struct bytes name, const struct dns_answer *a)
{
    TRY(wire_put_bytes(out, name));
    TRY(wire_put_u8(out, (uint8_t)a->status));
    TRY(wire_put_u8(out, a->authentic));
    TRY(wire_put_u8(out, a->edns));
    TRY(wire_put_u32(out, a->unusable));
    TRY(wire_put_bytes(out, dns_name_bytes(&a->canonical)));
    TRY(wire_put_u32(out, a->count));
    for (unsigned i = 0; i < a->count; i++)
        TRY(pack_record(out, a, i));
    return OK;
}

static void unpack_name(struct wire_reader *r, struct dns_name *name_out)
{
    if (!is_ok(dns_name_set(name_out, wire_get_bytes(r, DNS_NAME_SIZE_MAX))))
        wire_fail(r, "not a domain name");
}

static void unpack_record(struct wire_reader *r, struct dns_answer *a, unsigned i)
{
    switch (a->type) {
    case DNS_TYPE_MX:
        a->mx[i].preference = wire_get_u16(r);
        unpack_name(r, &a->mx[i].host);
        return;
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        a->address[i] = (struct dns_address){.family = wire_get_u8(r)};
        for (int k = 0; k < (a->address[i].family == 4 ? 4 : 16); k++)
            a->address[i].octets[k] = wire_get_u8(r);
        return;
    case DNS_TYPE_TLSA: {
        size_t used = i == 0 ? 0 : (size_t)a->tlsa[i - 1].offset + a->tlsa[i - 1].size;
        a->tlsa[i].usage = wire_get_u8(r);
        a->tlsa[i].selector = wire_get_u8(r);
        a->tlsa[i].matching = wire_get_u8(r);
        struct bytes data = wire_get_bytes(r, DNS_TLSA_DATA_SIZE_MAX - used);
        a->tlsa[i].offset = (uint16_t)used;
        a->tlsa[i].size = (uint16_t)data.size;
        if (data.size > 0)
            memcpy(a->tlsa_data + used, data.data, data.size);
        return;
    }
    default:
        unpack_name(r, &a->ptr[i]);
    }
}

static unsigned count_max(uint16_t type)
{
    return type == DNS_TYPE_MX                           ? DNS_MX_COUNT_MAX
           : type == DNS_TYPE_A || type == DNS_TYPE_AAAA ? DNS_ADDRESS_COUNT_MAX
           : type == DNS_TYPE_TLSA                       ? DNS_TLSA_COUNT_MAX
                                                         : DNS_PTR_COUNT_MAX;
}

/* False when the entry is for another name (the hash alone does not say so). */
static bool unpack(struct bytes in, struct bytes name, uint16_t type, struct dns_answer *a)
{
    struct wire_reader r = wire_reader_over(in);

    if (!bytes_equal(wire_get_bytes(&r, DNS_NAME_SIZE_MAX), name))
        return false;
    dns_answer_fail(a, type, DNS_OK);
    a->status = (enum dns_status)wire_get_enum(&r, DNS_STATUS_COUNT);
    a->authentic = wire_get_bool(&r);
    a->edns = wire_get_bool(&r);
    a->unusable = wire_get_u32(&r);
    unpack_name(&r, &a->canonical);
    a->count = wire_get_u32(&r);
    ASSERT(a->count <= count_max(type)); /* these octets never left this process */
    for (unsigned i = 0; i < a->count; i++)
        unpack_record(&r, a, i);
    ASSERT(is_ok(wire_end(&r)));
    return true;
}

static struct bytes gather(const struct dns_cache *c, const struct dns_cache_entry *e, uint8_t room[PACKED_SIZE_MAX])
{
    size_t size = 0;

    for (uint32_t cell = e->cells; cell != NONE; cell = c->cells[cell].next) {
        size_t piece = e->size - size < CELL_DATA_SIZE ? e->size - size : CELL_DATA_SIZE;
        memcpy(room + size, c->cells[cell].data, piece);
        size += piece;
    }
    ASSERT(size == e->size);
    return (struct bytes){room, size};
}

/* --- the cache --- */

/* The key in lower case without a last dot, and its hash; a name that cannot be one is not kept. */
static bool key_of(
    const struct dns_cache *c, struct bytes name, uint16_t type, struct dns_name *key_out, uint64_t *hash_out)
{
    if (c->cfg.entries == 0 || !is_ok(dns_name_set(key_out, name)))
        return false;
    for (size_t i = 0; i < key_out->size; i++)
        key_out->text[i] = octet_lower(key_out->text[i]);
    *hash_out = bytes_hash(dns_name_bytes(key_out), c->cfg.seed ^ type);
    return true;
}

/* Unpacks into *answer_out on the way: the name is only known to be the same then. */
static uint32_t find(
    const struct dns_cache *c, const struct dns_name *key, uint16_t type, uint64_t hash, struct dns_answer *answer_out)
{
    uint8_t room[PACKED_SIZE_MAX];

    for (uint32_t i = c->buckets[hash % c->bucket_count]; i != NONE; i = c->entries[i].chain) {
        const struct dns_cache_entry *e = &c->entries[i];
        if (e->hash == hash && e->type == type && unpack(gather(c, e, room), dns_name_bytes(key), type, answer_out))
            return i;
    }
    return NONE;
}

bool dns_cache_get(
    struct dns_cache *c, struct instant now, struct bytes name, uint16_t type, struct dns_answer *answer_out)
{
    struct dns_name key;
    uint64_t hash;
    uint32_t index = NONE;

    if (key_of(c, name, type, &key, &hash))
        index = find(c, &key, type, hash, answer_out);
    if (index != NONE && instant_reached(c->entries[index].expires, now)) {
        entry_drop(c, index);
        index = NONE;
    }
    if (index == NONE) {
        c->misses++;
        return false;
    }
    answer_out->ttl = (uint32_t)((c->entries[index].expires.ms - now.ms + 999) / 1000);
    use_unlink(c, index);
    use_link(c, index);
    c->hits++;
    return true;
}

static uint32_t cell_take(struct dns_cache *c)
{
    uint32_t cell = c->cell_free;

    if (cell == NONE) {
        ASSERT(c->cell_fresh < c->cell_count); /* (C2) */
        return c->cell_fresh++;
    }
    c->cell_free = c->cells[cell].next;
    return cell;
}

static uint32_t entry_take(struct dns_cache *c)
{
    uint32_t index = c->entry_free;

    if (index == NONE) {
        ASSERT(c->entry_fresh < c->cfg.entries); /* (C1) */
        return c->entry_fresh++;
    }
    c->entry_free = c->entries[index].chain;
    return index;
}

static void cells_fill(struct dns_cache *c, struct dns_cache_entry *e, struct bytes in)
{
    uint32_t *link = &e->cells;

    e->size = (uint32_t)in.size;
    while (in.size > 0) {
        struct bytes piece = bytes_head(in, CELL_DATA_SIZE);
        uint32_t cell = cell_take(c);
        c->cells_left--;
        memcpy(c->cells[cell].data, piece.data, piece.size);
        *link = cell;
        link = &c->cells[cell].next;
        in = bytes_after(in, piece.size);
    }
    *link = NONE;
}

void dns_cache_put(
    struct dns_cache *c, struct instant now, struct bytes name, uint16_t type, const struct dns_answer *answer)
{
    uint8_t room[PACKED_SIZE_MAX];
    struct buf packed = BUF(room);
    struct dns_answer old;
    struct dns_name key;
    uint64_t hash;
    uint32_t ttl = answer->ttl;
    uint32_t ttl_max = answer->status == DNS_OK ? c->cfg.ttl_max : c->cfg.negative_ttl_max;

    if (answer->status != DNS_OK && answer->status != DNS_NODATA && answer->status != DNS_NXDOMAIN)
        return;
    if (!key_of(c, name, type, &key, &hash) || !is_ok(pack(&packed, dns_name_bytes(&key), answer)))
        return;
    uint32_t index = find(c, &key, type, hash, &old);
    if (index != NONE)
        entry_drop(c, index);
    size_t cells = (packed.size + CELL_DATA_SIZE - 1) / CELL_DATA_SIZE;
    if (ttl == 0 || cells > c->cell_count / 4)
        return;
    while (c->entry_count == c->cfg.entries || c->cells_left < cells)
        entry_drop(c, c->oldest);
    index = entry_take(c);
    struct dns_cache_entry *e = &c->entries[index];
    e->expires = instant_after(now, (int64_t)(ttl < ttl_max ? ttl : ttl_max) * 1000);
    e->hash = hash;
    e->type = type;
    e->chain = c->buckets[hash % c->bucket_count];
    c->buckets[hash % c->bucket_count] = index;
    cells_fill(c, e, buf_bytes(&packed));
    use_link(c, index);
    c->entry_count++;
}

unsigned dns_cache_count(const struct dns_cache *c)
{
    return c->entry_count;
}
