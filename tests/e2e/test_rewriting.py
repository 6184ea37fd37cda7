#!/usr/bin/python3
"""Canonical maps, masquerading and generic maps, by class of mail, in envelopes and headers; SRS forth and back."""
import os
import re
import subprocess
import unittest

import support  # noqa: F401
from case import Case, give, main
from ports import free_port
from waiting import wait_until

ZONE = """
far IN MX 10 mx.far
mx.far IN A 127.0.0.2
big IN MX 10 mx.big
mx.big IN A 127.0.0.3
here IN MX 10 mail.here
mail.here IN A 127.0.0.1
"""
FIELDS = ('From: "Doe, \\"J\\"" (at home)\n <joe@here.test>\n'
          "To: g: ann@desk.here.test, =?utf-8?q?B=C3=B6b?= <bob@far.test>;\n"
          "Cc: (x) joe (y) @ here.test (z)\nSubject: joe@here.test\n")
REWRITTEN = (FIELDS.replace("<joe@here.test>", "<Joe.Doe@here.test>").replace("ann@desk.", "ann@")
             .replace("joe (y) @ here.test", "Joe.Doe@here.test"))
HAS_MAIL_SRS = subprocess.run(["perl", "-MMail::SRS", "-e", "1"], capture_output=True).returncode == 0


def header(message):
    """Without our trace fields, lines ended by LF."""
    text = message.content.decode().replace("\r\n", "\n")
    return re.sub(r"\A(?:(?:Received|Return-Path|Delivered-To):.*\n(?:[ \t].*\n)*)+", "", text).split("\n\n")[0] + "\n"


class Rewriting(Case):
    def world(self, rewrite="", config="", **kwargs):
        port = free_port()
        self.submission = free_port()
        self.far = self.sink(port=port, address="127.0.0.2")
        self.big = self.sink(port=port, address="127.0.0.3")
        self.mail = self.subfolder("mail")
        self.file("canonical", "joe@here.test Joe.Doe@here.test\nold@here.test alice@here.test\n")
        return self.mansio(
            dns=self.dns(ZONE), mx_port=port, hostname="mail.here.test",
            config='origin = "here.test"\n'
                   f'listen submission {{ address = "127.0.0.1:{self.submission}" tls = "none" }}\n'
                   + (f'rewrite {{ canonical = "{self.path("canonical")}" masquerade = "here.test" {rewrite} }}\n'
                      if rewrite is not None else "") + config, **kwargs)

    def box(self, user):
        folder = f"{self.mail}/here.test/{user}/new"
        texts = []
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                texts.append(f.read())
        return texts

    def sendmail(self, m, *args, text=FIELDS + "\nx\n"):
        r = self.run_program([m.program("sendmail"), "-C", m.conf, *args], stdin=text)
        self.assertEqual((0, "", ""), (r.returncode, r.stdout, r.stderr))

    DOMAIN = 'domain "here.test" { maildir = "%s/%%d/%%u" %s }\n'

    def test_classes(self):
        m = self.world(config=self.DOMAIN % (self.path("mail"), 'users = { alice, "joe.doe" }'))
        self.sendmail(m, "-f", "joe@here.test", "bob@far.test")
        wait_until(lambda: len(self.far.messages) == 1, 20, "the program's mail")
        port, m.port = m.port, self.submission
        m.send("joe@desk.here.test", ["bob@far.test", "old@here.test"], FIELDS + "\nx\n")
        wait_until(lambda: len(self.far.messages) == 2, 20, "the submission")
        m.port = port
        m.send("joe@here.test", ["bob@far.test"], FIELDS + "\nx\n")  # relayed: not touched
        m.wait_empty()
        program, submitted, relayed = self.far.messages
        self.assertEqual(["Joe.Doe@here.test", "joe@here.test", "joe@here.test"],
                         [x.sender for x in (program, submitted, relayed)])
        self.assertTrue(header(program).startswith(REWRITTEN), header(program))
        self.assertTrue(header(submitted).startswith(REWRITTEN), header(submitted))
        self.assertEqual(FIELDS, header(relayed))
        self.assertEqual(["joe@here.test"], [e["from"] for e in m.events("address_rewritten", to="Joe.Doe@here.test")])
        self.assertTrue(m.events("address_rewritten", what="recipient", to="alice@here.test"))
        self.assertEqual(1, len(self.box("alice")))

    def test_relayed_when_asked(self):
        m = self.world(rewrite='classes = { "relay" }')
        big = "X-Filler: " + "y" * 300 + "\n"
        m.send("joe@here.test", ["bob@far.test"], big * 300 + FIELDS + "\n.x\nFrom: joe@here.test\n")
        signed = "DKIM-Signature: v=1; a=x\n" + FIELDS
        m.send("joe@here.test", ["bob@far.test"], signed + "\nx\n")
        m.send("joe@here.test", ["bob@far.test"], "no header here joe@here.test\n")
        m.wait_empty()
        got = sorted(self.far.messages, key=lambda x: -len(x.content))
        self.assertEqual([big * 300 + REWRITTEN, signed], [header(x) for x in got[:2]])
        self.assertTrue(got[0].content.endswith(b"\r\n\r\n.x\r\nFrom: joe@here.test\r\n"))
        self.assertTrue(got[2].content.endswith(b"no header here joe@here.test\r\n"))
        self.assertEqual(["Joe.Doe@here.test"] * 3, [x.sender for x in got])

    def test_generic(self):
        self.file("generic", "joe@here.test joe.doe@isp.test\n@here.test @outside.test\n")
        m = self.world(rewrite=None,
                       config=f'rewrite {{ generic = "{self.path("generic")}" }}\n' +
                       self.DOMAIN % (self.path("mail"), ""))
        long = FIELDS + "\n" + ("z" * 70 + "\n") * 3000  # more than comes with a job
        self.sendmail(m, "-f", "joe@here.test", "bob@far.test", "carl@big.test", "alice@here.test", text=long)
        m.send("joe@here.test", ["bob@far.test"], FIELDS + "\nx\n")  # relayed: not touched
        m.wait_empty()
        expected = (FIELDS.replace("<joe@here.test>", "<joe.doe@isp.test>")
                    .replace("joe (y) @ here.test", "joe.doe@isp.test"))
        sent, relayed = sorted(self.far.messages, key=lambda x: -len(x.content))
        for message in (sent, self.big.messages[0]):
            self.assertEqual("joe.doe@isp.test", message.sender)
            self.assertTrue(header(message).startswith(expected), header(message))
            self.assertTrue(message.content.endswith(b"\r\n" + (b"z" * 70 + b"\r\n") * 3000))
        self.assertEqual(("joe@here.test", FIELDS), (relayed.sender, header(relayed)))
        self.assertIn("<joe@here.test>", self.box("alice")[0])
        self.assertIn("Return-Path: <joe@here.test>", self.box("alice")[0])

    def test_mistakes(self):
        m = self.world(config=self.DOMAIN % (self.path("mail"), ""))
        self.file("canonical", "a b\nc\n")
        self.assertIn("canonical:2: behind the key", m.check().stderr)
        m.announce("reload_refused")
        m.reload()
        self.sendmail(m, "-f", "joe@here.test", "alice@here.test")
        wait_until(lambda: self.box("alice"), 20, "mail under the old map")
        self.assertIn("Return-Path: <Joe.Doe@here.test>", self.box("alice")[0])
        self.file("canonical", "joe@here.test jd@here.test\n")
        m.reload()
        self.sendmail(m, "-f", "joe@here.test", "alice@here.test")
        wait_until(lambda: len(self.box("alice")) == 2, 20, "mail under the new map")
        self.assertIn("Return-Path: <jd@here.test>", "".join(self.box("alice")))

    # --- SRS ---

    def keys(self, *keys):
        path = self.file("srs.keys", "".join(k + "\n" for k in keys))
        os.chmod(path, 0o600)
        return give(path)

    def forwarding(self):
        self.file("aliases", "fwd: fwd@big.test\nfwdlist: list, carl@big.test\nowner-list: alice\n"
                             "list: ann@big.test, alice\nonward: fwd@here.test\n")
        return self.world(rewrite=None, config=f'srs {{ keys = "{self.keys("tops3cr3t")}" }}\n' + self.DOMAIN % (
            self.path("mail"), f'users = {{ alice, root }} aliases = "{self.path("aliases")}"'))

    def rcpt(self, m, address, sender=""):
        with m.client() as c:
            c.ehlo()
            c.mail(sender)
            code, reply = c.rcpt(address)
            return code, reply.decode().split()[0]

    def test_forth_and_back(self):
        m = self.forwarding()
        m.send("Stranger@far.test", ["fwd@here.test"], "Subject: t\n\nx\n")
        m.send("", ["fwd@here.test"], "Subject: bounce\n\nx\n")
        m.send("alice@here.test", ["onward@here.test"], "Subject: ours\n\nx\n")
        m.wait_empty()
        senders = {x.sender for x in self.big.messages}
        rewritten = next(x for x in senders if x.startswith("SRS0="))
        self.assertEqual({"", "alice@here.test", rewritten}, senders)
        self.assertRegex(rewritten, r"^SRS0=[A-Za-z0-9+/]{4}=[A-Z2-7]{2}=far\.test=Stranger@here\.test$")
        event = m.events("sender_forwarded")[0]
        self.assertEqual(("Stranger@far.test", rewritten, "fwd@big.test"), (event["from"], event["as"], event["to"]))
        # the way back, for everybody but forgers
        m.send("", [rewritten], "Subject: bounce\n\nx\n")
        m.wait_empty()
        self.assertEqual([["Stranger@far.test"]], [x.recipients for x in self.far.messages])
        self.assertEqual((250, "2.1.5"), self.rcpt(m, rewritten.lower()))
        self.assertEqual((550, "5.7.1"), self.rcpt(m, rewritten.replace("Stranger", "stranger2")))
        self.assertEqual((550, "5.7.1"), self.rcpt(m, "SRS0=x@here.test"))
        self.assertEqual((550, "5.1.1"), self.rcpt(m, "SRS0@here.test"))
        if HAS_MAIL_SRS:
            def srs(code, key="tops3cr3t"):
                return self.run_program(["perl", "-MMail::SRS", "-e", f'my $s = new Mail::SRS(Secret => ["{key}"], '
                                         f'MaxAge => 21, HashLength => 4, HashMin => 4); print {code}']).stdout
            self.assertEqual("Stranger@far.test", srs(f"$s->reverse('{rewritten}')"))
            self.assertEqual(rewritten, srs("$s->forward('Stranger@far.test', 'here.test')"))
            theirs = srs("$s->forward('SRS0=abcd=AB=far.test=x@big.test', 'here.test')")
            self.assertEqual((250, "2.1.5"), self.rcpt(m, theirs))
            self.assertEqual((550, "5.7.1"), self.rcpt(m, srs("$s->forward('x@far.test', 'here.test')", "other")))
            self.assertEqual((550, "5.1.1"), self.rcpt(m, srs(
                "do { my $t = $s->timestamp_create(time - 40 * 86400); my $h = $s->hash_create($t, 'far.test', 'x'); "
                '"SRS0=$h=$t=far.test=x\\@here.test" }')))
        # new keys: the first signs, the others still prove
        self.keys("newer", "tops3cr3t")
        m.reload()
        m.send("Stranger@far.test", ["fwd@here.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        newer = self.big.messages[-1].sender
        self.assertNotEqual(rewritten, newer)
        self.assertEqual([(250, "2.1.5")] * 2, [self.rcpt(m, x) for x in (rewritten, newer)])
        self.keys("newer")
        m.reload()
        self.assertEqual([(550, "5.7.1"), (250, "2.1.5")], [self.rcpt(m, x) for x in (rewritten, newer)])

    def test_own_bounce(self):
        """The provider refuses: our own bounce goes to the stranger, not to an address of ours."""
        m = self.forwarding()
        self.big.script["rcpt"] = b"550 5.1.1 nobody\r\n"
        m.send("stranger@far.test", ["fwd@here.test"], "Subject: t\n\nx\n")
        wait_until(lambda: self.far.messages, 20, "the bounce")
        self.assertEqual(("", ["stranger@far.test"]), (self.far.messages[0].sender, self.far.messages[0].recipients))
        m.wait_empty()

    def test_explained(self):
        """What waits in the queue is found and explained by each of its names."""
        m = self.forwarding()
        self.big.script["rcpt"] = b"450 4.2.1 later\r\n"
        id = m.send("stranger@far.test", ["fwd@here.test"], "Subject: t\n\nx\n")
        sender = m.wait_event("sender_forwarded")["as"]
        m.wait_recipient("fwd@big.test")
        why = m.queuectl("explain", id).stdout
        self.assertIn("The mail was sent to fwd@here.test. It goes out in the name of " + sender, " ".join(why.split()))
        for name in ("stranger@far.test", "fwd@here.test", "fwd@big.test", sender):
            self.assertIn(id, m.queuectl("trace", name).stdout, name)

    def test_lists_and_verp(self):
        m = self.forwarding()
        m.send("stranger@far.test", ["fwdlist@here.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        by_recipient = {x.recipients[0]: x.sender for x in self.big.messages}
        self.assertEqual("owner-list@here.test", by_recipient["ann@big.test"])
        self.assertRegex(by_recipient["carl@big.test"], r"^SRS0=.*=far\.test=stranger@here\.test$")
        self.sendmail(m, "-f", "stranger@far.test", "-XV", "fwd@here.test", text="Subject: t\n\nx\n")
        m.wait_empty()
        self.assertRegex(self.big.messages[-1].sender, r"^SRS0=.*=far\.test=stranger\+fwd=here\.test@here\.test$")

    @unittest.skipUnless(os.path.isdir("/proc/self/fd"), "needs /proc")
    def test_who_has_the_keys(self):
        """Only queued and lookup have ever seen them."""
        m = self.forwarding()
        m.send("stranger@far.test", ["fwd@here.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        for role, wanted in (("queued", True), ("lookup", True), ("inbound", False), ("outbound", False)):
            found = False
            for pid in m.pids(role):
                with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
                    for line in maps:
                        span, rights, *_ = line.split()
                        low, high = (int(x, 16) for x in span.split("-"))
                        if not rights.startswith("rw") or high - low > 1 << 28:
                            continue
                        try:
                            memory.seek(low)
                            found = found or b"tops3cr3t" in memory.read(high - low)
                        except (OSError, ValueError):
                            continue
            self.assertEqual(wanted, found, role)


if __name__ == "__main__":
    main()
