/* Answers from anybody: the first octet picks the asked type, the rest is the packet, whose own question (if it has a
 * readable one) is taken as ours, so that the fuzzer gets behind that check. What was read must survive the cache. */
#include "dns/cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t TYPES[] = {DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_MX, DNS_TYPE_CNAME, DNS_TYPE_PTR, DNS_TYPE_TLSA};
static struct dns_answer answer, cached;
static _Alignas(max_align_t) uint8_t cache_room[1 << 17];

/* The name of an uncompressed question section. */
static void question_of(struct bytes packet, struct dns_question *q)
{
    uint8_t text[DNS_NAME_SIZE_MAX + 1];
    struct buf name = BUF(text);

    for (size_t at = 12; at < packet.size && packet.data[at] != 0;) {
        struct bytes label = bytes_head(bytes_after(packet, at + 1), packet.data[at]);
        if (!is_ok(buf_put(&name, label)) || !is_ok(buf_put_octet(&name, '.')))
            return;
        at += 1 + label.size;
    }
    struct result unreadable = dns_name_set(&q->name, buf_bytes(&name));
    (void)unreadable; /* stays the root then */
}

static void check_cache(const struct dns_answer *a)
{
    struct dns_cache cache;
    const struct dns_cache_config cfg = {.entries = 4};

    ASSERT(dns_cache_room_size(cfg.entries) <= sizeof cache_room);
    dns_cache_init(&cache, &cfg, cache_room, sizeof cache_room);
    dns_cache_put(&cache, (struct instant){0}, BYTES("a.example"), a->type, a);
    if (!dns_cache_get(&cache, (struct instant){0}, BYTES("a.example"), a->type, &cached))
        return;
    ASSERT(cached.status == a->status && cached.count == a->count && cached.unusable == a->unusable);
    ASSERT(dns_name_equal(dns_name_bytes(&cached.canonical), dns_name_bytes(&a->canonical)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_question q = {0};

    if (size < 3)
        return 0;
    struct bytes packet = {data + 1, size - 1};
    q.type = TYPES[data[0] % COUNT_OF(TYPES)];
    q.id = (uint16_t)(packet.data[0] << 8 | packet.data[1]);
    question_of(packet, &q);
    dns_answer_parse(&q, packet, &answer);
    ASSERT(answer.status < DNS_STATUS_COUNT);
    ASSERT(!dns_status_is_temporary(answer.status) || (answer.count == 0 && answer.ttl == 0));
    ASSERT(answer.count == 0 || answer.status == DNS_OK);
    for (unsigned i = 0; i < answer.count && answer.type == DNS_TYPE_MX; i++) {
        ASSERT(dns_name_is_valid(dns_name_bytes(&answer.mx[i].host)));
        ASSERT(i == 0 || answer.mx[i - 1].preference <= answer.mx[i].preference);
    }
    for (unsigned i = 0; i < answer.count && answer.type == DNS_TYPE_TLSA; i++)
        ASSERT(dns_tlsa_data(&answer, i).size <= DNS_TLSA_DATA_SIZE_MAX);
    check_cache(&answer);
    return 0;
}
