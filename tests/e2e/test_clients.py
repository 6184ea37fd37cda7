#!/usr/bin/python3
"""Independent programs on both ends: swaks and smtplib as clients, aiosmtpd as receiver, Postfix as both; TLS as well."""
import email
import email.policy
import os
import shutil
import smtplib
import ssl
import subprocess
import unittest

import support  # noqa: F401
import postfix
from case import Case, give, main
from ports import free_port
from report import Report
from sink import without_trace
from waiting import wait_until

ZONE = """
one IN MX 10 mx.one
mx.one IN A 127.0.0.2
back IN MX 10 mx.back
mx.back IN A 127.0.0.9
"""


class Clients(Case):
    def world(self, **kwargs):
        self.port = free_port()
        self.one = self.sink(self.port, "127.0.0.2")
        self.back = self.sink(self.port, "127.0.0.9")
        return self.mansio(dns=self.dns(ZONE), mx_port=self.port, **kwargs)

    def certificate(self):
        cert, key = self.path("cert.pem"), self.path("key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", "/CN=mx.here.test",
                        "-addext", "subjectAltName=DNS:mx.here.test", "-keyout", key, "-out", cert],
                       check=True, capture_output=True)
        for path in (cert, key):
            give(path)
        return f'tls {{ certificate = "{cert}" key = "{key}" }}\n'

    @unittest.skipUnless(shutil.which("swaks"), "swaks is not installed")
    def test_swaks(self):
        m = self.world(config=self.certificate())
        for n, options in enumerate(([], ["--pipeline"], ["--tls"], ["--protocol", "SMTP"], ["--quit-after", "RCPT"])):
            with self.subTest(options):
                r = self.run_program(["swaks", "--server", f"127.0.0.1:{m.port}", "--from", "s@back.test", "--to",
                                      f"r{n}@one.test,q{n}@one.test", "--helo", "swaks.test", "--timeout", "30",
                                      "--body", "line one\n.\n..\nlast", *options])
                self.assertEqual(0, r.returncode, r.stdout + r.stderr)
                if "RCPT" not in options:
                    wait_until(lambda: self.one.to(f"r{n}@one.test") and self.one.to(f"q{n}@one.test"), 20, m.log_tail)
                    self.assertIn(b"\r\n\r\nline one\r\n.\r\n..\r\nlast\r\n", self.one.to(f"r{n}@one.test")[0].content)
        m.wait_empty()
        self.assertEqual([], self.one.to("r4@one.test"))
        with_tls = [x for x in self.one.messages if "r2@one.test" in x.recipients]
        self.assertRegex(with_tls[0].content, rb"(?s)^Received: .* with ESMTPS")

    def test_smtplib(self):
        m = self.world(config=self.certificate())
        with smtplib.SMTP("127.0.0.1", m.port, timeout=30) as c:
            c.ehlo("lib.test")
            for word in ("pipelining", "8bitmime", "size", "enhancedstatuscodes", "dsn", "chunking", "smtputf8", "starttls"):
                self.assertTrue(c.has_extn(word), word)
            context = ssl.create_default_context(cafile=self.path("cert.pem"))
            context.check_hostname = False
            c.starttls(context=context)
            c.ehlo("lib.test")
            self.assertFalse(c.has_extn("starttls"))
            self.assertEqual({}, c.sendmail("s@back.test", ["r@one.test"], b"Subject: x\r\n\r\nx\r\n", ["BODY=8BITMIME"]))
            self.assertEqual(250, c.noop()[0])
            self.assertEqual(252, c.verify("r@one.test")[0])
        self.one.wait(1, more=m.log_tail)

    def test_chunking_binary_safe(self):
        """BDAT in many sizes arrives as the same octets."""
        m = self.world()
        content = b"Subject: chunks\r\n\r\n" + b"".join(b".%d\r\n" % i for i in range(3000))
        with m.client() as c:
            c.ehlo()
            c.mail("s@back.test")
            c.rcpt("r@one.test")
            at, size = 0, 1
            while at < len(content):
                piece = content[at:at + size]
                last = at + size >= len(content)
                c.sock.sendall(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if last else b"") + piece)
                self.assertEqual(250, c.getreply()[0])
                at, size = at + size, size * 3 + 1
        self.assertEqual(content, without_trace(self.one.wait(1, more=m.log_tail)[0].content))

    def test_aiosmtpd(self):
        from aiosmtpd.controller import Controller
        got = []

        class Handler:
            async def handle_RCPT(self, server, session, envelope, address, options):
                if address.startswith("no"):
                    return "550 5.1.1 nobody"
                envelope.rcpt_tos.append(address)
                return "250 2.1.5 ok"

            async def handle_DATA(self, server, session, envelope):
                got.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
                return "250 2.0.0 ok"
        port = free_port()
        controller = Controller(Handler(), hostname="127.0.0.2", port=port, enable_SMTPUTF8=True)
        controller.start()
        self.addCleanup(controller.stop)
        back = self.sink(port, "127.0.0.9")
        m = self.mansio(dns=self.dns(ZONE), mx_port=port)
        content = b"Subject: x\r\n\r\n.\r\n..\r\n" + b"z" * 900 + b"\r\n"
        for i in range(20):
            m.send("s@back.test", [f"r{i}@one.test", f"no{i}@one.test"], content.replace(b"Subject: x", b"Subject: %d" % i))
        wait_until(lambda: len(got) == 20, 30, m.log_tail)
        self.assertEqual({content.replace(b"Subject: x", b"Subject: %d" % i) for i in range(20)},
                         {without_trace(bytes(x[2])) for x in got})
        back.wait(20, more=m.log_tail)
        self.assertEqual({f"rfc822; no{i}@one.test" for i in range(20)},
                         {Report(x.content).recipients[0]["Final-Recipient"] for x in back.messages})
        m.wait_empty()

    def test_aiosmtpd_without_8bitmime(self):
        """A receiver of ASCII gets each part in ASCII, and its reader the octets that were sent; what is signed comes back."""
        from aiosmtpd.controller import Controller
        got = []

        class Handler:
            async def handle_DATA(self, server, session, envelope):
                got.append(envelope.original_content)
                return "250 2.0.0 ok"
        port = free_port()
        controller = Controller(Handler(), hostname="127.0.0.2", port=port, decode_data=True, enable_SMTPUTF8=False)
        controller.start()
        self.addCleanup(controller.stop)
        back = self.sink(port, "127.0.0.9")
        m = self.mansio(dns=self.dns(ZONE), mx_port=port)
        text, data = "Gr\u00fc\u00dfe an alle = 1\r\n.\r\n" * 9000, bytes(range(128, 256)) * 50
        parts = ('Content-Type: multipart/KIND; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n'
                 "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text + "\r\n--b\r\n"
                 "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n").encode()
        message = "From: J\u00f6rg <s@back.test>\r\nSubject: gr\u00f6\u00dfer\r\nMIME-Version: 1.0\r\n".encode() + parts + data + b"\r\n--b--\r\n"
        m.send("s@back.test", ["a@one.test"], message.replace(b"KIND", b"mixed"), mail_options=["BODY=8BITMIME", "SMTPUTF8"])
        m.send("s@back.test", ["b@one.test"], message.replace(b"KIND", b"signed"), mail_options=["BODY=8BITMIME"])
        wait_until(lambda: got, 30, m.log_tail)
        self.assertTrue(got[0].isascii())
        read = email.message_from_bytes(got[0], policy=email.policy.SMTP)
        self.assertEqual(("gr\u00f6\u00dfer", "J\u00f6rg <s@back.test>", "7bit"),
                         (read["Subject"], read["From"], read["Content-Transfer-Encoding"]))
        first, second = read.iter_parts()
        self.assertEqual((text.encode(), data), (first.get_payload(decode=True), second.get_payload(decode=True)))
        self.assertEqual(["quoted-printable", "base64"], [p["Content-Transfer-Encoding"] for p in (first, second)])
        bounce = Report(back.wait(1, more=m.log_tail)[0].content).recipients[0]
        self.assertEqual(("rfc822; b@one.test", "5.6.3"), (bounce["Final-Recipient"], bounce["Status"]))
        self.assertEqual(1, len(got))
        m.wait_empty()


@unittest.skipIf(postfix.missing_server(), postfix.missing_server())
class WithPostfix(Case):
    def test_postfix_receives(self):
        port = free_port()
        back = self.sink(port, "127.0.0.9")
        boxes = self.subfolder("boxes")
        p = postfix.Postfix(self, f"""
virtual_mailbox_domains = one.test
virtual_mailbox_base = {boxes}
virtual_mailbox_maps = inline:{{{{alice@one.test=alice/}}}}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_transport = virtual
relayhost = [127.0.0.9]:{port}
""", hostname="mx.one.test", address="127.0.0.2", port=port)
        m = self.mansio(dns=self.dns(ZONE), mx_port=port)
        body = b"Subject: to Postfix\r\n\r\n.\r\n..\r\n" + b"y" * 980 + b"\r\n"
        for _ in range(30):
            m.send("s@back.test", ["alice@one.test"], body)
        m.send("s@back.test", ["nobody@one.test", "alice@one.test"], "Subject: half\n\nx\n")
        m.send("s@back.test", ["alice@one.test"], "Subject: success\n\nx\n", rcpt_options=["NOTIFY=SUCCESS"])
        new = os.path.join(boxes, "alice", "new")
        wait_until(lambda: os.path.isdir(new) and len(os.listdir(new)) >= 32, 40, lambda: p.log()[-2000:] + m.log_tail())
        m.wait_empty()
        contents = []
        for name in os.listdir(new):
            with open(os.path.join(new, name), "rb") as f:
                contents.append(f.read())
        self.assertEqual(32, len(contents))
        self.assertEqual(30, sum(c.endswith(body.replace(b"\r\n", b"\n")[len(b"Subject: to Postfix\n"):]) for c in contents))
        self.assertTrue(all(b"by mx.here.test" in c for c in contents))
        back.wait(2, 30, lambda: p.log()[-2000:])
        reports = {Report(x.content).head["Reporting-MTA"]: Report(x.content) for x in back.messages}
        self.assertEqual({"dns; mx.here.test", "dns; mx.one.test"}, set(reports), "we report what failed, Postfix the success")
        ours = reports["dns; mx.here.test"].recipients[0]
        self.assertEqual(("rfc822; nobody@one.test", "failed", "5.1.1"),
                         (ours["Final-Recipient"], ours["Action"], ours["Status"]))
        self.assertEqual("delivered", reports["dns; mx.one.test"].recipients[0]["Action"])

    def test_postfix_sends(self):
        port = free_port()
        one, back = self.sink(port, "127.0.0.2"), self.sink(port, "127.0.0.9")
        m = self.mansio(dns=self.dns(ZONE), mx_port=port)
        p = postfix.Postfix(self, f"relayhost = [127.0.0.1]:{m.port}\n")
        for i in range(30):
            with smtplib.SMTP("127.0.0.1", p.port) as c:
                c.sendmail("s@back.test", [f"r{i}@one.test"], f"Subject: {i}\r\n\r\n.\r\n{'z' * 900}\r\n")
        one.wait(30, 60, lambda: p.log()[-2000:] + m.log_tail())
        self.assertEqual({f"r{i}@one.test" for i in range(30)}, {r for x in one.messages for r in x.recipients})
        for x in one.messages:
            self.assertTrue(x.content.endswith(b"\r\n\r\n.\r\n" + b"z" * 900 + b"\r\n"))
            self.assertIn(b"by postfix.test (Postfix)", without_trace(x.content) + x.content)
        m.wait_empty()
        self.assertEqual([], back.messages)


if __name__ == "__main__":
    main()
