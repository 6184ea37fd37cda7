/* The cache: time to live, bounds, and what goes when room is wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "dns/cache.h"

static struct dns_cache cache;
static struct dns_answer in, out;
static void *room;

static void begin(struct dns_cache_config cfg)
{
    mem_free(room);
    room = mem_take(dns_cache_room_size(cfg.entries) + 1);
    assert_non_null(room);
    dns_cache_init(&cache, &cfg, room, dns_cache_room_size(cfg.entries));
}

static int teardown(void **state)
{
    (void)state;
    mem_free(room);
    room = NULL;
    return 0;
}

static struct instant at(int64_t seconds)
{
    return (struct instant){seconds * 1000};
}

static void address_answer(uint32_t ttl, uint8_t last)
{
    dns_answer_fail(&in, DNS_TYPE_A, DNS_OK);
    in.ttl = ttl;
    in.count = 1;
    in.address[0] = (struct dns_address){.family = 4, .octets = {192, 0, 2, last}};
}

static void test_time(void **state)
{
    (void)state;
    begin((struct dns_cache_config){.entries = 4, .ttl_max = 1000, .negative_ttl_max = 50});
    address_answer(100, 1);
    dns_cache_put(&cache, at(0), BYTES("H.example"), DNS_TYPE_A, &in);
    assert_true(dns_cache_get(&cache, at(0), BYTES("h.EXAMPLE."), DNS_TYPE_A, &out));
    assert_int_equal(out.ttl, 100);
    assert_true(dns_cache_get(&cache, at(99), BYTES("h.example"), DNS_TYPE_A, &out));
    assert_int_equal(out.ttl, 1);
    assert_int_equal(out.address[0].octets[3], 1);
    assert_false(dns_cache_get(&cache, at(50), BYTES("h.example"), DNS_TYPE_AAAA, &out));
    assert_false(dns_cache_get(&cache, at(50), BYTES("g.example"), DNS_TYPE_A, &out));
    assert_int_equal(dns_cache_count(&cache), 1);
    assert_false(dns_cache_get(&cache, at(100), BYTES("h.example"), DNS_TYPE_A, &out));
    assert_int_equal(dns_cache_count(&cache), 0);

    address_answer(5000, 1);
    dns_cache_put(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &in);
    assert_false(dns_cache_get(&cache, at(1000), BYTES("h.example"), DNS_TYPE_A, &out));
    dns_answer_fail(&in, DNS_TYPE_A, DNS_NXDOMAIN);
    in.ttl = 5000;
    dns_cache_put(&cache, at(0), BYTES("n.example"), DNS_TYPE_A, &in);
    assert_true(dns_cache_get(&cache, at(49), BYTES("n.example"), DNS_TYPE_A, &out));
    assert_int_equal(out.status, DNS_NXDOMAIN);
    assert_false(dns_cache_get(&cache, at(50), BYTES("n.example"), DNS_TYPE_A, &out));
}

static void test_what_is_kept(void **state)
{
    (void)state;
    begin((struct dns_cache_config){.entries = 16});
    for (int status = 0; status < DNS_STATUS_COUNT; status++) {
        dns_answer_fail(&in, DNS_TYPE_A, (enum dns_status)status);
        in.ttl = 100;
        dns_cache_put(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &in);
        bool kept = status == DNS_OK || status == DNS_NODATA || status == DNS_NXDOMAIN;
        assert_int_equal(dns_cache_get(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &out), kept);
        dns_cache_reset(&cache);
    }
    address_answer(100, 1);
    dns_cache_put(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &in);
    address_answer(100, 2);
    dns_cache_put(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &in);
    assert_int_equal(dns_cache_count(&cache), 1);
    assert_true(dns_cache_get(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &out));
    assert_int_equal(out.address[0].octets[3], 2);
    address_answer(0, 3); /* do not keep this: and what we had is wrong now */
    dns_cache_put(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &in);
    assert_false(dns_cache_get(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &out));

    begin((struct dns_cache_config){.entries = 0});
    address_answer(100, 1);
    dns_cache_put(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &in);
    assert_false(dns_cache_get(&cache, at(0), BYTES("h.example"), DNS_TYPE_A, &out));
}

static void test_every_type(void **state)
{
    (void)state;
    begin((struct dns_cache_config){.entries = 8});
    dns_answer_fail(&in, DNS_TYPE_MX, DNS_OK); /* the largest there can be */
    in.ttl = 9;
    in.authentic = in.edns = true;
    in.unusable = 3;
    memset(in.canonical.text, 'c', 63);
    in.canonical.size = 63;
    for (in.count = 0; in.count < DNS_MX_COUNT_MAX; in.count++) {
        struct dns_mx *mx = &in.mx[in.count];
        mx->preference = (uint16_t)(in.count * 7);
        mx->host.size = DNS_NAME_SIZE_MAX;
        memset(mx->host.text, 'a', DNS_NAME_SIZE_MAX);
        mx->host.text[63] = mx->host.text[127] = mx->host.text[191] = '.';
    }
    in.mx[0].host.size = 0;
    dns_cache_put(&cache, at(0), BYTES("d.example"), DNS_TYPE_MX, &in);
    assert_true(dns_cache_get(&cache, at(0), BYTES("d.example"), DNS_TYPE_MX, &out));
    assert_int_equal(out.count, DNS_MX_COUNT_MAX);
    assert_true(out.authentic && out.edns);
    assert_int_equal(out.unusable, 3);
    assert_int_equal(out.canonical.size, 63);
    assert_int_equal(out.mx[0].host.size, 0);
    assert_int_equal(out.mx[49].preference, 343);
    assert_memory_equal(&out.mx[49], &in.mx[49], sizeof in.mx[49]);

    dns_answer_fail(&in, DNS_TYPE_TLSA, DNS_OK);
    in.ttl = 9;
    in.count = 2;
    in.tlsa[0] = (struct dns_tlsa){3, 1, 1, 0, 4};
    in.tlsa[1] = (struct dns_tlsa){2, 0, 2, 4, 6};
    memcpy(in.tlsa_data, "onetwothree", 10);
    dns_cache_put(&cache, at(0), BYTES("_25._tcp.d.example"), DNS_TYPE_TLSA, &in);
    assert_true(dns_cache_get(&cache, at(0), BYTES("_25._tcp.d.example"), DNS_TYPE_TLSA, &out));
    assert_int_equal(out.tlsa[1].usage, 2);
    assert_true(bytes_equal(dns_tlsa_data(&out, 1), BYTES("wothre")));

    dns_answer_fail(&in, DNS_TYPE_AAAA, DNS_OK);
    in.ttl = 9;
    in.count = DNS_ADDRESS_COUNT_MAX;
    for (uint8_t i = 0; i < DNS_ADDRESS_COUNT_MAX; i++)
        in.address[i] = (struct dns_address){.family = 6, .octets = {0x20, 1, [15] = i}};
    dns_cache_put(&cache, at(0), BYTES("d.example"), DNS_TYPE_AAAA, &in);
    assert_true(dns_cache_get(&cache, at(0), BYTES("d.example"), DNS_TYPE_AAAA, &out));
    assert_memory_equal(out.address, in.address, sizeof in.address);

    dns_answer_fail(&in, DNS_TYPE_PTR, DNS_OK);
    in.ttl = 9;
    in.count = 1;
    assert_true(is_ok(dns_name_set(&in.ptr[0], BYTES("h.example"))));
    dns_cache_put(&cache, at(0), BYTES("1.2.0.192.in-addr.arpa"), DNS_TYPE_PTR, &in);
    assert_true(dns_cache_get(&cache, at(0), BYTES("1.2.0.192.in-addr.arpa"), DNS_TYPE_PTR, &out));
    assert_true(dns_name_equal(dns_name_bytes(&out.ptr[0]), BYTES("h.example")));
    assert_int_equal(dns_cache_count(&cache), 4);
}

static void test_oldest_goes(void **state)
{
    (void)state;
    char name[32];

    begin((struct dns_cache_config){.entries = 3});
    for (uint8_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "h%u.example", i);
        address_answer(100, i);
        dns_cache_put(&cache, at(i), bytes_of(name), DNS_TYPE_A, &in);
    }
    assert_true(dns_cache_get(&cache, at(3), BYTES("h0.example"), DNS_TYPE_A, &out)); /* h1 is the oldest by use */
    address_answer(100, 9);
    dns_cache_put(&cache, at(4), BYTES("new.example"), DNS_TYPE_A, &in);
    assert_int_equal(dns_cache_count(&cache), 3);
    assert_false(dns_cache_get(&cache, at(5), BYTES("h1.example"), DNS_TYPE_A, &out));
    assert_true(dns_cache_get(&cache, at(5), BYTES("h0.example"), DNS_TYPE_A, &out));
    assert_true(dns_cache_get(&cache, at(5), BYTES("h2.example"), DNS_TYPE_A, &out));
    assert_true(dns_cache_get(&cache, at(5), BYTES("new.example"), DNS_TYPE_A, &out));
}

/* Random traffic with answers of every size: cells never run out, never leak, and what comes out is what went in. */
static void test_churn(void **state)
{
    (void)state;
    struct rng rng = {7};
    char name[32];
    unsigned hits = 0;

    begin((struct dns_cache_config){.entries = 50, .seed = 99});
    for (int turn = 0; turn < 20000; turn++) {
        unsigned key = (unsigned)rng_below(&rng, 120);
        snprintf(name, sizeof name, "h%u.example", key);
        if (dns_cache_get(&cache, at(turn / 100), bytes_of(name), DNS_TYPE_MX, &out)) {
            hits++;
            assert_int_equal(out.count, key % (DNS_MX_COUNT_MAX + 1));
            for (unsigned i = 0; i < out.count; i++)
                assert_int_equal(out.mx[i].preference, key + i);
            continue;
        }
        dns_answer_fail(&in, DNS_TYPE_MX, DNS_OK);
        in.ttl = (uint32_t)rng_below(&rng, 20);
        for (in.count = 0; in.count < key % (DNS_MX_COUNT_MAX + 1); in.count++) {
            in.mx[in.count].preference = (uint16_t)(key + in.count);
            assert_true(is_ok(dns_name_set(&in.mx[in.count].host, bytes_of(name))));
        }
        dns_cache_put(&cache, at(turn / 100), bytes_of(name), DNS_TYPE_MX, &in);
        assert_true(dns_cache_count(&cache) <= 50);
    }
    assert_true(hits > 1000);
    uint32_t cells = cache.cell_count;
    while (dns_cache_count(&cache) > 0) {
        snprintf(name, sizeof name, "h%u.example", (unsigned)rng_below(&rng, 120));
        assert_false(dns_cache_get(&cache, at(100000), bytes_of(name), DNS_TYPE_MX, &out));
    }
    assert_int_equal(cache.cells_left, cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_oldest_goes),
        cmocka_unit_test(test_churn),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
