#!/usr/bin/python3
"""The tools of the other tests: the scripted receiver, the name server, the unanswering address, Postfix."""
import smtplib
import socket
import subprocess
import time
import unittest

import support  # noqa: F401
import dns.message
import dns.query
import dns.rcode
from case import Case, main
import postfix
from ports import free_port, has_ipv6
from sink import DROP, Unanswering, then


class Harness(Case):
    def test_sink_keeps_octets(self):
        sink = self.sink(script={"rcpt": lambda s, arg: b"550 no\r\n" if b"no@" in arg else None})
        with smtplib.SMTP("127.0.0.1", sink.port) as c:
            c.ehlo("x")
            c.mail("a@b.test")
            self.assertEqual(550, c.rcpt("no@b.test")[0])
            self.assertEqual(250, c.rcpt("yes@b.test")[0])
            self.assertEqual(250, c.data(b"S: x\r\n\r\n.dot\r\n..two\r\n\xff\r\n")[0])
        self.assertEqual(b"S: x\r\n\r\n.dot\r\n..two\r\n\xff\r\n", sink.wait(1)[0].content)
        self.assertEqual(["yes@b.test"], sink.messages[0].recipients)

    def test_sink_drops(self):
        sink = self.sink(script={"ehlo": then(b"250-half", DROP)})
        with socket.create_connection(("127.0.0.1", sink.port)) as s:
            s.sendall(b"EHLO x\r\n")
            data = b""
            while chunk := s.recv(100):
                data += chunk
        self.assertTrue(data.endswith(b"250-half"))

    def test_names(self):
        server = self.dns("one IN MX 10 mx.one\nmx.one IN A 127.0.0.2\n"
                          + "".join(f"big IN MX {i} mail-exchanger-number-{i}.some.long.name.big\n" for i in range(60)))

        def ask(name, kind):
            q = dns.message.make_query(name, kind)
            return dns.query.udp(q, "127.0.0.1", timeout=5, port=server.port)
        self.assertIn("10 mx.one.test.", ask("one.test", "MX").answer[0].to_text())
        self.assertEqual(dns.rcode.NXDOMAIN, ask("no.test", "MX").rcode())
        self.assertEqual(dns.rcode.SERVFAIL, ask("x.servfail.test", "MX").rcode())
        q = dns.message.make_query("big.test", "MX")
        reply, used_tcp = dns.query.udp_with_fallback(q, "127.0.0.1", timeout=5, port=server.port)
        self.assertTrue(used_tcp)
        self.assertEqual(60, len(reply.answer[0]))
        self.assertEqual(1, server.count["tcp"])

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_unanswering(self):
        port = free_port()
        dead = Unanswering(port)
        self.addCleanup(dead.close)
        began = time.monotonic()
        with self.assertRaises(OSError), socket.create_connection(("::1", port), 0.5):
            pass
        self.assertGreater(time.monotonic() - began, 0.4)

    @unittest.skipIf(postfix.missing(), postfix.missing())
    def test_smtp_source(self):
        sink = self.sink()
        subprocess.run([postfix.program("smtp-source"), "-m", "5", "-s", "2", "-l", "2000", "-f", "a@b.test",
                        "-t", "c@d.test", f"127.0.0.1:{sink.port}"], check=True, env=postfix.environment())
        self.assertEqual(5, len(sink.wait(5)))

    @unittest.skipIf(postfix.missing_server(), postfix.missing_server())
    def test_postfix_relays(self):
        sink = self.sink()
        p = postfix.Postfix(self, f"relayhost = [127.0.0.1]:{sink.port}\n")
        with smtplib.SMTP("127.0.0.1", p.port) as c:
            c.sendmail("a@b.test", ["c@d.test"], "Subject: x\r\n\r\nhello\r\n")
        self.assertEqual("c@d.test", sink.wait(1, more=p.log)[0].recipients[0])


if __name__ == "__main__":
    main()
