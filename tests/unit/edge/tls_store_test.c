/* tls_store: which certificate a client gets, and tickets that two processes understand. Certificates are made here. */
#include "tests/unit/edge/tls_meeting.h"

static struct pair ec_mail, rsa_mail, ec_other, ec_ended;

static int setup(void **state)
{
    (void)state;
    pair_make(&ec_mail, false, "DNS:mail.example.org", 90);
    pair_make(&rsa_mail, true, "DNS:mail.example.org", 60);
    pair_make(&ec_other, false, "DNS:mx.other.example,DNS:*.wild.example", 30);
    pair_make(&ec_ended, false, "DNS:ended.example", -1);
    return 0;
}

static void the_name_decides(void **state)
{
    const struct pair *const pairs[] = {&ec_mail, &ec_other};
    static const struct {
        const char *asked, *got;
    } rows[] = {
        {NULL, "mail.example.org"},
        {"mail.example.org", "mail.example.org"},
        {"MX.other.example", "mx.other.example,DNS:*.wild.example"},
        {"a.wild.example", "mx.other.example,DNS:*.wild.example"},
        {"a.b.wild.example", "mail.example.org"},
        {"unknown.example", "mail.example.org"},
    };
    struct tls_store *store = store_of(pairs, 2, 1, 0);
    struct meeting m;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        meet(store, rows[i].asked, NULL, TLS1_3_VERSION, NULL, &m);
        assert_string_equal(m.name, rows[i].got);
        SSL_SESSION_free(m.session);
    }
    tls_store_free(&store);
}

static void two_kinds_of_key_side_by_side(void **state)
{
    const struct pair *const pairs[] = {&ec_mail, &rsa_mail, &ec_other};
    struct tls_store *store = store_of(pairs, 3, 1, 0);
    struct meeting m;

    (void)state;
    assert_int_equal(tls_store_pair_count(store), 3);
    meet(store, NULL, "ECDSA+SHA256", TLS1_3_VERSION, NULL, &m);
    assert_int_equal(m.key_kind, EVP_PKEY_EC);
    SSL_SESSION_free(m.session);
    meet(store, NULL, "RSA-PSS+SHA256", TLS1_3_VERSION, NULL, &m);
    assert_int_equal(m.key_kind, EVP_PKEY_RSA);
    assert_string_equal(m.name, "mail.example.org");
    SSL_SESSION_free(m.session);
    tls_store_free(&store);
}

static void tickets_of_one_process_are_good_in_another(void **state)
{
    const struct pair *const pairs[] = {&ec_mail};
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (size_t v = 0; v < COUNT_OF(versions); v++) {
        struct tls_store *one = store_of(pairs, 1, 7, 0), *two = store_of(pairs, 1, 7, 0);
        struct tls_store *rotated = store_of(pairs, 1, 8, 7), *later = store_of(pairs, 1, 9, 8);
        struct meeting first, second;

        meet(one, NULL, NULL, versions[v], NULL, &first);
        assert_false(first.resumed);
        meet(two, NULL, NULL, versions[v], first.session, &second);
        assert_true(second.resumed);
        SSL_SESSION_free(second.session);
        meet(rotated, NULL, NULL, versions[v], first.session, &second);
        assert_true(second.resumed);
        SSL_SESSION_free(second.session);
        meet(later, NULL, NULL, versions[v], first.session, &second);
        assert_false(second.resumed);
        SSL_SESSION_free(second.session);
        SSL_SESSION_free(first.session);
        tls_store_free(&one);
        tls_store_free(&two);
        tls_store_free(&rotated);
        tls_store_free(&later);
    }
}

static void bad_packs(void **state)
{
    struct pair mixed = ec_mail;
    const struct pair *const wrong[] = {&ec_other, &mixed}, *const ended[] = {&ec_mail, &ec_ended};
    struct tls_store *store;
    struct bytes whole;

    (void)state;
    memcpy(mixed.key, ec_other.key, sizeof mixed.key);
    assert_int_equal(tls_store_new(pack(wrong, 2, 1, 0), &store).code, CODE_SYNTAX);
    assert_null(store);
    assert_int_equal(tls_store_new(pack(wrong, 0, 1, 0), &store).code, CODE_SYNTAX);
    whole = pack(ended, 2, 1, 0);
    for (size_t cut = 0; cut < whole.size; cut += cut < 128 ? 1 : 97)
        assert_false(is_ok(tls_store_new(bytes_head(whole, cut), &store)));
    assert_true(is_ok(tls_store_new(whole, &store)));
    assert_true(tls_store_expires(store) < time(NULL));
    tls_store_free(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_decides),
        cmocka_unit_test(two_kinds_of_key_side_by_side),
        cmocka_unit_test(tickets_of_one_process_are_good_in_another),
        cmocka_unit_test(bad_packs),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
