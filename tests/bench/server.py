"""A server under test, and the two ends of the load: peers/NAME.sh, smtp_load, smtp_sink."""
import json
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import machine
from waiting import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("MANSIO_BUILD", os.path.join(TOP, "build/release"))
PEERS = os.environ.get("MANSIO_PEERS", os.path.join(TOP, "build/peers"))
STATE = os.environ.get("MANSIO_BENCH_STATE", "/var/tmp/mansio-bench")
PORT, SINK_HOST, SINK_PORT = 2525, "127.0.0.2", 2526
NAMES = ("mansio", "postfix", "exim", "opensmtpd")


def tool(name):
    return os.path.join(BUILD, "tests", name)


class Server:
    """One start to stop of a server in its own control group."""

    def __init__(self, name, mode, wipe=True, lane_connections=50, tls=None):
        self.name, self.mode = name, mode
        self.env = dict(os.environ, STATE=STATE, PEERS=PEERS, BUILD=BUILD, MODE=mode, PORT=str(PORT), SINK_HOST=SINK_HOST,
                        SINK_PORT=str(SINK_PORT), LANE_CONNECTIONS=str(lane_connections), TLS_CERT=tls or "")
        if wipe:
            self.sh("wipe")
        self.group = machine.Group(name)
        self.syslog = None
        self.peak, self.peak_by, self.processes = 0.0, {}, 0
        self.sampling = None

    def sh(self, verb, *args):
        return subprocess.run([f"{HERE}/peers/{self.name}.sh", verb, *map(str, args)], env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False).stdout

    def start(self, wait=True):
        os.makedirs(STATE, exist_ok=True)
        if os.path.lexists("/dev/log"):
            os.unlink("/dev/log")
        self.syslog = subprocess.Popen([tool("syslog_sink"), "/dev/log", os.path.join(STATE, "syslog")],
                                       preexec_fn=self.group.join)
        while not os.path.exists("/dev/log"):
            time.sleep(0.005)
        subprocess.run([f"{HERE}/peers/{self.name}.sh", "start"], env=self.env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=None, preexec_fn=self.group.join, check=True)
        if wait:
            self.wait()
        return self

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", PORT), 5) as s:
                    s.settimeout(20)
                    if s.recv(4)[:3] == b"220":
                        return
            except OSError:
                pass
            time.sleep(0.005)
        raise SystemExit(f"{self.name} does not answer")

    def pids(self):
        skip = self.syslog.pid if self.syslog else -1
        return [p for p in self.group.pids() if p != skip]

    def calm(self, seconds=120):
        """Until it has done what it was given: a second with less than a hundredth of it spent."""
        spent = [self.group.cpu(), time.monotonic()]

        def is_calm():
            cpu, now = self.group.cpu(), time.monotonic()
            if now - spent[1] < 1:
                return False
            quiet = cpu - spent[0] < 0.01 * (now - spent[1])
            spent[:] = cpu, now
            return quiet
        wait_until(is_calm, seconds, f"{self.name} with nothing to do")

    def stop(self, wipe=True):
        self.sample_end()
        if self.pids():
            self.sh("stop")
        for _ in range(200):
            if not self.pids():
                break
            time.sleep(0.05)
        for pid in self.group.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.syslog:
            self.syslog.wait()
        while self.group.pids():
            time.sleep(0.01)
        self.group.remove()
        if wipe:
            self.sh("wipe")

    def kill(self):
        """As a crash."""
        for pid in self.group.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # went with its supervisor
                pass
        while self.group.pids():
            time.sleep(0.005)
        if self.syslog:
            self.syslog.wait()

    # --- what it costs ---

    def memory(self):
        by = machine.pss_mib(self.pids())
        return sum(by.values()), by

    def sample(self, every=0.5):
        """Watches the memory in the background until sample_end."""
        self.peak, self.peak_by, self.processes = 0.0, {}, 0
        done = threading.Event()

        def watch():
            while not done.wait(every):
                total, by = self.memory()
                self.processes = max(self.processes, len(self.pids()))
                if total > self.peak:
                    self.peak, self.peak_by = total, by
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        self.sampling = (done, thread)

    def sample_end(self):
        if self.sampling:
            self.sampling[0].set()
            self.sampling[1].join()
            self.sampling = None

    def meter(self):
        return {"cpu": self.group.cpu(), "by": machine.cpu_by_role(self.pids()), "io": machine.io_written(self.pids())}

    def metered(self, before, messages):
        """Cost per message since `before`."""
        after, n = self.meter(), max(messages, 1)
        return {"cpu_us": (after["cpu"] - before["cpu"]) / n * 1e6,
                "cpu_us_by": {k: round((v - before["by"].get(k, 0)) / n * 1e6, 1) for k, v in after["by"].items()},
                "written": (after["io"] - before["io"]) / n}


def runs_on(process, seconds, last=False):
    """So many seconds of its work; when it ends before, the measurement is void. `last`: it may be over."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    if not last:
        raise RuntimeError(f"the load ended early, with {process.returncode}")


def load(*args, to=f"127.0.0.1:{PORT}"):
    p = subprocess.run([tool("smtp_load"), *map(str, args), to], stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(p.stdout)


class Sink:
    def __init__(self, *args, at=f"{SINK_HOST}:{SINK_PORT}"):
        self.counters = os.path.join(STATE, "sink.count")
        self.p = subprocess.Popen([tool("smtp_sink"), "-c", self.counters, *map(str, args), at], stdout=subprocess.PIPE,
                                  text=True)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                socket.create_connection((at.split(":")[0], int(at.split(":")[1])), 1).close()
                break
            except OSError:
                time.sleep(0.005)
        self.file = open(self.counters, "rb")
        self.map = mmap.mmap(self.file.fileno(), 16, prot=mmap.PROT_READ)

    def count(self):
        return struct.unpack("QQ", self.map[:16])

    def wait(self, messages=0, recipients=0, idle=20):
        """Until so many came, or nothing came for `idle` seconds."""
        last, since = self.count(), time.monotonic()
        while last[0] < messages or last[1] < recipients:
            time.sleep(0.002)
            now = self.count()
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > idle:
                return False
        return True

    def end(self):
        self.p.terminate()
        out, _ = self.p.communicate()
        self.map.close()
        self.file.close()
        return json.loads(out)


class Names:
    """knot on 127.0.0.1:53; every name below test. has the sink at 127.0.0.9:25 as its MX."""

    def __init__(self):
        folder = os.path.join(STATE, "names")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with open(f"{folder}/test.zone", "w") as f:
            f.write("$ORIGIN test.\n$TTL 3600\n@ SOA ns root 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nmx A 127.0.0.9\n"
                    "* MX 10 mx\n*.bench MX 10 mx\n")
        with open(f"{folder}/knot.conf", "w") as f:
            f.write(f'server:\n    rundir: "{folder}"\n    listen: 127.0.0.1@53\n    udp-workers: 1\n    tcp-workers: 1\n'
                    f'database:\n    storage: "{folder}"\nlog:\n  - target: stderr\n    any: error\nzone:\n'
                    f'  - domain: test.\n    storage: "{folder}"\n    file: test.zone\n    journal-content: none\n'
                    '    zonefile-load: whole\n')
        self.p = subprocess.Popen(["knotd", "-c", f"{folder}/knot.conf"])
        time.sleep(1)

    def end(self):
        self.p.terminate()
        self.p.wait()


def certificate():
    pem = os.path.join(STATE, "cert.pem")
    if not os.path.exists(pem):
        subprocess.run(["sh", "-c", f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mta.bench.test -days 30 -keyout "
                        f"{pem}.k -out {pem}.c 2>/dev/null && cat {pem}.k {pem}.c >{pem} && rm {pem}.k {pem}.c && chmod 600 {pem}"], check=True)
    return pem
