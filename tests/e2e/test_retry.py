#!/usr/bin/python3
"""What is tried again, what is not, and what the sender is told."""
import time

import support  # noqa: F401
from case import Case, main
from ports import free_port
from report import Report
from sink import DROP, HANG, RESET, then, without_trace
from waiting import wait_until

ZONE = """
back IN MX 10 mx.back
mx.back IN A 127.0.0.9
one IN MX 10 mx.one
mx.one IN A 127.0.0.2
two IN MX 10 mx.one
two IN MX 20 mx.two
mx.two IN A 127.0.0.3
"""
TEXT = "From: s@back.test\nSubject: the subject\n\nbody\n"


class Retry(Case):
    def world(self, script=None, retry='plan = { "300ms", "600ms", "900ms" } jitter = 0', **kwargs):
        self.port = free_port()
        self.one = self.sink(self.port, "127.0.0.2", script)
        self.back = self.sink(self.port, "127.0.0.9")
        config = kwargs.pop("config", "").replace("%(port)d", str(self.port))
        return self.mansio(dns=self.dns(ZONE), mx_port=self.port, retry=retry, config=config, **kwargs)

    def test_4xx_then_delivered(self):
        m = self.world({"rcpt": [b"451 4.7.1 greylisted\r\n", b"451 4.7.1 greylisted\r\n", None]})
        m.send("s@back.test", ["r@one.test"], TEXT)
        self.one.wait(1, more=m.log_tail)
        m.wait_empty()
        deferred = m.events("deferred")
        self.assertEqual(2, len(deferred), m.log_tail())
        self.assertIn("greylisted", deferred[0]["reply"])
        self.assertEqual([], self.back.messages)

    def test_listed_while_deferred(self):
        m = self.world({"rcpt": b"451-4.7.1 grey\r\n451 4.7.1 listed\r\n"}, retry='plan = { "1h" } jitter = 0')
        now = time.time()
        id = m.send("s@back.test", ["r@one.test"], TEXT)
        r = m.wait_recipient("r@one.test", state="deferred", attempts=1)
        self.assertIn("451", r["reply"])
        self.assertIn("listed", r["reply"])
        self.assertAlmostEqual(now + 3600, r["next_try"], delta=60)
        self.assertEqual((1, id, "s@back.test", "mx:one.test"),
                         (m.list()[0]["v"], r["id"], r["sender"], r["lane"]))
        self.one.script = {}
        self.assertEqual(0, m.queuectl("retry", "all").returncode)
        self.one.wait(1, more=m.log_tail)
        m.wait_empty()

    def test_partial_recipients(self):
        def rcpt(session, argument):
            if b"never@" in argument:
                return b"550 5.1.1 nobody here by that name\r\n"
            if b"later@" in argument and len(self.one.messages) < 1:
                return b"450 4.2.0 busy mailbox\r\n"
            return None
        m = self.world({"rcpt": rcpt})
        m.send("s@back.test", ["now@one.test", "never@one.test", "later@one.test"], TEXT)
        self.one.wait(2, more=m.log_tail)
        self.back.wait(1, more=m.log_tail)
        m.wait_empty()
        self.assertEqual([["now@one.test"], ["later@one.test"]], [x.recipients for x in self.one.messages])
        report = Report(self.back.messages[0].content)
        r = report.recipient("never@one.test")
        self.assertEqual(1, len(report.recipients))
        self.assertEqual(("failed", "5.1.1", "dns; mx.one.test"), (r["Action"], r["Status"], r["Remote-MTA"]))
        self.assertEqual("smtp; 550 5.1.1 nobody here by that name", r["Diagnostic-Code"])
        self.assertIn("nobody here by that name", report.text)
        self.assertEqual("the subject", report.returned_field("Subject"))
        self.assertEqual("auto-replied", report.message["Auto-Submitted"])
        self.assertEqual("MAILER-DAEMON@mx.here.test", report.message["From"].addresses[0].addr_spec)

    def test_too_many_recipients_are_split(self):
        def rcpt(session, argument):
            return b"452 4.5.3 too many recipients\r\n" if len(session.rcpts) >= 7 else None
        m = self.world({"rcpt": rcpt})
        names = [f"r{i}@one.test" for i in range(20)]
        m.send("s@back.test", names, TEXT)
        self.one.wait(3, more=m.log_tail)
        m.wait_empty()
        self.assertEqual(sorted(names), sorted(r for x in self.one.messages for r in x.recipients))

    def test_lost_connections(self):
        """Each is tried again and comes once; only one lost after the final dot may come twice."""
        for key, answer in (("greeting", DROP), ("greeting", b"421 4.3.2 closing\r\n"), ("ehlo", DROP),
                            ("mail", DROP), ("mail", b"421 4.3.2 closing\r\n"), ("rcpt", RESET), ("data", DROP),
                            ("content", DROP), ("dot", b"451 4.3.0 disk\r\n"), ("rcpt", then(b"25", DROP))):
            with self.subTest(f"{key} {answer if isinstance(answer, bytes) else answer.kind}"):
                m = self.world({key: [answer, None]})
                if key == "content":
                    m.tolerate("delivery_uncertain")  # so small a message was all sent before the connection broke
                m.send("s@back.test", ["r@one.test"], TEXT)
                self.one.wait(1, more=m.log_tail)
                m.wait_empty()
                self.assertEqual(1, len(self.one.messages))
                m.stop()

    def test_uncertain(self):
        m = self.world({"dot": [DROP, None]})
        m.announce("delivery_uncertain")
        m.send("s@back.test", ["r@one.test"], TEXT)
        self.one.wait(1, more=m.log_tail)
        m.wait_empty()
        self.assertEqual(2, len(self.one.everything), "the second copy is the one after the lost reply")
        self.assertEqual(without_trace(self.one.everything[0].content), without_trace(self.one.everything[1].content))

    def test_next_host(self):
        """4yz or silence of one MX host leads to the next."""
        for key, answer in (("greeting", b"454 4.3.2 not now\r\n"), ("greeting", b"554 5.3.2 no service\r\n"),
                            ("greeting", DROP), ("greeting", HANG)):
            with self.subTest(f"{key} {answer if isinstance(answer, bytes) else answer.kind}"):
                m = self.world({key: answer}, timeouts='greeting = "2s"', retry='plan = { "1h" }')
                two = self.sink(self.port, "127.0.0.3")
                m.send("s@back.test", ["r@two.test"], TEXT)
                two.wait(1, more=m.log_tail)
                m.wait_empty()
                m.stop()

    def test_5xx_greeting_of_all_hosts(self):
        m = self.world({"greeting": b"554 5.3.2 no mail here\r\n"}, retry='plan = { "1h" }')
        m.send("s@back.test", ["r@one.test"], TEXT)
        report = Report(self.back.wait(1, more=m.log_tail)[0].content)
        self.assertEqual("failed", report.recipients[0]["Action"])
        self.assertIn("no mail here", report.recipients[0]["Diagnostic-Code"])
        m.wait_empty()

    def test_helo_only(self):
        m = self.world({"ehlo": b"502 5.5.1 what?\r\n"})
        m.send("s@back.test", ["r@one.test"], TEXT)
        self.one.wait(1, more=m.log_tail)
        self.assertTrue(any(c.startswith(b"HELO ") for s in self.one.sessions for c in s.commands))

    def test_refused_message(self):
        m = self.world({"dot": b"554-5.7.1 we do not like\r\n554 5.7.1 the content\r\n"})
        m.send("s@back.test", ["r@one.test", "q@one.test"], TEXT)
        report = Report(self.back.wait(1, more=m.log_tail)[0].content)
        self.assertEqual({"5.7.1"}, {r["Status"] for r in report.recipients})
        self.assertEqual(2, len(report.recipients), "recipients that fail together stand in one report")
        self.assertIn("the content", report.recipients[0]["Diagnostic-Code"])
        m.wait_empty()
        self.assertEqual(1, len(self.back.messages))

    def test_null_sender_is_never_told(self):
        m = self.world({"rcpt": b"550 5.1.1 no\r\n"})
        m.announce("double_bounce")
        m.send("", ["r@one.test"], TEXT)
        m.wait_event("double_bounce")
        m.wait_empty()
        self.assertEqual([], self.back.messages)

    def test_warned_then_given_up(self):
        m = self.world({"rcpt": b"451 4.2.1 still busy\r\n"},
                       retry='plan = { "300ms" } jitter = 0 warn_after = "1s" give_up_after = "3s"')
        m.send("s@back.test", ["r@one.test"], TEXT)
        self.back.wait(2, more=m.log_tail)
        m.wait_empty()
        reports = [Report(x.content) for x in self.back.messages]
        self.assertEqual(["delayed", "failed"], [r.recipients[0]["Action"] for r in reports])
        self.assertTrue(reports[0].recipients[0]["Status"].startswith("4."))
        self.assertTrue(reports[0].recipients[0]["Will-Retry-Until"])
        self.assertIn("still busy", reports[1].recipients[0]["Diagnostic-Code"])
        self.assertEqual(2, len(self.back.messages))

    def test_own_patience_of_a_route(self):
        """A route gives up by its own time, whatever holds for the rest."""
        m = self.world({"rcpt": b"451 4.7.1 not now\r\n"}, retry='plan = { "300ms" } jitter = 0 warn_after = 0 give_up_after = "5d"',
                       config='route "two.test" { via = "mx"  port = %(port)d  give_up_after = "1s" }')
        m.send("s@back.test", ["r@one.test", "r@two.test"], TEXT)
        report = Report(self.back.wait(1, more=m.log_tail)[0].content)
        self.assertEqual("4.4.7", report.recipient("r@two.test")["Status"].split()[0])
        self.assertEqual(1, len(report.recipients))
        m.wait_recipient("r@one.test", state="deferred")

    def test_notify(self):
        """NOTIFY, ORCPT, ENVID and RET end in the fields they ask for; a next hop without DSN means `relayed`."""
        def rcpt(session, argument):
            return b"550 5.1.1 no\r\n" if b"bad" in argument else None
        m = self.world({"rcpt": rcpt})
        self.one.extensions = (b"PIPELINING", b"8BITMIME")
        with m.client() as c:
            c.ehlo()
            self.assertEqual(250, c.mail("s@back.test", ["RET=HDRS", "ENVID=QQ+2B1"])[0])
            for who, notify in (("good", "SUCCESS,FAILURE"), ("bad", "FAILURE"), ("badquiet", "NEVER"),
                                ("quiet", "NEVER")):
                self.assertEqual(250, c.rcpt(f"{who}@one.test",
                                             [f"NOTIFY={notify}", f"ORCPT=rfc822;Orig-{who}@One.test"])[0])
            self.assertEqual(250, c.data(TEXT.replace("\n", "\r\n").encode())[0])
        self.back.wait(2, more=m.log_tail)
        m.wait_empty()
        self.assertEqual(2, len(self.back.messages))
        reports = {r.recipients[0]["Action"]: r for r in (Report(x.content) for x in self.back.messages)}
        self.assertEqual({"relayed", "failed"}, set(reports))
        for action, who in (("relayed", "good"), ("failed", "bad")):
            report = reports[action]
            self.assertEqual([f"rfc822; {who}@one.test"], [r["Final-Recipient"] for r in report.recipients])
            self.assertEqual(f"rfc822; Orig-{who}@One.test", report.recipients[0]["Original-Recipient"])
            self.assertEqual("QQ+1", report.head["Original-Envelope-Id"])
            self.assertEqual("text/rfc822-headers", report.returned.get_content_type())
            self.assertNotIn("body", report.returned.get_payload().split("\n\n")[-1])

    def test_dsn_is_passed_on(self):
        m = self.world()
        with m.client() as c:
            c.ehlo()
            c.mail("s@back.test", ["RET=HDRS", "ENVID=abc"])
            c.rcpt("r@one.test", ["NOTIFY=SUCCESS", "ORCPT=rfc822;x@y.test"])
            self.assertEqual(250, c.data(b"Subject: x\r\n\r\nx\r\n")[0])
        got = self.one.wait(1, more=m.log_tail)[0]
        self.assertIn(b"ENVID=abc", got.mail)
        self.assertIn(b"RET=HDRS", got.mail)
        self.assertIn(b"NOTIFY=SUCCESS", got.rcpts[0])
        self.assertIn(b"ORCPT=rfc822;x@y.test", got.rcpts[0])
        m.wait_empty()
        self.assertEqual([], self.back.messages)

    def test_stays_over_a_restart(self):
        m = self.world({"rcpt": b"451 4.2.1 busy\r\n"}, retry='plan = { "1h" } jitter = 0')
        id = m.send("s@back.test", ["r@one.test"], TEXT)
        before = m.wait_recipient("r@one.test", state="deferred")
        m.stop()
        m.start()
        after = m.wait_recipient("r@one.test", state="deferred")
        self.assertEqual((id, before["next_try"], before["attempts"]), (after["id"], after["next_try"], after["attempts"]))
        self.one.script = {}
        m.queuectl("retry", id)
        self.one.wait(1, more=m.log_tail)
        wait_until(lambda: not m.list(), 10)


if __name__ == "__main__":
    main()
