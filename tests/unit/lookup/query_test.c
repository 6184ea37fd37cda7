/* Queries: values are bound or escaped, never pasted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/lookup/query.h"

static void sql_gets_place_holders(void **state)
{
    static const struct {
        const char *query, *key, *sql;
        const char *values[3];
    } cases[] = {
        {"SELECT 1 FROM m WHERE a = %a", "x@y.test", "SELECT 1 FROM m WHERE a = $1", {"x@y.test"}},
        {"u = %u AND d = %d", "a@b@c.test", "u = $1 AND d = $2", {"a@b", "c.test"}},
        {"d = %d", "c.test", "d = $1", {"c.test"}},
        {"u = %u", "login", "u = $1", {"login"}},
        {"a LIKE '%%' || %a", "'; DROP TABLE m; --@y.test", "a LIKE '%' || $1", {"'; DROP TABLE m; --@y.test"}},
        {"%a%a", "k", "$1$2", {"k", "k"}},
        {"a = %d", "@c.test", "a = $1", {"c.test"}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t room[200];
        struct buf sql = BUF(room);
        struct query_values values;

        assert_true(is_ok(query_sql(bytes_of(cases[i].query), bytes_of(cases[i].key), '$', &sql, &values)));
        assert_true(bytes_equal(buf_bytes(&sql), bytes_of(cases[i].sql)));
        for (unsigned k = 0; k < values.count; k++)
            assert_true(bytes_equal(values.items[k], bytes_of(cases[i].values[k])));
    }
}

static void bounds_are_told(void **state)
{
    uint8_t room[64], small[4];
    struct buf sql = BUF(room), little = BUF(small);
    struct query_values values;

    (void)state;
    assert_int_equal(CODE_GONE, query_sql(BYTES("%u"), BYTES("@c.test"), '?', &sql, &values).code);
    buf_reset(&sql);
    assert_int_equal(
        CODE_FULL, query_sql(BYTES("%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a"), BYTES("k"), '?', &sql, &values).code);
    assert_int_equal(CODE_FULL, query_sql(BYTES("SELECT"), BYTES("k"), '?', &little, &values).code);
    buf_reset(&little);
    assert_int_equal(CODE_FULL, query_ldap(BYTES("%a"), BYTES("****"), &little).code);
}

static void filters_are_escaped(void **state)
{
    static const struct {
        const char *query, *key, *filter;
    } cases[] = {
        {"(mail=%a)", "x@y.test", "(mail=x@y.test)"},
        {"(&(uid=%u)(o=%d))", "x@y.test", "(&(uid=x)(o=y.test))"},
        {"(mail=%a)", "*)(uid=*\\@y.test", "(mail=\\2a\\29\\28uid=\\2a\\5c@y.test)"},
        {"(cn=%a)", "caf\xc3\xa9", "(cn=caf\\c3\\a9)"},
        {"(a=100%%)", "x", "(a=100%)"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t room[200];
        struct buf filter = BUF(room);

        assert_true(is_ok(query_ldap(bytes_of(cases[i].query), bytes_of(cases[i].key), &filter)));
        assert_true(bytes_equal(buf_bytes(&filter), bytes_of(cases[i].filter)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sql_gets_place_holders),
        cmocka_unit_test(bounds_are_told),
        cmocka_unit_test(filters_are_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
