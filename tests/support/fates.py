"""What became of each recipient that was answered 250, while processes were killed: a generator of mail that keeps books,
and an auditor that reads the sinks, the mailboxes and the log.

    g = Generator(number, port, seed); g.start(); ...; g.end.set(); g.join()
    audit = Audit(m, sinks=[ok, tmp], back=back, boxes=folder, supervisor_kills=[(before, after)])
    audit.of(generators)          fails the test where mail was lost, told twice, or came twice without a reason
    audit.lost, audit.twice       what figures are made of: recipients, and (recipient, reason) of each second copy

A second copy has a reason (Q4) when the first one's delivery was cut off from its commit: queued's log has no `delivered` for
it before the second transaction began, and between the two queued or a worker was lost (as the log's channel_lost,
queue_opened and child_ended have it), or queued logged delivery_uncertain. Times are those of the log and of the sink's MAIL
and end of content; the only slack is the measured lag of the sink itself and the longest that a commit took in this run."""
import collections
import datetime
import os
import random
import re
import smtplib
import threading
import time

from report import Report, is_report

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
LOG_TICK = 0.001  # the log's times are cut to milliseconds, and a commit may take less


class Generator(threading.Thread):
    """Sends until told to end; `acknowledged` holds the recipients of every message that got its 250. The domain of a
    recipient tells what its host does: takes it (ok), refuses it (no), takes it at the second time (tmp); box is ours."""

    def __init__(self, number, port, seed, timeout=20):
        super().__init__(daemon=True)
        self.number, self.port, self.random, self.timeout = number, port, random.Random(seed), timeout
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
                with smtplib.SMTP("127.0.0.1", self.port, local_hostname="gen.test", timeout=self.timeout) as c:
                    if c.ehlo()[0] != 250:
                        continue
                    for _ in range(self.random.randint(1, 30)):
                        if self.end.is_set():
                            break
                        self.message(c)
                        time.sleep(0.02)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.03)


def world(test, **more):
    """Sinks, mailboxes and a server for the recipients above: (server, {"sinks": …, "back": …, "boxes": …})."""
    from ports import free_port
    port = free_port()
    tried = set()

    def later(session, argument):
        if argument in tried:
            return None
        tried.add(argument)
        return b"451 4.7.1 come again\r\n"
    sinks = [test.sink(port, "127.0.0.2"), test.sink(port, "127.0.0.4", {"rcpt": later})]
    test.sink(port, "127.0.0.3", {"rcpt": b"550 5.1.1 nobody\r\n"})
    back, boxes, dns = test.sink(port, "127.0.0.5"), test.subfolder("boxes"), test.dns(ZONE)
    m = test.mansio(
        dns=dns, mx_port=port, log_level="info", inbound=2, outbound=2,
        config=f'domain "box.test" {{ deliver = "maildir" maildir = "{boxes}/%u" }}\n',
        **{"retry": 'plan = { "300ms", "700ms", "1s" } jitter = 0.2 give_up_after = "1d"', **more})
    return m, dns, {"sinks": sinks, "back": back, "boxes": boxes}


class Copy:
    def __init__(self, began, ended, session=None):
        self.began, self.ended, self.session = began, ended, session  # of its transaction, wall clock


class Audit:
    def __init__(self, m, sinks, back, boxes, supervisor_kills=(), clock_is_true=True):
        self.m, self.test, self.sinks, self.back, self.boxes = m, m.test, sinks, back, boxes
        self.supervisor_kills, self.clock_is_true = list(supervisor_kills), clock_is_true
        self.lost, self.twice, self.told_twice = [], [], 0
        self._read_log()
        self._read_copies()
        self._read_reports()

    def _read_log(self):
        self.committed = collections.defaultdict(list)  # recipient -> times of `delivered`
        self.cuts = [(before, after, "the supervisor was killed", "all") for before, after in self.supervisor_kills]
        self.uncertain = collections.defaultdict(list)  # message id -> times
        self.ids = {}
        for e in self.m.log_events():
            at = datetime.datetime.fromisoformat(e["time"].replace("Z", "+00:00")).timestamp()
            name = e["event"]
            if name == "delivered":
                self.committed[e["to"]].append(at)
                self.ids[e["to"]] = e["id"]
            elif name == "delivery_uncertain":
                self.uncertain[e["id"]].append(at)
            elif name == "queue_opened":
                self.cuts.append((at, at, "queued was lost", "all"))
            elif name == "channel_lost" and e.get("peer") in ("queued", "outbound", "local"):
                self.cuts.append((at, at, f"{e['peer']} was lost", "all" if e["peer"] == "queued" else e["peer"]))
            elif name == "child_ended" and e.get("role") in ("queued", "outbound", "local"):
                self.cuts.append((at, at, f"{e['role']} was lost", "all" if e["role"] == "queued" else e["role"]))

    def _read_copies(self):
        self.copies = collections.defaultdict(list)  # what was sent in, not notifications
        for sink in self.sinks:
            for x in sink.messages:
                for r in x.recipients:
                    self.copies[r].append(Copy(x.began, x.ended, x.session_number))
        for folder, _, files in os.walk(self.boxes):
            if os.path.basename(folder) == "new":
                for name in files:
                    at = os.stat(os.path.join(folder, name)).st_mtime
                    self.copies[os.path.basename(os.path.dirname(folder)) + "@box.test"].append(Copy(at, at))
        for found in self.copies.values():
            found.sort(key=lambda c: c.ended)
        self.lag = max(s.lag for s in self.sinks) + 0.05
        # From a copy's end to its commit, where there was one copy: what a commit may take here and now.
        waits = [self.committed[r][0] - c[0].ended for r, c in self.copies.items() if len(c) == 1 and self.committed[r]]
        self.commit_max = max(waits, default=0.0) + self.lag

    def _read_reports(self):
        """recipient -> Message-IDs of the notifications that report it; and how many of them came more than once."""
        self.reports, times = collections.defaultdict(set), collections.Counter()
        for x in self.back.messages:
            self.test.assertTrue(is_report(x.content), x.content[:500])
            report = Report(x.content)
            times[report.message["Message-ID"]] += 1
            for r in report.recipients:
                self.test.assertEqual("failed", r["Action"])
                self.reports[r["Final-Recipient"].split(";")[1].strip()].add(report.message["Message-ID"])
        self.told_twice = sum(n - 1 for n in times.values())

    def reason(self, r, first, second):
        """Why there was a second copy; None: there is no reason."""
        if self.clock_is_true and any(at + LOG_TICK < second.began for at in self.committed[r]):
            return None
        if any(first.began - self.lag <= at <= second.ended for at in self.uncertain[self.ids.get(r)]):
            return "the reply was lost"
        if not self.clock_is_true:
            return "a process was lost" if self.cuts else None
        # A worker that has not yet noticed that queued is gone may begin after that: its own channel_lost then comes later.
        worker = "local" if r.endswith("@box.test") else "outbound"
        for before, after, why, whom in self.cuts:
            if whom in (worker, "all") and first.began - self.lag <= after and before <= min(second.began, first.ended + self.commit_max) + self.lag:
                return why
        return None

    def of(self, generators):
        acknowledged = set().union(*(g.acknowledged for g in generators))
        unreasoned = []
        for r in acknowledged:
            kind = re.search(r"@(\w+)\.", r).group(1)
            delivered, reported = len(self.copies[r]), len(self.reports[r])
            if delivered + reported == 0:
                self.lost.append(r)
            elif kind == "no":
                self.test.assertEqual((0, 1), (delivered, reported), f"{r}: exactly one notification")
            else:
                self.test.assertEqual(0, reported, f"{r}: delivered and reported")
        for r, copies in self.copies.items():
            self.test.assertLessEqual(len(self.committed[r]), 1, f"{r}: committed as delivered more than once")
            for first, second in zip(copies, copies[1:]):
                why = self.reason(r, first, second)
                if why is None:
                    unreasoned.append(self._story(r, first, second))
                else:
                    self.twice.append((r, why))
        self.test.assertEqual([], self.lost[:20], "acknowledged and lost")
        if unreasoned:
            self.test.fail("a second copy without a crash or a lost reply between the two:\n" + "\n".join(unreasoned[:5]))
        return acknowledged

    def _story(self, r, first, second):
        lines = []
        for e in self.m.log_events():
            at = datetime.datetime.fromisoformat(e["time"].replace("Z", "+00:00")).timestamp()
            if first.began - 1 < at < second.ended + 1 and (
                    e.get("id") == self.ids.get(r) or e["event"] in ("channel_lost", "queue_opened", "child_ended", "child_started")):
                words = " ".join(f"{k}={v}" for k, v in e.items() if k not in ("time", "level", "event", "process", "reply"))
                lines.append(f"  {at - first.ended:+.3f} {e['process']} {e['event']} {words}")
        return (f"{r}: MAIL {first.began - first.ended:+.4f}, end 0 ({first.ended:.3f}), of session {first.session}; second MAIL "
                f"{second.began - first.ended:+.4f}, end {second.ended - first.ended:+.4f}, of session {second.session}; lag "
                f"{self.lag:.3f}, longest commit {self.commit_max:.3f}\n" + "\n".join(lines))

    def reasons(self):
        return dict(collections.Counter(why for _, why in self.twice))
