#!/usr/bin/python3
"""queuectl explain, trace, lanes, pause and route on a live daemon."""
import json

import support  # noqa: F401
from case import Case, main
from waiting import wait_until

ROUTES = """
route "held.test" {{ via = "hold" }}
route "bad.test" {{ via = "error:5.1.1 nobody here" }}
domain "here.test" {{ deliver = "discard" }}
route "*" {{ via = "relay:[127.0.0.1]:{}" }}
"""


class Why(Case):
    def start(self, **sink):
        self.hop = self.sink(**sink)
        self.m = self.mansio(config=ROUTES.format(self.hop.port), retry='plan = { "1h" } jitter = 0')
        self.lane = f"relay:[127.0.0.1]:{self.hop.port}"

    def ctl(self, *args, ok=0):
        r = self.m.queuectl(*args)
        self.assertEqual(ok, r.returncode, r.stdout + r.stderr + self.m.log_tail())
        return r

    def test_explain_and_trace(self):
        self.start(script={"rcpt": lambda s, arg: b"450 4.2.0 greylisted, come back\r\n" if b"b@one" in arg else None})
        id = self.m.send("a@sender.test", ["b@one.test"], "Message-ID: <m1@x.test>\nSubject: hm\n\nx\n")
        self.m.wait_recipient("b@one.test", state="deferred", attempts=1)
        why = self.ctl("explain", id).stdout
        self.assertIn("greylisted, come back", why)
        self.assertIn("the plan has 1h00m behind attempt 1", why)
        self.assertIn("Its sender is warned of the delay", why)
        self.assertIn(f"queuectl retry {id}", why)
        self.assertIn("The last dialogue:", why)
        self.assertIn("whom it dialed:\n    dial [127.0.0.1]:%d: connected\n" % self.hop.port, why)
        facts = json.loads(self.ctl("--json", "explain", id).stdout)
        self.assertEqual(self.lane, facts["lanes"][0]["lane"])
        self.assertTrue(facts["why"])
        self.assertEqual(1, len(facts["findings"]))
        for name in (id, "<m1@x.test>", "m1@x.test", "a@sender.test", "b@one.test"):
            self.assertIn("deferred", self.ctl("trace", name).stdout)
        self.ctl("hold", id)
        self.assertIn(f"held until `queuectl release {id}`", self.ctl("explain", id).stdout)
        self.ctl("delete", id)
        self.assertIn("takes it back", self.ctl("explain", id).stdout)
        self.ctl("undo", id)
        self.ctl("--now", "bounce", id)
        self.m.wait_empty()
        life = self.ctl("trace", "m1@x.test").stdout
        self.assertRegex(life, "deferred .*(?s:.*)failed .*")
        self.assertRegex(life, "queued .* which caused ")
        self.assertIn("no longer in the queue", self.ctl("explain", id).stdout)
        self.ctl("trace", "nobody@nowhere.test", ok=1)
        self.ctl("explain", "zzzzzz", ok=1)

    def test_explain_shows_what_the_dns_said(self):
        names = self.dns("one IN MX 10 mx1.one\none IN MX 20 mx2.one\nmx1.one IN A 127.0.0.77\n")
        self.m = self.mansio(dns=names, mx_port=9, retry='plan = { "1h" } jitter = 0')
        id = self.m.send("a@sender.test", ["b@one.test"], "Subject: hm\n\nx\n")
        self.m.wait_recipient("b@one.test", state="deferred", attempts=1)
        found = json.loads(self.ctl("--json", "explain", id).stdout)["findings"]
        self.assertIn("dns MX one.test: 10 mx1.one.test, 20 mx2.one.test", found)
        self.assertTrue([line for line in found if line.startswith("dns A mx1.one.test: 127.0.0.77")], found)
        self.assertTrue([line for line in found if line.startswith("dns A mx2.one.test: no such")], found)
        self.assertTrue([line for line in found if line.startswith("dial mx1.one.test [127.0.0.77]:9: ")], found)

    def test_lanes_are_suspended_over_a_restart(self):
        self.start()
        self.ctl("lanes", "suspend", self.lane)
        self.m.send("a@sender.test", ["b@one.test"], "Subject: x\n\nx\n")
        self.assertIn("suspended", self.ctl("lanes").stdout)
        self.m.stop()
        self.m.start()
        lane = json.loads(self.ctl("--json", "lanes", "relay:*").stdout)
        self.assertEqual(("suspended", self.lane), (lane["state"], lane["lane"]))
        id = self.m.list()[0]["id"]
        self.assertIn("is suspended by the postmaster", self.ctl("explain", id).stdout)
        self.ctl("lanes", "limit", self.lane, "concurrency=2")
        self.assertEqual(2, json.loads(self.ctl("--json", "lanes", "relay:*").stdout)["slots_limit"])
        self.ctl("lanes", "resume", self.lane)
        self.hop.wait(1, more=self.m.log_tail)
        self.m.wait_empty()
        lane = json.loads(self.ctl("--json", "lanes", "relay:*").stdout)
        self.assertGreater(lane["out_15m"], 0)
        self.assertGreaterEqual(lane["out_1m"], lane["out_5m"])
        self.ctl("lanes", "limit", self.lane, "many", ok=64)

    def test_doors(self):
        self.start()
        self.ctl("pause", "delivering")
        self.m.send("a@sender.test", ["b@one.test"], "Subject: x\n\nx\n")
        self.ctl("pause", "accepting")

        def refused():
            with self.m.client() as c:
                c.ehlo()
                return c.mail("a@sender.test")[0] == 452
        wait_until(refused, 20)
        self.m.stop()
        self.m.start()  # both are kept
        wait_until(refused, 20)
        self.ctl("unpause", "accepting")
        wait_until(lambda: not refused(), 20)
        self.assertEqual([], self.hop.messages)
        self.ctl("unpause", "delivering")
        self.hop.wait(1, more=self.m.log_tail)
        self.ctl("pause", "everything", ok=64)

    def test_route(self):
        self.start()
        for address, words in (("x@one.test", self.lane), ("x@HELD.test", "is kept until released"),
                               ("x@bad.test", "is refused with 5.1.1"), ("x@here.test", "is thrown away")):
            self.assertIn(words, self.ctl("route", address).stdout)
        self.assertEqual("lane", json.loads(self.ctl("--json", "route", "x@one.test").stdout)["decision"])


if __name__ == "__main__":
    main()
