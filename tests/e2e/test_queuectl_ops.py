#!/usr/bin/python3
"""queuectl backup, restore, compact, reload, stop, drain and doctor on live daemons."""
import json
import os
import threading

import support  # noqa: F401
from case import Case, main
from waiting import wait_until

HOLD = 'route "*" { via = "hold" }'


class Ops(Case):
    def ctl(self, m, *args, ok=0, timeout=60):
        r = m.queuectl(*args, timeout=timeout)
        self.assertEqual(ok, r.returncode, r.stdout + r.stderr + m.log_tail())
        return r.stdout + r.stderr

    def test_backup_under_load_and_restore_elsewhere(self):
        m = self.mansio(config=HOLD)
        acknowledged, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                acknowledged.append(m.send("a@here.test", ["b@one.test"], "Subject: load\n\n" + "x" * 2000 + "\n"))
        sender = threading.Thread(target=load)
        sender.start()
        try:
            wait_until(lambda: len(acknowledged) >= 20, 30)
            before = list(acknowledged)
            copy = self.subfolder("copy")
            self.assertIn("backed up", self.ctl(m, "backup", copy))
            wait_until(lambda: len(acknowledged) >= len(before) + 5, 30)
        finally:
            stop.set()
            sender.join()
        self.assertIn("there is a backup already", self.ctl(m, "backup", copy, ok=1))
        other = self.mansio(name="other", config=HOLD, start=False)
        self.ctl(m, "restore", copy, ok=1)  # not over a running daemon's queue
        self.assertIn("restored", self.ctl(other, "restore", copy))
        self.assertIn("the queue is sound", self.ctl(other, "fsck"))
        other.start()
        kept = {x["id"] for x in other.list()}
        self.assertEqual(set(), set(before) - kept)
        new = other.send("a@here.test", ["b@one.test"], "Subject: new\n\nx\n")
        self.assertNotIn(new, kept)
        other.stop()
        self.assertIn("move it away first", self.ctl(other, "restore", copy, ok=1))

    def test_a_damaged_backup_is_not_restored(self):
        m = self.mansio(config=HOLD)
        for _ in range(5):
            m.send("a@here.test", ["b@one.test"], "Subject: x\n\n" + "needle " * 300 + "\n")
        copy = self.subfolder("copy")
        self.ctl(m, "backup", copy)
        m.stop()
        path = os.path.join(copy, "data.mdb")
        with open(path, "rb") as f:
            data = f.read()
        with open(path, "wb") as f:
            f.write(data.replace(b"b@one.test", b"b@two.test"))
        other = self.mansio(name="other", config=HOLD, start=False)
        self.assertIn("this backup is damaged", self.ctl(other, "restore", copy, ok=1))
        self.assertFalse(os.path.exists(os.path.join(other.state, "queue", "data.mdb")))

    def test_compact(self):
        m = self.mansio(config=HOLD)
        keep = m.send("a@here.test", ["b@one.test"], "Subject: keep\n\nx\n")
        gone = [m.send("a@here.test", ["b@one.test"], "Subject: x\n\n" + ("x" * 70 + "\n") * 20000) for _ in range(4)]
        self.ctl(m, "--now", "delete", *gone)
        self.assertIn("queuectl stop", self.ctl(m, "compact", ok=1))
        self.assertIn("stopped", self.ctl(m, "stop"))
        m.process.wait(10)
        path = os.path.join(m.state, "queue", "data.mdb")
        before = os.path.getsize(path)
        self.assertIn("compacted", self.ctl(m, "compact"))
        self.assertLess(os.path.getsize(path), before // 2)
        m.stopped = True
        m.start()
        self.assertEqual([keep], [x["id"] for x in m.list()])
        m.send("a@here.test", ["b@one.test"], "Subject: more\n\nx\n")

    def test_reload_stop_and_what_they_say_without_a_daemon(self):
        m = self.mansio(config=HOLD)
        self.ctl(m, "reload")
        m.wait_event("reloaded")
        self.ctl(m, "stop")
        self.assertEqual(0, m.process.wait(10))
        m.stopped = True
        for verb in ("reload", "stop", "metrics"):
            self.assertIn("mansiod -c", self.ctl(m, verb, ok=69))

    def test_drain(self):
        hop = self.sink(script={"rcpt": lambda s, arg: b"450 4.2.0 later\r\n" if b"later" in arg else None})
        m = self.mansio(config=f'route "*" {{ via = "relay:[127.0.0.1]:{hop.port}" }}',
                        retry='plan = { "1h" } jitter = 0')
        for i in range(10):
            m.send("a@one.test", [f"b{i}@one.test"], "Subject: x\n\nx\n")
        m.send("a@one.test", ["later@one.test"], "Subject: x\n\nx\n")
        self.assertIn("all that could go has gone; 1 recipients wait", self.ctl(m, "drain"))
        self.assertEqual(10, len(hop.messages))
        with m.client() as c:
            c.ehlo()
            self.assertEqual(452, c.mail("a@one.test")[0])

    def test_doctor(self):
        m = self.mansio(hostname="localhost", config=HOLD)  # and no DNS server answers
        r = m.queuectl("--json", "doctor")
        found = {}
        for line in r.stdout.splitlines():
            finding = json.loads(line)
            self.assertIn(finding["verdict"], ("ok", "warning", "problem"))
            self.assertEqual(finding["verdict"] == "ok", finding["cure"] == "")
            found[finding["check"]] = finding
        self.assertEqual(1, r.returncode)
        self.assertEqual("problem", found["hostname"]["verdict"])
        for check in ("daemon", "listener", "relay", "disk"):
            self.assertEqual("ok", found[check]["verdict"], found[check])
        self.assertEqual("problem", found["resolver"]["verdict"])
        m.stop()
        wide = m.text.replace('"127.0.0.0/8"', '"0.0.0.0/0"')
        m.write(wide)
        r = m.queuectl("doctor")
        self.assertIn("an open relay", r.stdout)
        self.assertIn("cure: start mansiod", r.stdout)


if __name__ == "__main__":
    main()
