#!/usr/bin/python3
"""What remote hosts answer: endless, senseless or no replies only delay their own mail, and cost no memory."""
import time

import support  # noqa: F401
from case import Case, main
from mansio import pss_kib
from ports import free_port
from report import Report
from sink import DEAF, HANG, endless, slow, then
from waiting import wait_until

ZONE = """
bad IN MX 10 mx.bad
mx.bad IN A 127.0.0.2
good IN MX 10 mx.good
mx.good IN A 127.0.0.3
back IN MX 10 mx.back
mx.back IN A 127.0.0.9
"""
TIMEOUTS = 'connect = "2s" greeting = "2s" ehlo = "2s" mail = "2s" rcpt = "2s" data = "2s" block = "2s" dot = "2s" quit = "1s"'


class Peers(Case):
    def world(self, script=None, extensions=None, retry='plan = { "1h" } jitter = 0'):
        self.port = free_port()
        self.bad = self.sink(self.port, "127.0.0.2", script)
        if extensions is not None:
            self.bad.extensions = extensions
        self.good = self.sink(self.port, "127.0.0.3")
        self.back = self.sink(self.port, "127.0.0.9")
        return self.mansio(dns=self.dns(ZONE), mx_port=self.port, retry=retry, timeouts=TIMEOUTS, log_level="info")

    def check_deferred(self, m, size=10):
        m.send("s@back.test", ["r@bad.test", "r@good.test"], b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 72 + 1))
        self.good.wait(1, 10, m.log_tail)
        r = m.wait_recipient("r@bad.test", 40, state="deferred", attempts=1)
        self.assertEqual([], self.bad.messages)
        self.assertEqual([], self.back.messages)
        return r

    def test_replies(self):
        cases = {
            "endless line": {"greeting": endless(b"220 " + b"a" * 1000)},
            "endless continuation": {"ehlo": endless(b"250-PIPELINING\r\n")},
            "101 lines": {"ehlo": b"250-X\r\n" * 101 + b"250 X\r\n"},
            "70 KiB": {"rcpt": (b"250-" + b"y" * 400 + b"\r\n") * 90 + (b"250-" + b"z" * 4000 + b"\r\n") * 9 + b"250 y\r\n"},
            "not numeric": {"greeting": b"hello there\r\n"},
            "HTTP": {"greeting": b"HTTP/1.0 400 Bad Request\r\n\r\n"},
            "NUL": {"mail": b"250 2.1.0 o\0k\r\n"},
            "NUL in the code": {"mail": b"2\00050 ok\r\n"},
            "codes change": {"ehlo": b"250-a\r\n251 b\r\n"},
            "code 999": {"mail": b"999 what\r\n"},
            "code 250 to DATA": {"data": b"250 ok\r\n"},
            "code 354 to RCPT": {"rcpt": b"354 go on\r\n"},
            "354 to the dot": {"dot": b"354 again\r\n"},
            "no greeting": {"greeting": HANG},
            "half a greeting": {"greeting": then(b"220-half\r\n22", HANG)},
            "drop by drop": {"greeting": slow(b"220 " + b"s" * 200 + b"\r\n", 0.1)},
            "no reply to EHLO": {"ehlo": HANG},
            "no reply to MAIL": {"mail": HANG},
            "no reply to DATA": {"data": HANG},
        }
        uncertain = ("354 to the dot",)
        for name, script in cases.items():
            with self.subTest(name):
                m = self.world(script)
                if name in uncertain:
                    m.tolerate("delivery_uncertain")
                before = pss_kib(m.pids("outbound"))
                r = self.check_deferred(m)
                self.assertTrue(r["reply"], "why")
                self.assertLess(pss_kib(m.pids("outbound")) - before, 16000, "KiB grown")
                m.stop()
                self.bad.close()
                self.good.close()
                self.back.close()

    def test_never_reads(self):
        m = self.world({"content": DEAF})
        r = self.check_deferred(m, 20_000_000)
        self.assertTrue(r["reply"])

    def test_no_reply_to_the_dot(self):
        m = self.world({"dot": HANG})
        m.announce("delivery_uncertain")
        self.check_deferred(m)

    def test_garbage_behind_starttls(self):
        """The handshake fails; opportunistic TLS goes on without, on a new connection."""
        m = self.world({"starttls": None}, extensions=(b"PIPELINING", b"STARTTLS"))
        m.tolerate("tls_failed")
        self.bad.script["other"] = lambda s, line: b"220 go\r\n\x15\x03garbage\r\n" if line.upper() == b"STARTTLS" else None
        m.send("s@back.test", ["r@bad.test"], "Subject: x\n\nx\n")
        wait_until(lambda: self.bad.messages or any(r["state"] == "deferred" for r in m.recipients("r@bad.test")), 20,
                   m.log_tail)

    def test_reply_text_is_only_text(self):
        """What a peer says goes into reports and lists as text: no line of its own, no control character."""
        m = self.world({"rcpt": b"550-5.1.1 no\x1b[2J such\r\n550-5.1.1 Final-Recipient: rfc822; forged@x.test\r\n"
                                b"550 5.1.1 \xff\xfe \"end\" \\ <b>\r\n"})
        m.send("s@back.test", ["r@bad.test"], "Subject: x\n\nx\n")
        content = self.back.wait(1, more=m.log_tail)[0].content
        report = Report(content)
        self.assertEqual(["rfc822; r@bad.test"], [r["Final-Recipient"] for r in report.recipients])
        self.assertNotIn(b"\x1b", content)
        self.assertNotIn(b"\xff", content)
        m.wait_empty()
        self.assertNotIn("\x1b", m.log_text())

    def test_huge_limits_in_ehlo(self):
        for extension in (b"SIZE 99999999999999999999999", b"SIZE", b"SIZE x", b"SIZE 0", b"AUTH " + b"X" * 400, b"=", b"-"):
            with self.subTest(extension):
                m = self.world(extensions=(b"PIPELINING", extension))
                m.send("s@back.test", ["r@bad.test"], "Subject: x\n\nx\n")
                self.bad.wait(1, 15, m.log_tail)
                m.stop()

    def test_too_large_for_the_peer(self):
        m = self.world(extensions=(b"SIZE 1000",))
        m.send("s@back.test", ["r@bad.test"], "Subject: x\n\n" + ("x" * 70 + "\n") * 100)
        report = Report(self.back.wait(1, more=m.log_tail)[0].content)
        self.assertEqual("5.3.4", report.recipients[0]["Status"].split()[0])
        self.assertEqual([], self.bad.messages)

    def test_eight_bits_to_a_seven_bit_peer(self):
        m = self.world(extensions=(b"PIPELINING",))
        with m.client() as c:
            c.ehlo()
            self.assertEqual(250, c.mail("s@back.test", ["BODY=8BITMIME"])[0])
            c.rcpt("r@bad.test")
            self.assertEqual(250, c.data("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                         "Content-Transfer-Encoding: 8bit\r\n\r\ngr\u00fc\u00dfe\r\n".encode())[0])
        wait_until(lambda: self.bad.messages or self.back.messages, 20, m.log_tail)
        if self.back.messages:
            self.assertEqual("5.6.3", Report(self.back.messages[0].content).recipients[0]["Status"].split()[0])
        for x in self.bad.messages:
            self.assertTrue(all(octet < 0x80 for octet in x.content), "8-bit octets were sent raw")

    def test_busy_host_does_not_hold_up_others(self):
        """Fifty messages to a host that says nothing; one to another goes through at once."""
        m = self.world({"greeting": HANG})
        for i in range(50):
            m.send("s@back.test", [f"r{i}@bad.test"], "Subject: x\n\nx\n")
        began = time.monotonic()
        m.send("s@back.test", ["r@good.test"], "Subject: urgent\n\nx\n")
        self.good.wait(1, 10, m.log_tail)
        self.assertLess(time.monotonic() - began, 3)


if __name__ == "__main__":
    main()
