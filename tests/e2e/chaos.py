"""Chaos: the real programs under load while everything about them goes wrong, and an auditor afterwards (tests/support/fates.py).

Troubles, in turns, each at a random moment of the load and for a random while:
    kill         kill -9 of a process, of the supervisor too
    stop         SIGSTOP of a process, then SIGCONT
    disk         no octet free where the queue lies (a tmpfs of our own; root only)
    descriptors  a process may open no more files (RLIMIT_NOFILE)
    memory       a process gets no more memory (RLIMIT_AS; not in a build with sanitizers)
    clock        the wall clock jumps by up to two hours, forward or back
    resolver     no name server answers

test_chaos.py is the short form; tests/e2e/chaos MINUTES the long one."""
import collections
import os
import random
import re
import resource
import signal
import struct
import subprocess
import time

import support  # noqa: F401
import case
from case import Case, figure, give
from fates import Audit, Generator, world
from waiting import wait_until

# What a server may rightly complain of while it is treated so.
COMPLAINTS = ("child_ended", "child_failed", "delivery_uncertain", "queue_full", "queue_commit_failed", "mailbox_failed",
              "double_bounce", "accept_failed", "out_of_memory")
ROLES = ("inbound", "outbound", "queued", "local", "lookup")
SENDERS = 4


def has_sanitizer(build):
    with open(os.path.join(build, "mansiod"), "rb") as f:
        return b"libasan" in f.read()


class Chaos(Case):
    def setUp(self):
        super().setUp()
        self.build = case.RELEASE if os.path.exists(os.path.join(case.RELEASE, "mansiod")) else case.BUILD
        if os.environ.get("MANSIO_CHAOS_BUILD"):
            self.build = os.environ["MANSIO_CHAOS_BUILD"]
        self.supervisor_kills, self.counts, self.left_out = [], collections.Counter(), []

    # --- the world ---

    def disk(self):
        path = self.subfolder("disk")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,mode=0755", "none", path],
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.left_out.append("disk: a file system of our own cannot be mounted here")
            return None
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=True)
        return give(path)

    def clock(self):
        """The environment that lets us set the server's clock."""
        shim = os.path.join(case.BUILD, "tests", "libclock_shim.so")
        if not os.path.exists(shim) or has_sanitizer(self.build):
            self.left_out.append("clock: needs a build without sanitizers, and the tests' own library")
            return {}
        with open(shim, "rb") as f:
            library = self.file("clock_shim.so", f.read())
        self.clock_file = self.file("clock", struct.pack("q", 0))
        return {"LD_PRELOAD": library, "MANSIO_CLOCK_FILE": self.clock_file}

    def begin(self, with_clock):
        self.mount = self.disk()
        environment = self.clock() if with_clock else {}
        self.m, self.dns_server, self.places = world(
            self, build=self.build, environment=environment, state_dir=os.path.join(self.mount, "state") if self.mount else None,
            timeouts='data = "20s" block = "20s" dot = "20s"')
        self.m.tolerate(*COMPLAINTS)
        self.troubles = [self.kill, self.stop, self.descriptors, self.resolver]
        if self.mount:
            self.troubles.append(self.full)
        if environment:
            self.troubles.append(self.jump)
        if not has_sanitizer(self.build):
            self.troubles.append(self.memory)
        else:
            self.left_out.append("memory: a build with sanitizers takes address space by the terabyte")

    # --- troubles ---

    def role(self, *more):
        return self.chance.choice(ROLES + more)

    def kill(self):
        role = self.role("supervisor")
        if role == "supervisor":
            before = time.time()
            self.m.kill_supervisor()
            self.supervisor_kills.append((before, time.time()))
            self.m.spawn()
            self.m.wait_ready(30)
        else:
            self.m.kill(role)
        return f"kill {role}"

    def stop(self):
        role = self.role("supervisor")
        pid = self.m.kill(role, signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.1, self.while_max))
        if pid is not None:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        return f"stop {role}"

    def full(self):
        filler = os.path.join(self.mount, "filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while f.write(b"f" * 4096) > 0:
                    pass
            except OSError:
                pass
        time.sleep(self.chance.uniform(0.1, self.while_max))
        os.unlink(filler)
        return "disk full"

    def limit_set(self, pid, what, limit_of):
        """Sets the soft limit; returns the one before. As the servers' own user: root in a container may not do it."""
        try:
            limit = limit_of(pid)
            with open(f"/proc/{pid}/limits") as f:
                before = re.search(rf"^{what[1]} +(\d+|unlimited)", f.read(), re.M).group(1)
        except OSError:
            return None  # it has just ended
        subprocess.run(case.as_ordinary_user(["prlimit", f"--pid={pid}", f"--{what[0]}={limit}:"]), stderr=subprocess.DEVNULL)
        return before

    def limited(self, what, limit_of):
        """A process of some role gets what it has now and no more."""
        role = self.role()
        pids = self.m.pids(role)
        if not pids:
            return
        before = self.limit_set(pids[0], what, limit_of)
        time.sleep(self.chance.uniform(0.1, self.while_max))
        if before is not None:
            self.limit_set(pids[0], what, lambda pid: before)
        return role

    def descriptors(self):
        role = self.limited(("nofile", "Max open files"), lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
        return f"descriptors {role}"

    def memory(self):
        def now(pid):
            with open(f"/proc/{pid}/statm") as f:
                return int(f.read().split()[0]) * resource.getpagesize()
        return f"memory {self.limited(('as', 'Max address space'), now)}"

    def clock_set(self, ms):
        with open(self.clock_file, "r+b") as f:
            f.write(struct.pack("q", ms))

    def jump(self):
        self.clock_set(self.chance.randint(-7200_000, 7200_000))
        time.sleep(self.chance.uniform(0.1, self.while_max))
        if self.chance.random() < 0.5:
            self.clock_set(0)
        return "clock"

    def resolver(self):
        self.dns_server.gone = True
        time.sleep(self.chance.uniform(0.1, self.while_max))
        self.dns_server.gone = False
        return "resolver"

    # --- the run ---

    def chaos(self, seconds, while_max, with_clock=True):
        """`while_max`: the longest that one trouble lasts, in seconds. While the server's clock jumps its log tells no times
        that could be compared with the sinks': second copies are then counted, and only without it judged one by one."""
        seed = int(os.environ.get("MANSIO_SEED", random.randrange(1 << 32)))
        print(f"MANSIO_SEED={seed}", flush=True)
        self.chance, self.while_max = random.Random(seed), while_max
        self.begin(with_clock)
        generators = [Generator(i, self.m.port, seed + i, timeout=10) for i in range(SENDERS)]
        for g in generators:
            g.start()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            # Each in turn, in another order each time, so that a short run has all of them.
            for trouble in self.chance.sample(self.troubles, len(self.troubles)):
                time.sleep(self.chance.uniform(0.05, 0.4))
                self.counts[trouble()] += 1
        for g in generators:
            g.end.set()
        for g in generators:
            g.join(30)
        self.after(generators, time.monotonic() - began)

    def after(self, generators, took):
        m = self.m
        if "LD_PRELOAD" in m.environment:
            self.clock_set(0)
        wait_until(lambda: all(m.pids(r) for r in ROLES) and m.greets(), 60, lambda: "all processes\n" + m.log_tail())
        wait_until(lambda: self.drained(), 120, lambda: f"an empty queue; it holds {m.list()[:3]}\n" + m.log_tail())
        audit = Audit(m, supervisor_kills=self.supervisor_kills, clock_is_true="LD_PRELOAD" not in m.environment, **self.places)
        acknowledged = audit.of(generators)
        kinds = collections.Counter(w.split()[0] for w in self.counts.elements())
        for why in self.left_out:
            print(f"SKIPPED chaos: {why}", flush=True)
        figure(f"chaos for {took:.0f} s: {sum(kinds.values())} troubles ({dict(kinds)}), {sum(g.sent for g in generators)} messages "
               f"sent, {len(acknowledged)} recipients acknowledged: lost {len(audit.lost)}, second copies {len(audit.twice)} "
               f"{audit.reasons()}, notifications that came twice {audit.told_twice}")
        self.assertGreater(len(acknowledged), 20)
        m.stop()
        r = m.queuectl("fsck")
        self.assertEqual(0, r.returncode, r.stdout + r.stderr)

    def drained(self):
        """What was deferred while the clock stood elsewhere is asked for, until nothing is left."""
        if not self.m.list():
            return True
        self.m.queuectl("retry", "all")
        return False
