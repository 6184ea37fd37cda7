#include "queue/route.h"

/* The table's order is the one `route_compare` gives: exact names by name, then wildcards by falling length, so that the
 * more specific always stands before the less specific and both can be found by bisection. "*" has the empty pattern
 * and therefore comes last. */

enum { MX_PORT_DEFAULT = 25, RELAY_PORT_DEFAULT = 25, LMTP_PORT_DEFAULT = 24, UNIX_PATH_SIZE_MAX = 107 };

/* --- targets --- */

static bool text_is_printable(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < ' ' || text.data[i] == 127)
            return false;
    return true;
}

static bool octet_is_digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}

static bool octet_is_hex(uint8_t octet)
{
    uint8_t low = octet_lower(octet);
    return octet_is_digit(octet) || (low >= 'a' && low <= 'f');
}

static bool ipv4_is(struct bytes text)
{
    unsigned parts = 0;

    while (parts < 4) {
        ptrdiff_t dot = bytes_index(text, '.');
        uint64_t value;
        struct bytes part = parts == 3 ? text : bytes_head(text, dot < 0 ? 0 : (size_t)dot);

        if (part.size > 3 || !is_ok(bytes_to_u64(part, 255, &value)))
            return false;
        text = bytes_after(text, part.size + 1);
        parts++;
    }
    return true;
}

/* RFC 4291 2.2: eight groups, at most one "::", the last two groups perhaps as IPv4. */
static bool ipv6_is(struct bytes text)
{
    unsigned groups = 0;
    bool gap = false;

    if (bytes_starts(text, BYTES("::"))) {
        gap = true;
        text = bytes_after(text, 2);
        if (text.size == 0)
            return true;
    }
    for (;;) {
        size_t digits = 0;

        while (digits < text.size && octet_is_hex(text.data[digits]))
            digits++;
        if (digits < text.size && text.data[digits] == '.')
            return ipv4_is(text) && (gap ? groups + 2 < 8 : groups + 2 == 8);
        if (digits == 0 || digits > 4 || ++groups > 8)
            return false;
        text = bytes_after(text, digits);
        if (text.size == 0)
            return gap ? groups < 8 : groups == 8;
        if (text.data[0] != ':')
            return false;
        text = bytes_after(text, 1);
        if (text.size > 0 && text.data[0] == ':') {
            if (gap)
                return false;
            gap = true;
            text = bytes_after(text, 1);
            if (text.size == 0)
                return groups < 8;
        }
    }
}

static RESULT host_name_check(struct bytes name)
{
    size_t label_size = 0;

    if (name.size == 0)
        return FAIL(CODE_SYNTAX, "a host name is missing");
    if (name.size > DOMAIN_SIZE_MAX)
        return FAIL(CODE_SYNTAX, "a host name is longer than 255 octets");
    for (size_t i = 0; i < name.size; i++) {
        uint8_t octet = octet_lower(name.data[i]);

        if (octet > 127)
            return FAIL(CODE_SYNTAX, "a host name must be in ASCII (write the xn-- form)");
        if (octet == '.') {
            if (label_size == 0)
                return FAIL(CODE_SYNTAX, "a host name has an empty label");
            label_size = 0;
            continue;
        }
        if (!octet_is_digit(octet) && !(octet >= 'a' && octet <= 'z') && octet != '-' && octet != '_')
            return FAIL(CODE_SYNTAX, "a host name holds a character that is neither letter, digit, '-' nor '.'");
        if (++label_size > 63)
            return FAIL(CODE_SYNTAX, "a label of a host name is longer than 63 octets");
    }
    if (label_size == 0)
        return FAIL(CODE_SYNTAX, "a host name has an empty label");
    return OK;
}

static RESULT put_lower(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        TRY(buf_put_octet(out, octet_lower(text.data[i])));
    return OK;
}

/* One "[host]:port", "host:port", "[host]" or "host"; written as "[host]:port". A name means that host and never its MX,
 * with brackets or without: whoever wants MX says `via = "mx"`. */
static RESULT hop_item_parse(struct bytes text, uint16_t port_default, struct buf *hop)
{
    struct bytes host, rest;
    uint64_t port = port_default, last_label;

    if (text.size == 0)
        return FAIL(CODE_SYNTAX, "a host is missing");
    if (text.data[0] == '[') {
        ptrdiff_t close = bytes_index(text, ']');
        if (close < 0)
            return FAIL(CODE_SYNTAX, "'[' without ']'");
        host = bytes_head(bytes_after(text, 1), (size_t)close - 1);
        rest = bytes_after(text, (size_t)close + 1);
        if (rest.size > 0 && rest.data[0] != ':')
            return FAIL(CODE_SYNTAX, "after ']' only ':' and a port may follow");
        if (bytes_starts_nocase(host, BYTES("IPv6:")))
            host = bytes_after(host, 5);
    } else {
        ptrdiff_t colon = bytes_index(text, ':');
        if (colon >= 0 && colon != bytes_rindex(text, ':'))
            return FAIL(CODE_SYNTAX, "an IPv6 address must stand in brackets: [2001:db8::1]:25");
        host = bytes_head(text, colon < 0 ? text.size : (size_t)colon);
        rest = bytes_after(text, host.size);
    }
    if (rest.size > 0 && (!is_ok(bytes_to_u64(bytes_after(rest, 1), 65535, &port)) || port == 0))
        return FAIL(CODE_SYNTAX, "a port must be a number from 1 to 65535");
    if (bytes_index(host, ':') >= 0) {
        if (!ipv6_is(host))
            return FAIL(CODE_SYNTAX, "not an IPv6 address");
    } else if (!ipv4_is(host)) {
        if (host.size > 1 && host.data[host.size - 1] == '.')
            host.size--;
        TRY(host_name_check(host));
        if (is_ok(bytes_to_u64(bytes_after(host, (size_t)(bytes_rindex(host, '.') + 1)), UINT64_MAX / 16, &last_label)))
            return FAIL(CODE_SYNTAX, "neither a host name nor an IPv4 address");
    }
    TRY(buf_put_octet(hop, '['));
    TRY(put_lower(hop, host));
    TRY(buf_put_str(hop, "]:"));
    return buf_put_u64(hop, port);
}

/* "host:port*3" */
static RESULT hop_weighted_parse(struct bytes text, uint16_t port_default, struct buf *hop)
{
    ptrdiff_t star = bytes_rindex(text, '*');
    uint64_t weight = 1;

    if (star != BYTES_NOT_FOUND) {
        if (!is_ok(bytes_to_u64(bytes_trim(bytes_after(text, (size_t)star + 1)), ROUTE_WEIGHT_MAX, &weight)) ||
            weight == 0)
            return FAIL(CODE_SYNTAX, "a weight must be a number from 1 to 100");
        text = bytes_head(text, (size_t)star);
    }
    TRY(hop_item_parse(bytes_trim(text), port_default, hop));
    if (weight == 1)
        return OK;
    TRY(buf_put_octet(hop, '*'));
    return buf_put_u64(hop, weight);
}

/* Where the next "," or "|" stands; the end of the text when there is none. */
static size_t hop_end(struct bytes text)
{
    size_t end = 0;

    while (end < text.size && text.data[end] != ',' && text.data[end] != '|')
        end++;
    return end;
}

static RESULT hop_list_parse(struct bytes text, uint16_t port_default, struct buf *hop)
{
    for (unsigned count = 1;; count++) {
        size_t end = hop_end(text);
        struct result r = hop_weighted_parse(bytes_trim(bytes_head(text, end)), port_default, hop);

        if (r.code == CODE_FULL)
            return FAIL(CODE_SYNTAX, "the list of hosts is too long");
        TRY(r);
        if (end == text.size)
            return OK;
        if (count == ROUTE_HOPS_MAX)
            return FAIL(CODE_SYNTAX, "the list of hosts is too long: at most 8");
        if (!is_ok(buf_put_octet(hop, text.data[end])))
            return FAIL(CODE_SYNTAX, "the list of hosts is too long");
        text = bytes_after(text, end + 1);
    }
}

/* --- what lanes name --- */

struct bytes route_lane_bare(struct bytes lane, struct bytes *source_out)
{
    ptrdiff_t slash = bytes_rindex(lane, '/');

    *source_out = BYTES_NONE;
    if (slash == BYTES_NOT_FOUND || (!bytes_starts(lane, BYTES("mx:")) && !bytes_starts(lane, BYTES("relay:"))))
        return lane;
    *source_out = bytes_after(lane, (size_t)slash + 1);
    return bytes_head(lane, (size_t)slash);
}

struct bytes route_place_take(struct bytes *rest)
{
    ptrdiff_t comma = bytes_index(*rest, ',');
    struct bytes place = bytes_head(*rest, comma == BYTES_NOT_FOUND ? rest->size : (size_t)comma);

    *rest = comma == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(*rest, (size_t)comma + 1);
    return bytes_trim(place);
}

struct place_host {
    struct bytes name;
    uint32_t weight;
};

/* The hosts that are not in `tried`; their number of bits is the bound. */
static uint32_t place_weigh(struct bytes place, uint32_t tried, struct place_host hosts[32])
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < 32 && place.size > 0; i++) {
        size_t end = hop_end(place);
        struct bytes name = bytes_trim(bytes_head(place, end));
        ptrdiff_t star = bytes_rindex(name, '*');
        uint64_t weight = 1;

        if (star != BYTES_NOT_FOUND &&
            (!is_ok(bytes_to_u64(bytes_after(name, (size_t)star + 1), ROUTE_WEIGHT_MAX, &weight)) || weight == 0))
            weight = 1; /* of a lane that came from an older table: any host will do */
        hosts[i].name = star == BYTES_NOT_FOUND ? name : bytes_head(name, (size_t)star);
        hosts[i].weight = (tried >> i & 1) != 0 ? 0 : (uint32_t)weight;
        sum += hosts[i].weight;
        place = bytes_after(place, end + 1);
    }
    return sum;
}

struct bytes route_host_pick(struct bytes place, uint32_t *tried, struct rng *rng)
{
    struct place_host hosts[32] = {{.weight = 0}};
    uint32_t sum = place_weigh(place, *tried, hosts), drawn;
    unsigned i = 0;

    if (sum == 0)
        return BYTES_NONE;
    /* A single host takes nothing from the generator. */
    drawn = bytes_index(place, '|') == BYTES_NOT_FOUND ? 0 : (uint32_t)rng_below(rng, sum);
    while (drawn >= hosts[i].weight)
        drawn -= hosts[i++].weight;
    *tried |= (uint32_t)1 << i;
    return hosts[i].name;
}

static RESULT target_error_parse(struct bytes text, struct route_target *target)
{
    static const char grammar[] = "error: needs a permanent status and words, such as error:5.1.1 no such user";
    size_t size = 0;
    unsigned parts = 0;

    for (struct bytes rest = text; parts < 3; parts++) {
        size_t digits = 0;
        while (digits < rest.size && octet_is_digit(rest.data[digits]))
            digits++;
        if (digits == 0 || digits > 3 || (parts == 0 && (digits != 1 || rest.data[0] != '5')))
            return FAIL(CODE_SYNTAX, grammar);
        size += digits + (parts < 2);
        if (parts < 2 && (digits >= rest.size || rest.data[digits] != '.'))
            return FAIL(CODE_SYNTAX, grammar);
        rest = bytes_after(rest, digits + 1);
    }
    if (size < text.size && text.data[size] != ' ' && text.data[size] != '\t')
        return FAIL(CODE_SYNTAX, grammar);
    target->status = bytes_head(text, size);
    target->text = bytes_trim(bytes_after(text, size));
    if (target->text.size == 0)
        target->text = BYTES("mail for this address is refused here");
    if (bytes_has_8bit(target->text) || target->text.size > REPLY_LINE_SIZE_MAX - 20)
        return FAIL(CODE_SYNTAX, "the words of error: must be ASCII and fit a reply line");
    return OK;
}

/* relay:, lmtp: and pipe: with what follows the colon, made canonical in `hop`. */
static RESULT target_hop_parse(struct bytes rest, struct route_target *target, struct buf *hop)
{
    static const struct bytes unix_prefix = BYTES_INIT("unix:");

    if (target->kind == ROUTE_RELAY)
        return hop_list_parse(rest, RELAY_PORT_DEFAULT, hop);
    if (target->kind == ROUTE_LMTP && !bytes_starts_nocase(rest, unix_prefix))
        return hop_list_parse(rest, LMTP_PORT_DEFAULT, hop);
    if (target->kind == ROUTE_LMTP) {
        struct bytes path = bytes_after(rest, unix_prefix.size);
        if (path.size < 2 || path.data[0] != '/')
            return FAIL(CODE_SYNTAX, "lmtp:unix: needs an absolute path");
        if (path.size > UNIX_PATH_SIZE_MAX)
            return FAIL(CODE_SYNTAX, "the path of a socket has at most 107 octets");
        TRY(buf_put(hop, unix_prefix));
        return buf_put(hop, path);
    }
    if (rest.size == 0)
        return FAIL(CODE_SYNTAX, "pipe: needs a command");
    if (!is_ok(buf_put(hop, rest)))
        return FAIL(CODE_SYNTAX, "the command of pipe: is too long (put it into a script)");
    return OK;
}

RESULT
route_target_parse(struct arena *a, struct bytes text, struct route_target *target_out)
{
    static const struct {
        struct bytes word;
        enum route_kind kind;
        bool has_rest;
    } words[] = {
        {BYTES_INIT("mx"), ROUTE_MX, false},
        {BYTES_INIT("maildir"), ROUTE_LOCAL, false},
        {BYTES_INIT("hold"), ROUTE_HOLD, false},
        {BYTES_INIT("discard"), ROUTE_DISCARD, false},
        {BYTES_INIT("relay"), ROUTE_RELAY, true},
        {BYTES_INIT("lmtp"), ROUTE_LMTP, true},
        {BYTES_INIT("pipe"), ROUTE_PIPE, true},
        {BYTES_INIT("error"), ROUTE_ERROR, true},
    };
    uint8_t room[LANE_NAME_SIZE_MAX - sizeof("relay:")];
    struct buf hop = BUF(room);
    struct route_target target = {.kind = ROUTE_MX};
    ptrdiff_t colon;
    struct bytes word, rest;
    size_t i = 0;

    text = bytes_trim(text);
    colon = bytes_index(text, ':');
    word = bytes_head(text, colon < 0 ? text.size : (size_t)colon);
    rest = bytes_trim(bytes_after(text, word.size + 1));
    if (!text_is_printable(text))
        return FAIL(CODE_SYNTAX, "control characters have no place here");
    while (i < COUNT_OF(words) && !bytes_equal_nocase(word, words[i].word))
        i++;
    if (i == COUNT_OF(words))
        return FAIL(CODE_SYNTAX, "expected mx, maildir, hold, discard, relay:[host]:port, lmtp:[host]:port, "
                                 "lmtp:unix:/path, pipe:command or "
                                 "error:5.1.1 words");
    if (words[i].has_rest && colon < 0)
        return FAIL(CODE_SYNTAX, "a colon and a value must follow: relay:[host]:port, lmtp:…, pipe:… or error:…");
    if (!words[i].has_rest && colon >= 0)
        return FAIL(CODE_SYNTAX, "nothing may follow mx, maildir, hold or discard");
    target.kind = words[i].kind;
    if (target.kind == ROUTE_ERROR) {
        TRY(target_error_parse(rest, &target));
        TRY(arena_copy(a, target.status, &target.status));
        TRY(arena_copy(a, target.text, &target.text));
    } else if (words[i].has_rest) {
        TRY(target_hop_parse(rest, &target, &hop));
        TRY(arena_copy(a, buf_bytes(&hop), &target.hop));
    }
    *target_out = target;
    return OK;
}

/* --- the table --- */

static int pattern_compare(bool a_wild, struct bytes a, bool b_wild, struct bytes b)
{
    if (a_wild != b_wild)
        return a_wild ? 1 : -1;
    if (a_wild && a.size != b.size)
        return a.size > b.size ? -1 : 1;
    return bytes_compare(a, b);
}

static int route_compare(const struct route *a, const struct route *b)
{
    int order = pattern_compare(a->wildcard, a->pattern, b->wildcard, b->pattern);
    return order != 0 ? order : (int)b->is_domain - (int)a->is_domain;
}

static void routes_reverse(struct route *items, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct route keep = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = keep;
    }
}

/* Merges items[0..middle) and items[middle..count) in place: no room is needed, and equals keep their order. */
static void routes_merge(struct route *items, size_t middle, size_t count)
{
    size_t cut, left, low, high;

    if (middle == 0 || middle == count || route_compare(&items[middle - 1], &items[middle]) <= 0)
        return;
    if (count == 2) {
        routes_reverse(items, 2);
        return;
    }
    /* Halve the longer run and find where its middle falls in the other. */
    if (middle >= count - middle) {
        left = middle / 2;
        for (low = middle, high = count; low < high;) {
            cut = low + (high - low) / 2;
            if (route_compare(&items[cut], &items[left]) < 0)
                low = cut + 1;
            else
                high = cut;
        }
        cut = low;
    } else {
        cut = middle + (count - middle) / 2;
        for (low = 0, high = middle; low < high;) {
            left = low + (high - low) / 2;
            if (route_compare(&items[cut], &items[left]) < 0)
                high = left;
            else
                low = left + 1;
        }
        left = low;
    }
    routes_reverse(items + left, middle - left);
    routes_reverse(items + middle, cut - middle);
    routes_reverse(items + left, cut - left);
    routes_merge(items, left, left + (cut - middle));
    routes_merge(items + left + (cut - middle), middle - left, count - left - (cut - middle));
}

void route_table_sort(struct route *items, size_t count)
{
    if (count < 2)
        return;
    route_table_sort(items, count / 2);
    route_table_sort(items + count / 2, count - count / 2);
    routes_merge(items, count / 2, count);
}

static const struct route *route_lookup(const struct route_table *table, bool wildcard, struct bytes pattern)
{
    size_t low = 0, high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct route *r = &table->items[middle];
        if (pattern_compare(r->wildcard, r->pattern, wildcard, pattern) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == table->count || table->items[low].wildcard != wildcard ||
        !bytes_equal(table->items[low].pattern, pattern))
        return NULL;
    return &table->items[low];
}

static const struct route *sender_find(const struct route_table *table, struct bytes sender)
{
    static const struct bytes from = BYTES_INIT("from:");
    uint8_t octets[sizeof "from:" + ADDRESS_SIZE_MAX];
    ptrdiff_t at = bytes_rindex(sender, '@');
    const struct route *found = NULL;
    struct buf key = BUF(octets);

    for (int whole = 1; whole >= 0 && found == NULL && at != BYTES_NOT_FOUND; whole--) {
        buf_reset(&key);
        if (is_ok(buf_put(&key, from)) && is_ok(put_lower(&key, bytes_after(sender, whole ? 0 : (size_t)at))))
            found = route_lookup(table, false, buf_bytes(&key));
    }
    return found;
}

/* `path` and `sender` may be empty: then the domain alone decides. */
static const struct route *route_find_for(
    const struct route_table *table, struct bytes domain, struct bytes path, struct bytes sender)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf lower = BUF(octets);
    const struct route *found = NULL;

    if (path.size > 0 && is_ok(put_lower(&lower, path)))
        found = route_lookup(table, false, buf_bytes(&lower));
    if (found == NULL)
        found = route_lookup(table, false, domain);

    /* The dots of an address literal part no labels: only its own name and "*" fit it. */
    if (found == NULL && domain.data[0] != '[') {
        for (size_t i = 1; i < domain.size && found == NULL; i++)
            if (domain.data[i] == '.')
                found = route_lookup(table, true, bytes_after(domain, i));
    }
    if (found == NULL)
        found = sender_find(table, sender);
    if (found == NULL)
        found = route_lookup(table, true, BYTES_NONE);
    ASSERT(found != NULL); /* the configuration ends every table with "*" */
    return found;
}

static const struct route *route_find(const struct route_table *table, struct bytes domain)
{
    return route_find_for(table, domain, BYTES_NONE, BYTES_NONE);
}

RESULT
route_take(const struct route *route, struct bytes domain, struct buf *lane_out, struct route_choice *choice_out)
{
    static const char *const prefixes[] = {
        [ROUTE_MX] = "mx:",
        [ROUTE_RELAY] = "relay:",
        [ROUTE_LMTP] = "lmtp:",
        [ROUTE_LOCAL] = "local",
        [ROUTE_PIPE] = "pipe:",
        [ROUTE_HOLD] = "mx:",
        [ROUTE_DISCARD] = "",
        [ROUTE_ERROR] = "",
    };
    struct route_choice choice = {.kind = ROUTE_CHOICE_LANE, .route = route};
    enum route_kind kind = route->target.kind;
    struct bytes rest = BYTES_NONE;
    size_t start = lane_out->size;

    if (kind == ROUTE_DISCARD || kind == ROUTE_ERROR) {
        choice.kind = kind == ROUTE_ERROR ? ROUTE_CHOICE_ERROR : ROUTE_CHOICE_DISCARD;
        *choice_out = choice;
        return OK;
    }
    if (kind == ROUTE_HOLD)
        choice.kind = ROUTE_CHOICE_HOLD;
    if (kind == ROUTE_MX || kind == ROUTE_HOLD)
        rest = domain;
    else if (kind != ROUTE_LOCAL)
        rest = route->target.hop;
    size_t size = strlen(prefixes[kind]) + rest.size + (route->source.size > 0 ? 1 + route->source.size : 0);
    if (size > LANE_NAME_SIZE_MAX || size > buf_left(lane_out))
        return FAIL(CODE_FULL, "the name of the lane does not fit");
    TRY(buf_put_str(lane_out, prefixes[kind]));
    TRY(buf_put(lane_out, rest));
    if (route->source.size > 0) {
        TRY(buf_put_octet(lane_out, '/'));
        TRY(buf_put(lane_out, route->source));
    }
    choice.lane = bytes_after(buf_bytes(lane_out), start);
    *choice_out = choice;
    return OK;
}

RESULT
route_choose(
    const struct route_table *table, struct bytes domain, struct buf *lane_out, struct route_choice *choice_out)
{
    if (domain.size == 0)
        return FAIL(CODE_SYNTAX, "an address without a domain has no route");
    return route_take(route_find(table, domain), domain, lane_out, choice_out);
}

RESULT route_choose_for(const struct route_table *table, struct bytes path, struct bytes sender, struct buf *lane_out,
    struct route_choice *choice_out)
{
    ptrdiff_t at = bytes_rindex(path, '@');
    uint8_t octets[DOMAIN_SIZE_MAX];
    struct buf domain = BUF(octets);

    if (at == BYTES_NOT_FOUND || (size_t)at + 1 == path.size)
        return FAIL(CODE_SYNTAX, "an address without a domain has no route");
    TRY(put_lower(&domain, bytes_after(path, (size_t)at + 1)));
    return route_take(
        route_find_for(table, buf_bytes(&domain), path, sender), buf_bytes(&domain), lane_out, choice_out);
}

uint16_t route_mx_port(const struct route_table *table, struct bytes domain)
{
    const struct route *route = domain.size == 0 ? NULL : route_find(table, domain);

    return route == NULL || route->target.kind != ROUTE_MX || route->port == 0 ? MX_PORT_DEFAULT : route->port;
}

enum route_tls route_lane_tls(const struct route_table *table, struct bytes lane)
{
    static const struct bytes mx = BYTES_INIT("mx:"), relay = BYTES_INIT("relay:");
    enum route_tls most = ROUTE_TLS_OPPORTUNISTIC;
    struct bytes source;
    bool found = false;

    lane = route_lane_bare(lane, &source);
    if (bytes_starts(lane, mx)) {
        struct bytes domain = bytes_after(lane, mx.size);
        const struct route *route = domain.size == 0 ? NULL : route_find(table, domain);
        return route == NULL || route->target.kind != ROUTE_MX ? ROUTE_TLS_OPPORTUNISTIC : (enum route_tls)route->tls;
    }
    for (size_t i = 0; i < table->count && bytes_starts(lane, relay); i++) {
        const struct route *route = &table->items[i];
        if (route->target.kind != ROUTE_RELAY || !bytes_equal(route->target.hop, bytes_after(lane, relay.size)))
            continue;
        enum route_tls one = (enum route_tls)route->tls;
        /* "none" is only taken where no other route to this host wants more */
        if (!found || (one != ROUTE_TLS_NONE && (most == ROUTE_TLS_NONE || one > most)))
            most = one;
        found = true;
    }
    return most;
}

/* The next route from *at on that leads to this relay lane; NULL: none. */
static const struct route *relay_route_next(const struct route_table *table, struct bytes lane, size_t *at)
{
    static const struct bytes relay = BYTES_INIT("relay:");
    struct bytes source;

    lane = route_lane_bare(lane, &source);
    while (*at < table->count && bytes_starts(lane, relay)) {
        const struct route *route = &table->items[(*at)++];
        if (route->target.kind == ROUTE_RELAY && bytes_equal(route->target.hop, bytes_after(lane, relay.size)))
            return route;
    }
    return NULL;
}

const struct route *route_lane_login(const struct route_table *table, struct bytes lane)
{
    const struct route *route;
    size_t at = 0;

    do
        route = relay_route_next(table, lane, &at);
    while (route != NULL && route->credentials.size == 0);
    return route;
}

struct bytes route_lane_fingerprint(const struct route_table *table, struct bytes lane)
{
    const struct route *route;
    size_t at = 0;

    do
        route = relay_route_next(table, lane, &at);
    while (route != NULL && route->tls_fingerprint.size == 0);
    return route != NULL ? route->tls_fingerprint : BYTES_NONE;
}
