#!/usr/bin/env python3
"""What a message costs, counted instead of timed, and that its 250 waits for the disk.

  cost_test.py RELEASE TOOLS SHIM [--record]
RELEASE holds mansiod as it is shipped, TOOLS smtp_load and smtp_sink, SHIM is exec_shim's module. One session sends the same
messages, one after the other; the difference between a long and a short run, divided, is a message's cost. Compared with
cost.json beside this file: more than 10 % over it fails. After a change that is worth its cost, or that saves some:
--record writes the file anew. Exit 77: something needed is not here."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "cost.json")
SHORT, LONG = 40, 140
TOLERANCE = 1.10
SYNCS = ("fsync", "fdatasync", "msync", "sync_file_range", "syncfs", "synced write")
NOBODY = 65534
# The tools may be a build with sanitizers: what they hold at their end is not looked at here.
TOOL_ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")


class Skip(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def as_ordinary_user(argv):
    if os.geteuid() != 0:
        return argv
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]


def roles(supervisor):
    """pid -> role of the processes that the supervisor has started."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{pid}/cmdline") as f:
                argv = f.read().split("\0")
        except OSError:
            continue
        if parent == supervisor and "--role" in argv:
            found[int(pid)] = argv[argv.index("--role") + 1]
    return found


class House:
    """One server in a scratch folder, with a sink as its next hop."""

    def __init__(self, programs, mode, prefix=(), environment=None, config=""):
        self.programs = programs
        self.folder = tempfile.mkdtemp(prefix="mansio-cost-")
        os.chmod(self.folder, 0o777)
        self.port, sink_port = free_port(), free_port()
        via = "hold" if mode == "accept" else f"relay:[127.0.0.1]:{sink_port}"
        conf = os.path.join(self.folder, "conf")
        with open(conf, "w") as f:
            f.write(f'hostname = "mx.cost.test"\nstate_dir = "{self.folder}/state"\nrun_dir = "{self.folder}/run"\n'
                    f'log {{ to = "stderr" level = "info" }}\nlisten smtp {{ address = "127.0.0.1:{self.port}" tls = "none" }}\n'
                    f'relay_from = {{ "127.0.0.0/8" }}\nprocesses {{ inbound = 1 outbound = 1 }}\n'
                    f'limits {{ min_free = "0" }}\nroute "*" {{ via = "{via}" }}\n{config}')
        self.sink = subprocess.Popen([programs["sink"], f"127.0.0.1:{sink_port}"],
                                     stdout=subprocess.DEVNULL, env=TOOL_ENVIRONMENT)
        self.log_path = os.path.join(self.folder, "log")
        self.log, self.log_read = open(self.log_path, "w"), open(self.log_path)
        self.log_part, self.closed, self.done = "", 0, 0
        self.server = subprocess.Popen(as_ordinary_user([*prefix, programs["mansiod"], "-c", conf]), stdout=self.log,
                                       stderr=self.log, stdin=subprocess.DEVNULL, env=dict(os.environ, **(environment or {})))
        self.mode, self.sent = mode, 0
        try:
            self.send(1)
        except BaseException:
            self.close()
            self.remove()
            raise

    def send(self, count, *options):
        """One session; in mode relay one message at a time, each with its result on the disk before the next."""
        for size in [1] * count if self.mode == "relay" else [count]:
            self.send_some(size, *options)

    def send_some(self, count, *options):
        p = subprocess.run([self.programs["load"], "-w", "60", "-n", str(count), *options, f"127.0.0.1:{self.port}"],
                           stdout=subprocess.PIPE, text=True, check=False, env=TOOL_ENVIRONMENT)
        if p.returncode != 0:
            raise AssertionError(f"smtp_load: {p.stdout}\n{self.log_text()[-3000:]}")
        self.sent += count
        end = time.monotonic() + 60
        while not self.is_over():
            if time.monotonic() > end:
                raise AssertionError(f"of {self.sent} messages {self.closed} left their session, {self.done} are done\n"
                                     f"{self.log_text()[-3000:]}")
            time.sleep(0.002)

    def is_over(self):
        """The sessions are closed and, in mode relay, the results committed: the log tells both when they have happened."""
        lines = (self.log_part + self.log_read.read()).split("\n")
        self.log_part = lines.pop()
        for line in lines:
            closed = re.search(r" event=session_closed .* messages=(\d+)", line)
            self.closed += int(closed.group(1)) if closed else 0
            self.done += " event=message_done " in line
        return self.closed >= self.sent and (self.mode != "relay" or self.done >= self.sent)

    def log_text(self):
        with open(self.log_path) as f:
            return f.read()

    def close(self):
        self.server.send_signal(signal.SIGTERM)
        try:
            self.server.wait(60)
        finally:
            self.server.kill()
            self.sink.terminate()
            self.sink.wait()
            self.log.close()
            self.log_read.close()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def instructions(programs, count):
    """Instructions of each role in a run of `count` messages, start and stop included."""
    folder = tempfile.mkdtemp(prefix="mansio-callgrind-")
    os.chmod(folder, 0o777)
    house = House(programs, "relay",
                  ["valgrind", "-q", "--vgdb=no", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={folder}/%p"],
                  {"LD_PRELOAD": programs["shim"], "MANSIO_COST_PROGRAM": programs["mansiod"]},
                  "sandbox = false\n")  # valgrind knows no seccomp
    try:
        house.send(count)
    finally:
        house.close()
        house.remove()
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as f:
            text = f.read()
        role, total = re.search(r"^cmd:.* --role (\w+)", text, re.M), re.search(r"^totals: (\d+)", text, re.M)
        if role and total:
            found[role.group(1)] = int(total.group(1))
    shutil.rmtree(folder)
    return found


def instructions_cost(programs):
    short, long = instructions(programs, SHORT), instructions(programs, LONG)
    return {f"instructions {role}": (long[role] - short[role]) / (LONG - SHORT) for role in ("inbound", "queued", "outbound")}


def synced_descriptors(pids):
    found = set()
    for pid in pids:
        for fd in os.listdir(f"/proc/{pid}/fdinfo"):
            with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                flags = int(re.search(r"^flags:\s+([0-7]+)", f.read(), re.M).group(1), 8)
            if flags & os.O_DSYNC:
                found.add((pid, int(fd)))
    return found


class Trace:
    """strace over the roles of a house while `send` runs: lines (pid, call, rest), in order of time."""

    def __init__(self, house, options=()):
        self.roles = roles(house.server.pid)
        self.synced = synced_descriptors(self.roles)
        self.path = os.path.join(house.folder, "trace")
        self.p = subprocess.Popen(["strace", "-f", "-qq", "-o", self.path, *options] +
                                  [a for pid in self.roles for a in ("-p", str(pid))], stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 20
        while not all(self.traced(pid) for pid in self.roles):
            if self.p.poll() is not None or time.monotonic() > end:
                raise Skip("strace cannot attach: " + self.p.stderr.read())
            time.sleep(0.01)

    @staticmethod
    def traced(pid):
        with open(f"/proc/{pid}/status") as f:
            return not re.search(r"^TracerPid:\s+0$", f.read(), re.M)

    def lines(self):
        self.p.send_signal(signal.SIGINT)
        self.p.wait()
        self.p.stderr.close()
        with open(self.path, errors="replace") as f:
            for line in f:
                m = re.match(r"(\d+)\s+(\w+)\((.*)", line)
                if m:
                    pid, call, rest = int(m.group(1)), m.group(2), m.group(3)
                    fd = re.match(r"\d+", rest)
                    if call in ("pwrite64", "write", "writev") and fd and (pid, int(fd.group())) in self.synced:
                        call = "synced write"
                    yield pid, call, rest


def calls(programs, mode, options, count):
    house = House(programs, mode)
    try:
        house.send(5, *options)  # the ids, the pages and the connections that a first message needs
        trace = Trace(house)
        house.send(count, *options)
        found = {}
        for pid, call, _ in trace.lines():
            # How often a process looks about, and the look at the disk each second, are a matter of timing.
            if call not in ("epoll_wait", "restart_syscall", "statfs"):
                found[call] = found.get(call, 0) + 1
        return found
    finally:
        house.close()
        house.remove()


def calls_cost(programs):
    cost = {}
    for name, mode, options in (("accept", "accept", []), ("accept new connection", "accept", ["-k", "1"]), ("relay", "relay", [])):
        short, long = calls(programs, mode, options, SHORT), calls(programs, mode, options, LONG)
        per = {c: (long.get(c, 0) - short.get(c, 0)) / (LONG - SHORT) for c in set(short) | set(long)}
        cost[f"system calls {name}"] = sum(per.values())
        cost[f"syncs {name}"] = sum(v for c, v in per.items() if c in SYNCS)
        print(f"  {name}: " + ", ".join(f"{c} {v:.2f}" for c, v in sorted(per.items(), key=lambda x: -x[1]) if v >= 0.05))
    return cost


def durability(programs):
    """Between the write that holds a body and the 250 to its sender lie a sync of the data and the synced meta page."""
    house = House(programs, "accept")
    try:
        trace = Trace(house, ["-s", "8192", "-xx", "-e", "trace=pwrite64,writev,fdatasync,sendmsg"])
        house.send(20)
        number, seen, proven = 0, set(), 0
        for pid, call, rest in trace.lines():
            role = trace.roles.get(pid)
            if role == "queued":
                if f"X-Number: {number}\r\n".encode().hex() in rest.replace("\\x", ""):
                    seen = {"body"}
                elif call == "fdatasync" and "body" in seen:
                    seen.add("data sync")
                elif call == "synced write" and "data sync" in seen:
                    seen.add("meta")
            elif role == "inbound" and b"250 2.0.0 ok: queued".hex() in rest.replace("\\x", ""):
                if seen != {"body", "data sync", "meta"}:
                    raise AssertionError(f"message {number}: 250 after only {sorted(seen)}")
                number, seen, proven = number + 1, set(), proven + 1
        if proven != 20:
            raise AssertionError(f"{proven} of 20 messages were seen on their way to the disk")
        print("  250 came after body, data sync and synced meta page, 20 of 20 times")
    finally:
        house.close()
        house.remove()


def compare(cost):
    with open(RECORD) as f:
        before = json.load(f)
    bad = []
    for name, now in sorted(cost.items()):
        was = before.get(name)
        mark = ""
        if was is None or now > was * TOLERANCE:
            mark = "  MORE THAN 10 % OVER"
            bad.append(name)
        elif now < was / TOLERANCE:
            mark = "  less: record it"
        print(f"  {name:40}{now:12.1f}{was if was is not None else float('nan'):12.1f}{mark}")
    if bad:
        raise AssertionError("a message costs more than cost.json says: " + ", ".join(bad))


def main():
    release, tools, shim = sys.argv[1:4]
    programs = {"mansiod": os.path.join(release, "mansiod"), "load": os.path.join(tools, "smtp_load"),
                "sink": os.path.join(tools, "smtp_sink"), "shim": shim}
    for path in programs.values():
        if not os.path.exists(path):
            raise Skip(f"{path} is not there")
    for name in ("strace", "valgrind", "setpriv"):
        if shutil.which(name) is None:
            raise Skip(f"{name} is not installed")
    with tempfile.TemporaryDirectory(prefix="mansio-cost-bin-") as folder:
        os.chmod(folder, 0o755)
        for name in ("mansiod", "shim"):  # where the ordinary user can read them
            programs[name] = shutil.copy(programs[name], folder)
        measure(programs)


def measure(programs):
    print("durability:")
    durability(programs)
    print("system calls per message:")
    cost = calls_cost(programs)
    cost.update(instructions_cost(programs))
    print(f"  {'per message':40}{'now':>12}{'recorded':>12}")
    if "--record" in sys.argv:
        with open(RECORD, "w") as f:
            json.dump({k: round(v, 2) for k, v in sorted(cost.items())}, f, indent=2)
            f.write("\n")
    compare(cost)


try:
    main()
except Skip as e:
    print(f"skipped: {e}")
    sys.exit(77)
except AssertionError as e:
    print(f"FAILED: {e}")
    sys.exit(1)
