#!/usr/bin/python3
"""queuectl and mailq on a live daemon: listings, filters, changes."""
import json

import support  # noqa: F401
from case import Case, main
from waiting import wait_until

HOLD = 'route "*" { via = "hold" }'


class Desk(Case):
    def setUp(self):
        super().setUp()
        self.m = self.mansio(config=HOLD)

    def fill(self, count, sender="a{}@here.test", to="b{}@one.test"):
        return [self.m.send(sender.format(i), [to.format(i)], f"Subject: number {i}\n\nx\n") for i in range(count)]

    def ctl(self, *args, ok=0):
        r = self.m.queuectl(*args)
        self.assertEqual(ok, r.returncode, r.stdout + r.stderr + self.m.log_tail())
        return r

    def count(self, *query):
        r = json.loads(self.ctl("--json", "count", *query).stdout)
        self.assertEqual(1, r["v"])
        return r["messages"], r["recipients"]

    def ids(self, *query):
        return [json.loads(line)["id"] for line in self.ctl("--json", "list", *query).stdout.splitlines()]


class Listing(Desk):
    def test_the_traditional_listing(self):
        self.assertEqual("Mail queue is empty\n", self.m.mailq().stdout)
        self.fill(1)
        self.assertEqual("-- 1 Kbytes in 1 Requests.", self.m.mailq().stdout.splitlines()[-1])
        self.fill(1)
        lines = self.m.mailq().stdout.splitlines()
        self.assertEqual("-- 1 Kbytes in 2 Requests.", lines[-1])
        self.assertIn("-Queue ID-", lines[0])

    def test_filters_choose(self):
        ids = self.fill(3)
        other = self.m.send("", ["x@two.test", "b0@one.test"], "Subject: \x1b[31mred\nMessage-ID: <m1@x>\n\nx\n")
        self.assertEqual((4, 5), self.count())
        self.assertEqual((1, 2), self.count('from=""'))
        self.assertEqual((4, 4), self.count("domain=one.test"))
        self.assertEqual((2, 2), self.count("to=b0@one.test"))
        self.assertEqual([ids[1]], self.ids("subject~number", "from=a1@*"))
        self.assertEqual([ids[1], other], sorted(self.ids(ids[1], "or", "message-id=<m1@x>")))
        self.assertEqual([], self.ids("age>1h or size>1M or attempts>0 or not held"))
        self.assertEqual([ids[2], ids[0]], self.ids(ids[2], ids[0]))
        self.assertEqual((4, 5), self.count("age<1h held origin=smtp client=127.0.0.1 lane=mx:*"))
        shown = self.ctl("show", "from=\"\"").stdout
        self.assertIn("[31mred", shown)
        self.assertNotIn("\x1b", shown)

    def test_a_wrong_filter_is_marked(self):
        r = self.ctl("list", "held and domian=one.test", ok=64)
        self.assertEqual(["queuectl: unknown field; did you mean domain?", "  held and domian=one.test",
                          "           ^^^^^^"], r.stderr.splitlines())
        r = self.ctl("hodl", "all", ok=64)
        self.assertIn("did you mean hold?", r.stderr)
        r = self.ctl("delete", "from=a", "state=defered", ok=64)
        self.assertIn("did you mean deferred?", r.stderr)


class Changes(Desk):
    def test_hold_and_release_by_filter(self):
        self.fill(5)
        self.assertIn("3 messages, 3 recipients released",
                      self.ctl("release", "to=b0@* or to=b1@* or to=b2@*").stdout)
        wait_until(lambda: self.count("not held")[0] == 3, 20)
        r = json.loads(self.ctl("--json", "hold", "to=b1@one.test").stdout)
        self.assertEqual({"v": 1, "verb": "hold", "messages": 1, "recipients": 1, "missing": 0}, r)
        wait_until(lambda: self.count("held")[0] == 3, 20)
        self.assertEqual(2, len(self.m.events("control")))

    def test_many_want_a_yes(self):
        with self.m.client() as c:
            c.sendmail("a@here.test", [f"b{i}@one.test" for i in range(101)], b"Subject: many\r\n\r\nx\r\n")
        r = self.ctl("hold", "held", ok=1)
        self.assertIn("101 recipients wants --yes", r.stderr)
        self.assertIn("would delete: 101 recipients of 1 messages", self.ctl("--dry-run", "delete", "held").stdout)
        self.assertIn("101 recipients released", self.ctl("--yes", "release", "held").stdout)
        self.assertEqual((1, 101), self.count())

    def test_a_deletion_can_be_taken_back(self):
        ids = self.fill(3)
        self.assertIn("1 message, 1 recipient deleted in an hour", self.ctl("delete", ids[0]).stdout)
        self.assertEqual((1, 1), self.count("state=leaving"))
        self.assertIn("1 recipient taken back", self.ctl("undo", ids[0]).stdout)
        self.assertEqual((3, 3), self.count("held"))
        self.ctl("--now", "delete", ids[0])
        self.assertEqual((2, 2), self.count())
        self.assertIn("deleted", self.ctl("show", ids[0]).stdout)
        r = self.ctl("delete", ids[0], ids[1], ok=1)
        self.assertIn("1 of these ids is not in the queue", r.stderr)
        self.m.stop()
        self.m.start()
        self.assertEqual((1, 1), self.count("state=leaving"))  # a restart keeps what was decided
        self.assertIn("the queue is sound", self.ctl("fsck").stdout)

    def test_bounce_and_reroute(self):
        sink = self.sink()
        ids = self.fill(2)
        self.ctl("--now", "--reason", "closed for good", "bounce", ids[0])
        wait_until(lambda: self.ids("origin=dsn"), 20)
        to = f"relay:[127.0.0.1]:{sink.port}"
        self.ctl("reroute", "origin=dsn", "or", ids[1], to)
        self.assertEqual((2, 2), self.count(f"lane={to}"))
        self.ctl("release", "all", "--yes")
        mails = sink.wait(2, more=self.m.log_tail)
        dsn = next(mail for mail in mails if mail.sender == "")
        self.assertIn(b"closed for good", dsn.content)
        self.assertEqual(["a0@here.test"], dsn.recipients)
        self.m.wait_empty()
        self.ctl("--yes", "reroute", "all", "nonsense:here", ok=64)

    def test_offline(self):
        ids = self.fill(2)
        self.m.stop()
        self.assertEqual((1, 1), self.count("to=b1@one.test"))
        self.assertEqual(ids, self.ids())
        r = self.ctl("hold", "all", "--yes", ok=69)
        self.assertIn("mansiod -c", r.stderr)


if __name__ == "__main__":
    main()
