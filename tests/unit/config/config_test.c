/* The configuration as a whole: defaults, the sample of the contract, and one error of each kind with its line. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/log.h"
#include "daemon/config/config.h"

static struct config *read_ok(const char *text)
{
    struct config *cfg;
    struct config_error error;

    if (!is_ok(config_read_text("test.conf", bytes_of(text), &cfg, &error)))
        fail_msg("refused: %s", error.text);
    return cfg;
}

static void assert_text(struct bytes found, const char *wanted)
{
    assert_int_equal(found.size, strlen(wanted));
    assert_memory_equal(found.data, wanted, found.size);
    assert_int_equal(found.data[found.size], 0);
}

static void empty_text_is_a_closed_server(void **state)
{
    struct config *cfg = read_ok("");
    uint8_t v4_loop[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 9}, v6_loop[16] = {[15] = 1},
            other[16] = {[10] = 0xff, [11] = 0xff, [12] = 10};

    (void)state;
    assert_int_equal(cfg->listen_count, 1);
    assert_int_equal(cfg->listens[0].class, LISTEN_SMTP);
    assert_int_equal(cfg->listens[0].endpoint_count, 2);
    assert_int_equal(cfg->listens[0].endpoints[0].port, 25);
    assert_int_equal(cfg->listens[0].endpoints[0].address[0], 127);
    assert_true(cfg->listens[0].endpoints[1].ipv6);
    assert_true(config_network_contains(&cfg->relay_from, v4_loop));
    assert_true(config_network_contains(&cfg->relay_from, v6_loop));
    assert_false(config_network_contains(&cfg->relay_from, other));
    assert_int_equal(cfg->domain_count, 1);
    assert_true(bytes_equal(cfg->domains[0].name, cfg->hostname));
    assert_text(cfg->domains[0].maildir, "/var/lib/mansio/mail/%d/%u");
    assert_true(bytes_equal(cfg->origin, cfg->hostname));
    assert_int_equal(cfg->retry.step_count, 8);
    assert_int_equal(cfg->retry.steps_ms[7], 4 * 3600 * 1000);
    assert_int_equal(cfg->retry.jitter_percent, 20);
    assert_int_equal(cfg->retry.give_up_after_ms, (int64_t)5 * 86400 * 1000);
    assert_int_equal(cfg->limits.message_size, 50u << 20);
    assert_int_equal(cfg->limits.queue_size, (uint64_t)64 << 30);
    assert_int_equal(cfg->timeouts.dot, 600000);
    assert_int_equal(cfg->log.level, LOG_LEVEL_INFO);
    assert_false(cfg->log.json);
    assert_true(cfg->processes.inbound >= 1);
    assert_int_equal(cfg->routes.count, 2);
    assert_int_equal(cfg->routes.items[1].pattern.size, 0);
    assert_int_equal(cfg->dns.tries, 2);
    config_free(&cfg);
    assert_null(cfg);
}

static const char SAMPLE[] =
    "hostname = \"mail.example.org\"        # default: system FQDN\n"
    "origin = \"example.org\"\n"
    "user = \"mansio\"\n"
    "state_dir = \"/var/lib/mansio\"\n"
    "run_dir = \"/run/mansio\"\n"
    "log { to = \"stderr\"  format = \"text\" level = \"info\" }             # journal | stderr | /path ; text | json\n"
    "listen smtp { address = { \"0.0.0.0:25\", \"[::]:25\" }  tls = \"opportunistic\"\n"
    "              auth = false  bcc = \"keep\"  xclient_from = {} proxy_from = {} }\n"
    "tls { certificate = \"/etc/mansio/cert.pem\" key = \"/etc/mansio/key.pem\" }\n"
    "relay_from = { \"127.0.0.0/8\", \"::1\", \"192.0.2.7\" }\n"
    "domain \"example.org\" { deliver = \"maildir\"  maildir = \"/var/mail/%d/%u\"  aliases = \"/etc/aliases\" }\n"
    "domain \"list.example.org\" { deliver = \"lmtp:[127.0.0.1]:24\" }\n"
    "route \"example.net\"   { via = \"relay:[smtp.isp.net]:587\" }\n"
    "route \"*\"             { via = \"mx\"  port = 25 }\n"
    "dns { servers = { \"127.0.0.1:53\" }  timeout = \"5s\"  tries = 2  trust_ad = false }\n"
    "retry { plan = { \"2m\", \"5m\", \"10m\", \"20m\", \"40m\", \"80m\", \"160m\", \"4h\" }  jitter = 0.2  warn_after "
    "= \"4h\"\n"
    "        give_up_after = \"5d\" }\n"
    "timeouts { connect = \"30s\" greeting = \"5m\" ehlo = \"5m\" mail = \"5m\" rcpt = \"5m\" data = \"2m\" block = "
    "\"3m\"\n"
    "           dot = \"10m\" quit = \"5s\" server_idle = \"5m\" session = \"1h\" }\n"
    "limits { message_size = \"50M\" recipients = 1000 sessions = 2000 sessions_per_client = 200 errors = 20 received "
    "= 50\n"
    "         connections_per_lane = 20 jobs_per_connection = 100 queue_size = \"64G\" min_free = \"256M\" }\n";

static void contract_sample(void **state)
{
    struct config *cfg = read_ok(SAMPLE);
    uint8_t bare[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 7};

    (void)state;
    assert_text(cfg->hostname, "mail.example.org");
    assert_text(cfg->origin, "example.org");
    assert_text(cfg->tls_certificates.items[0], "/etc/mansio/cert.pem");
    assert_int_equal(cfg->listens[0].endpoint_count, 2);
    assert_int_equal(cfg->listens[0].xclient_from.count, 0);
    assert_true(config_network_contains(&cfg->relay_from, bare));
    bare[15] = 8;
    assert_false(config_network_contains(&cfg->relay_from, bare));
    assert_int_equal(cfg->domain_count, 2);
    assert_text(config_domain_find(cfg, BYTES("example.org"))->maildir, "/var/mail/%d/%u");
    assert_text(config_domain_find(cfg, BYTES("example.org"))->aliases.items[0], "/etc/aliases");
    assert_int_equal(config_domain_find(cfg, BYTES("list.example.org"))->target.kind, ROUTE_LMTP);
    assert_null(config_domain_find(cfg, BYTES("mail.example.org")));
    assert_int_equal(cfg->routes.count, 4);
    assert_text(cfg->dns.servers.items[0], "127.0.0.1:53");
    config_free(&cfg);
}

static void design_sample(void **state)
{
    struct config *cfg = read_ok("hostname = mail.example.org\n"
                                 "listen smtp        { address = \"*:25\"   tls = \"opportunistic\" }\n"
                                 "listen submission  { address = *:587  tls = required  auth = true }\n"
                                 "listen submissions { address = \"*:465\"  tls = \"implicit\"  auth = true }\n"
                                 "tls { certificate = /etc/mansio/cert.pem  key = '/etc/mansio/key.pem' }\n"
                                 "domain Example.ORG { deliver = maildir  aliases = /etc/aliases }\n"
                                 "route * { via = \"relay:[smtp.isp.net]:587\" }\n"
                                 "dns { servers = 127.0.0.1:5353 }\n"
                                 "log { to = /var/log/mansio.log format = json level = debug }\n");

    (void)state;
    assert_int_equal(cfg->listen_count, 3);
    assert_int_equal(cfg->listens[1].class, LISTEN_SUBMISSION);
    assert_int_equal(cfg->listens[1].endpoint_count, 2);
    assert_int_equal(cfg->listens[1].endpoints[1].port, 587);
    assert_true(cfg->listens[1].auth);
    assert_int_equal(cfg->listens[2].tls, LISTEN_TLS_IMPLICIT);
    assert_text(cfg->domains[0].name, "example.org");
    assert_int_equal(cfg->log.to, LOG_TO_FILE);
    assert_text(cfg->log.path, "/var/log/mansio.log");
    assert_true(cfg->log.json);
    assert_int_equal(cfg->routes.items[cfg->routes.count - 1].target.kind, ROUTE_RELAY);
    config_free(&cfg);
}

/* Each error names the file, the line, what was read and what was expected. */
static const struct {
    const char *name, *text, *error; /* error: pieces that must stand in the message, separated by '~' */
} error_cases[] = {
    {"unknown key", "\n\nhostnam = a.example", "test.conf:3: ~'hostnam'~hostname, origin"},
    {"unknown key in a block", "log {\n\n lvl = debug }", "test.conf:3: ~'lvl' in block log~to, format, level"},
    {"unknown block", "listne smtp { }", "test.conf:1: ~'listne'"},
    {"bad hostname", "hostname = \"mail example\"", ":1: hostname: found 'mail example', expected ~letters"},
    {"numeric hostname", "hostname = 192.0.2.1", ":1: hostname: "},
    {"bad time", "\ndns { timeout = 5x }", ":2: timeout: found '5x', expected a time"},
    {"time without unit", "timeouts { quit = 5 }", "found '5', expected a time"},
    {"time too long", "timeouts { quit = 99999999999999999d }", "found '99999999999999999d'"},
    {"zero time", "timeouts { quit = 0 }", "expected at least 1 ms"},
    {"bad size", "limits { message_size = 5X }", "found '5X', expected a size"},
    {"negative number", "limits { errors = -1 }", "found '-1', expected a number"},
    {"number over bound", "limits { recipients = 100001 }", "found '100001', expected 1 to 100000"},
    {"tiny queue", "limits { queue_size = 1K }", "queue_size: found '1K', expected at least 1048576 octets"},
    {"short fingerprint", "relay_certificates = { abcd }", "found 'abcd', expected a SHA-256 in 64 hexadecimal digits"},
    {"fingerprint without verify", "route \"*\" { via = \"relay:[192.0.2.1]:25\" tls_fingerprint = \"ab\" }",
        "tls_fingerprint: expected only with via"},
    {"certificate without TLS",
        "listen smtp { address = \"127.0.0.1:2525\" tls = \"none\" client_certificate = \"request\" }",
        "asks for client_certificate and has no TLS"},
    {"bad bool", "send_8bit_raw = maybe", "found 'maybe', expected true or false"},
    {"bad word", "log { level = loud }", "found 'loud', expected one of debug|info"},
    {"bad passwords", "auth { passwords = ldap }", "passwords: found 'ldap', expected file, pam"},
    {"PAM service of another folder", "auth { passwords = \"pam:../x\" }", "found 'pam:../x', expected file, pam"},
    {"PAM service without name", "auth { passwords = \"pam:\" }", "found 'pam:', expected file, pam"},
    {"Dovecot without path", "auth { passwords = \"dovecot:run\" }", "found 'dovecot:run', expected file, pam"},
    {"bad log target", "log { to = syslog }", "found 'syslog', expected stderr, journal or a path"},
    {"bad CIDR", "relay_from = { 127.0.0.1,\n 10.0.0.0/33 }", ":2: relay_from: found '10.0.0.0/33', expected ~0 to 32"},
    {"host bits", "relay_from = 10.0.0.1/8", "found '10.0.0.1/8', expected no address bits"},
    {"name as network", "relay_from = localhost", "found 'localhost'"},
    {"empty plan", "retry { plan = { } }", "plan: found an empty list"},
    {"zero step", "retry { plan = { 1m, 0 } }", "plan: found '0'"},
    {"long plan",
        "retry { plan = { "
        "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s } }",
        "found 33 steps, expected at most 32"},
    {"jitter over 1", "retry { jitter = 1.1 }", "found '1.1', expected a number from 0 to 1"},
    {"negative jitter", "retry { jitter = -0.1 }", "found '-0.1'"},
    {"required without certificate", "listen smtp { address = *:25\n tls = required }",
        ":2: ~required, but there is no certificate"},
    {"submissions without certificate", "listen submissions { address = *:465 }",
        ":1: ~implicit, but there is no certificate"},
    {"more keys than certificates", "tls { certificate = /c\n key = { /k, /l } }", "1 certificates and 2 keys"},
    {"certificate without key", "tls { certificate = /c }", "found a certificate without its key"},
    {"relative path", "state_dir = var/lib", "state_dir: found 'var/lib', expected a path that begins with /"},
    {"listener without class", "listen extra { address = *:26 }", "listen \"extra\" has no class"},
    {"listener without address", "listen smtp { }", "has no address"},
    {"no port", "listen smtp { address = 127.0.0.1 }", "address: found '127.0.0.1', expected"},
    {"port too high", "listen smtp { address = 127.0.0.1:65536 }", "a port of 0 to 65535"},
    {"same address", "listen smtp { address = *:25 }\nlisten x { class = smtp\n address = 127.0.0.1:25 }",
        ":3: address: found '127.0.0.1:25', which '*:25' takes already"},
    {"same title", "listen smtp { address = *:25 }\nlisten smtp { address = *:26 }", ":2: ~titled 'smtp'"},
    {"same domain, other case", "domain a.example { }\ndomain A.example { }",
        ":2: a second domain block for \"a.example\""},
    {"same route", "route *.x.example { }\nroute *.X.example { }", ":2: a second route block"},
    {"bad domain", "domain \"a..b\" { }", "domain: found \"a..b\""},
    {"empty title", "domain \"\" { }", "domain: found \"\""},
    {"maildir with lmtp", "domain a.example { deliver = lmtp:unix:/s\n maildir = /m }",
        ":2: maildir: found with deliver"},
    {"empty maildir", "domain a.example { maildir = \"\" }", "maildir: found ''"},
    {"bad maildir word", "domain a.example { maildir = /m/%x }", "maildir: found '/m/%x'"},
    {"bad target", "domain a.example { deliver = elsewhere }", "deliver: found 'elsewhere'"},
    {"mailbox in a route", "route a.example { via = maildir }", "via: found 'maildir'"},
    {"weight of a host", "route a.example { via = \"relay:[h.example]:25*0|b.example\" }", "a weight must be"},
    {"no such source", "route a.example { source = shop }", "source: found 'shop', expected the name of a source"},
    {"source of mailboxes", "source s { }\ndomain a.example { source = s }", ":2: source: found 's', expected it only"},
    {"source with a slash", "source a/b { }", ":1: source: found \"a/b\""},
    {"two addresses of a family", "source s { address = { 192.0.2.1, 192.0.2.2 } }", "address: found '192.0.2.2'"},
    {"a name as address", "source s { address = h.example }", "an IPv4 or IPv6 address"},
    {"wildcard as source", "source s { address = \"::\" }", "none of zeros"},
    {"family without address", "source s { address = 192.0.2.1\n families = ipv6 }", ":1: ~expected one of families"},
    {"unknown families", "source s { families = both }", "families: found 'both'"},
    {"port of a relay", "route a.example { via = \"relay:[h.example]:25\" port = 26 }", "port: found with via"},
    {"bad resolver", "dns { servers = ns.example }", "servers: found 'ns.example'"},
    {"key twice", "hostname = a.example\norigin = b.example\nhostname = c.example",
        ":3: 'hostname' is set again; it was already set on line 1"},
    {"missing value", "hostname =", "the text ends within"},
    {"missing brace", "\nlog { level = debug\n\n", ":2: found '{', expected a '}'"},
    {"stray brace", "\n}", ":2: found '}', expected a key"},
    {"open quote", "\nhostname = \"mail", ":2: found '\"mail', expected a closing quote"},
    {"open comment", "\n/* hostname", ":2: found '/*'"},
    {"list for a single value", "hostname = { a.example }", "test.conf:1: "},
    {"control character", "hostname = \"a\tb\"", "expected text without control characters"},
    {"path into a block", "log|level = debug", "found 'log|level', expected the name of a key"},
    {"unknown escape", "hostname = \"\\x41\"", "found '\\x'"},
};

static void errors_say_where_and_what(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(error_cases); i++) {
        struct config *cfg = NULL;
        struct config_error error = {""};
        struct bytes rest = bytes_of(error_cases[i].error);

        if (is_ok(config_read_text("test.conf", bytes_of(error_cases[i].text), &cfg, &error)))
            fail_msg("%s: was accepted", error_cases[i].name);
        assert_null(cfg);
        if (!bytes_starts(bytes_of(error.text), BYTES("test.conf:")))
            fail_msg("%s: no place: %s", error_cases[i].name, error.text);
        while (rest.size > 0) {
            ptrdiff_t bar = bytes_index(rest, '~');
            size_t end = bar < 0 ? rest.size : (size_t)bar;

            if (bytes_find(bytes_of(error.text), bytes_head(rest, end)) < 0)
                fail_msg("%s: '%.*s' is not in: %s", error_cases[i].name, BYTES_ARG(bytes_head(rest, end)), error.text);
            rest = bytes_after(rest, end + 1);
        }
        assert_null(strchr(error.text, '\n'));
    }
}

static void an_error_leaves_no_trace(void **state)
{
    struct config *cfg;
    struct config_error error;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(error_cases); i++) {
        if (is_ok(config_read_text("test.conf", bytes_of(error_cases[i].text), &cfg, &error)))
            fail_msg("%s: was accepted", error_cases[i].name);
        cfg = read_ok("hostname = after.example\n");
        assert_text(cfg->hostname, "after.example");
        config_free(&cfg);
    }
}

static void every_prefix_is_answered(void **state)
{
    struct config *cfg;
    struct config_error error;

    (void)state;
    for (size_t size = 0; size < sizeof SAMPLE - 1; size++) {
        if (is_ok(config_read_text("test.conf", (struct bytes){(const uint8_t *)SAMPLE, size}, &cfg, &error)))
            config_free(&cfg);
        else
            assert_true(strlen(error.text) > 0);
    }
}

static void words_keep_their_octets(void **state)
{
    struct config *cfg;

    (void)state;
    assert_int_equal(setenv("MANSIO_TEST_WORD", "expanded", 1), 0);
    cfg = read_ok(
        "\xef\xbb\xbfuser = \"${MANSIO_TEST_WORD}\"\r\n// comment\r\n/* hostname = \n */ hostname = a.example # end\r\n"
        "domain a.example { users = { a+b, \"it's\", 'q\"q', back\\\\slash } users += { plus } deliver = maildir }\n");
    assert_text(cfg->user, "${MANSIO_TEST_WORD}");
    assert_int_equal(cfg->domains[0].users.count, 5);
    assert_text(cfg->domains[0].users.items[0], "a+b");
    assert_text(cfg->domains[0].users.items[1], "it's");
    assert_text(cfg->domains[0].users.items[2], "q\"q");
    assert_text(cfg->domains[0].users.items[4], "plus");
    config_free(&cfg);
}

static void nul_does_not_end_the_text(void **state)
{
    static const char text[] = "hostname = a.example\n\0nonsense";
    struct config *cfg;
    struct config_error error;

    (void)state;
    assert_false(
        is_ok(config_read_text("test.conf", (struct bytes){(const uint8_t *)text, sizeof text - 1}, &cfg, &error)));
    assert_non_null(strstr(error.text, "test.conf:2: "));
}

static void nothing_reaches_standard_error(void **state)
{
    char path[] = "/tmp/mansio-config-XXXXXX";
    int file = mkstemp(path), saved = dup(STDERR_FILENO);
    struct config *cfg;
    struct config_error error;

    (void)state;
    assert_true(file >= 0 && saved >= 0);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    for (size_t i = 0; i < COUNT_OF(error_cases); i++)
        (void)!is_ok(config_read_text("test.conf", bytes_of(error_cases[i].text), &cfg, &error));
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    close(saved);
    close(file);
    unlink(path);
}

static void files(void **state)
{
    char path[] = "/tmp/mansio-config-XXXXXX";
    int file = mkstemp(path);
    struct config *cfg;
    struct config_error error;

    (void)state;
    assert_true(file >= 0);
    assert_int_equal(write(file, SAMPLE, sizeof SAMPLE - 1), sizeof SAMPLE - 1);
    close(file);
    assert_true(is_ok(config_read_file(path, &cfg, &error)));
    assert_text(cfg->path, path);
    config_free(&cfg);
    unlink(path);
    assert_int_equal(config_read_file(path, &cfg, &error).code, CODE_IO);
    assert_non_null(strstr(error.text, path));
    assert_int_equal(config_read_file("/", &cfg, &error).code, CODE_IO);
}

static void every_allocation_may_fail(void **state)
{
    struct config *cfg = NULL;
    struct config_error error;

    (void)state;
    for (uint64_t n = 1; cfg == NULL; n++) {
        assert_true(n < 10000);
        mem_fail_nth(n);
        if (!is_ok(config_read_text("test.conf", bytes_of(SAMPLE), &cfg, &error)))
            assert_true(strlen(error.text) > 0);
    }
    mem_fail_nth(0);
    config_free(&cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_text_is_a_closed_server),
        cmocka_unit_test(contract_sample),
        cmocka_unit_test(design_sample),
        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(an_error_leaves_no_trace),
        cmocka_unit_test(every_prefix_is_answered),
        cmocka_unit_test(words_keep_their_octets),
        cmocka_unit_test(nul_does_not_end_the_text),
        cmocka_unit_test(nothing_reaches_standard_error),
        cmocka_unit_test(files),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
