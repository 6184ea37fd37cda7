/* doctor: looks at what mail servers usually ail from. Each finding has its cure; what is well says so, too. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "dns/message.h"
#include "tools/ask.h"
#include "tools/render.h"

enum {
    ANSWER_WAIT_MS = 3000,
    SYNC_ROUNDS = 16,
    SYNC_SLOW_US = 50000,
    SYNC_FAST_US = 20, /* no disk acknowledges a flush that fast */
    CERTIFICATE_SOON_DAYS = 21,
    YEAR_2024 = 1704067200,
    MX_QUESTION_ID = 0x4d78,
};

enum verdict { WELL, WARNING, PROBLEM };

struct doctor {
    const struct tool *t;
    unsigned counts[PROBLEM + 1];
};

static void finding(struct doctor *d, const char *check, enum verdict verdict, const char *text, const char *cure)
{
    static const char *const words[] = {"ok", "warning", "problem"};
    json_t *line;
    char *json;

    d->counts[verdict]++;
    if (!d->t->json) {
        printf("%-8s %-12s ", words[verdict], check);
        render_text(stdout, text);
        putchar('\n');
        if (verdict != WELL)
            printf("%21s cure: %s\n", "", cure);
        return;
    }
    line = json_pack("{s:i,s:s,s:s,s:s,s:s}", "v", 1, "check", check, "verdict", words[verdict], "text", text, "cure",
        verdict == WELL ? "" : cure);
    json = line == NULL ? NULL : json_dumps(line, JSON_COMPACT);
    if (json != NULL)
        puts(json);
    free(json);
    json_decref(line);
}

/* --- names --- */

/* Whether the address has a name that leads back to it. */
static bool goes_back(const struct sockaddr *address, socklen_t size, char *name, size_t name_size)
{
    struct addrinfo *list = NULL;
    bool found = false;

    if (getnameinfo(address, size, name, (socklen_t)name_size, NULL, 0, NI_NAMEREQD) != 0)
        return false;
    if (getaddrinfo(name, NULL, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &list) != 0)
        return false;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next)
        found = found || (at->ai_addrlen == size && memcmp(at->ai_addr, address, size) == 0);
    freeaddrinfo(list);
    return found;
}

static void hostname_check(struct doctor *d)
{
    const char *host = (const char *)d->t->cfg->hostname.data;
    struct addrinfo *list = NULL;
    char text[512], name[NI_MAXHOST], number[NI_MAXHOST];

    if (strchr(host, '.') == NULL) {
        finding(d, "hostname", PROBLEM, "the host name has no domain: other servers refuse such a greeting",
            "set hostname to the full name in the configuration");
        return;
    }
    if (getaddrinfo(host, NULL, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &list) != 0) {
        (void)snprintf(text, sizeof text, "%s has no address", host);
        finding(d, "hostname", WARNING, text, "enter an A or AAAA record for it, or correct hostname");
        return;
    }
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        bool back = goes_back(at->ai_addr, at->ai_addrlen, name, sizeof name);

        if (getnameinfo(at->ai_addr, at->ai_addrlen, number, sizeof number, NULL, 0, NI_NUMERICHOST) != 0)
            continue;
        (void)snprintf(text, sizeof text,
            back ? "%s has %s, whose name is %s" : "%s has %s, which has no name that leads back", host, number, name);
        finding(d, "hostname", back ? WELL : WARNING, text,
            "ask whoever owns the address for a PTR record with the host name; many receivers insist");
    }
    freeaddrinfo(list);
}

/* --- the resolver: one question for the root, by hand, so that the configured server itself is asked --- */

static bool server_first(const struct doctor *d, char *address, size_t size, uint16_t *port_out)
{
    const struct config *cfg = d->t->cfg;
    char line[256];
    FILE *file;
    bool found = false;

    *port_out = 53;
    if (cfg->dns.servers.count > 0) {
        struct bytes server = cfg->dns.servers.items[0];
        ptrdiff_t colon = bytes_rindex(server, ':'), close = bytes_rindex(server, ']');
        uint64_t port = 53;

        if (colon > close && (close >= 0 || bytes_index(server, ':') == colon)) {
            if (!is_ok(bytes_to_u64(bytes_after(server, (size_t)colon + 1), 65535, &port)))
                return false;
            server = bytes_head(server, (size_t)colon);
        }
        *port_out = (uint16_t)port;
        if (server.size > 1 && server.data[0] == '[')
            server = bytes_head(bytes_after(server, 1), server.size - 2);
        return snprintf(address, size, "%.*s", BYTES_ARG(server)) < (int)size;
    }
    file = fopen("/etc/resolv.conf", "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        if (strncmp(line, "nameserver ", 11) == 0)
            found = snprintf(address, size, "%s", line + 11) < (int)size;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

enum { DNS_HEAD_SIZE = 12, DNS_AD = 0x20, DNS_RCODE = 0x0f, RCODE_SERVFAIL = 2, ASK_SOA = 6, ASK_A = 1 };

/* Id, RD and AD, one question and one OPT record with DO (RFC 6891, RFC 3225). 0: the name does not fit. */
static size_t question_make(const char *name, uint8_t type, uint8_t out[512])
{
    static const uint8_t head[DNS_HEAD_SIZE] = {0x4d, 0x61, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1};
    const uint8_t tail[] = {0, 0, type, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0};
    size_t used = sizeof head;

    memcpy(out, head, sizeof head);
    while (*name != 0) {
        size_t label = strcspn(name, ".");
        if (label == 0 || label > 63 || used + label + 1 + sizeof tail > 512)
            return 0;
        out[used] = (uint8_t)label;
        memcpy(out + used + 1, name, label);
        used += label + 1;
        name += label + (name[label] == '.');
    }
    memcpy(out + used, tail, sizeof tail);
    return used + sizeof tail;
}

struct dns_word { /* what an answer says in its head */
    bool came, vouched;
    unsigned rcode;
};

static struct dns_word dns_ask(const struct addrinfo *to, const char *name, uint8_t type)
{
    uint8_t question[512], answer[2048];
    size_t asked = question_make(name, type, question);
    ssize_t size = -1;
    int fd = asked == 0 ? -1 : socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) == 0 && send(fd, question, asked, 0) > 0 &&
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ANSWER_WAIT_MS) == 1)
        size = recv(fd, answer, sizeof answer, 0);
    if (fd >= 0)
        close(fd);
    if (size < DNS_HEAD_SIZE || answer[0] != question[0] || answer[1] != question[1])
        return (struct dns_word){.came = false};
    return (struct dns_word){true, (answer[3] & DNS_AD) != 0, answer[3] & DNS_RCODE};
}

/* Where a route wants TLSA records: the same look as outbound/dane_check.h, from here and now. */
static void dane_check(struct doctor *d, const struct addrinfo *to)
{
    const struct config *cfg = d->t->cfg;
    bool wanted = false;
    const char *why;

    for (size_t i = 0; i < cfg->routes.count; i++)
        wanted =
            wanted || cfg->routes.items[i].tls == ROUTE_TLS_DANE || cfg->routes.items[i].tls == ROUTE_TLS_DANE_ONLY;
    if (!wanted)
        return;
    struct dns_word good = dns_ask(to, (const char *)cfg->dns.check_signed.data, ASK_A);
    struct dns_word plain = dns_ask(to, (const char *)cfg->dns.check_unsigned.data, ASK_A);
    struct dns_word broken = dns_ask(to, (const char *)cfg->dns.check_broken.data, ASK_A);
    if (!cfg->dns.trust_ad)
        why = "not live: the resolver's word does not count (dns { trust_ad })";
    else if (!good.vouched)
        why = "not live: the resolver does not vouch for a name in a signed zone";
    else if (plain.vouched)
        why = "not live: the resolver vouches for a name in an unsigned zone";
    else if (broken.came && broken.rcode != RCODE_SERVFAIL)
        why = "not live: the resolver believes a zone whose signatures are broken";
    else
        why = NULL;
    finding(d, "dane", why == NULL ? WELL : WARNING,
        why == NULL ? "live: signed zones are vouched for, unsigned ones are not, broken ones give no answer" : why,
        "run a validating resolver on this host, name it in dns { servers }, and set trust_ad = true");
}

/* --- domains that others keep --- */

static void mx_ask(const struct addrinfo *to, struct bytes domain, struct dns_answer *answer)
{
    uint8_t asked[DNS_QUESTION_SIZE_MAX], packet[DNS_UDP_SIZE];
    struct dns_question question = {.type = DNS_TYPE_MX, .id = MX_QUESTION_ID, .recursion = true, .edns = true};
    struct buf out = BUF(asked);
    ssize_t size = -1;
    int fd = -1;

    dns_answer_fail(answer, DNS_TYPE_MX, DNS_BAD_NAME);
    if (!is_ok(dns_name_set(&question.name, domain)) || !is_ok(dns_question_put(&out, &question)))
        return;
    dns_answer_fail(answer, DNS_TYPE_MX, DNS_TIMEOUT);
    fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) == 0 && send(fd, asked, out.size, 0) > 0 &&
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ANSWER_WAIT_MS) == 1)
        size = recv(fd, packet, sizeof packet, 0);
    if (fd >= 0)
        close(fd);
    if (size > 0)
        dns_answer_parse(&question, (struct bytes){packet, (size_t)size}, answer);
}

/* Mail for it goes to the better hosts of its own MX list: we must be in the list, and not at its head. */
static void backup_check(struct doctor *d, const struct addrinfo *to, struct bytes domain)
{
    struct bytes host = d->t->cfg->hostname;
    struct dns_answer answer;
    bool listed = false;
    unsigned better = 0;
    char text[768];

    mx_ask(to, domain, &answer);
    if (answer.status != DNS_OK) {
        (void)snprintf(text, sizeof text, "%.*s: its MX hosts cannot be looked up: %s", BYTES_ARG(domain),
            dns_status_text(answer.status));
        finding(d, "backup-mx", WARNING, text,
            "see that the domain has MX records, the primary's before this host's; or take its block away");
        return;
    }
    for (unsigned i = 0; i < answer.count && !listed; i++) {
        listed = dns_name_equal(host, dns_name_bytes(&answer.mx[i].host));
        better = listed ? better : i + 1;
    }
    while (listed && better > 0 && answer.mx[better - 1].preference == answer.mx[better].preference)
        better--; /* equals are no better (RFC 5321 5.1) */
    if (!listed)
        (void)snprintf(text, sizeof text, "%.*s: its MX list does not name %.*s, so nobody brings its mail here",
            BYTES_ARG(domain), BYTES_ARG(host));
    else if (better == 0)
        (void)snprintf(text, sizeof text,
            "%.*s: no MX host is better than %.*s: its mail is returned as a loop (5.4.6)", BYTES_ARG(domain),
            BYTES_ARG(host));
    else
        (void)snprintf(text, sizeof text, "%.*s: %u better MX hosts than this one", BYTES_ARG(domain), better);
    finding(d, "backup-mx",
        listed && better > 0 ? WELL
        : listed             ? PROBLEM
                             : WARNING,
        text,
        listed ? "give the primary's MX record a lower number than this host's, or deliver the domain's mail elsewhere"
               : "enter an MX record for this host behind the primary's, or correct hostname");
}

static void resolver_check(struct doctor *d)
{
    char address[128], port_text[8], text[256];
    uint16_t port;
    struct addrinfo *to = NULL;
    struct dns_word root = {.came = false};

    if (!server_first(d, address, sizeof address, &port)) {
        finding(d, "resolver", PROBLEM, "no DNS server is known", "set dns servers, or write /etc/resolv.conf");
        return;
    }
    (void)snprintf(port_text, sizeof port_text, "%u", port);
    if (getaddrinfo(
            address, port_text, &(struct addrinfo){.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST}, &to) == 0)
        root = dns_ask(to, "", ASK_SOA);
    if (!root.came) {
        (void)snprintf(text, sizeof text, "%s gives no answer", address);
        finding(d, "resolver", PROBLEM, text,
            "name a DNS server that works: dns { servers = … }; until then all mail is deferred");
    } else {
        (void)snprintf(
            text, sizeof text, "%s answers and %s", address, root.vouched ? "validates" : "does not validate DNSSEC");
        finding(d, "resolver", root.vouched ? WELL : WARNING, text,
            "run a validating resolver on this host; without one DANE says nothing");
        dane_check(d, to);
        for (size_t i = 0; i < d->t->cfg->domain_count; i++)
            if (d->t->cfg->domains[i].target.kind == ROUTE_MX)
                backup_check(d, to, d->t->cfg->domains[i].name);
    }
    if (to != NULL)
        freeaddrinfo(to);
}

/* --- the daemon and its doors --- */

static void daemon_check(struct doctor *d)
{
    struct desk desk;
    struct result r = desk_open(d->t->cfg, &desk);
    bool online = is_ok(r) && desk_is_online(&desk);

    finding(d, "daemon", online ? WELL : PROBLEM, online ? "it answers" : "no daemon answers on the control socket",
        "start mansiod; when it ends again its log says why");
    desk_close(&desk);
}

static bool greets(const struct config_endpoint *e, bool implicit_tls)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(e->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
    char reply[4] = "";
    bool any = true;

    for (size_t i = 0; i < (e->ipv6 ? 16 : 4); i++)
        any = any && e->address[i] == 0;
    memcpy(&in.sin_addr, e->address, 4);
    memcpy(&in6.sin6_addr, e->address, 16);
    if (any) {
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in6.sin6_addr = in6addr_loopback;
    }
    int fd = socket(e->ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool said = fd >= 0 && (e->ipv6 ? connect(fd, (struct sockaddr *)&in6, sizeof in6)
                                    : connect(fd, (struct sockaddr *)&in, sizeof in)) == 0;
    if (said && !implicit_tls)
        said = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ANSWER_WAIT_MS) == 1 &&
               recv(fd, reply, sizeof reply, 0) == 4 && memcmp(reply, "220", 3) == 0;
    if (fd >= 0)
        close(fd);
    return said;
}

static void doors_check(struct doctor *d)
{
    for (size_t i = 0; i < d->t->cfg->listen_count; i++) {
        const struct config_listen *listen = &d->t->cfg->listens[i];
        for (size_t k = 0; k < listen->endpoint_count; k++) {
            const struct config_endpoint *e = &listen->endpoints[k];
            bool good = greets(e, listen->tls == LISTEN_TLS_IMPLICIT);
            char text[512];
            if (!good && e->optional)
                continue;
            (void)snprintf(text, sizeof text, "%.*s (%.*s) %s", BYTES_ARG(e->text), BYTES_ARG(listen->title),
                good ? "answers" : "does not answer");
            finding(d, "listener", good ? WELL : PROBLEM, text,
                "see whether the daemon runs, and whether another program has the port");
        }
    }
}

/* --- the open relay --- */

static bool relays_for(const struct doctor *d, const uint8_t v4[4])
{
    uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]};

    return config_network_contains(&d->t->cfg->relay_from, mapped);
}

/* Behind a container's published port every client seems to come from the gateway. */
static bool gateway_find(uint8_t address_out[4])
{
    FILE *file = fopen("/proc/net/route", "re");
    char line[256];
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *at = strchr(line, '\t');
        char *end = NULL;
        if (at == NULL || strtoul(at + 1, &end, 16) != 0 || end == NULL || *end != '\t' || end - at != 9)
            continue;
        unsigned long gateway = strtoul(end + 1, NULL, 16);
        for (unsigned i = 0; i < 4; i++) /* as the kernel holds it: network order in host words */
            address_out[i] = ((const uint8_t *)&(uint32_t){(uint32_t)gateway})[i];
        found = gateway != 0;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static void relay_check(struct doctor *d)
{
    static const uint8_t strangers[][4] = {{8, 8, 8, 8}, {192, 0, 2, 1}, {203, 0, 113, 77}, {100, 64, 0, 1}};
    uint8_t gateway[4];
    bool open = false;

    for (size_t i = 0; i < COUNT_OF(strangers); i++)
        open = open || relays_for(d, strangers[i]);
    if (open) {
        finding(d, "relay", PROBLEM, "relay_from lets strangers send to everybody: an open relay",
            "name only your own networks in relay_from");
        return;
    }
    if (gateway_find(gateway) && relays_for(d, gateway)) {
        finding(d, "relay", WARNING,
            "relay_from holds the default gateway; in a container with published ports every stranger seems to come "
            "from there",
            "take the gateway out of relay_from, or let proxies name the client (proxy_from)");
        return;
    }
    finding(d, "relay", WELL, "strangers may not relay", "");
}

/* --- disk, clock, certificates --- */

static void disk_check(struct doctor *d)
{
    const char *folder = (const char *)d->t->cfg->state_dir.data;
    struct statvfs fs;
    char text[256], path[PATH_MAX];

    if (statvfs(folder, &fs) != 0) {
        (void)snprintf(text, sizeof text, "%.200s: %s", folder, strerror(errno));
        finding(d, "disk", PROBLEM, text, "make the folder, or correct state_dir");
        return;
    }
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize, wanted = d->t->cfg->limits.min_free;
    (void)snprintf(text, sizeof text, "%" PRIu64 " MiB free, %" PRIu64 " MiB are the least", left >> 20, wanted >> 20);
    finding(d, "disk",
        left <= wanted       ? PROBLEM
        : left <= 2 * wanted ? WARNING
                             : WELL,
        text, "make room; below min_free new mail is refused with 452");
    if (snprintf(path, sizeof path, "%s/.doctor", folder) >= (int)sizeof path)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* not for us to write: nothing is known then */
    static const uint8_t block[4096];
    struct timespec from, to;
    bool written = true;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < SYNC_ROUNDS; i++)
        written =
            written && pwrite(fd, block, sizeof block, i * (off_t)sizeof block) == sizeof block && fdatasync(fd) == 0;
    clock_gettime(CLOCK_MONOTONIC, &to);
    close(fd);
    (void)unlink(path);
    int64_t each_us = ((to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000) / SYNC_ROUNDS;
    (void)snprintf(
        text, sizeof text, "%s after %" PRId64 " µs", written ? "a flush returns" : "a flush fails", each_us);
    finding(d, "sync",
        !written                                           ? PROBLEM
        : each_us > SYNC_SLOW_US || each_us < SYNC_FAST_US ? WARNING
                                                           : WELL,
        text,
        each_us < SYNC_FAST_US ? "put state_dir on a disk that really flushes, not in memory: 250 rests on it"
                               : "a slow flush bounds how much mail is taken: use a faster disk");
}

static void clock_check(struct doctor *d)
{
    struct timex state = {0};
    int status = adjtimex(&state);
    bool old = tool_now() < YEAR_2024, loose = status < 0 || (state.status & STA_UNSYNC) != 0;

    finding(d, "clock",
        old     ? PROBLEM
        : loose ? WARNING
                : WELL,
        old     ? "the clock is years behind"
        : loose ? "nothing keeps the clock in time"
                : "it is kept in time",
        "run an NTP client; retries, dates in header fields and certificates go by this clock");
}

static void certificates_check(struct doctor *d)
{
    for (size_t i = 0; i < d->t->cfg->tls_certificates.count; i++) {
        const char *path = (const char *)d->t->cfg->tls_certificates.items[i].data;
        FILE *file = fopen(path, "re");
        X509 *certificate = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
        int days = 0, seconds = 0;
        char text[512];

        if (file != NULL)
            fclose(file);
        if (certificate == NULL || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1) {
            (void)snprintf(text, sizeof text, "%.400s cannot be read", path);
            finding(d, "certificate", WARNING, text, "check the path, and run this as root");
        } else {
            bool over = days < 0 || seconds < 0;
            (void)snprintf(
                text, sizeof text, over ? "%.400s is out of date" : "%.400s is good for %d days", path, days);
            finding(d, "certificate",
                over                           ? PROBLEM
                : days < CERTIFICATE_SOON_DAYS ? WARNING
                                               : WELL,
                text, "renew it; the new file is taken up by itself or with queuectl reload");
        }
        X509_free(certificate);
    }
}

enum tool_exit tool_doctor(const struct tool *t)
{
    struct doctor d = {.t = t};

    (void)setenv("RES_OPTIONS", "timeout:2 attempts:1", 0); /* of the system's resolver, for names */
    daemon_check(&d);
    doors_check(&d);
    hostname_check(&d);
    resolver_check(&d);
    relay_check(&d);
    disk_check(&d);
    clock_check(&d);
    certificates_check(&d);
    if (!t->json)
        printf("%u well, %u warnings, %u problems\n", d.counts[WELL], d.counts[WARNING], d.counts[PROBLEM]);
    return tool_finish(t, d.counts[PROBLEM] > 0 ? TOOL_FAILED : TOOL_OK);
}
