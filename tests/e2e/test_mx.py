#!/usr/bin/python3
"""Where mail goes: every case of MX and address look-ups against knot, each ending as the contract says."""
import json
import time
import unittest

import support  # noqa: F401
from case import Case, figure, main
from ports import free_port, has_ipv6
from report import Report
from sink import Unanswering
from waiting import wait_until

ZONE = """
back       IN MX 10 mx.back
mx.back    IN A 127.0.0.9
one        IN MX 10 mx.one
mx.one     IN A 127.0.0.2
prefer     IN MX 20 mx.one
prefer     IN MX 10 closed
closed     IN A 127.0.0.3
implicit   IN A 127.0.0.2
null       IN MX 0 .
nullplus   IN MX 0 .
nullplus   IN MX 10 mx.one
alias      IN CNAME one
mxalias    IN MX 10 toone
toone      IN CNAME mx.one
us         IN MX 10 mx.here
usworse    IN MX 10 mx.here
usworse    IN MX 20 mx.one
usbetter   IN MX 5 closed
usbetter   IN MX 10 mx.here
usbetter   IN MX 20 mx.one
nodata     IN TXT "nothing for mail"
ghosts     IN MX 10 ghost1.nowhere
ghosts     IN MX 20 ghost2.nowhere
ghostone   IN MX 10 ghost1.nowhere
ghostone   IN MX 20 mx.one
ghosta     IN MX 10 ghost1.nowhere
ghosta     IN A 127.0.0.2
sick       IN MX 10 mx.servfail
sickone    IN MX 10 mx.servfail
sickone    IN MX 20 mx.one
slow-900   IN MX 10 mx.one
six        IN MX 10 mx.six
mx.six     IN AAAA ::1
both       IN MX 10 mx.both
mx.both    IN AAAA ::1
mx.both    IN A 127.0.0.2
two        IN MX 10 mx.two
mx.two     IN A 127.0.0.3
mx.two     IN A 127.0.0.2
""" + "".join(f"big IN MX {100 + i} closed-{i}.a-rather-long-name-to-fill-the-packet.big\n" for i in range(80)) + \
    "big IN MX 10 mx.one\n"


class Mx(Case):
    def world(self, config="", **kwargs):
        self.port = free_port()
        kwargs["config"] = config.replace("port = 0", f"port = {self.port}")
        self.names = self.dns(ZONE)
        self.one = self.sink(self.port, "127.0.0.2")
        self.back = self.sink(self.port, "127.0.0.9")
        kwargs.setdefault("retry", 'plan = { "1h" }')
        return self.mansio(dns=self.names, mx_port=self.port, **kwargs)

    def delivered(self, m, domain, sink, seconds=20):
        m.send("sender@back.test", [f"r@{domain}"], f"Subject: {domain}\n\nx\n")
        wait_until(lambda: sink.to(f"r@{domain}"), seconds, lambda: f"delivery to {domain}\n" + m.log_tail())

    def test_delivered(self):
        m = self.world()
        for domain in ("one.test", "prefer.test", "implicit.test", "alias.test", "mxalias.test",
                       "ghostone.test", "slow-900.test", "[127.0.0.2]", "big.test", "two.test", "sickone.test"):
            with self.subTest(domain):
                self.delivered(m, domain, self.one)
        self.assertGreater(self.names.count["tcp"], 0, "the large answer came over TCP")
        m.wait_empty()
        self.assertEqual([], self.back.messages)

    def test_failed_at_once(self):
        m = self.world()
        cases = {"null.test": ("5.1.10",), "no-such-name.test": ("5.1.2",), "nodata.test": ("5.4.4", "5.1.2"),
                 "ghosts.test": ("5.4.4",), "ghosta.test": ("5.4.4",), "us.test": ("5.4.6",), "usworse.test": ("5.4.6",)}
        ids = {}
        for domain in cases:
            ids[domain] = m.send("sender@back.test", [f"r@{domain}"], f"Subject: to {domain}\nX-Mark: 1\n\nbody\n")
        self.back.wait(len(cases), more=m.log_tail)
        m.wait_empty()
        self.assertEqual(len(cases), len(self.back.messages))
        for message in self.back.messages:
            self.assertEqual(("", ["sender@back.test"]), (message.sender, message.recipients))
            report = Report(message.content)
            domain = report.recipients[0]["Final-Recipient"].split("@")[1]
            with self.subTest(domain):
                r = report.recipient(f"r@{domain}")
                self.assertEqual(1, len(report.recipients))
                self.assertEqual("failed", r["Action"])
                self.assertIn(r["Status"].split()[0], cases[domain])
                self.assertEqual("dns; mx.here.test", report.head["Reporting-MTA"])
                self.assertEqual(f"to {domain}", report.returned_field("Subject"))
                self.assertIsNone(r["Remote-MTA"])
        self.assertEqual([], self.one.messages)

    def test_deferred(self):
        m = self.world()
        cases = ("servfail.test", "refused.test", "silent.test", "garbage.test", "short.test", "wrongid.test",
                 "formerr.test", "notimp.test", "sick.test")
        for domain in cases:
            m.send("sender@back.test", [f"r@{domain}"], "Subject: x\n\nx\n")
        for domain in cases:
            with self.subTest(domain):
                r = m.wait_recipient(f"r@{domain}", 40, state="deferred", attempts=lambda n: n >= 1)
                self.assertIn("4.4.3", r["reply"])
        with self.subTest("usbetter.test"):
            m.send("sender@back.test", ["r@usbetter.test"], "Subject: x\n\nx\n")
            m.wait_recipient("r@usbetter.test", state="deferred")
        self.assertEqual([], self.one.messages, "a worse preference than ours must not be used")
        self.assertEqual([], self.back.messages, "nothing is bounced for a fault of the DNS")

    def test_doctor_looks_at_domains_that_we_back_up(self):
        m = self.world(config="".join(f'domain "{d}.test" {{ deliver = "mx" }}\n' for d in ("usbetter", "usworse", "one", "sick", "no-such-name")))
        found = {}
        for line in m.queuectl("--json", "doctor").stdout.splitlines():
            finding = json.loads(line)
            if finding["check"] == "backup-mx":
                found[finding["text"].split(":")[0]] = finding
        self.assertEqual({"usbetter.test": "ok", "usworse.test": "problem", "one.test": "warning", "sick.test": "warning",
                          "no-such-name.test": "warning"}, {d: f["verdict"] for d, f in found.items()}, found)
        self.assertIn("1 better", found["usbetter.test"]["text"])
        self.assertIn("5.4.6", found["usworse.test"]["text"])

    def test_ourselves_by_address(self):
        """An MX host whose address and port are ours is us, whatever its name."""
        port = free_port()
        names = self.dns("back IN MX 1 mx.back\nmx.back IN A 127.0.0.9\nloop IN MX 10 some.loop\nsome.loop IN A 127.0.0.1\n")
        back = self.sink(port, "127.0.0.9")
        m = self.mansio(dns=names, mx_port=port, port=port)
        m.send("sender@back.test", ["r@loop.test"], "Subject: x\n\nx\n")
        report = Report(back.wait(1, more=m.log_tail)[0].content)
        self.assertEqual("5.4.6", report.recipient("r@loop.test")["Status"].split()[0])
        m.wait_empty()

    def test_source_of_a_sender_domain(self):
        """Mail of one sender domain goes out from its own address, under its own name, and never in another's connection."""
        m = self.world(config='source "shop" { address = "127.0.0.77"  helo = "out.shop.test" }\n'
                       'route "from:@shop.test" { via = "mx"  source = "shop" }\n'
                       'source "away" { address = "192.0.2.1" }\n'
                       'route "from:@away.test" { via = "mx"  source = "away" }\n')
        self.delivered(m, "one.test", self.one)
        m.send("boss@shop.test", ["s1@one.test", "s2@one.test"], "Subject: from the shop\n\nx\n")
        m.send("sender@back.test", ["plain@one.test"], "Subject: as the host\n\nx\n")
        m.send("x@away.test", ["r@prefer.test"], "Subject: from an address that is not here\n\nx\n")
        wait_until(lambda: self.one.to("s2@one.test") and self.one.to("plain@one.test"), 20, m.log_tail)
        shop, plain = self.one.to("s2@one.test")[0], self.one.to("plain@one.test")[0]
        self.assertEqual(("127.0.0.77", "out.shop.test"), (shop.peer, shop.helo.decode()))
        self.assertEqual(["s1@one.test", "s2@one.test"], sorted(shop.recipients))
        self.assertEqual(b"mx.here.test", plain.helo)
        self.assertNotEqual("127.0.0.77", plain.peer)
        r = m.wait_recipient("r@prefer.test", state="deferred", attempts=1)
        self.assertEqual("mx:prefer.test/away", r["lane"])
        self.assertIn("4.4.1", r["status"] if "status" in r else r["reply"])

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_families_of_a_route(self):
        m = self.world(config='source "four" { families = "ipv4" }\nroute "both.test" { via = "mx"  port = 0  source = "four" }\n'
                       'source "six" { address = "::1" }\nroute "one.test" { via = "mx"  port = 0  source = "six" }\n')
        six = self.sink(self.port, "::1")
        self.delivered(m, "both.test", self.one)
        m.send("sender@back.test", ["r@one.test"], "Subject: it has no IPv6 address\n\nx\n")
        report = Report(self.back.wait(1, more=m.log_tail)[0].content)
        self.assertEqual("5.4.4", report.recipient("r@one.test")["Status"].split()[0])
        self.assertEqual([], six.messages)

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_ipv6(self):
        m = self.world()
        six = self.sink(self.port, "::1")
        self.delivered(m, "six.test", six)

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_dead_ipv6_costs_seconds(self):
        m = self.world()
        dead = Unanswering(self.port)
        self.addCleanup(dead.close)
        began = time.monotonic()
        self.delivered(m, "both.test", self.one, 60)
        took = time.monotonic() - began
        figure(f"past a dead IPv6 address in {took:.1f} s")
        self.assertLess(took, 10)


if __name__ == "__main__":
    main()
