/* The server session against written dialogues: tests/transcripts/server (the form: tests/support/transcript.h). Its own marks:
 *
 *   K: words of configuration: class=mx|submission|local tls auth=PLAIN auth_without_tls auth_required tls_required strict
 *      convert size=N rcpts=N errors=N received=N idle=MS block=MS session=MS xclient trusted trace without=EXTENSIONS
 *      (a set as a number) early (input may come before the greeting is read) address=A rdns=N
 *      ehlo | mail | data: as the last words: the session has come so far already, unseen (mail: one recipient accepted)
 *   A: mail|rcpt|commit|auth yes|no CODE X.Y.Z text|challenge text|login name|wait
 *      the edge's answer to the next question of that kind (else: yes); wait: it stays open until the next A: of its kind
 *   D: tls | hangup | stop | turn_away     what else the edge can do
 *   E: mail|rcpt|auth|commit|abort|refused|start_tls|xclient|closed ...    events, as event_show writes them
 *   B: a line of a message that was given to COMMIT, without our trace field (K: trace shows that too, unfolded) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <glob.h>

#include "smtp/server.h"
#include "tests/support/transcript.h"

enum question { QUESTION_MAIL, QUESTION_RCPT, QUESTION_COMMIT, QUESTION_AUTH, QUESTION_COUNT };

static const char *const question_names[] = {"mail", "rcpt", "commit", "auth"};

struct plan {
    bool set, wait;
    struct smtp_answer answer;
    char text[1000];
};

struct subject {
    struct transcript *t;
    struct smtp_server server;
    struct smtp_server_config config;
    struct smtp_peer peer;
    struct arena arena;
    struct instant now;
    bool begun, early, closed, trace, muted;
    int open; /* question that waits, or -1 */
    struct plan plans[QUESTION_COUNT];
    uint8_t *left; /* input that was not eaten yet */
    size_t left_size;
    uint8_t *body;
    size_t body_size;
    uint64_t body_announced;
    char mechanisms[64], address[64], rdns[64];
};

static void turn(struct subject *s);

static void *subject_begin(struct transcript *t)
{
    struct subject *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->t = t;
    s->open = -1;
    s->config = (struct smtp_server_config){
        .hostname = BYTES_INIT("mx.example.net"),
        .class = SMTP_CLASS_MX,
        .extensions = 0x3ff & ~(uint32_t)(SMTP_EXT_STARTTLS | SMTP_EXT_AUTH | SMTP_EXT_XCLIENT),
        .size_max = 1000000,
        .rcpt_max = 100,
        .error_max = 20,
        .received_max = 50,
        .strict_pipelining = false,
        .idle_timeout_ms = 300000,
        .data_block_timeout_ms = 180000,
        .session_max_ms = 3600000,
    };
    s->peer = (struct smtp_peer){
        .address = BYTES_INIT("192.0.2.7"), .port = 4321, .rdns = BYTES_INIT("client.example"), .trusted = true};
    s->now.ms = 1000;
    arena_init(&s->arena, 65536);
    return s;
}

static void begin_once(struct subject *s)
{
    if (s->begun)
        return;
    s->begun = true;
    smtp_server_init(&s->server, &s->config, &s->peer, &s->arena, s->now);
    if (!s->early)
        turn(s);
}

static void subject_end(void *subject)
{
    struct subject *s = subject;
    arena_fini(&s->arena);
    free(s->left);
    free(s->body);
    free(s);
}

static void show_body(struct subject *s)
{
    struct bytes body = {s->body, s->body_size};
    size_t from = 0;

    /* Our field ends at the first line end that no tab follows; shown, it is one line. */
    for (;;) {
        ptrdiff_t end = bytes_find(bytes_after(body, from), BYTES("\r\n"));
        assert_true(end != BYTES_NOT_FOUND);
        from += (size_t)end;
        if (from + 2 == body.size || body.data[from + 2] != '\t')
            break;
        s->body[from] = ' ';
        memmove(s->body + from + 1, s->body + from + 3, s->body_size - from - 3);
        s->body_size -= 2;
        body.size -= 2;
    }
    from += 2;
    if (!s->trace)
        body = bytes_after(body, from);
    if (body.size > 3000)
        transcript_did(s->t, 'B', "(%zu octets, hash %016" PRIx64 ")", body.size, bytes_hash(body, 0));
    else
        transcript_did_octets(s->t, 'B', body);
}

static void body_add(struct subject *s, struct bytes bytes)
{
    s->body = realloc(s->body, s->body_size + bytes.size + 1);
    assert_non_null(s->body);
    memcpy(s->body + s->body_size, bytes.data, bytes.size);
    s->body_size += bytes.size;
}

static void show_mail(struct subject *s, const struct smtp_mail *m)
{
    static const char *const ret_names[] = {"", " ret=full", " ret=hdrs"};
    char size[40] = "";
    if (m->size > 0)
        snprintf(size, sizeof size, " size=%" PRIu64, m->size);
    transcript_did(s->t, 'E', "mail <%.*s>%s%s%s%s%.*s%s", BYTES_ARG(m->reverse_path.text), size,
        m->body == BODY_8BITMIME ? " 8bit" : "", ret_names[m->ret], m->envid.size > 0 ? " envid=" : "",
        BYTES_ARG(m->envid), m->smtputf8 ? " utf8" : "");
}

static void show_rcpt(struct subject *s, const struct smtp_rcpt *r)
{
    char notify[40] = "";
    if (r->notify != 0)
        snprintf(notify, sizeof notify, " notify=%u", r->notify);
    transcript_did(s->t, 'E', "rcpt <%.*s>%s%s%.*s", BYTES_ARG(r->forward_path.text), notify,
        r->orcpt.size > 0 ? " orcpt=" : "", BYTES_ARG(r->orcpt));
}

static void show_commit(struct subject *s, const struct smtp_commit *c)
{
    assert_int_equal(c->body_size, s->body_size);
    show_body(s);
    transcript_did(s->t, 'E', "commit rcpts=%u%s%s%s%.*s%s%.*s", c->rcpt_count, c->header_8bit ? " header8" : "",
        c->body_8bit ? " body8" : "", c->header_message_id.size > 0 ? " id=" : "", BYTES_ARG(c->header_message_id),
        c->header_subject.size > 0 ? " subject=" : "", BYTES_ARG(c->header_subject));
}

static void answer(struct subject *s, enum question q)
{
    struct plan *p = &s->plans[q];
    struct smtp_answer yes = {.kind = SMTP_ANSWER_YES,
        .id = {0x123456789abcdef},
        .received_at = {1795300849000},
        .login = BYTES_INIT("alice")};

    if (p->set && p->wait) {
        s->open = (int)q;
        p->set = false;
        return;
    }
    struct result r = smtp_server_answer(&s->server, s->now, p->set ? &p->answer : &yes);
    assert_true(is_ok(r));
    p->set = false;
}

static void event_show(struct subject *s, const struct smtp_event *e)
{
    if (s->muted) { /* the way to where a case begins */
        if (e->kind == SMTP_EVENT_CHECK_MAIL || e->kind == SMTP_EVENT_CHECK_RCPT)
            answer(s, e->kind == SMTP_EVENT_CHECK_MAIL ? QUESTION_MAIL : QUESTION_RCPT);
        if (e->kind == SMTP_EVENT_BODY)
            body_add(s, e->bytes);
        assert_true(e->kind != SMTP_EVENT_CLOSE && e->kind != SMTP_EVENT_REFUSED);
        return;
    }
    switch (e->kind) {
    case SMTP_EVENT_REPLY:
        transcript_did_octets(s->t, 'S', e->bytes);
        break;
    case SMTP_EVENT_CHECK_MAIL:
        show_mail(s, &e->mail);
        s->body_size = 0;
        answer(s, QUESTION_MAIL);
        break;
    case SMTP_EVENT_CHECK_RCPT:
        show_rcpt(s, &e->rcpt);
        answer(s, QUESTION_RCPT);
        break;
    case SMTP_EVENT_CHECK_VRFY:
        transcript_did(s->t, 'E', "check_vrfy");
        answer(s, QUESTION_RCPT);
        break;
    case SMTP_EVENT_BODY:
        body_add(s, e->bytes);
        break;
    case SMTP_EVENT_COMMIT:
        show_commit(s, &e->commit);
        answer(s, QUESTION_COMMIT);
        break;
    case SMTP_EVENT_ABORT:
        transcript_did(s->t, 'E', "abort");
        break;
    case SMTP_EVENT_START_TLS:
        transcript_did(s->t, 'E', "start_tls");
        break;
    case SMTP_EVENT_AUTH:
        if (e->auth.response.size > 1000)
            transcript_did(
                s->t, 'E', "auth %.*s response of %zu octets", BYTES_ARG(e->auth.mechanism), e->auth.response.size);
        else
            transcript_did(s->t, 'E', "auth %.*s%s%.*s", BYTES_ARG(e->auth.mechanism),
                e->auth.has_response ? " response=" : "", BYTES_ARG(e->auth.response));
        answer(s, QUESTION_AUTH);
        break;
    case SMTP_EVENT_XCLIENT: {
        const struct smtp_peer *p = smtp_server_peer(&s->server);
        transcript_did(s->t, 'E', "xclient address=%.*s port=%u rdns=%.*s login=%.*s helo=%.*s%s",
            BYTES_ARG(p->address), p->port, BYTES_ARG(p->rdns), BYTES_ARG(p->login),
            BYTES_ARG(smtp_server_helo(&s->server)), p->trusted ? " trusted" : "");
        break;
    }
    case SMTP_EVENT_REFUSED:
        transcript_did(s->t, 'E', "refused %s %u %u.%u.%u%s%.*s", smtp_step_name(e->refused.step), e->refused.code,
            e->refused.status.class, e->refused.status.subject, e->refused.status.detail,
            e->refused.subject.size > 0 ? " " : "", BYTES_ARG(e->refused.subject));
        break;
    case SMTP_EVENT_CLOSE:
        s->closed = true;
        transcript_did(s->t, 'E', "closed reason=%s", smtp_close_why_name(e->close_why));
        break;
    }
}

static void turn(struct subject *s)
{
    struct smtp_event event;

    for (;;) {
        while (!s->early && smtp_server_next(&s->server, &event)) {
            assert_false(s->closed);
            event_show(s, &event);
        }
        s->early = false;
        if (s->left_size == 0 || smtp_server_waiting(&s->server))
            break;
        size_t eaten = smtp_server_feed(&s->server, s->now, (struct bytes){s->left, s->left_size});
        assert_true(eaten <= s->left_size);
        while (smtp_server_next(&s->server, &event)) {
            assert_false(s->closed);
            event_show(s, &event);
        }
        s->left_size -= eaten;
        memmove(s->left, s->left + eaten, s->left_size);
    }
    if (s->closed)
        s->left_size = 0;
}

static void subject_feed(void *subject, struct bytes piece)
{
    struct subject *s = subject;

    begin_once(s);
    if (s->closed)
        return;
    /* A fresh block of the right size, so that a view that outlives its input is found. */
    uint8_t *joined = malloc(s->left_size + piece.size);
    assert_non_null(joined);
    if (s->left_size > 0)
        memcpy(joined, s->left, s->left_size);
    memcpy(joined + s->left_size, piece.data, piece.size);
    free(s->left);
    s->left = joined;
    s->left_size += piece.size;
    if (smtp_server_waiting(&s->server))
        assert_int_equal(smtp_server_feed(&s->server, s->now, (struct bytes){s->left, s->left_size}), 0);
    turn(s);
}

static bool word_is(const char *word, const char *name, const char **value_out)
{
    size_t size = strlen(name);
    if (strncmp(word, name, size) != 0 || (word[size] != 0 && word[size] != '='))
        return false;
    *value_out = word[size] == '=' ? word + size + 1 : "";
    return true;
}

static void configure(struct subject *s, char *word)
{
    struct smtp_server_config *c = &s->config;
    const char *v;

    if (word_is(word, "class", &v))
        c->class = *v == 'm' ? SMTP_CLASS_MX : *v == 's' ? SMTP_CLASS_SUBMISSION : SMTP_CLASS_LOCAL;
    else if (word_is(word, "tls", &v))
        c->extensions |= SMTP_EXT_STARTTLS;
    else if (word_is(word, "implicit", &v)) {
        s->peer.tls = true;
        s->peer.tls_version = BYTES("TLSv1.3");
        s->peer.tls_cipher = BYTES("TLS_AES_256_GCM_SHA384");
    } else if (word_is(word, "auth", &v)) {
        c->extensions |= SMTP_EXT_AUTH;
        snprintf(s->mechanisms, sizeof s->mechanisms, "%s", v);
        for (char *comma = s->mechanisms; (comma = strchr(comma, ',')) != NULL;)
            *comma = ' ';
        c->auth_mechanisms = bytes_of(s->mechanisms);
    } else if (word_is(word, "auth_without_tls", &v))
        c->auth_without_tls = true;
    else if (word_is(word, "auth_required", &v))
        c->auth_required = true;
    else if (word_is(word, "tls_required", &v))
        c->tls_required = true;
    else if (word_is(word, "strict", &v))
        c->strict_pipelining = true;
    else if (word_is(word, "convert", &v))
        c->bare_newline_convert = true;
    else if (word_is(word, "vrfy", &v))
        c->vrfy = *v == 'a' ? SMTP_VRFY_ANSWER : SMTP_VRFY_REFUSE;
    else if (word_is(word, "expn", &v))
        c->expn_noncommittal = true;
    else if (word_is(word, "size", &v))
        c->size_max = strtoull(v, NULL, 10);
    else if (word_is(word, "rcpts", &v))
        c->rcpt_max = (uint32_t)strtoul(v, NULL, 10);
    else if (word_is(word, "errors", &v))
        c->error_max = (uint32_t)strtoul(v, NULL, 10);
    else if (word_is(word, "received", &v))
        c->received_max = (uint32_t)strtoul(v, NULL, 10);
    else if (word_is(word, "idle", &v))
        c->idle_timeout_ms = strtoll(v, NULL, 10);
    else if (word_is(word, "block", &v))
        c->data_block_timeout_ms = strtoll(v, NULL, 10);
    else if (word_is(word, "session", &v))
        c->session_max_ms = strtoll(v, NULL, 10);
    else if (word_is(word, "without", &v))
        c->extensions &= ~(uint32_t)strtoul(v, NULL, 0);
    else if (word_is(word, "xclient", &v)) {
        c->extensions |= SMTP_EXT_XCLIENT;
        s->peer.xclient_allowed = true;
    } else if (word_is(word, "stranger", &v))
        s->peer.trusted = false;
    else if (word_is(word, "trace", &v))
        s->trace = true;
    else if (word_is(word, "early", &v))
        s->early = true;
    else if (word_is(word, "address", &v)) {
        snprintf(s->address, sizeof s->address, "%s", v);
        s->peer.address = bytes_of(s->address);
    } else if (word_is(word, "rdns", &v)) {
        snprintf(s->rdns, sizeof s->rdns, "%s", v);
        s->peer.rdns = bytes_of(s->rdns);
    } else if (word_is(word, "local", &v)) {
        s->peer = (struct smtp_peer){.local = true, .uid = 1000, .login = BYTES_INIT("alice"), .trusted = true};
    } else
        fail_msg("unknown word of configuration: %s", word);
}

static void plan_set(struct subject *s, char *text)
{
    char *save, *name = strtok_r(text, " ", &save), *what = strtok_r(NULL, " ", &save);
    unsigned q = 0, class = 0, subject = 0, detail = 0;

    while (q < QUESTION_COUNT && strcmp(name, question_names[q]) != 0)
        q++;
    assert_true(q < QUESTION_COUNT && what != NULL);
    struct plan *p = &s->plans[q];
    *p = (struct plan){.set = true, .answer = {.kind = SMTP_ANSWER_YES, .id = {77}, .received_at = {1795300849000}}};
    p->wait = strcmp(what, "wait") == 0;
    if (strcmp(what, "no") == 0) {
        char *code = strtok_r(NULL, " ", &save), *status = strtok_r(NULL, " ", &save);
        sscanf(status, "%u.%u.%u", &class, &subject, &detail);
        snprintf(p->text, sizeof p->text, "%s", save);
        p->answer.kind = SMTP_ANSWER_NO;
        p->answer.reply = (struct reply){.code = (uint16_t)atoi(code),
            .status = {(uint8_t) class, (uint16_t)subject, (uint16_t)detail},
            .text = bytes_of(p->text)};
    } else if (strcmp(what, "challenge") == 0 || strcmp(what, "login") == 0) {
        bool challenge = *what == 'c';
        snprintf(p->text, sizeof p->text, "%s", save == NULL ? "" : save);
        p->answer.kind = challenge ? SMTP_ANSWER_CHALLENGE : SMTP_ANSWER_YES;
        p->answer.challenge = p->answer.login = bytes_of(p->text);
    }
    if (s->open == (int)q && !p->wait) {
        s->open = -1;
        answer(s, q);
        turn(s);
    }
}

static bool reach(struct subject *s, const char *word)
{
    static const char *const ways[][2] = {
        {"ehlo", "EHLO client.example\r\n"},
        {"mail", "EHLO client.example\r\nMAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\n"},
        {"data", "EHLO client.example\r\nMAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n"},
    };

    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        if (strcmp(word, ways[i][0]) == 0) {
            s->muted = true;
            subject_feed(s, bytes_of(ways[i][1]));
            s->muted = false;
            return true;
        }
    }
    return false;
}

static void subject_command(void *subject, char mark, struct bytes text)
{
    struct subject *s = subject;
    char line[2000], *save;

    assert_true(text.size < sizeof line);
    memcpy(line, text.data, text.size);
    line[text.size] = 0;
    if (mark == 'K') {
        for (char *word = strtok_r(line, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
            if (!reach(s, word))
                configure(s, word);
        return;
    }
    if (mark == 'A' && !s->begun) {
        plan_set(s, line);
        return;
    }
    if (strcmp(line, "turn_away") == 0) {
        s->begun = true;
        smtp_server_init(&s->server, &s->config, &s->peer, &s->arena, s->now);
        smtp_server_turn_away(&s->server, &REPLY(421, 4, 7, 0, "too many sessions"));
        turn(s);
        return;
    }
    begin_once(s);
    if (mark == 'T') {
        s->now = instant_after(s->now, transcript_ms(bytes_after(text, 1)));
        smtp_server_tick(&s->server, s->now);
    } else if (mark == 'A') {
        plan_set(s, line);
    } else if (strcmp(line, "tls") == 0) {
        s->left_size = 0; /* sent in the clear: the edge drops it */
        smtp_server_tls_started(&s->server, s->now, BYTES("TLSv1.3"), BYTES("TLS_AES_256_GCM_SHA384"));
    } else if (strcmp(line, "hangup") == 0) {
        smtp_server_hangup(&s->server);
    } else if (strcmp(line, "expel") == 0) {
        static const struct reply enough = {421, {4, 7, 0}, BYTES_INIT("too many commands")};
        smtp_server_expel(&s->server, &enough);
    } else if (strcmp(line, "stop") == 0) {
        smtp_server_stop(&s->server);
    } else {
        assert_string_equal(line, "nothing");
    }
    turn(s);
}

static const struct transcript_role role = {
    .input = 'C', .begin = subject_begin, .feed = subject_feed, .command = subject_command, .end = subject_end};

static void test_transcripts(void **state)
{
    enum { CASES_MIN = 120 };
    const char *only = getenv("MANSIO_TRANSCRIPT");
    unsigned count = 0;
    glob_t files;

    (void)state;
    if (only != NULL) {
        transcript_run(only, &role);
        return;
    }
    assert_int_equal(glob(TESTS_DIR "/transcripts/server/*.txt", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        count += transcript_run(files.gl_pathv[i], &role);
    globfree(&files);
    print_message("%u dialogues\n", count);
    assert_true(count >= CASES_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transcripts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
