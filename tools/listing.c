#include "tools/listing.h"

#include <stdio.h>
#include <time.h>

#include "tools/ask.h"
#include "tools/render.h"

enum { LISTED_SIZE_MAX = 65536, DATE_BLOCK_S = 900 /* every offset of a time zone is a multiple of it */ };

/* --- reading: the fields stand in the order in which control_list.c writes them --- */

static bool skip(struct bytes *in, const char *literal)
{
    struct bytes wanted = bytes_of(literal);

    if (!bytes_starts(*in, wanted))
        return false;
    *in = bytes_after(*in, wanted.size);
    return true;
}

/* Up to the closing quote; printable ASCII without escapes alone. */
static bool text_read(struct bytes *in, const char *before, struct bytes *text_out)
{
    size_t size = 0;

    if (!skip(in, before))
        return false;
    while (size < in->size && in->data[size] != '"') {
        if (in->data[size] < ' ' || in->data[size] > '~' || in->data[size] == '\\')
            return false;
        size++;
    }
    *text_out = bytes_head(*in, size);
    *in = bytes_after(*in, size);
    return skip(in, "\"");
}

static bool number_read(struct bytes *in, const char *before, int64_t *number_out)
{
    uint64_t number;
    size_t size = 0;

    if (!skip(in, before))
        return false;
    while (size < in->size && in->data[size] >= '0' && in->data[size] <= '9')
        size++;
    if (!is_ok(bytes_to_u64(bytes_head(*in, size), INT64_MAX, &number)))
        return false;
    *number_out = (int64_t)number;
    *in = bytes_after(*in, size);
    return true;
}

/* --- writing --- */

static RESULT blanks_put(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        TRY(buf_put_octet(out, ' '));
    return OK;
}

/* As render_date: the calendar is asked once for each quarter of an hour. */
static RESULT date_put(struct buf *out, int64_t seconds)
{
    static int64_t block = -1;
    static char hour[32];
    static int minute;
    struct tm tm;

    if (block != seconds / DATE_BLOCK_S) {
        time_t at = (time_t)(seconds / DATE_BLOCK_S * DATE_BLOCK_S);

        if (localtime_r(&at, &tm) == NULL || strftime(hour, sizeof hour, "%a %b %e %H:", &tm) == 0)
            return FAIL(CODE_IO, "no calendar knows that day");
        block = seconds / DATE_BLOCK_S;
        minute = tm.tm_min;
    }
    TRY(buf_put_str(out, hour));
    TRY(buf_put_u64_pad(out, (uint64_t)(minute + seconds % DATE_BLOCK_S / 60), 2));
    TRY(buf_put_octet(out, ':'));
    return buf_put_u64_pad(out, (uint64_t)(seconds % 60), 2);
}

static RESULT span_put(struct buf *out, int64_t seconds)
{
    uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;
    bool days = s >= 86400, hours = s >= 3600;

    TRY(buf_put_u64(out, days ? s / 86400 : hours ? s / 3600 : s >= 60 ? s / 60 : s));
    TRY(buf_put_octet(out, days ? 'd' : hours ? 'h' : s >= 60 ? 'm' : 's'));
    if (!hours)
        return OK;
    TRY(buf_put_u64_pad(out, days ? s / 3600 % 24 : s / 60 % 60, 2));
    return buf_put_octet(out, days ? 'h' : 'm');
}

struct listed {
    struct bytes to, state, reply, lane;
    int64_t attempts, next_try;
};

static bool listed_read(struct bytes *in, struct listed *r)
{
    return text_read(in, "{\"to\":\"", &r->to) && text_read(in, ",\"state\":\"", &r->state) &&
           number_read(in, ",\"attempts\":", &r->attempts) && number_read(in, ",\"next_try\":", &r->next_try) &&
           text_read(in, ",\"reply\":\"", &r->reply) && text_read(in, ",\"lane\":\"", &r->lane) && skip(in, "}");
}

static RESULT listed_put(struct buf *out, const struct listed *r, struct bytes before, int64_t now)
{
    if (r->reply.size > 0 && !bytes_equal(r->reply, before)) {
        TRY(buf_put_str(out, "                ("));
        TRY(buf_put(out, r->reply));
        TRY(buf_put_str(out, ")\n"));
    }
    TRY(blanks_put(out, 45));
    TRY(buf_put(out, r->to));
    TRY(buf_put_str(out, "  ("));
    if (bytes_equal(r->state, BYTES("active"))) {
        TRY(buf_put_str(out, "being delivered now"));
    } else if (bytes_equal(r->state, BYTES("held"))) {
        TRY(buf_put_str(out, "held"));
    } else if (bytes_equal(r->state, BYTES("due"))) {
        TRY(buf_put_str(out, "due now"));
    } else {
        TRY(buf_put_str(out, "next try in "));
        TRY(span_put(out, r->next_try - now));
    }
    if (r->attempts > 0) {
        TRY(buf_put_str(out, ", tried "));
        TRY(buf_put_u64(out, (uint64_t)r->attempts));
        TRY(buf_put_str(out, r->attempts == 1 ? " time" : " times"));
    }
    return buf_put_str(out, ")\n");
}

/* The first line of a message; *flag_out is where its flag is to stand. */
static RESULT head_put(struct buf *out, struct bytes *in, size_t *flag_out)
{
    struct bytes id, from;
    int64_t size, arrival;
    uint8_t room[24];
    struct buf digits = BUF(room);

    if (!text_read(in, "{\"v\":1,\"id\":\"", &id) || !text_read(in, ",\"from\":\"", &from) ||
        !number_read(in, ",\"size\":", &size) || !number_read(in, ",\"arrival\":", &arrival) ||
        !skip(in, ",\"recipients\":["))
        return FAIL(CODE_SYNTAX, "not of the simple form");
    TRY(buf_put(out, id));
    TRY(blanks_put(out, id.size < 13 ? 13 - id.size : 0));
    *flag_out = out->size;
    TRY(buf_put_str(out, "  "));
    TRY(buf_put_u64(&digits, (uint64_t)size));
    TRY(blanks_put(out, digits.size < 9 ? 9 - digits.size : 0));
    TRY(buf_put(out, buf_bytes(&digits)));
    TRY(buf_put_octet(out, ' '));
    TRY(date_put(out, arrival));
    TRY(buf_put_octet(out, ' '));
    TRY(from.size > 0 ? buf_put(out, from) : buf_put_str(out, "MAILER-DAEMON"));
    return buf_put_octet(out, '\n');
}

RESULT listing_put(struct buf *out, struct bytes in, int64_t now)
{
    struct bytes before = BYTES_NONE;
    bool active = false, all_held = true;
    size_t flag = 0;

    TRY(head_put(out, &in, &flag));
    do {
        struct listed r;

        if (!listed_read(&in, &r))
            return FAIL(CODE_SYNTAX, "not of the simple form");
        TRY(listed_put(out, &r, before, now));
        before = r.reply;
        active = active || bytes_equal(r.state, BYTES("active"));
        all_held = all_held && bytes_equal(r.state, BYTES("held"));
    } while (skip(&in, ","));
    if (!bytes_equal(in, BYTES("]}")))
        return FAIL(CODE_SYNTAX, "not of the simple form");
    out->data[flag] = active ? '*' : all_held ? '!' : ' ';
    return buf_put_octet(out, '\n');
}

bool listing_line(const struct tool *t, struct bytes line, uint64_t index)
{
    static uint8_t room[LISTED_SIZE_MAX];
    static int64_t now;
    struct buf out = BUF(room);

    (void)t;
    if (index % 1024 == 0)
        now = tool_now();
    if (!is_ok(listing_put(&out, line, now)))
        return false;
    if (index == 0)
        render_mailq_heading(stdout);
    fwrite(out.data, 1, out.size, stdout);
    return true;
}
