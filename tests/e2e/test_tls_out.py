#!/usr/bin/python3
"""TLS on the way out: each level of a route against peers that are right, wrong, or have no TLS; TLSA records in a zone that a
validating resolver vouches for (its AD bit is set by the test), or does not."""
import hashlib
import os
import subprocess

import support  # noqa: F401
import case
import tlspeer
from case import Case
from nameserver import NameServer
from ports import free_port
from waiting import wait_until


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


class Out(Case):
    def setUp(self):
        super().setUp()
        self.roots = self.path("root.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                self.path("root.key"), "-out", self.roots, "-days", "30", "-subj", "/CN=Test root")
        os.chmod(self.roots, 0o644)

    def certificate(self, name, days="30"):
        base = self.path(f"{name}.{days}")
        if not os.path.exists(base + ".pem"):
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", base + ".key",
                    "-out", base + ".csr", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
            extensions = self.file("ext", f"subjectAltName=DNS:{name}\n")
            openssl("x509", "-req", "-in", base + ".csr", "-CA", self.roots, "-CAkey", self.path("root.key"),
                    "-CAcreateserial", "-out", base + ".leaf", "-days", days, "-extfile", extensions)
            with open(base + ".pem", "w") as out:
                for part in (base + ".leaf", self.roots):
                    with open(part) as f:
                        out.write(f.read())
            for part in (base + ".key", base + ".pem"):
                os.chmod(part, 0o644)
        return base

    def receiver(self, name=None, tls="opportunistic"):
        """A second Mansio as the MX host; name: whom its certificate is for."""
        config = 'domain "two.test" { deliver = "discard" }\n'
        if name:
            base = self.certificate(name)
            config += f'tls {{ certificate = "{base}.pem" key = "{base}.key" }}\n'
        return self.mansio(hostname="mx.two.test", name="r", listen=f'tls = "{tls}"', config=config)

    def digest(self, name):
        """SHA-256 of the public key, for "3 1 1"."""
        key = openssl("x509", "-in", self.certificate(name) + ".leaf", "-pubkey", "-noout")
        return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", stdin=key)).hexdigest()

    def names(self, port, tlsa="", authentic=True, host="mx.two"):
        zone = f"two IN MX 10 {host}\n{host} IN A 127.0.0.1\n" + "".join(
            f"_{port}._tcp.{host} IN TLSA {record}\n" for record in tlsa.splitlines())
        server = NameServer(self, zone)
        self.addCleanup(server.close)
        plain = server.answer

        def vouched(query, transport):
            reply = plain(query, transport)
            return reply if reply is None or not authentic else reply[:3] + bytes([reply[3] | 0x20]) + reply[4:]
        server.answer = vouched
        return server

    def deliver(self, level, receiver, names):
        """'delivered' with how, or 'deferred' with why."""
        m = self.mansio(name=f"s-{level}", start=False, dns=names)
        m.text = m.text.replace("tries = 2 }", "tries = 2 trust_ad = true }")
        m.write(m.text + f'route "*" {{ via = "mx" port = {receiver.port} tls = "{level}" }}\n'
                f'tls {{ roots = "{self.roots}" }}\n')
        m.tolerate("tls_failed", "connect_failed", "dane_not_live")
        m.start()
        m.send("a@here.test", ["b@two.test"], b"Subject: x\r\n\r\nx\r\n")
        wait_until(lambda: m.events("delivered", "deferred"), 30, m.log_tail)
        event = m.events("delivered", "deferred")[0]
        m.stop()
        return event["event"], event.get("tls") or "", event.get("reply") or ""

    def table(self, rows):
        for level, receiver, names, outcome, word in rows:
            got = self.deliver(level, receiver, names)
            text = f"{got[1]} {got[2]}"
            print(f"  {level:14} {outcome:10} {word:24} -> {got[0]:10} {text[:70]}")
            with self.subTest(level=level, word=word):
                self.assertEqual(outcome, got[0], got)
                self.assertIn(word, text)

    def test_right_certificate(self):
        r = self.receiver("mx.two.test")
        names = self.names(r.port)
        self.table([(level, r, names, "delivered", word) for level, word in (
            ("none", ""), ("opportunistic", "TLSv1.3"), ("encrypt", "TLSv1.3"), ("verify", "verified"),
            ("secure", "verified"), ("dane", "TLSv1.3"))])

    def test_wrong_name(self):
        r = self.receiver("mx.other.test")
        names = self.names(r.port)
        self.table([("opportunistic", r, names, "delivered", "TLSv1.3"), ("encrypt", r, names, "delivered", "TLSv1.3"),
                    ("verify", r, names, "deferred", ""), ("secure", r, names, "deferred", "")])

    def test_host_elsewhere(self):
        """verify takes the MX host's name; secure does not, since DNS said it."""
        r = self.receiver("mx.elsewhere.test")
        names = self.names(r.port, host="mx.elsewhere")
        self.table([("verify", r, names, "delivered", "verified"), ("secure", r, names, "deferred", "")])

    def test_fingerprint(self):
        """A relay known by its certificate or key, or by its authority's: no root is asked, and another one gets nothing."""
        port, base = free_port(), self.certificate("mx.two.test")
        leaf = openssl("x509", "-in", base + ".leaf", "-noout", "-fingerprint", "-sha256").decode().strip().partition("=")[2]
        root = hashlib.sha256(openssl("x509", "-in", self.roots, "-outform", "DER")).hexdigest()
        cases = [(leaf, "delivered"), (self.digest("mx.two.test"), "delivered"), (f"{'00' * 32} {leaf}", "delivered"),
                 ("00" * 32, "deferred"), (root, "deferred")]  # its certificate is not for the relay's address
        routes = "".join(f'route "d{i}.test" {{ via = "relay:[127.0.0.{i + 2}]:{port}" tls = "verify" '
                         f'tls_fingerprint = "{pin}" }}\n' for i, (pin, _) in enumerate(cases))
        self.mansio(hostname="mx.two.test", name="all", listen='tls = "opportunistic"', config="".join(
            f'listen l{i} {{ class = "smtp" address = "127.0.0.{i + 2}:{port}" }}\n'
            f'domain "d{i}.test" {{ deliver = "discard" }}\n' for i in range(len(cases))) +
            f'tls {{ certificate = "{base}.pem" key = "{base}.key" }}\n')
        m = self.mansio(name="s", config=routes)
        m.tolerate("tls_failed")
        for i, (pin, outcome) in enumerate(cases):
            m.send("s@back.test", [f"u@d{i}.test"], "Subject: x\n\nx\n")
        for i, (pin, outcome) in enumerate(cases):
            with self.subTest(pin):
                event = m.wait_event(outcome, to=f"u@d{i}.test")
                if outcome == "delivered":
                    self.assertIn("pinned", event["tls"])
        m.queuectl("delete", "all")

    def test_no_tls(self):
        r = self.receiver(tls="none")
        names = self.names(r.port)
        self.table([("opportunistic", r, names, "delivered", "")] + [
            (level, r, names, "deferred", "") for level in ("encrypt", "verify", "secure")])
        with_records = self.names(r.port, f"3 1 1 {self.digest('mx.two.test')}")
        self.table([("dane", r, names, "delivered", ""), ("dane", r, with_records, "deferred", "")])

    def test_dane(self):
        r = self.receiver("mx.strange.test")
        right, wrong = self.digest("mx.strange.test"), "00" * 32
        self.table([
            ("dane", r, self.names(r.port, f"3 1 1 {right}"), "delivered", "dane"),
            ("dane", r, self.names(r.port, f"3 1 1 {wrong}\n3 1 1 {right}"), "delivered", "dane"),
            ("dane", r, self.names(r.port, f"3 1 1 {wrong}"), "deferred", "TLSA"),
            ("dane", r, self.names(r.port, f"3 1 1 {wrong}", authentic=False), "delivered", "TLSv1.3"),
            ("dane", r, self.names(r.port, f"1 1 1 {wrong}"), "delivered", "TLSv1.3"),
        ])

    def test_dane_trust_anchor(self):
        """2 0 1: the root that the host sends; then names count, unlike with 3 1 1."""
        root = hashlib.sha256(openssl("x509", "-in", self.roots, "-outform", "DER")).hexdigest()
        right, strange = self.receiver("mx.two.test"), self.receiver("mx.strange.test")
        self.table([
            ("dane", right, self.names(right.port, f"2 0 1 {root}"), "delivered", "dane"),
            ("dane", right, self.names(right.port, f"2 0 1 {'11' * 32}"), "deferred", ""),
            ("dane", strange, self.names(strange.port, f"2 0 1 {root}"), "deferred", "mismatch"),
        ])

    def test_resumption(self):
        """The second connection to a host takes the session of the first up again; a host that has forgotten it costs nothing."""
        base = self.certificate("mx.two.test")
        os.link(base + ".pem", base + ".cert")
        peer = tlspeer.Peer(self, "127.0.0.1", 0, base)
        names = self.names(peer.port)
        m = self.mansio(name="s", dns=names, mx_port=peer.port, limits="jobs_per_connection = 1")
        for n in range(4):
            if n == 2:
                peer.context = tlspeer.server_context(base)  # new ticket keys
            m.send("a@here.test", [f"b{n}@two.test"], b"Subject: x\r\n\r\nx\r\n")
            m.wait_event("delivered", to=f"b{n}@two.test")
            m.wait_empty()
        self.assertEqual({f"b{n}@two.test": "TLSv1.3" for n in range(4)}, peer.got)
        self.assertEqual(2, peer.resumed)

    def test_broken_host_is_remembered(self):
        """After a handshake that stalls, mail goes in the clear, and the next message does not wait for it again; where TLS is demanded
        nothing is noted, and what is noted does not count."""
        peer = tlspeer.Peer(self, "127.0.0.1", 0, way="stall")
        names = NameServer(self, "mx.two IN A 127.0.0.1\n" + "".join(
            f"{name} IN MX 10 mx.two\n" for name in ("one", "two", "hard1", "hard2")))
        self.addCleanup(names.close)
        m = self.mansio(name="s", dns=names, mx_port=peer.port, limits="jobs_per_connection = 1", timeouts='ehlo = "1s"',
                        retry='plan = { "1h" }', config="".join(
            f'route "{name}.test" {{ via = "mx" port = {peer.port} tls = "encrypt" }}\n' for name in ("hard1", "hard2")))
        m.tolerate("tls_failed", "connect_failed")
        # the domain of each message, how it ends, how often the host was asked for TLS until then, and what is noted then
        for domain, outcome, asked, noted in (("hard1", "deferred", 1, 0), ("one", "delivered", 2, 1),
                                              ("two", "delivered", 2, 1), ("hard2", "deferred", 3, 1)):
            with self.subTest(domain):
                m.send("a@here.test", [f"b@{domain}.test"], b"Subject: x\r\n\r\nx\r\n")
                m.wait_event(outcome, to=f"b@{domain}.test")
                self.assertEqual(asked, peer.asked)
                self.assertEqual(noted, len(m.events("tls_set_aside")))
        self.assertEqual({"b@one.test": "clear", "b@two.test": "clear"}, peer.got)
        m.queuectl("delete", "all")

    def test_dane_without_an_answer(self):
        """A zone that vouches for itself and whose TLSA records cannot be had: no mail until they can (RFC 7672 2.1.2)."""
        r = self.receiver("mx.two.test")
        names = self.names(r.port)
        plain = names.answer

        def broken(query, transport):
            reply = plain(query, transport)
            return reply[:3] + bytes([reply[3] & 0xf0 | 2]) + reply[4:] if b"_tcp" in query else reply
        names.answer = broken
        self.table([("dane", r, names, "deferred", "TLSA"), ("opportunistic", r, names, "delivered", "TLSv1.3")])


if __name__ == "__main__":
    case.main()
