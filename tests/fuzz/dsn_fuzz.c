/* Any octets in every value of a report give a well-formed notification (tests/unit/queue/dsn_check.h) or CODE_FULL.
 * Input: kind, ret, flags, recipient count, room; then values, each a size of two octets and that many octets. */
#include "tests/unit/queue/dsn_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t octet_take(struct bytes *in)
{
    uint8_t octet = in->size > 0 ? in->data[0] : 0;
    *in = bytes_after(*in, 1);
    return octet;
}

static struct bytes value_take(struct bytes *in, size_t size_max)
{
    size_t size = (size_t)octet_take(in) << 8;
    struct bytes value;

    size |= octet_take(in);
    value = bytes_head(*in, size < size_max ? size : size_max);
    *in = bytes_after(*in, value.size);
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[DSN_SIZE_MAX];
    static struct dsn_recipient rcpt[JOB_RCPT_COUNT_MAX];
    struct bytes in = {data, size};
    struct envelope_head head = {.id = {1}};
    struct dsn_report report = {.original = &head, .recipients = rcpt, .id = {2}};
    struct dsn_config cfg = {.hostname = BYTES("h")};
    struct buf out = BUF(room);
    struct dsn_parts parts;
    enum body_type body_type;
    bool utf8;
    uint8_t flags;

    report.kind = octet_take(&in) % DSN_KIND_COUNT;
    head.ret = octet_take(&in) % DSN_RET_COUNT;
    flags = octet_take(&in);
    report.content_is_whole = flags & 1;
    cfg.return_size_max = flags & 2 ? DSN_ORIGINAL_SIZE_MAX : 100;
    head.arrival.ms = flags & 4 ? -1 : (int64_t)flags << 54;
    report.recipient_count = (size_t)1 + octet_take(&in) % JOB_RCPT_COUNT_MAX;
    out.size_max -= (size_t)octet_take(&in) << 9;
    head.reverse_path = value_take(&in, ADDRESS_SIZE_MAX);
    head.envid = value_take(&in, ENVID_SIZE_MAX);
    head.message_id = value_take(&in, DISPLAY_FIELD_SIZE_MAX);
    head.subject = value_take(&in, DISPLAY_FIELD_SIZE_MAX);
    for (size_t i = 0; i < report.recipient_count; i++)
        rcpt[i] = (struct dsn_recipient){
            .forward_path = value_take(&in, ADDRESS_SIZE_MAX),
            .orcpt = value_take(&in, ORCPT_SIZE_MAX),
            .status = value_take(&in, DISPLAY_FIELD_SIZE_MAX),
            .reply = value_take(&in, REPLY_KEPT_SIZE_MAX),
            .host = value_take(&in, DOMAIN_SIZE_MAX + 64),
            .reply_is_smtp = flags & 8,
            .last_attempt = {(int64_t)flags << 32},
            .will_retry_until = {(int64_t)flags << 32},
            .attempts = flags,
        };
    report.content = in;
    if (is_ok(dsn_write(&out, &cfg, &report, &body_type, &utf8)))
        ASSERT(dsn_check(buf_bytes(&out), report.recipient_count, utf8, body_type, &parts) == NULL);
    else
        ASSERT(out.size == 0 && out.size_max < DSN_SIZE_MAX);
    return 0;
}
