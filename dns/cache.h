/* cache: answers kept for their time to live, positive and negative, in memory that never grows.
 *
 * For: the resolver. Not for: failures that may pass (only OK, NODATA and NXDOMAIN are kept), and not shared.
 * Pure: the caller gives the memory once and `now` each time. Answers are kept packed, in cells; when room is wanted the
 * entry that was used longest ago goes. An answer that needs more than a quarter of the cells is not kept.
 *   void *room = mem_take(dns_cache_room_size(1000));
 *   dns_cache_init(&cache, &cfg, room, dns_cache_room_size(1000));
 *   if (!dns_cache_get(&cache, now, name, type, &answer)) ... ask ... dns_cache_put(&cache, now, name, type, &answer); */
#ifndef MANSIO_DNS_CACHE_H
#define MANSIO_DNS_CACHE_H

#include "dns/message.h"

struct dns_cache_entry;
struct dns_cache_cell;

struct dns_cache_config {
    unsigned entries;          /* names and types kept at once; 0 keeps nothing */
    uint32_t ttl_max;          /* seconds, of positive answers; 0 means DNS_TTL_MAX */
    uint32_t negative_ttl_max; /* seconds; 0 means 3 hours (RFC 2308 5 asks for one to three) */
    uint64_t seed;             /* of the hash, so that nobody can aim at one bucket */
};

struct dns_cache {
    struct dns_cache_config cfg;
    struct dns_cache_entry *entries;
    struct dns_cache_cell *cells;
    uint32_t *buckets;
    uint32_t bucket_count;
    uint32_t cell_count;
    uint32_t entry_free; /* list heads; an index, or none */
    uint32_t cell_free;
    uint32_t entry_fresh; /* those from here on were never used: free, in no list, their memory untouched */
    uint32_t cell_fresh;
    uint32_t cells_left;
    uint32_t entry_count;
    uint32_t newest; /* by use */
    uint32_t oldest;
    uint64_t hits;
    uint64_t misses;
};

/* Octets that dns_cache_init wants for so many entries. */
size_t dns_cache_room_size(unsigned entries);
/* `room` is aligned for any type, dns_cache_room_size(cfg->entries) octets, and outlives the cache. */
void dns_cache_init(struct dns_cache *c, const struct dns_cache_config *cfg, void *room, size_t room_size);

/* True and a full answer (its ttl is what is left of it) when one is kept and its time is not over. */
bool dns_cache_get(
    struct dns_cache *c, struct instant now, struct bytes name, uint16_t type, struct dns_answer *answer_out);
/* Keeps (or replaces) it, unless its status or its ttl says no. */
void dns_cache_put(
    struct dns_cache *c, struct instant now, struct bytes name, uint16_t type, const struct dns_answer *answer);
/* Forgets everything. */
void dns_cache_reset(struct dns_cache *c);
/* Entries held now, over-aged ones included. */
unsigned dns_cache_count(const struct dns_cache *c);

#endif
