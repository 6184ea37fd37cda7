#include "smtp/received.h"

/* A word or address: printable, and nothing that opens or closes a comment, a string or a clause. */
static RESULT put_clean(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t o = text.data[i];
        bool bad = o <= ' ' || o >= 127 || strchr("()\\\";<>,", o) != NULL;
        TRY(buf_put_octet(out, bad ? '?' : o));
    }
    return OK;
}

/* from NAME (rdns [address]) (TLSv1.3 cipher) */
static RESULT put_from_network(struct buf *out, const struct received *r)
{
    bool v6 = bytes_index(r->address, ':') != BYTES_NOT_FOUND;

    TRY(put_clean(out, r->helo.size > 0 ? r->helo : BYTES("unknown")));
    TRY(buf_put_str(out, " ("));
    TRY(put_clean(out, r->rdns.size > 0 ? r->rdns : BYTES("unknown")));
    TRY(buf_put_str(out, v6 ? " [IPv6:" : " ["));
    TRY(put_clean(out, r->address.size > 0 ? r->address : BYTES("unknown")));
    TRY(buf_put_str(out, "])"));
    if (r->tls_version.size == 0)
        return OK;
    TRY(buf_put_str(out, "\r\n\t("));
    TRY(put_clean(out, r->tls_version));
    TRY(buf_put_octet(out, ' '));
    TRY(put_clean(out, r->tls_cipher));
    if (r->tls_client.size > 0) {
        TRY(buf_put_str(out, "\r\n\t client certificate sha256:"));
        TRY(put_clean(out, r->tls_client));
    }
    return buf_put_octet(out, ')');
}

static RESULT put_from_local(struct buf *out, const struct received *r)
{
    TRY(put_clean(out, r->login.size > 0 ? r->login : BYTES("unknown")));
    TRY(buf_put_str(out, " (uid "));
    TRY(buf_put_u64(out, r->uid));
    return buf_put_octet(out, ')');
}

RESULT
received_put(struct buf *out, const struct received *r)
{
    TRY(buf_put_str(out, "Received: from "));
    TRY(r->local ? put_from_local(out, r) : put_from_network(out, r));
    TRY(buf_put_str(out, "\r\n\tby "));
    TRY(put_clean(out, r->hostname));
    TRY(buf_put_str(out, " with "));
    TRY(buf_put_str(out, r->protocol));
    TRY(buf_put_str(out, " id "));
    TRY(message_id_put(out, r->id));
    if (r->only_rcpt.size > 0) {
        /* Canonical already: no control characters. UTF-8 stands only where the transaction is SMTPUTF8. */
        TRY(buf_put_str(out, "\r\n\tfor <"));
        TRY(buf_put(out, r->only_rcpt));
        TRY(buf_put_octet(out, '>'));
    }
    TRY(buf_put_str(out, ";\r\n\t"));
    TRY(walltime_put_date(out, r->date));
    return buf_put(out, BYTES("\r\n"));
}
