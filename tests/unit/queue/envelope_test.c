/* Heads and recipients through their codec: what is put is got, at every bound; what is cut or bent is refused. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "queue/envelope.h"

#define assert_ok(e) assert_int_equal((e).code, CODE_OK)

static uint8_t filler[REPLY_KEPT_SIZE_MAX];

static struct bytes text_of(size_t size)
{
    memset(filler, 'x', sizeof filler);
    assert_true(size <= sizeof filler);
    return (struct bytes){filler, size};
}

static struct envelope_head head_full(void)
{
    return (struct envelope_head){.id = {UINT64_MAX},
        .arrival = {INT64_MAX},
        .reverse_path = text_of(ADDRESS_SIZE_MAX),
        .body_size = UINT64_MAX,
        .rcpt_count = UINT32_MAX,
        .body_type = BODY_TYPE_COUNT - 1,
        .ret = DSN_RET_COUNT - 1,
        .envid = text_of(ENVID_SIZE_MAX),
        .flags = UINT32_MAX,
        .priority = 255,
        .origin = ORIGIN_KIND_COUNT - 1,
        .client = text_of(DISPLAY_FIELD_SIZE_MAX),
        .helo = text_of(HELO_SIZE_MAX),
        .login = text_of(DISPLAY_FIELD_SIZE_MAX),
        .message_id = text_of(DISPLAY_FIELD_SIZE_MAX),
        .subject = text_of(DISPLAY_FIELD_SIZE_MAX)};
}

static struct recipient rcpt_full(void)
{
    return (struct recipient){.n = UINT32_MAX,
        .forward_path = text_of(ADDRESS_SIZE_MAX),
        .orcpt = text_of(ORCPT_SIZE_MAX),
        .notify = DSN_NOTIFY_ALL,
        .lane = text_of(LANE_NAME_SIZE_MAX),
        .state = RECIPIENT_STATE_COUNT - 1,
        .attempts = UINT32_MAX,
        .next_try = {INT64_MIN},
        .warned = true,
        .parent = UINT32_MAX,
        .last_status = text_of(11),
        .last_reply = text_of(REPLY_KEPT_SIZE_MAX),
        .last_host = text_of(DOMAIN_SIZE_MAX)};
}

static void assert_same_head(const struct envelope_head *a, const struct envelope_head *b)
{
    assert_true(message_id_equal(a->id, b->id) && a->arrival.ms == b->arrival.ms && a->body_size == b->body_size);
    assert_true(a->rcpt_count == b->rcpt_count && a->body_type == b->body_type && a->ret == b->ret);
    assert_true(a->flags == b->flags && a->priority == b->priority && a->origin == b->origin);
    assert_true(bytes_equal(a->reverse_path, b->reverse_path) && bytes_equal(a->envid, b->envid));
    assert_true(bytes_equal(a->client, b->client) && bytes_equal(a->helo, b->helo) && bytes_equal(a->login, b->login));
    assert_true(bytes_equal(a->message_id, b->message_id) && bytes_equal(a->subject, b->subject));
}

static void assert_same_rcpt(const struct recipient *a, const struct recipient *b)
{
    assert_true(a->n == b->n && a->notify == b->notify && a->state == b->state && a->attempts == b->attempts);
    assert_true(a->next_try.ms == b->next_try.ms && a->warned == b->warned && a->parent == b->parent);
    assert_true(bytes_equal(a->forward_path, b->forward_path) && bytes_equal(a->orcpt, b->orcpt));
    assert_true(bytes_equal(a->lane, b->lane) && bytes_equal(a->last_status, b->last_status));
    assert_true(bytes_equal(a->last_reply, b->last_reply) && bytes_equal(a->last_host, b->last_host));
}

/* `size` octets read as a head, from memory that ends exactly there. */
static struct result head_from(struct bytes row, size_t size, struct envelope_head *got)
{
    uint8_t *exact = malloc(size + 1);
    struct wire_reader in = wire_reader_over((struct bytes){exact, size});

    assert_non_null(exact);
    memcpy(exact, row.data, size);
    struct result r = envelope_head_get(&in, got);
    if (is_ok(r))
        r = wire_end(&in);
    free(exact);
    return r;
}

static void test_head(void **state)
{
    uint8_t room[ENVELOPE_HEAD_SIZE_MAX];
    struct envelope_head cases[] = {{.id = {1}}, head_full()}, got;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf row = BUF(room);
        assert_ok(envelope_head_put(&row, &cases[i]));
        struct wire_reader in = wire_reader_over(buf_bytes(&row));
        assert_ok(envelope_head_get(&in, &got));
        assert_ok(wire_end(&in));
        assert_same_head(&cases[i], &got);
        for (size_t size = 0; size < row.size; size++)
            assert_int_equal(head_from(buf_bytes(&row), size, &got).code, CODE_CORRUPT);
        for (size_t full = 0; full < row.size; full++) { /* whole or CODE_FULL */
            struct buf small;
            buf_init(&small, room, full);
            assert_int_equal(envelope_head_put(&small, &cases[i]).code, CODE_FULL);
        }
    }
}

static void test_recipient(void **state)
{
    uint8_t room[RECIPIENT_SIZE_MAX];
    struct recipient cases[] = {{.forward_path = BYTES("a")}, rcpt_full()}, got;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf row = BUF(room);
        assert_ok(recipient_put(&row, &cases[i]));
        struct wire_reader in = wire_reader_over(buf_bytes(&row));
        assert_ok(recipient_get(&in, &got));
        assert_ok(wire_end(&in));
        assert_same_rcpt(&cases[i], &got);
        for (size_t size = 0; size < row.size; size++) {
            in = wire_reader_over((struct bytes){room, size});
            assert_int_equal(recipient_get(&in, &got).code, CODE_CORRUPT);
        }
    }
}

static void test_values_out_of_range(void **state)
{
    uint8_t room[ENVELOPE_HEAD_SIZE_MAX];
    struct buf row = BUF(room);
    struct envelope_head head = {.id = {1}}, got;
    struct recipient rcpt = {.forward_path = BYTES("a")}, got_rcpt;

    (void)state;
    assert_ok(envelope_head_put(&row, &head));
    memset(room, 0, 8);
    struct wire_reader in = wire_reader_over(buf_bytes(&row));
    assert_int_equal(envelope_head_get(&in, &got).code, CODE_CORRUPT); /* id 0 */
    room[7] = 1;
    room[8 + 8 + 4 + 8 + 4] = BODY_TYPE_COUNT;
    in = wire_reader_over(buf_bytes(&row));
    assert_int_equal(envelope_head_get(&in, &got).code, CODE_CORRUPT);

    buf_reset(&row);
    assert_ok(recipient_put(&row, &rcpt));
    room[4 + 4 + 1 + 4] = DSN_NOTIFY_ALL + 1;
    in = wire_reader_over(buf_bytes(&row));
    assert_int_equal(recipient_get(&in, &got_rcpt).code, CODE_CORRUPT);
    buf_reset(&row);
    assert_ok(recipient_put(&row, &rcpt));
    room[4 + 3] = 0; /* mail for nobody: the size of its path, and its only octet, are taken away */
    memmove(room + 8, room + 9, row.size - 9);
    row.size--;
    in = wire_reader_over(buf_bytes(&row));
    assert_int_equal(recipient_get(&in, &got_rcpt).code, CODE_CORRUPT);
    buf_reset(&row);
    assert_ok(wire_put_u32(&row, 0));
    assert_ok(wire_put_u32(&row, ADDRESS_SIZE_MAX + 1)); /* a size that lies */
    in = wire_reader_over(buf_bytes(&row));
    assert_int_equal(recipient_get(&in, &got_rcpt).code, CODE_CORRUPT);
}

static void test_copies_live_alone(void **state)
{
    uint8_t room[RECIPIENT_SIZE_MAX];
    struct buf row = BUF(room);
    struct envelope_head head = head_full(), kept;
    struct recipient rcpt = rcpt_full(), kept_rcpt, got_rcpt;
    struct envelope_head got;
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536);
    assert_ok(envelope_head_put(&row, &head));
    struct wire_reader in = wire_reader_over(buf_bytes(&row));
    assert_ok(envelope_head_get(&in, &got));
    assert_ok(envelope_head_copy(&arena, &got, &kept));
    buf_reset(&row);
    assert_ok(recipient_put(&row, &rcpt));
    in = wire_reader_over(buf_bytes(&row));
    assert_ok(recipient_get(&in, &got_rcpt));
    assert_ok(recipient_copy(&arena, &got_rcpt, &kept_rcpt));
    memset(room, 0, sizeof room);
    assert_same_head(&head, &kept);
    assert_same_rcpt(&rcpt, &kept_rcpt);
    arena_reset(&arena);
    arena_fini(&arena);
    arena_init(&arena, 16);
    assert_int_equal(envelope_head_copy(&arena, &head, &kept).code, CODE_FULL);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_recipient),
        cmocka_unit_test(test_values_out_of_range),
        cmocka_unit_test(test_copies_live_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
