/* doorman: clients over a real channel, with a DNS played by the test: names, lists, dead resolvers, time, departures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/edge/dns_edge.h"
#include "daemon/lookup/doorman.h"

static const uint8_t CLIENT[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 7};
static const char CONFIG[] = "hostname = mx.test\n"
                             "checks { time = \"80ms\" lists = { \"bl.test 4\", \"one.test=127.0.0.3 2\" } }\n";

/* --- the DNS --- */

struct dns_edge {
    dns_edge_on_answer *on_answer;
    void *owner;
};

static struct dns_edge dns;
static struct {
    char name[128];
    enum dns_type type;
    uint64_t user;
} asks[16];
static size_t ask_count;
static unsigned dns_made;
static bool dns_full;

RESULT dns_edge_new(struct loop *loop, const struct resolver_config *cfg, dns_edge_on_answer *on_answer, void *owner,
    struct dns_edge **dns_out)
{
    (void)loop;
    (void)cfg;
    dns_made++;
    dns = (struct dns_edge){on_answer, owner};
    *dns_out = &dns;
    return OK;
}

void dns_edge_free(struct dns_edge **edge)
{
    *edge = NULL;
}

RESULT dns_edge_ask(
    struct dns_edge *edge, struct bytes name, enum dns_type type, uint64_t user, struct resolver_token *token_out)
{
    (void)edge;
    (void)token_out;
    if (dns_full)
        return FAIL(CODE_FULL, "too many");
    assert_true(ask_count < COUNT_OF(asks));
    snprintf(asks[ask_count].name, sizeof asks[0].name, "%.*s", BYTES_ARG(name));
    asks[ask_count].type = type;
    asks[ask_count++].user = user;
    return OK;
}

/* --- the client's side --- */

static struct loop *loop;
static struct config *cfg;
static struct doorman *doorman;
static struct channel *inbound, *ours;
static struct {
    unsigned count;
    uint64_t session;
    char name[64];
    bool nameless;
    uint32_t listed;
} answer;

static void on_question(void *ctx, const struct msg *m)
{
    (void)ctx;
    doorman_ask(doorman, ours, &m->client_ask);
}

static void on_answered(void *ctx, const struct msg *m)
{
    (void)ctx;
    answer.count++;
    answer.session = m->client_answer.session;
    snprintf(answer.name, sizeof answer.name, "%.*s", BYTES_ARG(m->client_answer.name));
    answer.nameless = m->client_answer.nameless;
    answer.listed = m->client_answer.listed;
}

static void on_closed(void *ctx, enum channel_end why)
{
    (void)ctx;
    (void)why;
}

static const struct channel_handlers OUR_HANDLERS = {.on_message = on_question, .on_closed = on_closed};
static const struct channel_handlers INBOUND_HANDLERS = {.on_message = on_answered, .on_closed = on_closed};

static int setup(void **state)
{
    struct config_error error = {""};
    int fd[2];

    (void)state;
    if (!is_ok(config_read_text("test", bytes_of(CONFIG), &cfg, &error)))
        fail_msg("%s", error.text);
    loop = loop_new();
    assert_true(is_ok(channel_pair(fd)));
    ours = channel_new(loop, fd[0], ROLE_LOOKUP, ROLE_INBOUND, &OUR_HANDLERS, NULL);
    inbound = channel_new(loop, fd[1], ROLE_INBOUND, ROLE_LOOKUP, &INBOUND_HANDLERS, NULL);
    assert_true(is_ok(doorman_new(loop, cfg, &doorman)));
    ask_count = dns_made = 0;
    dns_full = false;
    memset(&answer, 0, sizeof answer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    doorman_free(&doorman);
    channel_free(&ours);
    channel_free(&inbound);
    loop_free(&loop);
    config_free(&cfg);
    return 0;
}

static void turns(void)
{
    for (int i = 0; i < 20; i++)
        loop_turn(loop, false);
}

static void ask(uint64_t session, size_t address_size)
{
    channel_send(inbound, &(struct msg){.kind = MSG_client_ask,
                              .client_ask = {.session = session, .address = {CLIENT, address_size}, .lists = true}});
    turns();
}

/* NULL: it fails. Otherwise a name for PTR, an address for A. */
static void dns_says(const char *name, const char *value)
{
    static struct dns_answer a;

    for (size_t i = 0; i < ask_count; i++) {
        if (strcmp(asks[i].name, name) != 0)
            continue;
        dns_answer_fail(&a, asks[i].type, DNS_SERVFAIL);
        if (value != NULL) {
            a.status = DNS_OK;
            a.count = 1;
            if (asks[i].type == DNS_TYPE_PTR) {
                a.ptr[0].size = (uint8_t)strlen(value);
                memcpy(a.ptr[0].text, value, strlen(value));
            } else {
                assert_true(is_ok(dns_address_parse(bytes_of(value), &a.address[0])));
            }
        }
        dns.on_answer(dns.owner, asks[i].user, (struct resolver_token){0}, &a);
        turns();
        return;
    }
    fail_msg("%s was not asked", name);
}

static void a_name_and_two_lists(void **state)
{
    (void)state;
    assert_int_equal(dns_made, 0); /* nobody was asked about yet */
    ask(11, 16);
    assert_int_equal(dns_made, 1);
    assert_int_equal(ask_count, 3);
    dns_says("7.2.0.192.bl.test", "127.0.0.2");
    dns_says("7.2.0.192.one.test", "127.0.0.2"); /* another answer than the one that counts */
    assert_int_equal(answer.count, 0);
    dns_says("7.2.0.192.in-addr.arpa", "client.test");
    dns_says("client.test", "192.0.2.7");
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.session, 11);
    assert_string_equal(answer.name, "client.test");
    assert_false(answer.nameless);
    assert_int_equal(answer.listed, 1);
    dns_says("7.2.0.192.bl.test", "127.0.0.2"); /* it comes again, for a visit that is over */
    assert_int_equal(answer.count, 1);
}

static void a_dead_dns_says_nothing(void **state)
{
    (void)state;
    ask(12, 16);
    while (answer.count == 0) /* checks.time */
        loop_turn(loop, true);
    assert_string_equal(answer.name, "");
    assert_false(answer.nameless);
    assert_int_equal(answer.listed, 0);
    answer.count = 0;
    dns_full = true; /* no question can be put at all: answered at once */
    ask(13, 16);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.session, 13);
    assert_false(answer.nameless);
    ask(14, 4); /* no address: nor can this */
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.session, 14);
}

static void a_channel_that_goes_takes_its_visits_along(void **state)
{
    (void)state;
    ask(15, 16);
    doorman_leave(doorman, ours);
    dns_says("7.2.0.192.bl.test", "127.0.0.2");
    dns_says("7.2.0.192.one.test", NULL);
    dns_says("7.2.0.192.in-addr.arpa", NULL);
    assert_int_equal(answer.count, 0);
    ask(16, 16); /* and one that is open when all ends */
    assert_int_equal(answer.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_and_two_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_dns_says_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_channel_that_goes_takes_its_visits_along, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
