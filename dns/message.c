/* Reading a packet (all offsets are checked against its end before each octet):
 *
 *   (P1) A compression pointer leads strictly before the place where the run of labels it ends began, so following
 *        pointers always comes to an end.
 *   (P2) Every record of every section is stepped over, so that a packet cut anywhere is DNS_MALFORMED.
 *   (P3) The records of the answer section may come in any order; the CNAME chain is followed by name. */
#include "dns/message.h"

enum {
    HEADER_SIZE = 12,
    CLASS_IN = 1,
    TYPE_NS = 2,
    FLAG_QR = 0x8000,
    FLAG_OPCODE = 0x7800,
    FLAG_AA = 0x0400,
    FLAG_TC = 0x0200,
    FLAG_RD = 0x0100,
    FLAG_AD = 0x0020,
    FLAG_RCODE = 0x000f,
    OPT_DO = 0x8000,
    RCODE_NOERROR = 0,
    RCODE_SERVFAIL = 2,
    RCODE_NXDOMAIN = 3,
};

/* --- the question --- */

static RESULT name_put(struct buf *out, struct bytes text)
{
    while (text.size > 0) {
        ptrdiff_t dot = bytes_index(text, '.');
        struct bytes label = dot == BYTES_NOT_FOUND ? text : bytes_head(text, (size_t)dot);
        TRY(wire_put_u8(out, (uint8_t)label.size));
        TRY(buf_put(out, label));
        text = bytes_after(text, label.size + 1);
    }
    return wire_put_u8(out, 0);
}

RESULT
dns_question_put(struct buf *out, const struct dns_question *question)
{
    struct bytes name = dns_name_bytes(&question->name);

    if (!dns_name_is_valid(name))
        return FAIL(CODE_SYNTAX, "not a domain name");
    TRY(wire_put_u16(out, question->id));
    TRY(wire_put_u16(out, (question->recursion ? FLAG_RD : 0) | (question->ask_authentic ? FLAG_AD : 0)));
    TRY(wire_put_u16(out, 1));
    TRY(wire_put_u32(out, 0));
    TRY(wire_put_u16(out, question->edns ? 1 : 0));
    TRY(name_put(out, name));
    TRY(wire_put_u16(out, question->type));
    TRY(wire_put_u16(out, CLASS_IN));
    if (!question->edns)
        return OK;
    TRY(wire_put_u8(out, 0));
    TRY(wire_put_u16(out, DNS_TYPE_OPT));
    TRY(wire_put_u16(out, DNS_UDP_SIZE));
    TRY(wire_put_u32(out, question->dnssec_ok ? OPT_DO : 0));
    return wire_put_u16(out, 0);
}

/* --- the packet --- */

struct packet {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool broken;
};

struct record {
    struct dns_name owner;
    bool owner_odd;
    uint16_t type;
    uint16_t class;
    uint32_t ttl;
    size_t rdata;
    size_t rdata_end;
};

static unsigned get(struct packet *p, size_t octets)
{
    unsigned value = 0;

    if (p->broken || p->size - p->at < octets) {
        p->broken = true;
        return 0;
    }
    for (size_t i = 0; i < octets; i++)
        value = value << 8 | p->data[p->at++];
    return value;
}

/* Room for one more label, with the dot before it? The wire form's length is the text's and two. */
static bool label_put(struct dns_name *name, size_t *size, const uint8_t *label, size_t label_size)
{
    size_t dot = *size > 0 ? 1 : 0;

    if (*size + dot + label_size > DNS_NAME_SIZE_MAX)
        return false;
    if (dot)
        name->text[(*size)++] = '.';
    memcpy(name->text + *size, label, label_size);
    *size += label_size;
    return true;
}

static bool label_is_odd(const uint8_t *label, size_t size)
{
    struct bytes text = {label, size};

    return bytes_index(text, '.') != BYTES_NOT_FOUND || !dns_name_is_valid(text);
}

/* A name at p->at, which moves behind it. *odd_out: it has octets that we do not write as text. */
static void get_name(struct packet *p, struct dns_name *name_out, bool *odd_out)
{
    size_t at = p->at, run = p->at, size = 0;
    bool jumped = false;

    *odd_out = false;
    name_out->size = 0;
    while (!p->broken) {
        if (at >= p->size)
            break;
        unsigned octet = p->data[at++];
        if (octet == 0) {
            name_out->size = (uint8_t)size;
            if (!jumped)
                p->at = at;
            return;
        }
        if (octet >= 0xc0) {
            if (at >= p->size)
                break;
            size_t to = (octet & 0x3f) << 8 | p->data[at++];
            if (to >= run) /* (P1) */
                break;
            if (!jumped)
                p->at = at;
            jumped = true;
            at = run = to;
            continue;
        }
        if (octet > DNS_LABEL_SIZE_MAX || p->size - at < octet)
            break;
        *odd_out = *odd_out || label_is_odd(p->data + at, octet);
        if (!label_put(name_out, &size, p->data + at, octet))
            break;
        at += octet;
    }
    p->broken = true;
}

static bool get_record(struct packet *p, struct record *r)
{
    get_name(p, &r->owner, &r->owner_odd);
    r->type = (uint16_t)get(p, 2);
    r->class = (uint16_t)get(p, 2);
    r->ttl = get(p, 4);
    size_t size = get(p, 2);
    if (p->broken || p->size - p->at < size)
        return !(p->broken = true);
    r->rdata = p->at;
    r->rdata_end = p->at += size;
    if (r->ttl > INT32_MAX) /* RFC 2181 8: the top bit makes it nought */
        r->ttl = 0;
    return true;
}

/* The name inside a record's data, from `skip` octets on, which must fill the data up to `left` octets. */
static bool rdata_name(const struct packet *whole, const struct record *r, size_t skip, size_t left,
    struct dns_name *name_out, bool *odd_out)
{
    struct packet p = {whole->data, r->rdata_end, r->rdata + skip, r->rdata_end - r->rdata < skip};

    get_name(&p, name_out, odd_out);
    return !p.broken && r->rdata_end - p.at == left;
}

static bool owner_is(const struct record *r, const struct dns_name *name)
{
    return r->class == CLASS_IN && !r->owner_odd && dns_name_equal(dns_name_bytes(&r->owner), dns_name_bytes(name));
}

/* --- one record of the asked type --- */

static void lower_ttl(struct dns_answer *a, uint32_t ttl)
{
    if (ttl < a->ttl)
        a->ttl = ttl;
}

/* Stable and bounded: when full, the least preferred goes. */
static void mx_insert(struct dns_answer *a, const struct dns_mx *mx)
{
    unsigned at = a->count;

    while (at > 0 && a->mx[at - 1].preference > mx->preference)
        at--;
    if (a->count == DNS_MX_COUNT_MAX)
        a->unusable++;
    else
        a->count++;
    if (at == DNS_MX_COUNT_MAX)
        return;
    memmove(&a->mx[at + 1], &a->mx[at], (a->count - 1 - at) * sizeof a->mx[0]);
    a->mx[at] = *mx;
}

static bool take_mx(const struct packet *p, const struct record *r, struct dns_answer *a)
{
    struct dns_mx mx;
    bool odd;

    if (!rdata_name(p, r, 2, 0, &mx.host, &odd))
        return false;
    mx.preference = (uint16_t)(p->data[r->rdata] << 8 | p->data[r->rdata + 1]);
    if (odd)
        a->unusable++;
    else
        mx_insert(a, &mx);
    return true;
}

static bool take_address(const struct packet *p, const struct record *r, struct dns_answer *a)
{
    size_t size = r->type == DNS_TYPE_A ? 4 : 16;

    if (r->rdata_end - r->rdata != size)
        return false;
    if (a->count == DNS_ADDRESS_COUNT_MAX) {
        a->unusable++;
        return true;
    }
    struct dns_address *address = &a->address[a->count++];
    *address = (struct dns_address){.family = size == 4 ? 4 : 6};
    memcpy(address->octets, p->data + r->rdata, size);
    return true;
}

static bool take_name(const struct packet *p, const struct record *r, struct dns_answer *a)
{
    struct dns_name name;
    bool odd;

    if (!rdata_name(p, r, 0, 0, &name, &odd))
        return false;
    if (odd || a->count == DNS_PTR_COUNT_MAX)
        a->unusable++;
    else
        a->ptr[a->count++] = name;
    return true;
}

static bool take_tlsa(const struct packet *p, const struct record *r, struct dns_answer *a)
{
    size_t used = a->count == 0 ? 0 : (size_t)a->tlsa[a->count - 1].offset + a->tlsa[a->count - 1].size;

    if (r->rdata_end - r->rdata < 3)
        return false;
    size_t size = r->rdata_end - r->rdata - 3;
    if (a->count == DNS_TLSA_COUNT_MAX || size > DNS_TLSA_DATA_SIZE_MAX - used) {
        a->unusable++;
        return true;
    }
    const uint8_t *data = p->data + r->rdata;
    a->tlsa[a->count++] = (struct dns_tlsa){data[0], data[1], data[2], (uint16_t)used, (uint16_t)size};
    memcpy(a->tlsa_data + used, data + 3, size);
    return true;
}

static bool take_record(const struct packet *p, const struct record *r, struct dns_answer *a)
{
    switch (r->type) {
    case DNS_TYPE_MX:
        return take_mx(p, r, a);
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        return take_address(p, r, a);
    case DNS_TYPE_CNAME:
    case DNS_TYPE_PTR:
        return take_name(p, r, a);
    case DNS_TYPE_TLSA:
        return take_tlsa(p, r, a);
    default:
        a->unusable++;
        return true;
    }
}

/* --- the sections --- */

/* What lies behind the answer section, and whether all of the packet holds together (P2). */
struct survey {
    size_t answers; /* offset of the answer section */
    unsigned answer_count;
    bool has_soa;
    bool has_ns;
    uint32_t negative_ttl; /* RFC 2308 5 */
    bool edns;
    unsigned rcode_high;
};

static bool survey_soa(const struct packet *p, const struct record *r, struct survey *s)
{
    struct packet at = {p->data, r->rdata_end, r->rdata, false};
    struct dns_name name;
    bool odd;

    get_name(&at, &name, &odd);
    get_name(&at, &name, &odd);
    for (int i = 0; i < 4; i++)
        (void)get(&at, 4);
    uint32_t minimum = get(&at, 4);
    if (at.broken)
        return false;
    s->has_soa = true;
    s->negative_ttl = minimum < r->ttl ? minimum : r->ttl;
    return true;
}

static bool survey_packet(struct packet *p, const unsigned count[3], struct survey *s)
{
    struct record r;

    *s = (struct survey){.answers = p->at, .answer_count = count[0]};
    for (int section = 0; section < 3; section++)
        for (unsigned i = 0; i < count[section]; i++) {
            if (!get_record(p, &r))
                return false;
            if (section == 1 && r.type == TYPE_NS)
                s->has_ns = true;
            if (section == 1 && r.type == DNS_TYPE_SOA && !s->has_soa && !survey_soa(p, &r, s))
                return false;
            if (section == 2 && r.type == DNS_TYPE_OPT) {
                if (s->edns || r.owner.size != 0) /* RFC 6891 6.1.1: one, at the root */
                    return false;
                s->edns = true;
                /* Its "ttl" holds the upper eight bits of the code (RFC 6891 6.1.3) right before the data's size. */
                s->rcode_high = p->data[r.rdata - 6];
            }
        }
    return true;
}

/* From the question's name along the CNAMEs: a->canonical is where they end. */
static bool follow_chain(struct packet *p, const struct survey *s, struct dns_answer *a, unsigned *hops_out)
{
    struct record r;
    struct dns_name next;
    bool odd;

    for (*hops_out = 0;;) {
        bool found = false;
        p->at = s->answers;
        for (unsigned i = 0; i < s->answer_count && get_record(p, &r); i++) {
            if (!owner_is(&r, &a->canonical))
                continue;
            if (r.type == a->type)
                return true;
            if (r.type != DNS_TYPE_CNAME || found)
                continue;
            if (!rdata_name(p, &r, 0, 0, &next, &odd) || odd)
                return false;
            lower_ttl(a, r.ttl);
            found = true;
        }
        if (!found)
            return true;
        if (++*hops_out > DNS_CNAME_HOPS_MAX)
            return false;
        a->canonical = next;
    }
}

static bool collect(struct packet *p, const struct survey *s, struct dns_answer *a)
{
    struct record r;

    p->at = s->answers;
    for (unsigned i = 0; i < s->answer_count && get_record(p, &r); i++) {
        if (r.type != a->type || !owner_is(&r, &a->canonical))
            continue;
        if (!take_record(p, &r, a))
            return false;
        lower_ttl(a, r.ttl);
    }
    return true;
}

static enum dns_status parse_sections(struct packet *p, unsigned flags, const struct survey *s, struct dns_answer *a)
{
    unsigned rcode = (flags & FLAG_RCODE) | s->rcode_high << 4;
    unsigned hops;

    if (rcode == RCODE_SERVFAIL)
        return DNS_SERVFAIL;
    if (rcode != RCODE_NOERROR && rcode != RCODE_NXDOMAIN)
        return DNS_REFUSED;
    if (!follow_chain(p, s, a, &hops))
        return DNS_MALFORMED;
    if (rcode == RCODE_NOERROR && !collect(p, s, a))
        return DNS_MALFORMED;
    if (rcode == RCODE_NOERROR && a->count + a->unusable > 0)
        return DNS_OK;
    a->chain_open = rcode == RCODE_NOERROR && hops > 0 && !s->has_soa;
    /* A referral is no statement about the name: the server will not look it up for us (RFC 2308 2.2). */
    if (rcode == RCODE_NOERROR && !a->chain_open && s->has_ns && !s->has_soa && !(flags & FLAG_AA))
        return DNS_SERVFAIL;
    if (!a->chain_open)
        lower_ttl(a, s->has_soa ? s->negative_ttl : 0);
    return rcode == RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
}

static enum dns_status parse(const struct dns_question *question, struct packet *p, struct dns_answer *a)
{
    struct dns_name name;
    struct survey survey;
    bool odd;
    unsigned id = get(p, 2), flags = get(p, 2), questions = get(p, 2);
    unsigned count[3];

    for (int i = 0; i < 3; i++)
        count[i] = get(p, 2);
    if (p->broken || id != question->id || !(flags & FLAG_QR) || (flags & FLAG_OPCODE) != 0)
        return DNS_MALFORMED;
    /* Servers that do not understand a question may send the bare header back. */
    if (questions == 0 && (flags & FLAG_RCODE) != RCODE_NOERROR && (flags & FLAG_RCODE) != RCODE_NXDOMAIN)
        return (flags & FLAG_RCODE) == RCODE_SERVFAIL ? DNS_SERVFAIL : DNS_REFUSED;
    if (questions != 1)
        return DNS_MALFORMED;
    get_name(p, &name, &odd);
    unsigned type = get(p, 2), class = get(p, 2);
    if (p->broken || odd || type != question->type || class != CLASS_IN ||
        !dns_name_equal(dns_name_bytes(&name), dns_name_bytes(&question->name)))
        return DNS_MALFORMED;
    if (flags & FLAG_TC)
        return DNS_TRUNCATED;
    if (!survey_packet(p, count, &survey))
        return DNS_MALFORMED;
    a->authentic = (flags & FLAG_AD) != 0;
    a->edns = survey.edns;
    return parse_sections(p, flags, &survey, a);
}

void dns_answer_fail(struct dns_answer *answer_out, uint16_t type, enum dns_status status)
{
    answer_out->status = status;
    answer_out->type = type;
    answer_out->ttl = 0;
    answer_out->authentic = answer_out->edns = answer_out->chain_open = false;
    answer_out->unusable = answer_out->count = 0;
    answer_out->canonical.size = 0;
}

void dns_answer_parse(const struct dns_question *question, struct bytes packet, struct dns_answer *answer_out)
{
    struct packet p = {packet.data, packet.size, 0, false};

    dns_answer_fail(answer_out, question->type, DNS_MALFORMED);
    answer_out->canonical = question->name;
    answer_out->ttl = DNS_TTL_MAX;
    enum dns_status status = parse(question, &p, answer_out);
    if (status == DNS_OK || status == DNS_NODATA || status == DNS_NXDOMAIN)
        answer_out->status = status;
    else
        dns_answer_fail(answer_out, question->type, status);
}

/* --- small things --- */

struct bytes dns_tlsa_data(const struct dns_answer *answer, unsigned index)
{
    ASSERT(answer->type == DNS_TYPE_TLSA && index < answer->count);
    return (struct bytes){answer->tlsa_data + answer->tlsa[index].offset, answer->tlsa[index].size};
}

bool dns_status_is_temporary(enum dns_status status)
{
    return status != DNS_OK && status != DNS_NODATA && status != DNS_NXDOMAIN && status != DNS_BAD_NAME;
}

const char *dns_status_text(enum dns_status status)
{
    static const char *const text[DNS_STATUS_COUNT] = {
        [DNS_OK] = "found",
        [DNS_NODATA] = "no record of this type",
        [DNS_NXDOMAIN] = "no such domain",
        [DNS_BAD_NAME] = "not a domain name",
        [DNS_SERVFAIL] = "the name server failed",
        [DNS_REFUSED] = "the name server refused to answer",
        [DNS_TIMEOUT] = "no answer from the name server in time",
        [DNS_UNREACHABLE] = "no name server could be reached",
        [DNS_MALFORMED] = "the name server sent an answer that cannot be understood",
        [DNS_TRUNCATED] = "the name server sent a cut answer",
        [DNS_BUSY] = "too many questions to the name server are waiting",
    };

    ASSERT(status < DNS_STATUS_COUNT);
    return text[status];
}

void dns_reverse_name(const struct dns_address *address, struct dns_name *name_out)
{
    uint8_t room[DNS_NAME_SIZE_MAX];
    struct buf out = BUF(room);
    bool fits = true;

    ASSERT(address->family == 4 || address->family == 6);
    for (int i = address->family == 4 ? 3 : 15; i >= 0; i--) {
        unsigned octet = address->octets[i];
        if (address->family == 4) {
            fits = fits && is_ok(buf_put_u64(&out, octet)) && is_ok(buf_put_octet(&out, '.'));
            continue;
        }
        const uint8_t nibbles[4] = {
            (uint8_t) "0123456789abcdef"[octet & 15], '.', (uint8_t) "0123456789abcdef"[octet >> 4], '.'};
        fits = fits && is_ok(buf_put(&out, (struct bytes){nibbles, sizeof nibbles}));
    }
    fits = fits && is_ok(buf_put_str(&out, address->family == 4 ? "in-addr.arpa" : "ip6.arpa"));
    fits = fits && is_ok(dns_name_set(name_out, buf_bytes(&out)));
    ASSERT(fits);
}
