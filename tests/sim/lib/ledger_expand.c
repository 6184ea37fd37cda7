/* Recipients that stand for others, and the copies in mailboxes and programs of ours: Q3. The queue's rows are compared with what
 * kin.c says of the same address. */
#include "tests/sim/lib/kin.h"
#include "tests/sim/lib/ledger_parts.h"

static struct fate *fate_add(struct letter *l)
{
    l->fates = realloc(l->fates, (l->fate_count + 1) * sizeof *l->fates);
    ASSERT(l->fates != NULL);
    struct fate *f = &l->fates[l->fate_count++];
    memset(f, 0, sizeof *f);
    return f;
}

/* Whether the letter goes there by another way: then this one adds nothing. */
static bool is_known(const struct letter *l, const struct kin_leaf *leaf, uint32_t before)
{
    for (uint32_t i = 0; i < before; i++) {
        const struct fate *f = &l->fates[i];
        if (f->part == 0 && (f->child || !f->expands) && f->program == leaf->program && f->accepted &&
            bytes_equal_nocase(bytes_of(f->address), bytes_of(leaf->address)))
            return true;
    }
    return false;
}

/* RFC 3461 5.2.7. */
static uint8_t notify_expected(const struct fate *parent, bool owned)
{
    uint8_t notify = parent->notify;

    if (owned)
        return 0;
    if (parent->children == 1 || (notify & DSN_NOTIFY_SUCCESS) == 0)
        return notify;
    notify &= (uint8_t)~DSN_NOTIFY_SUCCESS;
    return notify == 0 ? DSN_NOTIFY_NEVER : notify;
}

static void child_check(
    const struct letter *l, const struct fate *parent, const struct kin_leaf *leaf, const struct recipient *rcpt)
{
    bool named = (leaf->owners & 1u) != 0 || l->from[0] == 0; /* a null reverse-path stays null */
    char owner[80];

    named = named && bytes_equal(rcpt->sender, bytes_of(parent->sender));
    for (unsigned i = 1; i < KIN_OWNERS && !named && l->from[0] != 0; i++) {
        kin_owner(i, owner, sizeof owner);
        named = (leaf->owners & 1u << i) != 0 && bytes_equal_nocase(rcpt->sender, bytes_of(owner));
    }
    if (!named)
        world_wrong("letter %u, %s: sent under the name <%.*s>", l->number, leaf->address, BYTES_ARG(rcpt->sender));
    bool owned = rcpt->sender.size > 0 && !bytes_equal(rcpt->sender, bytes_of(parent->sender));
    if (rcpt->notify != notify_expected(parent, owned))
        world_wrong(
            "letter %u, %s: its NOTIFY became %u from %u", l->number, leaf->address, rcpt->notify, parent->notify);
}

/* One row that came in the place of `parent`. */
static void child_born(struct letter *l, uint32_t parent_at, const struct kin_leaf *leaves, unsigned leaf_count,
    const struct recipient *rcpt)
{
    const struct kin_leaf *leaf = NULL;
    bool program = bytes_starts(rcpt->lane, BYTES("pipe:")) || bytes_starts(rcpt->lane, BYTES("file:"));

    for (unsigned i = 0; i < leaf_count && leaf == NULL; i++)
        if (leaves[i].program == program && bytes_equal_nocase(bytes_of(leaves[i].address), rcpt->forward_path))
            leaf = &leaves[i];
    if (leaf == NULL || leaf->nothing) {
        world_wrong("letter %u, %s: does not stand for %.*s", l->number, l->fates[parent_at].address,
            BYTES_ARG(rcpt->forward_path));
        return;
    }
    for (uint32_t i = 0; i < l->fate_count; i++)
        if (l->fates[i].part == 0 && (l->fates[i].child || !l->fates[i].expands) && l->fates[i].program == program &&
            l->fates[i].accepted && bytes_equal_nocase(bytes_of(l->fates[i].address), rcpt->forward_path)) {
            world_wrong(
                "letter %u, %s: a second time by way of %s", l->number, leaf->address, l->fates[parent_at].address);
            return;
        }
    child_check(l, &l->fates[parent_at], leaf, rcpt);
    struct fate *f = fate_add(l);
    const struct fate *parent = &l->fates[parent_at];
    memcpy(f->address, leaf->address, sizeof f->address);
    (void)snprintf(f->sender, sizeof f->sender, "%.*s", BYTES_ARG(rcpt->sender));
    bool owned = strcmp(f->sender, parent->sender) != 0;
    if (!owned)
        (void)snprintf(f->orcpt, sizeof f->orcpt, "%s", parent->orcpt[0] != 0 ? parent->orcpt : parent->address);
    f->notify = rcpt->notify;
    f->n = rcpt->n;
    f->accepted = f->has_n = f->child = true;
    f->program = program;
    f->expands = bytes_equal(rcpt->lane, BYTES("expand"));
    f->born_turn = ledger.turn;
}

static void rows_read(struct letter *l, uint32_t parent_at, const struct kin_leaf *leaves, unsigned leaf_count)
{
    struct recipient rcpt;
    uint64_t cursor = 0;
    uint32_t before = l->fate_count, n = l->fates[parent_at].n;

    while (is_ok(store_recipient_next(ledger.store, l->id, &cursor, &rcpt)))
        if (rcpt.parent == n + 1)
            child_born(l, parent_at, leaves, leaf_count, &rcpt);
    for (unsigned i = 0; i < leaf_count; i++) {
        bool there = false;
        for (uint32_t k = before; k < l->fate_count && !there; k++)
            there = l->fates[k].program == leaves[i].program &&
                    bytes_equal_nocase(bytes_of(l->fates[k].address), bytes_of(leaves[i].address));
        if (!there && !leaves[i].nothing && !is_known(l, &leaves[i], before))
            world_wrong("letter %u, %s: stands for %s too, who gets nothing", l->number, l->fates[parent_at].address,
                leaves[i].address);
    }
}

void ledger_expanded(struct letter *l, uint32_t n, struct bytes address, uint32_t children)
{
    static struct kin_leaf leaves[KIN_LEAVES_MAX];
    struct fate *f = letter_fate_n(l, n, address);
    unsigned count = kin_expand(address, leaves, KIN_LEAVES_MAX);
    uint32_t before = l->fate_count;

    ledger.expanded++;
    if (!f->expands || count == 0) {
        world_wrong("letter %u, %s: expanded, but stands for nobody", l->number, f->address);
        return;
    }
    f->has_n = true;
    f->n = n;
    f->children = count;
    for (unsigned i = 0; i < count && l->from[0] != 0; i++) {
        f->owned = f->owned || (leaves[i].owners & 1u) == 0;
        f->owned_maybe = f->owned_maybe || leaves[i].owners != 1u;
    }
    uint32_t at = (uint32_t)(f - l->fates);
    struct result r = store_read_begin(ledger.store);
    ASSERT(is_ok(r));
    rows_read(l, at, leaves, count);
    store_read_end(ledger.store);
    l->fates[at].expanded = true;
    if (l->fate_count - before != children)
        world_wrong("letter %u, %s: %u took its place, and %u are said to have", l->number, l->fates[at].address,
            l->fate_count - before, children);
}

void letter_unexpand(struct letter *l)
{
    while (l->fate_count > 0) {
        struct fate *f = &l->fates[l->fate_count - 1];
        struct recipient rcpt;
        uint64_t cursor = 0;
        bool there = false;
        if (!f->child || f->born_turn != ledger.turn)
            return;
        while (!there && is_ok(store_recipient_next(ledger.store, l->id, &cursor, &rcpt)))
            there = fate_has_row(f, &rcpt) && rcpt.parent > 0;
        if (there)
            return;
        l->fate_count--;
    }
}

/* --- copies --- */

struct receipt *ledger_copy(
    struct bytes from, struct bytes to, struct bytes original, bool program, struct bytes content)
{
    struct letter *l = letter_of_content(content);
    struct fate *f = NULL;

    if (l != NULL && !program)
        l = part_of_content(l, to, content);
    for (uint32_t i = 0; l != NULL && i < l->fate_count; i++)
        if (l->fates[i].part == 0 && l->fates[i].program == program && (l->fates[i].child || !l->fates[i].expands) &&
            bytes_equal_nocase(bytes_of(l->fates[i].address), to))
            f = &l->fates[i];
    if (f == NULL) {
        world_wrong("%.*s was given a message that is not for him (%zu octets)", BYTES_ARG(to), content.size);
        return NULL;
    }
    struct receipt *receipt = world_take(sizeof *receipt);
    *receipt = (struct receipt){.next = ledger.receipts,
        .local = true,
        .local_deaths = ledger.local_deaths,
        .queued_deaths = ledger.queued_deaths,
        .cuts = world.faults[FAULT_POWER_CUT],
        .letter = l->number};
    (void)snprintf(receipt->address, sizeof receipt->address, "%s", f->address);
    ledger.receipts = receipt;
    content_check(l, content, f->address);
    if (!bytes_equal(from, bytes_of(fate_sender(l, f))))
        world_wrong("letter %u, %s: Return-Path <%.*s> instead of <%s>", l->number, f->address, BYTES_ARG(from),
            fate_sender(l, f));
    if (f->orcpt[0] != 0 && !bytes_equal_nocase(bytes_of(f->orcpt), to) && !bytes_equal(original, bytes_of(f->orcpt)))
        world_wrong("letter %u, %s: X-Original-To %.*s", l->number, f->address, BYTES_ARG(original));
    split_check(l, f, content, f->address);
    copy_add(l, f, false, receipt);
    ledger.local_copies++;
    world_say("  letter %u lies in the %s of %s", l->number, program ? "program" : "mailbox", f->address);
    return receipt;
}

void ledger_copy_gone(struct receipt *receipt)
{
    struct letter *l = ledger.letters[receipt->letter];

    for (uint32_t i = 0; i < l->fate_count; i++)
        if (l->fates[i].receipt == receipt && l->fates[i].copies > 0) {
            l->fates[i].copies--;
            world_say("  letter %u no longer lies in the mailbox of %s", l->number, receipt->address);
        }
}
