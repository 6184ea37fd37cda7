#!/usr/bin/python3
"""SMTP smuggling: content that a lax server behind us could read as two messages. Each form goes through us to a receiver that takes bare
LF and CR for line ends. Either the client is refused, or exactly one message arrives whose content no line reader can split."""
import re
import socket

import support  # noqa: F401
from case import Case, main
from ports import free_port

ENDS = {  # what could stand for CRLF.CRLF
    "LF.LF": b"\n.\n", "LF.CRLF": b"\n.\r\n", "CRLF.LF": b"\r\n.\n", "CR.CR": b"\r.\r", "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r", "CR.LF": b"\r.\n", "LF.CR": b"\n.\r", "CRCRLF.CRLF": b"\r\r\n.\r\n", "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "LFCR.LFCR": b"\n\r.\n\r", "CRLFCR.CRLF": b"\r\n\r.\r\n", "CRLF NUL.CRLF": b"\r\n\0.\r\n", "CRLF. NUL CRLF": b"\r\n.\0\r\n",
    "CRLF..CRLF": b"\r\n..\r\n", "CRLF.space CRLF": b"\r\n. \r\n", "CRLF.tab CRLF": b"\r\n.\t\r\n", "CRLF..LF": b"\r\n..\n",
    "CRLF.CRLF.LF": b"\r\n..\r\n.\n", "NEL.NEL": b"\xc2\x85.\xc2\x85", "LS.LS": b"\xe2\x80\xa8.\xe2\x80\xa8", "VT.VT": b"\v.\v",
    "FF.FF": b"\f.\f", "x85.x85": b"\x85.\x85",
}
SECOND = b"MAIL FROM:<evil@here.test>\r\nRCPT TO:<victim@two.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nhaha\r\n"
ZONE = "two IN MX 10 mx.two\nmx.two IN A 127.0.0.2\n"


def lax_messages(content):
    """How many messages a reader sees that ends lines at CR, LF or CRLF and messages at a lone dot, once dots are put back."""
    stuffed = re.sub(rb"(^|\r\n)\.", rb"\1..", content)  # what our dot writer must at least have sent
    lines = re.split(rb"\r\n|\r|\n", stuffed)
    return 1 + sum(line == b"." for line in lines)


class Smuggling(Case):
    def setUp(self):
        super().setUp()
        port = free_port()
        self.sink_ = self.sink(port=port, address="127.0.0.2")
        self.m = self.mansio(dns=self.dns(ZONE), mx_port=port)

    def say(self, f, s, octets, code):
        s.sendall(octets)
        while True:
            line = f.readline()
            if line[3:4] != b"-":
                break
        self.assertTrue(line.startswith(code), (octets[:60], line))
        return line

    def begin(self, n, extensions=b""):
        s = socket.create_connection(("127.0.0.1", self.m.port), 20)
        self.addCleanup(s.close)
        f = s.makefile("rb")
        self.assertTrue(f.readline().startswith(b"220"))
        self.say(f, s, b"EHLO client.test\r\n", b"250")
        self.say(f, s, b"MAIL FROM:<a@here.test>" + extensions + b"\r\n", b"250")
        self.say(f, s, b"RCPT TO:<n%d@two.test>\r\n" % n, b"250")
        return s, f

    def outcome(self, s, f):
        """The replies up to the end; how many messages were accepted."""
        s.sendall(b"QUIT\r\n")
        replies = []
        try:
            while line := f.readline():
                replies.append(line)
                if line.startswith(b"221"):
                    break
        except OSError:
            pass
        return replies, sum(line.startswith(b"250 2.0.0 ok: queued") for line in replies)

    def test_forms(self):
        refused, carried, forms = 0, [], 0
        for name, end in ENDS.items():
            for way in ("data", "bdat"):
                forms += 1
                content = b"Subject: first\r\n\r\nfirst" + end + SECOND
                if way == "bdat" and end == b"\r\n..\r\n":
                    content = b"Subject: first\r\n\r\nfirst\r\n.\r\n" + SECOND  # in BDAT a lone dot is only text
                with self.subTest(form=name, way=way):
                    s, f = self.begin(forms)
                    if way == "data":
                        self.say(f, s, b"DATA\r\n", b"354")
                        s.sendall(content + b"\r\n.\r\n")
                    else:
                        s.sendall(b"BDAT %d LAST\r\n" % len(content) + content)
                    replies, accepted = self.outcome(s, f)
                    self.assertLessEqual(accepted, 1, replies)
                    self.assertFalse([r for r in replies if b"evil" in r or r.startswith(b"354")], replies)
                    if accepted:
                        carried.append(forms)
                    else:
                        refused += 1
        # commands split by what is no line end
        for n, glue in enumerate((b"\n", b"\r", b"\0", b"\n\r", b"\r\0\n")):
            with self.subTest(command=glue):
                s, f = self.begin(900 + n)
                forms += 1
                s.sendall(b"NOOP" + glue + b"RCPT TO:<victim@two.test>\r\n")
                line = f.readline()
                self.assertTrue(line.startswith((b"500", b"501", b"554")), line)
                replies, _ = self.outcome(s, f)
                self.assertFalse([r for r in replies if b"2.1.5" in r], replies)
        self.m.wait_empty(120)
        got = {m.recipients[0]: m for m in self.sink_.messages}
        self.assertEqual(len(carried), len(self.sink_.messages), "one message each")
        self.assertEqual({f"n{n}@two.test" for n in carried}, set(got))
        for name, m in got.items():
            self.assertEqual("a@here.test", m.sender)
            self.assertEqual(1, lax_messages(m.content), (name, m.content))
            self.assertIn(b"haha", m.content)
        print(f"{forms} forms: {refused} refused, {len(carried)} carried as the one message that they are")
        self.assertGreaterEqual(forms, 40)


if __name__ == "__main__":
    main()
