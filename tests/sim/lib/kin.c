#include "tests/sim/lib/kin.h"

#include <unistd.h>

enum { TARGETS_MAX = 4, LIST_LINES_MAX = 6, NODES_MAX = KIN_ALIASES + KIN_LISTS + KIN_PROGRAMS + KIN_FILES + 3 };

struct node {
    char name[16];
    char targets[LIST_LINES_MAX][64]; /* as in a list: an address, a bare name */
    unsigned target_count;
    unsigned owner; /* of a list: its number; else 0 */
    bool program, nothing;
};

static struct {
    char folder[200];
    struct node nodes[NODES_MAX];
    unsigned node_count;
} kin;

static struct node *node_new(const char *kind, unsigned n)
{
    struct node *node = &kin.nodes[kin.node_count++];

    ASSERT(kin.node_count <= NODES_MAX);
    *node = (struct node){.target_count = 0};
    (void)snprintf(node->name, sizeof node->name, "%s%u", kind, n);
    return node;
}

static const struct node *node_find(struct bytes local_part)
{
    for (unsigned i = 0; i < kin.node_count; i++)
        if (bytes_equal_nocase(local_part, bytes_of(kin.nodes[i].name)))
            return &kin.nodes[i];
    return NULL;
}

/* --- the dice --- */

static void target_any(char *out, size_t room)
{
    static const char *const elsewhere[] = {
        "ok90@steady.test", "ok91@home.test", "grey92@d0.test", "no93@d1.test", "ok94@d2.test"};
    uint64_t pick = world_below(100);

    if (pick < 35)
        (void)snprintf(out, room, "ok%u", (unsigned)world_below(8));
    else if (pick < 40)
        (void)snprintf(out, room, "\\ok%u", (unsigned)world_below(8));
    else if (pick < 65)
        (void)snprintf(out, room, "a%u", (unsigned)world_below(KIN_ALIASES));
    else if (pick < 72)
        (void)snprintf(out, room, "l%u@" KIN_DOMAIN, (unsigned)world_below(KIN_LISTS));
    else if (pick < 78)
        (void)snprintf(out, room, "p%u", (unsigned)world_below(KIN_PROGRAMS));
    else if (pick < 82)
        (void)snprintf(out, room, "f%u", (unsigned)world_below(KIN_FILES));
    else if (pick < 84)
        (void)snprintf(out, room, "v0");
    else if (pick < 87)
        (void)snprintf(out, room, "gone%u", (unsigned)world_below(3));
    else
        (void)snprintf(out, room, "%s", elsewhere[world_below(COUNT_OF(elsewhere))]);
}

static void nodes_make(void)
{
    struct node *node;

    kin.node_count = 0;
    for (unsigned i = 0; i < KIN_ALIASES; i++) {
        node = node_new("a", i);
        node->target_count = (unsigned)world_between(1, TARGETS_MAX);
        for (unsigned k = 0; k < node->target_count; k++)
            target_any(node->targets[k], sizeof node->targets[k]);
        if (world_chance(150)) /* it has a mailbox as well */
            (void)snprintf(node->targets[0], sizeof node->targets[0], "a%u", i);
    }
    for (unsigned i = 0; i < KIN_LISTS; i++) {
        node = node_new("l", i);
        node->owner = i + 1;
        node->target_count = (unsigned)world_between(1, LIST_LINES_MAX);
        for (unsigned k = 0; k < node->target_count; k++)
            target_any(node->targets[k], sizeof node->targets[k]);
    }
    for (unsigned i = 0; i < KIN_PROGRAMS; i++)
        node_new("p", i)->program = true;
    for (unsigned i = 0; i < KIN_FILES; i++)
        node_new("f", i)->program = true;
    node_new("v", 0)->nothing = true;
    for (unsigned i = 0; i < 2; i++) {
        node = node_new("loop", i);
        node->target_count = 1;
        (void)snprintf(node->targets[0], sizeof node->targets[0], "loop%u", 1 - i);
    }
}

/* --- the files --- */

static FILE *file_open(const char *name)
{
    char path[300];

    (void)snprintf(path, sizeof path, "%s/%s", kin.folder, name);
    FILE *out = fopen(path, "we");
    ASSERT(out != NULL);
    return out;
}

static void targets_write(FILE *out, const struct node *node, const char *parted_by)
{
    for (unsigned k = 0; k < node->target_count; k++)
        fprintf(out, "%s%s", k > 0 ? parted_by : "", node->targets[k]);
    fputc('\n', out);
}

static void list_write(const struct node *node)
{
    FILE *out = file_open(node->name);

    targets_write(out, node, "\n");
    fclose(out);
}

static void files_write(void)
{
    FILE *out = file_open("aliases");

    for (unsigned i = 0; i < kin.node_count; i++) {
        const struct node *node = &kin.nodes[i];
        fprintf(out, "%s: ", node->name);
        if (node->owner > 0)
            fprintf(out, ":include:%s/%s\nowner-%s: oks%u\n", kin.folder, node->name, node->name, node->owner);
        else if (node->nothing)
            fprintf(out, "/dev/null\n");
        else if (node->program && node->name[0] == 'p')
            fprintf(out, "\"|/bin/keep %s\"\n", node->name);
        else if (node->program)
            fprintf(out, "%s/%s\n", kin.folder, node->name);
        else
            targets_write(out, node, ",\n\t");
        if (node->owner > 0)
            list_write(node);
    }
    fclose(out);
    out = file_open("users");
    for (unsigned i = 0; i < KIN_MAILBOXES; i++)
        fprintf(out, "ok%u\n", i);
    for (unsigned i = 0; i < 9; i++)
        fprintf(out, "oks%u:x:\n", i);
    fclose(out);
}

void kin_begin(const char *folder)
{
    (void)snprintf(kin.folder, sizeof kin.folder, "%s", folder);
    nodes_make();
    files_write();
}

void kin_list_away(bool away)
{
    char path[300];
    const struct node *node = node_find(BYTES("l0"));

    (void)snprintf(path, sizeof path, "%s/%s", kin.folder, node->name);
    if (away)
        (void)unlink(path);
    else
        list_write(node);
}

/* --- the meaning --- */

static struct bytes local_part_of(struct bytes address)
{
    ptrdiff_t at = bytes_rindex(address, '@');

    return at < 0 ? address : bytes_head(address, (size_t)at);
}

static bool is_here(struct bytes address)
{
    ptrdiff_t at = bytes_rindex(address, '@');

    return at < 0 || bytes_equal_nocase(bytes_after(address, (size_t)at + 1), BYTES(KIN_DOMAIN));
}

static bool is_owner(struct bytes local_part)
{
    return bytes_starts_nocase(local_part, BYTES("owner-l"));
}

enum kin_kind kin_ask(struct bytes address)
{
    struct bytes local_part = local_part_of(address);

    if (node_find(local_part) != NULL || is_owner(local_part))
        return KIN_ALIAS;
    return bytes_starts_nocase(local_part, BYTES("ok")) ? KIN_MAILBOX : KIN_NOBODY;
}

struct walk {
    struct kin_leaf *leaves;
    unsigned count, room;
    bool met[NODES_MAX][KIN_OWNERS];
};

static void leaf_add(struct walk *w, struct bytes local_part, bool program, bool nothing, unsigned owner)
{
    char address[80];

    if (is_here(local_part))
        (void)snprintf(address, sizeof address, "%.*s@" KIN_DOMAIN, BYTES_ARG(local_part_of(local_part)));
    else
        (void)snprintf(address, sizeof address, "%.*s", BYTES_ARG(local_part));
    for (unsigned i = 0; i < w->count; i++)
        if (strcmp(w->leaves[i].address, address) == 0 && w->leaves[i].program == program) {
            w->leaves[i].owners |= 1u << owner;
            return;
        }
    ASSERT(w->count < w->room);
    struct kin_leaf *leaf = &w->leaves[w->count++];
    *leaf = (struct kin_leaf){.program = program, .nothing = nothing, .owners = 1u << owner};
    memcpy(leaf->address, address, sizeof address);
}

static void node_walk(struct walk *w, const struct node *node, unsigned owner)
{
    if (node->owner > 0)
        owner = node->owner;
    if (w->met[node - kin.nodes][owner])
        return;
    w->met[node - kin.nodes][owner] = true;
    if (node->program || node->nothing)
        leaf_add(w, bytes_of(node->name), node->program, node->nothing, owner);
    for (unsigned k = 0; k < node->target_count; k++) {
        struct bytes target = bytes_of(node->targets[k]);
        bool plain = target.data[0] == '\\';
        if (plain)
            target = bytes_after(target, 1);
        const struct node *next = is_here(target) && !plain ? node_find(local_part_of(target)) : NULL;
        if (next == NULL || next == node)
            leaf_add(w, target, false, false, owner);
        else
            node_walk(w, next, owner);
    }
}

unsigned kin_expand(struct bytes address, struct kin_leaf *leaves, unsigned room)
{
    static struct walk w;
    struct bytes local_part = local_part_of(address);
    const struct node *node = node_find(local_part);
    char name[16];

    if (!is_here(address))
        return 0;
    w = (struct walk){.leaves = leaves, .room = room};
    if (is_owner(local_part)) {
        (void)snprintf(name, sizeof name, "oks%u", (unsigned)(local_part.data[local_part.size - 1] - '0') + 1);
        leaf_add(&w, bytes_of(name), false, false, 0);
    } else if (node != NULL) {
        node_walk(&w, node, 0);
    } else if (kin_ask(address) == KIN_MAILBOX) {
        leaf_add(&w, local_part, false, false, 0);
    }
    return w.count;
}

void kin_owner(unsigned owner, char *out, size_t room)
{
    (void)snprintf(out, room, "owner-l%u@" KIN_DOMAIN, owner - 1);
}

enum kin_script kin_script(struct bytes program)
{
    if (bytes_equal(program, BYTES("p1")) || bytes_equal(program, BYTES("f1")))
        return KIN_FLAKY;
    if (bytes_equal(program, BYTES("p2")))
        return KIN_REFUSES;
    return bytes_equal(program, BYTES("p3")) ? KIN_ROUGH : KIN_TAKES;
}

void kin_maildir(struct bytes address, const char *root, char *out, size_t room)
{
    (void)snprintf(out, room, "%s/" KIN_DOMAIN "/%.*s", root, BYTES_ARG(local_part_of(address)));
    for (char *c = out + strlen(root); *c != 0; c++)
        *c = (char)octet_lower((uint8_t)*c);
}

void kin_address(uint32_t n, char *out, size_t room)
{
    static const char *const names[] = {"l0", "l1", "p0", "p1", "p2", "p3", "f0", "f1", "v0", "loop0", "owner-l0"};

    if (n < KIN_ALIASES)
        (void)snprintf(out, room, "a%u@" KIN_DOMAIN, n);
    else if (n < KIN_ALIASES + COUNT_OF(names))
        (void)snprintf(out, room, "%s@" KIN_DOMAIN, names[n - KIN_ALIASES]);
    else
        (void)snprintf(out, room, "gone%u@" KIN_DOMAIN, n);
}
