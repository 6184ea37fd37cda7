#!/usr/bin/python3
"""kill -9 of every process in turn, at random moments under load. Each acknowledged recipient must have exactly one fate:
delivered, reported by one notification, or still in the queue. A second copy is allowed only where a crash fell between
the first and our commit (Q4): such copies are counted and printed with their reasons (tests/support/fates.py).

MANSIO_SEED repeats a sequence of kills; MANSIO_KILLS sets their number."""
import collections
import os
import random
import time

import support  # noqa: F401
from case import Case, figure, main
from fates import Audit, Generator, world
from waiting import wait_until

KILLS = int(os.environ.get("MANSIO_KILLS", "54"))
SENDERS = 5
ROUND = ("inbound", "outbound", "queued", "local", "queued", "outbound", "inbound", "local", "supervisor")


class Kill(Case):
    def kill_one(self, m, role):
        if role == "supervisor":
            before = time.time()
            m.kill_supervisor()
            self.supervisor_kills.append((before, time.time()))
            m.spawn()
            m.wait_ready(30)
        else:
            wait_until(lambda: m.kill(role), 20, lambda: f"a process {role} to kill\n" + m.log_tail())

    def test_under_load(self):
        seed = int(os.environ.get("MANSIO_SEED", random.randrange(1 << 32)))
        chance = random.Random(seed)
        print(f"MANSIO_SEED={seed}")
        m, _, places = world(self)
        m.announce("child_ended")
        # A worker killed between the peer's 250 and its word to us leaves these, and rightly so.
        m.tolerate("delivery_uncertain")
        generators = [Generator(i, m.port, seed + i) for i in range(SENDERS)]
        for g in generators:
            g.start()
        self.supervisor_kills, killed = [], collections.Counter()
        began = time.monotonic()
        for i in range(KILLS):
            time.sleep(chance.uniform(0.05, 0.7))  # the random moment
            role = ROUND[i % len(ROUND)]
            self.kill_one(m, role)
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
        audit = Audit(m, supervisor_kills=self.supervisor_kills, **places)
        acknowledged = audit.of(generators)
        self.assertGreater(len(acknowledged), 20 * len(generators))
        figure(f"{sum(killed.values())} kills in {took:.0f} s ({dict(killed)}); {sum(g.sent for g in generators)} messages sent, "
               f"{sum(g.unanswered for g in generators)} without an answer; {len(acknowledged)} recipients acknowledged: "
               f"lost {len(audit.lost)}, second copies {len(audit.twice)} {audit.reasons()}, notifications that came twice "
               f"{audit.told_twice}; longest commit {audit.commit_max * 1000:.0f} ms")
        m.stop()
        r = m.queuectl("fsck")
        self.assertEqual(0, r.returncode, r.stdout + r.stderr)


if __name__ == "__main__":
    main()
