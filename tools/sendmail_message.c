/* The message that is handed on: the header completed by the same code that completes submissions by SMTP, with what only
 * this program knows: -F, and the caller's name. */
#include <time.h>
#include <unistd.h>

#include "smtp/completion.h"
#include "tools/sendmail.h"

/* Unlike any other message's: the time to the nanosecond, and who we are. */
static RESULT message_id_make(struct buf *out, struct bytes hostname)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    TRY(buf_put_u64(out, (uint64_t)t.tv_sec));
    TRY(buf_put_octet(out, '.'));
    TRY(buf_put_u64_pad(out, (uint64_t)t.tv_nsec, 9));
    TRY(buf_put_octet(out, '.'));
    TRY(buf_put_u64(out, (uint64_t)getpid()));
    TRY(buf_put_octet(out, '@'));
    return buf_put(out, hostname);
}

static struct walltime now_wall(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (struct walltime){(int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000};
}

static RESULT complete(const struct completion_config *cfg, struct bytes in, struct sendmail_input *out)
{
    static struct completion completion;
    static uint8_t room[COMPLETION_OUT_SIZE_MIN];
    struct buf piece = BUF(room);
    struct result r;

    completion_init(&completion, cfg);
    do {
        r = completion_feed(&completion, &in, &piece);
        TRY(sendmail_input_put(out, buf_bytes(&piece)));
        buf_reset(&piece);
    } while (r.code == CODE_FULL);
    if (r.code == CODE_MORE) {
        TRY(completion_end(&completion, &piece));
        TRY(sendmail_input_put(out, buf_bytes(&piece)));
    }
    return sendmail_input_put(out, in);
}

int sendmail_message_make(struct sendmail *s)
{
    uint8_t room[DOMAIN_SIZE_MAX + 64];
    struct buf id = BUF(room);
    struct completion_config cfg = {
        .add = true,
        .strip_bcc = s->options.from_header, /* else by the daemon's policy, submission { local_bcc } */
        .sender = s->cfg->submission.sender,
        .origin = s->cfg->origin,
        .user = s->user.address,
        .from =
            s->options.sender != NULL && s->envelope.reverse_path.size > 0 ? s->envelope.reverse_path : s->user.address,
        .full_name = bytes_head(s->options.full_name != NULL ? bytes_of(s->options.full_name) : s->user.full_name,
            COMPLETION_NAME_SIZE_MAX),
        .no_destination = s->cfg->submission.no_destination,
        .now = now_wall(),
    };
    struct result r = message_id_make(&id, s->cfg->hostname);

    cfg.message_id = buf_bytes(&id);
    s->message.has_8bit = s->input.has_8bit;
    if (is_ok(r))
        r = complete(&cfg, sendmail_input_bytes(&s->input), &s->message);
    if (is_ok(r))
        return EX_OK;
    sendmail_say("%s", r.why);
    return EX_TEMPFAIL;
}
