#!/usr/bin/python3
"""The example of a small company (etc/examples/company), run as it stands but for paths, ports and addresses."""
import glob
import os

import support  # noqa: F401
from case import TOP, Case, give, main
from ports import free_port
from waiting import wait_until

ZONE = """
abroad IN MX 10 mx.abroad
mx.abroad IN A 127.0.0.2
partner IN MX 10 wrong
gate1.partner IN A 127.0.0.3
gate2.partner IN A 127.0.0.4
bigmail IN MX 10 mx.bigmail
mx.bigmail IN A 127.0.0.6
friend IN MX 10 mx.friend
friend IN MX 20 mail.company
mx.friend IN A 127.0.0.5
mail.company IN A 127.0.0.1
"""
EXAMPLE = os.path.join(TOP, "etc", "examples", "company")


class Company(Case):
    def world(self):
        port = free_port()
        self.mail = self.subfolder("mail")
        self.ticket = self.file("ticket", f"#!/bin/sh\ncat > {self.mail}/ticket.$$\n")
        os.chmod(self.ticket, 0o755)
        changes = {".example": ".test", "/etc/mansio/": self.folder + "/", "/var/mail/": self.mail + "/",
                   "/usr/local/bin/ticket": self.ticket, "]:25": f"]:{port}",
                   'deliver = "mx"': f'deliver = "relay:[mx.friend.test]:{port}"'}  # port 25 is not ours here
        texts = {}
        for name in ("mansio.conf", "aliases", "virtual", "users", "staff"):
            with open(os.path.join(EXAMPLE, name)) as f:
                texts[name] = f.read()
            for old, new in changes.items():
                texts[name] = texts[name].replace(old, new)
            if name != "mansio.conf":
                self.file(name, texts[name])
        os.chmod(give(self.file("srs.keys", "a key of the test's own\n")), 0o600)
        ours = ("hostname", "listen", "relay_from", 'route "*"')
        config = "\n".join(x for x in texts["mansio.conf"].splitlines() if not x.startswith(ours))
        self.abroad = self.sink(port=port, address="127.0.0.2")
        self.gate2 = self.sink(port=port, address="127.0.0.4")
        self.friend = self.sink(port=port, address="127.0.0.5")
        self.bigmail = self.sink(port=port, address="127.0.0.6")
        return self.mansio(dns=self.dns(ZONE), mx_port=port, hostname="mail.company.test", relay=False, config=config)

    def box(self, user):
        return len(glob.glob(f"{self.mail}/company.test/{user}/new/*"))

    def test_the_file_as_it_stands(self):
        m = self.world()
        with open(os.path.join(EXAMPLE, "mansio.conf")) as f:
            text = f.read().replace("/etc/mansio/srs.keys", self.path("srs.keys"))
        r = m.check(self.file("mansio.conf", text))
        self.assertEqual((0, ""), (r.returncode, r.stderr))

    def test_who_is_known(self):
        m = self.world()
        with m.client() as c:
            c.ehlo()
            c.mail("x@abroad.test")
            for address, code in (("user07@company.test", 250), ("User07+shop@company.test", 250),
                                  ("user51@company.test", 550), ("boss@company.test", 250),
                                  ("info@shop.test", 250), ("user07@shop.test", 550),
                                  ("postmaster@shop.test", 250), ("user07@old-company.test", 250),
                                  ("anybody@friend.test", 250), ("x@partner.test", 550),
                                  ("abuse@company.test", 250)):
                self.assertEqual(code, c.rcpt(address)[0], address)

    def test_who_gets_what(self):
        m = self.world()
        m.send("x@abroad.test", ["info@shop.test", "boss@company.test", "user05@old-company.test",
                                    "user06+tag@company.test", "one@friend.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        self.assertEqual([1, 0, 1, 1, 1, 1], [self.box(f"user0{i}") for i in (1, 2, 3, 4, 5, 6)])
        self.assertEqual(1, len(glob.glob(self.mail + "/ticket.*")))
        self.assertEqual([["user05@abroad.test"]], [x.recipients for x in self.abroad.messages])
        self.assertEqual([["one@friend.test"]], [x.recipients for x in self.friend.messages])
        m.send("x@abroad.test", ["staff@company.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        self.assertEqual(50 + 5, sum(self.box(f"user{i:02}") for i in range(1, 51)))
        wait_until(lambda: len(self.abroad.messages) == 2, 20, "the copy abroad")
        self.assertEqual("owner-staff@company.test",
                         self.abroad.messages[1].sender)

    def test_forwarded_to_a_big_provider(self):
        m = self.world()
        m.send("x@abroad.test", ["user10@company.test"], "Subject: t\n\nx\n")
        m.send("user03@company.test", ["user10@company.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        senders = sorted(x.sender for x in self.bigmail.messages)
        self.assertEqual([["user10.company@bigmail.test"]] * 2, [x.recipients for x in self.bigmail.messages])
        self.assertRegex(senders[0], r"^SRS0=.{4}=..=abroad\.test=x@company\.test$")
        self.assertEqual("user03@company.test", senders[1])
        m.send("", [senders[0]], "Subject: bounce\n\nx\n")
        m.wait_empty()
        self.assertEqual(["x@abroad.test"], self.abroad.messages[-1].recipients)

    def test_hosts_are_not_shown(self):
        m = self.world()
        r = self.run_program([m.program("sendmail"), "-C", m.conf, "-f", "user07@desk7.company.test", "x@abroad.test"],
                             stdin="From: User 7 <user07@desk7.company.test>\n\nx\n")
        self.assertEqual((0, ""), (r.returncode, r.stderr))
        m.wait_empty()
        self.assertEqual("user07@company.test", self.abroad.messages[0].sender)
        self.assertIn(b"\r\nFrom: User 7 <user07@company.test>\r\n", self.abroad.messages[0].content)


if __name__ == "__main__":
    main()
