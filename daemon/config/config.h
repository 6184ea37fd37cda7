/* config: what an operator may set, parsed and checked, as one immutable tree.
 *
 * For: every process and tool. A struct config is read once (config_read), never changed, and lives until config_free;
 * a reload reads another one. CONTRACT's keys and defaults are those of docs/configuration.md.
 *   struct config *cfg;
 *   struct config_error error;
 *   if (!is_ok(config_read_file("/etc/mansio/mansio.conf", &cfg, &error))) puts(error.text);   "file:line: message"
 *   ... config_free(&cfg);
 * All views point into the tree's own arena and are also NUL-terminated (data[size] == 0), so that a path may be handed
 * to a system call. Times are in milliseconds, sizes in octets. */
#ifndef MANSIO_CONFIG_H
#define MANSIO_CONFIG_H

#include "daemon/base/base.h"
#include "daemon/base/rate.h"
#include "queue/retry.h"
#include "queue/route.h"
#include "smtp/client_peer.h"

enum listen_class { LISTEN_SMTP, LISTEN_SUBMISSION, LISTEN_SUBMISSIONS, LISTEN_LOCAL };
enum listen_tls { LISTEN_TLS_NONE, LISTEN_TLS_OPPORTUNISTIC, LISTEN_TLS_REQUIRED, LISTEN_TLS_IMPLICIT };
enum bcc_policy { BCC_KEEP, BCC_STRIP, BCC_SPLIT };
enum log_target { LOG_TO_STDERR, LOG_TO_JOURNAL, LOG_TO_FILE };

/* Where mail comes from: sets of these say whose mail is rewritten. */
enum mail_class {
    MAIL_LOCAL = 1 << 0,      /* sendmail, run_dir/inject */
    MAIL_SUBMISSION = 1 << 1, /* listeners for submission */
    MAIL_RELAY = 1 << 2,      /* listeners of class smtp, from those who may relay */
    MAIL_STRANGERS = 1 << 3,  /* … from everybody else */
};
/* Files that the supervisor reads for others, who may not open them. */
enum config_table {
    TABLE_CANONICAL, /* address maps: config/address_map.h */
    TABLE_CANONICAL_SENDERS,
    TABLE_CANONICAL_RECIPIENTS,
    TABLE_GENERIC,
    TABLE_SRS_KEYS, /* smtp/srs.h */
    TABLE_COUNT
};

struct config_text_list {
    struct bytes *items;
    size_t count;
};

/* An address or CIDR block; IPv4 is kept as ::ffff:a.b.c.d. */
struct config_network {
    uint8_t address[16];
    uint8_t prefix_bits; /* 0..128 */
};
struct config_network_list {
    struct config_network *items;
    size_t count;
};

/* One socket to bind: `*:25` has become two of these. Port 0 lets the kernel choose (tests). */
struct config_endpoint {
    bool ipv6;
    uint8_t address[16]; /* IPv4 in the first four octets */
    uint16_t port;
    struct bytes text; /* as written */
    bool
        optional; /* from `*` or the default: a machine without this family (EAFNOSUPPORT, EADDRNOTAVAIL) is no error */
};

enum { CONFIG_METRICS_MAX = 2 }; /* both families of `*` */

struct config_listen {
    struct bytes title;
    enum listen_class class;
    struct config_endpoint *endpoints;
    size_t endpoint_count;
    enum listen_tls tls;
    bool auth, auth_without_tls;
    enum bcc_policy bcc;
    bool bare_newline_convert;
    struct config_network_list xclient_from;
    struct config_network_list proxy_from;
    int vrfy; /* enum smtp_vrfy (smtp/server.h) */
    bool expn_noncommittal;
    int client_certificate; /* enum listen_certificate */
};

/* Whether clients are asked for a certificate of theirs; it may be of any authority. */
enum listen_certificate { LISTEN_CERTIFICATE_NONE, LISTEN_CERTIFICATE_REQUEST, LISTEN_CERTIFICATE_REQUIRE };

/* A domain block: mail for it is ours. */
struct config_domain {
    struct bytes name;          /* lower case, A-labels */
    struct route_target target; /* of `deliver` */
    struct bytes maildir;       /* "/var/mail/%d/%u", of system users "~/Maildir" */
    struct bytes mbox;          /* instead: "/var/mail/%u" */
    bool system_users;          /* its users are those of the host, who own their mailboxes and may have a ~/.forward */
    struct config_text_list aliases;
    struct config_text_list virtual; /* virtual(5) tables */
    struct config_text_list
        users; /* when count > 0, RCPT to any other local part is 550 5.1.1; "/path": a file of names; "lookup:NAME" */
    struct config_text_list names; /* of "*": where the domains stand that it is for */
    struct bytes deliver;          /* as it is written */
    struct bytes subaddress;       /* the octets of which one may part user and tag; "none": no subaddresses */
    uint64_t message_size;         /* 0: as limits.message_size */
    struct rate recipients;        /* of strangers' and users' mail together */
    struct bytes source;           /* of `deliver` by mx or relay: whose name a `source` block has */
    int64_t give_up_after_ms;      /* 0: as for all */
};

/* A source block: from where, and as whom, mail goes out. */
enum source_families {
    SOURCE_ANY,
    SOURCE_IPV4,
    SOURCE_IPV6,
    SOURCE_PREFER_IPV4,
    SOURCE_PREFER_IPV6, /* of a host that has both, as with SOURCE_ANY */
};
struct config_source {
    struct bytes name;
    struct bytes helo;          /* empty: the hostname */
    bool has_ipv4, has_ipv6;    /* an address of its own of that family */
    uint8_t ipv4[16], ipv6[16]; /* IPv4 in the first four octets */
    int families;               /* enum source_families */
};

/* A lookup block: a table, database or service that knows users, aliases, domains, routes or senders. */
enum lookup_kind {
    LOOKUP_TEXT,
    LOOKUP_LMDB,
    LOOKUP_CDB,
    LOOKUP_PCRE,
    LOOKUP_SQLITE,
    LOOKUP_POSTGRESQL,
    LOOKUP_LDAP,
    LOOKUP_DOVECOT,
    LOOKUP_CALLAHEAD,
    LOOKUP_SYSTEM, /* the user database of the host: no block, but there when a domain has system_users */
};
struct config_lookup {
    struct bytes name;
    enum lookup_kind kind;
    struct bytes from; /* what follows the kind's word: a path, a connection string, a host; an LDAP URL whole */
    struct bytes query, user, password;
    int64_t timeout, cache, cache_missing;
    uint32_t cache_size, connections;
    bool accept_failed; /* what cannot be asked counts as found: for call-ahead to a primary that is down */
};

/* What a login may write in MAIL FROM. */
struct config_login {
    struct bytes name;
    struct config_text_list senders; /* "a@example.org", "@example.org" */
};
enum sender_rule {
    SENDERS_ANY,    /* a login without a block of its own may use any reverse-path */
    SENDERS_OWN,    /* … only its own name: as it is where it holds an @, else at one of our domains */
    SENDERS_LISTED, /* … none */
};

/* Who knows the passwords of those who log in. */
enum password_source {
    PASSWORDS_FILE,    /* auth.users */
    PASSWORDS_PAM,     /* a PAM service */
    PASSWORDS_DOVECOT, /* an auth-client socket of Dovecot's */
};

/* How often (inbound/rates.h, queued/quota.h). */
struct config_rates {
    struct rate client_connections, client_commands, client_recipients, client_messages, client_octets, client_errors;
    struct rate login_recipients, login_messages, login_octets, login_quota;
    struct rate uid_recipients, uid_messages, uid_octets;
    struct rate sender_recipients, sender_messages, sender_octets;
    struct rate handshakes;        /* of strangers, all together, while users and our own hosts send */
    uint32_t ipv4_bits, ipv6_bits; /* of an address, what counts as one client */
};

enum { CHECKS_LIST_COUNT_MAX = 16 };
/* A DNS list of addresses and what being on it counts. */
struct config_dnslist {
    struct bytes zone;
    struct bytes answer; /* "127.0.0.2": only this one counts; empty: any in 127.0.0.0/8 */
    int32_t weight;
};

/* What strangers are looked at for (inbound/repute.h). */
struct config_checks {
    int64_t greet_delay, tarpit, time;
    uint32_t tarpit_sessions;
    bool names;
    struct config_dnslist *lists;
    size_t list_count;
    uint32_t refuse_at; /* 0: never */
    uint32_t no_name, helo_unqualified, helo_address, helo_ours;
};

struct config_timeouts { /* ms; RFC 5321 4.5.3.2 */
    int64_t connect, greeting, ehlo, mail, rcpt, data, block, dot, quit, server_idle, session;
};

struct config_limits {
    uint64_t message_size;
    uint32_t recipients, sessions, sessions_per_client, errors, received, connections_per_lane, jobs_per_connection;
    uint64_t queue_size, min_free;
};

struct config {
    struct arena arena;
    struct bytes path;
    struct bytes hostname, origin, user, state_dir, run_dir;
    struct {
        enum log_target to;
        struct bytes path;
        bool json;
        int level; /* enum log_level */
    } log;
    struct config_listen *listens;
    size_t listen_count;
    struct bytes credentials; /* file of logins to other hosts (login_file.h) */
    struct bytes tls_roots;   /* PEM file of the roots that routes with tls = verify or secure trust */
    struct config_text_list tls_certificates, tls_keys; /* as many of one as of the other */
    struct {
        enum password_source passwords;
        struct bytes passwords_at; /* the PAM service, or the socket's path */
        int64_t password_time;
        struct bytes users;
        bool from_owned; /* a From field that the login may not write as its reverse-path is refused */
        int senders;     /* enum sender_rule */
        struct config_text_list sender_lookups; /* login -> what it may write */
        uint32_t failures, login_failures;
        int64_t ban, ban_max;
    } auth;
    struct config_login *logins;
    size_t login_count;
    struct config_lookup *lookups;
    size_t lookup_count;
    size_t system_lookup; /* index of LOOKUP_SYSTEM; lookup_count: none */
    struct config_network_list relay_from;
    struct config_text_list relay_certificates; /* SHA-256, as hexadecimal digits in pairs, with or without colons */
    struct config_domain *domains;              /* each with a name of its own */
    size_t domain_count;
    struct config_domain *hosted; /* domain "*": for all that its `names` know; NULL: none */
    struct config_text_list route_lookups;
    struct config_source *sources;
    size_t source_count;
    struct route_table routes; /* `route` and `domain` blocks, most specific first; always ends with a "*" */
    struct {
        struct config_text_list servers; /* empty: the system's */
        int64_t timeout;
        uint32_t tries;
        bool trust_ad;
        struct bytes check_signed, check_unsigned, check_broken;
    } dns;
    struct retry_plan retry;
    struct config_timeouts timeouts;
    struct config_limits limits;
    struct config_rates rates;
    struct config_checks checks;
    struct config_network_list exempt_from; /* neither rates nor checks; relay_from neither */
    struct {
        uint32_t inbound, outbound; /* processes; default: the number of cores */
    } processes;
    struct bytes command_user; /* as whom commands run and files are written, when started as root */
    int64_t command_time;
    int64_t over_quota;   /* how long mail for a full mailbox waits before it is returned with 5.2.2 */
    int64_t history_keep; /* how long finished attempts are remembered */
    struct config_endpoint metrics_http[CONFIG_METRICS_MAX]; /* where metrics are told by HTTP; none: nowhere */
    size_t metrics_http_count;
    struct { /* what is done to mail that is handed in: by sendmail, run_dir/inject, listeners for submission */
        bool sender;
        struct bytes no_destination; /* a whole header field; empty: none */
        enum bcc_policy local_bcc;
        bool t_arguments_remove; /* sendmail -t: addresses on the command line are taken from those of the header */
    } submission;
    struct bytes tables[TABLE_COUNT]; /* paths; empty: none */
    struct {                          /* addresses are changed (config/rewriting.h) */
        uint32_t classes;             /* of mail, a set of enum mail_class */
        struct config_text_list class_words, masquerade, masquerade_except;
    } rewrite;
    struct { /* with TABLE_SRS_KEYS: forwarded senders (smtp/srs.h) */
        struct bytes domain;
        int64_t max_age;
    } srs;
    bool double_bounce_to_postmaster;
    uint64_t dsn_return_size_max;  /* over it a DSN returns the header only */
    bool sandbox;                  /* seccomp and Landlock (edge/sandbox.h) */
    bool set_id_commands;          /* commands may gain rights by set-uid and set-gid files, and have no sandbox */
    enum smtp_eight_bit eight_bit; /* to peers without 8BITMIME; default: converted */
    bool send_8bit_raw;            /* says eight_bit = "raw" */
};

enum {
    CONFIG_ERROR_SIZE_MAX = 1024,
    NO_DESTINATION_SIZE_MAX = 512,
    PAM_SERVICE_SIZE_MAX = 64,
    SOCKET_PATH_SIZE_MAX = 107
};
struct config_error {
    char text[CONFIG_ERROR_SIZE_MAX]; /* "file:line: what was read and what was expected" */
};

/* Reads and checks a file. CODE_SYNTAX with error_out filled, CODE_IO when it cannot be read (also filled). */
RESULT config_read_file(const char *path, struct config **cfg_out, struct config_error *error_out);
/* The same from text in memory; `name` stands for the file in errors. */
RESULT config_read_text(const char *name, struct bytes text, struct config **cfg_out, struct config_error *error_out);
void config_free(struct config **cfg);

#define CONFIG_PATH_DEFAULT "/etc/mansio/mansio.conf"
/* Which file a program reads: the option when there is one, else MANSIO_CONFIG (not for root or a set-id program), else the
 * default. */
const char *config_path_choose(const char *option);

bool config_network_contains(const struct config_network_list *list, const uint8_t address[16]);
/* What counts as one client: the block of addresses, of rates.ipv4_bits or ipv6_bits, that it is in. Never 0. */
uint64_t config_client_block(const struct config *cfg, const uint8_t address[16]);
/* "192.0.2.7", "192.0.2.0/24", "2001:db8::/64". */
RESULT config_client_block_put(const struct config *cfg, uint64_t block, struct buf *out);
/* NULL when no block names the domain. `domain` in lower case. */
const struct config_domain *config_domain_find(const struct config *cfg, struct bytes domain);
/* The block that speaks for a domain known to be ours: its own, else domain "*". NULL: neither. */
const struct config_domain *config_domain_of(const struct config *cfg, struct bytes domain);
/* Whether some recipients' ways are not known without asking lookups: domains of "*", routes. */
bool config_has_asked_ways(const struct config *cfg);
/* The user of a local part (without quotes) in that domain: what stands before the first delimiter of a subaddress. A delimiter at
 * the very beginning parts nothing. */
struct bytes config_domain_user(const struct config_domain *d, struct bytes local_part);
/* Whether mail for the domain has to be expanded; whether the process lookup has to be asked who is known there. */
bool config_domain_has_aliases(const struct config_domain *d);
bool config_domain_is_looked_up(const struct config_domain *d);
/* NULL when there is none of that name. */
const struct config_source *config_source_find(const struct config *cfg, struct bytes name);
/* Which families may be used from there: not one without an address when the other has one. */
bool config_source_ipv4(const struct config_source *s);
bool config_source_ipv6(const struct config_source *s);
/* Whether an address (its domain in lower case) may be one that SRS has made here: by its form. */
bool config_is_srs_address(const struct config *cfg, struct bytes path);
struct srs;
/* All of it but the keys. */
void config_srs_fill(const struct config *cfg, struct srs *srs_out);
/* Whether an item of a list names a lookup ("lookup:NAME"), and which one in cfg->lookups. */
bool config_is_lookup(struct bytes item);
RESULT config_lookup_find(const struct config *cfg, struct bytes item, size_t *index_out);
/* Of a table, which is asked for a key as it is written there; a query gets whole addresses. */
bool config_lookup_is_table(const struct config_lookup *lookup);

#endif
