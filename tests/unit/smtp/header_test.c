#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/header.h"

struct block_case {
    const char *in;
    const char *fields; /* name=value| for each */
    const char *rest;
};

static const struct block_case CASES[] = {
    {"A: b\r\n\r\nbody", "A= b|", "\r\nbody"},
    {"A: b\r\nC:d\r\n", "A= b|C=d|", ""},
    {"A: b", "A= b|", ""},
    {"A: b\r\n c\r\n\td\r\nE: f\r\n\r\n", "A= b\r\n c\r\n\td|E= f|", "\r\n"},
    {"A : b\r\n", "A= b|", ""},
    {"A \t: b\r\n", "A= b|", ""},
    {"A:\r\n", "A=|", ""},
    {"A:\r\n \r\n\r\n", "A=\r\n |", "\r\n"},
    {"", "", ""},
    {"\r\n", "", "\r\n"},
    {"text\r\n", "", "text\r\n"},
    {"two words: x\r\n", "", "two words: x\r\n"},
    {": x\r\n", "", ": x\r\n"},
    {" A: b\r\n", "", " A: b\r\n"},
    {"A: b\r\ntext\r\n\r\n", "A= b|", "text\r\n\r\n"},
    {"caf\xc3\xa9: b\r\n", "", "caf\xc3\xa9: b\r\n"},
    {"A: caf\xc3\xa9\r\n", "A= caf\xc3\xa9|", ""},
    {"A: b\nC: d\r\n\r\n", "A= b\nC: d|", "\r\n"},
    {"A: b\rC: d\r\n", "A= b\rC: d|", ""},
    {"X-1_2!#$%: y\r\n", "X-1_2!#$%= y|", ""},
    {"A: b: c\r\n", "A= b: c|", ""},
    {"A", "", "A"},
};

static void test_blocks(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        size_t size = strlen(CASES[i].in);
        uint8_t *exact = malloc(size + 1); /* the sanitizer guards its end */
        struct bytes rest = {exact, size};
        struct header_field field;
        char got[512] = "";

        memcpy(exact, CASES[i].in, size);
        exact = realloc(exact, size == 0 ? 1 : size);
        rest.data = exact;
        while (is_ok(header_next(&rest, &field)))
            snprintf(got + strlen(got), sizeof got - strlen(got), "%.*s=%.*s|", BYTES_ARG(field.name),
                BYTES_ARG(field.value));
        assert_string_equal(got, CASES[i].fields);
        assert_true(bytes_equal(rest, bytes_of(CASES[i].rest)));
        free(exact);
    }
}

static void test_kinds(void **state)
{
    (void)state;
    assert_int_equal(header_kind_of(BYTES("bCC")), HEADER_BCC);
    assert_int_equal(header_kind_of(BYTES("Resent-message-id")), HEADER_RESENT_MESSAGE_ID);
    assert_int_equal(header_kind_of(BYTES("Tox")), HEADER_OTHER);
    assert_int_equal(header_kind_of(BYTES("")), HEADER_OTHER);
    for (unsigned kind = 0; kind < HEADER_KIND_COUNT; kind++)
        assert_int_equal(header_kind_is_resent(kind), kind >= HEADER_RESENT_FROM);
    assert_true(header_kind_has_addresses(HEADER_CC));
    assert_false(header_kind_has_addresses(HEADER_DATE));
    assert_false(header_kind_has_addresses(HEADER_OTHER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_kinds)};

    return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
