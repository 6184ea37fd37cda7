#include "daemon/inbound/policy.h"

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool policy_may_relay(const struct config *cfg, const uint8_t address[16], bool local, bool authenticated)
{
    return local || authenticated || config_network_contains(&cfg->relay_from, address);
}

static void refuse(struct policy_verdict *verdict, struct reply reply, const char *why)
{
    verdict->accept = false;
    verdict->reply = reply;
    verdict->why = why;
}

/* "5.1.1" as numbers; what the configuration checked cannot fail, so anything else is the class alone. */
static struct enhanced_status status_of(struct bytes text)
{
    struct enhanced_status status = {5, 0, 0};
    ptrdiff_t first = bytes_index(text, '.');
    struct bytes rest = first == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(text, (size_t)first + 1);
    ptrdiff_t second = bytes_index(rest, '.');
    uint64_t subject, detail;

    if (text.size > 0 && text.data[0] == '4')
        status.class = 4;
    if (second != BYTES_NOT_FOUND && is_ok(bytes_to_u64(bytes_head(rest, (size_t)second), 999, &subject)) &&
        is_ok(bytes_to_u64(bytes_after(rest, (size_t)second + 1), 999, &detail))) {
        status.subject = (uint16_t)subject;
        status.detail = (uint16_t)detail;
    }
    return status;
}

/* What `error:` in a domain or route block says, as a reply. */
static struct reply error_reply(const struct route_target *target)
{
    struct enhanced_status status = status_of(target->status);

    return (struct reply){status.class == 4 ? 450 : 550, status,
        target->text.size > 0 ? target->text : BYTES("This address does not take mail")};
}

/* Which of our domains `postmaster` alone belongs to (RFC 5321 4.5.1). */
static struct bytes postmaster_domain(const struct config *cfg)
{
    if (config_domain_find(cfg, cfg->hostname) == NULL) {
        if (config_domain_find(cfg, cfg->origin) != NULL)
            return cfg->origin;
        if (cfg->domain_count > 0)
            return cfg->domains[0].name;
    }
    return cfg->hostname;
}

static bool user_is_listed(const struct config_domain *domain, struct bytes local_part)
{
    uint8_t room[LOCAL_PART_SIZE_MAX];
    struct buf plain = BUF(room);

    if (domain->users.count == 0)
        return true;
    if (!is_ok(address_put_unquoted(&plain, local_part)))
        return false;
    struct bytes user = config_domain_user(domain, buf_bytes(&plain));
    for (size_t i = 0; i < domain->users.count; i++)
        if (bytes_equal_nocase(domain->users.items[i], buf_bytes(&plain)) ||
            bytes_equal_nocase(domain->users.items[i], user))
            return true;
    return false;
}

/* A route for this very address wins over the block of its domain, and over its aliases. */
static bool address_refused(
    const struct config *cfg, const struct address *path, struct bytes ascii_domain, struct policy_verdict *verdict)
{
    uint8_t lane[LANE_NAME_SIZE_MAX], octets[ADDRESS_SIZE_MAX + DOMAIN_SIZE_MAX];
    struct buf lane_room = BUF(lane), whole = BUF(octets);
    struct route_choice choice;

    if (!is_ok(buf_put(&whole, path->local_part)) || !is_ok(buf_put_octet(&whole, '@')) ||
        !is_ok(buf_put(&whole, ascii_domain)) ||
        !is_ok(route_choose_for(&cfg->routes, buf_bytes(&whole), BYTES_NONE, &lane_room, &choice)) ||
        choice.kind != ROUTE_CHOICE_ERROR || bytes_index(choice.route->pattern, '@') == BYTES_NOT_FOUND)
        return false;
    refuse(verdict, error_reply(&choice.route->target), "route_error");
    return true;
}

/* A place that is not ours: only for those who may relay, and not where the operator's routes say no. */
static void judge_elsewhere(
    const struct config *cfg, bool may_relay, struct bytes domain, struct policy_verdict *verdict)
{
    uint8_t lane[LANE_NAME_SIZE_MAX];
    struct buf lane_room = BUF(lane);
    struct route_choice choice;

    if (!may_relay) {
        refuse(verdict, REPLY(550, 5, 7, 1, "Relaying is denied"), "relay_denied");
        return;
    }
    if (is_ok(route_choose(&cfg->routes, domain, &lane_room, &choice)) && choice.kind == ROUTE_CHOICE_ERROR)
        refuse(verdict, error_reply(&choice.route->target), "route_error");
}

void policy_elsewhere(
    const struct config *cfg, bool may_relay, struct bytes ascii_domain, struct policy_verdict *verdict_out)
{
    *verdict_out = (struct policy_verdict){.accept = true};
    judge_elsewhere(cfg, may_relay, ascii_domain, verdict_out);
}

void policy_rcpt(const struct config *cfg, bool may_relay, const struct address *path, struct bytes ascii_domain,
    struct buf *room, struct policy_verdict *verdict_out)
{
    const struct config_domain *domain;
    bool role = bytes_equal_nocase(path->local_part, BYTES("postmaster")) ||
                bytes_equal_nocase(path->local_part, BYTES("abuse"));

    *verdict_out = (struct policy_verdict){.accept = true, .forward_path = path->text};
    if (path->domain_kind == ADDRESS_DOMAIN_NONE) {
        struct bytes ours = postmaster_domain(cfg);
        size_t before = room->size;

        if (!is_ok(buf_put(room, BYTES("postmaster@"))) || !is_ok(buf_put(room, ours)))
            refuse(verdict_out, REPLY(451, 4, 3, 0, "The address is too long"), "too_long");
        verdict_out->forward_path = bytes_after(buf_bytes(room), before);
        domain = config_domain_find(cfg, ours);
        verdict_out->role = true;
        verdict_out->domain = domain;
        verdict_out->ask = verdict_out->accept && domain != NULL && config_domain_is_looked_up(domain);
        return;
    }
    domain = config_domain_find(cfg, ascii_domain);
    if (!role && (domain != NULL || cfg->hosted != NULL || may_relay) &&
        address_refused(cfg, path, ascii_domain, verdict_out))
        return;
    if (domain == NULL && cfg->hosted != NULL) {
        verdict_out->ask = true;
        return;
    }
    if (domain == NULL) {
        judge_elsewhere(cfg, may_relay, ascii_domain, verdict_out);
        return;
    }
    verdict_out->ask = config_domain_is_looked_up(domain) || config_is_srs_address(cfg, path->text);
    verdict_out->role = role;
    verdict_out->domain = domain;
    if (role || verdict_out->ask)
        return; /* RFC 5321 4.5.1, RFC 2142: postmaster and abuse always */
    if (domain->target.kind == ROUTE_ERROR)
        refuse(verdict_out, error_reply(&domain->target), "domain_error");
    else if (!user_is_listed(domain, path->local_part))
        refuse(verdict_out, REPLY(550, 5, 1, 1, "There is no such mailbox here"), "user_unknown");
}

/* "alice@example.org" or "@example.org" against an address. Local parts as they are written, but for the case that nobody
 * tells apart (RFC 5321 2.4 allows it; no mailbox of ours differs by case alone). */
static bool sender_fits(struct bytes sender, struct bytes local_part, struct bytes domain)
{
    ptrdiff_t at = bytes_rindex(sender, '@');

    return at != BYTES_NOT_FOUND && bytes_equal_nocase(bytes_after(sender, (size_t)at + 1), domain) &&
           (at == 0 || bytes_equal_nocase(bytes_head(sender, (size_t)at), local_part));
}

static bool sender_is_listed(const struct config_login *login, struct bytes local_part, struct bytes domain)
{
    for (size_t i = 0; i < login->senders.count; i++)
        if (sender_fits(login->senders.items[i], local_part, domain))
            return true;
    return false;
}

bool policy_sender(
    const struct config *cfg, struct bytes login, const struct address *reverse_path, struct bytes ascii_domain)
{
    uint8_t room[LOCAL_PART_SIZE_MAX];
    struct buf plain = BUF(room);

    if (reverse_path->text.size == 0)
        return true;
    if (!is_ok(address_put_unquoted(&plain, reverse_path->local_part)))
        return false;
    for (size_t i = 0; i < cfg->login_count; i++)
        if (bytes_equal(cfg->logins[i].name, login))
            return sender_is_listed(&cfg->logins[i], buf_bytes(&plain), ascii_domain);
    if (policy_sender_is_asked(cfg, login))
        return false;
    if (cfg->auth.senders != SENDERS_OWN)
        return cfg->auth.senders == SENDERS_ANY;
    if (bytes_index(login, '@') != BYTES_NOT_FOUND)
        return sender_fits(login, buf_bytes(&plain), ascii_domain);
    return bytes_equal_nocase(login, buf_bytes(&plain)) && config_domain_find(cfg, ascii_domain) != NULL;
}

bool policy_sender_is_asked(const struct config *cfg, struct bytes login)
{
    for (size_t i = 0; i < cfg->login_count; i++)
        if (bytes_equal(cfg->logins[i].name, login))
            return false;
    return cfg->auth.sender_lookups.count > 0;
}

uint64_t policy_client_key(const uint8_t address[16])
{
    bool ipv4 = memcmp(address, MAPPED, sizeof MAPPED) == 0;
    uint64_t key = wire_load_u64(ipv4 ? address + 8 : address);

    return key == 0 ? 1 : key; /* 0 marks a free place where keys are kept */
}

const char *policy_listen_name(enum listen_class class)
{
    switch (class) {
    case LISTEN_SMTP:
        return "smtp";
    case LISTEN_SUBMISSION:
        return "submission";
    case LISTEN_SUBMISSIONS:
        return "submissions";
    case LISTEN_LOCAL:
        return "inject";
    }
    return "smtp";
}
