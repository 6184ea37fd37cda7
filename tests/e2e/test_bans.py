#!/usr/bin/python3
"""Who is shut out for guessing or by hand, and logins that sent more than they may: over restarts, cleared by queuectl."""
import base64
import os

import support  # noqa: F401
import case
from case import Case, main
from ports import free_port
from waiting import wait_until
from wire import Wire


class Bans(Case):
    """What outlives a restart: bans, and logins that sent more than they may."""

    def server(self, config="", auth=""):
        port = self.submission = free_port()
        users = os.path.join(self.subfolder("auth"), "users")
        m = self.mansio(relay=False, start=False, inbound=2, config=f'''
listen submission {{ address = "127.0.0.1:{port}" tls = "none" auth = true auth_without_tls = true }}
auth {{ users = "{users}" failures = 3 ban = "10m" {auth} }}
exempt_from = {{ "127.0.0.1" }}
domain "here.test" {{ }}
route "*" {{ via = "relay:[127.0.0.1]:9" }}
checks {{ names = false tarpit = "0" }}
{config}''')
        r = self.run_program(case.as_ordinary_user([m.program("queuectl"), "-c", m.conf, "user", "add", "alice"]),
                             stdin="correct horse\n")
        self.assertEqual(0, r.returncode, r.stderr)
        m.start()
        m.tolerate("login_shut_out")
        m.tolerate("login_held")
        return m

    def login(self, password, source="127.0.0.1"):
        w = Wire(self, self.submission, source)
        if not w.greeting.startswith("220"):
            return w, w.greeting
        w.say("EHLO client.test")
        return w, w.say("AUTH PLAIN " + base64.b64encode(f"\0alice\0{password}".encode()).decode())

    def ban(self, m, *args):
        r = m.queuectl("ban", *args)
        self.assertEqual(0, r.returncode, r.stderr)
        return r.stdout

    def restart(self, m):
        m.stop(check=False)
        m.start()

    def test_guessing_bans_the_block_over_restarts(self):
        m = self.server()
        self.assertIn("Nobody is shut out", self.ban(m, "list"))
        for _ in range(3):
            self.assertEqual("535", self.login("wrong", "127.0.0.50")[1][:3])
        wait_until(lambda: self.login("correct horse", "127.0.0.50")[1].startswith("421 4.7.0"), 5, "the door is shut")
        self.assertEqual("235", self.login("correct horse", "127.0.0.51")[1][:3])
        self.assertTrue(Wire(self, m.port, "127.0.0.50").greeting.startswith("220"), "mail for us is another matter")
        self.assertIn("127.0.0.50  for 10 min more (failed logins)", self.ban(m, "list"))
        m.wait_event("wards_saved")
        self.restart(m)
        self.assertIn("127.0.0.50", self.ban(m, "list"))
        self.assertTrue(self.login("correct horse", "127.0.0.50")[1].startswith("421"), "still, after a restart")
        m.announce("banned")
        self.ban(m, "clear", "127.0.0.50")
        wait_until(lambda: self.login("correct horse", "127.0.0.50")[1][:3] == "235", 5, "cleared, in auth too")
        self.assertIn("Nobody is shut out", self.ban(m, "list"))
        self.assertTrue(m.events("control", command="unban"))

    def test_guessing_at_one_name_from_everywhere(self):
        m = self.server(auth="login_failures = 4")
        m.announce("login_attacked")
        self.assertEqual("235", self.login("correct horse", "127.0.0.41")[1][:3])
        for i in range(4):
            self.assertEqual("535", self.login("wrong", f"127.0.0.{42 + i}")[1][:3])
        self.assertEqual("454", self.login("correct horse", "127.0.0.46")[1][:3], "a stranger is not judged")
        self.assertEqual("235", self.login("correct horse", "127.0.0.41")[1][:3], "who was here before is")
        listed = "alice  login, from unknown clients  for 10 min more (failed logins)"
        wait_until(lambda: listed in self.ban(m, "list"), 5, lambda: self.ban(m, "list"))
        m.wait_event("wards_saved")
        self.restart(m)
        self.assertIn(listed, self.ban(m, "list"))
        self.assertEqual("454", self.login("correct horse", "127.0.0.46")[1][:3], "still, after a restart")
        wait_until(lambda: 'mansio_logins_total{result="shut_out"} 1\n' in m.queuectl("metrics").stdout, 5,
                   lambda: m.queuectl("metrics").stdout)
        self.assertIn("\nmansio_bans 1\n", m.queuectl("metrics").stdout)
        m.announce("banned")
        self.ban(m, "clear", "alice")
        wait_until(lambda: self.login("correct horse", "127.0.0.46")[1][:3] == "235", 5, "cleared, in auth too")

    def test_bans_by_hand(self):
        m = self.server()
        self.ban(m, "add", "127.0.0.60", "1h")
        self.ban(m, "add", "2001:db8::7")
        wait_until(lambda: Wire(self, m.port, "127.0.0.60").greeting.startswith("554 5.7.1"), 5, "the ban")
        listed = self.ban(m, "list")
        self.assertIn("127.0.0.60  for 60 min more (postmaster)", listed)
        self.assertIn("2001:db8::/64  until it is cleared (postmaster)", listed)
        m.kill("queued")
        m.tolerate("child_ended")
        m.tolerate("channel_lost")
        wait_until(lambda: m.queuectl("ban", "list").stdout == listed, 10, "kept when queued dies")
        self.assertTrue(Wire(self, m.port, "127.0.0.60").greeting.startswith("554"))
        self.ban(m, "clear", "127.0.0.60")
        wait_until(lambda: Wire(self, m.port, "127.0.0.60").greeting.startswith("220"), 5, "the end of it")
        for args in (("add", "nonsense"), ("add", "192.0.2.0/24"), ("clear", "192.0.2.1"), ("add", "192.0.2.1", "soon"), ()):
            self.assertNotEqual(0, m.queuectl("ban", *args).returncode, args)

    def test_stolen_login(self):
        m = self.server('rates { login_quota = "5/1d" }')
        w, answer = self.login("correct horse")
        self.assertEqual("235", answer[:3])

        def send(count):
            answers = w.mail(*[f"x{i}@elsewhere.test" for i in range(count)], sender="alice@here.test")
            self.assertEqual(["250"] * (count + 1), [a[:3] for a in answers])
            self.assertEqual("354", w.say("DATA")[:3])
            self.assertEqual("250", w.say("Subject: buy\r\n\r\nbuy\r\n.")[:3])
        send(2)
        send(3)
        self.assertFalse(m.events("login_held"))
        send(1)

        def states():
            return [r["state"] for r in m.recipients() if "elsewhere" in r["to"]]
        wait_until(lambda: states() == ["held"] * 6, 10, lambda: f"all of it is held, not {m.recipients()}")
        send(1)
        self.assertEqual(1, len(m.events("login_held")))
        self.assertIn("alice  login: what it sends is held (quota)", self.ban(m, "list"))
        self.restart(m)
        w, _ = self.login("correct horse")
        send(1)
        wait_until(lambda: states() == ["held"] * 8, 10, "held over the restart")
        told = [r for r in m.recipients() if r["to"].startswith("postmaster@")]
        self.assertEqual(1, len(told), "one alert for the postmaster")
        self.ban(m, "clear", "alice")
        send(1)
        wait_until(lambda: sorted(set(states())) == ["deferred", "held"], 10, "what comes now goes")


if __name__ == "__main__":
    main()
