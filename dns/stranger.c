#include "dns/stranger.h"

/* `user` of a question: what it is about. */
enum { USER_REVERSE = 0, USER_CANDIDATE = 1, USER_LIST = USER_CANDIDATE + STRANGER_NAME_COUNT_MAX };

void stranger_init(struct stranger *s, const struct dns_address *address, const struct stranger_list *lists,
    unsigned list_count, bool names)
{
    ASSERT(list_count <= STRANGER_LIST_COUNT_MAX);
    memset(s, 0, sizeof *s);
    s->address = *address;
    s->lists = lists;
    s->list_count = list_count;
    s->wants_name = names;
}

/* "7.2.0.192.bl.example": the reverse name with another zone behind it. */
static bool list_name(const struct stranger *s, struct bytes zone, struct dns_name *name_out)
{
    enum { SUFFIX_SIZE = 13 - 1, SUFFIX_SIZE_V6 = 9 - 1 }; /* ".in-addr.arpa", ".ip6.arpa", but for their first dot */
    uint8_t room[DNS_NAME_SIZE_MAX + 2];
    struct buf text = BUF(room);
    struct dns_name reverse;

    dns_reverse_name(&s->address, &reverse);
    struct bytes whole = dns_name_bytes(&reverse);
    size_t suffix = s->address.family == 6 ? SUFFIX_SIZE_V6 : SUFFIX_SIZE;
    return is_ok(buf_put(&text, bytes_head(whole, whole.size - suffix))) && is_ok(buf_put(&text, zone)) &&
           is_ok(dns_name_set(name_out, buf_bytes(&text)));
}

bool stranger_next(struct stranger *s, struct stranger_ask *ask_out)
{
    if (s->wants_name && !s->reverse_asked) {
        s->reverse_asked = true;
        s->asked++;
        s->names_open++;
        *ask_out = (struct stranger_ask){.type = DNS_TYPE_PTR, .user = USER_REVERSE};
        dns_reverse_name(&s->address, &ask_out->name);
        return true;
    }
    if (s->names_asked < s->name_count && s->name.size == 0) {
        ask_out->type = s->address.family == 6 ? DNS_TYPE_AAAA : DNS_TYPE_A;
        ask_out->user = USER_CANDIDATE + s->names_asked;
        ask_out->name = s->candidates[s->names_asked++];
        s->names_open++;
        s->asked++;
        return true;
    }
    while (s->lists_asked < s->list_count) {
        unsigned list = s->lists_asked++;

        if (!list_name(s, s->lists[list].zone, &ask_out->name))
            continue;
        ask_out->type = DNS_TYPE_A;
        ask_out->user = USER_LIST + list;
        s->asked++;
        return true;
    }
    return false;
}

static void candidates_take(struct stranger *s, const struct dns_answer *answer)
{
    for (unsigned i = 0; i < answer->count && s->name_count < STRANGER_NAME_COUNT_MAX; i++)
        if (dns_name_is_host(dns_name_bytes(&answer->ptr[i])))
            s->candidates[s->name_count++] = answer->ptr[i];
}

static bool leads_back(const struct stranger *s, const struct dns_answer *answer)
{
    for (unsigned i = 0; i < answer->count; i++)
        if (dns_address_equal(&answer->address[i], &s->address))
            return true;
    return false;
}

static bool is_listed(const struct stranger_list *list, const struct dns_answer *answer)
{
    for (unsigned i = 0; i < answer->count; i++) {
        const uint8_t *octets = answer->address[i].octets;

        if (octets[0] == 127 && (!list->one_answer || memcmp(octets, list->answer, sizeof list->answer) == 0))
            return true;
    }
    return false;
}

void stranger_answer(struct stranger *s, uint32_t user, const struct dns_answer *answer)
{
    bool good = answer != NULL && answer->status == DNS_OK;

    ASSERT(s->asked > 0);
    s->asked--;
    if (user >= USER_LIST) {
        ASSERT(user - USER_LIST < s->list_count);
        if (good && answer->type == DNS_TYPE_A && is_listed(&s->lists[user - USER_LIST], answer))
            s->listed |= (uint32_t)1 << (user - USER_LIST);
        return;
    }
    s->names_open--;
    if (answer == NULL || dns_status_is_temporary(answer->status))
        s->failed = true;
    if (good && user == USER_REVERSE)
        candidates_take(s, answer);
    if (good && user >= USER_CANDIDATE && s->name.size == 0 && leads_back(s, answer))
        s->name = s->candidates[user - USER_CANDIDATE];
}

bool stranger_is_nameless(const struct stranger *s)
{
    return s->wants_name && s->reverse_asked && s->names_open == 0 && s->names_asked == s->name_count &&
           s->name.size == 0 && !s->failed;
}

bool stranger_done(const struct stranger *s)
{
    return s->asked == 0 && (s->reverse_asked || !s->wants_name) &&
           (s->names_asked == s->name_count || s->name.size > 0) && s->lists_asked == s->list_count;
}
