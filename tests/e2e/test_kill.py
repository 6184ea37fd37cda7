#!/usr/bin/python3
"""kill -9 of every process in turn, at random moments under load. Each acknowledged recipient must have exactly one fate:
delivered, reported by one notification, or still in the queue. A second copy is allowed only where a crash fell between
the first and our commit (Q4): such copies are counted and printed.

MANSIO_SEED repeats a sequence of kills; MANSIO_KILLS sets their number."""
import collections
import os
import random
import re
import smtplib
import threading
import time

import support  # noqa: F401
from case import Case, figure, main
from ports import free_port
from report import Report, is_report
from waiting import wait_until

ZONE = """
ok IN MX 10 mx.ok
mx.ok IN A 127.0.0.2
no IN MX 10 mx.no
mx.no IN A 127.0.0.3
tmp IN MX 10 mx.tmp
mx.tmp IN A 127.0.0.4
back IN MX 10 mx.back
mx.back IN A 127.0.0.5
"""
KILLS = int(os.environ.get("MANSIO_KILLS", "54"))
SENDERS = 5
WORKER_NOTICES = 3.0  # seconds, on a machine with more to do than processors
ROUND = ("inbound", "outbound", "queued", "local", "queued", "outbound", "inbound", "local", "supervisor")


class Generator(threading.Thread):
    """Sends until told to end; `acknowledged` holds the recipients of every message that got its 250."""

    def __init__(self, number, port, seed):
        super().__init__(daemon=True)
        self.number, self.port, self.random = number, port, random.Random(seed)
        self.acknowledged, self.unanswered, self.sent = set(), 0, 0
        self.end = threading.Event()

    def recipients(self, id):
        kinds = self.random.choice((["ok"], ["ok", "ok2"], ["ok", "no"], ["tmp"], ["box"], ["ok", "box", "no"], ["no"]))
        return [f"{id}-{kind}@{kind.rstrip('2')}.test" for kind in kinds]

    def message(self, c):
        id = f"{self.number}x{self.sent}"
        self.sent += 1
        recipients = self.recipients(id)
        size = self.random.choice((10, 100, 4000, 70000))
        content = (f"X-Id: {id}\r\nSubject: {id}\r\n\r\n" + "x" * 70 + "\r\n").encode() + b"y" * 70 * (size // 70) + b"\r\n"
        try:
            if c.mail(f"s-{id}@back.test")[0] != 250:
                raise smtplib.SMTPServerDisconnected("MAIL refused")
            for r in recipients:
                if c.rcpt(r)[0] != 250:
                    raise smtplib.SMTPServerDisconnected("RCPT refused")
            code, reply = c.data(content)
        except (smtplib.SMTPException, OSError):
            self.unanswered += 1
            raise
        if code == 250:
            self.acknowledged.update(recipients)
        else:
            self.unanswered += 1

    def run(self):
        while not self.end.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, local_hostname="gen.test", timeout=20) as c:
                    if c.ehlo()[0] != 250:
                        continue
                    for _ in range(self.random.randint(1, 30)):
                        if self.end.is_set():
                            break
                        self.message(c)
                        time.sleep(0.02)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.03)


class Kill(Case):
    def world(self):
        self.port = free_port()
        tried = set()

        def later(session, argument):
            if argument in tried:
                return None
            tried.add(argument)
            return b"451 4.7.1 come again\r\n"
        self.ok = self.sink(self.port, "127.0.0.2")
        self.no = self.sink(self.port, "127.0.0.3", {"rcpt": b"550 5.1.1 nobody\r\n"})
        self.tmp = self.sink(self.port, "127.0.0.4", {"rcpt": later})
        self.back = self.sink(self.port, "127.0.0.5")
        self.boxes = self.subfolder("boxes")
        return self.mansio(
            dns=self.dns(ZONE), mx_port=self.port, log_level="info", inbound=2, outbound=2,
            retry='plan = { "300ms", "700ms", "1s" } jitter = 0.2 give_up_after = "1h"',
            config=f'domain "box.test" {{ deliver = "maildir" maildir = "{self.boxes}/%u" }}\n')

    def kill_one(self, m, role):
        """Returns a time before the kill and one after it."""
        before = time.monotonic()
        if role == "supervisor":
            m.kill_supervisor()
            after = time.monotonic()
            m.spawn()
            m.wait_ready(30)
            return before, after
        wait_until(lambda: m.kill(role), 20, lambda: f"a process {role} to kill\n" + m.log_tail())
        return before, time.monotonic()

    def deliveries(self):
        """recipient -> times of its copies, of what was sent in (not of notifications)."""
        copies = collections.defaultdict(list)
        for sink in (self.ok, self.tmp):
            for x in sink.messages:
                for r in x.recipients:
                    copies[r].append(x.at)
        self.boxed = collections.Counter()
        for folder, _, files in os.walk(self.boxes):
            if os.path.basename(folder) == "new":
                for name in files:
                    self.boxed[os.path.basename(os.path.dirname(folder)) + "@box.test"] += 1
        return copies

    def notifications(self):
        """recipient -> Message-IDs of the notifications that report it; and how often each came."""
        reports, times = collections.defaultdict(set), collections.Counter()
        for x in self.back.messages:
            self.assertTrue(is_report(x.content), x.content[:500])
            report = Report(x.content)
            times[report.message["Message-ID"]] += 1
            for r in report.recipients:
                self.assertEqual("failed", r["Action"])
                reports[r["Final-Recipient"].split(";")[1].strip()].add(report.message["Message-ID"])
        return reports, times

    def test_under_load(self):
        seed = int(os.environ.get("MANSIO_SEED", random.randrange(1 << 32)))
        chance = random.Random(seed)
        print(f"MANSIO_SEED={seed}")
        m = self.world()
        m.announce("child_ended")
        # A worker killed between the peer's 250 and its word to us leaves these, and rightly so.
        m.tolerate("delivery_uncertain")
        generators = [Generator(i, m.port, seed + i) for i in range(SENDERS)]
        for g in generators:
            g.start()
        kills, killed = [], collections.Counter()
        began = time.monotonic()
        for i in range(KILLS):
            time.sleep(chance.uniform(0.05, 0.7))  # the random moment
            role = ROUND[i % len(ROUND)]
            kills.append(self.kill_one(m, role))
            killed[role] += 1
        for g in generators:
            g.end.set()
        for g in generators:
            g.join(30)
        took = time.monotonic() - began
        wait_until(lambda: len([p for r in ("inbound", "queued", "outbound") for p in m.pids(r)]) >= 5, 40,
                   lambda: "all processes\n" + m.log_tail())
        m.wait_ready()
        self.assertEqual(0, m.queuectl("retry", "all").returncode)
        m.wait_empty(90)
        self.audit(generators, kills, killed, took)
        m.stop()
        r = m.queuectl("fsck")
        self.assertEqual(0, r.returncode, r.stdout + r.stderr)

    def audit(self, generators, kills, killed, took):
        acknowledged = set().union(*(g.acknowledged for g in generators))
        copies = self.deliveries()
        reports, times = self.notifications()
        lost, twofold, doubled = [], 0, []
        for r in acknowledged:
            kind = re.search(r"@(\w+)\.", r).group(1)
            delivered = self.boxed[r] if kind == "box" else len(copies[r])
            reported = len(reports[r])
            if delivered + reported == 0:
                lost.append(r)
            if kind == "no":
                self.assertEqual((0, 1), (delivered, reported), f"{r}: exactly one notification")
            else:
                self.assertEqual(0, reported, f"{r}: delivered and reported")
                twofold += delivered > 1
        for r, at in copies.items():
            for first, second in zip(at, at[1:]):
                # The kill comes before the second copy; the first may come a little after it, from a worker that has
                # not yet noticed that queued is gone and whose word then reaches nobody, or from a sink that is late.
                if not any(first - WORKER_NOTICES <= after and before <= min(second, first + 15) for before, after in kills):
                    doubled.append(r)
        again = sum(n - 1 for n in times.values())
        figure(f"{sum(killed.values())} kills in {took:.0f} s ({dict(killed)}); {sum(g.sent for g in generators)} messages sent, "
              f"{sum(g.unanswered for g in generators)} without an answer; {len(acknowledged)} recipients acknowledged: "
              f"lost {len(lost)}, duplicates {twofold}, notifications that came twice {again}")
        self.assertGreater(len(acknowledged), 20 * len(generators))
        self.assertEqual([], lost[:20], "acknowledged and lost")
        self.assertEqual([], doubled[:20], "a second copy without a crash between the two")


if __name__ == "__main__":
    main()
