/* Reading a queue must not bring all of it into our memory (Q6), before and after the map has grown. */
#include "tests/support/queue_kit.h"

enum { BODY_SIZE = 60000, COUNT = 1200, PER_COMMIT = 50, RESIDENT_KIB_MAX = 16384 };

/* KiB of the queue's file in this process's page table. */
static uint64_t resident_kib(void)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool ours = false;
    uint64_t kib = 0;

    assert_non_null(smaps);
    while (fgets(line, sizeof line, smaps) != NULL) {
        if (strchr(line, '-') != NULL && strstr(line, "r--s") != NULL)
            ours = strstr(line, "data.mdb") != NULL;
        else if (ours && strncmp(line, "Rss:", 4) == 0)
            kib += strtoull(line + 4, NULL, 10);
        else if (strncmp(line, "VmFlags:", 8) == 0)
            ours = false;
    }
    fclose(smaps);
    return kib;
}

static struct result put_some(struct kit *kit, uint64_t from, uint64_t count)
{
    static uint8_t body[BODY_SIZE];

    TRY(store_begin(kit->store));
    for (uint64_t id = from; id < from + count; id++) {
        struct envelope_head head = kit_head(id, BODY_SIZE, 1);
        struct recipient rcpt = kit_rcpt(0, BYTES("mx:two.example"), 1000);
        TRY(store_body_put(kit->store, head.id, 0, (struct bytes){body, BODY_SIZE}));
        TRY(store_message_put(kit->store, &head));
        TRY(store_recipient_put(kit->store, head.id, &rcpt));
    }
    return store_commit(kit->store);
}

static void put_bodies(struct kit *kit, uint64_t from, uint64_t count)
{
    for (uint64_t done = 0; done < count; done += PER_COMMIT)
        while (!is_ok(put_some(kit, from + done, PER_COMMIT))) {
            store_abandon(kit->store);
            assert_ok(store_grow(kit->store));
        }
}

static uint64_t read_bodies(struct kit *kit, uint64_t from, uint64_t count)
{
    uint64_t most = 0;

    for (uint64_t id = from; id < from + count; id++) {
        struct bytes body;
        assert_ok(store_read_begin(kit->store));
        assert_ok(store_body_get(kit->store, (struct message_id){id}, 0, BODY_SIZE, &body));
        assert_int_equal(body.size, BODY_SIZE);
        store_read_end(kit->store);
        uint64_t now = id % 50 == 0 ? resident_kib() : 0;
        most = now > most ? now : most;
    }
    return most;
}

static void reading_lets_go(void **state)
{
    struct kit *kit = *state;

    put_bodies(kit, 1, COUNT / 2);
    assert_in_range(read_bodies(kit, 1, COUNT / 2), 1, RESIDENT_KIB_MAX);
    uint64_t before = kit_stats(kit).map_size;
    put_bodies(kit, COUNT / 2 + 1, COUNT);
    assert_true(kit_stats(kit).map_size > before);
    assert_in_range(read_bodies(kit, 1, COUNT + COUNT / 2), 1, RESIDENT_KIB_MAX);
    kit_assert_clean(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reading_lets_go, kit_setup, kit_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
