"""No cliff: what sessions feel when the disk stalls, when a control client does not read, and when far too many come at once."""
import json
import os
import select
import socket
import subprocess
import time

import machine
from server import PORT, STATE, Server, load, tool
from waiting import wait_until

STALL_MS = 500
PROBE_PAUSE = 0.005
DEPTH = 100000


class Probe:
    """A session that measures how long commands wait that need no disk: MAIL, RCPT, RSET."""

    def __init__(self):
        self.s = socket.create_connection(("127.0.0.1", PORT), 30)
        self.f = self.s.makefile("rb")
        self.f.readline()
        self.say("EHLO probe.test")
        self.waits = []

    def say(self, line):
        begun = time.monotonic()
        self.s.sendall(line.encode() + b"\r\n")
        while self.f.readline()[3:4] == b"-":
            pass
        return (time.monotonic() - begun) * 1e3

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.waits += [self.say("MAIL FROM:<a@probe.test>"), self.say("RCPT TO:<b@load.test>"), self.say("RSET")]
            select.select([self.s], [], [], PROBE_PAUSE)  # it looks, it does not press; it would hear a 421
        self.s.close()
        self.waits.sort()
        return self.waits[len(self.waits) * 99 // 100], self.waits[-1]


def beside_load(seconds):
    """Ten sessions send while the probe looks: (commands p99, worst, messages p50, worst, rate, failed)."""
    source = subprocess.Popen([tool("smtp_load"), "-s", "10", "-n", "10000000", "-x", str(seconds), f"127.0.0.1:{PORT}"],
                              stdout=subprocess.PIPE, text=True)
    p99, worst = Probe().run(seconds)
    got = json.loads(source.communicate()[0])
    return {"command_p99": p99, "command_max": worst, "p50": got["p50_ms"], "max": got["max_ms"], "rate": got["per_second"],
            "failed": got["failed"]}


def stalls(name, seconds):
    """As it is; beside a control client that asks for a long listing and does not read; with each sync STALL_MS late."""
    server = Server(name, "deep")
    server.sh("fill", DEPTH)
    server.start()
    found = {"": beside_load(seconds)}
    control = socket.socket(socket.AF_UNIX)
    control.connect(os.path.join(STATE, "mansio/run/control"))
    control.sendall(b'{"v":1,"verb":"list"}\n')
    found["reader_"] = beside_load(seconds)
    control.close()
    queued = next(pid for pid in server.pids() if machine.role(pid) == "queued")
    tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e",
                               f"inject=fdatasync:delay_enter={STALL_MS * 1000}", "-p", str(queued)], stderr=subprocess.DEVNULL)
    wait_until(lambda: "TracerPid:\t0\n" not in machine.read(f"/proc/{queued}/status"), 10, "strace")
    found["disk_"] = beside_load(max(5, seconds))
    tracer.terminate()
    tracer.wait()
    server.stop()
    return {prefix + key: value for prefix, figures in found.items() for key, value in figures.items()}


def crowd(name, seconds):
    """Rates and memory as sessions grow far beyond what the machine can serve at once, and beyond the limit on them."""
    os.environ["SESSIONS_PER_CLIENT"] = "100000"
    figures = {}
    for sessions in (50, 200, 1000, 1900):
        server = Server(name, "hold").start()
        server.sample(0.5)
        got = load("-s", sessions, "-n", 10**7, "-x", seconds)
        server.sample_end()
        server.stop()
        figures.update({f"rate_{sessions}": got["per_second"], f"p99_{sessions}": got["p99_ms"], f"pss_{sessions}": server.peak})
        figures["failed"] = figures.get("failed", 0) + got["failed"]
    server = Server(name, "hold").start()
    held, greetings = [], []
    for _ in range(2100):
        held.append(socket.create_connection(("127.0.0.1", PORT), 30))
        greetings.append(held[-1].recv(3))
    figures.update(rate=figures["rate_1900"], greeted=greetings.count(b"220"), turned_away=greetings.count(b"421"))
    for s in held:
        s.close()
    server.stop()
    del os.environ["SESSIONS_PER_CLIENT"]
    return figures
