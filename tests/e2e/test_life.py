#!/usr/bin/python3
"""A server's life: reload with sessions open, stop in seconds, rights given away, restart after any death, little memory."""
import os
import pwd
import re
import signal
import time
import unittest

import support  # noqa: F401
import case
from case import Case, figure, main, need_root
from mansio import pss_kib
from ports import free_port
from test_hostile_clients import Raw
from waiting import wait_until

HOLD = 'route "*" { via = "hold" }\n'


class Life(Case):
    def test_reload_keeps_sessions(self):
        m = self.mansio(config=HOLD)
        with Raw(m.port) as before, Raw(m.port) as idle:
            before.start()
            idle.hello()
            self.assertRegex(before.say(b"DATA\r\n"), rb"^354 ")
            before.socket.sendall(b"Subject: begun before the reload\r\n\r\n")
            m.write(m.text.replace('hostname = "mx.here.test"', 'hostname = "mx.new.test"'))
            m.reload()
            self.assertEqual([], m.events("reload_refused"))
            with Raw(m.port) as after:
                self.assertRegex(after.reply(), rb"^220 mx\.new\.test ")
            self.assertRegex(before.say(b"x\r\n.\r\n"), rb"^250 .*queued as")
            self.assertRegex(before.say(b"NOOP\r\n"), rb"^(250|421) ")
            self.assertRegex(idle.say(b"MAIL FROM:<a@b.test>\r\n"), rb"^(250|421) ")
        self.assertEqual(1, len(m.list()))
        m.send("a@b.test", ["c@d.test"], "Subject: after\n\nx\n")
        self.assertEqual(2, len(m.list()))

    def test_reload_of_nonsense_changes_nothing(self):
        m = self.mansio(config=HOLD)
        m.announce("reload_refused")
        m.write("nonsense = 1\n")
        m.reload()
        m.write(m.text)
        self.assertRegex(m.events("reload_refused")[0]["why"] + m.events("reload_refused")[0]["config"], r":1: .*nonsense|nonsense")
        m.send("a@b.test", ["c@d.test"], "Subject: x\n\nx\n")

    def test_reload_opens_and_closes_ports(self):
        m = self.mansio(config=HOLD)
        more = free_port()
        m.write(m.text + f'listen "more" {{ class = "smtp" address = "127.0.0.1:{more}" }}\n')
        m.reload()
        with Raw(more) as c:
            self.assertRegex(c.reply(), rb"^220 ")
        m.write(m.text)
        m.reload()

        def closed():
            try:
                with Raw(more, 1):
                    return False
            except OSError:
                return True
        wait_until(closed, 15, m.log_tail)

    def test_stop_with_sessions_open(self):
        m = self.mansio(config=HOLD)
        with Raw(m.port) as idle, Raw(m.port) as busy, Raw(m.port) as silent:
            idle.hello()
            busy.start()
            busy.say(b"DATA\r\n")
            busy.socket.sendall(b"Subject: x\r\n")
            self.assertLess(m.stop(), 12)
            self.assertRegex(idle.reply(), rb"^(421 |$)")
            silent.closed()
        m.start()
        self.assertEqual([], m.list(), "what was not acknowledged was not kept")

    def test_stop_when_idle_is_quick(self):
        m = self.mansio(config=HOLD)
        self.assertLess(m.stop(), 3)

    def test_each_process_comes_back(self):
        m = self.mansio(config=HOLD + f'domain "box.test" {{ deliver = "maildir" maildir = "{self.subfolder("b")}/%u" }}\n')
        m.announce("child_ended")
        ids = []
        for role in ("inbound", "outbound", "queued", "local"):
            with self.subTest(role):
                wait_until(lambda: m.pids(role), 20, m.log_tail)
                old = m.kill(role)
                wait_until(lambda: m.pids(role) and m.pids(role) != [old], 20, lambda: f"a new {role}\n" + m.log_tail())
                m.wait_ready()
                ids.append(wait_until(lambda: self.try_to_send(m), 20, m.log_tail))
                self.assertEqual(ids, [x["id"] for x in m.list()])

    def try_to_send(self, m):
        """The id, or None where the client is told to come again, as while queued starts."""
        with m.client() as c:
            c.ehlo()
            if c.mail("a@b.test")[0] != 250 or c.rcpt("c@d.test")[0] != 250:
                return None
            code, reply = c.data(b"Subject: x\r\n\r\nx\r\n")
            self.assertIn(code, (250, 451))
            return reply.decode().split()[-1] if code == 250 else None

    def test_killed_while_starting(self):
        """A process that is killed from outside before all are ready does not end the start."""
        m = self.mansio(config=HOLD, start=False)
        m.announce("child_ended")
        m.spawn()
        wait_until(lambda: m.kill("queued"), 20, m.log_tail)
        m.wait_event("started", 30)
        m.wait_ready()

    def test_supervisor_takes_all_with_it(self):
        m = self.mansio(config=HOLD)
        id = m.send("a@b.test", ["c@d.test"], "Subject: x\n\nx\n")
        m.kill_supervisor()
        m.start(10)  # at once: no lock, pid file or socket needs a hand
        self.assertEqual([id], [x["id"] for x in m.list()])
        m.stop()
        m.start()
        m.kill_supervisor()
        wait_until(lambda: not m.pids(), 5, lambda: f"no process left behind: {m.pids()}")

    def test_stop_by_interrupt(self):
        m = self.mansio(config=HOLD)
        m.process.send_signal(signal.SIGINT)
        self.assertEqual(0, m.process.wait(10))
        m.stopped = True

    def ids(self, pid):
        with open(f"/proc/{pid}/status") as f:
            text = f.read()
        return [set(re.search(rf"^{k}:\s+(.*)$", text, re.M).group(1).split()) for k in ("Uid", "Gid", "Groups")]

    @need_root("only root has rights to give away")
    def test_rights_are_given_away(self):
        m = self.mansio(as_root=True, user="nobody",
                        config=f'domain "box.test" {{ deliver = "maildir" maildir = "{self.subfolder("b")}/%u" }}\n')
        nobody = pwd.getpwnam("nobody")
        for role in ("inbound", "outbound", "queued"):
            for pid in m.pids(role):
                with self.subTest(role):
                    uid, gid, groups = self.ids(pid)
                    self.assertEqual(({str(nobody.pw_uid)}, {str(nobody.pw_gid)}), (uid, gid))
                    self.assertLessEqual(groups, {str(nobody.pw_gid)})
        self.assertEqual({"0"}, self.ids(m.process.pid)[0])
        m.send("a@b.test", ["alice@box.test"], "Subject: x\n\nx\n")
        m.wait_empty()
        self.assertEqual(1, len(os.listdir(os.path.join(self.path("b"), "alice", "new"))))

    @need_root("the ordinary user is another")
    def test_others_may_not_steer_the_queue(self):
        m = self.mansio(config=HOLD)
        id = m.send("a@b.test", ["c@d.test"], "Subject: x\n\nx\n")
        other = ["setpriv", f"--reuid={pwd.getpwnam('games').pw_uid}", "--regid=60", "--clear-groups"]
        r = self.run_program(other + [m.program("queuectl"), "-c", m.conf, "--yes", "--now", "delete", id])
        self.assertNotEqual(0, r.returncode)
        r = self.run_program(other + [m.program("queuectl"), "-c", m.conf, "--json", "list"])
        self.assertEqual("", r.stdout, "nor see mail that they did not send")
        self.assertEqual([id], [x["id"] for x in m.list()])

    @unittest.skipUnless(os.path.exists(os.path.join(case.RELEASE, "mansiod")), "no release build (tests/run makes one)")
    def test_idle_memory(self):
        m = self.mansio(build=case.RELEASE, config=HOLD, log_level="info")
        m.send("a@b.test", ["c@d.test"], "Subject: x\n\nx\n")
        pids = m.pids()
        kib = pss_kib(pids)
        figure(f"idle: {kib / 1024:.1f} MiB PSS in {len(pids)} processes")
        self.assertLess(kib, 16 * 1024)

    def test_mailq(self):
        m = self.mansio(config=HOLD)
        self.assertEqual("Mail queue is empty", m.mailq().stdout.strip())
        id = m.send("a@b.test", ["c@d.test"], "Subject: x\n\nx\n")
        r = m.mailq()
        self.assertEqual(0, r.returncode)
        self.assertIn(id, r.stdout)
        self.assertRegex(r.stdout.splitlines()[-1], r"^-- \d+ Kbytes in 1 Request")


if __name__ == "__main__":
    main()
