#!/usr/bin/python3
"""What strangers send: each is answered in the protocol's own words, nothing of it reaches the queue, no process dies."""
import os
import random
import re
import socket
import time

import support  # noqa: F401
from case import Case, main
from mansio import pss_kib
from waiting import wait_until

HOLD = 'route "*" { via = "hold" }\n'


class Raw:
    """A client that sends octets and reads replies, nothing more."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def reply(self):
        """One reply, all its lines; empty when the connection has ended."""
        lines = b""
        while True:
            try:
                line = self.stream.readline()
            except ConnectionResetError:
                line = b""
            lines += line
            if not line or line[3:4] != b"-":
                return lines

    def say(self, octets):
        self.socket.sendall(octets)
        return self.reply()

    def hello(self):
        self.reply()
        return self.say(b"EHLO client.test\r\n")

    def start(self, rcpt=b"r@far.test", mail=b""):
        self.hello()
        self.say(b"MAIL FROM:<s@far.test>" + mail + b"\r\n")
        return self.say(b"RCPT TO:<" + rcpt + b">\r\n")

    def closed(self):
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


class Strangers(Case):
    def setUp(self):
        super().setUp()
        self.m = self.mansio(config=HOLD, limits='message_size = "8M"', timeouts="", log_level="info")

    def open(self):
        return Raw(self.m.port)

    def nothing_queued(self):
        self.assertEqual([], self.m.list())

    def still_serves(self):
        """Another session goes through, and only its message is in the queue."""
        id = self.m.send("a@far.test", ["b@far.test"], "Subject: still there\n\nyes\n")
        self.assertEqual([id], [x["id"] for x in self.m.list()])
        self.assertEqual(0, self.m.queuectl("--yes", "--now", "delete", id).returncode)

    def test_overlong_command(self):
        with self.open() as c:
            c.hello()
            self.assertRegex(c.say(b"MAIL FROM:<" + b"a" * 5000 + b"@x.test>\r\n"), rb"^500 5\.5\.2 ")
            self.assertRegex(c.say(b"NOOP\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"MAIL FROM:<a@x.test>\r\n"), rb"^250 ")
        self.nothing_queued()

    def test_command_without_end(self):
        before = pss_kib(self.m.pids("inbound"))
        with self.open() as c:
            c.hello()
            for _ in range(200):
                c.socket.sendall(b"a" * 65536)
            grown = pss_kib(self.m.pids("inbound")) - before
            self.assertLess(grown, 8000, "KiB grown while a line of 13 MB went by")
            self.assertRegex(c.say(b"\r\n"), rb"^500 5\.5\.2 ")
            self.assertRegex(c.say(b"NOOP\r\n"), rb"^250 ")
        self.still_serves()

    def test_text_line_without_end(self):
        for octets, code in ((990, b"250"), (500000, b"250"), (1100000, b"550 5.6.0"), (5000000, b"550 5.6.0")):
            with self.subTest(octets), self.open() as c:
                c.start()
                self.assertRegex(c.say(b"DATA\r\n"), rb"^354 ")
                self.assertTrue(c.say(b"Subject: x\r\n\r\n" + b"a" * octets + b"\r\n.\r\n").startswith(code))
                self.assertRegex(c.say(b"NOOP\r\n"), rb"^250 ")
        self.assertEqual(2, len(self.m.list()))

    def test_ten_thousand_recipients(self):
        with self.open() as c:
            c.hello()
            c.say(b"MAIL FROM:<s@far.test>\r\n")
            count = {b"250": 0, b"452": 0, b"421": 0}
            for block in range(100):
                c.socket.sendall(b"".join(b"RCPT TO:<r%d@far.test>\r\n" % (block * 100 + i) for i in range(100)))
                for _ in range(100):
                    reply = c.reply()
                    count[reply[:3]] += 1
                    if reply[:3] == b"452":
                        self.assertRegex(reply, rb"^452 4\.5\.3 ")
            self.assertEqual({b"250": 1000, b"452": 9000, b"421": 0}, count)
            self.assertRegex(c.say(b"DATA\r\n"), rb"^354 ")
            self.assertRegex(c.say(b"Subject: x\r\n\r\nx\r\n.\r\n"), rb"^250 ")
        self.assertEqual(1000, len(self.m.list()[0]["recipients"]))

    def test_flood_of_unknown_commands(self):
        with self.open() as c:
            c.hello()
            try:
                c.socket.sendall(b"XYZZY\r\n" * 1000)
            except OSError:
                pass  # closed in the middle of it, as it should be
            replies = []
            while (r := c.reply()):
                replies.append(r)
        self.assertTrue(all(r.startswith(b"500 5.5.") for r in replies[:-1]), replies[:3])
        self.assertEqual(21, len(replies))
        self.assertRegex(replies[-1], rb"^421 4\.7\.0 ")
        self.still_serves()

    def test_octets_in_commands(self):
        for line in (b"MAIL FROM:<a\0b@x.test>", b"MAIL FROM:<a\xff\xfe@x.test>", b"\xff\xfe\xfd", b"\0", b"NO\0OP", b"",
                     b" ", b"MAIL FROM:<a@x.test>\0", b"HELO \x01\x02", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            with self.subTest(line), self.open() as c:
                c.hello()
                self.assertRegex(c.say(line + b"\r\n"), rb"^5\d\d 5\.\d+\.\d+ ")
                self.assertRegex(c.say(b"NOOP\r\n"), rb"^250 ")
        self.nothing_queued()

    def test_bad_paths(self):
        for path in (b"<u@a@b>", b"<a@b>>", b"<@>", b"<a b@c.test>", b"<a@b..test>", b"a@b.test>", b"<a@-b.test>",
                     b"<>", b"<a@[300.1.1.1]>", b"<a@" + b"b" * 300 + b".test>"):
            with self.subTest(path), self.open() as c:
                c.hello()
                c.say(b"MAIL FROM:<s@far.test>\r\n")
                self.assertRegex(c.say(b"RCPT TO:" + path + b"\r\n"), rb"^5\d\d 5\.")
        with self.open() as c:
            c.hello()
            self.assertRegex(c.say(b"MAIL FROM:<u@a@b>\r\n"), rb"^501 5\.1\.7 ")
            self.assertRegex(c.say(b"MAIL FROM:<s@far.test>\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"RCPT TO:<u@a@b>\r\n"), rb"^501 5\.1\.3 ")

    def test_out_of_order(self):
        with self.open() as c:
            c.reply()
            self.assertRegex(c.say(b"MAIL FROM:<a@x.test>\r\n"), rb"^503 5\.5\.1 ")
            self.assertRegex(c.say(b"EHLO c.test\r\n"), rb"^250")
            self.assertRegex(c.say(b"RCPT TO:<a@x.test>\r\n"), rb"^503 5\.5\.1 ")
            self.assertRegex(c.say(b"DATA\r\n"), rb"^503 5\.5\.1 ")
            self.assertRegex(c.say(b"BDAT 3 LAST\r\nabc"), rb"^503 5\.5\.1 ")
            self.assertRegex(c.say(b"MAIL FROM:<a@x.test>\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"MAIL FROM:<b@x.test>\r\n"), rb"^503 5\.5\.1 ")
            self.assertRegex(c.say(b"DATA\r\n"), rb"^(503|554) 5\.5\.1 ")
            self.assertRegex(c.say(b"RCPT TO:<a@x.test>\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"RSET\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"RCPT TO:<a@x.test>\r\n"), rb"^503 5\.5\.1 ")
        self.nothing_queued()

    def test_bdat(self):
        bad = {b"BDAT 99999999999999999999999 LAST": rb"^5", b"BDAT -1 LAST": rb"^501 ", b"BDAT x": rb"^501 ",
               b"BDAT": rb"^501 ", b"BDAT 0x10 LAST": rb"^501 ", b"BDAT 18446744073709551617 LAST": rb"^5",
               b"BDAT 5 FIRST": rb"^501 "}
        for line, answer in bad.items():
            with self.subTest(line), self.open() as c:
                c.start()
                self.assertRegex(c.say(line + b"\r\n"), answer)
        self.nothing_queued()
        with self.subTest("larger than the limit"), self.open() as c:
            c.start()
            c.socket.sendall(b"BDAT 9000000 LAST\r\n")
            try:
                c.socket.sendall(b"x\r\n" * 3000000)
            except OSError:
                pass
            self.assertRegex(c.reply(), rb"^552 5\.3\.4 ")
        with self.subTest("more octets than announced"), self.open() as c:
            c.start()
            self.assertRegex(c.say(b"BDAT 14 LAST\r\nSubject: x\r\n\r\nMAIL FROM:<x@y.test>\r\nRCPT TO:<v@w.test>\r\n"),
                             rb"^250 ")
            self.assertRegex(c.reply(), rb"^250 ")  # what follows is the next command, as RFC 3030 has it
        self.assertEqual(1, len(self.m.list()))
        self.m.queuectl("--yes", "--now", "delete", "all")
        with self.subTest("fewer"), self.open() as c:
            c.start()
            c.socket.sendall(b"BDAT 1000 LAST\r\nSubject: x\r\n\r\n")
        with self.subTest("a number that nobody will ever send"), self.open() as c:
            c.start()
            c.socket.sendall(b"BDAT 9223372036854775807 LAST\r\nSubject: x\r\n\r\n")
        with self.subTest("mixed with DATA"), self.open() as c:
            c.start()
            self.assertRegex(c.say(b"BDAT 3\r\nabc"), rb"^250 ")
            self.assertRegex(c.say(b"DATA\r\n"), rb"^503 ")
        with self.subTest("bare LF inside"), self.open() as c:
            c.start()
            self.assertRegex(c.say(b"BDAT 20 LAST\r\nSubject: x\r\n\r\na\nbcde"), rb"^550 5\.6\.0 ")
        self.nothing_queued()
        with self.subTest("good, in pieces"), self.open() as c:
            c.start()
            for octet in b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 3 LAST\r\na\r\n":
                c.socket.sendall(bytes([octet]))
            self.assertRegex(c.reply(), rb"^250 ")
            self.assertRegex(c.reply(), rb"^250 .*queued as")
        self.assertEqual(1, len(self.m.list()))

    def test_hang_up_in_data(self):
        for octets in (b"", b"Subject: x\r\n", b"Subject: x\r\n\r\nx\r\n.", b"Subject: x\r\n\r\nx\r\n.\r",
                       b"Subject: x\r\n\r\n" + b"z" * 70 + b"\r\n" * 100000):
            with self.subTest(octets[:20]), self.open() as c:
                c.start()
                self.assertRegex(c.say(b"DATA\r\n"), rb"^354 ")
                c.socket.sendall(octets)
        wait_until(lambda: len(self.m.events("session_closed")) >= 5, 10)
        self.nothing_queued()
        self.still_serves()

    def test_size(self):
        with self.open() as c:
            self.assertIn(b"SIZE 8388608", c.hello())
            self.assertRegex(c.say(b"MAIL FROM:<a@x.test> SIZE=8388609\r\n"), rb"^552 5\.3\.4 ")
            self.assertRegex(c.say(b"MAIL FROM:<a@x.test> SIZE=99999999999999999999\r\n"), rb"^5(52 5\.3\.4|01 5\.5\.4) ")
            self.assertRegex(c.say(b"MAIL FROM:<a@x.test> SIZE=x\r\n"), rb"^501 5\.5\.4 ")
            self.assertRegex(c.say(b"MAIL FROM:<a@x.test> SIZE=100\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"RCPT TO:<b@x.test>\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"DATA\r\n"), rb"^354 ")
            self.assertRegex(c.say((b"x" * 70 + b"\r\n") * 130000 + b".\r\n"), rb"^552 5\.3\.4 ")
            self.assertRegex(c.say(b"NOOP\r\n"), rb"^250 ")
        self.nothing_queued()

    def test_newlines_that_smuggle(self):
        inner = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@x.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\r\n.\r\r\n", b"\0\r\n"):
            with self.subTest(end), self.open() as c:
                c.start()
                self.assertRegex(c.say(b"DATA\r\n"), rb"^354 ")
                reply = c.say(b"Subject: a\r\n\r\nbody" + end + inner)
                self.assertRegex(reply, rb"^550 5\.6\.0 ")
                self.assertRegex(c.say(b"NOOP\r\n"), rb"^250 ")
        with self.subTest("a bare LF in a command line is one line and one reply"), self.open() as c:
            c.hello()
            self.assertRegex(c.say(b"NOOP\nMAIL FROM:<a@x.test>\r\n"), rb"^500 5\.5\.2 ")
            self.assertRegex(c.say(b"RSET\r\n"), rb"^250 ")
        self.nothing_queued()

    def test_garbage(self):
        chance = random.Random(7)
        words = [b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA", b"BDAT 5 LAST", b"EHLO x", b"RSET", b"\r\n.\r\n",
                 b"\r\n", b"\n", b"\0", b"SIZE=1", b"AUTH PLAIN", b"=", b"STARTTLS", b"QUIT", b"<", b">", b"VRFY x", b"HELP"]
        for _ in range(150):
            with self.open() as c:
                c.socket.settimeout(5)
                try:
                    for _ in range(chance.randrange(1, 40)):
                        word = chance.choice(words) + chance.choice((b"\r\n", b" ", b"", chance.randbytes(8)))
                        c.socket.sendall(word)
                    c.socket.shutdown(socket.SHUT_WR)
                    c.closed()
                except OSError:
                    pass
        self.m.queuectl("--yes", "--now", "delete", "all")
        self.still_serves()


class Doors(Case):
    def test_no_relay_for_strangers(self):
        m = self.mansio(relay=False, config=f'domain "here.test" {{ deliver = "maildir" maildir = "{self.subfolder("b")}/%u" users = {{ "alice" }} }}\n')
        with Raw(m.port) as c:
            c.hello()
            c.say(b"MAIL FROM:<s@far.test>\r\n")
            self.assertRegex(c.say(b"RCPT TO:<r@far.test>\r\n"), rb"^55[04] 5\.7\.1 ")
            self.assertRegex(c.say(b"RCPT TO:<nobody@here.test>\r\n"), rb"^550 5\.1\.1 ")
            for tricky in (b"r%far.test@here.test", b'"r@far.test"@here.test', b"@here.test:r@far.test", b"far.test!r@here.test"):
                self.assertRegex(c.say(b"RCPT TO:<" + tricky + b">\r\n"), rb"^5")
            self.assertRegex(c.say(b"RCPT TO:<Alice@HERE.test>\r\n"), rb"^250 ")
            self.assertRegex(c.say(b"DATA\r\n"), rb"^354 ")
            self.assertRegex(c.say(b"Subject: x\r\n\r\nx\r\n.\r\n"), rb"^250 ")
        m.wait_empty()
        new = os.path.join(self.path("b"), "alice", "new")
        self.assertEqual(1, len(os.listdir(new)))

    def test_talking_too_early(self):
        m = self.mansio(relay=False, config='domain "here.test" { deliver = "discard" }\n')
        with Raw(m.port) as c:
            c.start(b"r@here.test")
            reply = c.say(b"DATA\r\nSubject: early\r\n\r\nx\r\n.\r\n")
            self.assertRegex(reply, rb"^554 5\.5\.0 ")
            self.assertTrue(c.closed())
        self.assertEqual([], m.events("message_accepted"))

    def test_too_many_sessions(self):
        m = self.mansio(limits="sessions = 20 sessions_per_client = 12", config=HOLD)
        m.tolerate("session_refused")
        held = [Raw(m.port) for _ in range(12)]
        try:
            for c in held:
                self.assertRegex(c.reply(), rb"^220 ")
            with Raw(m.port) as c:
                self.assertRegex(c.reply(), rb"^421 4\.\d\.\d ")
                self.assertTrue(c.closed())
        finally:
            for c in held:
                c.__exit__()

    def test_idle_and_endless_sessions_end(self):
        m = self.mansio(timeouts='server_idle = "1s" session = "4s"', config=HOLD)
        with Raw(m.port) as c:
            c.hello()
            began = time.monotonic()
            self.assertRegex(c.reply(), rb"^421 4\.4\.2 ")
            self.assertTrue(c.closed())
            self.assertLess(time.monotonic() - began, 4)
        with Raw(m.port) as c:
            c.hello()
            began = time.monotonic()
            while re.match(rb"^250 ", c.say(b"NOOP\r\n")):
                self.assertLess(time.monotonic() - began, 12, "the bound on a whole session")
                time.sleep(0.2)  # the pace of a slow but lively peer

    def test_client_that_never_reads(self):
        """Its replies do not pile up, and its session ends although the last of them cannot be sent."""
        m = self.mansio(timeouts='server_idle = "1s" session = "3s"', config=HOLD, log_level="info")
        before = pss_kib(m.pids("inbound"))
        with Raw(m.port) as c:
            c.hello()
            c.socket.settimeout(3)
            with self.assertRaises(OSError):
                while True:
                    c.socket.sendall(b"EHLO client.test\r\n" * 5000)
            self.assertLess(pss_kib(m.pids("inbound")) - before, 16000, "KiB grown")
            m.wait_event("session_closed", 30, helo="client.test")
        m.send("a@b.test", ["c@d.test"], "Subject: x\n\nx\n")

    def test_hops(self):
        m = self.mansio(limits="received = 5", config=HOLD)
        with Raw(m.port) as c:
            c.start()
            c.say(b"DATA\r\n")
            self.assertRegex(c.say(b"Received: from x by y; z\r\n" * 6 + b"\r\nx\r\n.\r\n"), rb"^554 5\.4\.6 ")
        self.assertEqual([], m.list())


if __name__ == "__main__":
    main()
