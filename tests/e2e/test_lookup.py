#!/usr/bin/python3
"""Lookups in a whole server: each kind asked for users and aliases; domains, routes and senders from them; what happens when a
server is gone."""
import glob
import os
import sqlite3
import subprocess
import time
import unittest

import support  # noqa: F401
import services
from case import Case, give, main
from ports import free_port
from waiting import wait_until

ZONE = """
far IN MX 10 mx.far
mx.far IN A 127.0.0.2
"""
LDIF = """dn: dc=test
objectClass: dcObject
objectClass: organization
dc: test
o: test

dn: cn=alice,dc=test
objectClass: inetOrgPerson
cn: alice
sn: A
mail: alice@ldap.test

dn: cn=team,dc=test
objectClass: inetOrgPerson
cn: team
sn: T
mail: team@ldap.test
description: alice@ldap.test
description: carol@far.test
"""


class Lookup(Case):
    def setUp(self):
        super().setUp()
        self.port, self.boxes = free_port(), self.subfolder("boxes")
        self.far = self.sink(port=self.port, address="127.0.0.2")

    def server(self, config, **kwargs):
        return self.mansio(dns=self.dns(ZONE), mx_port=self.port, hostname="mx.a.test", relay=False,
                           config=config.replace("BOXES", self.boxes), **kwargs)

    def codes(self, m, *addresses):
        with m.client() as c:
            c.ehlo()
            c.mail("x@far.test")
            return [c.rcpt(a)[0] for a in addresses]

    def box(self, user):
        return glob.glob(os.path.join(self.boxes, user, "new", "*"))

    def delivered(self, m, address, users, far=()):
        """One message to the address reaches exactly these."""
        before = {u: len(self.box(u)) for u in users}
        far_before = len(self.far.messages)
        m.send("x@far.test", [address], "Subject: x\n\nbody\n")
        wait_until(lambda: not m.list(), 20, lambda: str(m.list()) + m.log_tail())
        self.assertEqual([before[u] + 1 for u in users], [len(self.box(u)) for u in users])
        self.assertEqual(sorted(far), sorted(r for e in self.far.messages[far_before:] for r in e.recipients))

    def sqlite(self, name="mail.db"):
        path = self.path(name)
        db = sqlite3.connect(path)
        self.addCleanup(db.close)
        db.executescript("CREATE TABLE mailbox (address TEXT); CREATE TABLE alias (address TEXT, goes TEXT);"
                         "CREATE TABLE domain (name TEXT); CREATE TABLE route (key TEXT, via TEXT);"
                         "CREATE TABLE sender (login TEXT, address TEXT);")
        give(path)
        return db, path

    # --- kinds ---

    def test_tables_in_files(self):
        """text, lmdb, cdb and pcre: users from the one, aliases from the same; a file that changes is read anew."""
        self.file("people", "alice@t.test yes\nteam@t.test alice@t.test, carol@far.test\n")
        subprocess.run(["mdb_load", "-n", self.path("people.lmdb")],
                       input="VERSION=3\nformat=print\ntype=btree\nHEADER=END\n alice@l.test\n yes\nDATA=END\n",
                       text=True, check=True)
        give(self.path("people.lmdb"))
        subprocess.run(["cdb", "-c", "-m", self.path("people.cdb")], input="alice@c.test yes\n", text=True, check=True)
        self.file("people.pcre", "# comment\nif /@p\\.test$/\n/^a.*@/ yes\n!/^list-/ no\n/^(list-)([a-z]+)@(.*)$/ $2@${3}\nendif\n"
                                 "/^(a+)+$/ never\n")
        blocks = "".join(
            f'lookup "{n}" {{ from = "{kind}:{self.path(path)}" cache = "0" cache_missing = "0" }}\n'
            for n, kind, path in (("text", "text", "people"), ("lmdb", "lmdb", "people.lmdb"),
                                  ("cdb", "cdb", "people.cdb"), ("pcre", "pcre", "people.pcre")))
        m = self.server(blocks + "".join(
            f'domain "{d}.test" {{ maildir = "BOXES/%u" users = "lookup:{n}" }}\n'
            for d, n in (("l", "lmdb"), ("c", "cdb"), ("p", "pcre"))) +
            'lookup "lists" { from = "text:' + self.path("lists") + '" cache = "0" cache_missing = "0" }\n'
            'domain "t.test" { maildir = "BOXES/%u" users = "lookup:text" virtual = "lookup:lists" }\n')
        self.file("lists", "team@t.test alice@t.test,\n  carol@far.test\n# note\n@t.test alice@t.test\n")
        for domain in "tlcp":
            with self.subTest(domain):
                self.assertEqual([250, 250, 550 if domain != "t" else 250],
                                 self.codes(m, f"alice@{domain}.test", f"Alice+tag@{domain}.test",
                                            f"nosuch@{domain}.test" if domain != "p" else "list-@p.test"))
        self.delivered(m, "team@t.test", ["alice"], ["carol@far.test"])
        self.file("lists", "")
        self.assertEqual([550], self.codes(m, "nosuch@t.test"))
        # Written in place, without an open of the file between: LMDB's own way of changing.
        self.file("people", "bob@t.test yes\n")
        self.assertEqual([550, 250], self.codes(m, "alice@t.test", "bob@t.test"))

    def test_a_pattern_that_goes_astray_is_stopped(self):
        self.file("evil.pcre", "/^(a+)+$/ yes\n")
        m = self.server(f'lookup "evil" {{ from = "pcre:{self.path("evil.pcre")}" }}\n'
                        'domain "e.test" { maildir = "BOXES/%u" users = "lookup:evil" }\n'
                        'domain "b.test" { maildir = "BOXES/%u" users = { bob } }\n')
        m.announce("lookup_failed")
        began = time.monotonic()
        self.assertEqual([451], self.codes(m, "a" * 60 + "!@e.test"))
        self.assertLess(time.monotonic() - began, 3)

    def test_sqlite(self):
        db, path = self.sqlite()
        db.executescript("INSERT INTO mailbox VALUES ('alice@s.test'), ('o''hara@s.test');"
                         "INSERT INTO alias VALUES ('team@s.test', 'alice@s.test'), ('team@s.test', 'carol@far.test'),"
                         "('cmd@s.test', '|/bin/sh -c true');")
        db.commit()
        m = self.server(
            f'lookup "box" {{ from = "sqlite:{path}" timeout = "1s" query = "SELECT 1 FROM mailbox WHERE address = %u || \'@\' || %d" cache = "0" }}\n'
            f'lookup "alias" {{ from = "sqlite:{path}" timeout = "1s" query = "SELECT goes FROM alias WHERE address = %a" cache = "0" cache_missing = "0" }}\n'
            'domain "s.test" { maildir = "BOXES/%u" users = "lookup:box" virtual = "lookup:alias" }\n')
        self.assertEqual([250, 250, 550, 250, 550, 250, 451],
                         self.codes(m, "alice@s.test", "o'hara@s.test", "x'or'1'='1@s.test", "team@s.test",
                                    "nosuch@s.test", "postmaster@s.test", "cmd@s.test"))
        self.delivered(m, "team@s.test", ["alice"], ["carol@far.test"])
        # A list with members that each need to be asked for.
        db.executemany("INSERT INTO alias VALUES ('all@s.test', ?)", [(f"m{i}@s.test",) for i in range(60)])
        db.executemany("INSERT INTO mailbox VALUES (?)", [(f"m{i}@s.test",) for i in range(60)])
        db.commit()
        self.delivered(m, "all@s.test", [f"m{i}" for i in range(60)])
        # A locked database is one that does not answer.
        db.execute("BEGIN EXCLUSIVE")
        m.announce("lookup_failed")
        self.assertEqual([451], self.codes(m, "fresh@s.test"))
        db.rollback()

    @unittest.skipIf(services.missing_postgres(), services.missing_postgres())
    def test_postgresql_and_its_absence(self):
        """Gone: RCPT is answered 451, what is queued waits; back: it is delivered. Others are not held up."""
        db = services.Postgres(self)
        db.sql("CREATE TABLE mailbox (address text); CREATE TABLE alias (address text, goes text);"
               "INSERT INTO mailbox VALUES ('alice@p.test');"
               "INSERT INTO alias VALUES ('team@p.test', 'alice@p.test, carol@far.test');")
        m = self.server(
            f'lookup "box" {{ from = "postgresql:{db.conninfo}" query = "SELECT 1 FROM mailbox WHERE address = %a"'
            ' cache = "0" cache_missing = "0" timeout = "2s" }\n'
            f'lookup "alias" {{ from = "postgresql:{db.conninfo}" query = "SELECT goes FROM alias WHERE address = %a::text"'
            ' cache = "0" cache_missing = "0" timeout = "2s" }\n'
            'domain "p.test" { maildir = "BOXES/%u" users = "lookup:box" virtual = "lookup:alias" }\n'
            'domain "b.test" { maildir = "BOXES/%u" users = { bob } }\n')
        self.assertEqual([250, 550, 250, 550], self.codes(m, "alice@p.test", "nosuch@p.test", "team@p.test",
                                                          "x'--@p.test"))
        self.delivered(m, "team@p.test", ["alice"], ["carol@far.test"])
        m.announce("lookup_failed", "lookup_works")
        with m.client() as c:  # accepted while the server is there, expanded when it is not
            c.ehlo()
            c.mail("x@far.test")
            self.assertEqual(250, c.rcpt("team@p.test")[0])
            db.stop()
            self.assertEqual(250, c.data(b"Subject: x\r\n\r\nbody\r\n")[0])
        self.assertEqual([451, 250, 451], self.codes(m, "alice@p.test", "bob@b.test", "nosuch@p.test"))
        wait_until(lambda: [r["state"] for e in m.list() for r in e["recipients"]] == ["deferred"], 20,
                   lambda: str(m.list()))
        boxes = len(self.box("alice"))
        db.start()
        wait_until(lambda: not m.list(), 30, lambda: str(m.list()) + m.log_tail())
        self.assertEqual(boxes + 1, len(self.box("alice")))
        self.assertEqual([250, 550], self.codes(m, "alice@p.test", "nosuch@p.test"))

    @unittest.skipIf(services.missing_postgres(), services.missing_postgres())
    def test_a_slow_lookup_holds_nobody_up(self):
        db = services.Postgres(self)
        m = self.server(
            f'lookup "slow" {{ from = "postgresql:{db.conninfo}" query = "SELECT pg_sleep(30) WHERE %a <> \'\'" timeout = "1s" }}\n'
            .replace("<> ''", "IS NOT NULL") +
            f'lookup "text" {{ from = "text:{self.file("people", "bob@b.test x")}" }}\n'
            'domain "s.test" { maildir = "BOXES/%u" users = "lookup:slow" }\n'
            'domain "b.test" { maildir = "BOXES/%u" users = "lookup:text" }\n')
        m.announce("lookup_failed")
        with m.client() as slow:
            slow.ehlo()
            slow.mail("x@far.test")
            slow.putcmd("RCPT TO:<a@s.test>")
            began = time.monotonic()
            self.assertEqual([250, 550], self.codes(m, "bob@b.test", "nosuch@b.test"))
            self.assertLess(time.monotonic() - began, 0.8)
            self.assertEqual(451, slow.getreply()[0])

    @unittest.skipIf(services.missing_slapd(), services.missing_slapd())
    def test_ldap(self):
        ldap = services.Slapd(self, LDIF)
        m = self.server(
            f'lookup "box" {{ from = "{ldap.url}" query = "(mail=%a)" user = "cn=admin,dc=test" password = "secret" cache = "0" cache_missing = "0" timeout = "2s" }}\n'
            f'lookup "alias" {{ from = "{ldap.url}?description?sub" query = "(&(mail=%u@%d)(description=*))" cache_missing = "0" }}\n'
            'domain "ldap.test" { maildir = "BOXES/%u" users = "lookup:box" virtual = "lookup:alias" }\n')
        self.assertEqual([250, 550, 250, 550, 250],
                         self.codes(m, "alice@ldap.test", "nosuch@ldap.test", "team@ldap.test", "*@ldap.test",
                                    "alice+x@ldap.test"))
        self.delivered(m, "team@ldap.test", ["alice"], ["carol@far.test"])
        m.announce("lookup_failed", "lookup_works")
        ldap.stop()
        self.assertEqual([451], self.codes(m, "alice@ldap.test"))
        ldap.start()
        wait_until(lambda: self.codes(m, "alice@ldap.test") == [250], 10, "slapd to be asked again")

    @unittest.skipIf(services.missing_dovecot(), services.missing_dovecot())
    def test_dovecot(self):
        dovecot = services.DovecotAuth(self, "alice@d.test bob@d.test")
        m = self.server(f'lookup "dovecot" {{ from = "dovecot:{dovecot.socket}" cache = "0" cache_missing = "0" }}\n'
                        'domain "d.test" { maildir = "BOXES/%u" users = "lookup:dovecot" }\n')
        self.assertEqual([250, 550, 250], self.codes(m, "alice@d.test", "nosuch@d.test", "bob+x@d.test"))

    # --- what is asked for ---

    def test_domains_routes_and_users_of_many_domains(self):
        db, path = self.sqlite()
        db.executescript("INSERT INTO domain VALUES ('one.test'), ('two.test');"
                         "INSERT INTO mailbox VALUES ('alice@one.test'), ('bob@two.test');"
                         f"INSERT INTO route VALUES ('boss@far.test', 'relay:[127.0.0.3]:{self.port}'),"
                         "('gone.test', 'error:5.7.1 no more');")
        db.commit()
        other = self.sink(port=self.port, address="127.0.0.3")

        def lookup(name, what):
            return f'lookup "{name}" {{ from = "sqlite:{path}" query = "{what} = %a" cache = "0" cache_missing = "0" }}\n'
        m = self.server(
            lookup("domains", "SELECT 1 FROM domain WHERE name") + lookup("box", "SELECT 1 FROM mailbox WHERE address") +
            lookup("routes", "SELECT via FROM route WHERE key") + 'route_lookups = "lookup:routes"\n'
            'domain "*" { names = "lookup:domains" users = "lookup:box" maildir = "BOXES/%d-%u" }\n'
            'domain "own.test" { maildir = "BOXES/%u" users = { carol } }\n')
        self.assertEqual([250, 550, 250, 550, 550, 250, 250],
                         self.codes(m, "alice@one.test", "bob@one.test", "bob@two.test", "alice@three.test",
                                    "x@far.test", "carol@own.test", "postmaster@two.test"))
        self.delivered(m, "alice@ONE.test", ["one.test-alice"])
        self.delivered(m, "carol@own.test", ["carol"])
        # Those who may relay: the domain is asked for, then the route.
        m.stop()
        text = open(m.conf).read().replace('relay_from = { "192.0.2.255" }', 'relay_from = { "127.0.0.0/8" }')
        m.write(text)
        m.start()
        m.send("alice@one.test", ["boss@far.test", "staff@far.test", "bob@two.test"], "Subject: x\n\nb\n")
        wait_until(lambda: not m.list(), 20, lambda: str(m.list()) + m.log_tail())
        self.assertEqual([["boss@far.test"]], [list(e.recipients) for e in other.messages])
        self.assertIn(["staff@far.test"], [list(e.recipients) for e in self.far.messages])
        self.assertEqual(1, len(self.box("two.test-bob")))

    def test_call_ahead(self):
        primary = self.sink(port=free_port(), address="127.0.0.4", script={
            "rcpt": lambda s, arg: b"550 5.1.1 no\r\n" if b"nosuch" in arg else None})
        m = self.server(
            f'lookup "ahead" {{ from = "callahead:[127.0.0.4]:{primary.port}" when_failed = "accept" timeout = "2s" cache = "1m" cache_missing = "1m" }}\n'
            f'domain "backup.test" {{ users = "lookup:ahead" deliver = "relay:[127.0.0.4]:{primary.port}" }}\n')
        self.assertEqual([250, 550, 250, 550], self.codes(m, "a@backup.test", "nosuch@backup.test", "a@backup.test",
                                                          "nosuch@backup.test"))
        primary.close()
        m.announce("lookup_failed")
        self.assertEqual([250, 550, 250], self.codes(m, "a@backup.test", "nosuch@backup.test", "other@backup.test"))


if __name__ == "__main__":
    main()
