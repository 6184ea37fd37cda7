#!/usr/bin/python3
"""A blind recipient stays blind: every combination of To, Cc and Bcc, over sendmail -t, sendmail with arguments, listeners for
submission and for relaying, with every policy. What each copy may show is said here once more, and every octet is looked at."""
import itertools
import smtplib

import support  # noqa: F401
from callers import SendmailCase, fields
from case import main
from ports import free_port
from waiting import wait_until

TO, CC, BCC = ("to1@out.test", "to2@out.test"), ("cc1@out.test",), ("blind1@out.test", "blind2@out.test")
COMBINATIONS = [c for c in itertools.product((TO, ()), (CC, ()), (BCC, BCC[:1], ())) if any(c)]
EXTRA = "envelope@out.test"  # in the envelope of SMTP alone


class Blindness(SendmailCase):
    def setUp(self):
        super().setUp()
        self.ports = {}
        listens = ""
        for cls, policy in itertools.product(("submission", "smtp"), ("keep", "strip", "split", "")):
            name = f"{cls}-{policy or 'default'}"
            self.ports[name] = free_port()
            key = f'bcc = "{policy}"' if policy else ""
            listens += f'listen "{name}" {{ class = "{cls}" tls = "none" address = "127.0.0.1:{self.ports[name]}" {key} }}\n'
        self.house(config=listens)

    def text(self, token, to, cc, bcc):
        text = f"From: a@x.test\nSubject: {token}\n"
        for name, addresses in (("To", to), ("Cc", cc), ("Bcc", bcc)):
            if addresses:
                text += f"{name}: " + ",\n  ".join(f"Name <{a}>" for a in addresses) + "\n"
        return text + "\nbody\n"

    def all_of(self, token, count):
        got = self.recipients(token, len(self.arrived(token)))
        return len(got) >= count and got

    def judge(self, token, policy, everybody, bcc, extra=()):
        """Each recipient got one copy, and no copy shows a blind address that its policy does not allow there."""
        got = self.recipients(token, 2 if policy == "split" and bcc and len(everybody) > 1 else 1)
        if len(got) < len(everybody):  # several transactions: the others may still come
            got = wait_until(lambda: self.all_of(token, len(everybody)), 30, "a copy for each recipient")
        self.assertEqual(sorted(everybody), got)
        for message in self.arrived(token):
            shown = [b for b in bcc if b.encode() in self.body(message)]
            trace = message.content[:len(message.content) - len(self.body(message))]
            named = [r for r in everybody if r.encode() in trace]
            self.assertTrue(not named or named == message.recipients, trace)  # `for` names the only recipient
            if policy == "keep":
                self.assertEqual(list(bcc), shown)
            elif policy == "strip":
                self.assertEqual(([], []), (shown, fields(message.content, "Bcc")))
            elif message.recipients[0] in bcc:
                self.assertEqual(message.recipients, shown)
                self.assertEqual(message.recipients, fields(message.content, "Bcc"))
            else:
                self.assertEqual(([], []), (shown, fields(message.content, "Bcc")))
            for address in extra:
                self.assertNotIn(address.encode(), self.body(message))

    def test_sendmail(self):
        for number, (to, cc, bcc) in enumerate(COMBINATIONS):
            everybody = [*to, *cc, *bcc]
            with self.subTest(to=to, cc=cc, bcc=bcc):
                self.call("-t", stdin=self.text(f"header-{number}.", to, cc, bcc))
                self.judge(f"header-{number}.", "strip", everybody, bcc)
                self.call("-i", "--", *everybody, EXTRA, stdin=self.text(f"arguments-{number}.", to, cc, bcc))
                self.judge(f"arguments-{number}.", "strip", [*everybody, EXTRA], bcc, [EXTRA])

    def test_listeners(self):
        for name, port in self.ports.items():
            policy = name.split("-")[1]
            if policy == "default":
                policy = "strip" if name.startswith("submission") else "keep"
            with smtplib.SMTP("127.0.0.1", port) as client:
                for number, (to, cc, bcc) in enumerate(COMBINATIONS):
                    with self.subTest(name, to=to, cc=cc, bcc=bcc):
                        token = f"{name}-{number}."
                        everybody = [*to, *cc, *bcc, EXTRA]
                        client.sendmail("a@x.test", everybody, self.text(token, to, cc, bcc).replace("\n", "\r\n"))
            for number, (to, cc, bcc) in enumerate(COMBINATIONS):
                with self.subTest(name, to=to, cc=cc, bcc=bcc):
                    self.judge(f"{name}-{number}.", policy, [*to, *cc, *bcc, EXTRA], bcc, [EXTRA])

    def test_kept_octets(self):
        """keep on a listener for relaying: not an octet is touched, odd header or none."""
        odd = [b"bcc :  A <a@x.test> (c)\r\n\t, b@x.test\r\nfrom: bare\r\n\r\nbody\r\n", b"no header\r\n", b"\r\nbody\r\n",
               b"Bcc: x@y.test\r\n\r\n"]
        for number, text in enumerate(odd):
            with smtplib.SMTP("127.0.0.1", self.ports["smtp-default"]) as client:
                client.sendmail("a@x.test", [f"odd{number}@out.test"], text)
            self.out.wait(number + 1)
            self.assertEqual(text, self.body(self.out.to(f"odd{number}@out.test")[0]))

    def test_split_refusals(self):
        with smtplib.SMTP("127.0.0.1", self.ports["submission-split"]) as client:
            for text, code in ((b"Bcc: a b@c\r\n\r\nx\r\n", 550), (b"Bcc: " + b"x@y.test,\r\n " * 9000 + b"a@b\r\n\r\nx\r\n", 550),
                               (b"To: a@b\r\n" + b"X-Y: z\r\n" * 150000 + b"Bcc: c@out.test\r\n\r\nx\r\n", 552)):
                with self.assertRaises(smtplib.SMTPDataError) as caught:
                    client.sendmail("a@x.test", ["c@out.test"], text)
                self.assertEqual(code, caught.exception.smtp_code, caught.exception.smtp_error)
            everybody = [f"b{i}@out.test" for i in range(120)]
            with self.assertRaises(smtplib.SMTPDataError) as caught:
                client.sendmail("a@x.test", everybody, "Bcc: " + ",\r\n ".join(everybody) + "\r\n\r\nx\r\n")
            self.assertEqual(452, caught.exception.smtp_code)
        self.assertEqual(([], []), (self.out.messages, self.m.list()))


if __name__ == "__main__":
    main()
