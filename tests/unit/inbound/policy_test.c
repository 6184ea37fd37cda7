/* policy: who may send where, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/inbound/policy.h"

static const char CONFIG[] =
    "hostname = \"mail.example.org\"\n"
    "relay_from = { \"127.0.0.0/8\", \"192.0.2.0/24\", \"2001:db8:1::/48\" }\n"
    "domain \"example.org\" { deliver = \"maildir\" maildir = \"/var/mail/%d/%u\" }\n"
    "domain \"listed.example\" { deliver = \"maildir\" maildir = \"/m/%u\" users = { \"alice\", \"Bob\" } }\n"
    "domain \"relayed.example\" { deliver = \"relay:[192.0.2.9]:25\" }\n"
    "domain \"closed.example\" { deliver = \"error:5.2.1 gone away\" }\n"
    "route \"gone@example.org\" { via = \"error:5.1.6 he has moved\" }\n"
    "route \"postmaster@listed.example\" { via = \"error:5.1.1 nobody\" }\n"
    "route \"spam@elsewhere.example\" { via = \"error:5.7.1 not there\" }\n"
    "route \"from:@example.org\" { via = \"error:5.7.1 it may not write\" }\n"
    "route \"dead.example\" { via = \"error:5.1.2 no mail there\" }\n";

static struct config *cfg;

static int setup(void **state)
{
    struct config_error error;

    (void)state;
    if (is_ok(config_read_text("test", bytes_of(CONFIG), &cfg, &error)))
        return 0;
    print_error("%s\n", error.text);
    return -1;
}

static int teardown(void **state)
{
    (void)state;
    config_free(&cfg);
    return 0;
}

static void judges(void **state)
{
    static const struct {
        const char *name, *path;
        bool may_relay;
        uint16_t code; /* 0: accepted */
        uint16_t status[3];
        const char *forward; /* accepted */
    } cases[] = {
        {"local domain, any user", "<any@example.org>", false, 0, {0}, "any@example.org"},
        {"relay domain", "<x@relayed.example>", false, 0, {0}, "x@relayed.example"},
        {"stranger elsewhere", "<x@elsewhere.example>", false, 550, {5, 7, 1}, NULL},
        {"stranger to a literal", "<x@[192.0.2.3]>", false, 550, {5, 7, 1}, NULL},
        {"friend elsewhere", "<x@elsewhere.example>", true, 0, {0}, "x@elsewhere.example"},
        {"subdomain is not ours", "<x@sub.example.org>", false, 550, {5, 7, 1}, NULL},
        {"percent hack is only a name", "<x%elsewhere.example@example.org>", false, 0, {0},
            "x%elsewhere.example@example.org"},
        {"listed user", "<alice@listed.example>", false, 0, {0}, "alice@listed.example"},
        {"listed user in capitals", "<ALICE@listed.example>", false, 0, {0}, "ALICE@listed.example"},
        {"listed user quoted", "<\"bob\"@listed.example>", false, 0, {0}, "bob@listed.example"},
        {"unknown user", "<carol@listed.example>", false, 550, {5, 1, 1}, NULL},
        {"unknown user from a friend", "<carol@listed.example>", true, 550, {5, 1, 1}, NULL},
        {"postmaster where users are listed", "<PostMaster@listed.example>", false, 0, {0},
            "PostMaster@listed.example"},
        {"bare postmaster", "<postmaster>", false, 0, {0}, "postmaster@example.org"},
        {"address that a route refuses", "<gone@example.org>", false, 550, {5, 1, 6}, NULL},
        {"the same in capitals", "<Gone@Example.ORG>", false, 550, {5, 1, 6}, NULL},
        {"address elsewhere that a route refuses", "<spam@elsewhere.example>", true, 550, {5, 7, 1}, NULL},
        {"closed domain", "<x@closed.example>", false, 550, {5, 2, 1}, NULL},
        {"postmaster of a closed domain", "<postmaster@closed.example>", false, 0, {0}, "postmaster@closed.example"},
        {"route that refuses, friend", "<x@dead.example>", true, 550, {5, 1, 2}, NULL},
        {"route that refuses, stranger", "<x@dead.example>", false, 550, {5, 7, 1}, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t address_octets[ADDRESS_SIZE_MAX], octets[POLICY_ROOM_SIZE];
        struct buf address_room = BUF(address_octets), room = BUF(octets);
        struct policy_verdict verdict;
        struct address path;

        assert_true(is_ok(
            address_parse_path(bytes_of(cases[i].path), ADDRESS_UTF8 | ADDRESS_POSTMASTER, &address_room, &path)));
        policy_rcpt(cfg, cases[i].may_relay, &path, path.domain, &room, &verdict);
        if (verdict.accept != (cases[i].code == 0))
            fail_msg("%s: accept %d", cases[i].name, verdict.accept);
        if (verdict.accept) {
            if (!bytes_equal(verdict.forward_path, bytes_of(cases[i].forward)))
                fail_msg("%s: %.*s", cases[i].name, BYTES_ARG(verdict.forward_path));
            continue;
        }
        if (verdict.reply.code != cases[i].code || verdict.reply.status.class != cases[i].status[0] ||
            verdict.reply.status.subject != cases[i].status[1] || verdict.reply.status.detail != cases[i].status[2])
            fail_msg("%s: %u %u.%u.%u", cases[i].name, verdict.reply.code, verdict.reply.status.class,
                verdict.reply.status.subject, verdict.reply.status.detail);
        assert_non_null(verdict.why);
        assert_true(verdict.reply.text.size > 0);
    }
}

static void trusts_networks(void **state)
{
    static const uint8_t LOOP[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 5};
    static const uint8_t NEAR[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 200};
    static const uint8_t FAR[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 1};
    static const uint8_t NEAR6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 9};
    static const uint8_t FAR6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 2, 9};

    (void)state;
    assert_true(policy_may_relay(cfg, LOOP, false, false));
    assert_true(policy_may_relay(cfg, NEAR, false, false));
    assert_true(policy_may_relay(cfg, NEAR6, false, false));
    assert_false(policy_may_relay(cfg, FAR, false, false));
    assert_false(policy_may_relay(cfg, FAR6, false, false));
    assert_true(policy_may_relay(cfg, FAR, false, true));
    assert_true(policy_may_relay(cfg, FAR, true, false));
}

static void counts_by_network(void **state)
{
    static const uint8_t A[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
    static const uint8_t B[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 2};
    static const uint8_t C[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t D[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 8, 7, 6, 5, 4, 3, 2, 1};
    static const uint8_t E[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    assert_true(policy_client_key(A) != policy_client_key(B));
    assert_true(policy_client_key(C) == policy_client_key(D));
    assert_true(policy_client_key(C) != policy_client_key(E));
}

static bool may_send(const struct config *c, const char *login, const char *path)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf room = BUF(octets);
    struct address address = {0};

    if (path[0] != 0)
        assert_true(is_ok(address_parse_path(bytes_of(path), 0, &room, &address)));
    return policy_sender(c, bytes_of(login), &address, address.domain);
}

static void senders_have_owners(void **state)
{
    static const char *const rules[] = {"any", "own", "listed"};
    static const struct {
        const char *login, *path;
        bool allowed[3];
    } cases[] = {
        {"office", "<info@example.org>", {true, true, true}},
        {"office", "<INFO@Example.ORG>", {true, true, true}},
        {"office", "<\"info\"@example.org>", {true, true, true}},
        {"office", "<any@shop.example.org>", {true, true, true}},
        {"office", "<any@sub.shop.example.org>", {false, false, false}},
        {"office", "<office@example.org>", {false, false, false}},
        {"office", "", {true, true, true}},
        {"nobody", "", {true, true, true}},
        {"nobody", "<nobody@example.org>", {false, false, false}}, /* has a block, and nothing in it */
        {"Office", "<info@example.org>", {true, false, false}},
        {"alice", "<alice@example.org>", {true, true, false}},
        {"alice", "<alice@elsewhere.example>", {true, false, false}},
        {"alice", "<bob@example.org>", {true, false, false}},
        {"a@elsewhere.example", "<a@elsewhere.example>", {true, true, false}},
        {"a@elsewhere.example", "<a@example.org>", {true, false, false}},
    };
    struct config_error error;
    char text[512];

    (void)state;
    for (size_t rule = 0; rule < COUNT_OF(rules); rule++) {
        struct config *c;

        snprintf(text, sizeof text,
            "hostname = \"mail.example.org\"\ndomain \"example.org\" { deliver = discard }\nauth { senders = %s }\n"
            "login office { senders = { \"info@example.org\", \"@shop.example.org\" } }\nlogin nobody {}\n",
            rules[rule]);
        if (!is_ok(config_read_text("test", bytes_of(text), &c, &error)))
            fail_msg("%s", error.text);
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            if (may_send(c, cases[i].login, cases[i].path) != cases[i].allowed[rule])
                fail_msg("%s: %s %s", rules[rule], cases[i].login, cases[i].path);
        }
        config_free(&c);
    }
    assert_false(
        is_ok(config_read_text("test", BYTES("login a { senders = \"nobody\" }\n"), &(struct config *){NULL}, &error)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges),
        cmocka_unit_test(trusts_networks),
        cmocka_unit_test(counts_by_network),
        cmocka_unit_test(senders_have_owners),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
