/* rates: subjects apart, a table that is full, and processes that share it. */
#include "daemon/inbound/rates.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct rates_slot *table;
static const size_t table_size = sizeof *table * RATES_SLOT_COUNT;

static int setup(void **state)
{
    (void)state;
    table = mmap(NULL, table_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return table == MAP_FAILED;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(table, table_size);
}

static void subjects_are_apart(void **state)
{
    const struct rate rate = {.count = 3, .burst = 3, .per_ms = 1000};
    uint64_t alice = rates_key(1, BYTES("alice")), bob = rates_key(1, BYTES("bob")),
             other = rates_key(2, BYTES("alice"));

    (void)state;
    assert_true(alice != bob && alice != other);
    assert_false(rates_spent(table, &rate, alice, 10));
    for (int i = 0; i < 3; i++)
        assert_true(rates_take(table, &rate, alice, 10, 1));
    assert_false(rates_take(table, &rate, alice, 10, 1));
    assert_true(rates_spent(table, &rate, alice, 10));
    assert_true(rates_take(table, &rate, bob, 10, 1));
    assert_true(rates_take(table, &rate, other, 10, 1));
    assert_false(rates_spent(table, &rate, alice, 1010));
    assert_true(rates_take(table, &rate, alice, 1010, 3));
    rates_spend(table, &rate, bob, 1010, 50);
    assert_true(rates_spent(table, &rate, bob, 1011));
}

/* Neighbours under neighbouring kinds: nothing of a kind may cancel out against the first octet of a subject. */
static void keys_are_apart(void **state)
{
    enum { KINDS = 16, SUBJECTS = 256 };
    static uint64_t keys[KINDS * SUBJECTS];

    (void)state;
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned i = 0; i < SUBJECTS; i++) {
            uint8_t subject[8] = {(uint8_t)i, 0, 0, 127, 0xff, 0xff};
            keys[k * SUBJECTS + i] = rates_key(k, (struct bytes){subject, sizeof subject});
        }
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        for (size_t j = i + 1; j < COUNT_OF(keys); j++)
            assert_true(keys[i] != keys[j]);
}

/* More subjects than places: nobody who did nothing is refused, and one who did much is still known among his neighbours. */
static void flood_from_everywhere(void **state)
{
    const struct rate rate = {.count = 5, .burst = 5, .per_ms = 1000};
    uint64_t busy = rates_key(1, BYTES("busy"));

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_true(rates_take(table, &rate, busy, 10, 1));
    for (uint32_t i = 0; i < 4 * RATES_SLOT_COUNT; i++)
        assert_true(rates_take(table, &rate, rates_key(1, (struct bytes){(const uint8_t *)&i, sizeof i}), 10, 1));
    assert_false(rates_take(table, &rate, busy, 10, 1));
}

/* Four processes take at once what is there for one: no more than that is given. */
static void shared_by_processes(void **state)
{
    enum { CHILDREN = 4, TRIES = 20000, COUNT = 30000 };
    const struct rate rate = {.count = COUNT, .burst = COUNT, .per_ms = 1000000};
    uint64_t key = rates_key(1, BYTES("shared"));
    uint32_t *taken = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t sum = 0;

    (void)state;
    assert_true(taken != MAP_FAILED);
    assert_true(rates_take(table, &rate, key, 10, 1));
    for (int c = 0; c < CHILDREN; c++) {
        if (fork() != 0)
            continue;
        for (int i = 0; i < TRIES; i++)
            taken[c] += rates_take(table, &rate, key, 10, 1);
        _exit(0);
    }
    for (int c = 0; c < CHILDREN; c++)
        assert_true(wait(NULL) > 0);
    for (int c = 0; c < CHILDREN; c++)
        sum += taken[c];
    assert_int_equal(COUNT - 1, sum);
    munmap(taken, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(subjects_are_apart, setup, teardown),
        cmocka_unit_test(keys_are_apart),
        cmocka_unit_test_setup_teardown(flood_from_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_by_processes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
