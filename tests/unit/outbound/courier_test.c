/* The courier in a small world of written zones and hosts: tests/transcripts/courier/all.txt.
 *
 *   === name of the case
 *   Z: NAME MX|A|AAAA|STATUS ...     a record ("example.org MX 10 mx.example.org"), or what every question for the name
 *                                    gets: servfail, timeout, refused, malformed; a name without a line does not exist
 *   H: ADDRESS WORD,WORD...          what the host does, dial after dial (the last word stands for all that follow):
 *      refused, hang, noroute        while connecting ("slow=N": connects after N ms)
 *      ok, rcpt=1x2 (results in order: 2xx digit 2, 4, 5, or a for again), then ".421" when not reusable after
 *      greet4, greet5, lost, lost-mail, lost-body, uncertain, garbage, tls, no-tls, down, stale, timeout, body
 *   J: LANE [rcpts=N] [tls=WORD] [kept=ADDRESS] [only=4|6] [first=4] [self=NAME]
 *   E: what happens                  compared line by line; times are milliseconds since the start
 * MANSIO_TRANSCRIPT_RECORD=courier prints what happens instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/outbound/courier.h"

enum { LINES_MAX = 200, TEXT_SIZE = 65536 };

struct world {
    char *zone[LINES_MAX];
    size_t zone_count;
    char *hosts[LINES_MAX];
    unsigned dials[LINES_MAX];
    size_t host_count;
    struct courier courier;
    struct courier_config cfg;
    struct courier_job job;
    struct mx_self self;
    struct bytes self_name;
    struct envelope_head head;
    struct recipient rcpts[JOB_RCPT_COUNT_MAX];
    struct instant now;
    struct {
        bool pending;
        char does[64];
        struct instant at; /* when it connects */
    } slots[COURIER_DIAL_COUNT + 1];
    char log[TEXT_SIZE];
    size_t log_size;
    bool finished;
    unsigned result_counts[JOB_RCPT_COUNT_MAX];
    struct smtp_client_event client_event;
};

static struct world w;
static struct dns_answer answer;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    w.log_size += (size_t)vsnprintf(w.log + w.log_size, sizeof w.log - w.log_size, format, args);
    va_end(args);
    assert_true(w.log_size + 1 < sizeof w.log);
    w.log[w.log_size++] = '\n';
}

static const char *address_text(const struct dns_address *a)
{
    static char text[DNS_ADDRESS_TEXT_SIZE_MAX + 1];
    struct buf out;

    buf_init(&out, text, DNS_ADDRESS_TEXT_SIZE_MAX);
    if (a->family != 0)
        assert_true(is_ok(dns_address_put(&out, a)));
    text[out.size] = 0;
    return a->family == 0 ? "-" : text;
}

/* --- DNS --- */

static void lookup(struct bytes name, uint16_t type)
{
    static const struct {
        const char *word;
        enum dns_status status;
    } words[] = {
        {"servfail", DNS_SERVFAIL}, {"timeout", DNS_TIMEOUT}, {"refused", DNS_REFUSED}, {"malformed", DNS_MALFORMED}};
    bool exists = false;

    memset(&answer, 0, sizeof answer);
    answer.type = type;
    answer.ttl = 60;
    assert_true(is_ok(dns_name_set(&answer.canonical, name)));
    for (size_t i = 0; i < w.zone_count; i++) {
        char line[256], *save;
        snprintf(line, sizeof line, "%s", w.zone[i]);
        char *owner = strtok_r(line, " ", &save), *kind = strtok_r(NULL, " ", &save);
        if (!bytes_equal_nocase(name, bytes_of(owner)))
            continue;
        exists = true;
        for (size_t k = 0; k < COUNT_OF(words); k++)
            if (strcmp(kind, words[k].word) == 0) {
                dns_answer_fail(&answer, type, words[k].status);
                return;
            }
        if (type == DNS_TYPE_MX && strcmp(kind, "MX") == 0) {
            struct dns_mx *mx = &answer.mx[answer.count++];
            mx->preference = (uint16_t)atoi(strtok_r(NULL, " ", &save));
            char *host = strtok_r(NULL, " ", &save);
            if (strcmp(host, ".") != 0)
                assert_true(is_ok(dns_name_set(&mx->host, bytes_of(host))));
        } else if ((type == DNS_TYPE_A && strcmp(kind, "A") == 0) ||
                   (type == DNS_TYPE_AAAA && strcmp(kind, "AAAA") == 0)) {
            assert_true(
                is_ok(dns_address_parse(bytes_of(strtok_r(NULL, " ", &save)), &answer.address[answer.count++])));
        }
    }
    answer.status = answer.count > 0 ? DNS_OK : exists ? DNS_NODATA : DNS_NXDOMAIN;
}

/* --- hosts --- */

static void host_word(const char *address, char *word_out, size_t size)
{
    for (size_t i = 0; i < w.host_count; i++) {
        char line[256], *save;
        snprintf(line, sizeof line, "%s", w.hosts[i]);
        if (strcmp(strtok_r(line, " ", &save), address) != 0)
            continue;
        char *words = strtok_r(NULL, " ", &save), *word = strtok_r(words, ",", &save);
        for (unsigned n = 0; n < w.dials[i]; n++) {
            char *next = strtok_r(NULL, ",", &save);
            if (next == NULL)
                break;
            word = next;
        }
        w.dials[i]++;
        snprintf(word_out, size, "%s", word);
        return;
    }
    snprintf(word_out, size, "refused");
}

static void drain(void);

static void client_result(size_t index, enum smtp_rcpt_outcome outcome, uint16_t code, const char *text)
{
    w.client_event = (struct smtp_client_event){.kind = SMTP_CLIENT_RCPT_RESULT,
        .rcpt = {.index = index,
            .outcome = outcome,
            .reply = {.code = code, .status = {(uint8_t)(code / 100), 1, 5}, .text = bytes_of(text)},
            .dsn_passed = outcome == SMTP_RCPT_DELIVERED}};
    courier_rcpt_result(&w.courier, w.now, &w.client_event);
}

static void client_done(enum smtp_client_end end, uint16_t code, const char *text, size_t undecided, bool reusable,
    bool uncertain, bool nothing_sent, bool stale)
{
    uint8_t class = code == 0 ? 4 : (uint8_t)(code / 100);

    w.client_event = (struct smtp_client_event){.kind = SMTP_CLIENT_JOB_DONE,
        .done = {.end = end,
            .reply = {.code = code, .status = {class, 4, 2}, .text = bytes_of(text)},
            .undecided_count = undecided,
            .reusable = reusable,
            .uncertain = uncertain,
            .nothing_sent = nothing_sent,
            .stale = stale}};
    courier_job_done(&w.courier, w.now, &w.client_event);
}

static void session_run(const struct courier_event *e)
{
    size_t count = e->session.job->rcpt_count;
    char does[64];

    snprintf(does, sizeof does, "%s", w.slots[e->session.slot].does);
    if (strncmp(does, "slow=", 5) == 0)
        memmove(does, strchr(does, '+') + 1, strlen(strchr(does, '+')));
    say("session %s%s rcpts=%zu", address_text(&e->session.peer.address), e->session.again ? " again" : "", count);
    if (strncmp(does, "rcpt=", 5) == 0) {
        for (size_t i = 0; i < count; i++) {
            char c = i < strcspn(does + 5, ".") ? does[5 + i] : '2';
            if (c == '2')
                client_result(i, SMTP_RCPT_DELIVERED, 250, "250 2.1.5 ok");
            else if (c == '4')
                client_result(i, SMTP_RCPT_DEFERRED, 450, "450 4.1.5 busy");
            else if (c == '5')
                client_result(i, SMTP_RCPT_FAILED, 550, "550 5.1.5 no");
            else
                client_result(i, SMTP_RCPT_AGAIN, 452, "452 4.1.5 too many");
            drain();
        }
        bool reusable = strstr(does, ".421") == NULL;
        /* The next transaction over the same session takes everybody. */
        snprintf(w.slots[e->session.slot].does, sizeof w.slots[0].does, "ok");
        client_done(SMTP_CLIENT_END_DONE, 0, "", 0, reusable, false, false, false);
    } else if (strcmp(does, "ok") == 0) {
        for (size_t i = 0; i < count; i++) {
            client_result(i, SMTP_RCPT_DELIVERED, 250, "250 2.1.5 ok");
            drain();
        }
        client_done(SMTP_CLIENT_END_DONE, 0, "", 0, true, false, false, false);
    } else if (strcmp(does, "greet4") == 0) {
        client_done(SMTP_CLIENT_END_REFUSED_4XX, 421, "421 4.4.2 busy", count, false, false, true, false);
    } else if (strcmp(does, "greet5") == 0) {
        client_done(SMTP_CLIENT_END_REFUSED_5XX, 554, "554 5.4.2 no service", count, false, false, true, false);
    } else if (strcmp(does, "lost") == 0) {
        client_done(SMTP_CLIENT_END_LOST, 0, "the connection was lost", count, false, false, true, false);
    } else if (strcmp(does, "lost-body") == 0) {
        client_done(SMTP_CLIENT_END_LOST, 0, "the connection was lost", count, false, false, false, false);
    } else if (strcmp(does, "uncertain") == 0) {
        client_done(SMTP_CLIENT_END_LOST, 0, "the connection was lost", count, false, true, false, false);
    } else if (strcmp(does, "eager421") == 0) {
        client_done(SMTP_CLIENT_END_REFUSED_4XX, 421, "421 4.4.2 busy", count, false, false, false, false);
    } else if (strcmp(does, "garbage") == 0) {
        client_done(SMTP_CLIENT_END_GARBAGE, 0, "nonsense", count, false, false, true, false);
    } else if (strcmp(does, "timeout") == 0) {
        client_done(SMTP_CLIENT_END_TIMEOUT, 0, "timed out", count, false, false, true, false);
    } else if (strcmp(does, "down") == 0) {
        client_done(SMTP_CLIENT_END_SHUT_DOWN, 421, "421 4.4.2 down", count, false, false, true, false);
    } else if (strcmp(does, "tls") == 0) {
        client_done(SMTP_CLIENT_END_TLS_FAILED, 0, "handshake failed", count, false, false, true, false);
    } else if (strcmp(does, "no-tls") == 0) {
        client_done(SMTP_CLIENT_END_TLS_UNAVAILABLE, 0, "no TLS", count, false, false, true, false);
    } else if (strcmp(does, "stale") == 0) {
        client_done(SMTP_CLIENT_END_LOST, 0, "was dead", count, false, false, true, true);
    } else if (strcmp(does, "body") == 0) {
        client_done(SMTP_CLIENT_END_BODY_GONE, 0, "no body", count, false, false, true, false);
    } else if (strcmp(does, "part") == 0) { /* one decided, then lost */
        client_result(0, SMTP_RCPT_FAILED, 550, "550 5.1.5 no");
        drain();
        client_done(SMTP_CLIENT_END_LOST, 0, "the connection was lost", count - 1, false, false, true, false);
    } else {
        fail_msg("unknown word %s", does);
    }
}

static const char *const outcomes[] = {"delivered", "deferred", "failed", "again"};
static const char *const verdicts[] = {"ok", "connect-failed", "greeting-4xx", "dns-failed", "worker-lost"};

static void event_do(const struct courier_event *e)
{
    switch (e->kind) {
    case COURIER_ASK:
        say("ask %.*s %s", BYTES_ARG(e->ask.name),
            e->ask.type == DNS_TYPE_MX  ? "MX"
            : e->ask.type == DNS_TYPE_A ? "A"
                                        : "AAAA");
        lookup(e->ask.name, e->ask.type);
        courier_answer(&w.courier, w.now, e->ask.number, &answer);
        break;
    case COURIER_DROP_ASKS:
        say("drop-asks");
        break;
    case COURIER_DIAL: {
        unsigned slot = e->dial.slot;
        const struct courier_peer *p = &e->dial.peer;
        const char *address = p->address.family == 0 ? (const char *)p->unix_path.data : address_text(&p->address);
        assert_true(slot < COURIER_DIAL_COUNT && !w.slots[slot].pending);
        host_word(address, w.slots[slot].does, sizeof w.slots[slot].does);
        say("dial @%lld %s:%u %.*s%s%s", (long long)w.now.ms, address, p->port, BYTES_ARG(p->host),
            p->lmtp ? " lmtp" : "", p->tls == SMTP_CLIENT_TLS_NONE ? "" : " tls");
        w.slots[slot].pending = true;
        w.slots[slot].at = strcmp(w.slots[slot].does, "hang") == 0 ? INSTANT_NEVER
                           : strncmp(w.slots[slot].does, "slow=", 5) == 0
                               ? instant_after(w.now, atoi(w.slots[slot].does + 5))
                               : w.now;
        break;
    }
    case COURIER_DROP_DIAL:
        say("drop-dial @%lld", (long long)w.now.ms);
        w.slots[e->slot].pending = false;
        break;
    case COURIER_USE_SESSION:
        session_run(e);
        break;
    case COURIER_RESULT:
        assert_true(e->result.index < w.job.rcpt_count);
        assert_int_equal(++w.result_counts[e->result.index], 1);
        assert_true(e->result.outcome != SMTP_RCPT_AGAIN && e->result.reply.status.class != 0);
        say("result %zu %s %u.%u.%u %.*s [%.*s]%s", e->result.index, outcomes[e->result.outcome],
            e->result.reply.status.class, e->result.reply.status.subject, e->result.reply.status.detail,
            BYTES_ARG(e->result.reply.text), BYTES_ARG(e->result.host), e->result.dsn_passed ? " dsn" : "");
        break;
    case COURIER_FINISHED:
        say("finished @%lld %s%s", (long long)w.now.ms, verdicts[e->finished.verdict],
            e->finished.uncertain ? " uncertain" : "");
        w.finished = true;
        break;
    }
}

static void drain(void)
{
    struct courier_event e;

    while (courier_next(&w.courier, &e)) {
        assert_false(w.finished);
        event_do(&e);
    }
}

/* Lets the next thing happen: a dial ends, or time goes by. */
static void happen(void)
{
    struct instant next = courier_deadline(&w.courier);
    unsigned who = COURIER_DIAL_COUNT;

    for (unsigned slot = 0; slot < COURIER_DIAL_COUNT; slot++)
        if (w.slots[slot].pending && w.slots[slot].at.ms <= next.ms) {
            next = w.slots[slot].at;
            who = slot;
        }
    assert_true(next.ms != INT64_MAX);
    w.now = next;
    if (who == COURIER_DIAL_COUNT) {
        courier_tick(&w.courier, w.now);
        return;
    }
    w.slots[who].pending = false;
    if (strcmp(w.slots[who].does, "refused") == 0)
        courier_dial_failed(&w.courier, w.now, who, false, "connection refused");
    else if (strcmp(w.slots[who].does, "noroute") == 0)
        courier_dial_failed(&w.courier, w.now, who, true, "network is unreachable");
    else
        courier_dialed(&w.courier, w.now, who);
}

/* --- cases --- */

static const char *word_value(const char *word, const char *name)
{
    size_t size = strlen(name);
    return strncmp(word, name, size) == 0 && word[size] == '=' ? word + size + 1 : NULL;
}

static void job_run(char *words)
{
    static const struct bytes chunk = BYTES_INIT("x");
    char *save, *kept = NULL;
    const char *value;

    w.head = (struct envelope_head){.id = {1}, .reverse_path = BYTES("a@one.example"), .body_size = 100};
    w.cfg = (struct courier_config){
        .self = &w.self, .ipv4 = true, .ipv6 = true, .dial_ms = 30000, .overlap_ms = COURIER_OVERLAP_DEFAULT_MS};
    w.job = (struct courier_job){.mx_port = 25, .head = &w.head, .rcpts = w.rcpts, .rcpt_count = 1};
    w.job.lane = bytes_of(strtok_r(words, " ", &save));
    for (char *word = strtok_r(NULL, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if ((value = word_value(word, "rcpts")))
            w.job.rcpt_count = (size_t)atoi(value);
        else if ((value = word_value(word, "tls")))
            w.cfg.tls = strcmp(value, "required") == 0 ? SMTP_CLIENT_TLS_REQUIRED : SMTP_CLIENT_TLS_OPPORTUNISTIC;
        else if ((value = word_value(word, "kept")))
            kept = word + 5;
        else if ((value = word_value(word, "only"))) {
            w.cfg.ipv4 = *value == '4';
            w.cfg.ipv6 = *value == '6';
        } else if ((value = word_value(word, "first"))) {
            w.cfg.ipv4_first = *value == '4';
        } else if ((value = word_value(word, "self"))) {
            w.self_name = bytes_of(value);
            w.self = (struct mx_self){.names = &w.self_name, .name_count = 1};
        } else
            fail_msg("unknown word %s", word);
    }
    for (size_t i = 0; i < w.job.rcpt_count; i++)
        w.rcpts[i] = (struct recipient){.n = (uint32_t)i, .forward_path = chunk};
    courier_init(&w.courier, &w.cfg, &w.job, w.now, 1);
    if (kept) {
        struct courier_peer peer = {.host = BYTES("kept.example"), .port = 25};
        if (strcmp(kept, "-") != 0)
            assert_true(is_ok(dns_address_parse(bytes_of(kept), &peer.address)));
        host_word(kept, w.slots[COURIER_SLOT_KEPT].does, sizeof w.slots[0].does);
        courier_offer_kept(&w.courier, w.now, &peer);
    }
    drain();
    for (int turns = 0; !w.finished; turns++) {
        assert_true(turns < 1000);
        happen();
        drain();
    }
    for (size_t i = 0; i < w.job.rcpt_count; i++)
        assert_int_equal(w.result_counts[i], 1); /* (K1) */
    for (unsigned slot = 0; slot < COURIER_DIAL_COUNT; slot++)
        assert_false(w.slots[slot].pending);
}

static bool case_end(const char *name, char *job, const char *expected, bool record)
{
    bool same;

    if (job == NULL)
        return true;
    char *words = strdup(job);
    job_run(words);
    free(words);
    same = strcmp(w.log, expected) == 0;
    if (record) {
        for (char *line = strtok(w.log, "\n"); line; line = strtok(NULL, "\n"))
            printf("E: %s\n", line);
        printf("\n");
    } else if (!same) {
        print_error("case \"%s\"\n--- expected\n%s--- got\n%s", name, expected, w.log);
    }
    return record || same;
}

static void test_transcripts(void **state)
{
    char *raw = NULL, *job = NULL, *name = NULL, *expected = calloc(1, TEXT_SIZE);
    const char *only = getenv("MANSIO_TRANSCRIPT_RECORD");
    size_t room = 0, cases = 0, failed = 0;
    bool record = only != NULL;
    FILE *f = fopen(TESTS_DIR "/transcripts/courier/all.txt", "r");

    (void)state;
    assert_non_null(f);
    for (;;) {
        bool more = getline(&raw, &room, f) > 0;
        if (more)
            raw[strcspn(raw, "\n")] = 0;
        if (!more || strncmp(raw, "=== ", 4) == 0) {
            failed += !case_end(name, job, expected, record);
            cases += job != NULL;
            for (size_t i = 0; i < w.zone_count; i++)
                free(w.zone[i]);
            for (size_t i = 0; i < w.host_count; i++)
                free(w.hosts[i]);
            memset(&w, 0, sizeof w);
            free(job);
            free(name);
            job = name = NULL;
            expected[0] = 0;
            if (!more)
                break;
            name = strdup(raw + 4);
        }
        if (record && raw[0] != 'E' && raw[0] != 0)
            printf("%s\n", raw);
        if (strncmp(raw, "Z: ", 3) == 0)
            w.zone[w.zone_count++] = strdup(raw + 3);
        else if (strncmp(raw, "H: ", 3) == 0)
            w.hosts[w.host_count++] = strdup(raw + 3);
        else if (strncmp(raw, "J: ", 3) == 0)
            job = strdup(raw + 3);
        else if (strncmp(raw, "E: ", 3) == 0)
            strcat(strcat(expected, raw + 3), "\n");
    }
    free(raw);
    free(expected);
    fclose(f);
    if (!record)
        print_message("%zu deliveries, %zu failed\n", cases, failed);
    assert_int_equal(failed, 0);
    assert_true(cases > 0);
}

/* Random zones and hosts: every recipient gets one result, the attempt ends, and never later than its bounds say. */
static void test_random_worlds(void **state)
{
    static const char *const words[] = {"ok", "refused", "hang", "noroute", "slow=1500+ok", "slow=5000+ok",
        "slow=5000+greet4", "greet4", "greet5", "lost", "lost-body", "uncertain", "garbage", "timeout", "down", "tls",
        "no-tls", "stale", "body", "part", "rcpt=2aa", "rcpt=2a5.421", "rcpt=aaa", "rcpt=254", "eager421"};
    static const char *const tls[] = {"", " tls=opportunistic", " tls=required"};
    char line[128], job[128];

    (void)state;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct rng rng = {seed};
        unsigned hosts = 1 + (unsigned)rng_below(&rng, 4);
        memset(&w, 0, sizeof w);
        for (unsigned h = 0; h < hosts; h++) {
            snprintf(line, sizeof line, "example.org MX %d h%u.example.org", (int)rng_below(&rng, 3) * 10, h);
            w.zone[w.zone_count++] = strdup(line);
            if (rng_below(&rng, 10) == 0) {
                snprintf(line, sizeof line, "h%u.example.org servfail", h);
                w.zone[w.zone_count++] = strdup(line);
            }
            for (unsigned a = (unsigned)rng_below(&rng, 4); a > 0; a--) {
                bool ipv6 = rng_below(&rng, 2);
                char address[64];
                if (ipv6)
                    snprintf(address, sizeof address, "2001:db8::%x%x", h + 1, a);
                else
                    snprintf(address, sizeof address, "192.0.2.%u%u", h + 1, a);
                snprintf(line, sizeof line, "h%u.example.org %s %s", h, ipv6 ? "AAAA" : "A", address);
                w.zone[w.zone_count++] = strdup(line);
                int size = snprintf(line, sizeof line, "%s ", address);
                for (unsigned n = 1 + (unsigned)rng_below(&rng, 3); n > 0; n--)
                    size += snprintf(line + size, sizeof line - (size_t)size, "%s%s",
                        words[rng_below(&rng, COUNT_OF(words))], n > 1 ? "," : "");
                w.hosts[w.host_count++] = strdup(line);
            }
        }
        snprintf(job, sizeof job, "mx:example.org rcpts=%d%s", 1 + (int)rng_below(&rng, 4), tls[rng_below(&rng, 3)]);
        job_run(job);
        /* Five addresses, each dialed again for TLS, stale sessions and put-off recipients at most. */
        assert_true(w.now.ms <= 30000 * 20);
        for (size_t i = 0; i < w.zone_count; i++)
            free(w.zone[i]);
        for (size_t i = 0; i < w.host_count; i++)
            free(w.hosts[i]);
    }
    memset(&w, 0, sizeof w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transcripts),
        cmocka_unit_test(test_random_worlds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
