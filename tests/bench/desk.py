"""The postmaster's desk on a deep queue: how soon the listing begins, what an entry costs, counting, holding.

Every message has one recipient; Mansio's are of ten domains in turn, and carry the reply of a failed attempt. Postfix gets its own by SMTP
into its hold queue, from where postsuper moves them into the deferred one: so it has nothing to say about them but who and when, which is
to its advantage. CPU is that of the listing program and the server together."""
import os
import re
import subprocess
import time

import machine
from measures import DEEP
from server import STATE, Server, Sink, load, runs_on
from waiting import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
DOMAINS, SIDE_MESSAGES = 10, 100000


def listing(server, verb):
    """Seconds to the first line and to the end, processor seconds of both sides, entries."""
    out = os.path.join(STATE, "listing")
    before, mine = server.group.cpu(), os.times()
    begun = time.monotonic()
    p = subprocess.Popen([f"{HERE}/peers/{server.name}.sh", verb], env=server.env, stdout=subprocess.PIPE)
    first = os.read(p.stdout.fileno(), 65536)
    began = time.monotonic() - begun
    with open(out, "wb") as f:
        f.write(first)
        while piece := p.stdout.read1(1 << 20):
            f.write(piece)
    p.wait()
    took = time.monotonic() - begun
    now = os.times()
    cpu = server.group.cpu() - before + now.children_user - mine.children_user + now.children_system - mine.children_system
    with open(out, "rb") as f:
        entries = sum(1 for line in f if re.match(rb"[0-9A-Za-z]{6,}[*! ]|\{", line))
    os.unlink(out)
    return {"first": began, "took": took, "cpu": cpu, "entries": entries}


def ask(server, *args):
    """Seconds, and what it said."""
    begun = time.monotonic()
    p = subprocess.run([f"{HERE}/peers/{server.name}.sh", "desk", *args], env=server.env, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    return time.monotonic() - begun, p.stdout.strip()


def side(name, seconds):
    """The same figures of every server."""
    depth = SIDE_MESSAGES
    server = Server(name, "deep" if name == "mansio" else "hold")
    if name == "mansio":
        server.sh("fill", depth, 1, 1024, "relay:[127.0.0.3]:2599", 2, DOMAINS)
        server.start()
    else:
        server.env["EXTRA"] = "\n".join(("defer_transports = smtp", "queue_run_delay = 1d", "minimal_backoff_time = 1d", "maximal_backoff_time = 1d"))
        server.start()
        load("-s", 50, "-n", depth, "-l", 1024, "-t", "u%m@deep.test")
        ask(server, "release-all")
    text, lines = listing(server, "list"), listing(server, "list-json")
    held, said = ask(server, "hold-all")
    server.stop()
    each = 1e6 / max(text["entries"], 1)
    return {"list_us": text["took"] * each, "first": text["first"], "cpu_us": text["cpu"] * each,
            "json_us": lines["took"] / max(lines["entries"], 1) * 1e6, "json_cpu_us": lines["cpu"] / max(lines["entries"], 1) * 1e6,
            "entries": text["entries"], "hold": held, "said": said, "loadavg": os.getloadavg()[0]}


def times(path, begun, ended):
    """How many lines "number time" of the file lie within."""
    with open(path) as f:
        return sum(begun <= float(line.split()[1]) < ended for line in f if line.endswith("\n"))


def queued_mib(server):
    return machine.pss_mib(server.pids()).get("queued", 0.0)


def large(name, seconds):
    """Mansio alone, beside mail that comes and goes all the while."""
    depth = DEEP["messages"]
    server = Server(name, "deep")
    server.sh("fill", depth, 1, 1024, "relay:[127.0.0.3]:2599", 2, DOMAINS)
    server.start()
    begun = time.monotonic()  # the index of domains is made behind the mail
    wait_until(lambda: ask(server, "count", "domain=3.deep.test")[0] < 0.05, 120, "the index of domains")
    indexed = time.monotonic() - begun
    count = min(ask(server, "count", "domain=3.deep.test")[0] for _ in range(5))
    memory = queued_mib(server)
    server.sample(0.2)
    text, lines = listing(server, "list"), listing(server, "list-json")
    sent, came = os.path.join(STATE, "sent"), os.path.join(STATE, "came")
    sink = Sink("-o", came)
    p = subprocess.Popen([os.path.join(server.env["BUILD"], "tests", "smtp_load"), "-s", "50", "-n", "10000000", "-x",
                          str(60 + seconds), "-t", "u%m@ok.test", "-o", sent, "127.0.0.1:2525"], stdout=subprocess.DEVNULL)
    wait_until(lambda: os.path.exists(came) and os.path.getsize(came) > 0, 30, "mail that comes and goes")
    from_, cpu = time.time(), machine.cpu_by_role(server.pids()).get("queued", 0)
    runs_on(p, seconds)
    until, cpu_until = time.time(), machine.cpu_by_role(server.pids()).get("queued", 0)
    held, said = ask(server, "hold", "domain=3.deep.test")
    end, cpu_end = time.time(), machine.cpu_by_role(server.pids()).get("queued", 0)
    server.sample_end()
    p.kill()
    p.wait()
    sink.end()
    rates = {}
    for what, path in (("accept", sent), ("deliver", came)):
        rates[what] = times(path, from_, until) / (until - from_)
        rates[what + "_kept"] = times(path, until, end) / (end - until) / max(rates[what], 1e-9)
    peak = server.peak_by.get("queued", 0.0)
    server.stop()
    each = 1e6 / max(text["entries"], 1)
    return {"hold": held, "said": said, "first": text["first"], "list_us": text["took"] * each, "cpu_us": text["cpu"] * each,
            "json_us": lines["took"] * each, "count": count, "indexed": indexed, "grown": peak - memory, "entries": text["entries"],
            "queued_cpu": (cpu_end - cpu_until) - (cpu_until - cpu) / (until - from_) * (end - until), **rates,
            "loadavg": os.getloadavg()[0]}
