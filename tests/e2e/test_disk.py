#!/usr/bin/python3
"""A disk that is full, and a disk that lies: on a small file system of our own (a mount namespace, so root only), and with
rows changed behind the server's back."""
import os
import shutil
import subprocess
import sys
import unittest

import support  # noqa: F401
import case
from case import Case, give, main, need_root
from namespaces import mount_namespace
from ports import free_port
from sink import without_trace
from waiting import wait_until

ZONE = """
one IN MX 10 mx.one
mx.one IN A 127.0.0.2
back IN MX 10 mx.back
mx.back IN A 127.0.0.9
"""


class World(Case):
    def world(self, **kwargs):
        self.port = free_port()
        self.closed = True
        self.one = self.sink(self.port, "127.0.0.2",
                             {"rcpt": lambda s, a: b"451 4.2.1 not yet\r\n" if self.closed else None})
        self.back = self.sink(self.port, "127.0.0.9")
        return self.mansio(dns=self.dns(ZONE), mx_port=self.port, retry='plan = { "1h" } jitter = 0', **kwargs)

    def let_through(self, m):
        wait_until(lambda: all(r["state"] == "deferred" for r in m.recipients()), 30, m.log_tail)
        self.closed = False
        self.assertEqual(0, m.queuectl("retry", "all").returncode)


class Full(World):
    def small_disk(self, size):
        path = self.subfolder("disk")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", path], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=True)
        give(path)
        return path

    def fill(self, path, leave):
        """Leaves so many octets."""
        st = os.statvfs(path)
        with open(os.path.join(path, "filler"), "wb") as f:
            f.write(b"f" * max(0, st.f_bavail * st.f_frsize - leave))

    def content(self, i, size=100000):
        return f"Subject: message {i}\r\n\r\n".encode() + (b"%d " % i * 10 + b"\r\n") * (size // (len(str(i)) * 10 + 12))

    def try_to_send(self, m, i):
        with m.client() as c:
            c.ehlo()
            code, reply = c.mail("s@back.test")
            if code == 250:
                code, reply = c.rcpt("r@one.test")
            if code == 250:
                code, reply = c.data(self.content(i))
            return code, reply

    def run_into_the_wall(self, m, disk, leave):
        sent = [0]
        self.assertEqual(250, self.try_to_send(m, 0)[0])
        self.fill(disk, leave)
        refused = 0
        for i in range(1, 400):
            code, reply = self.try_to_send(m, i)
            if code == 250:
                sent.append(i)
                continue
            self.assertEqual(452, code, reply)
            self.assertRegex(reply, rb"^4\.3\.1 ")
            refused += 1
            if refused == 5:
                break
        self.assertEqual(5, refused, "the disk never was full")
        self.assertEqual(len(sent), len(m.list()), "nothing half stored, nothing acknowledged lost")
        return sent

    def check_whole(self, m, sent):
        self.one.wait(len(sent), 60, m.log_tail)
        m.wait_empty()
        self.assertEqual(sorted(self.content(i) for i in sent), sorted(without_trace(x.content) for x in self.one.messages))

    @need_root("a file system of its own")
    def test_commit_on_a_full_disk(self):
        disk = self.small_disk("32m")
        m = self.world(state_dir=disk + "/state", log_level="info")
        m.tolerate("queue_commit_failed", "queue_full")
        sent = self.run_into_the_wall(m, disk, 1500000)
        os.unlink(disk + "/filler")
        wait_until(lambda: self.try_to_send(m, 1000)[0] == 250, 20, m.log_tail)  # by itself, without a restart
        self.let_through(m)
        self.check_whole(m, sent + [1000])
        m.stop()
        r = m.queuectl("fsck")
        self.assertEqual(0, r.returncode, r.stdout + r.stderr)

    @need_root("a file system of its own")
    def test_refuses_in_time(self):
        """With min_free the server says no before the disk does."""
        disk = self.small_disk("32m")
        m = self.world(state_dir=disk + "/state", log_level="info")
        m.write(m.text.replace('min_free = "0"', 'min_free = "8M"'))
        m.stop()
        m.start()
        m.announce("queue_full")
        sent = self.run_into_the_wall(m, disk, 9000000)
        self.assertEqual([], m.events("queue_commit_failed"))
        st = os.statvfs(disk)
        self.assertGreater(st.f_bavail * st.f_frsize, 6000000)
        self.let_through(m)
        self.check_whole(m, sent)  # what was accepted is finished although nothing new is taken
        os.unlink(disk + "/filler")
        wait_until(lambda: self.try_to_send(m, 1000)[0] == 250, 20, m.log_tail)
        self.one.wait(len(sent) + 1, 30, m.log_tail)

    @need_root("a file system of its own")
    def test_restart_on_a_full_disk(self):
        disk = self.small_disk("32m")
        m = self.world(state_dir=disk + "/state", log_level="info")
        m.tolerate("queue_commit_failed", "queue_full", "child_ended")
        sent = self.run_into_the_wall(m, disk, 1500000)
        m.kill_supervisor()
        m.start()
        self.assertEqual(len(sent), len(m.list()))
        os.unlink(disk + "/filler")
        self.let_through(m)
        self.check_whole(m, sent)


@unittest.skipUnless(shutil.which("mdb_dump"), "lmdb-utils is not installed")
class Damaged(World):
    def tool(self, *args, stdin=b""):
        r = subprocess.run(case.as_ordinary_user(list(args)), input=stdin, capture_output=True)
        self.assertEqual(0, r.returncode, r.stderr)
        return r.stdout

    def damage(self, m, table, row):
        """Changes one octet in the middle of the value of the row."""
        queue = os.path.join(m.state, "queue")
        lines = self.tool("mdb_dump", "-s", table, queue).decode().split("\n")
        start = lines.index("HEADER=END") + 1
        at = start + 2 * row + 1
        value = lines[at]
        middle = 1 + (len(value) // 4) * 2
        lines[at] = value[:middle] + ("00" if value[middle:middle + 2] != "00" else "ff") + value[middle + 2:]
        text = "\n".join(lines[:start] + lines[at - 1:at + 1] + ["DATA=END", ""])
        self.tool("mdb_load", "-s", table, queue, stdin=text.encode())

    def test_rows(self):
        for table in ("message", "recipient", "body"):
            with self.subTest(table):
                m = self.world()
                for i in range(5):
                    m.send("s@back.test", [f"r{i}@one.test"], f"Subject: {i}\n\n{'x' * 50}\n")
                wait_until(lambda: all(r["state"] == "deferred" for r in m.recipients()), 20, m.log_tail)
                m.stop()
                self.damage(m, table, 2)
                r = m.queuectl("fsck")
                self.assertNotEqual(0, r.returncode, "fsck says nothing: " + r.stdout)
                self.assertIn("checksum", r.stdout + r.stderr)
                m.start()
                m.announce("queue_row_damaged")
                self.let_through(m)
                self.one.wait(4, 30, m.log_tail)
                m.wait_event("queue_row_damaged")
                self.assertEqual(["r0@one.test", "r1@one.test", "r3@one.test", "r4@one.test"],
                                 sorted(x.recipients[0] for x in self.one.messages))
                self.assertEqual([], m.events("child_ended"), "a damaged row stops nobody")
                # Still of use: new mail comes and goes.
                m.send("s@back.test", ["new@one.test"], "Subject: new\n\nx\n")
                self.one.wait(5, 30, m.log_tail)
                m.stop()
                for sink in (self.one, self.back):
                    sink.close()

    def test_file_of_nonsense(self):
        m = self.world(start=False)
        os.makedirs(m.state + "/queue")
        for path in (m.state, m.state + "/queue"):
            give(path)
        with open(m.state + "/queue/data.mdb", "wb") as f:
            f.write(os.urandom(65536))
        give(m.state + "/queue/data.mdb")
        m.spawn()
        self.assertEqual(1, m.process.wait(30), m.log_tail())
        m.stopped = m._checked = True
        self.assertRegex(m.log_text(), r"start_failed")
        self.assertRegex(m.log_text(), r"queue")

    def test_newer_schema(self):
        m = self.world()
        m.stop()
        queue = os.path.join(m.state, "queue")
        text = self.tool("mdb_dump", "-s", "meta", queue).decode()
        lines = text.split("\n")
        at = [i for i, line in enumerate(lines) if line.startswith(" " + b"schema".hex())]
        self.assertTrue(at, text)
        lines[at[0] + 1] = " " + "7f" * (len(lines[at[0] + 1].strip()) // 2)
        self.tool("mdb_load", "-s", "meta", queue, stdin="\n".join(lines).encode())
        m.spawn()
        self.assertEqual(1, m.process.wait(30), m.log_tail())
        m.stopped = m._checked = True
        self.assertRegex(m.log_text(), r"start_failed")
        self.assertRegex(m.log_text(), r"schema|newer")


if __name__ == "__main__":
    if case.IS_ROOT and not os.environ.get("MANSIO_TEST_UNSHARED"):
        if mount_namespace():
            os.environ["MANSIO_TEST_UNSHARED"] = "1"
            os.execvp("unshare", mount_namespace() + [sys.executable] + sys.argv)
        Full = unittest.skip("this machine gives no mount namespace")(Full)
    main()
