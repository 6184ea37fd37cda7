#!/usr/bin/python3
"""The sendmail command as programs call it: arguments, input, header, exit status (docs/envelope-and-headers.md)."""
import os
import re
import shlex
import subprocess
import time
import unittest

import support  # noqa: F401
from callers import ORIGIN, SendmailCase, fields
from case import IS_ROOT, TOP, main

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.path.join(TOP, "..", "shared", "sendmail-callers.tsv")
USER = "nobody" if IS_ROOT else os.environ.get("USER", "")


def rows(path):
    with open(path, encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f if line.strip() and not line.startswith("#")]


class Callers(SendmailCase):
    def test_table(self):
        self.house()
        for number, row in enumerate(rows(os.path.join(HERE, "callers.tsv"))):
            name, arguments, ends, to, cc, bcc, expected = row
            with self.subTest(name):
                token = f"own-{number}"
                text = f"Subject: {token}\nX-Name: {name}\n"
                text += "".join(f"{n}: {v}\n" for n, v in (("To", to), ("Cc", cc), ("Bcc", bcc)) if v)
                text += "\nbody\n.. two\n"
                if ends == "CRLF":
                    text = text.replace("\n", "\r\n")
                self.call(*shlex.split(arguments), stdin=text)
                self.assertEqual(sorted(re.findall(r'(?:"[^"]*")?[^ "]+', expected)), self.recipients(token))
                message = self.arrived(token)[0]
                self.assertEqual([], fields(message.content, "Bcc"))
                if "from.test" in arguments:
                    self.assertRegex(message.sender, r"^(bounce|z)@from\.test$")
                if "bob" in arguments:
                    self.assertEqual(f"bob@{ORIGIN}", message.sender)
                if "-f ''" in arguments or "'<>'" in arguments:
                    self.assertEqual("", message.sender)
                if "Full Name" in arguments:
                    self.assertRegex(fields(message.content, "From")[0], r'^"A\. Full Name" <')

    @unittest.skipUnless(os.path.exists(SHARED), "no ../shared/sendmail-callers.tsv here")
    def test_recorded(self):
        self.house()
        for number, (caller, _, path, arguments, ends, notes, _) in enumerate(rows(SHARED)):
            with self.subTest(caller):
                token = f"rec-{number}"
                if "mail" in path.split("/")[-1:]:  # through mail(1): see test_programs
                    continue
                arguments = re.sub(r"\s*\(or:.*\)", "", arguments)
                arguments = arguments.replace('"SENDER"', "s@x.test").replace('"DEST"', "d@x.test")
                arguments = arguments.replace("ADDRESSES", "a@x.test b@x.test").replace("ADDRESS", "a@x.test")
                args = shlex.split(arguments)
                if "-bs" in args:
                    self.session(args, token, "HELO" in notes)
                    self.assertEqual(["user@mx.test"], self.recipients(token))
                    continue
                expected = self.expected(args)
                self.call(*args, stdin=self.message(token, "-t" in args, ends))
                self.assertEqual(sorted(expected), self.recipients(token))
                self.assertEqual([], fields(self.arrived(token)[0].content, "Bcc"))

    def message(self, token, with_bcc, ends):
        text = f"Subject: {token}\nTo: to@x.test\n" + ("Bcc: blind@x.test\n" if with_bcc else "") + "\nbody\n"
        return text.replace("\n", "\r\n") if ends.startswith("CRLF") else text

    def expected(self, args):
        """What stands behind the options, and with -t what the header names."""
        takes = {"-f", "-r", "-F", "-N", "-R", "-V", "-B", "-L", "-h"}
        found, rest = [], list(args)
        while rest:
            a = rest.pop(0)
            if a in takes:
                rest.pop(0)
            elif not a.startswith("-"):
                found.append(a if "@" in a else f"{a}@{ORIGIN}")
        return found + ["to@x.test", "blind@x.test"] if "-t" in args else found

    def session(self, args, token, helo):
        r = subprocess.Popen(self.argv(*args), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=dict(os.environ, MANSIO_CONFIG=self.m.conf), cwd="/")
        hello = b"HELO [127.0.0.1]\r\n" if helo else b"EHLO [127.0.0.1]\r\n"
        said = []
        for line in (b"", hello, b"MAIL FROM:<me@x.test>\r\n", b"RCPT TO:<user@mx.test>\r\n", b"DATA\r\n",
                     f"Subject: {token}\r\n\r\nbody\r\n.\r\n".encode(), b"QUIT\r\n"):
            r.stdin.write(line)
            r.stdin.flush()
            while True:
                said.append(r.stdout.readline())
                if not said[-1] or said[-1][3:4] != b"-":
                    break
        self.assertEqual([b"220", b"250", b"250", b"250", b"354", b"250", b"221"],
                         [s[:3] for s in said if s[3:4] == b" "])
        self.assertEqual(0, r.wait(10))
        r.stdin.close()
        r.stdout.close()


class Input(SendmailCase):
    def content(self, token):
        return self.body(self.arrived(token)[0]).split(b"\r\n\r\n", 1)[1]

    def test_line_ends(self):
        self.house()
        cases = {
            "lf": (b"one\ntwo\n", b"one\r\ntwo\r\n"),
            "crlf": (b"one\r\ntwo\r\n", b"one\r\ntwo\r\n"),
            "mixed": (b"one\ntwo\r\nthree\n", b"one\r\ntwo\r\nthree\r\n"),
            "cr": (b"one\rtwo\n", b"one\r\ntwo\r\n"),
            "no-end": (b"one\ntwo", b"one\r\ntwo\r\n"),
            "eight": (b"caf\xe9 \xc3\xa9\n", b"caf\xe9 \xc3\xa9\r\n"),
            "dots": (b".one\n..two\n", b".one\r\n..two\r\n"),
            "empty": (b"", b""),
        }
        for name, (given, expected) in cases.items():
            with self.subTest(name):
                self.call("user@out.test", stdin=b"Subject: input-" + name.encode() + b"\n\n" + given)
                self.assertEqual(expected, self.content(f"input-{name}"))

    def test_lone_dot(self):
        self.house()
        text = b"Subject: dot-%s\n\none\n.\ntwo\n"
        self.call("user@out.test", stdin=text % b"ends")
        self.assertEqual(b"one\r\n", self.content("dot-ends"))
        for option in ("-i", "-oi"):
            self.call(option, "user@out.test", stdin=text % b"stays" + option.encode())
            self.assertEqual(b"one\r\n.\r\ntwo\r\n" + option.encode() + b"\r\n", self.content("dot-stays"))
            self.out.everything.clear()

    def test_odd_beginnings(self):
        self.house()
        self.call("user@out.test", stdin=b"From nobody Mon Jan  1 00:00:00 2024\nSubject: separator\n\nbody\n")
        self.assertNotIn(b"From nobody", self.arrived("separator")[0].content)
        self.call("user@out.test", stdin=b"no header-at-all\nnot: one\n")
        content = self.body(self.arrived("header-at-all")[0])
        self.assertTrue(content.endswith(b"\r\n\r\nno header-at-all\r\nnot: one\r\n"), content)
        self.call("user@out.test", stdin=b"\nbody-only\n")
        self.assertTrue(self.body(self.arrived("body-only")[0]).endswith(b"\r\n\r\nbody-only\r\n"))
        self.call("user@out.test", stdin=b"Subject: no-blank\nbody without a blank line\n")
        self.assertIn(b"\r\n\r\nbody without", self.body(self.arrived("no-blank")[0]))
        self.call("user@out.test", stdin=b"")
        self.out.wait(5, more=self.m.log_tail)

    def test_refusals(self):
        self.house()
        message = b"Subject: x\n\nbody\n"
        self.call("user@out.test", stdin=b"Subject: x\n\nNUL \0 here\n", code=65)
        self.assertIn(b"line 3", self.call("user@out.test", stdin=b"Subject: x\n\nNUL \0 here\n", code=65).stderr)
        self.call(stdin=message, code=64)
        self.call("-t", stdin=message, code=64)
        self.assertIn(b"To: column 12", self.call("-t", stdin=b"To: a@b, c d@e\n\nx\n", code=65).stderr)
        self.assertIn(b"Cc", self.call("-t", stdin=b"To: a@b\nCc: <a@b\n\nx\n", code=65).stderr)
        self.call("a b@c", stdin=message, code=65)
        self.call("-f", "a b@c", "user@out.test", stdin=message, code=65)
        self.call("-bd", code=64)
        self.call("-bx", code=64)
        self.call("-Y", "user@out.test", code=64)
        self.call("user@out.test", "-t", stdin=message, code=64)
        self.call("-N", "sometimes", "user@out.test", code=64)
        self.call("-C", "/nonexistent", "user@out.test", code=78)
        self.assertEqual([], self.m.list())
        self.assertEqual([], self.out.messages)

    def test_message_size(self):
        self.house(limits='message_size = "64K"')
        self.call("user@out.test", stdin=b"Subject: x\n\n" + b"y" * 79 * 1000, code=77)
        self.assertEqual([], self.m.list())


class Header(SendmailCase):
    def test_resent(self):
        self.house()
        text = (b"Resent-To: new@out.test\nResent-Bcc: hidden@out.test\nResent-From: me@x.test\n"
                b"Received: from somewhere\n"
                b"Resent-To: older@out.test\nResent-From: he@x.test\n"
                b"To: first@out.test\nBcc: second@out.test\nFrom: a@x.test\nSubject: resent-1\n\nbody\n")
        self.call("-t", stdin=text)
        self.assertEqual(["hidden@out.test", "new@out.test"], self.recipients("resent-1"))
        content = self.arrived("resent-1")[0].content
        self.assertNotIn(b"hidden@", content)
        self.assertNotIn(b"second@", content)
        self.assertEqual(["first@out.test"], fields(content, "To"))
        self.assertEqual(1, len(fields(content, "Resent-Date")))
        self.assertEqual(1, len(fields(content, "Resent-Message-ID")))
        self.assertEqual([], fields(content, "Sender"))

    def test_completion(self):
        self.house()
        self.call("user@out.test", stdin=b"Subject: complete-1\nTo: bob (Bob), al@x.test\n\nbody\n")
        content = self.arrived("complete-1")[0].content
        self.assertEqual(1, len(fields(content, "Date")))
        self.assertRegex(fields(content, "Message-ID")[0], r"^<[^<>@ ]+@mx\.here\.test>$")
        self.assertIn(f"{USER}@{ORIGIN}", fields(content, "From")[0])
        self.assertEqual([], fields(content, "Sender"))
        self.assertEqual([f"bob@{ORIGIN} (Bob), al@x.test"], fields(content, "To"))
        self.assertRegex(content, rb"^Received: from " + USER.encode() + rb" \(uid \d+\)\r\n\tby mx\.here\.test with local id")
        self.call("-f", "x@y.test", "user@out.test", stdin=b"From: other@x.test\nDate: then\nMessage-Id: <1@x>\n"
                  b"Subject: complete-2\n\nbody\n")
        content = self.arrived("complete-2")[0].content
        self.assertEqual((["then"], ["<1@x>"], ["other@x.test"], [f"{USER}@{ORIGIN}"]),
                         tuple(fields(content, n) for n in ("Date", "Message-ID", "From", "Sender")))
        self.assertIn(b"from " + USER.encode() + b" (uid", content)

    def test_only_bcc(self):
        self.house()
        self.call("-t", stdin=b"Bcc: secret@out.test\nSubject: onlybcc-1\n\nbody\n")
        message = self.arrived("onlybcc-1")[0]
        self.assertEqual(["recipient list not shown: ;"], fields(message.content, "Cc"))
        self.assertEqual([], fields(message.content, "To") + fields(message.content, "Apparently-To"))
        self.assertNotIn(b"secret", self.body(message))  # its own trace field may name the one recipient

    def test_keys(self):
        self.house(config='submission { sender = false no_destination = "To: undisclosed-recipients:;" '
                          't_arguments = remove local_bcc = keep }')
        self.call("-t", "not@out.test", stdin=b"Bcc: secret@out.test, not@out.test\nFrom: x@y.test\nSubject: keys-1\n\nbody\n")
        message = self.arrived("keys-1")[0]
        self.assertEqual(["secret@out.test"], message.recipients)
        self.assertEqual(["undisclosed-recipients:;"], fields(message.content, "To"))
        self.assertEqual([], fields(message.content, "Sender"))
        self.call("user@out.test", stdin=b"Bcc: shown@out.test\nSubject: keys-2\n\nbody\n")
        self.assertEqual(["shown@out.test"], fields(self.arrived("keys-2")[0].content, "Bcc"))

    def test_large_field(self):
        """10 MiB of To, most of it comments: bounded time and memory, and the Bcc behind it still goes."""
        self.house()
        text = b"To: user@out.test\n" + b" (comment)\n" * 950000 + b"Bcc: secret@out.test\nSubject: large-1\n\nbody\n"
        began = time.monotonic()
        self.call("-t", stdin=text)
        message = self.arrived("large-1", seconds=60)[0]
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(["secret@out.test", "user@out.test"], self.recipients("large-1"))
        self.assertNotIn(b"secret", message.content)


class Modes(SendmailCase):
    def test_others(self):
        self.house(config='route "held.test" { via = "hold" }')
        self.assertEqual(b"Mail queue is empty\n", self.call("-bp").stdout)
        self.call("user@held.test", stdin=b"Subject: x\n\nbody\n")
        self.assertIn(b"user@held.test", self.call("-bp").stdout)
        self.call("-bi")
        self.call(name="newaliases")
        self.call("-I")
        self.call("-q30m")
        self.call("-qX", code=64)
        self.assertIn(b"user@out.test... deliverable", self.call("-bv", "user@out.test").stdout)
        self.assertEqual(1, len(self.m.list()))

    def test_resend(self):
        """Someone forgotten gets the queued message, of any size, and nobody gets a second copy."""
        self.house(config='route "held.test" { via = "hold" }')
        body = b"".join(b"line %d of the letter\n" % i for i in range(40000)) + b".\n"
        self.call("-i", "first@held.test", "second@held.test",
                  stdin=b"To: first@held.test\nCc: second@held.test\nSubject: resend-1\nMessage-ID: <once@x.test>\n\n" + body)
        message = self.m.list()[0]
        r = self.m.queuectl("resend", message["id"], "--to", "Forgotten <new@out.test>", "--to", "other@out.test", "--cc", "cc@out.test")
        self.assertEqual((0, ""), (r.returncode, r.stderr))
        self.assertEqual(["cc@out.test", "new@out.test", "other@out.test"], self.recipients("resend-1"))
        content = self.arrived("resend-1")[0].content
        self.assertTrue(content.endswith(b"\r\n\r\n" + body.replace(b"\n", b"\r\n")))
        self.assertEqual((["first@held.test"], ["second@held.test"], ["<once@x.test>"], ["Forgotten <new@out.test>", "other@out.test"]),
                         tuple(fields(content, n) for n in ("To", "Cc", "Message-ID", "Resent-To")))
        self.assertEqual((1, 1, 1), tuple(len(fields(content, "Resent-" + n)) for n in ("From", "Date", "Message-ID")))
        self.assertEqual([message["id"]], [m["id"] for m in self.m.list()])
        for args, code in ((("resend", message["id"]), 64), (("resend", "1zzzzzzzzzz", "--to", "a@b"), 1),
                           (("resend", message["id"], "--to", "a@b\nBcc: c@d"), 64), (("resend", message["id"], "--to", "a b@c"), 1)):
            self.assertEqual(code, self.m.queuectl(*args).returncode, args)

    def test_refused_recipients(self):
        """All refused: nothing is sent, and the status says so. Some: the others get it, and the sender is told of these by mail."""
        self.house(config='domain "small.test" { deliver = "discard" users = { alice } }\n'
                          'domain "shut.test" { deliver = "error:5.7.1 we are shut" }', limits="recipients = 100")
        message = b"Subject: partly\n\nbody\n"
        r = self.call("no1@small.test", "no2@small.test", stdin=message, code=67)
        for n in (b"no1", b"no2"):
            self.assertIn(n + b"@small.test: 550 5.1.1", r.stderr)
        self.call("-bv", "nobody-here@small.test", code=67)
        self.assertEqual(([], []), (self.out.messages, self.m.list()))
        r = self.call("-f", "sender@x.test", "no@small.test", "user@out.test", "any@shut.test", stdin=message)
        self.assertEqual((b"", b""), (r.stdout, r.stderr))
        self.assertEqual([["sender@x.test"], ["sender@x.test"], ["user@out.test"]],
                         sorted(m.recipients for m in self.arrived("partly", 3)))
        reports = [m for m in self.out.messages if m.recipients == ["sender@x.test"]]
        self.assertEqual(["", ""], [m.sender for m in reports])
        for address, status, words in ((b"no@small.test", b"5.1.1", b"no such mailbox"), (b"any@shut.test", b"5.7.1", b"we are shut")):
            report = [m.content for m in reports if b"rfc822; " + address in m.content]
            self.assertEqual(1, len(report))
            self.assertIn(b"Status: " + status, report[0])
            self.assertIn(words, report[0])
        self.assertIn(b"no@small.test: 550", self.call("-v", "no@small.test", "user@out.test", stdin=message).stderr)
        self.call("-f", "<>", "no@small.test", "user@out.test", stdin=b"Subject: null-partly\n\nbody\n")
        self.assertEqual(["user@out.test"], self.recipients("null-partly"))
        self.call("-N", "never", "no@small.test", "user@out.test", stdin=b"Subject: never-partly\n\nbody\n")
        self.assertEqual(["user@out.test"], self.recipients("never-partly"))

    def test_many_refused(self):
        """More of them than errors are allowed on a listener, and more than go into one transaction."""
        self.house(config='domain "small.test" { deliver = "discard" users = { alice } }', limits="recipients = 50 errors = 3")
        everybody = [f"u{i}@out.test" for i in range(60)]
        strangers = [f"no{i}@small.test" for i in range(60)]
        self.call("-f", "sender@x.test", *[a for pair in zip(strangers, everybody) for a in pair], stdin=b"Subject: both\n\nbody\n")
        self.m.wait_empty()
        good = [r for m in self.out.messages for r in m.recipients if r != "sender@x.test"]
        self.assertEqual(sorted(everybody), sorted(good))
        told = b"".join(m.content for m in self.out.messages if m.recipients == ["sender@x.test"])
        for address in strangers:
            self.assertEqual(1, told.count(b"Final-Recipient: rfc822; " + address.encode() + b"\r\n"), address)

    def test_refused_in_session(self):
        """-bs talks to a program that hears each refusal itself."""
        self.house(config='domain "small.test" { deliver = "discard" users = { alice } }')
        r = self.call("-bs", stdin=b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<no@small.test>\r\nRCPT TO:<user@out.test>\r\nQUIT\r\n")
        self.assertIn(b"\r\n550 5.1.1 ", r.stdout)

    def test_verp(self):
        """-XV: each recipient gets the message in a transaction of its own, from an address that names them."""
        self.house(config='domain "small.test" { deliver = "discard" users = { alice } }\n'
                          'route "dead.test" { via = "error:5.1.2 no such place" }\n'
                          f'domain "list.test" {{ deliver = "discard" aliases = "{self.file("aliases", "both: c@out.test, d@out.test")}" }}')
        text = b"Subject: verp\n\nbody\n"
        self.call("-XV", "-f", "user-bounces@list.test", "a@out.test", "b+tag@out.test", "both@list.test", '"a b"@out.test', stdin=text)
        senders = {(m.sender, *m.recipients) for m in self.arrived("Subject: verp", 4)}
        self.assertEqual({("user-bounces+a=out.test@list.test", "a@out.test"),
                          ("user-bounces+b+tag=out.test@list.test", "b+tag@out.test"),
                          ("user-bounces+both=list.test@list.test", "c@out.test", "d@out.test"),
                          ('"user-bounces+a b=out.test"@list.test', '"a b"@out.test')}, senders)
        self.call("-XV-=", "-f", "owner@x.test", "e@out.test", stdin=b"Subject: other-verp\n\nbody\n")
        self.assertEqual("owner-e=out.test@x.test", self.arrived("other-verp")[0].sender)
        self.call("-XV", "-f", "owner@x.test", "no@small.test", "f@out.test", stdin=b"Subject: third-verp\n\nbody\n")
        self.assertEqual({"owner@x.test", "f@out.test"}, {*self.recipients("third-verp", 2)})
        self.call("-XV", "-f", "<>", "g@out.test", "h@out.test", stdin=b"Subject: null-verp\n\nbody\n")
        self.assertEqual([("", ["g@out.test", "h@out.test"])], [(m.sender, sorted(m.recipients)) for m in self.arrived("null-verp")])
        self.call("-XV..", "-f", "o@x.test", "e@out.test", stdin=text, code=64)

    def test_verp_bounce(self):
        """A host that refuses one of them: the notification goes to the address that names the one, as plain mail."""
        far = self.sink(script={"rcpt": lambda s, arg: b"550 5.1.1 no such user\r\n" if b"bad@" in arg else None})
        self.house(config=f'route "far.test" {{ via = "relay:[127.0.0.1]:{far.port}" }}')
        self.call("-XV", "-f", "owner@x.test", "good@far.test", "bad@far.test", stdin=b"Subject: bounce-verp\n\nbody\n")
        report = self.arrived("no such user")[0]
        self.assertEqual(("", ["owner+bad=far.test@x.test"]), (report.sender, report.recipients))
        self.m.wait_empty()
        self.assertEqual([("owner+good=far.test@x.test", ["good@far.test"])], [(m.sender, m.recipients) for m in far.messages])
        self.assertEqual(1, len(self.out.messages))

    def test_many_recipients(self):
        self.house(limits="recipients = 7")
        everybody = [f"u{i}@out.test" for i in range(40)]
        self.call(*everybody, stdin=b"Subject: many\n\nbody\n")
        self.assertEqual(sorted(everybody), self.recipients("many", 6))

    def test_session_without_daemon(self):
        self.house(sink=False)
        self.m.stop()
        self.assertTrue(self.call("-bs", code=75).stdout.startswith(b"421 4.3.2"))


if __name__ == "__main__":
    main()
