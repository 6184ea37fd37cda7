#!/usr/bin/python3
"""tools/import-postfix and tools/import-queue beside the Postfix that they import from.

Three configurations of the kind that sites have (tests/data/postfix) run in Postfix and, imported, in Mansio: the same clients send the
same mail to both, RCPT by RCPT the answers are of one class, and each message ends at the same place. A queue of 200 messages that
Postfix could not deliver is taken over: each arrives once, octet by octet."""
import glob
import os
import re
import shutil
import signal
import smtplib
import sqlite3
import subprocess
import unittest

import support  # noqa: F401
import postfix
import services
from case import TOP, Case, main, programs
from ports import free_port
from waiting import wait_until

DATA = os.path.join(TOP, "tests", "data", "postfix")
IMPORT, QUEUE = os.path.join(TOP, "tools", "import-postfix"), os.path.join(TOP, "tools", "import-queue")
DATABASES = ("sqlite", "pgsql", "ldap")
MODULE = {kind: os.path.join(os.path.dirname(postfix.ROOT), f"postfix-{kind}", f"usr/lib/postfix/postfix-{kind}.so") for kind in DATABASES}
# The virtual-sql data as a directory has them.
LDIF = """dn: dc=test
objectClass: dcObject
objectClass: organization
dc: test
o: test
""" + "".join(f"""
dn: o={name},dc=test
objectClass: organization
o: {name}
description: {state}
""" for name, state in (("one.test", "active"), ("two.test", "active"), ("off.test", "off"))) + "".join(f"""
dn: uid={address},dc=test
objectClass: inetOrgPerson
uid: {address}
cn: {address}
sn: x
mail: {address}
employeeType: {state}
{values}
""" for address, state, values in (
    ("alice@one.test", "active", "title: one.test/alice/"), ("bob@two.test", "active", "title: two.test/bob/"),
    ("gone@two.test", "off", "title: two.test/gone/"),
    ("info@one.test", "active", "description: alice@one.test\ndescription: bob@two.test"),
    ("sales@two.test", "active", "description: carol@far.test")))
FILTERS = {"domains": ("(&(objectClass=organization)(o=%s)(description=active))", "o"),
           "mailboxes": ("(&(mail=%s)(employeeType=active)(title=*))", "title"),
           "aliases": ("(&(mail=%s)(employeeType=active)(description=*))", "description")}
US, STRANGER = "127.0.0.1", "127.0.0.8"
NULL_SENDER = ""

# (client, sender, recipient)
MAIL = {
    "null-client": [
        (US, "alice@company.test", "bob@far.test"), (US, "alice@company.test", "bob@company.test"),
        (US, NULL_SENDER, "root@ws7.company.test"), (STRANGER, "x@far.test", "alice@company.test"),
        (STRANGER, "x@far.test", "y@far.test"),
    ],
    "isp-relay": [
        (US, "x@office.test", "y@far.test"), (US, "boss@office.test", "y@far.test"), (US, "news@bulk.test", "y@far.test"),
        (US, "news@bulk.test", "y@partner.test"), (US, "x@office.test", "y@sub.partner.test"),
        (STRANGER, "x@far.test", "alice@customer1.test"), (STRANGER, "x@far.test", "nosuch@customer1.test"),
        (STRANGER, "x@far.test", "anybody@customer2.test"), (STRANGER, "x@far.test", "vip@customer2.test"),
        (STRANGER, "x@far.test", "bob@dead.test"), (STRANGER, "x@far.test", "y@partner.test"),
        (STRANGER, "x@far.test", "postmaster@relay.isp.test"), (STRANGER, "x@far.test", "nosuch@relay.isp.test"),
        (STRANGER, NULL_SENDER, "alice@customer1.test"),
    ],
    "virtual-sql": [
        (STRANGER, "x@far.test", "alice@one.test"), (STRANGER, "x@far.test", "nosuch@one.test"),
        (STRANGER, "x@far.test", "info@one.test"), (STRANGER, "x@far.test", "bob@TWO.test"),
        (STRANGER, "x@far.test", "gone@two.test"), (STRANGER, "x@far.test", "sales@two.test"),
        (STRANGER, "x@far.test", "alice@off.test"), (STRANGER, "x@far.test", "y@far.test"),
        (STRANGER, "x@far.test", "o'hara@one.test"), (US, "alice@one.test", "y@far.test"),
    ],
}


@unittest.skipIf(postfix.missing_server(), postfix.missing_server())
class Import(Case):
    def world(self, name):
        """The configuration with our paths and ports, and the places where its mail ends."""
        self.sink_port, self.places = free_port(), {}
        for last in (2, 3, 4):
            lmtp = name == "virtual-sql" and last == 3
            self.places[last] = self.sink(port=self.sink_port, address=f"127.0.0.{last}", script={
                "dot": lambda s, content: b"250 2.0.0 taken\r\n" * len(s.rcpts)} if lmtp else None)
        self.conf = self.subfolder("imported")
        os.chown(self.conf, 0, 0)
        for path in glob.glob(os.path.join(DATA, name, "*")):
            with open(path) as f:
                text = f.read()
            for old, new in (("/etc/postfix", self.conf), ("PORT", str(self.sink_port)), ("127.0.0.0/8", US)):
                text = text.replace(old, new)
            with open(os.path.join(self.conf, os.path.basename(path)), "w") as f:
                f.write(text)
        schema = os.path.join(self.conf, "schema.sql")
        if os.path.exists(schema):
            db = sqlite3.connect(os.path.join(self.conf, "mail.db"))
            with open(schema) as f:
                db.executescript(f.read())
            db.close()

    def postfix(self):
        with open(os.path.join(self.conf, "main.cf")) as f:
            text = f.read()
        for kind, path in set(re.findall(r"(hash):(\S+?),?\s", text + "\n")):
            program = "postalias" if path.endswith("aliases") else "postmap"
            subprocess.run([postfix.program(program), "-c", self.postmap_conf(), f"{kind}:{path}"], check=True,
                           env=postfix.environment())
        with open(os.path.join(self.conf, "dynamicmaps.cf"), "w") as f:
            for kind in (k for k in DATABASES if os.path.exists(MODULE[k])):
                f.write(f"{kind}\t{shutil.copy(MODULE[kind], self.conf)}\tdict_{kind}_open\n")
        text = text.replace("reject_rbl_client dnsbl.example.net,", "")  # there is no such list here
        text = text.replace("header_checks", "#header_checks").replace("smtpd_milters", "#smtpd_milters")
        theirs = postfix.Postfix(self, text + f"\nmeta_directory = {self.conf}\nsmtp_tls_security_level = none\n"
                                            "inet_interfaces = loopback-only\nsmtp_host_lookup = native\n")
        with open(os.path.join(theirs.conf, "master.cf"), "a") as f:
            f.write("lmtp unix - - n - - lmtp\nlocal unix - n n - - local\n")
        theirs.process.send_signal(signal.SIGHUP)
        return theirs

    def postmap_conf(self):
        folder = self.path("postmap-conf")
        if not os.path.exists(folder):
            os.mkdir(folder)
            with open(os.path.join(folder, "main.cf"), "w") as f:
                f.write(f"compatibility_level = 3.7\nmail_owner = {postfix.OWNER}\nsetgid_group = {postfix.DROP_GROUP}\n"
                        f"shlib_directory = {postfix.LIBRARIES}\nmeta_directory = {folder}\n"
                        f"daemon_directory = {postfix.LIBRARIES}/sbin\ncommand_directory = {postfix.ROOT}/usr/sbin\n"
                        f"queue_directory = {folder}\ndata_directory = {folder}\n")
        return folder

    def imported(self):
        r = self.run_program([IMPORT, "-c", self.conf])
        self.assertEqual(0, r.returncode, r.stderr)
        m = self.mansio(start=False, dns=self.dns(""))
        port = free_port()
        own = [line for line in m.text.splitlines() if line.startswith(("state_dir", "run_dir", "log", "dns", "processes", "user"))]
        text = re.sub(r'address = "[^"]*:25"', f'address = "127.0.0.1:{port}"', r.stdout)
        m.write("\n".join(own) + "\n\n" + text)
        m.port = port
        checked = m.check()
        self.assertEqual(0, checked.returncode, checked.stderr + r.stdout)
        return m.start(), r.stdout

    def send(self, port, mail, mark):
        """RCPT's answers by class; accepted mail is sent with a mark in its subject."""
        answers = []
        for n, (client, sender, recipient) in enumerate(mail):
            with smtplib.SMTP("127.0.0.1", port, "client.test", 30, source_address=(client, 0)) as c:
                c.ehlo()
                codes = [c.mail(sender)[0], c.rcpt(recipient)[0]]
                answers.append((recipient, codes[1] // 100))
                if codes[1] == 250:
                    code = c.data(f"Subject: {mark} {n}\r\n\r\nbody\r\n".encode())[0]
                    self.assertEqual(250, code)
        return answers

    def arrived(self, mark):
        found = []
        for last, sink in self.places.items():
            for e in sink.messages:
                m = re.search(rb"^Subject: " + mark.encode() + rb" (\d+)\r?$", e.content, re.M)
                if m:
                    found += [(int(m.group(1)), last, r.lower()) for r in e.recipients]
        return sorted(found)

    def side_by_side(self, name, change=None):
        self.world(name)
        if change is not None:
            change()
        theirs = self.postfix()
        expected = self.send(theirs.port, MAIL[name], "theirs")
        queue = os.path.join(theirs.queue, "deferred")
        ids = lambda: [p for q in ("incoming", "active", "deferred") for p in  # noqa: E731
                       glob.glob(os.path.join(theirs.queue, q, "**", "*"), recursive=True) if os.path.isfile(p)]
        wait_until(lambda: not ids(), 20, lambda: f"{queue}\n" + theirs.log()[-3000:])
        m, text = self.imported()
        m.tolerate("aliases_refused")
        self.assertEqual(expected, self.send(m.port, MAIL[name], "ours"))
        wait_until(lambda: not m.list(), 20, lambda: str(m.list()) + m.log_tail())
        self.assertEqual(self.arrived("theirs"), self.arrived("ours"))
        self.assertTrue(self.arrived("ours"))
        return text

    def test_null_client(self):
        text = self.side_by_side("null-client")
        self.assertRegex(text, r"# header_checks = .*\n#     nothing here means the same")

    def test_isp_relay(self):
        text = self.side_by_side("isp-relay")
        self.assertIn("reject_rbl_client dnsbl.example.net", text.split("not carried over")[1])

    def tables(self, kind, text_of):
        """The tables of virtual-sql as another kind: text_of says what stands in each file instead."""
        main_cf = os.path.join(self.conf, "main.cf")
        with open(main_cf) as f:
            text = f.read()
        with open(main_cf, "w") as f:
            f.write(text.replace("sqlite:", kind + ":"))
        for name in FILTERS:
            path = os.path.join(self.conf, f"sql-{name}.cf")
            with open(path) as f:
                text = f.read()
            with open(path, "w") as f:
                f.write(text_of(name, text))

    @unittest.skipIf(services.missing_postgres(), services.missing_postgres())
    @unittest.skipUnless(os.path.exists(MODULE["pgsql"]), "postfix-pgsql is not unpacked (tests/run does it)")
    def test_virtual_domains_with_postgresql(self):
        def change():
            db = services.Postgres(self)
            with open(os.path.join(self.conf, "schema.sql")) as f:
                db.sql(f.read())
            self.tables("pgsql", lambda name, text: re.sub(
                "dbpath = .*", f"hosts = unix:{db.folder}\nuser = mail\ndbname = postgres\nretry_interval = 7", text))
        self.assertIn("retry_interval = 7", self.side_by_side("virtual-sql", change).split("not carried over")[1])

    @unittest.skipIf(services.missing_slapd(), services.missing_slapd())
    @unittest.skipUnless(os.path.exists(MODULE["ldap"]), "postfix-ldap is not unpacked (tests/run does it)")
    def test_virtual_domains_with_ldap(self):
        def change():
            ldap = services.Slapd(self, LDIF)
            self.tables("ldap", lambda name, text: f"server_host = ldap://127.0.0.1:{ldap.port}\nsearch_base = dc=test\nversion = 3\n"
                                                   f"bind = no\nquery_filter = {FILTERS[name][0]}\nresult_attribute = {FILTERS[name][1]}\n"
                                                   "recursion_limit = 9\n")
        self.assertIn("recursion_limit = 9", self.side_by_side("virtual-sql", change).split("not carried over")[1])

    @unittest.skipUnless(os.path.exists(MODULE["sqlite"]), "postfix-sqlite is not unpacked (tests/run does it)")
    def test_virtual_domains_with_sql(self):
        text = self.side_by_side("virtual-sql")
        self.assertIn("# smtpd_milters", text)
        self.assertIn("# virtual_uid_maps", text)

    def test_postconf_output_is_read_as_well(self):
        self.world("isp-relay")
        r = subprocess.run([postfix.program("postconf"), "-c", self.conf, "-n"], env=postfix.environment(),
                           capture_output=True, text=True)
        self.file("postconf", r.stdout)
        a = self.run_program([IMPORT, "-c", self.conf]).stdout
        b = self.run_program([IMPORT, "-c", self.conf, "--postconf", self.path("postconf")]).stdout
        without = lambda text: sorted(line for line in text.splitlines() if not line.startswith("#"))  # noqa: E731
        self.assertEqual(without(a), without(b))

    def test_queue(self):
        """200 messages that wait in Postfix: taken over, delivered octet by octet, none twice though the run is broken off."""
        port = free_port()
        theirs = postfix.Postfix(self, f"relayhost = [127.0.0.2]:{port}\nminimal_backoff_time = 1h\n"
                                       "maximal_backoff_time = 1h\nqueue_run_delay = 1h\nlocal_header_rewrite_clients =\n")
        bodies = {}
        with smtplib.SMTP("127.0.0.1", theirs.port, "client.test", 30) as c:
            for n in range(200):
                body = f"Subject: queued {n}\r\nX-Odd: \t {n}  \r\n\r\nline {n}\r\n.dot\r\n{'x' * (n * 37 % 3000)}\r\n" \
                       f"From here on: caf\u00e9 {n}\r\n\r\n".encode()
                bodies[n] = body
                sender = NULL_SENDER if n % 10 == 9 else f"s{n}@here.test"
                self.assertEqual({}, c.sendmail(sender, [f"r{n}@far.test", f"q{n}@far.test"][:1 + n % 2], body,
                                                ["body=8bitmime"]))
        waiting = lambda: len([p for p in glob.glob(os.path.join(theirs.queue, "deferred", "**", "*"), recursive=True)  # noqa: E731
                               if os.path.isfile(p)])
        wait_until(lambda: waiting() == 200, 60, lambda: f"{waiting()}\n" + theirs.log()[-2000:])
        theirs.close()
        sink = self.sink(port=port, address="127.0.0.2")
        m = self.mansio(dns=self.dns(""), config=f'route "*" {{ via = "relay:[127.0.0.2]:{port}" }}\n')
        tool = [QUEUE, "-c", theirs.conf, "--done", self.path("done"), "--postcat", postfix.program("postcat"),
                "--postconf", postfix.program("postconf")]
        r = self.run_program(tool + ["--dry-run"], env=postfix.environment())
        self.assertEqual((0, 200), (r.returncode, len(r.stdout.splitlines())), r.stderr)
        p = subprocess.Popen(tool + ["--to", f"127.0.0.1:{m.port}"], env=postfix.environment())
        wait_until(lambda: os.path.exists(self.path("done")) and os.path.getsize(self.path("done")) > 500, 30, "a part of it")
        p.terminate()  # between two messages or within one: SIGTERM may fall after a 250 that was not noted
        p.wait(20)
        noted = len(open(self.path("done")).read().split())
        r = self.run_program(tool + ["--to", f"127.0.0.1:{m.port}"], env=postfix.environment())
        self.assertEqual(0, r.returncode, r.stderr)
        self.assertIn(f"{noted} before, 0 left", r.stdout)
        wait_until(lambda: not m.list(), 40, lambda: m.log_tail())
        got = {}
        for e in sink.messages:
            n = int(re.search(rb"^Subject: queued (\d+)", e.content, re.M).group(1))
            head, _, body = e.content.partition(b"Subject: queued ")
            self.assertEqual(bodies[n], b"Subject: queued " + body)
            self.assertEqual(NULL_SENDER if n % 10 == 9 else f"s{n}@here.test", e.sender)
            got.setdefault(n, []).extend(e.recipients)
        twice = [n for n, r in got.items() if len(r) > 1 + n % 2]
        self.assertEqual(sorted(bodies), sorted(got))
        self.assertLessEqual(len(twice), 1)  # the one of the break
        for n, recipients in got.items():
            self.assertEqual({f"r{n}@far.test", f"q{n}@far.test"} if n % 2 else {f"r{n}@far.test"}, set(recipients))


class Tables(Case):
    def test_rewriting(self):
        """The tables of rewriting are ours as they stand, but for lines that mean nothing here."""
        self.file("canonical", "joe@h.test Joe.Doe@h.test\nann ann.lee\n@old.test @h.test\n")
        self.file("generic", "joe@h.test joe@isp.test\n")
        main_cf = self.file("main.cf", f"myhostname = h.test\ncanonical_maps = hash:{self.path('canonical')}\n"
                            f"smtp_generic_maps = hash:{self.path('generic')}\nmasquerade_domains = h.test\n"
                            "masquerade_exceptions = root\nsender_canonical_maps = pcre:/x\n")
        out = self.path("mansio.conf")
        r = self.run_program([IMPORT, "--postconf", main_cf, "-c", self.folder, "-o", out])
        self.assertEqual((0, "", ""), (r.returncode, r.stdout, r.stderr))
        with open(out) as f:
            text = f.read()
        for line in ('canonical = "%s"' % self.path("canonical"), 'generic = "%s"' % self.path("generic"),
                     'masquerade = "h.test"', 'masquerade_except = "root"', "rewrite.canonical_senders"):
            self.assertIn(line, text)
        r = self.run_program([os.path.join(programs(), "mansiod"), "-t", "-c", out])
        self.assertEqual((0, ""), (r.returncode, r.stderr))


if __name__ == "__main__":
    main()
