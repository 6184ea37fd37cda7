#!/usr/bin/python3
"""sendmail while nobody answers: dropped, synced, handed in later, once each, by whoever dropped it."""
import collections
import fcntl
import glob
import os
import re
import socket
import stat
import subprocess
import time
import unittest

import support  # noqa: F401
from callers import SendmailCase
from case import BUILD, IS_ROOT, RELEASE, as_ordinary_user, figure, give, main, need_root, programs
from waiting import wait_until

CALLS = 1000


class Drop(SendmailCase):
    def folder_path(self):
        return os.path.join(self.m.state, "drop")

    def dropped(self):
        return sorted(glob.glob(self.folder_path() + "/*"))

    def test_mode(self):
        self.house(sink=False)
        mode = os.lstat(self.folder_path()).st_mode
        self.assertTrue(stat.S_ISDIR(mode))
        self.assertEqual(0o1733, stat.S_IMODE(mode))

    @unittest.skipUnless(os.path.exists("/usr/bin/strace"), "no strace")
    def test_thousand_in_parallel(self):
        """Called while the server is down, then started: each delivered, none twice, each file synced before exit 0."""
        build = RELEASE if os.path.exists(os.path.join(RELEASE, "sendmail")) else BUILD
        self.house(limits="sessions_per_client = 5000", build=build)
        self.m.stop()
        command = os.path.join(programs(build), "sendmail")
        env = dict(os.environ, MANSIO_CONFIG=self.m.conf, ASAN_OPTIONS="detect_leaks=0")
        script = ("one() { printf 'Subject: call-%%s-end\\n\\nbody\\n' $1 | '%s' -i user$1@out.test || echo failed $1; }; "
                  "for i in $(seq $0 $1); do one $i & [ $((i %% 40)) -ne 0 ] || wait; done; wait" % command)
        trace = os.path.join(give(self.subfolder("trace")), "out")
        strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", trace, "-e", "signal=none", "-e",
                  "trace=write,fsync,fdatasync,unlink,unlinkat,exit_group"]
        began = time.monotonic()
        r = subprocess.run(as_ordinary_user([*strace, "bash", "-c", script, "1", str(CALLS)]), env=env, capture_output=True, cwd="/",
                           timeout=200)
        self.assertEqual((b"", b""), (r.stdout, r.stderr))
        self.assertEqual(CALLS, len(self.dropped()))
        dropped_s = time.monotonic() - began
        self.assertEqual(CALLS, self.synced_before_exit(trace))
        began = time.monotonic()
        self.m.start()
        wait_until(lambda: not self.dropped(), 120, lambda: f"{len(self.dropped())} left\n" + self.m.log_tail())
        self.m.wait_empty(120)
        figure(f"{CALLS} calls of sendmail, 40 at a time, without a server: {dropped_s:.1f} s under strace, each synced before it "
               f"ended; {time.monotonic() - began:.1f} s from the server's start until all were delivered once")
        seen = collections.Counter(re.search(rb"call-(\d+)-end", m.content).group(1) for m in self.out.messages)
        self.assertEqual(CALLS, len(seen))
        self.assertEqual({1}, set(seen.values()))

    def synced_before_exit(self, path):
        """How many processes wrote a message and ended with 0, each after a sync of all that it wrote; strace's word."""
        calls = collections.defaultdict(list)
        with open(path, errors="replace") as f:
            for line in f:
                pid, call = line.split(None, 1)
                if call.startswith("<... "):  # the end of a call that others ran beside
                    calls[pid][-1] += call
                else:
                    calls[pid].append(call)
        count = 0
        for own in calls.values():
            if not any("mansio-drop 1 " in c for c in own):
                continue
            count += 1
            at = max(i for i, c in enumerate(own) if c.startswith("write("))
            for sync in own[at + 1:at + 3]:  # the file, then the folder: this user may open it
                self.assertRegex(sync, r"(?s)^fsync\(.*= 0", own)
            self.assertRegex(own[-1], r"^exit_group\(0[ )]", own)
            self.assertFalse([c for c in own if c.startswith("unlink")], own)
        return count

    def test_kept_whole(self):
        """Envelope, options and odd content survive the folder."""
        self.house()
        self.m.stop()
        body = b"caf\xc3\xa9\n.\n..\n" + b"z" * 70000 + b"\n"
        self.call("-i", "-f", "<>", "-N", "never", "-R", "hdrs", "-V", "my id", "user@out.test", "other@out.test",
                  stdin=b"Subject: kept\n\n" + body)
        self.call("-t", stdin=b"To: user@out.test\nBcc: secret@out.test\nSubject: blind-drop\n\nx\n")
        self.m.start()
        message = self.arrived("Subject: kept")[0]
        self.assertEqual("", message.sender)
        self.assertEqual(["other@out.test", "user@out.test"], self.recipients("Subject: kept"))
        self.assertTrue(message.content.endswith(body.replace(b"\n", b"\r\n")))
        self.assertIn(b"RET=HDRS", message.mail)
        self.assertIn(b"ENVID=my+20id", message.mail)
        self.assertIn(b"NOTIFY=NEVER", message.rcpts[0])
        self.assertNotIn(b"secret", self.arrived("blind-drop")[0].content)

    def test_while_running(self):
        """A server that turns everybody away, and takes mail again."""
        self.house()
        path = os.path.join(self.m.run_dir, "inject")
        os.rename(path, path + ".away")
        self.call("user@out.test", stdin=b"Subject: later\n\nbody\n")
        self.assertEqual(1, len(self.dropped()))
        os.rename(path + ".away", path)
        self.assertEqual(["user@out.test"], self.recipients("Subject: later"))
        wait_until(lambda: not self.dropped(), 10, "an empty drop folder")

    def test_no_folder(self):
        self.house(sink=False)
        self.m.stop()
        os.rmdir(self.folder_path())
        r = self.call("user@out.test", stdin=b"Subject: x\n\nbody\n", code=75)
        self.assertIn(b"could not be kept", r.stderr)

    def test_no_room(self):
        self.house(sink=False)
        self.m.stop()
        with open(self.m.conf) as f:
            text = f.read()
        self.m.write(text.replace('min_free = "0"', 'min_free = "4000000G"'))
        self.call("user@out.test", stdin=b"Subject: x\n\nbody\n", code=75)
        self.assertEqual([], self.dropped())

    def plant(self, name, to, owner=True):
        """A message in the folder that nobody's sendmail wrote; owner: it belongs to the server's user."""
        envelope, content = f"Fa@b.test\nR{to}\n", "Subject: planted\r\n\r\nx\r\n"
        path = self.file("planted", f"mansio-drop 1 {len(envelope)} {len(content)}\n{envelope}{content}")
        if owner:
            give(path)
        os.rename(path, os.path.join(self.folder_path(), name))
        return os.path.join(self.folder_path(), name)

    def test_strange_files(self):
        """Links, folders, sockets and what is no message are put aside, not followed, and hold nobody up."""
        self.house()
        self.m.stop()
        folder = self.folder_path()
        self.plant("good", "good@out.test")
        secret = self.plant("0-symlink", "link@out.test")
        os.rename(secret, self.path("secret"))
        os.symlink(self.path("secret"), folder + "/0-symlink")
        os.link(self.plant("1-name", "names@out.test"), folder + "/1-second-name")
        os.mkfifo(folder + "/2-fifo")
        os.mkdir(folder + "/3-folder")
        s = socket.socket(socket.AF_UNIX)
        s.bind(folder + "/4-socket")
        s.close()
        for name, text in (("5-words", b"hello"), ("6-control", b"mansio-drop 1 16 1\nFa@b\nRc@d\rRSET\r\nx"),
                           ("7-size", b"mansio-drop 1 99999999999 1\n"), ("8-nobody", b"mansio-drop 1 5 1\nFa@b\nx")):
            with open(os.path.join(folder, name), "wb") as f:
                f.write(text)
            give(os.path.join(folder, name))
        with open(folder + "/9-unfinished", "wb") as f:
            f.write(b"mansio-drop 1 5 100\nFa@b\nx")
        give(folder + "/9-unfinished")
        aside = ["0-symlink", "1-name", "1-second-name", "2-fifo", "3-folder", "4-socket", "5-words", "6-control", "7-size", "8-nobody"]
        if IS_ROOT:  # whose server runs as somebody else: not its mail to send
            self.plant("a-others", "others@out.test", owner=False)
            aside.append("a-others")
        self.m.start()
        self.m.wait_event("drop_picked_up")
        self.assertEqual(sorted([".bad-" + name for name in aside] + ["9-unfinished"]), sorted(os.listdir(folder)))
        self.m.wait_empty()
        self.assertEqual([["good@out.test"]], [m.recipients for m in self.out.messages])
        self.assertTrue(os.path.getsize(self.path("secret")))

    def test_being_written(self):
        """A file whose writer holds its lock is left until it is done."""
        self.house()
        self.m.stop()
        with open(self.plant("good", "good@out.test"), "rb+") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.m.start()
            self.m.wait_event("drop_picked_up")
            self.assertEqual((["good"], []), (os.listdir(self.folder_path()), self.out.messages))
        self.out.wait(1)

    @unittest.skipUnless(os.path.exists("/usr/bin/strace"), "no strace")
    def test_bound_per_user(self):
        """One user's 1,200 files: a round looks into 1,000 of them."""
        self.house(sink=False)
        self.m.stop()
        for i in range(1200):
            with open(os.path.join(self.folder_path(), f"empty{i}"), "w") as f:
                give(f.name)
        trace = os.path.join(give(self.subfolder("trace")), "out")
        subprocess.run(as_ordinary_user(["strace", "-o", trace, "--seccomp-bpf", "-f", "-qq", "-e", "trace=flock",
                                         os.path.join(programs(), "sendmail"), "--pick-up", "-C", self.m.conf]),
                       env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"), cwd="/", timeout=60, check=False)
        with open(trace) as f:
            self.assertEqual(1000, f.read().count("flock("))
        self.assertEqual(1200, len(self.dropped()))

    @need_root("becomes other users")
    def test_owner(self):
        """Started by root: the trace field names the owner of the file, whatever the message says."""
        self.house(as_root=True, user="nobody")
        self.m.stop()
        for uid, token in ((0, "by-root"), (1, "by-daemon"), (54321, "by-number")):
            argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] + self.argv(
                "-i", "-f", "fake@x.test", "user@out.test", user=False)
            r = subprocess.run(argv, input=f"Subject: {token}\n\nbody\n".encode(), capture_output=True, cwd="/",
                               env=dict(os.environ, MANSIO_CONFIG=self.m.conf, ASAN_OPTIONS="detect_leaks=0"))
            self.assertEqual(0 if uid else 78, r.returncode, r.stderr)  # root does not listen to MANSIO_CONFIG
        self.call("-C", self.m.conf, "-i", "-f", "fake@x.test", "user@out.test", stdin=b"Subject: by-root\n\nbody\n", user=False)
        self.m.start()
        for uid, token, login in ((0, "by-root", b"root"), (1, "by-daemon", b"daemon"), (54321, "by-number", b"")):
            content = self.arrived(token)[0].content
            self.assertIn(b"(uid %d)" % uid, content)
            self.assertIn(login, content.split(b"\r\n", 1)[0])
            self.assertEqual("fake@x.test", self.arrived(token)[0].sender)

    def test_refused_later(self):
        """Exit 0 was a promise: who is refused at pick-up is reported to the sender."""
        self.house(config='domain "small.test" { deliver = "discard" users = { alice } }')
        self.m.stop()
        self.call("-f", "sender@x.test", "nobody-here@small.test", stdin=b"Subject: lost?\n\nbody\n")
        self.m.start()
        report = self.arrived("Subject: lost?")[0]
        self.assertEqual((["sender@x.test"], ""), (report.recipients, report.sender))
        self.assertIn(b"Final-Recipient: rfc822; nobody-here@small.test", report.content)
        self.assertIn(b"Status: 5.1.1", report.content)
        wait_until(lambda: not self.dropped(), 10, "an empty drop folder")

    def test_refused_whole_later(self):
        """What the server takes no more, now that its limit is lower, comes back to the sender."""
        self.house()
        self.m.stop()
        self.call("-f", "sender@x.test", "user@out.test", stdin=b"Subject: too large\n\n" + b"z" * 70 + b"\n" * 40000)
        with open(self.m.conf) as f:
            text = f.read()
        self.m.write(text.replace('min_free = "0"', 'min_free = "0" message_size = "77K"'))
        self.m.start()
        notice = self.arrived("Mail could not be sent")[0]
        self.assertEqual((["sender@x.test"], ""), (notice.recipients, notice.sender))
        self.assertIn(b"user@out.test", notice.content)
        self.assertIn(b"Subject: too large", notice.content)
        self.assertLess(len(notice.content), 4096)
        wait_until(lambda: not self.dropped(), 10, "an empty drop folder")

    def test_verp_kept(self):
        self.house()
        self.m.stop()
        self.call("-XV-=", "-f", "list@x.test", "a@out.test", "b@out.test", stdin=b"Subject: verp-drop\n\nbody\n")
        self.m.start()
        self.assertEqual({"list-a=out.test@x.test", "list-b=out.test@x.test"}, {m.sender for m in self.arrived("verp-drop", 2)})


if __name__ == "__main__":
    main()
