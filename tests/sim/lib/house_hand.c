/* The postmaster's hand. */
#include "tests/sim/lib/house_parts.h"

static void order_letter(struct letter *l, enum order_kind kind)
{
    struct order_target targets[ORDER_TARGETS_MAX];
    size_t room = l->fate_count < ORDER_TARGETS_MAX ? l->fate_count : ORDER_TARGETS_MAX;
    uint32_t count = 0;

    for (size_t n = 0; n < room; n++)
        targets[n] = (struct order_target){.id = l->id, .n = (uint32_t)n};
    ledger.turn++;
    struct result r =
        engine_order(house.engine, &(struct order){.kind = kind}, targets, room, world_walltime(), &count);
    world_say("the postmaster's order %d for letter %u: %u, %s", (int)kind, l->number, count, is_ok(r) ? "ok" : r.why);
}

/* All letters that are not over. */
static void order_all(enum order_kind kind)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++)
        if (ledger.letters[i]->committed && !ledger.letters[i]->over)
            order_letter(ledger.letters[i], kind);
}

void house_retry_all(void)
{
    if (house.engine == NULL)
        return;
    world_fault(FAULT_HAND_RETRY);
    order_all(ORDER_RETRY);
    engine_hurry(house.engine, world_walltime());
    house_turn_wanted();
}

void house_hold(bool held)
{
    if (house.engine == NULL || ledger.letter_count == 0)
        return;
    struct letter *l = ledger.letters[1 + world_below(ledger.letter_count)];
    if (!l->committed || l->over)
        return;
    world_fault(FAULT_HAND_HOLD);
    order_letter(l, held ? ORDER_HOLD : ORDER_RELEASE);
    house_turn_wanted();
}

void house_release_all(void)
{
    if (house.engine == NULL)
        return;
    order_all(ORDER_RELEASE);
    house_turn_wanted();
}
