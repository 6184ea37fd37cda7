#include "daemon/inbound/score.h"

#include "daemon/config/value.h"
#include "smtp/address.h"

static void reason_put(struct buf *out, struct bytes name, int32_t weight)
{
    size_t before = out->size;

    if ((before > 0 && !is_ok(buf_put_octet(out, ' '))) || !is_ok(buf_put(out, name)) ||
        !is_ok(buf_put_octet(out, ':')) || (weight < 0 && !is_ok(buf_put_octet(out, '-'))) ||
        !is_ok(buf_put_u64(out, (uint64_t)(weight < 0 ? -weight : weight))))
        out->size = before;
}

static int32_t count(struct buf *out, bool holds, struct bytes name, int32_t weight)
{
    if (!holds || weight == 0)
        return 0;
    reason_put(out, name, weight);
    return weight;
}

static bool is_ours(const struct config *cfg, struct bytes helo)
{
    if (bytes_equal_nocase(helo, cfg->hostname))
        return true;
    for (size_t i = 0; i < cfg->domain_count; i++)
        if (bytes_equal_nocase(helo, cfg->domains[i].name))
            return true;
    return false;
}

/* A literal must be the client's own address; an address without brackets is no name at all (RFC 5321 4.1.3). */
static bool is_wrong_address(const struct score_facts *facts)
{
    struct config_network network;

    if (ipv4_is_valid(facts->helo) || ipv6_is_valid(facts->helo))
        return true;
    if (address_literal_kind(facts->helo) == ADDRESS_DOMAIN_NONE)
        return false;
    return !is_ok(value_network(address_literal_host(facts->helo), &network)) ||
           memcmp(network.address, facts->address, sizeof network.address) != 0;
}

int32_t score_client(const struct config *cfg, const struct score_facts *facts, struct buf *reasons)
{
    const struct config_checks *checks = &cfg->checks;
    bool literal = bytes_starts(facts->helo, BYTES("[")) || ipv6_is_valid(facts->helo);
    bool unqualified = facts->helo.size > 0 && !literal && bytes_index(facts->helo, '.') == BYTES_NOT_FOUND;
    int32_t score = 0;

    score += count(reasons, facts->nameless, BYTES("no_name"), (int32_t)checks->no_name);
    score += count(reasons, unqualified, BYTES("helo_unqualified"), (int32_t)checks->helo_unqualified);
    score += count(reasons, is_wrong_address(facts), BYTES("helo_address"), (int32_t)checks->helo_address);
    score += count(reasons, is_ours(cfg, facts->helo), BYTES("helo_ours"), (int32_t)checks->helo_ours);
    for (size_t i = 0; i < checks->list_count; i++)
        score += count(reasons, (facts->listed >> i & 1) != 0, checks->lists[i].zone, checks->lists[i].weight);
    return score;
}
