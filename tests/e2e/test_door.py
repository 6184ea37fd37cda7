#!/usr/bin/python3
"""The front door: TLS with certificates that change, logins of every kind, who may send as whom, and the sandbox of the released build."""
import base64
import hashlib
import hmac
import os
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
import unittest

import support  # noqa: F401
import case
from case import Case, main
from certificates import anybody, certificate
from ports import free_port
from waiting import wait_until


def peer_name(port, sni=None):
    with socket.create_connection(("127.0.0.1", port), 10) as plain, \
            anybody().wrap_socket(plain, server_hostname=sni) as tls:
        der = tls.getpeercert(True)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-subject"], input=der, capture_output=True)
    return text.stdout.decode().strip().split("CN = ")[-1]


class ScramClient:
    """RFC 5802 from its text, not from the server's code."""

    def __init__(self, user, password, plus=None):
        self.password = password.encode()
        self.bare = f"n={user},r=rOprNGfwEbeRWgbNEkqO"
        self.header = f"p={plus[0]},," if plus else "n,,"
        self.data = plus[1] if plus else b""

    def first(self):
        return (self.header + self.bare).encode()

    def final(self, challenge):
        server_first = challenge.decode()
        parts = dict(p.split("=", 1) for p in server_first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(parts["s"]), int(parts["i"]))
        bound = base64.b64encode(self.header.encode() + self.data).decode()
        without_proof = f"c={bound},r={parts['r']}"
        message = ",".join([self.bare, server_first, without_proof]).encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.expected = b"v=" + base64.b64encode(hmac.digest(server_key, message, "sha256"))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


class Door(Case):
    def server(self, auth="", build=case.BUILD, config="", **kwargs):
        self.submission, self.submissions = free_port(), free_port()
        users = os.path.join(self.subfolder("auth"), "users")
        tls = certificate(self.path("one"), "mx.here.test")
        m = self.mansio(relay=False, start=False, build=build, **kwargs, config=f"""
listen submission {{ address = "127.0.0.1:{self.submission}" tls = "required" auth = true }}
listen submissions {{ address = "127.0.0.1:{self.submissions}" auth = true }}
tls {{ {tls} }}
auth {{ users = "{users}" {auth} }}
domain "here.test" {{ deliver = "discard" }}
route "*" {{ via = "hold" }}
{config}""")
        m.users = users
        for name, password in (("alice", "correct horse"), ("bob@here.test", "battery\u00e9")):
            r = self.run_program(case.as_ordinary_user(
                [m.program("queuectl"), "-c", m.conf, "user", "add", name]), stdin=password + "\n")
            self.assertEqual((0, "", ""), (r.returncode, r.stdout, r.stderr))
        m.start()
        return m

    def session(self, implicit=False):
        if implicit:
            s = smtplib.SMTP_SSL("127.0.0.1", self.submissions, timeout=30, context=anybody())
        else:
            s = smtplib.SMTP("127.0.0.1", self.submission, timeout=30)
            s.ehlo("client.test")
            self.assertNotIn("auth", s.esmtp_features)
            s.starttls(context=anybody())
        s.ehlo("client.test")
        self.addCleanup(s.close)
        return s

    def scram(self, s, client, mechanism):
        code, text = s.docmd("AUTH", f"{mechanism} {base64.b64encode(client.first()).decode()}")
        if code != 334:
            return code, text
        code, text = s.docmd(base64.b64encode(client.final(base64.b64decode(text))).decode())
        if code != 334:
            return code, text
        self.assertEqual(client.expected, base64.b64decode(text), "the server's own proof")
        return s.docmd("")

    def test_logins(self):
        m = self.server()
        for implicit in (False, True):
            for user, password in (("alice", "correct horse"), ("bob@here.test", "battery\u00e9")):
                with self.subTest(user=user, implicit=implicit):
                    plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
                    s = self.session(implicit)
                    self.assertEqual("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN", s.esmtp_features["auth"].strip())
                    self.assertEqual(530, s.docmd("MAIL", "FROM:<a@here.test>")[0])
                    self.assertEqual(235, s.docmd("AUTH", "PLAIN " + plain)[0])
                    self.assertEqual(503, s.docmd("AUTH", "PLAIN " + plain)[0])
                    s = self.session(implicit)
                    self.assertEqual(334, s.docmd("AUTH", "LOGIN")[0])
                    self.assertEqual(334, s.docmd(base64.b64encode(user.encode()).decode())[0])
                    self.assertEqual(235, s.docmd(base64.b64encode(password.encode()).decode())[0])
                    s = self.session(implicit)
                    self.assertEqual(235, self.scram(s, ScramClient(user, password), "SCRAM-SHA-256")[0])
                    s = self.session(implicit)
                    der = s.sock.getpeercert(True)
                    end_point = ("tls-server-end-point", hashlib.sha256(der).digest())
                    self.assertEqual(
                        235, self.scram(s, ScramClient(user, password, end_point), "SCRAM-SHA-256-PLUS")[0])
                    s.mail(f"{user if '@' in user else 'alice@here.test'}")
                    self.assertEqual(250, s.rcpt("anybody@elsewhere.test")[0])
        self.assertEqual(16, len(m.events("authenticated")))

    def test_refused(self):
        m = self.server(auth="failures = 0")
        der = hashlib.sha256(b"another certificate").digest()
        s = self.session()
        self.assertEqual(535, self.scram(s, ScramClient("alice", "wrong"), "SCRAM-SHA-256")[0])
        self.assertEqual(535, self.scram(
            s, ScramClient("alice", "correct horse", ("tls-server-end-point", der)), "SCRAM-SHA-256-PLUS")[0])
        for name, argument, code in (
                ("unknown mechanism", "CRAM-MD5", 504), ("not base64", "PLAIN !!!", 501),
                ("no NUL", "PLAIN " + base64.b64encode(b"alice").decode(), 501),
                ("NUL in the name", "PLAIN " + base64.b64encode(b"\0ali\0ce\0x").decode(), 501),
                ("for another", "PLAIN " + base64.b64encode(b"root\0alice\0correct horse").decode(), 535)):
            with self.subTest(name):
                s = self.session()
                self.assertEqual(code, s.docmd("AUTH", argument)[0])
                self.assertEqual(530, s.docmd("MAIL", "FROM:<a@here.test>")[0])
        s = self.session()
        self.assertEqual(334, s.docmd("AUTH", "LOGIN")[0])
        self.assertEqual(501, s.docmd("*")[0])
        s = self.session()
        s.send(b"AUTH PLAIN " + b"A" * 20000 + b"\r\n")
        self.assertEqual(500, s.getreply()[0])
        self.assertTrue(m.events("login_failed", login="alice", why="the proof is wrong"))

    def test_strangers_look_like_users(self):
        """The same words and the same SCRAM parameters, whether the user is there or not."""
        self.server(auth="failures = 0")
        answers = {}
        for user in ("alice", "nobody.at.all"):
            s = self.session()
            plain = base64.b64encode(f"\0{user}\0wrong".encode()).decode()
            refusal = s.docmd("AUTH", "PLAIN " + plain)
            challenges = []
            for _ in range(2):
                code, text = s.docmd(
                    "AUTH", "SCRAM-SHA-256 " + base64.b64encode(ScramClient(user, "").first()).decode())
                parts = dict(p.split("=", 1) for p in base64.b64decode(text).decode().split(","))
                challenges.append((code, parts["s"], parts["i"]))
                s.docmd("*")
            self.assertEqual(challenges[0], challenges[1], "the salt must not change")
            answers[user] = (refusal, challenges[0][0], len(challenges[0][1]), challenges[0][2])
        self.assertEqual(answers["alice"], answers["nobody.at.all"])

    def test_guessing(self):
        m = self.server(auth='failures = 4 ban = "3s"')
        m.tolerate("login_shut_out")
        plain = base64.b64encode(b"\0alice\0wrong").decode()
        good = base64.b64encode(b"\0alice\0correct horse").decode()
        begin = time.monotonic()
        for _ in range(4):
            self.assertEqual(535, self.session(True).docmd("AUTH", "PLAIN " + plain)[0])
        self.assertGreater(time.monotonic() - begin, 2.9, "1 s and 2 s after the third and fourth failure")
        self.assertEqual(454, self.session(True).docmd("AUTH", "PLAIN " + good)[0])
        wait_until(lambda: self.session(True).docmd("AUTH", "PLAIN " + good)[0] == 235, 10, "the ban ends")
        self.assertTrue(m.events("login_shut_out", client="127.0.0.1"))

    def test_users_change(self):
        m = self.server(auth="failures = 0")
        m.tolerate("users_failed")
        queuectl = case.as_ordinary_user([m.program("queuectl"), "-c", m.conf, "user"])

        def login(password):
            plain = base64.b64encode(f"\0alice\0{password}".encode()).decode()
            return self.session(True).docmd("AUTH", "PLAIN " + plain)[0]
        self.assertEqual(235, login("correct horse"))
        self.assertEqual(1, self.run_program(queuectl + ["add", "alice"], stdin="x\n").returncode)
        self.assertEqual(0, self.run_program(queuectl + ["passwd", "alice"], stdin="another\n").returncode)
        self.assertEqual(0o640, os.stat(m.users).st_mode & 0o777)
        wait_until(lambda: login("another") == 235, 5, "the new password")
        self.assertEqual(535, login("correct horse"))
        self.assertEqual(["alice", "bob@here.test"],
                         sorted(self.run_program(queuectl + ["list"]).stdout.split()))
        self.assertEqual(0, self.run_program(queuectl + ["delete", "alice"]).returncode)
        wait_until(lambda: login("another") == 535, 5, "his end")
        os.unlink(m.users)
        wait_until(lambda: login("another") == 454, 5, "an answer without a file")

    def test_auth_dies(self):
        """A login in a restart is answered 454; afterwards all is well."""
        m = self.server()
        m.tolerate("child_ended")
        m.tolerate("channel_lost")
        plain = base64.b64encode(b"\0alice\0correct horse").decode()
        s = self.session(True)
        m.kill("auth")
        code = s.docmd("AUTH", "PLAIN " + plain)[0]
        self.assertIn(code, (454, 235))
        wait_until(lambda: self.session(True).docmd("AUTH", "PLAIN " + plain)[0] == 235, 10, "a login")

    def test_senders(self):
        self.server(auth='senders = "own"', config='login "alice" { senders = { "sales@here.test", "@shop.test" } }')
        for user, password, sender, code in (
                ("alice", "correct horse", "sales@here.test", 250), ("alice", "correct horse", "x@shop.test", 250),
                ("alice", "correct horse", "alice@here.test", 553), ("alice", "correct horse", "", 250),
                ("bob@here.test", "battery\u00e9", "bob@here.test", 250),
                ("bob@here.test", "battery\u00e9", "sales@here.test", 553)):
            with self.subTest(user=user, sender=sender):
                s = self.session(True)
                plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
                self.assertEqual(235, s.docmd("AUTH", "PLAIN " + plain)[0])
                self.assertEqual(code, s.mail(sender)[0])

    def test_starttls_injection(self):
        self.server()
        with socket.create_connection(("127.0.0.1", self.submission), 10) as plain:
            f = plain.makefile("rb")
            f.readline()
            plain.sendall(b"EHLO client.test\r\n")
            while not f.readline().startswith(b"250 "):
                pass
            plain.sendall(b"STARTTLS\r\nEHLO injected.test\r\nMAIL FROM:<evil@here.test>\r\n")
            self.assertTrue(f.readline().startswith(b"220"))
            plain.settimeout(3)
            try:
                with anybody().wrap_socket(plain) as tls:
                    tls.settimeout(1)
                    try:
                        self.assertEqual(b"", tls.recv(4096), "an answer to what was sent in the clear")
                    except TimeoutError:
                        pass  # nothing: what was injected is gone
            except (ssl.SSLError, OSError):
                pass  # the connection is gone: as good

    def test_certificates_change(self):
        m = self.server()
        m.tolerate("tls_refused")
        m.tolerate("tls_ends")
        self.assertEqual("mx.here.test", peer_name(self.submissions))
        certificate(self.path("one"), "renewed.here.test")
        wait_until(lambda: peer_name(self.submissions) == "renewed.here.test", 15, "the renewed certificate")
        with open(self.path("one.key"), "w") as f:
            f.write("not a key\n")
        wait_until(lambda: m.events("tls_refused"), 15, "the refusal")
        self.assertEqual("renewed.here.test", peer_name(self.submissions))
        certificate(self.path("two"), "swapped.here.test")
        shutil.copy(self.path("two.key"), self.path("one.key"))
        wait_until(lambda: m.events("tls_refused", why="the private key does not belong to the certificate"), 15)
        os.unlink(self.path("one.cert"))
        wait_until(lambda: any("one.cert" in e["why"] for e in m.events("tls_refused")), 15)
        self.assertEqual("renewed.here.test", peer_name(self.submissions))

    def test_names_choose_certificates(self):
        self.submissions = free_port()
        one, two = self.path("one"), self.path("two")
        certificate(one, "mx.here.test")
        certificate(two, "mx.there.test", key="rsa")
        self.mansio(config=f"""
listen submissions {{ address = "127.0.0.1:{self.submissions}" }}
tls {{ certificate = {{ "{one}.cert", "{two}.cert" }} key = {{ "{one}.key", "{two}.key" }} }}""")
        for asked, got in ((None, "mx.here.test"), ("mx.there.test", "mx.there.test"), ("else.test", "mx.here.test")):
            self.assertEqual(got, peer_name(self.submissions, asked))

    @unittest.skipUnless(os.path.exists(os.path.join(case.RELEASE, "mansiod")), "needs the release build (tests/run)")
    def test_sandbox(self):
        """The released build closes its sandboxes, and works in them."""
        m = self.server(build=case.RELEASE)
        s = self.session(True)
        self.assertEqual(235, s.docmd("AUTH", "PLAIN " + base64.b64encode(b"\0alice\0correct horse").decode())[0])
        s.sendmail("alice@here.test", ["x@elsewhere.test"], b"Subject: hello\r\n\r\nhello\r\n")
        roles = {}
        for e in m.events("child_started"):
            with open(f"/proc/{e['pid']}/status") as f:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            roles.setdefault(e["role"], []).append((status["NoNewPrivs"].strip(), status["Seccomp"].strip()))
        for role in ("inbound", "outbound", "queued", "auth", "keys", "lookup", "local"):
            self.assertEqual({("1", "2")}, set(roles[role]), role)
        for line in m.events("sandboxed"):
            self.assertGreaterEqual(int(line["landlock"]), 0)


if __name__ == "__main__":
    main()
