#!/usr/bin/python3
"""Who is known, and whom an address stands for: alias files and tables in a whole server."""
import glob
import os

import support  # noqa: F401
from case import Case, main
from ports import free_port
from waiting import wait_until

ZONE = """
far IN MX 10 mx.far
mx.far IN A 127.0.0.2
"""
ALIASES = """
postmaster: root
root: alice
team: alice, bob, carol@far.test, loop1
loop1: loop2
loop2: loop1
crew: :include:{folder}/members, bob
owner-crew: bob
"""


class Alias(Case):
    def world(self, **kwargs):
        self.port = free_port()
        self.boxes = self.subfolder("boxes")
        self.file("aliases", ALIASES.format(folder=self.folder))
        self.file("virtual", "info@v.test alice@a.test, dave@far.test\n@old.test @a.test\n")
        self.file("members", "".join(f"m{i}@far.test\n" for i in range(1000)))
        self.far = self.sink(port=self.port, address="127.0.0.2")
        return self.mansio(
            dns=self.dns(ZONE), mx_port=self.port, hostname="mx.a.test", relay=False, **kwargs,
            config=f'domain "a.test" {{ maildir = "{self.boxes}/%u" aliases = "{self.folder}/aliases"'
                   f' users = {{ alice, bob }} }}\n'
                   f'domain "v.test" {{ virtual = "{self.folder}/virtual" deliver = "error:5.1.1 nobody here" }}\n'
                   f'domain "old.test" {{ virtual = "{self.folder}/virtual" users = {{ nobody }} }}\n')

    def box(self, user):
        found = []
        for path in glob.glob(os.path.join(self.boxes, user, "new", "*")):
            with open(path, "rb") as f:
                found.append(f.read())
        return found

    def rcpt(self, m, *addresses):
        with m.client() as c:
            c.ehlo()
            c.mail("x@far.test")
            return [c.rcpt(a)[0] for a in addresses]

    def test_rcpt_is_decided_in_the_session(self):
        m = self.world()
        self.assertEqual([250, 250, 250, 250, 250, 550, 550, 250],
                         self.rcpt(m, "alice@a.test", "ALICE+tag@a.test", "team@a.test", "postmaster@a.test",
                                   "abuse@a.test", "nosuch@a.test", "carol@far.test", "postmaster"))
        self.assertEqual([250, 550, 250, 250],
                         self.rcpt(m, "info@v.test", "nosuch@v.test", "postmaster@v.test", "anybody@old.test"))

    def test_expansion(self):
        m = self.world()
        m.send("x@far.test", ["team@a.test", "alice@a.test", "info@v.test", "bob+shop@a.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        self.assertEqual([1, 2], [len(self.box(u)) for u in ("alice", "bob")])  # bob and bob+shop are two addresses
        self.assertEqual(["carol@far.test", "dave@far.test"],
                         sorted(r for x in self.far.messages for r in x.recipients))
        self.assertEqual({"x@far.test"}, {x.sender for x in self.far.messages})

    def test_a_list_of_a_thousand_has_an_owner(self):
        m = self.world()
        m.send("x@far.test", ["crew@a.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        got = [r for x in self.far.messages for r in x.recipients]
        self.assertEqual((1000, 1000), (len(got), len(set(got))))
        self.assertEqual({"owner-crew@a.test"}, {x.sender for x in self.far.messages})
        self.assertIn(b"Return-Path: <owner-crew@a.test>", self.box("bob")[0])

    def test_a_circle_is_reported(self):
        m = self.world()
        m.send("x@far.test", ["loop1@a.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        self.assertIn(b"Status: 5.4.6", self.far.messages[0].content)

    def test_files_change_and_break(self):
        m = self.world()
        m.announce("aliases_refused")
        self.assertEqual([550], self.rcpt(m, "fresh@a.test"))
        self.file("aliases", "fresh: alice\n")
        wait_until(lambda: self.rcpt(m, "fresh@a.test") == [250], 10, "the new alias")
        self.file("aliases", "fresh: alice\nother alice\n")
        wait_until(lambda: self.rcpt(m, "other@a.test") and m.events("aliases_refused"), 10, "the refusal")
        event = m.events("aliases_refused")[-1]
        self.assertEqual(("2", f"{self.folder}/aliases"), (str(event["line"]), event["path"]))
        self.assertEqual([250, 550], self.rcpt(m, "fresh@a.test", "team@a.test"))

    def test_without_lookup_mail_is_put_off_not_refused(self):
        m = self.world()
        m.announce("child_ended")
        m.kill("lookup")
        self.assertIn(self.rcpt(m, "nosuch@a.test")[0], (451, 550))
        wait_until(lambda: self.rcpt(m, "alice@a.test") == [250], 20, "lookup to come back")
        wait_until(lambda: self.rcpt(m, "nosuch@a.test") == [550], 20, "lookup to come back")


if __name__ == "__main__":
    main()
