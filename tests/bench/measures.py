"""What the benchmark measures: one function a test; each returns a dictionary of figures for one server.

`seconds` bounds how long the load of one measurement lasts. Rates are messages a second of wall time."""
import json
import os
import re
import subprocess
import time

import machine
from server import BUILD, PORT, STATE, Names, Server, Sink, certificate, load, runs_on, tool

DEEP = {"messages": 1000000}


def accept(name, seconds, sessions, per_connection=0, pipelining=0, tls=False):
    server = Server(name, "hold", tls=certificate() if tls else None).start()
    options = ["-s", sessions, "-k", per_connection, "-p", pipelining, "-n", 10**7] + (["-T"] if tls else [])
    load(*options, "-x", 1)
    before = server.meter()
    server.sample(1)
    got = load(*options, "-x", seconds)
    server.sample_end()
    figures = dict(server.metered(before, got["taken"]), rate=got["per_second"], p50=got["p50_ms"], p99=got["p99_ms"],
                   failed=got["failed"], pss=server.peak)
    figures["written"] /= 4096
    server.stop()
    return figures


def transit_p50(sent, came):
    """Milliseconds from the 250 we gave to the arrival at the next hop, the middle one."""
    at = {}
    for line in open(sent):
        number, when = line.split()
        at[number] = float(when)
    waits = sorted(float(when) - at[number] for number, when in map(str.split, open(came)) if number in at)
    return waits[len(waits) // 2] * 1e3 if waits else 0.0


def relay(name, seconds, sessions=50, size=4096, messages=10**7, tls=False, per_connection=0):
    server = Server(name, "relay", tls=certificate() if tls else None).start()
    sent, came = os.path.join(STATE, "sent"), os.path.join(STATE, "came")
    sink = Sink("-o", came)
    options = ["-k", per_connection] + (["-T"] if tls else [])
    warm = load("-s", min(sessions, 10), "-n", 20, *options)
    sink.wait(messages=warm["taken"])
    time.sleep(0.5)
    before = server.meter()
    server.sample(0.2 if size > 100000 else 0.5)
    start = time.time()
    got = load("-s", sessions, "-n", messages, "-l", size, "-x", seconds, "-b", 1000, "-o", sent, *options)
    whole = sink.wait(messages=warm["taken"] + got["taken"])
    server.sample_end()
    figures = server.metered(before, got["taken"])
    end = sink.end()
    server.stop()
    arrived = end["messages"] - warm["taken"]
    took = end["last"] - start
    numbers = [line.split()[0] for line in open(came)]
    figures.update(rate=arrived / took, mb_s=got["octets"] / took / 1e6, accept_rate=got["per_second"], p50=got["p50_ms"],
                   p99=got["p99_ms"], transit=transit_p50(sent, came), failed=got["failed"], lost=0 if whole else
                   got["taken"] - arrived, twice=len(numbers) - len(set(numbers)) if min(map(int, numbers)) >= 1000 else
                   len([n for n in numbers if int(n) >= 1000]) - len({n for n in numbers if int(n) >= 1000}),
                   pss=server.peak, pss_by={k: round(v, 1) for k, v in server.peak_by.items()},
                   connections=end["connections"], written=figures["written"] / size)
    return figures


def large(name, seconds):
    return relay(name, 300, sessions=10, size=10 << 20, messages=50)


def fanout(name, seconds, to):
    names = Names()
    server = Server(name, "dns").start()
    sink = Sink(at="127.0.0.9:25")
    try:
        load("-t", "x@warm.bench.test")
        sink.wait(messages=1)
        time.sleep(0.5)
        before = server.meter()
        server.sample()
        start = time.time()
        got = load("-r", 1000, "-t", to, "-p", 1)
        whole = sink.wait(recipients=1001, idle=120)
        server.sample_end()
        figures = server.metered(before, 1)
    finally:
        end = sink.end()
        server.stop()
        names.end()
    return {"took": end["last"] - start, "accept_took": got["seconds"], "transactions": end["messages"] - 1,
            "connections": end["connections"], "failed": got["failed"] + (not whole), "cpu_us": figures["cpu_us"],
            "pss": server.peak}


def idle(name, seconds):
    server = Server(name, "relay").start()
    time.sleep(3)
    total, by = server.memory()
    trace = os.path.join(STATE, "trace")
    p = subprocess.Popen(["strace", "-f", "-qq", "-o", trace, "-e", "trace=epoll_wait,epoll_pwait,poll,select,pselect6,"
                          "clock_nanosleep,ppoll"] + [a for pid in server.pids() for a in ("-p", str(pid))],
                         stderr=subprocess.DEVNULL)
    time.sleep(1)
    begun = time.monotonic()
    time.sleep(10)
    p.terminate()
    p.wait()
    took = time.monotonic() - begun
    woken = len([line for line in open(trace) if " = " in line and "terminated" not in line])
    server.stop()
    return {"pss": total, "pss_by": {k: round(v, 2) for k, v in by.items()}, "processes": len(by),
            "wakeups": max(0, woken - 2) / took}


SYNC_CALLS = ("fsync", "fdatasync", "msync", "sync_file_range", "sync", "syncfs")


def synced_descriptors(pids):
    """(pid, fd) of files open with O_DSYNC or O_SYNC."""
    found = set()
    for pid in pids:
        try:
            for fd in os.listdir(f"/proc/{pid}/fdinfo"):
                m = re.search(r"^flags:\s+0([0-7]+)", machine.read(f"/proc/{pid}/fdinfo/{fd}"), re.M)
                if m and int(m.group(1), 8) & 0o10000:
                    found.add((pid, int(fd)))
        except OSError:
            pass
    return found


def calls(name, seconds, mode, sessions, messages):
    """System calls and syncs per message, counted by strace (rates mean nothing here)."""
    sink = Sink()
    server = Server(name, mode).start()
    warm = load("-s", sessions, "-n", sessions)["taken"]
    if mode == "relay":
        sink.wait(messages=warm)
    time.sleep(1)
    trace = os.path.join(STATE, "trace")
    pids, synced = server.pids(), synced_descriptors(server.pids())
    p = subprocess.Popen(["strace", "-f", "-qq", "-o", trace] + [a for pid in pids for a in ("-p", str(pid))],
                         stderr=subprocess.DEVNULL)
    time.sleep(1)
    got = load("-s", sessions, "-n", messages)
    if mode == "relay":
        sink.wait(messages=warm + messages, idle=60)
    time.sleep(1)
    p.terminate()
    p.wait()
    sink.end()
    server.stop()
    count = {}
    for line in open(trace, errors="replace"):
        m = re.match(r"(\d+)\s+(\w+)\((\d*)", line)
        if not m:
            continue
        call = m.group(2)
        if call in ("write", "pwrite64", "writev", "pwritev") and m.group(3) and (int(m.group(1)), int(m.group(3))) in synced:
            call = "synced write"
        count[call] = count.get(call, 0) + 1
    n = max(got["taken"], 1)
    syncs = sum(v for k, v in count.items() if k in SYNC_CALLS or k == "synced write") / n
    most = dict(sorted(((k, round(v / n, 2)) for k, v in count.items()), key=lambda kv: -kv[1])[:12])
    return {"syncs": syncs, "calls": sum(count.values()) / n, "most": most, "failed": got["failed"]}


def beside(name, server, seconds, first):
    """End to end through a running server; `first` numbers the messages."""
    sink = Sink()
    load("-s", 10, "-n", 20, "-t", "warm@ok.test")
    sink.wait(messages=20)
    memory, _ = server.memory()
    before = server.meter()
    got = load("-s", 50, "-n", 10**7, "-x", seconds, "-t", "u%m@ok.test", "-b", first)
    start = time.time() - got["seconds"]
    sink.wait(messages=20 + got["taken"], idle=30)
    figures = dict(server.metered(before, got["taken"]), accept_rate=got["per_second"], failed=got["failed"], pss=memory,
                   pss_after=server.memory()[0])
    figures["rate"] = got["taken"] / (sink.end()["last"] - start)
    figures["written"] /= 4096
    return figures


def restart(name, server):
    """A crash, and the seconds from the new start to the arrival of a new message at the next hop."""
    server.kill()
    sink = Sink()
    again = Server(name, "deep", wipe=False)
    begun = time.monotonic()
    again.start(wait=False)
    load("-w", 120, "-t", "first@ok.test")
    sink.wait(messages=1, idle=120)
    took = time.monotonic() - begun
    sink.end()
    return again, took


def listing(name, server):
    begun = time.monotonic()
    listed = subprocess.run(f"'{os.path.dirname(os.path.abspath(__file__))}/peers/{name}.sh' list | wc -l", shell=True,
                            env=server.env, stdout=subprocess.PIPE, text=True, check=False).stdout
    return time.monotonic() - begun, int(listed or 0)


def deep(name, seconds):
    """End to end beside nothing, then beside DEEP deferred messages; then a listing, a crash, and the first delivery after it.

    Mansio's depth is filled once for all rounds and kept aside meanwhile; a peer's comes by SMTP, each time."""
    kept = os.path.join(STATE, f"{name}.deep")
    server = Server(name, "deep").start()
    empty = beside(name, server, seconds, 100)
    server.stop()
    server = Server(name, "deep")
    if name == "mansio" and os.path.isdir(kept):
        os.rename(kept, os.path.join(STATE, name))
    elif name == "mansio":
        server.sh("fill", DEEP["messages"])
    server.start()
    if name != "mansio":
        load("-s", 50, "-n", DEEP["messages"], "-l", 1024, "-t", "u%m@deep.test")
        server.calm()
    figures = beside(name, server, seconds, 100)
    took, lines = listing(name, server)
    server, first = restart(name, server)
    server.stop(wipe=name != "mansio")
    if name == "mansio":
        os.rename(os.path.join(STATE, name), kept)
    return dict(figures, restart=first, listing=took, lines=lines, empty_rate=empty["rate"], empty_written=empty["written"],
                empty_cpu_us=empty["cpu_us"], holds=figures["rate"] / empty["rate"],
                accept_holds=figures["accept_rate"] / empty["accept_rate"],
                extra_memory=max(figures["pss"] - empty["pss"], figures["pss_after"] - empty["pss_after"]))


def deep_end():
    subprocess.run(["rm", "-rf", os.path.join(STATE, "mansio.deep")], check=True)


def database(server):
    """Octets of the queue's file, and of the pages in it that are in use."""
    size = os.stat(os.path.join(STATE, "mansio/state/queue/data.mdb")).st_blocks * 512
    out = subprocess.run([os.path.join(BUILD, "queuectl"), "-c", os.path.join(STATE, "mansio/mansio.conf"), "metrics"],
                         stdout=subprocess.PIPE, text=True, check=False).stdout
    used = re.search(r"^mansio_store_used_bytes (\S+)", out, re.M)
    return size, float(used.group(1)) if used else 0.0


CHURN_PARTS, CHURN_AHEAD = 6, 5000



def churn(name, seconds):
    """Mail of all sizes, in and out without a pause; one message in ten is put off once and so lives for a while.

    Delivered messages a second in the last sixth of the time against the first, and the file against the most that was in use."""
    os.environ["RETRY"] = f"{max(5, min(30, seconds // 10))}s"
    server = Server(name, "relay").start()
    del os.environ["RETRY"]
    sink = Sink("-d", 10)
    counts, live, size = [], 0.0, 0
    begun, cpu = time.monotonic(), server.meter()["cpu"]
    source = subprocess.Popen([tool("smtp_load"), "-s", "50", "-n", "10000000", "-l", "0", "-x", str(seconds), "-t", "u%m@load.test",
                               "-b", "1", "-q", str(CHURN_AHEAD), "-c", sink.counters, f"127.0.0.1:{PORT}"], stdout=subprocess.PIPE, text=True)
    for part in range(1, CHURN_PARTS + 1):
        while time.monotonic() < begun + seconds * part / CHURN_PARTS:
            runs_on(source, min(2.0, max(0.0, begun + seconds * part / CHURN_PARTS - time.monotonic())), last=part == CHURN_PARTS)
            if name == "mansio":
                now_size, now_live = database(server)
                size, live = max(size, now_size), max(live, now_live)
        counts.append((time.monotonic(), sink.count()[0], server.meter()["cpu"]))
    got = json.loads(source.communicate()[0])
    whole = sink.wait(messages=got["taken"], idle=90)
    sink.end()
    server.stop()
    rates, costs, before = [], [], (begun, 0, cpu)
    for part in counts:
        rates.append((part[1] - before[1]) / (part[0] - before[0]))
        costs.append((part[2] - before[2]) / max(1, part[1] - before[1]) * 1e6)
        before = part
    return {"rate": sum(rates) / len(rates), "first": rates[0], "last": rates[-1], "holds": rates[-1] / rates[0],
            "rates": [round(r) for r in rates], "cpu_us_parts": [round(c) for c in costs], "file_mb": size / 1e6, "live_mb": live / 1e6,
            "file_to_live": size / live if live else None, "failed": got["failed"], "lost": 0 if whole else got["taken"] - counts[-1][1]}


def ceiling(name, seconds):
    """Generator straight into the sink: what the two leave of the machine."""
    sink = Sink()
    plain = load("-s", 50, "-n", 10**7, "-x", seconds, to="127.0.0.2:2526")
    sink.end()
    return {"rate": plain["per_second"], "p50": plain["p50_ms"], "p99": plain["p99_ms"], "failed": plain["failed"]}


def commit(name, seconds):
    """One synced LMDB commit of one message after the other: the floor of latency."""
    folder = os.path.join(STATE, "commit")
    subprocess.run(["rm", "-rf", folder], check=True)
    out = subprocess.run([tool("store_bench"), folder, "1000", "1", "100"], stdout=subprocess.PIPE, text=True, check=True).stdout
    subprocess.run(["rm", "-rf", folder], check=True)
    rate = float(re.search(r": (\d+) msg/s", out).group(1))
    return {"rate": rate, "p50": 1e3 / rate}
