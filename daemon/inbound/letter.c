#include "daemon/inbound/letter.h"

#include "daemon/edge/clock.h"
#include "smtp/completion.h"
#include "smtp/rewrite.h"

enum {
    LETTER_ARENA_SIZE_MAX = 4 * 1024 * 1024, /* held recipients and small texts */
    LETTER_TRACE_SIZE_MAX = 4096,
    AUTHORS_SIZE_MAX = 16384, /* the From fields' text of one message whose authors are looked at */
    BCC_SIZE_MAX = 65536,     /* the Bcc fields' text of one message that is split */
    LETTER_REPLY_SIZE_MAX = 256,
};

struct held_rcpt {
    struct held_rcpt *next;
    struct recipient rcpt;
    bool blind;
};

/* A transaction of the letter. */
struct copy {
    struct depot_tx *tx; /* NULL: over */
    uint64_t size;
};

struct letter {
    struct letter_setup setup;
    struct arena arena;
    struct completion_config completion_config;
    struct completion *completion; /* NULL: the header is over, or nothing in it is completed */
    struct rewrite_config rewrite_config;
    struct rewrite *rewrite; /* behind it; NULL: the header is over, or stays as it is */
    struct copy copies[LETTER_COPIES_MAX];
    size_t copy_count, open_count;
    struct message_id id;
    struct walltime arrival;
    bool trace_given, split, failed;
    struct reply refusal;
    struct buf header, bcc; /* held with split */
    struct buf authors;
    bool authors_lost;
    struct address_list author_list; /* of the last letter_author */
    struct bytes trace;
    struct bytes made_id; /* with <> */
    struct held_rcpt *rcpts, **rcpts_end;
    enum tx_outcome outcome;
    struct buf reply;
    uint8_t reply_room[LETTER_REPLY_SIZE_MAX], refusal_room[LETTER_REPLY_SIZE_MAX];
};

static void refuse(struct letter *l, struct reply reply)
{
    if (!l->failed)
        l->refusal = reply;
    l->failed = true;
}

/* --- start --- */

static RESULT address_make(struct letter *l, struct bytes login, struct bytes *address_out)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf address = BUF(room);

    TRY(buf_put(&address, login));
    if (bytes_index(login, '@') == BYTES_NOT_FOUND) {
        TRY(buf_put_octet(&address, '@'));
        TRY(buf_put(&address, l->setup.cfg->origin));
    }
    return arena_copy(&l->arena, buf_bytes(&address), address_out);
}

/* Our id alone would come again after a queue was made anew. */
static RESULT message_id_make(struct letter *l)
{
    uint8_t room[DOMAIN_SIZE_MAX + 64];
    struct buf id = BUF(room);

    TRY(buf_put_octet(&id, '<'));
    TRY(buf_put_u64(&id, (uint64_t)l->arrival.ms));
    TRY(buf_put_octet(&id, '.'));
    TRY(message_id_put(&id, l->id));
    TRY(buf_put_octet(&id, '@'));
    TRY(buf_put(&id, l->setup.cfg->hostname));
    TRY(buf_put_octet(&id, '>'));
    TRY(arena_copy(&l->arena, buf_bytes(&id), &l->made_id));
    l->completion_config.message_id = (struct bytes){l->made_id.data + 1, l->made_id.size - 2};
    return OK;
}

static bool header_map(void *ctx, enum rewrite_side side, struct bytes address, struct buf *out)
{
    const struct letter *l = ctx;

    return rewriting_canonical(l->setup.rewriting, side, false, address, out);
}

static RESULT letter_init(struct letter *l, struct depot_tx *tx)
{
    struct completion_config *c = &l->completion_config;
    const struct config *cfg = l->setup.cfg;
    void *memory;

    *c = (struct completion_config){
        .add = l->setup.submitted,
        .strip_bcc = l->setup.bcc != BCC_KEEP,
        .sender = cfg->submission.sender,
        .origin = cfg->origin,
        .no_destination = l->setup.submitted ? cfg->submission.no_destination : BYTES_NONE,
        .now = l->arrival,
    };
    if (l->setup.login.size > 0)
        TRY(address_make(l, l->setup.login, &c->user));
    c->from = c->user;
    if (c->from.size == 0)
        TRY(arena_copy(&l->arena, depot_tx_head(tx)->reverse_path, &c->from));
    TRY(message_id_make(l));
    if (l->split) {
        TRY(arena_take(&l->arena, BCC_SIZE_MAX, &memory));
        buf_init(&l->bcc, memory, BCC_SIZE_MAX);
        c->bcc = &l->bcc;
    }
    if (l->setup.authors) {
        TRY(arena_take(&l->arena, AUTHORS_SIZE_MAX, &memory));
        buf_init(&l->authors, memory, AUTHORS_SIZE_MAX);
        c->authors = &l->authors;
    }
    if (c->add || c->strip_bcc || l->setup.authors) {
        l->completion = mem_take(sizeof *l->completion);
        if (l->completion == NULL)
            return FAIL(CODE_FULL, "out of memory");
        completion_init(l->completion, c);
    }
    if (l->setup.rewriting == NULL)
        return OK;
    l->rewrite_config = (struct rewrite_config){.map = header_map, .ctx = l, .origin = cfg->origin};
    l->rewrite = mem_take(sizeof *l->rewrite);
    if (l->rewrite == NULL)
        return FAIL(CODE_FULL, "out of memory");
    rewrite_init(l->rewrite, &l->rewrite_config);
    return OK;
}

static void letter_release(struct letter **letter)
{
    struct letter *l = *letter;

    mem_free(l->completion);
    mem_free(l->rewrite);
    mem_free(l->header.data);
    arena_fini(&l->arena);
    mem_free(l);
    *letter = NULL;
}

struct letter *letter_new(const struct letter_setup *setup, struct depot_tx *tx)
{
    struct letter *l = mem_take_zero(sizeof *l);

    if (l == NULL)
        return NULL;
    l->setup = *setup;
    l->id = depot_tx_id(tx);
    l->arrival = depot_tx_head(tx)->arrival;
    l->split = setup->bcc == BCC_SPLIT;
    l->rcpts_end = &l->rcpts;
    l->outcome = TX_ACCEPTED;
    arena_init(&l->arena, LETTER_ARENA_SIZE_MAX);
    buf_init(&l->reply, l->reply_room, sizeof l->reply_room);
    if (!is_ok(letter_init(l, tx))) {
        letter_release(&l);
        return NULL;
    }
    l->copies[0].tx = tx;
    l->copy_count = l->open_count = 1;
    return l;
}

bool letter_rcpt(struct letter *l, const struct recipient *rcpt)
{
    struct held_rcpt *held;
    void *memory;

    if (!l->split) {
        depot_tx_rcpt(l->copies[0].tx, rcpt);
        return true;
    }
    if (!is_ok(arena_take(&l->arena, sizeof *held, &memory)))
        return false;
    held = memory;
    if (!is_ok(recipient_copy(&l->arena, rcpt, &held->rcpt)))
        return false;
    *l->rcpts_end = held;
    l->rcpts_end = &held->next;
    return true;
}

/* --- octets --- */

static void copy_put(struct copy *c, struct bytes octets)
{
    depot_tx_body(c->tx, octets);
    c->size += octets.size;
}

static void copies_put(struct letter *l, struct bytes octets)
{
    for (size_t i = 0; i < l->copy_count && octets.size > 0; i++)
        copy_put(&l->copies[i], octets);
}

static void header_hold(struct letter *l, struct bytes octets)
{
    struct buf *h = &l->header;

    while (buf_left(h) < octets.size) {
        size_t room = h->size_max == 0 ? 4096 : h->size_max * 2;
        if (room > LETTER_HEADER_SIZE_MAX) {
            refuse(l, REPLY(552, 5, 3, 4, "the header is too large to be split by recipients"));
            return;
        }
        uint8_t *data = mem_resize(h->data, room);
        if (data == NULL) {
            refuse(l, REPLY(452, 4, 3, 1, "Out of memory, try again later"));
            return;
        }
        h->data = data;
        h->size_max = room;
    }
    if (!is_ok(buf_put(h, octets)))
        refuse(l, REPLY(451, 4, 3, 0, "the header could not be held"));
}

/* The copy's own id in its trace field. */
static void trace_put(struct letter *l, struct copy *c)
{
    uint8_t ours_room[MESSAGE_ID_SIZE_MAX + 4], copys_room[MESSAGE_ID_SIZE_MAX + 4];
    struct buf ours = BUF(ours_room), copys = BUF(copys_room);
    struct result r = buf_put(&ours, BYTES(" id "));
    ptrdiff_t at;

    if (is_ok(r))
        r = message_id_put(&ours, l->id);
    if (is_ok(r))
        r = buf_put(&copys, BYTES(" id "));
    if (is_ok(r))
        r = message_id_put(&copys, depot_tx_id(c->tx));
    at = bytes_find(l->trace, buf_bytes(&ours));
    if (!is_ok(r) || at == BYTES_NOT_FOUND) {
        copy_put(c, l->trace);
        return;
    }
    copy_put(c, bytes_head(l->trace, (size_t)at));
    copy_put(c, buf_bytes(&copys));
    copy_put(c, bytes_after(l->trace, (size_t)at + ours.size));
}

/* --- split --- */

/* As the session has rewritten those of the envelope. */
static void blind_mark(struct letter *l, struct bytes address)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf fresh = BUF(room);

    if (l->setup.rewriting != NULL && rewriting_canonical(l->setup.rewriting, REWRITE_RECIPIENT, true, address, &fresh))
        address = buf_bytes(&fresh);
    for (struct held_rcpt *held = l->rcpts; held != NULL; held = held->next)
        if (bytes_equal_nocase(held->rcpt.forward_path, address))
            held->blind = true;
}

static void blind_find(struct letter *l)
{
    struct address_list list;
    struct address_mailbox mailbox;
    struct bytes value = buf_bytes(&l->bcc);
    struct result r;

    address_list_init(&list, l->setup.cfg->origin);
    for (bool ended = false;;) {
        r = ended ? address_list_end(&list, &mailbox) : address_list_feed(&list, &value, &mailbox);
        if (r.code == CODE_MORE)
            ended = true;
        else if (is_ok(r))
            blind_mark(l, mailbox.address.text);
        else
            break;
    }
    if (r.code == CODE_GONE && !l->completion->bcc_lost)
        return;
    struct buf text = BUF(l->refusal_room);
    struct result put = buf_put_str(&text, "Bcc cannot be split by recipients: column ");
    if (is_ok(put))
        put = buf_put_u64(&text, address_list_error_offset(&list) + 1);
    if (is_ok(put))
        put = buf_put_str(&text, ": ");
    if (is_ok(put))
        put = buf_put_str(&text, r.code == CODE_GONE ? "too long" : r.why);
    ASSERT(is_ok(put));
    refuse(l, (struct reply){550, {5, 6, 0}, buf_bytes(&text)});
}

/* A transaction for one blind recipient. */
static struct copy *copy_open(struct letter *l)
{
    enum depot_refusal refusal;
    struct bytes words;
    struct depot_tx *tx;

    if (l->copy_count == LETTER_COPIES_MAX) {
        refuse(l, REPLY(452, 4, 5, 3, "too many recipients in Bcc"));
        return NULL;
    }
    tx = depot_tx_open(l->setup.depot, l->setup.owner, depot_tx_head(l->copies[0].tx), &refusal, &words);
    if (tx == NULL) {
        refuse(l, REPLY(451, 4, 3, 0, "The mail queue does not answer at present, try again later"));
        return NULL;
    }
    l->copies[l->copy_count] = (struct copy){.tx = tx};
    l->open_count++;
    return &l->copies[l->copy_count++];
}

/* The held header without its empty line, the copy's own Bcc, the empty line. */
static void copy_begin(struct letter *l, struct copy *c, const struct recipient *blind)
{
    struct bytes header = buf_bytes(&l->header);

    trace_put(l, c);
    copy_put(c, bytes_head(header, header.size - 2));
    if (blind != NULL) {
        copy_put(c, BYTES("Bcc: "));
        copy_put(c, blind->forward_path);
        copy_put(c, BYTES("\r\n"));
    }
    copy_put(c, BYTES("\r\n"));
}

static void letter_split(struct letter *l)
{
    struct copy *first = &l->copies[0];
    bool first_taken = false;

    blind_find(l);
    for (const struct held_rcpt *held = l->rcpts; held != NULL && !l->failed; held = held->next)
        if (!held->blind) {
            depot_tx_rcpt(first->tx, &held->rcpt);
            first_taken = true;
        }
    if (first_taken)
        copy_begin(l, first, NULL);
    for (const struct held_rcpt *held = l->rcpts; held != NULL && !l->failed; held = held->next) {
        struct copy *c = !held->blind ? NULL : first_taken ? copy_open(l) : first;

        if (c == NULL)
            continue;
        first_taken = true;
        depot_tx_rcpt(c->tx, &held->rcpt);
        copy_begin(l, c, &held->rcpt);
    }
    mem_free(l->header.data);
    l->header = (struct buf){.data = NULL};
}

/* --- body --- */

static void header_over(struct letter *l)
{
    if (l->split && !l->failed)
        letter_split(l);
    l->authors_lost = l->completion != NULL && l->completion->authors_lost;
    mem_free(l->completion);
    l->completion = NULL;
    mem_free(l->rewrite);
    l->rewrite = NULL;
}

static void header_put(struct letter *l, struct bytes piece)
{
    if (l->split)
        header_hold(l, piece);
    else
        copies_put(l, piece);
}

/* A piece of the header, completed where that is wanted; true: the header is over, and what of the piece is body is put too. */
static bool rewritten_put(struct letter *l, struct bytes piece)
{
    static uint8_t room[REWRITE_OUT_SIZE_MIN]; /* used up within this call */
    struct buf out = BUF(room);
    struct result r;

    do {
        r = rewrite_feed(l->rewrite, &piece, &out);
        header_put(l, buf_bytes(&out));
        buf_reset(&out);
    } while (r.code == CODE_FULL && !l->failed);
    if (is_ok(r))
        header_put(l, piece);
    return is_ok(r);
}

static void completed_put(struct letter *l, struct buf *piece)
{
    if (l->rewrite != NULL)
        (void)rewritten_put(l, buf_bytes(piece)); /* completion says when the header is over */
    else
        header_put(l, buf_bytes(piece));
    buf_reset(piece);
}

void letter_body(struct letter *l, struct bytes body)
{
    static uint8_t room[COMPLETION_OUT_SIZE_MIN]; /* used up within this call */
    struct buf piece = BUF(room);
    struct result r;

    if (!l->trace_given) {
        l->trace_given = true;
        if (!l->split)
            copies_put(l, body);
        else if (!is_ok(arena_copy(&l->arena, body, &l->trace)))
            refuse(l, REPLY(452, 4, 3, 1, "Out of memory, try again later"));
        return;
    }
    if (l->completion != NULL && !l->failed) {
        do {
            r = completion_feed(l->completion, &body, &piece);
            completed_put(l, &piece);
        } while (r.code == CODE_FULL && !l->failed);
        if (is_ok(r))
            header_over(l);
    } else if (l->rewrite != NULL && !l->failed) {
        if (rewritten_put(l, body))
            header_over(l);
        return;
    }
    if (!l->failed && l->completion == NULL)
        copies_put(l, body);
}

/* All but one. */
static void copies_abort(struct letter *l, const struct copy *spared)
{
    for (size_t i = 0; i < l->copy_count; i++)
        if (&l->copies[i] != spared && l->copies[i].tx != NULL) {
            depot_tx_abort(&l->copies[i].tx);
            l->open_count--;
        }
}

/* (L2). The last commit may end the letter at once, when the queue is known to be gone. */
static void copies_commit(struct letter *l, struct envelope_head *head)
{
    size_t last = l->copy_count - 1;

    for (size_t i = 0; i < l->copy_count; i++)
        if (depot_tx_has_failed(l->copies[i].tx)) { /* its own end says why */
            copies_abort(l, &l->copies[i]);
            head->body_size = l->copies[i].size;
            depot_tx_commit(l->copies[i].tx, head);
            return;
        }
    for (size_t i = 0; i < last; i++) {
        head->body_size = l->copies[i].size;
        depot_tx_commit_joined(l->copies[i].tx, head);
    }
    head->body_size = l->copies[last].size;
    depot_tx_commit(l->copies[last].tx, head);
}

/* The content ended before its header did. */
static void header_end(struct letter *l)
{
    static uint8_t room[COMPLETION_OUT_SIZE_MIN];
    struct buf piece = BUF(room);

    if ((l->completion == NULL && l->rewrite == NULL) || l->failed)
        return;
    if (l->completion != NULL) {
        if (!is_ok(completion_end(l->completion, &piece)))
            refuse(l, REPLY(451, 4, 3, 0, "The header could not be completed"));
        completed_put(l, &piece);
    }
    if (l->rewrite != NULL) {
        if (!is_ok(rewrite_end(l->rewrite, &piece)))
            refuse(l, REPLY(451, 4, 3, 0, "The header could not be rewritten"));
        header_put(l, buf_bytes(&piece));
    }
    header_over(l);
}

RESULT
letter_author(struct letter *l, size_t number, struct address *author_out)
{
    struct address_mailbox mailbox;
    struct bytes value;
    struct result r;
    size_t count = 0;

    header_end(l);
    if (l->authors_lost)
        return FAIL(CODE_SYNTAX, "too long");
    value = buf_bytes(&l->authors);
    address_list_init(&l->author_list, l->setup.cfg->origin);
    for (bool ended = false;;) {
        r = ended ? address_list_end(&l->author_list, &mailbox) : address_list_feed(&l->author_list, &value, &mailbox);
        if (r.code == CODE_MORE) {
            ended = true;
            continue;
        }
        if (!is_ok(r) || count++ == number)
            break;
    }
    if (r.code == CODE_GONE && count == 0 && l->authors.size > 0)
        return FAIL(CODE_SYNTAX, "From names nobody");
    *author_out = is_ok(r) ? mailbox.address : (struct address){.text = BYTES_NONE};
    return r;
}

bool letter_commit(struct letter *l, const struct envelope_head *display, struct reply *refusal_out)
{
    struct envelope_head head = *display;

    header_end(l);
    if (l->failed) {
        *refusal_out = l->refusal;
        copies_abort(l, NULL);
        return false;
    }
    if (head.message_id.size == 0 && l->setup.submitted)
        head.message_id = l->made_id;
    copies_commit(l, &head);
    return true;
}

bool letter_done(struct letter *l, const struct depot_tx *tx, enum tx_outcome outcome, struct bytes reply)
{
    for (size_t i = 0; i < l->copy_count; i++) {
        if (l->copies[i].tx != tx)
            continue;
        l->copies[i].tx = NULL;
        l->open_count--;
    }
    if (outcome != TX_ACCEPTED && l->outcome == TX_ACCEPTED) {
        l->outcome = outcome;
        (void)!is_ok(buf_put(&l->reply, bytes_head(reply, LETTER_REPLY_SIZE_MAX)));
    }
    return l->open_count == 0;
}

enum tx_outcome letter_outcome(const struct letter *l, struct bytes *reply_out, struct message_id *id_out)
{
    *reply_out = buf_bytes(&l->reply);
    *id_out = l->id;
    return l->outcome;
}

size_t letter_allowance(struct letter *l)
{
    size_t least = SIZE_MAX;

    if (l->failed)
        return SIZE_MAX; /* what comes goes nowhere */
    for (size_t i = 0; i < l->copy_count; i++) {
        size_t allowance = l->copies[i].tx == NULL ? SIZE_MAX : depot_tx_allowance(l->copies[i].tx);

        least = allowance < least ? allowance : least;
    }
    return least;
}

void letter_free(struct letter **letter)
{
    struct letter *l = *letter;

    if (l == NULL)
        return;
    for (size_t i = 0; i < l->copy_count; i++)
        if (l->copies[i].tx != NULL)
            depot_tx_abort(&l->copies[i].tx);
    letter_release(letter);
}

void letter_leave(struct letter **letter)
{
    struct letter *l = *letter;

    if (l == NULL)
        return;
    for (size_t i = 0; i < l->copy_count; i++)
        if (l->copies[i].tx != NULL)
            depot_tx_leave(&l->copies[i].tx);
    letter_release(letter);
}
