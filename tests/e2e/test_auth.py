#!/usr/bin/python3
"""Mail programs log in at the submission ports, each in its own way, and submit: swaks, curl, Nodemailer, smtplib, msmtp, mutt, and the
sequence of Thunderbird."""
import base64
import os
import shutil
import smtplib
import unittest

import support  # noqa: F401
import case
from case import Case
from certificates import anybody, certificate
from ports import free_port
from waiting import wait_until
from wire import Wire

NODEMAILER = os.path.join(case.TOP, "build", "peers", "nodemailer", "node_modules", "nodemailer")
PASSWORD = "correct horse"
TEXT = "From: alice@here.test\r\nTo: b@two.test\r\nSubject: x\r\n\r\nx\r\n"


class Login(Case):
    def setUp(self):
        super().setUp()
        self.submission, self.submissions = free_port(), free_port()
        users = os.path.join(self.subfolder("auth"), "users")
        tls = certificate(self.path("one"), "localhost")
        self.m = self.mansio(relay=False, start=False, config=f"""
listen submission {{ address = "127.0.0.1:{self.submission}" tls = "required" auth = true }}
listen submissions {{ address = "127.0.0.1:{self.submissions}" auth = true }}
tls {{ {tls} }}
auth {{ users = "{users}" }}
route "*" {{ via = "discard" }}
""")
        argv = [self.m.program("queuectl"), "-c", self.m.conf, "user", "add", "alice"]
        self.assertEqual(0, self.run_program(case.as_ordinary_user(argv), stdin=PASSWORD + "\n").returncode)
        self.m.start()
        self.accepted = 0

    def submitted(self, what, r=None):
        """One more message was taken from alice."""
        said = "" if r is None else f"{r.stdout}{r.stderr}"
        if r is not None:
            self.assertEqual(0, r.returncode, (what, said))
        self.accepted += 1
        self.m.wait_empty()
        for event in ("authenticated", "message_accepted"):
            wait_until(lambda: len(self.m.events(event)) >= self.accepted, 10, f"{what}: {event}\n{said}")
            self.assertEqual(self.accepted, len(self.m.events(event)), (what, said))
        self.assertEqual({"alice"}, {e["login"] for e in self.m.events("authenticated")})

    def need(self, program):
        if not shutil.which(program):
            self.skipTest(f"{program} is not installed")

    def test_swaks(self):
        self.need("swaks")
        for mechanism in ("PLAIN", "LOGIN"):
            for port, tls in ((self.submission, "--tls"), (self.submissions, "--tls-on-connect")):
                self.submitted(mechanism + tls, self.run_program(
                    ["swaks", "--server", f"127.0.0.1:{port}", tls, "--auth", mechanism, "--auth-user", "alice",
                     "--auth-password", PASSWORD, "--from", "alice@here.test", "--to", "b@two.test", "--timeout", "30"]))

    def test_curl(self):
        self.need("curl")
        mail = self.file("mail", TEXT)
        for mechanism in ("PLAIN", "LOGIN"):
            for url in (f"smtp://127.0.0.1:{self.submission}", f"smtps://127.0.0.1:{self.submissions}"):
                self.submitted(mechanism + url, self.run_program(
                    ["curl", "-sS", "--ssl-reqd", "-k", "--url", url + "/client.test", "--login-options", "AUTH=" + mechanism,
                     "--user", "alice:" + PASSWORD, "--mail-from", "alice@here.test", "--mail-rcpt", "b@two.test", "-T", mail]))

    def test_msmtp(self):
        self.need("msmtp")
        for mechanism in ("plain", "login", "scram-sha-256"):
            for port, starttls in ((self.submission, "on"), (self.submissions, "off")):
                self.submitted(mechanism + starttls, self.run_program(
                    ["msmtp", "-C", "/dev/null", "--host=127.0.0.1", f"--port={port}", "--tls=on", "--tls-starttls=" + starttls,
                     "--tls-certcheck=off", "--auth=" + mechanism, "--user=alice", f"--passwordeval=echo '{PASSWORD}'",
                     "--from=alice@here.test", "b@two.test"], stdin=TEXT.replace("\r", "")))

    def test_mutt(self):
        self.need("mutt")
        for mechanism in ("plain", "login"):
            rc = self.file("muttrc", f"""set from = "alice@here.test" copy = no
set smtp_url = "smtps://alice@localhost:{self.submissions}/" smtp_pass = "{PASSWORD}" smtp_authenticators = "{mechanism}"
set certificate_file = "{self.path('one.cert')}" ssl_verify_dates = no ssl_force_tls = yes
""")
            self.submitted(mechanism, self.run_program(
                ["mutt", "-n", "-F", rc, "-s", "x", "b@two.test"], stdin="x\n", env=dict(os.environ, HOME=self.folder)))

    def test_smtplib(self):
        for mechanism in ("auth_plain", "auth_login", None):
            for implicit in (False, True):
                with smtplib.SMTP_SSL("localhost", self.submissions, timeout=30, context=anybody()) if implicit else \
                        smtplib.SMTP("localhost", self.submission, timeout=30) as s:
                    if not implicit:
                        s.starttls(context=anybody())
                    s.ehlo()
                    if mechanism is None:
                        s.login("alice", PASSWORD)
                    else:
                        s.user, s.password = "alice", PASSWORD
                        s.auth(mechanism[5:].upper(), getattr(s, mechanism))
                    s.sendmail("alice@here.test", ["b@two.test"], TEXT)
                self.submitted((mechanism, implicit))

    def test_thunderbird(self):
        """AUTH PLAIN at once, after a wrong password again on the same connection; then MAIL with SIZE and BODY."""
        self.m.tolerate("login_failed")
        with smtplib.SMTP("localhost", self.submission, timeout=30) as s:
            s.ehlo("[127.0.0.1]")
            s.starttls(context=anybody())
            s.ehlo("[127.0.0.1]")
            wrong, right = (base64.b64encode(f"\0alice\0{p}".encode()).decode() for p in ("wrong", PASSWORD))
            self.assertEqual(535, s.docmd("AUTH PLAIN " + wrong)[0])
            self.assertEqual(235, s.docmd("AUTH PLAIN " + right)[0])
            self.assertEqual(250, s.docmd(f"MAIL FROM:<alice@here.test> BODY=8BITMIME SIZE={len(TEXT)}")[0])
            self.assertEqual(250, s.docmd("RCPT TO:<b@two.test>")[0])
            self.assertEqual(250, s.data(TEXT)[0])
        self.submitted("Thunderbird")

    @unittest.skipUnless(os.path.isdir(NODEMAILER) and shutil.which("node"), "Nodemailer is not there (tests/run fetches it)")
    def test_nodemailer(self):
        for method in ("PLAIN", "LOGIN"):
            for port, secure in ((self.submission, "false"), (self.submissions, "true")):
                self.submitted(method + secure, self.run_program(["node", "-e", f"""
require({NODEMAILER!r}).createTransport({{host: '127.0.0.1', port: {port}, secure: {secure}, requireTLS: true, authMethod: '{method}',
    auth: {{user: 'alice', pass: '{PASSWORD}'}}, tls: {{rejectUnauthorized: false}}}})
    .sendMail({{from: 'alice@here.test', to: 'b@two.test', subject: 'x', text: 'x'}})
    .catch(e => {{ console.error(e); process.exit(1) }})
"""]))


class Authors(Case):
    """`from = "owned"`: whom a login may name in From."""

    def setUp(self):
        super().setUp()
        self.ports = {"submission": free_port(), "smtp": free_port()}
        users = os.path.join(self.subfolder("auth"), "users")
        table = self.file("senders", "carol carol@here.test, @shop.test\n")
        self.m = self.mansio(relay=False, start=False, config=f"""
listen submission {{ address = "127.0.0.1:{self.ports['submission']}" tls = "none" auth = true auth_without_tls = true }}
listen "second" {{ class = "smtp" address = "127.0.0.1:{self.ports['smtp']}" tls = "none" auth = true auth_without_tls = true }}
lookup "senders" {{ from = "text:{table}" }}
auth {{ users = "{users}" from = "owned" sender_lookups = "lookup:senders" }}
login "alice" {{ senders = {{ "alice@here.test", "sales@here.test" }} }}
domain "here.test" {{ deliver = "discard" }}
route "*" {{ via = "discard" }}
""")
        for name in ("alice", "carol"):
            argv = [self.m.program("queuectl"), "-c", self.m.conf, "user", "add", name]
            self.assertEqual(0, self.run_program(case.as_ordinary_user(argv), stdin=PASSWORD + "\n").returncode)
        self.m.start()

    def answer(self, login, header, listener="submission"):
        w = Wire(self, self.ports[listener])
        w.say("EHLO client.test")
        self.assertEqual("235", w.say("AUTH PLAIN " + base64.b64encode(f"\0{login}\0{PASSWORD}".encode()).decode())[:3])
        self.assertEqual(["250", "250"], [a[:3] for a in w.mail("b@two.test", sender=f"{login}@here.test")])
        self.assertEqual("354", w.say("DATA")[:3])
        return w.say(header + "To: b@two.test\r\n\r\nx\r\n.")[:9].rstrip()

    def test_from(self):
        for login, header, expected in (
                ("alice", "From: Alice <alice@here.test>\r\n", "250"),
                ("alice", "", "250"),
                ("alice", "From: alice@HERE.test, Sales <sales@here.test>\r\n", "250"),
                ("alice", "From: boss@here.test\r\n", "550 5.7.1"),
                ("alice", "From: alice@here.test, boss@here.test\r\n", "550 5.7.1"),
                ("alice", "From: alice@here.test\r\nX: y\r\nFROM : boss@here.test\r\n", "550 5.7.1"),
                ("alice", "From: alice@here.test\r\n (<boss@here.test>)\r\n", "250"),
                ("alice", "From: \"alice@here.test\" <boss@here.test>\r\n", "550 5.7.1"),
                ("alice", "Resent-From: alice@here.test\r\nFrom: boss@here.test\r\n", "550 5.7.1"),
                ("alice", "From: <\r\n", "550 5.6.0"),
                ("alice", "From: nobody:;\r\n", "550 5.6.0"),
                ("alice", "From: alice@here.test," + " " * 990 + "\r\n" + (" " * 998 + "\r\n") * 20 + " boss@here.test\r\n", "550 5.6.0"),
                ("carol", "From: carol@here.test\r\n", "250"),
                ("carol", "From: any@shop.test, carol@here.test\r\n", "250"),
                ("carol", "From: carol@here.test, alice@here.test\r\n", "550 5.7.1"),
        ):
            for listener in self.ports:
                self.assertEqual(expected, self.answer(login, header, listener)[:len(expected)], (login, header[:60], listener))


if __name__ == "__main__":
    case.main()
