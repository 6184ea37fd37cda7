#!/usr/bin/python3
"""Bad input to TLS, at both doors: each kind has its answer and its event, and the server goes on."""
import os
import shutil
import socket
import ssl
import subprocess
import warnings

import support  # noqa: F401
import case
import tlspeer
from case import Case, main
from certificates import Authority, anybody, certificate, new_key, openssl
from ports import free_port
from waiting import wait_until


def client_hello(old=False):
    """A real one, for cutting; old: of TLS 1.0."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = anybody()
    if old:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    tls = context.wrap_bio(into, out)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class BadClients(Case):
    def server(self, **kwargs):
        self.port = free_port()
        self.base = self.path("pair")
        m = self.mansio(listen='tls = "opportunistic"', config=f"""
listen submissions {{ address = "127.0.0.1:{self.port}" }}
tls {{ {certificate(self.base, "mx.here.test")} }}""", **kwargs)
        m.tolerate("tls_failed", "session_refused")
        return m

    def open(self, m, starttls):
        s = socket.create_connection(("127.0.0.1", m.port if starttls else self.port), 10)
        self.addCleanup(s.close)
        if starttls:
            s.recv(1000)
            s.sendall(b"EHLO x.test\r\n")
            s.recv(4000)
            s.sendall(b"STARTTLS\r\n")
            self.assertTrue(s.recv(1000).startswith(b"220"))
        return s

    def ended(self, s):
        s.settimeout(10)
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass

    def serves(self):
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain, anybody().wrap_socket(plain) as s:
            self.assertEqual(b"220 ", s.recv(4))

    def test_garbage(self):
        m = self.server()
        hello = client_hello()
        rows = {"text": b"EHLO in the clear\r\n" * 3, "zeros": bytes(64), "ones": b"\xff" * 4096,
                "SSLv2": b"\x80\x2e\x01\x00\x02" + bytes(44), "record too long": b"\x16\x03\x01\xff\xff" + b"x" * 2000,
                "alert first": b"\x15\x03\x01\x00\x02\x02\x28", "TLS 1.0": client_hello(old=True),
                "a bit wrong": hello[:5] + b"\x02" + hello[6:], "half a hello, then more": hello[:60] + b"\x00" * 600}
        for starttls in (False, True):
            for name, octets in rows.items():
                with self.subTest(name=name, starttls=starttls):
                    before = len(m.events("tls_failed"))
                    s = self.open(m, starttls)
                    s.sendall(octets)
                    if name == "half a hello, then more":
                        s.shutdown(socket.SHUT_WR)
                    self.ended(s)
                    wait_until(lambda: len(m.events("session_closed", why="handshake_failed") + m.events("tls_failed")) > before,
                               10, m.log_tail)
                    self.serves()

    def test_half_handshakes(self):
        m = self.server(timeouts='server_idle = "2s"')
        held = [self.open(m, starttls) for starttls in (False, True) for _ in range(20)]
        hello = client_hello()
        for i, s in enumerate(held):
            s.sendall(hello[:1 + i * 10])
        self.serves()
        for s in held:
            self.ended(s)
        wait_until(lambda: len(m.events("session_closed", why="handshake_timeout")) == len(held), 10, m.log_tail)

    def test_renegotiation(self):
        m = self.server()

        r = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-tls1_2"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        r.stdin.write(b"R\n")
        r.stdin.flush()
        said = r.communicate(timeout=20)[0]
        self.assertTrue(b"no renegotiation" in said or b"no_renegotiation" in said, said[-800:])
        self.serves()
        del m


class BadFiles(Case):
    def refused(self, tls, *words):
        """It does not start, and says why."""
        m = self.mansio(start=False, config=f'listen submissions {{ address = "127.0.0.1:{free_port()}" }}\ntls {{ {tls} }}')
        m.spawn()
        self.assertEqual(1, m.process.wait(20), m.log_tail())
        text = m.log_text()
        for word in words:
            self.assertIn(word, text)
        m.stopped, m._checked = True, True

    def test_at_the_start(self):
        one, two = self.path("one"), self.path("two")
        good = certificate(one, "mx.here.test")
        certificate(two, "mx.there.test")
        garbage = self.file("garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.refused(good.replace("one.cert", "none.cert"), "none.cert", "No such file")
        self.refused(good.replace("one.key", "none.key"), "none.key", "No such file")
        self.refused(good.replace("one.key", "two.key"), "the private key does not belong to the certificate")
        self.refused(f'certificate = "{one}.key" key = "{one}.cert"', "the certificate cannot be read")
        self.refused(good.replace(f"{one}.cert", garbage), "the certificate cannot be read")
        openssl("genpkey", "-algorithm", "ed25519", "-out", self.path("ed.key"))
        openssl("req", "-x509", "-key", self.path("ed.key"), "-out", self.path("ed.cert"), "-subj", "/CN=x")
        for name in ("ed.key", "ed.cert"):
            os.chmod(self.path(name), 0o644)
        self.refused(f'certificate = "{self.path("ed")}.cert" key = "{self.path("ed")}.key"', "RSA or ECDSA")
        if case.IS_ROOT:
            os.chmod(one + ".key", 0o600)
            self.refused(good, "one.key", "Permission denied")

    def test_expired(self):
        """It serves with what it has, and says so; a renewal that has ended, or whose chain does not hold, is refused."""
        authority = Authority(self.subfolder("ca"))
        base = authority.issue(self.path("pair"), "mx.here.test", expired=True)
        port = free_port()
        m = self.mansio(start=False, config=f'listen submissions {{ address = "127.0.0.1:{port}" }}\n'
                                            f'tls {{ certificate = "{base}.cert" key = "{base}.key" }}')
        m.tolerate("tls_refused")
        m.announce("tls_ends")
        m.start()
        self.assertLess(int(m.events("tls_loaded")[0]["days_left"]), -1000)
        loaded = len(m.events("tls_loaded"))
        authority.issue(base, "mx.here.test")
        wait_until(lambda: len(m.events("tls_loaded")) > loaded, 15, m.log_tail)
        authority.issue(base, "mx.here.test", expired=True)
        wait_until(lambda: m.events("tls_refused", why="a certificate has ended already"), 15, m.log_tail)
        authority.issue(base, "mx.here.test")
        other = certificate(self.path("other"), "mx.other.test")
        del other
        with open(base + ".cert.new", "w") as out:
            for part in (base + ".leaf", self.path("other.cert")):
                with open(part) as f:
                    shutil.copyfileobj(f, out)
        os.chmod(base + ".cert.new", 0o644)
        os.rename(base + ".cert.new", base + ".cert")
        wait_until(lambda: any("chain" in e["why"] for e in m.events("tls_refused")), 15, m.log_tail)


class BadServers(Case):
    def deliver(self, peer, level, **kwargs):
        m = self.mansio(name=f"s-{level}", start=False, timeouts='ehlo = "3s"', config=f"""
route "two.test" {{ via = "relay:[127.0.0.1]:{peer.port}" tls = "{level}" }}""", **kwargs)
        m.tolerate("tls_failed", "connect_failed")
        m.start()
        m.send("a@here.test", ["b@two.test"], b"Subject: x\r\n\r\nx\r\n")
        wait_until(lambda: m.events("delivered", "deferred"), 30, m.log_tail)
        event = m.events("delivered", "deferred")[0]
        self.assertTrue(m.events("tls_failed") or "STARTTLS" in event["reply"], m.log_tail())
        m.stop()
        return event["event"], peer.got.pop("b@two.test", None)

    def test_huge_certificate(self):
        names = ",".join(f"DNS:{'x' * 50}{i}.two.test" for i in range(2500))
        config = self.file("huge.conf", f"[req]\ndistinguished_name=d\nx509_extensions=e\n[d]\n[e]\nsubjectAltName={names}\n")
        base = self.path("huge")
        openssl("req", "-x509", *new_key("ec"), "-nodes", "-config", config, "-keyout", base + ".key", "-out", base + ".cert",
                "-subj", "/CN=huge")
        self.assertGreater(os.path.getsize(base + ".cert"), 150000)
        peer = tlspeer.Peer(self, "127.0.0.1", 0, base)
        self.assertEqual(("delivered", "clear"), self.deliver(peer, "opportunistic"))
        self.assertEqual(("deferred", None), self.deliver(peer, "encrypt"))

    def test_injection(self):
        """Replies that came in the clear behind the 220 are not replies to what is said in TLS: the session ends there."""
        certificate(self.path("pair"), "mx.two.test")
        peer = tlspeer.Peer(self, "127.0.0.1", 0, self.path("pair"), "inject")
        outcome = self.deliver(peer, "encrypt")
        self.assertEqual(("deferred", None), outcome)


if __name__ == "__main__":
    main()
