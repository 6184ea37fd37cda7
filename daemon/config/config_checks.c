/* The lists of the block `checks`; what counts as one client. */
#include <arpa/inet.h>

#include "daemon/config/reader.h"
#include "daemon/config/value.h"

static const char EXPECTED[] =
    "a zone, perhaps its answer, and a weight: \"bl.example 3\", \"bl.example=127.0.0.4 2\", "
    "\"wl.example -5\"";

enum { WEIGHT_MAX = 1000 };

/* "127.0.0.4": what a list answers for one kind of entry. */
static bool answer_is_valid(struct bytes text)
{
    struct config_network network;

    return is_ok(value_network(text, &network)) && network.prefix_bits == 128 && network.address[12] == 127;
}

static RESULT list_read(struct reader *r, const struct config_tree_cell *cell, struct config_dnslist *list)
{
    struct bytes words = bytes_trim(cell->text);
    ptrdiff_t blank = bytes_rindex(words, ' '), equals;
    struct bytes zone = bytes_trim(bytes_head(words, blank == BYTES_NOT_FOUND ? 0 : (size_t)blank));
    struct bytes number = bytes_after(words, zone.size > 0 ? (size_t)blank + 1 : 0);
    bool negative = bytes_starts(number, BYTES("-"));
    const char *why;
    uint64_t weight;

    if (zone.size == 0 || !is_ok(bytes_to_u64(bytes_after(number, negative), WEIGHT_MAX, &weight)))
        return reader_wrong(r, cell, "lists", EXPECTED);
    equals = bytes_index(zone, '=');
    if (equals != BYTES_NOT_FOUND) {
        struct bytes answer = bytes_after(zone, (size_t)equals + 1);

        if (!answer_is_valid(answer))
            return reader_wrong(r, cell, "lists", EXPECTED);
        TRY(reader_keep(r->cfg, answer, &list->answer));
        zone = bytes_head(zone, (size_t)equals);
    }
    if (!is_ok(reader_name(r, zone, &list->zone, &why)))
        return reader_wrong(r, cell, "lists", EXPECTED);
    list->weight = negative ? -(int32_t)weight : (int32_t)weight;
    return OK;
}

RESULT config_checks_read(struct reader *r, const struct config_tree_block *block)
{
    struct config_tree_values values = config_tree_values(block, "lists");
    struct config_checks *checks = &r->cfg->checks;
    void *items;

    if (values.count > CHECKS_LIST_COUNT_MAX)
        return READER_FAIL(
            r, block->line, "lists: found %zu, expected at most %d", values.count, CHECKS_LIST_COUNT_MAX);
    TRY(reader_list(r->cfg, values.count, sizeof *checks->lists, &items));
    checks->lists = items;
    for (; checks->list_count < values.count; checks->list_count++) {
        checks->lists[checks->list_count] = (struct config_dnslist){0};
        TRY(list_read(r, config_tree_cell(&values, checks->list_count), &checks->lists[checks->list_count]));
    }
    return OK;
}

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint64_t MAPPED_BLOCK = 0x0000ffff00000000; /* no IPv6 address that is in use begins so */

uint64_t config_client_block(const struct config *cfg, const uint8_t address[16])
{
    bool ipv4 = memcmp(address, MAPPED, sizeof MAPPED) == 0;
    uint32_t bits = ipv4 ? 32 + cfg->rates.ipv4_bits : cfg->rates.ipv6_bits;
    uint64_t block = wire_load_u64(ipv4 ? address + 8 : address) & (UINT64_MAX << (64 - bits));

    return block == 0 ? 1 : block;
}

RESULT config_client_block_put(const struct config *cfg, uint64_t block, struct buf *out)
{
    bool ipv4 = (block & MAPPED_BLOCK) == MAPPED_BLOCK && block >> 48 == 0;
    uint32_t bits = ipv4 ? cfg->rates.ipv4_bits : cfg->rates.ipv6_bits;
    char text[INET6_ADDRSTRLEN];
    uint8_t octets[16] = {0};

    for (size_t i = 0; i < 8; i++)
        octets[i] = (uint8_t)(block >> (56 - 8 * i));
    if (inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? octets + 4 : octets, text, sizeof text) == NULL)
        return FAIL(CODE_REFUSED, "not an address");
    TRY(buf_put_str(out, text));
    if (bits == 32 && ipv4)
        return OK;
    TRY(buf_put_octet(out, '/'));
    return buf_put_u64(out, bits);
}
