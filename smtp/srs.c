#include "smtp/srs.h"

#include "smtp/address.h"
#include "smtp/base64.h"
#include "smtp/digest.h"

enum {
    TAG_SIZE = 5, /* "SRS0=" */
    HASH_SIZE = 4,
    DAY_COUNT = 1024,
    DAY_MS = 86400000,
    WORK_SIZE = 2 * ADDRESS_SIZE_MAX,
};

static const struct bytes SEPARATORS = BYTES_INIT("=+-");
static const uint8_t BASE32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

RESULT srs_keys_read(struct bytes text, struct srs *s, unsigned *line_out)
{
    s->key_count = 0;
    for (*line_out = 0; text.size > 0;) {
        struct bytes line = bytes_trim(bytes_line_take(&text));

        ++*line_out;
        if (line.size == 0 || line.data[0] == '#')
            continue;
        if (line.size > SRS_KEY_SIZE_MAX)
            return FAIL(CODE_FULL, "a key longer than 256 octets");
        if (s->key_count == SRS_KEY_COUNT_MAX)
            return FAIL(CODE_FULL, "more than 16 keys");
        s->keys[s->key_count++] = line;
    }
    return s->key_count > 0 ? OK : FAIL(CODE_SYNTAX, "no key");
}

/* --- hashes and days --- */

static RESULT lower_put(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        TRY(buf_put_octet(out, octet_lower(text.data[i])));
    return OK;
}

/* `parts` joined; a part that is missing is empty. */
static RESULT hash_put(struct buf *out, struct bytes key, const struct bytes parts[3])
{
    uint8_t room[WORK_SIZE], mac[DIGEST_SHA1_SIZE], text_room[32];
    struct buf signed_text = BUF(room), text = BUF(text_room);

    for (size_t i = 0; i < 3; i++)
        TRY(lower_put(&signed_text, parts[i]));
    digest_hmac_sha1(key, buf_bytes(&signed_text), mac);
    TRY(base64_encode((struct bytes){mac, sizeof mac}, &text));
    return buf_put(out, bytes_head(buf_bytes(&text), HASH_SIZE));
}

/* Case counts for nothing: there are hosts that write addresses in lower case. */
static bool hash_is_ours(const struct srs *s, struct bytes hash, const struct bytes parts[3])
{
    for (size_t i = 0; i < s->key_count; i++) {
        uint8_t room[HASH_SIZE];
        struct buf expected = BUF(room);

        if (is_ok(hash_put(&expected, s->keys[i], parts)) && bytes_equal_nocase(buf_bytes(&expected), hash))
            return true;
    }
    return false;
}

static uint32_t today(struct walltime now)
{
    return now.ms < 0 ? 0 : (uint32_t)(now.ms / DAY_MS % DAY_COUNT);
}

static bool day_read(struct bytes text, uint32_t *day_out)
{
    *day_out = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (octet >= 'a' && octet <= 'z')
            octet = (uint8_t)(octet - 'a' + 'A');
        ptrdiff_t value = bytes_index((struct bytes){BASE32, 32}, octet);
        if (value == BYTES_NOT_FOUND)
            return false;
        *day_out = *day_out << 5 | (uint32_t)value;
    }
    return text.size == 2;
}

/* --- forth --- */

/* What stands before the first '=', which goes too. */
static bool part_take(struct bytes *rest, struct bytes *part_out)
{
    ptrdiff_t at = bytes_index(*rest, '=');

    if (at == BYTES_NOT_FOUND)
        return false;
    *part_out = bytes_head(*rest, (size_t)at);
    *rest = bytes_after(*rest, (size_t)at + 1);
    return true;
}

/* local@domain, the local part without quotes, into an address's canonical form. */
static RESULT address_put(struct buf *out, struct bytes plain, struct bytes domain)
{
    uint8_t room[2 * ADDRESS_SIZE_MAX + 8], canonical_room[ADDRESS_SIZE_MAX];
    struct buf quoted = BUF(room), canonical = BUF(canonical_room);
    struct address address;

    TRY(buf_put_octet(&quoted, '"')); /* the parser takes off quotes that are not needed */
    for (size_t i = 0; i < plain.size; i++) {
        if (plain.data[i] == '"' || plain.data[i] == '\\')
            TRY(buf_put_octet(&quoted, '\\'));
        TRY(buf_put_octet(&quoted, plain.data[i]));
    }
    TRY(buf_put_str(&quoted, "\"@"));
    TRY(buf_put(&quoted, domain));
    TRY(address_parse_mailbox(buf_bytes(&quoted), ADDRESS_UTF8, &canonical, &address));
    return buf_put(out, address.text);
}

/* What stands behind the host of an SRS1: an SRS0 without its first four letters. */
static bool rest_is_form(struct bytes rest)
{
    return rest.size > 1 && bytes_index(SEPARATORS, rest.data[0]) != BYTES_NOT_FOUND;
}

/* "SRS1=HHHH=host=rest": somebody else's SRS0 or SRS1, whose own hash and date stay as they are. */
static RESULT guarded_put(const struct srs *s, struct bytes plain, struct bytes domain, struct buf *local)
{
    bool first = bytes_starts_nocase(plain, BYTES("SRS0"));
    struct bytes host = domain, rest = bytes_after(plain, first ? TAG_SIZE - 1 : TAG_SIZE), hash;

    if (!first && (!part_take(&rest, &hash) || !part_take(&rest, &host) || !rest_is_form(rest) ||
                      (!domain_is_valid(host, true) && address_literal_kind(host) == ADDRESS_DOMAIN_NONE)))
        return FAIL(CODE_SYNTAX, "not an address of SRS");
    TRY(buf_put_str(local, "SRS1="));
    TRY(hash_put(local, s->keys[0], (const struct bytes[3]){host, rest, BYTES_NONE}));
    TRY(buf_put_octet(local, '='));
    TRY(buf_put(local, host));
    TRY(buf_put_octet(local, '='));
    return buf_put(local, rest);
}

static RESULT simple_put(
    const struct srs *s, struct walltime now, struct bytes plain, struct bytes domain, struct buf *local)
{
    uint8_t day[2] = {BASE32[today(now) >> 5], BASE32[today(now) & 31]};
    struct bytes stamp = {day, sizeof day};

    TRY(buf_put_str(local, "SRS0="));
    TRY(hash_put(local, s->keys[0], (const struct bytes[3]){stamp, domain, plain}));
    TRY(buf_put_octet(local, '='));
    TRY(buf_put(local, stamp));
    TRY(buf_put_octet(local, '='));
    TRY(buf_put(local, domain));
    TRY(buf_put_octet(local, '='));
    return buf_put(local, plain);
}

RESULT srs_forward(const struct srs *s, struct walltime now, struct bytes sender, struct buf *out)
{
    uint8_t plain_room[LOCAL_PART_SIZE_MAX], local_room[WORK_SIZE];
    struct buf plain = BUF(plain_room), local = BUF(local_room);
    ptrdiff_t at = bytes_rindex(sender, '@');

    ASSERT(s->key_count > 0 && at != BYTES_NOT_FOUND);
    struct bytes domain = bytes_after(sender, (size_t)at + 1);
    TRY(address_put_unquoted(&plain, bytes_head(sender, (size_t)at)));
    struct result r = FAIL(CODE_SYNTAX, "");
    if (srs_is_form(buf_bytes(&plain)) && plain.data[0] != '"')
        r = guarded_put(s, buf_bytes(&plain), domain, &local);
    if (r.code == CODE_SYNTAX) {
        buf_reset(&local);
        r = simple_put(s, now, buf_bytes(&plain), domain, &local);
    }
    TRY(r);
    return address_put(out, buf_bytes(&local), s->domain);
}

/* --- and back --- */

static RESULT simple_reverse(const struct srs *s, struct walltime now, struct bytes rest, struct buf *out)
{
    struct bytes hash, stamp, domain;
    uint32_t day, now_day = today(now);

    if (!part_take(&rest, &hash) || !part_take(&rest, &stamp) || !part_take(&rest, &domain) || hash.size != HASH_SIZE ||
        !day_read(stamp, &day))
        return FAIL(CODE_SYNTAX, "not an address of SRS");
    if (!hash_is_ours(s, hash, (const struct bytes[3]){stamp, domain, rest}))
        return FAIL(CODE_REFUSED, "its signature is not ours");
    if ((now_day + DAY_COUNT - day) % DAY_COUNT > s->max_age_days)
        return FAIL(CODE_TIMEOUT, "it is too old");
    return address_put(out, rest, domain);
}

/* The date is the first forwarder's to judge. */
static RESULT guarded_reverse(const struct srs *s, struct bytes rest, struct buf *out)
{
    uint8_t room[LOCAL_PART_SIZE_MAX];
    struct buf local = BUF(room);
    struct bytes hash, host;

    if (!part_take(&rest, &hash) || !part_take(&rest, &host) || !rest_is_form(rest) || hash.size != HASH_SIZE)
        return FAIL(CODE_SYNTAX, "not an address of SRS");
    if (!hash_is_ours(s, hash, (const struct bytes[3]){host, rest, BYTES_NONE}))
        return FAIL(CODE_REFUSED, "its signature is not ours");
    TRY(buf_put_str(&local, "SRS0"));
    TRY(buf_put(&local, rest));
    return address_put(out, buf_bytes(&local), host);
}

RESULT srs_reverse(const struct srs *s, struct walltime now, struct bytes local_part, struct buf *out)
{
    uint8_t room[LOCAL_PART_SIZE_MAX];
    struct buf plain = BUF(room);

    ASSERT(s->max_age_days <= SRS_MAX_AGE_DAYS);
    TRY(address_put_unquoted(&plain, local_part));
    if (!srs_is_form(buf_bytes(&plain)) || plain.data[0] == '"')
        return FAIL(CODE_SYNTAX, "not an address of SRS");
    struct bytes rest = bytes_after(buf_bytes(&plain), TAG_SIZE);
    return plain.data[3] == '0' ? simple_reverse(s, now, rest, out) : guarded_reverse(s, rest, out);
}
