#include "smtp/client_peer.h"

/* RFC 4954 section 3: a list of words. */
static uint8_t mechanisms_of(struct bytes text)
{
    static const struct {
        struct bytes word;
        uint8_t bit;
    } words[] = {
        {BYTES_INIT("PLAIN"), SMTP_MECHANISM_PLAIN},
        {BYTES_INIT("LOGIN"), SMTP_MECHANISM_LOGIN},
        {BYTES_INIT("SCRAM-SHA-256"), SMTP_MECHANISM_SCRAM_SHA_256},
    };
    uint8_t mechanisms = 0;

    while (text.size > 0) {
        ptrdiff_t space = bytes_index(text, ' ');
        struct bytes one = space == BYTES_NOT_FOUND ? text : bytes_head(text, (size_t)space);
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (bytes_equal_nocase(one, words[i].word))
                mechanisms |= words[i].bit;
        text = bytes_after(text, one.size + 1);
    }
    return mechanisms;
}

void client_peer_learn(struct client_peer *peer, struct bytes line)
{
    static const struct {
        struct bytes word;
        uint32_t bit;
    } words[] = {
        {BYTES_INIT("PIPELINING"), SMTP_EXT_PIPELINING},
        {BYTES_INIT("SIZE"), SMTP_EXT_SIZE},
        {BYTES_INIT("8BITMIME"), SMTP_EXT_8BITMIME},
        {BYTES_INIT("ENHANCEDSTATUSCODES"), SMTP_EXT_ENHANCEDSTATUSCODES},
        {BYTES_INIT("SMTPUTF8"), SMTP_EXT_SMTPUTF8},
        {BYTES_INIT("DSN"), SMTP_EXT_DSN},
        {BYTES_INIT("CHUNKING"), SMTP_EXT_CHUNKING},
        {BYTES_INIT("STARTTLS"), SMTP_EXT_STARTTLS},
        {BYTES_INIT("AUTH"), SMTP_EXT_AUTH},
        {BYTES_INIT("XCLIENT"), SMTP_EXT_XCLIENT},
        {BYTES_INIT("BINARYMIME"), SMTP_EXT_BINARYMIME},
    };
    struct bytes text = bytes_trim(line);
    size_t size = 0;

    while (size < text.size && text.data[size] != ' ' && text.data[size] != '\t')
        size++;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!bytes_equal_nocase(bytes_head(text, size), words[i].word))
            continue;
        peer->extensions |= words[i].bit;
        if (words[i].bit == SMTP_EXT_AUTH)
            peer->mechanisms |= mechanisms_of(bytes_after(text, size));
        if (words[i].bit == SMTP_EXT_SIZE) {
            uint64_t limit = 0; /* a limit we cannot read is no limit: the peer's own reply will tell */
            if (is_ok(bytes_to_u64(bytes_trim(bytes_after(text, size)), UINT64_MAX, &limit)))
                peer->size_max = limit;
        }
    }
}

static bool has_control(struct bytes address)
{
    for (size_t i = 0; i < address.size; i++)
        if (address.data[i] < 0x20 || address.data[i] == 0x7f)
            return true;
    return false;
}

static bool ascii_only(struct bytes address, struct bytes ascii)
{
    return !bytes_has_8bit(address) || (ascii.size > 0 && !bytes_has_8bit(ascii));
}

static bool refuse(struct peer_reply *refusal_out, uint16_t subject, uint16_t detail, struct bytes text)
{
    *refusal_out = (struct peer_reply){.status = {5, subject, detail}, .text = text};
    return false;
}

static RESULT size_why_put(struct buf *why, uint64_t size, uint64_t size_max)
{
    TRY(buf_put_str(why, "the message has "));
    TRY(buf_put_u64(why, size));
    TRY(buf_put_str(why, " octets, and the host takes at most "));
    return buf_put_u64(why, size_max);
}

bool client_peer_takes(const struct client_peer *peer, const struct smtp_job *job, enum smtp_eight_bit eight_bit,
    struct buf *why, enum client_way *way_out, struct peer_reply *refusal_out)
{
    const uint32_t binary = SMTP_EXT_BINARYMIME | SMTP_EXT_CHUNKING;
    bool utf8 = (peer->extensions & SMTP_EXT_SMTPUTF8) != 0;
    bool converts = eight_bit == SMTP_EIGHT_BIT_CONVERT || eight_bit == SMTP_EIGHT_BIT_CONVERT_OR_RAW;

    *way_out = CLIENT_AS_IS;
    if (has_control(job->reverse_path) || has_control(job->reverse_path_ascii))
        return refuse(refusal_out, 1, 7, BYTES("the sender's address holds a control character"));
    if (peer->size_max > 0 && job->body_size > peer->size_max) {
        struct result r = size_why_put(why, job->body_size, peer->size_max);
        ASSERT(is_ok(r));
        return refuse(refusal_out, 3, 4, buf_bytes(why));
    }
    if (job->body_type == BODY_BINARYMIME && (peer->extensions & binary) != binary)
        return refuse(refusal_out, 6, 3, BYTES("the host does not take binary content (BINARYMIME)"));
    if (utf8)
        return true;
    if (!ascii_only(job->reverse_path, job->reverse_path_ascii) || (job->header_utf8 && !converts))
        return refuse(refusal_out, 6, 7, BYTES("the host does not take internationalized mail (SMTPUTF8)"));
    if (job->body_8bit && !(peer->extensions & SMTP_EXT_8BITMIME)) {
        if (eight_bit == SMTP_EIGHT_BIT_REFUSE)
            return refuse(refusal_out, 6, 3, BYTES("the host does not take 8-bit content (8BITMIME)"));
        *way_out = converts ? CLIENT_CONVERT_ALL : CLIENT_AS_IS;
    } else if (job->header_utf8) {
        *way_out = CLIENT_CONVERT_HEADER;
    }
    return true;
}

bool client_peer_takes_rcpt(
    const struct client_peer *peer, const struct smtp_job_rcpt *rcpt, struct peer_reply *refusal_out)
{
    if (rcpt->forward_path.size == 0)
        return refuse(refusal_out, 1, 3, BYTES("the recipient's address is empty"));
    if (has_control(rcpt->forward_path) || has_control(rcpt->forward_path_ascii))
        return refuse(refusal_out, 1, 3, BYTES("the recipient's address holds a control character"));
    if (!(peer->extensions & SMTP_EXT_SMTPUTF8) && !ascii_only(rcpt->forward_path, rcpt->forward_path_ascii))
        return refuse(refusal_out, 6, 7, BYTES("the host does not take internationalized addresses (SMTPUTF8)"));
    return true;
}
