/* codec: every message of the table goes through frames unchanged, and no frame from a hostile peer gets through. */
#include "daemon/ipc/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t filler[65536];

/* --- random content for each field type, within what the receivers allow --- */

static struct bytes fill_view(struct rng *rng, size_t size_max)
{
    size_t size = rng_below(rng, 4) == 0 ? 0 : (size_t)rng_below(rng, size_max + 1);
    return (struct bytes){filler + rng_below(rng, sizeof filler - size + 1), size};
}

static void fill_boolean(struct rng *rng, bool *value)
{
    *value = rng_below(rng, 2) == 1;
}

static void fill_u32(struct rng *rng, uint32_t *value)
{
    *value = (uint32_t)rng_next(rng);
}

static void fill_u64(struct rng *rng, uint64_t *value)
{
    *value = rng_next(rng);
}

static void fill_message_id(struct rng *rng, struct message_id *value)
{
    value->value = 1 + rng_below(rng, UINT64_MAX);
}

static void fill_job_id(struct rng *rng, struct job_id *value)
{
    value->value = rng_next(rng);
}

static void fill_bytes(struct rng *rng, struct bytes *value)
{
    *value = fill_view(rng, 64);
}

static void fill_envelope_head(struct rng *rng, struct envelope_head *h)
{
    *h = (struct envelope_head){
        .id = {1 + rng_below(rng, UINT64_MAX)},
        .arrival = {(int64_t)rng_next(rng)},
        .reverse_path = fill_view(rng, ADDRESS_SIZE_MAX),
        .body_size = rng_next(rng),
        .rcpt_count = (uint32_t)rng_next(rng),
        .body_type = (enum body_type)rng_below(rng, BODY_TYPE_COUNT),
        .ret = (enum dsn_ret)rng_below(rng, DSN_RET_COUNT),
        .envid = fill_view(rng, ENVID_SIZE_MAX),
        .flags = (uint32_t)rng_next(rng),
        .priority = (uint8_t)rng_next(rng),
        .origin = (enum origin_kind)rng_below(rng, ORIGIN_KIND_COUNT),
        .client = fill_view(rng, DISPLAY_FIELD_SIZE_MAX),
        .helo = fill_view(rng, HELO_SIZE_MAX),
        .login = fill_view(rng, DISPLAY_FIELD_SIZE_MAX),
        .message_id = fill_view(rng, DISPLAY_FIELD_SIZE_MAX),
        .subject = fill_view(rng, DISPLAY_FIELD_SIZE_MAX),
    };
}

static void fill_recipient(struct rng *rng, struct recipient *r)
{
    *r = (struct recipient){
        .n = (uint32_t)rng_next(rng),
        .forward_path = {filler, 1 + (size_t)rng_below(rng, ADDRESS_SIZE_MAX)},
        .orcpt = fill_view(rng, ORCPT_SIZE_MAX),
        .notify = (uint8_t)rng_below(rng, DSN_NOTIFY_ALL + 1),
        .lane = fill_view(rng, LANE_NAME_SIZE_MAX),
        .state = (enum recipient_state)rng_below(rng, RECIPIENT_STATE_COUNT),
        .attempts = (uint32_t)rng_next(rng),
        .next_try = {(int64_t)rng_next(rng)},
        .warned = rng_below(rng, 2) == 1,
        .parent = (uint32_t)rng_next(rng),
        .last_status = fill_view(rng, 11),
        .last_reply = fill_view(rng, REPLY_KEPT_SIZE_MAX),
        .last_host = fill_view(rng, DOMAIN_SIZE_MAX),
    };
}

#define FILL_ENUM(type, count)                                                                                         \
    static void fill_##type(struct rng *rng, enum type *value)                                                         \
    {                                                                                                                  \
        *value = (enum type)rng_below(rng, (count));                                                                   \
    }
FILL_ENUM(ipc_role, ROLE_COUNT)
FILL_ENUM(tx_outcome, TX_OUTCOME_COUNT)
FILL_ENUM(job_outcome, JOB_OUTCOME_COUNT)
FILL_ENUM(auth_outcome, AUTH_OUTCOME_COUNT)
FILL_ENUM(door_family, DOOR_FAMILY_COUNT)
FILL_ENUM(password_verdict, PASSWORD_VERDICT_COUNT)
FILL_ENUM(lane_verdict, LANE_VERDICT_COUNT)
FILL_ENUM(child_kind, CHILD_KIND_COUNT)
FILL_ENUM(rcpt_known, RCPT_KNOWN_COUNT)

#define F(type, name) fill_##type(rng, &m->name);
#define MSG(name, from, to, bound, fields)                                                                             \
    static void fill_msg_##name(struct rng *rng, struct msg_##name *m)                                                 \
    {                                                                                                                  \
        (void)rng;                                                                                                     \
        (void)m;                                                                                                       \
        fields                                                                                                         \
    }
#include "daemon/ipc/messages.def"
#undef MSG
#undef F

struct way {
    enum ipc_role from, to;
};

static const struct way ways[MSG_KIND_COUNT] = {
#define MSG(name, from, to, bound, fields) {ROLE_##from, ROLE_##to},
#include "daemon/ipc/messages.def"
#undef MSG
};

/* A group's first member. */
static enum ipc_role one_of(enum ipc_role role)
{
    return role == ROLE_WORKER ? ROLE_OUTBOUND : role == ROLE_CHILD ? ROLE_INBOUND : role;
}

static void message_make(struct rng *rng, enum msg_kind kind, struct msg *m)
{
    memset(m, 0, sizeof *m);
    m->kind = kind;
    switch (kind) {
#define MSG(name, from, to, bound, fields)                                                                             \
    case MSG_##name:                                                                                                   \
        fill_msg_##name(rng, &m->name);                                                                                \
        break;
#include "daemon/ipc/messages.def"
#undef MSG
    case MSG_KIND_COUNT:
        fail();
    }
}

static uint8_t room_a[FRAME_SIZE_MAX], room_b[FRAME_SIZE_MAX];

static void test_round_trip(void **state)
{
    struct rng rng = {1};
    (void)state;

    for (int turn = 0; turn < 200; turn++) {
        for (unsigned kind = 0; kind < MSG_KIND_COUNT; kind++) {
            struct buf a = BUF(room_a), b = BUF(room_b);
            struct msg m, back;
            size_t size = 0;
            message_make(&rng, (enum msg_kind)kind, &m);
            assert_true(is_ok(msg_encode(&a, &m)));
            assert_true(a.size <= msg_frame_size_max(m.kind));
            assert_true(is_ok(msg_frame_size(buf_bytes(&a), &size)));
            assert_int_equal(size, a.size);
            assert_true(is_ok(msg_decode(buf_bytes(&a), one_of(ways[kind].from), one_of(ways[kind].to), &back)));
            assert_int_equal(back.kind, m.kind);
            assert_true(is_ok(msg_encode(&b, &back)));
            assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
        }
    }
}

static void test_fields_arrive(void **state)
{
    struct buf out = BUF(room_a);
    struct msg m = {.kind = MSG_tx_body, .tx_body = {.id = {7}, .body = BYTES("To: you\r\n")}}, back;
    (void)state;

    assert_true(is_ok(msg_encode(&out, &m)));
    assert_true(is_ok(msg_decode(buf_bytes(&out), ROLE_INBOUND, ROLE_QUEUED, &back)));
    assert_int_equal(back.tx_body.id.value, 7);
    assert_true(bytes_equal(back.tx_body.body, BYTES("To: you\r\n")));
    assert_string_equal(msg_name(back.kind), "tx_body");
    assert_string_equal(msg_name(60000), "unknown");
}

static void test_full_leaves_the_buffer(void **state)
{
    struct rng rng = {2};
    (void)state;

    for (unsigned kind = 0; kind < MSG_KIND_COUNT; kind++) {
        struct buf whole = BUF(room_a);
        struct msg m;
        message_make(&rng, (enum msg_kind)kind, &m);
        assert_true(is_ok(msg_encode(&whole, &m)));
        for (size_t room = 0; room < whole.size; room = room < 64 ? room + 1 : room + 37) {
            struct buf small;
            buf_init(&small, room_b, room);
            assert_int_equal(msg_encode(&small, &m).code, CODE_FULL);
            assert_int_equal(small.size, 0);
        }
    }
}

static bool role_in(enum ipc_role role, enum ipc_role group)
{
    return role == group ||
           (group == ROLE_WORKER && (role == ROLE_OUTBOUND || role == ROLE_LOCAL || role == ROLE_LOOKUP)) ||
           (group == ROLE_CHILD && role != ROLE_SUPERVISOR);
}

static void test_direction(void **state)
{
    struct rng rng = {3};
    (void)state;

    for (unsigned kind = 0; kind < MSG_KIND_COUNT; kind++) {
        struct buf out = BUF(room_a);
        struct msg m, back;
        message_make(&rng, (enum msg_kind)kind, &m);
        assert_true(is_ok(msg_encode(&out, &m)));
        for (unsigned from = 0; from < ROLE_COUNT; from++) {
            for (unsigned to = 0; to < ROLE_COUNT; to++) {
                bool fits = role_in((enum ipc_role)from, ways[kind].from) && role_in((enum ipc_role)to, ways[kind].to);
                enum code code = msg_decode(buf_bytes(&out), (enum ipc_role)from, (enum ipc_role)to, &back).code;
                assert_int_equal(code, fits ? CODE_OK : CODE_REFUSED);
            }
        }
    }
}

/* The frame's end lies at an unreadable page, so a decoder that looks one octet too far stops the test. */
static void test_short_and_long_frames(void **state)
{
    struct rng rng = {4};
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = FRAME_SIZE_MAX + page;
    uint8_t *guard = mmap(NULL, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)state;

    assert_ptr_not_equal(guard, MAP_FAILED);
    assert_int_equal(mprotect(guard + pages, page, PROT_NONE), 0);
    for (unsigned kind = 0; kind < MSG_KIND_COUNT; kind++) {
        struct buf out = BUF(room_a);
        struct msg m, back;
        enum ipc_role from = one_of(ways[kind].from), to = one_of(ways[kind].to);
        size_t size = 0;
        message_make(&rng, (enum msg_kind)kind, &m);
        assert_true(is_ok(msg_encode(&out, &m)));
        for (size_t cut = 0; cut < out.size; cut = cut < 256 ? cut + 1 : cut + 61) {
            uint8_t *at = guard + pages - cut;
            memcpy(at, room_a, cut);
            assert_int_equal(msg_frame_size((struct bytes){at, cut}, &size).code, CODE_MORE);
            assert_int_equal(msg_decode((struct bytes){at, cut}, from, to, &back).code, CODE_CORRUPT);
            if (cut >= MSG_HEAD_SIZE) { /* the same with a head that claims to be whole */
                wire_store_u32(at, (uint32_t)(cut - MSG_HEAD_SIZE));
                assert_int_equal(msg_decode((struct bytes){at, cut}, from, to, &back).code, CODE_CORRUPT);
            }
        }
        assert_true(is_ok(buf_put_octet(&out, 0)));
        assert_int_equal(msg_decode(buf_bytes(&out), from, to, &back).code, CODE_CORRUPT);
        wire_store_u32(room_a, (uint32_t)(out.size - MSG_HEAD_SIZE));
        assert_int_equal(msg_decode(buf_bytes(&out), from, to, &back).code, CODE_CORRUPT);
    }
    munmap(guard, pages + page);
}

static void test_hostile_frames(void **state)
{
    static const struct {
        const char *name;
        struct bytes frame;
        enum code size_code;
        enum code decode_code;
    } rows[] = {
        {"empty", BYTES_INIT(""), CODE_MORE, CODE_CORRUPT},
        {"size of 4 GiB", BYTES_INIT("\xff\xff\xff\xff\x00\x00"), CODE_CORRUPT, CODE_CORRUPT},
        {"unknown kind", BYTES_INIT("\x00\x00\x00\x00\xff\xff"), CODE_CORRUPT, CODE_CORRUPT},
        {"over its bound", BYTES_INIT("\x00\x00\x00\x11\x00\x00"), CODE_CORRUPT, CODE_CORRUPT},
        {"ids_want", BYTES_INIT("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x05"), CODE_OK, CODE_OK},
        {"tx_begin with message id 0", BYTES_INIT("\x00\x00\x00\x08\x00\x01\0\0\0\0\0\0\0\0"), CODE_OK, CODE_CORRUPT},
        {"tx_begin", BYTES_INIT("\x00\x00\x00\x08\x00\x01\0\0\0\0\0\0\0\1"), CODE_OK, CODE_OK},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct msg back;
        size_t size = 0;
        if (msg_frame_size(rows[i].frame, &size).code != rows[i].size_code)
            fail_msg("frame size of: %s", rows[i].name);
        if (msg_decode(rows[i].frame, ROLE_INBOUND, ROLE_QUEUED, &back).code != rows[i].decode_code)
            fail_msg("decoding: %s", rows[i].name);
    }
}

static void test_enums_out_of_range(void **state)
{
    struct msg m = {.kind = MSG_tx_done, .tx_done = {.id = {9}, .outcome = TX_ACCEPTED}}, back;
    struct buf out = BUF(room_a);
    (void)state;

    assert_true(is_ok(msg_encode(&out, &m)));
    for (unsigned value = 0; value < 256; value++) {
        room_a[MSG_HEAD_SIZE + 8] = (uint8_t)value;
        enum code code = msg_decode(buf_bytes(&out), ROLE_QUEUED, ROLE_INBOUND, &back).code;
        assert_int_equal(code, value < TX_OUTCOME_COUNT ? CODE_OK : CODE_CORRUPT);
    }
}

/* Any octet of any frame may be any octet: the decoder answers, and what it accepts can be sent on. */
static void test_garbled_frames(void **state)
{
    struct rng rng = {5};
    (void)state;

    for (int turn = 0; turn < 20000; turn++) {
        unsigned kind = (unsigned)rng_below(&rng, MSG_KIND_COUNT);
        struct buf out = BUF(room_a), again = BUF(room_b);
        struct msg m, back;
        message_make(&rng, (enum msg_kind)kind, &m);
        assert_true(is_ok(msg_encode(&out, &m)));
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
            room_a[rng_below(&rng, out.size)] = (uint8_t)rng_next(&rng);
        if (is_ok(msg_decode(buf_bytes(&out), one_of(ways[kind].from), one_of(ways[kind].to), &back)))
            assert_true(is_ok(msg_encode(&again, &back)));
    }
}

static int fill_filler(void **state)
{
    struct rng rng = {6};
    (void)state;

    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = (uint8_t)rng_next(&rng);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_fields_arrive),
        cmocka_unit_test(test_full_leaves_the_buffer),
        cmocka_unit_test(test_direction),
        cmocka_unit_test(test_short_and_long_frames),
        cmocka_unit_test(test_hostile_frames),
        cmocka_unit_test(test_enums_out_of_range),
        cmocka_unit_test(test_garbled_frames),
    };
    return cmocka_run_group_tests(tests, fill_filler, NULL);
}
