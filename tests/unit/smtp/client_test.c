/* The client session against written dialogues: the files of tests/transcripts/client. Each case runs whole, byte by byte and
 * in random portions, and must write the same octets and say the same events each time.
 *
 *   === name of the case
 *   K: words of configuration       whole (not in other portions than written) hold portion=N lmtp tls=none|opportunistic|required no_chunking
 *                                   raw8bit convert convert_or_raw (else refused)
 *                                   no_pipelining login|login_anywhere (as "user", "pencil") long_password
 *   B: a line of the message        (B. without CRLF)
 *   J: the job                      from=A to=A[;notify=N][;orcpt=T][;ascii=A]|A.. 8bit utf8 body=8bitmime|binarymime
 *                                   ret=full|hdrs envid=T from_ascii=A size=N
 *   S: the server says              (S. without CRLF, S+ as S:); lines in a row come in one portion when run whole
 *   C: the client must write        (C. without CRLF)
 *   E: the client must say          rcpt, done, tls, close; want when the body is held
 *   T: +300s                        time goes by       L: why    the connection is lost      Q:  quit
 *   A: tls-up|tls-broken|body-broken                   D: n      n octets of a held body (D: n last)
 * X*n: stands for n such lines. \r \n \\ and \xHH are octets. MANSIO_TRANSCRIPT_RECORD=1 prints what happens instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <dirent.h>

#include "smtp/client.h"
#include "smtp/client_auth.h"
#include "smtp/idna.h"

enum { LINES_MAX = 4000, OUT_MAX = 8000, TEXT_SIZE = 2000000 };

struct run {
    struct smtp_client client;
    struct convert convert;
    struct smtp_client_config cfg;
    struct client_auth auth;
    struct client_credentials credentials;
    char password[CLIENT_AUTH_PASSWORD_SIZE_MAX];
    struct smtp_job job;
    struct smtp_job_rcpt rcpts[JOB_RCPT_COUNT_MAX];
    struct instant now;
    uint8_t *body;
    size_t body_size;
    size_t portion;
    bool hold;
    bool started;
    char *log[OUT_MAX]; /* what the client did since the last input */
    size_t log_count;
    char *pending; /* octets written, no line end yet */
    size_t pending_size;
    uint8_t *given; /* body octets lent to the client */
    uint64_t want_offset;
};

static void log_add(struct run *r, const char *kind, const uint8_t *data, size_t size)
{
    char *line = malloc(strlen(kind) + size * 4 + 1), *at = line;

    at = stpcpy(at, kind);
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\\')
            at = stpcpy(at, "\\\\");
        else if (data[i] == '\r')
            at = stpcpy(at, "\\r");
        else if (data[i] == '\n')
            at = stpcpy(at, "\\n");
        else if (data[i] < 32 || data[i] >= 127)
            at += sprintf(at, "\\x%02x", data[i]);
        else
            *at++ = (char)data[i];
    }
    *at = 0;
    assert_true(r->log_count < OUT_MAX);
    r->log[r->log_count++] = line;
}

static void pending_flush(struct run *r, bool all)
{
    for (;;) {
        char *end = memmem(r->pending, r->pending_size, "\r\n", 2);
        if (end == NULL)
            break;
        size_t size = (size_t)(end - r->pending);
        log_add(r, "C: ", (uint8_t *)r->pending, size);
        r->pending_size -= size + 2;
        memmove(r->pending, end + 2, r->pending_size);
    }
    if (all && r->pending_size > 0) {
        log_add(r, "C. ", (uint8_t *)r->pending, r->pending_size);
        r->pending_size = 0;
    }
}

static const char *const outcomes[] = {"delivered", "deferred", "failed", "again"};
static const char *const ends[] = {"done", "refused-4xx", "refused-5xx", "tls-unavailable", "tls-failed", "lost",
    "timeout", "garbage", "shut-down", "body-gone", "login-failed"};

__attribute__((format(printf, 2, 3))) static void say(struct run *r, const char *format, ...)
{
    char text[6000];
    va_list args;

    pending_flush(r, true);
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t size = strlen(text);
    while (size > 0 && text[size - 1] == ' ')
        size--;
    log_add(r, "E: ", (uint8_t *)text, size);
}

static void body_give(struct run *r, uint64_t offset, size_t size, bool last)
{
    free(r->given);
    r->given = malloc(size > 0 ? size : 1);
    memcpy(r->given, r->body + offset, size);
    smtp_client_body(&r->client, r->now, (struct bytes){r->given, size}, last);
}

static void turn(struct run *r)
{
    struct smtp_client_event e;

    while (smtp_client_next(&r->client, &e)) {
        switch (e.kind) {
        case SMTP_CLIENT_WRITE:
            assert_true(e.bytes.size > 0);
            memcpy(r->pending + r->pending_size, e.bytes.data, e.bytes.size);
            r->pending_size += e.bytes.size;
            assert_true(r->pending_size < TEXT_SIZE);
            pending_flush(r, false);
            break;
        case SMTP_CLIENT_WANT_BODY:
            assert_true(e.want.size_max > 0);
            if (r->hold) {
                say(r, "want %llu %zu", (unsigned long long)e.want.offset, e.want.size_max);
                r->want_offset = e.want.offset;
            } else {
                size_t size = r->portion < e.want.size_max ? r->portion : e.want.size_max;
                if (size > r->body_size - e.want.offset)
                    size = r->body_size - e.want.offset;
                body_give(r, e.want.offset, size, e.want.offset + size == r->body_size);
            }
            break;
        case SMTP_CLIENT_WANT_CONVERT:
            smtp_client_convert(&r->client, r->now, &r->convert);
            break;
        case SMTP_CLIENT_RCPT_RESULT:
            say(r, "rcpt %zu %s %u.%u.%u%s %.*s", e.rcpt.index, outcomes[e.rcpt.outcome], e.rcpt.reply.status.class,
                e.rcpt.reply.status.subject, e.rcpt.reply.status.detail, e.rcpt.dsn_passed ? " dsn" : "",
                BYTES_ARG(e.rcpt.reply.text));
            break;
        case SMTP_CLIENT_JOB_DONE:
            say(r, "done %s undecided=%zu%s%s%s%s", ends[e.done.end], e.done.undecided_count,
                e.done.reusable ? " reusable" : "", e.done.uncertain ? " uncertain" : "",
                e.done.nothing_sent ? " nothing-sent" : "", e.done.stale ? " stale" : "");
            if (e.done.end != SMTP_CLIENT_END_DONE)
                say(r, "why %u.%u.%u %.*s", e.done.reply.status.class, e.done.reply.status.subject,
                    e.done.reply.status.detail, BYTES_ARG(e.done.reply.text));
            free(r->given);
            r->given = NULL;
            break;
        case SMTP_CLIENT_START_TLS:
            say(r, "tls");
            break;
        case SMTP_CLIENT_CLOSE:
            say(r, "close %s %.*s", ends[e.close.end], BYTES_ARG(e.close.why));
            break;
        }
    }
}

/* --- reading cases --- */

static size_t unescape(char *text)
{
    char *out = text, *in = text;

    for (; *in; in++) {
        if (*in != '\\') {
            *out++ = *in;
        } else if (*++in == 'r') {
            *out++ = '\r';
        } else if (*in == 'n') {
            *out++ = '\n';
        } else if (*in == 'x') {
            char hex[3] = {in[1], in[2], 0};
            *out++ = (char)strtol(hex, NULL, 16);
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = 0;
    return (size_t)(out - text);
}

static struct bytes view(const char *text)
{
    return bytes_of(text);
}

static const char *word_value(const char *word, const char *name)
{
    size_t size = strlen(name);
    return strncmp(word, name, size) == 0 && word[size] == '=' ? word + size + 1 : NULL;
}

/* Name, password and nonce of the example in RFC 7677 section 3. */
static void login(struct run *r, bool anywhere)
{
    r->credentials = (struct client_credentials){BYTES("user"), BYTES("pencil")};
    memset(r->password, 'p', sizeof r->password);
    client_auth_init(&r->auth, &r->credentials, anywhere, BYTES("rOprNGfwEbeRWgbNEkqO"));
    r->cfg.login = &r->auth.login;
}

static void configure(struct run *r, char *words)
{
    char *save, *value;

    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        if (strcmp(w, "lmtp") == 0)
            r->cfg.lmtp = true;
        else if (strcmp(w, "raw8bit") == 0)
            r->cfg.eight_bit = SMTP_EIGHT_BIT_RAW;
        else if (strcmp(w, "convert") == 0)
            r->cfg.eight_bit = SMTP_EIGHT_BIT_CONVERT;
        else if (strcmp(w, "convert_or_raw") == 0)
            r->cfg.eight_bit = SMTP_EIGHT_BIT_CONVERT_OR_RAW;
        else if (strcmp(w, "no_chunking") == 0)
            r->cfg.no_chunking = true;
        else if (strcmp(w, "no_pipelining") == 0)
            r->cfg.no_pipelining = true;
        else if (strcmp(w, "login") == 0 || strcmp(w, "login_anywhere") == 0)
            login(r, w[5] != 0);
        else if (strcmp(w, "long_password") == 0)
            r->credentials.password = (struct bytes){(uint8_t *)r->password, sizeof r->password};
        else if (strcmp(w, "hold") == 0)
            r->hold = true;
        else if (strcmp(w, "whole") == 0)
            continue; /* the case is about portions: it runs as it is written, only */
        else if ((value = (char *)word_value(w, "portion")))
            r->portion = strtoul(value, NULL, 10);
        else if ((value = (char *)word_value(w, "tls")))
            r->cfg.tls = strcmp(value, "none") == 0       ? SMTP_CLIENT_TLS_NONE
                         : strcmp(value, "required") == 0 ? SMTP_CLIENT_TLS_REQUIRED
                         : strcmp(value, "implicit") == 0 ? SMTP_CLIENT_TLS_IMPLICIT
                                                          : SMTP_CLIENT_TLS_OPPORTUNISTIC;
        else
            fail_msg("unknown word %s", w);
    }
}

static void rcpt_add(struct run *r, char *text)
{
    struct smtp_job_rcpt *rcpt = &r->rcpts[r->job.rcpt_count++];
    char *save, *value;
    char *w = strtok_r(text, ";", &save);

    *rcpt = (struct smtp_job_rcpt){.forward_path = w ? view(w) : BYTES_NONE};
    while ((w = strtok_r(NULL, ";", &save))) {
        if ((value = (char *)word_value(w, "notify")))
            rcpt->notify = (uint8_t)strtoul(value, NULL, 10);
        else if ((value = (char *)word_value(w, "orcpt"))) {
            char *colon = strchr(value, ':');
            if (colon)
                *colon = ';';
            rcpt->orcpt = view(value);
        } else if ((value = (char *)word_value(w, "ascii")))
            rcpt->forward_path_ascii = view(value);
        else
            fail_msg("unknown word %s", w);
    }
}

static void job_make(struct run *r, char *words)
{
    char *save, *save_rcpt, *value;

    r->job = (struct smtp_job){.rcpts = r->rcpts, .body_size = r->body_size};
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        if (strcmp(w, "8bit") == 0)
            r->job.body_8bit = true;
        else if (strcmp(w, "utf8") == 0)
            r->job.header_utf8 = true;
        else if (strcmp(w, "body=8bitmime") == 0)
            r->job.body_type = BODY_8BITMIME;
        else if (strcmp(w, "body=binarymime") == 0)
            r->job.body_type = BODY_BINARYMIME;
        else if (strcmp(w, "ret=full") == 0)
            r->job.ret = DSN_RET_FULL;
        else if (strcmp(w, "ret=hdrs") == 0)
            r->job.ret = DSN_RET_HDRS;
        else if ((value = (char *)word_value(w, "envid")))
            r->job.envid = view(value);
        else if ((value = (char *)word_value(w, "size")))
            r->job.body_size = strtoull(value, NULL, 10);
        else if ((value = (char *)word_value(w, "from")))
            r->job.reverse_path = view(value);
        else if ((value = (char *)word_value(w, "from_ascii")))
            r->job.reverse_path_ascii = view(value);
        else if ((value = (char *)word_value(w, "to")))
            for (char *t = strtok_r(value, "|", &save_rcpt); t; t = strtok_r(NULL, "|", &save_rcpt))
                rcpt_add(r, t);
        else
            fail_msg("unknown word %s", w);
    }
}

enum mode { MODE_WHOLE, MODE_OCTETS, MODE_RANDOM };

static void feed(struct run *r, struct bytes in, enum mode mode, struct rng *rng)
{
    while (in.size > 0) {
        size_t size = mode == MODE_WHOLE ? in.size : mode == MODE_OCTETS ? 1 : 1 + (size_t)rng_below(rng, 40);
        struct bytes part = bytes_head(in, size);
        in = bytes_after(in, part.size);
        uint8_t *block = malloc(part.size);
        memcpy(block, part.data, part.size);
        size_t at = 0;
        int idle = 0;
        while (at < part.size) {
            size_t eaten = smtp_client_feed(&r->client, r->now, (struct bytes){block + at, part.size - at});
            at += eaten;
            turn(r);
            idle = eaten == 0 ? idle + 1 : 0;
            assert_true(idle < 3);
        }
        free(block);
    }
}

static void start(struct run *r)
{
    if (r->started)
        return;
    r->started = true;
    smtp_client_init(&r->client, &r->cfg, r->now);
    turn(r);
}

static void input(struct run *r, char kind, char *text, size_t size, enum mode mode, struct rng *rng)
{
    char *words = strdup(text);
    static char *kept[16]; /* words of jobs are borrowed by the client */
    static size_t kept_at;

    if (kind != 'K' && kind != 'B')
        start(r);
    switch (kind) {
    case 'K':
        configure(r, words);
        break;
    case 'B':
        r->body = realloc(r->body, r->body_size + size + 1);
        memcpy(r->body + r->body_size, text, size);
        r->body_size += size;
        break;
    case 'J':
        free(kept[kept_at]);
        kept[kept_at] = words;
        kept_at = (kept_at + 1) % COUNT_OF(kept);
        job_make(r, words);
        words = NULL;
        smtp_client_job_start(&r->client, r->now, &r->job);
        break;
    case 'S':
        feed(r, (struct bytes){(uint8_t *)text, size}, mode, rng);
        break;
    case 'T':
        r->now.ms += strtol(text + 1, NULL, 10) * 1000;
        smtp_client_tick(&r->client, r->now);
        break;
    case 'L':
        smtp_client_lost(&r->client, r->now, size > 0 ? text : NULL);
        break;
    case 'Q':
        smtp_client_quit(&r->client, r->now);
        break;
    case 'A':
        smtp_client_answer(&r->client, r->now,
            strcmp(text, "tls-up") == 0       ? SMTP_CLIENT_TLS_UP
            : strcmp(text, "tls-broken") == 0 ? SMTP_CLIENT_TLS_BROKEN
                                              : SMTP_CLIENT_BODY_BROKEN,
            "as the test wills");
        break;
    case 'D':
        body_give(r, r->want_offset, strtoul(text, NULL, 10), strstr(text, "last") != NULL);
        break;
    default:
        fail_msg("unknown line %c", kind);
    }
    free(words);
    if (kind != 'K' && kind != 'B')
        turn(r);
    pending_flush(r, true);
}

/* "S*3: text" in one line of a file. */
struct line {
    char kind, mark;
    unsigned long count;
    char *text;
};

static bool line_read(char *raw, struct line *line)
{
    char *at = raw + 1;

    raw[strcspn(raw, "\n")] = 0;
    if (raw[0] == 0 || raw[0] == '#')
        return false;
    line->kind = raw[0];
    line->count = *at == '*' ? strtoul(at + 1, &at, 10) : 1;
    line->mark = *at++;
    if (*at == ' ')
        at++;
    line->text = at;
    return true;
}

static void record_print(const struct run *r)
{
    for (size_t i = 0; i < r->log_count;) {
        size_t same = 1;
        while (i + same < r->log_count && strcmp(r->log[i], r->log[i + same]) == 0)
            same++;
        if (same > 2 && r->log[i][0] == 'C')
            printf("C*%zu%s\n", same, r->log[i] + 1);
        else
            for (size_t k = 0; k < same; k++)
                printf("%s\n", r->log[i]);
        i += same;
    }
}

static bool expected(const struct run *r, size_t at, const struct line *line, const char *name, enum mode mode)
{
    char want[8192];

    snprintf(want, sizeof want, "%c%c %s", line->kind, line->mark, line->text);
    if (at < r->log_count && strcmp(r->log[at], want) == 0)
        return true;
    print_error("case \"%s\" (%s)\n  expected: %s\n  got:      %s\n", name,
        mode == MODE_WHOLE    ? "whole"
        : mode == MODE_OCTETS ? "octet by octet"
                              : "random portions",
        want, at < r->log_count ? r->log[at] : "(nothing more)");
    return false;
}

static void log_clear(struct run *r)
{
    for (size_t i = 0; i < r->log_count; i++)
        free(r->log[i]);
    r->log_count = 0;
}

/* Runs the case in lines[0..count); false when it does not go as written. */
static bool case_run(const char *name, char **raw, size_t count, enum mode mode, uint64_t seed, bool record)
{
    static struct run r;
    char nothing_text[] = "(nothing)";
    struct line nothing = {.kind = '-', .mark = '-', .text = nothing_text};
    struct rng rng = {seed};
    size_t checked = 0;
    bool fine = true, settled = true;

    memset(&r, 0, sizeof r);
    r.cfg = (struct smtp_client_config){.helo = BYTES("client.example"),
        .eight_bit = SMTP_EIGHT_BIT_REFUSE,
        .domain_ascii = idna_to_ascii,
        .greeting_ms = 300000,
        .ehlo_ms = 300000,
        .mail_ms = 300000,
        .rcpt_ms = 300000,
        .data_ms = 120000,
        .block_ms = 180000,
        .dot_ms = 600000,
        .quit_ms = 5000};
    r.portion = SIZE_MAX;
    r.now.ms = 1000;
    r.pending = malloc(TEXT_SIZE);
    char *chunk = malloc(TEXT_SIZE);
    for (size_t i = 0; i < count && fine;) {
        char *copy = strdup(raw[i]);
        struct line line;
        if (!line_read(copy, &line)) {
            i++;
        } else if (line.kind == 'C' || line.kind == 'E') {
            for (unsigned long n = 0; n < line.count && fine && !record; n++)
                fine = expected(&r, checked++, &line, name, mode);
            i++;
        } else {
            if (!record && checked < r.log_count) {
                fine = expected(&r, checked, &nothing, name, mode);
                free(copy);
                break;
            }
            log_clear(&r);
            checked = 0;
            size_t size = 0;
            char kind = line.kind;
            /* S and B lines in a row are one portion. */
            for (;;) {
                if (record)
                    printf("%s\n", raw[i]);
                size_t octets = unescape(line.text);
                for (unsigned long n = 0; n < line.count; n++) {
                    assert_true(size + octets + 3 < TEXT_SIZE);
                    memcpy(chunk + size, line.text, octets);
                    size += octets;
                    if (line.mark != '.' && (kind == 'S' || kind == 'B')) {
                        memcpy(chunk + size, "\r\n", 2);
                        size += 2;
                    }
                }
                /* Recording, each reply is a portion of its own unless it is marked S+ or S. to stay with the next. */
                bool apart = record && kind == 'S' && line.mark == ':' && !(octets > 3 && line.text[3] == '-');
                free(copy);
                copy = NULL;
                if (++i == count || apart || (kind != 'S' && kind != 'B'))
                    break;
                copy = strdup(raw[i]);
                if (!line_read(copy, &line) || line.kind != kind)
                    break;
            }
            chunk[size] = 0;
            if (kind == 'B' && r.body && r.job.rcpt_count > 0 && smtp_client_idle(&r.client))
                r.body_size = 0;
            input(&r, kind, chunk, size, mode, &rng);
            if (record)
                record_print(&r);
        }
        free(copy);
    }
    settled = record || checked == r.log_count;
    if (fine && !settled) {
        fine = expected(&r, checked, &nothing, name, mode);
    }
    log_clear(&r);
    free(chunk);
    free(r.pending);
    free(r.given);
    free(r.body);
    return fine;
}

static bool case_is_whole(char **raw, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(raw[i], "K: whole") == 0)
            return true;
    return false;
}

static size_t file_run(const char *path, bool record, size_t *failed_out)
{
    char *lines[LINES_MAX], *name = NULL, *raw = NULL;
    size_t count = 0, cases = 0, room = 0;
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    for (;;) {
        bool more = getline(&raw, &room, f) > 0;
        if (!more || strncmp(raw, "=== ", 4) == 0) {
            if (name != NULL) {
                cases++;
                bool fine = true;
                if (record) {
                    printf("=== %s\n", name);
                    case_run(name, lines, count, MODE_WHOLE, 0, true);
                    printf("\n");
                } else {
                    bool whole = case_is_whole(lines, count);
                    fine = case_run(name, lines, count, MODE_WHOLE, 0, false) &&
                           (whole || case_run(name, lines, count, MODE_OCTETS, 0, false));
                    for (uint64_t seed = 1; fine && !whole && seed <= 5; seed++)
                        fine = case_run(name, lines, count, MODE_RANDOM, seed, false);
                }
                *failed_out += !fine;
            } else if (record) {
                for (size_t i = 0; i < count; i++)
                    printf("%s\n", lines[i]);
                printf("\n");
            }
            for (size_t i = 0; i < count; i++)
                free(lines[i]);
            count = 0;
            free(name);
            name = NULL;
            if (!more)
                break;
            raw[strcspn(raw, "\n")] = 0;
            name = strdup(raw + 4);
        } else {
            raw[strcspn(raw, "\n")] = 0;
            assert_true(count < LINES_MAX);
            if (raw[0])
                lines[count++] = strdup(raw);
        }
    }
    free(raw);
    fclose(f);
    return cases;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void test_transcripts(void **state)
{
    struct dirent **names;
    size_t cases = 0, failed = 0;
    const char *only = getenv("MANSIO_TRANSCRIPT_RECORD");
    int count = scandir(TESTS_DIR "/transcripts/client", &names, NULL, by_name);

    (void)state;
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        char path[4096];
        size_t size = strlen(names[i]->d_name);
        if (size > 4 && strcmp(names[i]->d_name + size - 4, ".txt") == 0 && (!only || strstr(names[i]->d_name, only))) {
            snprintf(path, sizeof path, "%s/transcripts/client/%s", TESTS_DIR, names[i]->d_name);
            cases += file_run(path, only != NULL, &failed);
        }
        free(names[i]);
    }
    free(names);
    if (!only)
        print_message("%zu transcripts, %zu failed\n", cases, failed);
    assert_int_equal(failed, 0);
    assert_true(only || cases >= 80);
}

/* A session that is READY with `extensions` (lines of the reply to EHLO). */
static void ready(struct run *r, const char *extensions)
{
    memset(r, 0, sizeof *r);
    r->cfg = (struct smtp_client_config){.helo = BYTES("client.example"), .mail_ms = 1000, .rcpt_ms = 1000};
    r->pending = malloc(TEXT_SIZE);
    r->portion = SIZE_MAX;
    start(r);
    feed(r, BYTES("220 mx\r\n"), MODE_WHOLE, NULL);
    feed(r, bytes_of(extensions), MODE_WHOLE, NULL);
    log_clear(r);
}

static void end(struct run *r)
{
    log_clear(r);
    free(r->pending);
    free(r->given);
    free(r->body);
}

/* A group that is larger than the room for commands goes out in several writes, whole and in order. */
static void test_many_long_recipients(void **state)
{
    static struct run r;
    static char paths[JOB_RCPT_COUNT_MAX][ADDRESS_SIZE_MAX];
    static char orcpt[ORCPT_SIZE_MAX];
    char expected[ADDRESS_SIZE_MAX + 3 * ORCPT_SIZE_MAX + 100];

    (void)state;
    ready(&r, "250-mx\r\n250-PIPELINING\r\n250 DSN\r\n");
    r.body = (uint8_t *)strdup("x\r\n");
    r.body_size = 3;
    memset(orcpt, '+', sizeof orcpt);
    memcpy(orcpt, "rfc822;", 7);
    r.job = (struct smtp_job){
        .reverse_path = BYTES("a@one.example"), .rcpts = r.rcpts, .rcpt_count = JOB_RCPT_COUNT_MAX, .body_size = 3};
    for (size_t i = 0; i < JOB_RCPT_COUNT_MAX; i++) {
        memset(paths[i], 'p', ADDRESS_SIZE_MAX);
        paths[i][0] = (char)('0' + i / 10);
        paths[i][1] = (char)('0' + i % 10);
        r.rcpts[i] = (struct smtp_job_rcpt){.forward_path = {(uint8_t *)paths[i], ADDRESS_SIZE_MAX},
            .orcpt = {(uint8_t *)orcpt, ORCPT_SIZE_MAX},
            .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY};
    }
    smtp_client_job_start(&r.client, r.now, &r.job);
    turn(&r);
    assert_int_equal(r.log_count, 1 + JOB_RCPT_COUNT_MAX + 1);
    for (size_t i = 0; i < JOB_RCPT_COUNT_MAX; i++) {
        snprintf(expected, sizeof expected, "C: RCPT TO:<%.*s> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;+2B+2B",
            ADDRESS_SIZE_MAX, paths[i]);
        assert_int_equal(strncmp(r.log[1 + i], expected, strlen(expected)), 0);
    }
    assert_string_equal(r.log[1 + JOB_RCPT_COUNT_MAX], "C: DATA");
    log_clear(&r);
    feed(&r, BYTES("250 ok\r\n"), MODE_WHOLE, NULL);
    for (size_t i = 0; i < JOB_RCPT_COUNT_MAX; i++)
        feed(&r, BYTES("250 ok\r\n"), MODE_WHOLE, NULL);
    feed(&r, BYTES("354 go\r\n"), MODE_WHOLE, NULL);
    feed(&r, BYTES("250 queued\r\n"), MODE_WHOLE, NULL);
    assert_int_equal(r.log_count, 2 + JOB_RCPT_COUNT_MAX + 1); /* the message, a result each, done */
    assert_true(smtp_client_idle(&r.client));
    end(&r);
}

/* The transcript keeps the newest lines, whole, without the content. */
static void test_transcript(void **state)
{
    static struct run r;

    (void)state;
    ready(&r, "250 mx\r\n");
    r.body = (uint8_t *)strdup("secret\r\n");
    r.body_size = 8;
    r.rcpts[0].forward_path = BYTES("b@two.example");
    r.job =
        (struct smtp_job){.reverse_path = BYTES("a@one.example"), .rcpts = r.rcpts, .rcpt_count = 1, .body_size = 8};
    smtp_client_job_start(&r.client, r.now, &r.job);
    turn(&r);
    for (int i = 0; i < 90; i++)
        feed(&r, BYTES("250-0123456789012345678901234567890123456789012345678901234567890123456789\r\n"), MODE_WHOLE,
            NULL);
    feed(&r, BYTES("250 ok\r\n"), MODE_WHOLE, NULL);
    feed(&r, BYTES("250 \033]0;x\007 ok\r\n"), MODE_WHOLE, NULL);
    feed(&r, BYTES("354 go\r\n"), MODE_WHOLE, NULL);
    feed(&r, BYTES("250 queued\r\n"), MODE_WHOLE, NULL);
    struct bytes text = smtp_client_transcript(&r.client);
    assert_true(text.size > ATTEMPT_TRANSCRIPT_SIZE_MAX / 4 && text.size <= ATTEMPT_TRANSCRIPT_SIZE_MAX);
    assert_true(bytes_starts(text, BYTES("S: 250-0123456789")));
    assert_true(bytes_ends_nocase(
        text, BYTES("S: 250 ok\nC: RCPT TO:<b@two.example>\nS: 250  ]0;x  ok\nC: DATA\nS: 354 go\nC: (the message)\n"
                    "S: 250 queued\n")));
    assert_int_equal(bytes_find(text, BYTES("secret")), BYTES_NOT_FOUND);
    /* The next job on the session has a transcript of its own. */
    smtp_client_job_start(&r.client, r.now, &r.job);
    turn(&r);
    assert_true(bytes_equal(smtp_client_transcript(&r.client), BYTES("C: MAIL FROM:<a@one.example>\n")));
    end(&r);
}

/* Neither name nor password, nor what a password could be guessed from, is in the transcript or left in the session. */
static void test_login_leaves_nothing(void **state)
{
    static const char *const replies[] = {"220 mx\r\n", "250-mx\r\n250 AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n",
        "334 UGFzc3dvcmQ6\r\n", "235 2.7.0 ok\r\n"};
    static const struct bytes secrets[] = {BYTES_INIT("dXNlcg=="), BYTES_INIT("cGVuY2ls"), BYTES_INIT("UGFz")};
    static struct run r;

    (void)state;
    memset(&r, 0, sizeof r);
    r.pending = malloc(TEXT_SIZE);
    r.cfg = (struct smtp_client_config){.helo = BYTES("client.example"), .tls = SMTP_CLIENT_TLS_IMPLICIT};
    login(&r, false);
    start(&r);
    for (size_t i = 0; i < COUNT_OF(replies); i++)
        feed(&r, bytes_of(replies[i]), MODE_WHOLE, NULL);
    assert_true(smtp_client_idle(&r.client));
    assert_true(bytes_ends_nocase(
        smtp_client_transcript(&r.client), BYTES("C: AUTH LOGIN\nS: 334 (a challenge)\nC: (a secret)\nS: 334 (a "
                                                 "challenge)\nC: (a secret)\nS: 235 2.7.0 ok\n")));
    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        struct bytes session = {(const uint8_t *)&r.client.out_room, sizeof r.client.out_room};
        assert_int_equal(bytes_find(smtp_client_transcript(&r.client), secrets[i]), BYTES_NOT_FOUND);
        assert_int_equal(bytes_find(session, secrets[i]), BYTES_NOT_FOUND);
    }
    assert_int_equal(
        bytes_find((struct bytes){r.auth.login.line_room, sizeof r.auth.login.line_room}, secrets[1]), BYTES_NOT_FOUND);
    end(&r);
}

/* A peer that takes octets slowly is not timed out as long as it takes any; one that stops is. */
static void test_block_time_runs_anew(void **state)
{
    static struct run r;
    struct smtp_client_event e;

    (void)state;
    ready(&r, "250 mx\r\n");
    r.cfg.block_ms = 1000;
    r.body = malloc(200000);
    memset(r.body, 'x', 200000);
    r.body_size = 200000;
    r.rcpts[0].forward_path = BYTES("b@two.example");
    r.job = (struct smtp_job){.rcpts = r.rcpts, .rcpt_count = 1, .body_size = 200000};
    smtp_client_job_start(&r.client, r.now, &r.job);
    turn(&r);
    feed(&r, BYTES("250 ok\r\n"), MODE_WHOLE, NULL);
    feed(&r, BYTES("250 ok\r\n"), MODE_WHOLE, NULL);
    assert_int_equal(smtp_client_feed(&r.client, r.now, BYTES("354 go\r\n")), 8);
    for (int i = 0; i < 3; i++) { /* one event at a time, as an edge does whose queue is full */
        r.now.ms += 900;
        smtp_client_tick(&r.client, r.now);
        assert_true(smtp_client_next(&r.client, &e));
        if (e.kind == SMTP_CLIENT_WANT_BODY) {
            body_give(&r, e.want.offset, e.want.size_max, false);
            assert_true(smtp_client_next(&r.client, &e));
        }
        assert_int_equal(e.kind, SMTP_CLIENT_WRITE);
        assert_true(e.is_body);
    }
    r.now.ms += 1000;
    smtp_client_tick(&r.client, r.now);
    assert_true(smtp_client_next(&r.client, &e));
    assert_int_equal(e.kind, SMTP_CLIENT_JOB_DONE);
    assert_int_equal(e.done.end, SMTP_CLIENT_END_TIMEOUT);
    assert_false(e.done.uncertain);
    assert_false(e.done.nothing_sent);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transcripts),
        cmocka_unit_test(test_many_long_recipients),
        cmocka_unit_test(test_transcript),
        cmocka_unit_test(test_login_leaves_nothing),
        cmocka_unit_test(test_block_time_runs_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
