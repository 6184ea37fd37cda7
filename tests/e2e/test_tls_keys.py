#!/usr/bin/python3
"""Private keys are in a process of their own: none of their octets is in an inbound process, which serves TLS all the same; the keys
process may end and come back."""
import hashlib
import os
import re
import smtplib
import socket
import ssl
import subprocess
import unittest

import support  # noqa: F401
import case
from case import Case, main
from certificates import anybody, certificate
from ports import free_port
from waiting import wait_until


def secrets(path):
    """What a private key is made of, as OpenSSL's numbers lie in memory (least octet first) and as files have them."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], check=True, capture_output=True).stdout.decode()
    found = []
    for name in ("priv", "privateExponent", "prime1", "prime2"):
        m = re.search(rf"^{name}:\n((?:    .*\n)+)", text, re.M)
        if m:
            number = bytes.fromhex(re.sub(r"[^0-9a-f]", "", m.group(1))).lstrip(b"\0")
            found += [number[-24:], number[::-1][:24]]
    with open(path, "rb") as f:
        found.append(b"".join(f.read().split(b"\n")[1:2]))
    return found


def memory_holds(pid, needles):
    """How many of the needles are somewhere in the process's memory; and how much was searched."""
    found, searched = set(), 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            low, high = (int(x, 16) for x in span.split("-"))
            if "r" not in rights or "[v" in line or high - low > 1 << 30:
                continue
            memory.seek(low)
            try:
                octets = memory.read(high - low)
            except OSError:
                continue
            searched += len(octets)
            found.update(n for n in needles if n in octets)
    return len(found), searched


class Keys(Case):
    def server(self, kind, build=case.BUILD, **kwargs):
        self.port = free_port()
        self.base = self.path("pair")
        return self.mansio(build=build, config=f"""
listen submissions {{ address = "127.0.0.1:{self.port}" }}
tls {{ {certificate(self.base, "mx.here.test", key=kind)} }}""", **kwargs)

    def shake(self, version=None):
        context = anybody()
        if version:
            context.maximum_version = version
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain, context.wrap_socket(plain) as s:
            self.assertEqual(b"220 ", s.recv(4))
            return s.version()

    @case.need_root("the memory of other processes")
    @unittest.skipUnless(os.path.exists(os.path.join(case.RELEASE, "mansiod")), "needs the release build (tests/run)")
    def test_the_key_is_elsewhere(self):
        for kind in ("ec", "rsa"):
            with self.subTest(kind):
                m = self.server(kind, build=case.RELEASE, name=kind)
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    self.shake(version)
                needles = secrets(self.base + ".key")
                self.assertGreaterEqual(len(needles), 3)
                found, searched = memory_holds(m.pids("keys")[0], needles)
                self.assertGreater(found, 0, "the search finds it where it is")
                for pid in m.pids("inbound"):
                    found, searched = memory_holds(pid, needles)
                    self.assertEqual(0, found, f"of the {kind} key, in {searched} octets")
                    self.assertGreater(searched, 1 << 20)
                    with open(f"/proc/{pid}/status") as f:
                        self.assertIn("Seccomp:\t2", f.read())
                m.stop()

    def test_it_comes_back(self):
        m = self.server("ec")
        m.tolerate("child_ended", "channel_lost", "signature_missing", "tls_failed")
        self.shake()
        old = m.kill("keys")

        def again():
            try:
                return self.shake() == "TLSv1.3"
            except OSError:
                return False
        wait_until(again, 10, "a handshake after the keys process ended")
        self.assertNotEqual([old], m.pids("keys"))

    def test_reload_brings_its_own(self):
        m = self.server("ec")
        m.tolerate("channel_lost")
        first = m.pids("keys")
        m.reload()
        self.assertEqual("TLSv1.3", self.shake())
        wait_until(lambda: len(m.pids("keys")) == 1, 10, "the end of the old keys process")
        self.assertNotEqual(first, m.pids("keys"))


class ClientCertificates(Case):
    """Clients that are known by a certificate of their own."""

    def client(self, port, pair=None):
        context = anybody()
        if pair:
            context.load_cert_chain(pair + ".cert", pair + ".key")
        c = smtplib.SMTP("127.0.0.1", port, timeout=20)
        self.addCleanup(c.close)
        c.ehlo("client.test")
        c.starttls(context=context)
        return c

    def rcpt(self, c):
        c.ehlo("client.test")
        c.mail("s@far.test")
        return c.rcpt("r@other.test")[0]

    def test_relay_by_certificate(self):
        known, other = self.path("known"), self.path("other")
        for pair in (known, other):
            certificate(pair, os.path.basename(pair) + ".test")
        with open(known + ".cert") as f:
            fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()
        ports = {word: free_port() for word in ("none", "request", "require")}
        listeners = "".join(f'listen {w} {{ class = "smtp" address = "127.0.0.1:{p}" client_certificate = "{w}" }}\n'
                            for w, p in ports.items())
        there = self.sink(free_port(), "127.0.0.1")
        m = self.mansio(relay=False, config=listeners + f"""
relay_certificates = {{ "{":".join(re.findall("..", fingerprint.upper()))}" }}
route "*" {{ via = "relay:[127.0.0.1]:{there.port}" }}
tls {{ {certificate(self.path("pair"), "mx.here.test")} }}""")
        self.assertEqual(250, self.rcpt(self.client(ports["request"], known)))
        self.assertEqual(550, self.rcpt(self.client(ports["request"], other)))
        self.assertEqual(550, self.rcpt(self.client(ports["request"])))
        self.assertEqual(550, self.rcpt(self.client(ports["none"], known)))
        c = self.client(ports["require"], known)
        self.assertEqual(250, self.rcpt(c))
        self.assertEqual(250, c.data(b"Subject: x\r\n\r\nx\r\n")[0])
        shown = [e for e in m.events("certificate_shown")]
        self.assertEqual([(fingerprint, 1), (shown[1]["fingerprint"], 0), (fingerprint, 1)],
                         [(e["fingerprint"], e["relays"]) for e in shown])
        self.assertIn(f"client certificate sha256:{fingerprint})".encode(), there.wait(1, more=m.log_tail)[0].content)
        with self.assertRaises((smtplib.SMTPException, OSError)):
            self.rcpt(self.client(ports["require"]))


if __name__ == "__main__":
    main()
