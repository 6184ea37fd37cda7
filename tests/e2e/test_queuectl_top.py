#!/usr/bin/python3
"""queuectl top in a real terminal (tmux) at three sizes: it draws what fits, follows a resize, acts, and gives the terminal
back as it was."""
import os
import shutil
import subprocess
import unittest

import support  # noqa: F401
from case import Case, main
from waiting import wait_until


@unittest.skipUnless(shutil.which("tmux"), "needs tmux")
class Top(Case):
    def tmux(self, *args):
        return subprocess.run(["tmux", "-S", self.path("tmux"), "-f", "/dev/null", *args], check=True, timeout=20,
                              capture_output=True, text=True, env=dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm")).stdout

    def shown(self):
        return self.tmux("capture-pane", "-p").splitlines()

    def wait_shown(self, words):
        wait_until(lambda: words in "\n".join(self.shown()), 20, lambda: f"{words}:\n" + "\n".join(self.shown()))

    def top_in(self, columns, lines):
        command = f"stty -g > {self.path('before')}; {self.m.program('queuectl')} -c {self.m.conf} top; " \
                  f"echo ended with $?; stty -g > {self.path('after')}; sleep 60"
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), command)
        self.addCleanup(lambda: subprocess.run(["tmux", "-S", self.path("tmux"), "kill-server"], capture_output=True))

    def started(self):
        hop = self.sink(script={"rcpt": b"450 4.2.0 later\r\n"})
        self.m = self.mansio(config=f'route "*" {{ via = "relay:[127.0.0.1]:{hop.port}" }}',
                             retry='plan = { "1h" } jitter = 0')
        self.m.send("a@one.test", ["b@one.test"], "Subject: x\n\nx\n")
        self.m.wait_event("deferred")
        r = self.m.queuectl("top")
        if "built without" in r.stderr:
            self.skipTest("built without ncurses")
        self.assertEqual(64, r.returncode, r.stderr)
        self.lane = f"relay:[127.0.0.1]:{hop.port}"

    def ended(self):
        self.tmux("send-keys", "q")
        self.wait_shown("ended with 0")
        wait_until(lambda: os.path.exists(self.path("after")) and os.path.getsize(self.path("after")), 20)
        with open(self.path("before")) as before, open(self.path("after")) as after:
            self.assertEqual(before.read(), after.read())

    def test_80_by_24(self):
        self.started()
        self.top_in(80, 24)
        self.wait_shown("1 messages, 1 recipients")
        self.wait_shown(self.lane)
        self.assertIn("q quit", self.shown()[23])
        self.tmux("send-keys", "a")
        self.wait_shown("1  up to 5 minutes      ####")
        self.wait_shown("0  more than 3 days")
        self.tmux("send-keys", "a")
        self.wait_shown(self.lane)
        self.tmux("send-keys", "s")
        self.wait_shown("suspended")
        self.tmux("send-keys", "s")
        wait_until(lambda: "suspended" not in "\n".join(self.shown()), 20, lambda: "\n".join(self.shown()))
        self.tmux("send-keys", "h")
        self.wait_shown("(1 held)")
        self.assertEqual("held", self.m.recipients()[0]["state"])
        self.ended()

    def test_132_by_50(self):
        self.started()
        self.top_in(132, 50)
        self.wait_shown("mx.here.test")
        self.assertIn("q quit", self.shown()[49])
        self.tmux("resize-window", "-x", "60", "-y", "12")
        wait_until(lambda: len(self.shown()) == 12 and "q quit" in self.shown()[11], 20,
                   lambda: "\n".join(self.shown()))
        self.tmux("resize-window", "-x", "15", "-y", "4")
        self.wait_shown("too small")
        self.ended()

    def test_40_by_10(self):
        self.started()
        self.top_in(40, 10)
        self.wait_shown("1 messages")
        self.assertTrue(all(len(line) <= 40 for line in self.shown()))
        self.m.stop()
        self.wait_shown("ended with 69")


class Watch(Case):
    def test_the_log_is_followed(self):
        m = self.mansio(config='route "*" { via = "hold" }')
        conf = self.file("watch.conf", m.text.replace('to = "stderr"', f'to = "{m.log_path}"'))
        shown = self.path("shown")
        with open(shown, "wb") as out:
            watch = subprocess.Popen([m.program("queuectl"), "-c", conf, "watch"], stdout=out)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)

        def sees(word):
            m.send("a@here.test", ["b@one.test"], "Subject: x\n\nx\n")
            with open(shown) as f:
                return word in f.read()
        wait_until(lambda: sees("message_accepted"), 20)
        with open(shown) as f:
            self.assertNotIn('"event":"queue_opened"', f.read())  # from now on, not from the beginning
        r = m.queuectl("watch")
        self.assertEqual(69, r.returncode)
        self.assertIn("standard error", r.stderr)


if __name__ == "__main__":
    main()
