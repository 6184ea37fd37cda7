#!/usr/bin/python3
"""Bounds at the front door: rates, what the DNS says of strangers, the greeting that waits, slow answers to errors, VRFY,
PROXY headers through a real HAProxy, XCLIENT."""
import os
import shutil
import socket
import subprocess
import time
import unittest

import dns.message
import dns.rdatatype
import dns.rrset

import support  # noqa: F401
import case
from case import Case, main
from ports import free_port
from waiting import wait_until
from wire import Wire

STRANGERS = 'exempt_from = { "127.0.0.1" }\ndomain "here.test" { deliver = "discard" }\n'


def message_of(m, user):
    """The only message in a user's mailbox."""
    fresh = os.path.join(m.state, "mail", "here.test", user, "new")
    wait_until(lambda: os.path.isdir(fresh) and os.listdir(fresh), 10, "a message for " + user)
    with open(os.path.join(fresh, os.listdir(fresh)[0]), encoding="utf-8") as f:
        return f.read()


class Rates(Case):
    def test_each_client_has_its_own(self):
        m = self.mansio(relay=False, inbound=2, config=STRANGERS + 'rates { client_connections = "5/1h" '
                        'client_recipients = "4/1h"  client_messages = "3/1h" ipv4_bits = 24 }')
        greetings = [Wire(self, m.port).greeting for _ in range(7)]
        self.assertEqual(5, sum(g.startswith("220") for g in greetings), greetings)
        self.assertTrue(greetings[6].startswith("421 4.7.0"), greetings)
        self.assertTrue(Wire(self, m.port, "127.0.0.9").greeting.startswith("421"), "a neighbour in the /24")
        other = Wire(self, m.port, "127.0.9.1")
        self.assertTrue(other.greeting.startswith("220"))
        other.say("EHLO there.test")
        answers = other.mail(*[f"u{i}@here.test" for i in range(6)])
        self.assertEqual(["250"] * 5 + ["452"] * 2, [a[:3] for a in answers])
        self.assertIn("4.5.3", answers[6])
        codes = []
        for _ in range(3):
            other.say("RSET")
            codes.append(other.say("MAIL FROM:<a@there.test>")[:9])
        self.assertEqual(["250 2.1.0", "250 2.1.0", "450 4.7.1"], codes)
        for what in ("client_connections", "client_recipients", "client_messages"):
            m.wait_event("rate_limited", 10, what=what)
        m.wait_event("session_refused", 10, why="client_connections")

    def test_commands_and_errors(self):
        m = self.mansio(relay=False, config=STRANGERS + 'rates { client_commands = "10/1h" client_errors = "3/1h" }\n'
                        'checks { tarpit = "0" }')
        w = Wire(self, m.port)
        answers = [w.say("NOOP") for _ in range(11)]
        self.assertEqual(["250"] * 10, [a[:3] for a in answers[:10]])
        self.assertEqual("250", answers[10][:3])
        self.assertTrue(w.reply().startswith("421 4.7.0"))
        m.wait_event("rate_limited", 10, what="client_commands")
        w = Wire(self, m.port, "127.0.0.2")
        for _ in range(3):
            self.assertEqual("500", w.say("GIBBERISH")[:3])
        self.assertTrue(Wire(self, m.port, "127.0.0.2").greeting.startswith("421 4.7.0"))
        self.assertEqual("220 mx.here.test ESMTP ready", Wire(self, m.port, "127.0.0.31").greeting)

    def test_senders_domains_and_sizes(self):
        m = self.mansio(relay=False, config=STRANGERS.replace("}\ndomain", '}\ndomain "small.test" '
                        '{ deliver = "discard" message_size = 2K recipients = "3/1h" }\ndomain')
                        + 'rates { sender_messages = "2/1h" client_octets = "10K/1h" sender_octets = "5K/1h" uid_octets = "1K/1h" }')
        w = Wire(self, m.port)
        w.say("EHLO there.test")
        for expected in ("250", "250", "450"):
            w.say("RSET")
            self.assertEqual(expected, w.say("MAIL FROM:<a@busy.test>" if expected == "250" else "MAIL FROM:<a@BUSY.test>")[:3])
        self.assertEqual("250", w.say("MAIL FROM:<a@calm.test>")[:3])
        w.say("RSET")
        self.assertEqual("250", w.say("MAIL FROM:<> SIZE=3000")[:3])
        self.assertTrue(w.say("RCPT TO:<x@small.test>").startswith("552 5.3.4"))
        self.assertEqual("250", w.say("RCPT TO:<x@here.test>")[:3])
        w.say("RSET")
        answers = w.mail(*[f"{i}@small.test" for i in range(3)], "3@small.test", "postmaster@small.test",
                         "abuse@small.test", sender="")
        self.assertEqual(["250", "250", "250", "450", "450", "250", "250"], [a[:3] for a in answers],
                         "one was taken by the size, and postmaster and abuse are always taken")
        self.assertEqual("354", w.say("DATA")[:3])
        self.assertTrue(w.say("Subject: large\r\n\r\n" + ("x" * 70 + "\r\n") * 40 + ".").startswith("552 5.3.4"))
        w.say("MAIL FROM:<>", "RCPT TO:<x@here.test>")
        self.assertEqual("354", w.say("DATA")[:3])
        self.assertEqual("250", w.say("Subject: larger\r\n\r\n" + ("x" * 70 + "\r\n") * 200 + ".")[:3])
        self.assertTrue(w.say("MAIL FROM:<>").startswith("452 4.7.1"), "10K are spent")
        m.wait_event("rate_limited", 10, what="client_octets")

        def large(w, sender):
            w.say("EHLO there.test")
            self.assertEqual(["250", "250"], [a[:3] for a in w.mail("x@here.test", sender=sender)])
            self.assertEqual("354", w.say("DATA")[:3])
            self.assertEqual("250", w.say("Subject: larger\r\n\r\n" + ("x" * 70 + "\r\n") * 80 + ".")[:3])
        large(Wire(self, m.port, "127.0.0.31"), "a@heavy.test")
        w = Wire(self, m.port, "127.0.0.32")
        w.say("EHLO there.test")
        self.assertTrue(w.say("MAIL FROM:<b@HEAVY.test>").startswith("452 4.7.1"), "from whatever address")
        m.wait_event("rate_limited", 10, what="sender_octets")
        program = Wire.of(self, os.path.join(m.run_dir, "inject"))
        large(program, "a@here.test")
        self.assertTrue(program.say("MAIL FROM:<b@there.test>").startswith("452 4.7.1"), "1K of this user are spent")
        m.wait_event("rate_limited", 10, what="uid_octets")

    def test_defaults_leave_ourselves_alone(self):
        m = self.mansio(config='rates { client_connections = "1/1h" client_messages = "1/1h" }')
        for _ in range(5):
            w = Wire(self, m.port)
            self.assertTrue(w.greeting.startswith("220"))
            w.say("EHLO here.test")
            self.assertEqual("250", w.say("MAIL FROM:<a@here.test>")[:3])


def scripted(kind, *values):
    def answer(query):
        q = dns.message.from_wire(query) if isinstance(query, bytes) else query
        r = dns.message.make_response(q)
        if q.question[0].rdtype == dns.rdatatype.from_text(kind):
            r.answer.append(dns.rrset.from_text(q.question[0].name, 60, "IN", kind, *values))
        return r.to_wire()
    return answer


class Strangers(Case):
    ZONE = """client IN A 127.0.0.7
              liar   IN A 127.0.0.99
              7.0.0.127.friends IN A 127.0.0.3
              8.0.0.127.foes    IN A 127.0.0.2
              9.0.0.127.foes    IN A 127.0.0.4
              8.0.0.127.broken  IN A 192.0.2.1"""
    CHECKS = '''checks { refuse_at = 4  time = "700ms"  tarpit = "0"
        lists = { "foes.test 3", "foes.test=127.0.0.4 2", "friends.test -5", "broken.test 50", "silent.test 50" } }'''

    def server(self):
        self.names = self.dns(self.ZONE, {
            "7.0.0.127.in-addr.arpa.": scripted("PTR", "client.test."),
            "8.0.0.127.in-addr.arpa.": scripted("PTR", "liar.test."),
            "9.0.0.127.in-addr.arpa.": scripted("PTR", "liar.test.", "no_such.test.")})
        return self.mansio(relay=False, dns=self.names, config='exempt_from = { "127.0.0.1" }\n' + self.CHECKS
                           + '\ndomain "here.test" { }')

    def visit(self, m, source, helo, *recipients, data=False):
        w = Wire(self, m.port, source)
        w.say(f"EHLO {helo}")
        answers = [a[:9] for a in w.mail(*recipients)[1:]]
        if data:
            w.say("DATA")
            self.assertEqual("250", w.say("Subject: x\r\n\r\nx\r\n.")[:3])
        w.say("QUIT")
        return answers

    def test_names_and_lists(self):
        m = self.server()
        everybody = ("bob@here.test", "postmaster@here.test", "abuse@here.test")
        taken = ["250 2.1.5"] * 3
        self.assertEqual(taken, self.visit(m, "127.0.0.7", "client.test", *everybody, data=True))
        self.assertEqual(["550 5.7.1"] + taken[1:], self.visit(m, "127.0.0.8", "client.test", *everybody))
        self.assertEqual(["550 5.7.1"] + taken[1:], self.visit(m, "127.0.0.9", "client.test", *everybody))
        self.assertEqual(taken, self.visit(m, "127.0.0.9", "client.test", *everybody[1:], everybody[1]))
        self.assertEqual(["550 5.7.1"], self.visit(m, "127.0.0.10", "mx.here.test", everybody[0]))
        self.assertEqual(["250 2.1.5"], self.visit(m, "127.0.0.10", "[127.0.0.11]", everybody[0]))
        seen = [(e["client"], e.get("name", ""), e["score"], e["reasons"], e["verdict"]) for e in m.events("client_scored")]
        self.assertEqual([
            ("127.0.0.7", "client.test", -5, "friends.test:-5", "passed"),
            ("127.0.0.8", "", 4, "no_name:1 foes.test:3", "refused"),
            ("127.0.0.9", "", 6, "no_name:1 foes.test:3 foes.test:2", "refused"),
            ("127.0.0.9", "", 6, "no_name:1 foes.test:3 foes.test:2", "refused"),
            ("127.0.0.10", "", 5, "helo_ours:5", "refused"),
            ("127.0.0.10", "", 2, "helo_address:2", "passed"),
        ], [(c, n, int(s), r.replace("no_name:1 ", "") if c == "127.0.0.10" else r, v)
            if c != "127.0.0.10" else (c, n, int(s) - r.count("no_name"), r.replace("no_name:1 ", ""), v)
            for c, n, s, r, v in seen])
        self.assertIn("from client.test (client.test [127.0.0.7])", message_of(m, "bob"))

    def test_a_dead_dns_refuses_nobody(self):
        m = self.server()
        self.names.gone = True
        begin = time.monotonic()
        self.assertEqual(["250 2.1.5"], self.visit(m, "127.0.0.8", "client.test", "bob@here.test"))
        self.assertGreater(time.monotonic() - begin, 0.6, "it was waited for")
        (scored,) = m.events("client_scored")
        self.assertEqual(("0", ""), (str(scored["score"]), scored["reasons"]))


class Waiting(Case):
    def test_talks_before_the_greeting(self):
        m = self.mansio(relay=False, config=STRANGERS + 'checks { greet_delay = "600ms" names = false }')
        begin = time.monotonic()
        w = Wire(self, m.port)
        self.assertTrue(w.greeting.startswith("220"))
        self.assertGreater(time.monotonic() - begin, 0.55)
        early = Wire(self, m.port, greeting=False)
        early.socket.sendall(b"EHLO early.test\r\n")
        self.assertEqual("554 5.5.0", early.reply()[:9])
        self.assertEqual(b"", early.file.read())
        m.wait_event("talked_early", 10)

    def test_errors_are_slow_but_nothing_else(self):
        m = self.mansio(relay=False, config=STRANGERS + 'checks { tarpit = "400ms" tarpit_sessions = 2 names = false }')
        slow = [Wire(self, m.port) for _ in range(4)]
        for w in slow:
            w.say("EHLO there.test")
            w.socket.sendall(b"GIBBERISH\r\nNOOP\r\n")
        begin = time.monotonic()
        other = Wire(self, m.port)
        self.assertEqual("250", other.say("EHLO other.test")[:3])
        self.assertLess(time.monotonic() - begin, 0.35, "who makes no error does not wait")
        took = []
        for w in reversed(slow):
            self.assertEqual("500", w.reply()[:3])
            self.assertEqual("250", w.reply()[:3])
            took.append(time.monotonic() - begin > 0.3)
        self.assertEqual([False, False, True, True], took, "two may wait, no more")

    def test_stops_while_somebody_waits(self):
        m = self.mansio(relay=False, config=STRANGERS + 'checks { tarpit = "1m" greet_delay = "1m" names = false }')
        Wire(self, m.port, greeting=False)
        begin = time.monotonic()
        m.stop()
        self.assertLess(time.monotonic() - begin, 10)


class Asking(Case):
    def test_vrfy_and_expn(self):
        port = free_port()
        m = self.mansio(listen='vrfy = "answer"', relay=False, config='domain "here.test" { users = { "alice" } }\n'
                        f'listen two {{ class = "smtp" address = "127.0.0.1:{port}" vrfy = "refuse" expn = "noncommittal" }}')
        w = Wire(self, m.port)
        for text, code in (("VRFY alice@here.test", "250 2.1.5"), ("VRFY <alice+tag@here.test>", "250 2.1.5"),
                           ("VRFY bob@here.test", "550 5.1.1"), ("VRFY postmaster@here.test", "250 2.1.5"),
                           ("VRFY x@elsewhere.test", "550 5.7.1"), ("VRFY alice", "501 5.1.3"), ("EXPN staff", "502 5.5.1")):
            self.assertEqual(code, w.say(text)[:9], text)
        w = Wire(self, port)
        self.assertEqual(["502 5.5.1", "252 2.1.5"], [w.say(t)[:9] for t in ("VRFY alice@here.test", "EXPN staff")])


class Fronts(Case):
    """Who stands in front of us and speaks for others."""

    @unittest.skipUnless(shutil.which("haproxy") or os.path.exists("/usr/sbin/haproxy"), "needs haproxy")
    def test_haproxy(self):
        """Both versions of its header, from HAProxy itself; the client that it names is the one that is counted and written."""
        fronts = {"send-proxy": free_port(), "send-proxy-v2": free_port()}
        backs = {word: free_port() for word in fronts}
        listens = "".join(f'listen "{w}" {{ class = "smtp" address = "127.0.0.1:{p}" proxy_from = {{ "127.0.0.1" }} }}\n'
                          for w, p in backs.items())
        m = self.mansio(relay=False, config=listens + 'exempt_from = { "127.0.0.1" }\nchecks { names = false }\n'
                        'rates { client_messages = "1/1h" }\ndomain "here.test" { }')
        conf = self.file("haproxy.conf", "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
                         + "".join(f"listen {w}\n bind 127.0.0.1:{fronts[w]}\n server one 127.0.0.1:{backs[w]} {w}\n"
                                   for w in fronts))
        proxy = subprocess.Popen([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", conf],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.kill)
        for i, (word, port) in enumerate(fronts.items()):
            def reached():
                with socket.socket() as s:
                    return s.connect_ex(("127.0.0.1", port)) == 0
            wait_until(reached, 10, "haproxy")
            source = f"127.0.0.{20 + i}"
            w = Wire(self, port, source)
            w.say("EHLO there.test")
            self.assertEqual(["250", "250"], [a[:3] for a in w.mail(f"user{i}@here.test")])
            w.say("DATA")
            self.assertEqual("250", w.say(f"Subject: {word}\r\n\r\nx\r\n.")[:3])
            self.assertEqual("450", w.say("MAIL FROM:<>")[:3], "the second message of this client")
            accepted = m.events("message_accepted")
            self.assertEqual(source, accepted[i]["client"])
            self.assertIn(f"from there.test (unknown [{source}])", message_of(m, f"user{i}"))

    def test_headers_from_strangers(self):
        port = free_port()
        m = self.mansio(relay=False, config=f'listen front {{ class = "smtp" address = "127.0.0.1:{port}" '
                        'proxy_from = { "127.0.0.5" } xclient_from = { "127.0.0.6" } }\ndomain "here.test" { }\n')
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 25\r\n"
        stranger = Wire(self, port, greeting=False)
        stranger.socket.sendall(header)
        first = stranger.reply()
        self.assertTrue(first.startswith(("554 5.5.0", "220")), first)
        if first.startswith("220"):
            self.assertEqual("500", stranger.reply()[:3])
        self.assertFalse(m.events("session_opened", client="192.0.2.1"))
        friend = Wire(self, port, "127.0.0.5", greeting=False)
        friend.socket.sendall(header)
        self.assertEqual("220", friend.reply()[:3])
        m.wait_event("session_opened", 10, client="192.0.2.1")
        broken = Wire(self, port, "127.0.0.5", greeting=False)
        broken.socket.sendall(b"EHLO no.header.test\r\n" + b"x" * 300)
        self.assertEqual(b"", broken.file.read(), "no header from one who must send it")
        w = Wire(self, port)
        self.assertNotIn("XCLIENT", w.say("EHLO there.test"))
        self.assertTrue(w.say("XCLIENT ADDR=192.0.2.7").startswith("550 5.7.1"))
        w = Wire(self, port, "127.0.0.6")
        self.assertIn("XCLIENT", w.say("EHLO there.test"))
        self.assertEqual("220", w.say("XCLIENT ADDR=192.0.2.7 NAME=seven.test HELO=seven.test")[:3])
        self.assertEqual("550", w.mail("x@elsewhere.test")[1][:3])


if __name__ == "__main__":
    main()
