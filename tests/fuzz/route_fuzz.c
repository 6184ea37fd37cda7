/* What route_target_parse takes is canonical: it fits a lane's name and reads the same again. The rest of the input is a
 * domain to choose for. Input: the target, LF, the domain. */
#include "queue/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void target_again(struct arena *a, const struct route_target *target)
{
    uint8_t room[LANE_NAME_SIZE_MAX + 10];
    struct buf text = BUF(room);
    struct route_target again;

    if (target->kind != ROUTE_RELAY && target->kind != ROUTE_LMTP && target->kind != ROUTE_PIPE)
        return;
    ASSERT(is_ok(buf_put_str(&text, target->kind == ROUTE_RELAY  ? "relay:"
                                    : target->kind == ROUTE_LMTP ? "lmtp:"
                                                                 : "pipe:")));
    ASSERT(is_ok(buf_put(&text, target->hop)) && text.size <= LANE_NAME_SIZE_MAX);
    ASSERT(is_ok(route_target_parse(a, buf_bytes(&text), &again)));
    ASSERT(again.kind == target->kind && bytes_equal(again.hop, target->hop));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = {data, size};
    ptrdiff_t lf = bytes_index(in, '\n');
    struct bytes text = bytes_head(in, lf < 0 ? size : (size_t)lf), domain = bytes_after(in, text.size + 1);
    struct route routes[3] = {{.wildcard = true, .target = {.kind = ROUTE_MX}},
        {.pattern = BYTES("two.example"), .target = {.kind = ROUTE_LOCAL}},
        {.wildcard = true, .pattern = BYTES(".example")}};
    struct route_table table = {routes, COUNT_OF(routes)};
    struct route_choice choice;
    uint8_t room[LANE_NAME_SIZE_MAX];
    struct buf lane = BUF(room);
    struct arena a;
    struct result r;

    arena_init(&a, 65536);
    r = route_target_parse(&a, text, &routes[2].target);
    ASSERT(is_ok(r) || (r.code == CODE_SYNTAX && r.why != NULL));
    if (is_ok(r))
        target_again(&a, &routes[2].target);
    else
        routes[2].target.kind = ROUTE_HOLD;
    route_table_sort(routes, COUNT_OF(routes));
    if (is_ok(route_choose(&table, domain, &lane, &choice)))
        ASSERT(choice.kind == ROUTE_CHOICE_DISCARD || choice.kind == ROUTE_CHOICE_ERROR || choice.lane.size > 0);
    else
        ASSERT(domain.size == 0 || domain.size + 3 > LANE_NAME_SIZE_MAX);
    ASSERT(route_mx_port(&table, domain) == 25);
    arena_fini(&a);
    return 0;
}
