"""One whole server under test: writes its configuration, starts it in the foreground, stops it, reads its log.

    m = Mansio(case, hostname="mx.here.test", dns=server, config='route "*" { via = "mx" port = 2525 }')
    m.start();  m.send("a@b.test", ["c@d.test"], b"...");  m.list();  m.kill("queued");  m.stop()

Every event of level warning or error must have been announced by the test (m.announce("child_ended"): must come;
m.tolerate(...): may come); any other fails the test, as does every report of a sanitizer."""
import glob
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import time

import case
from ports import free_port
from waiting import wait_until

_SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehavior|ASSERT|assertion", re.I)


class Mansio:
    def __init__(self, test, hostname="mx.here.test", dns=None, config="", name="m", port=None, listen="", limits="",
                 retry='plan = { "200ms", "1s" } jitter = 0', timeouts="", relay=True, build=case.BUILD, user=None,
                 log_level="debug", as_root=False, state_dir=None, inbound=1, outbound=1, mx_port=None, tail="",
                 environment=None):
        self.test, self.hostname, self.build = test, hostname, build
        self.port = port or free_port()
        while os.path.exists(test.path(name)):  # several in one test: m, m1, m11
            name += "1"
        self.name, self.folder = name, test.subfolder(name)
        self.state = state_dir or os.path.join(self.folder, "state")
        self.run_dir = os.path.join(self.folder, "run")
        self.conf = os.path.join(self.folder, "mansio.conf")
        self.log_path = os.path.join(self.folder, "log")
        self.as_root, self.environment = as_root, environment or {}
        self.process = None
        self._announced, self._tolerated = set(), set()
        self._checked = False
        self.stopped = False
        servers = f'dns {{ servers = {{ "{dns.address}" }} timeout = "2s" tries = 2 }}\n' if dns is not None else \
            'dns { servers = { "127.0.0.1:9" } timeout = "1s" tries = 1 }\n'
        self.text = (
            f'hostname = "{hostname}"\n'
            + (f'user = "{user}"\n' if user else "")
            + f'state_dir = "{self.state}"\nrun_dir = "{self.run_dir}"\n'
            + f'log {{ to = "stderr" format = "json" level = "{log_level}" }}\n'
            + f'listen smtp {{ address = "127.0.0.1:{self.port}" {listen} }}\n'
            + ('relay_from = { "127.0.0.0/8", "::1" }\n' if relay else 'relay_from = { "192.0.2.255" }\n')
            + servers
            + f"retry {{ {retry} }}\n"
            + (f"timeouts {{ {timeouts} }}\n" if timeouts else "")
            + f'limits {{ min_free = "0" {limits} }}\n'
            + f"processes {{ inbound = {inbound} outbound = {outbound} }}\n"
            + (f'route "*" {{ via = "mx" port = {mx_port} }}\n' if mx_port else "")
            + config + "\n" + tail)
        self.write(self.text)
        test.addCleanup(self.close)

    # --- configuration and programs ---

    def write(self, text):
        with open(self.conf, "w") as f:
            f.write(text)
        os.chmod(self.conf, 0o644)

    def program(self, name):
        return os.path.join(case.programs(self.build), name)

    def has(self, name):
        return os.path.exists(self.program(name))

    def check(self, conf=None):
        return self.test.run_program([self.program("mansiod"), "-t", "-c", conf or self.conf])

    def queuectl(self, *args, timeout=60):
        return self.test.run_program([self.program("queuectl"), "-c", self.conf, *args], timeout=timeout)

    def mailq(self):
        return self.test.run_program([self.program("mailq"), "-c", self.conf])

    def _environment(self):
        env = dict(os.environ)
        # Where a root process gives its rights away the leak checker cannot trace it; the others check for leaks.
        leaks = 0 if self.as_root else 1
        env["ASAN_OPTIONS"] = f"detect_leaks={leaks}:abort_on_error=0:exitcode=99:disable_coredump=1"
        env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
        env.pop("MANSIO_CONFIG", None)
        env.pop("NOTIFY_SOCKET", None)
        return {**env, **self.environment}

    # --- life ---

    def spawn(self):
        argv = [self.program("mansiod"), "-c", self.conf]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv if self.as_root else case.as_ordinary_user(argv),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment(),
                                            cwd="/", start_new_session=True)
        self.stopped = False
        return self.process

    def start(self, seconds=30):
        self.spawn()
        self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds=30):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"mansiod ended with {self.process.returncode}:\n{self.log_tail()}")
            return self.greets()
        wait_until(ready, seconds, lambda: "the greeting of mansiod\n" + self.log_tail())

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.settimeout(1)
                return s.recv(4) == b"220 "
        except OSError:
            return False

    def reload(self):
        reloads = len(self.events("reloaded", "reload_refused"))
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(self.events("reloaded", "reload_refused")) > reloads, 20,
                   lambda: "reload\n" + self.log_tail())

    def stop(self, seconds=20, check=True):
        """SIGTERM; returns how long it took."""
        began = time.monotonic()
        if self.process is None or self.stopped:
            return 0.0
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill_all()
            raise AssertionError(f"mansiod did not stop within {seconds} s of SIGTERM\n{self.log_tail()}")
        took = time.monotonic() - began
        self.stopped = True
        self.test.assertEqual(0, status, f"mansiod's exit status\n{self.log_tail()}")
        self.test.assertEqual([], self.pids(), "processes left behind")
        if check:
            self.check_log()
        return took

    def kill_supervisor(self):
        """kill -9 of the supervisor, as a crash."""
        self.process.kill()
        self.process.wait()
        self.stopped = True

    def pids(self, role=None):
        """Processes of this server: those of the session that we started it in."""
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as f:
                    fields = f.read().rsplit(")", 1)[1].split()
                with open(os.path.dirname(path) + "/cmdline", "rb") as f:
                    argv = f.read().split(b"\0")
            except OSError:
                continue
            if fields[0] == "Z" or self.process is None or int(fields[3]) != self.process.pid:
                continue
            pid = int(path.split("/")[2])
            name = argv[2].decode() if len(argv) > 2 and argv[1] == b"--role" else "supervisor"
            if role is None or role == name:
                found.append(pid)
        return sorted(found)

    def kill(self, role, sig=signal.SIGKILL):
        """Sends the signal to one process of the role; returns its id, or None if none runs just now."""
        pids = self.pids(role)
        if not pids:
            return None
        try:
            os.kill(pids[0], sig)
        except ProcessLookupError:
            return None
        return pids[0]

    def _kill_all(self):
        for _ in range(50):
            pids = self.pids()
            if not pids:
                break
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        if self.process is not None:
            self.process.wait()

    def close(self):
        """At the end of every test: an orderly stop, and the log is looked at."""
        if self.process is None:
            return
        try:
            if not self.stopped and self.process.poll() is None:
                self.stop(check=False)
            elif not self.stopped:
                raise AssertionError(f"mansiod ended by itself with {self.process.returncode}\n{self.log_tail()}")
        finally:
            self._kill_all()
            self.stopped = True
        if not self._checked:
            self.check_log()

    # --- log ---

    def log_text(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=25):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def log_events(self):
        events = []
        for line in self.log_text().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def events(self, *names, **fields):
        return [e for e in self.log_events() if e.get("event") in names
                and all(str(e.get(k)) == str(v) for k, v in fields.items())]

    def wait_event(self, name, seconds=30, **fields):
        wait_until(lambda: self.events(name, **fields), seconds,
                   lambda: f"event {name} {fields}\n" + self.log_tail())
        return self.events(name, **fields)[-1]

    def announce(self, *names):
        """These warnings or errors must come."""
        self._announced.update(names)

    def tolerate(self, *names):
        self._tolerated.update(names)

    def check_log(self):
        self._checked = True
        text = self.log_text()
        reports = [line for line in text.splitlines() if _SANITIZER.search(line) and not line.startswith("{")]
        if reports:
            start = text.index(reports[0])
            self.test.fail("a sanitizer or an assertion spoke:\n" + text[start:start + 6000])
        loud, odd = [], []
        seen = set()
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                # The leak checker says that when a thread ends, or is killed, while it looks; it then looks again.
                if line.strip() and "Unable to get registers from thread" not in line:
                    odd.append(line)
                continue
            seen.add(event.get("event"))
            if event.get("level") in ("warning", "error") and \
                    event.get("event") not in self._announced | self._tolerated:
                loud.append(line)
        self.test.assertEqual([], loud[:10], "unannounced warnings or errors in the log")
        self.test.assertEqual([], odd[:10], "lines in the log that are no events")
        self.test.assertEqual(set(), self._announced - seen, "announced events that did not come")

    # --- mail ---

    def client(self, timeout=60):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.test", timeout=timeout)

    def send(self, sender, recipients, message, mail_options=(), rcpt_options=()):
        """Sends by smtplib; returns the id in the reply to the message."""
        if isinstance(message, str):
            message = message.replace("\n", "\r\n").encode()
        with self.client() as c:
            c.ehlo()
            code, reply = c.mail(sender, list(mail_options))
            self.test.assertEqual(250, code, reply)
            for r in recipients:
                code, reply = c.rcpt(r, list(rcpt_options))
                self.test.assertEqual(250, code, reply)
            code, reply = c.data(message)
            self.test.assertEqual(250, code, reply)
        return reply.decode().split()[-1]

    def list(self):
        r = self.queuectl("--json", "list")
        self.test.assertEqual(0, r.returncode, r.stderr + self.log_tail())
        return [json.loads(line) for line in r.stdout.splitlines()]

    def recipients(self, to=None):
        return [dict(r, id=m["id"], sender=m["from"]) for m in self.list() for r in m["recipients"]
                if to is None or r["to"] == to]

    def wait_empty(self, seconds=60):
        wait_until(lambda: not self.list(), seconds,
                   lambda: f"an empty queue; it holds {self.list()[:3]}\n" + self.log_tail())

    def wait_recipient(self, to, seconds=30, **fields):
        """Waits until a recipient in the queue shows these fields; a callable value is asked."""
        def fits():
            for r in self.recipients(to):
                if all(v(r.get(k)) if callable(v) else r.get(k) == v for k, v in fields.items()):
                    return r
            return None
        return wait_until(fits, seconds, lambda: f"{to} {fields}: {self.recipients(to)}\n" + self.log_tail())


def pss_kib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total
