/* srs: against what Mail::SRS 0.31 makes of the same keys on the same day (four characters of hash). */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "smtp/srs.h"

static const struct walltime NOW = {INT64_C(1795300000000)}; /* "JK" */
enum { DAY_MS = 86400000 };

static struct srs srs_of(const char *keys)
{
    struct srs s = {.domain = BYTES_INIT("ours.example"), .max_age_days = 21};
    unsigned line;

    assert_true(is_ok(srs_keys_read(bytes_of(keys), &s, &line)));
    return s;
}

static const struct {
    const char *sender, *first, *second; /* under each key */
} VECTORS[] = {
    {"alice@a.example", "SRS0=Mu0F=JK=a.example=alice@ours.example", "SRS0=NIZQ=JK=a.example=alice@ours.example"},
    {"Alice.B+tag@a.example", "SRS0=fw5X=JK=a.example=Alice.B+tag@ours.example",
        "SRS0=P5T4=JK=a.example=Alice.B+tag@ours.example"},
    {"x=y@b.example", "SRS0=5W3U=JK=b.example=x=y@ours.example", "SRS0=fca/=JK=b.example=x=y@ours.example"},
    {"SRS0=kaD6=JL=a.example=alice@fwd.example", "SRS1=O3UA=fwd.example==kaD6=JL=a.example=alice@ours.example",
        "SRS1=kWkW=fwd.example==kaD6=JL=a.example=alice@ours.example"},
    {"SRS0+kaD6=JL=a.example=alice@fwd.example", "SRS1=0rIa=fwd.example=+kaD6=JL=a.example=alice@ours.example",
        "SRS1=9SGY=fwd.example=+kaD6=JL=a.example=alice@ours.example"},
    {"SRS1=abcd=f1.example==kaD6=JL=a.example=alice@fwd.example",
        "SRS1=C7Py=f1.example==kaD6=JL=a.example=alice@ours.example",
        "SRS1=xvSp=f1.example==kaD6=JL=a.example=alice@ours.example"},
};

static struct result back(const struct srs *s, struct walltime now, const char *text, struct buf *out)
{
    struct bytes address = bytes_of(text);
    ptrdiff_t at = bytes_rindex(address, '@');

    buf_reset(out);
    return srs_reverse(s, now, at == BYTES_NOT_FOUND ? address : bytes_head(address, (size_t)at), out);
}

static void expect(const struct buf *out, const char *expected)
{
    if (!bytes_equal(buf_bytes(out), bytes_of(expected)))
        fail_msg("got %.*s, expected %s", BYTES_ARG(buf_bytes(out)), expected);
}

static void test_vectors(void **state)
{
    struct srs first = srs_of("tops3cr3t\n"), second = srs_of("# the older one\n\n old key \r\n");
    struct srs rotated = srs_of("tops3cr3t\nold key");
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf out = BUF(room);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(VECTORS); i++) {
        buf_reset(&out);
        assert_true(is_ok(srs_forward(&first, NOW, bytes_of(VECTORS[i].sender), &out)));
        expect(&out, VECTORS[i].first);
        buf_reset(&out);
        assert_true(is_ok(srs_forward(&second, NOW, bytes_of(VECTORS[i].sender), &out)));
        expect(&out, VECTORS[i].second);
        buf_reset(&out);
        assert_true(is_ok(srs_forward(&rotated, NOW, bytes_of(VECTORS[i].sender), &out)));
        expect(&out, VECTORS[i].first);
        /* a bounce finds back by any key that is still there */
        const char *home = i == 5 ? "SRS0=kaD6=JL=a.example=alice@f1.example" : VECTORS[i].sender;
        assert_true(is_ok(back(&rotated, NOW, VECTORS[i].first, &out)));
        expect(&out, home);
        assert_true(is_ok(back(&rotated, NOW, VECTORS[i].second, &out)));
        expect(&out, home);
        assert_int_equal(back(&first, NOW, VECTORS[i].second, &out).code, CODE_REFUSED);
    }
}

static void test_ages(void **state)
{
    static const struct {
        int days;
        enum code code;
    } cases[] = {{0, CODE_OK}, {1, CODE_OK}, {21, CODE_OK}, {22, CODE_TIMEOUT}, {-1, CODE_TIMEOUT},
        {1023, CODE_TIMEOUT}, {1024, CODE_OK} /* days are counted modulo 1024 */};
    struct srs s = srs_of("tops3cr3t");
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf out = BUF(room);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(
            back(&s, (struct walltime){NOW.ms + (int64_t)cases[i].days * DAY_MS}, VECTORS[0].first, &out).code,
            cases[i].code);
    /* only whoever forwarded first knows whether it is too old */
    assert_true(is_ok(back(&s, walltime_after(NOW, (int64_t)100 * DAY_MS), VECTORS[3].first, &out)));
}

static void test_forgeries(void **state)
{
    static const struct {
        const char *address;
        enum code code;
    } cases[] = {
        {"srs0=mu0f=jk=a.example=alice@ours.example", CODE_OK}, /* a host that writes everything small */
        {"SRS0+Mu0F=JK=a.example=alice@ours.example", CODE_OK},
        {"SRS0=Mu0G=JK=a.example=alice@ours.example", CODE_REFUSED},
        {"SRS0=Mu0F=JL=a.example=alice@ours.example", CODE_REFUSED},
        {"SRS0=Mu0F=JK=b.example=alice@ours.example", CODE_REFUSED},
        {"SRS0=Mu0F=JK=a.example=alicf@ours.example", CODE_REFUSED},
        {"SRS1=O3UA=fwd.exampl2==kaD6=JL=a.example=alice@ours.example", CODE_REFUSED},
        {"SRS1=O3UA=fwd.example==kaD6=JL=a.example=alicf@ours.example", CODE_REFUSED},
        {"SRS0=Mu0=JK=a.example=alice@ours.example", CODE_SYNTAX},
        {"SRS0==JK=a.example=alice@ours.example", CODE_SYNTAX},
        {"SRS0=Mu0F=JKL=a.example=alice@ours.example", CODE_SYNTAX},
        {"SRS0=Mu0F=1K=a.example=alice@ours.example", CODE_SYNTAX},
        {"SRS0=Mu0F=JK=a.example=@ours.example", CODE_REFUSED},
        {"SRS0=Mu0F=JK=a.example@ours.example", CODE_SYNTAX},
        {"SRS0=@ours.example", CODE_SYNTAX},
        {"SRS0@ours.example", CODE_SYNTAX},
        {"SRS0:Mu0F=JK=a.example=alice@ours.example", CODE_SYNTAX},
        {"SRS2=Mu0F=JK=a.example=alice@ours.example", CODE_SYNTAX},
        {"SRS1=O3UA=fwd.example=kaD6=JL=a.example=alice@ours.example", CODE_SYNTAX},
        {"SRS1=O3UA=fwd.example@ours.example", CODE_SYNTAX},
        {"alice@ours.example", CODE_SYNTAX},
    };
    struct srs s = srs_of("tops3cr3t");
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf out = BUF(room);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (back(&s, NOW, cases[i].address, &out).code != cases[i].code)
            fail_msg("%s", cases[i].address);
}

static void test_odd_senders(void **state)
{
    struct srs s = srs_of("k");
    uint8_t room[ADDRESS_SIZE_MAX], again_room[ADDRESS_SIZE_MAX], long_room[ADDRESS_SIZE_MAX];
    struct buf out = BUF(room), again = BUF(again_room), text = BUF(long_room);
    static const char *const senders[] = {"\"\"@x.example", "\"a b\"@x.example", "\"a\\\"@\\\\b\"@x.example",
        "a@[192.0.2.1]", "SRS0=not=this@x.example", "SRS1=odd@x.example", "SRS1=a=b=c@x.example",
        "j\xc3\xb6rg@x.example"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(senders); i++) {
        buf_reset(&out);
        assert_true(is_ok(srs_forward(&s, NOW, bytes_of(senders[i]), &out)));
        struct bytes made = buf_bytes(&out);
        ptrdiff_t at = bytes_rindex(made, '@');
        assert_true(bytes_equal(bytes_after(made, (size_t)at + 1), s.domain));
        buf_reset(&again);
        assert_true(is_ok(srs_reverse(&s, NOW, bytes_head(made, (size_t)at), &again)));
        expect(&again, senders[i]);
    }
    for (size_t i = 0; i < LOCAL_PART_SIZE_MAX - 4; i++)
        assert_true(is_ok(buf_put_octet(&text, 'a')));
    assert_true(is_ok(buf_put_str(&text, "@x.example")));
    buf_reset(&out);
    assert_int_equal(srs_forward(&s, NOW, buf_bytes(&text), &out).code, CODE_FULL);
}

static void test_keys(void **state)
{
    uint8_t room[8192];
    struct buf text = BUF(room);
    struct srs s;
    unsigned line;

    (void)state;
    assert_int_equal(srs_keys_read(BYTES("# nothing\n\n"), &s, &line).code, CODE_SYNTAX);
    for (size_t i = 0; i < SRS_KEY_COUNT_MAX; i++)
        assert_true(is_ok(buf_put_str(&text, "key\n")));
    assert_true(is_ok(srs_keys_read(buf_bytes(&text), &s, &line)));
    assert_int_equal(s.key_count, SRS_KEY_COUNT_MAX);
    assert_true(is_ok(buf_put_str(&text, "one more")));
    assert_int_equal(srs_keys_read(buf_bytes(&text), &s, &line).code, CODE_FULL);
    assert_int_equal(line, SRS_KEY_COUNT_MAX + 1);
    buf_reset(&text);
    for (size_t i = 0; i <= SRS_KEY_SIZE_MAX; i++)
        assert_true(is_ok(buf_put_octet(&text, 'k')));
    assert_int_equal(srs_keys_read(buf_bytes(&text), &s, &line).code, CODE_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_ages),
        cmocka_unit_test(test_forgeries), cmocka_unit_test(test_odd_senders), cmocka_unit_test(test_keys)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
