#!/usr/bin/python3
"""One call of sendmail beside one of Postfix's, in turn on the same disk: wall time from start to exit, the message durable in both."""
import os
import statistics
import subprocess
import time
import unittest

import support  # noqa: F401
import postfix
from callers import SendmailCase
from case import RELEASE, as_ordinary_user, main, programs

ROUNDS = 60
LETTER = b"From: a@x.test\nTo: user@out.test\nSubject: cost\n\n" + b"a line of text\n" * 40


class Cost(SendmailCase):
    @unittest.skipIf(postfix.missing_server(), postfix.missing_server() or "")
    @unittest.skipUnless(os.path.exists(os.path.join(RELEASE, "sendmail")), "no release build (tests/run makes one)")
    def test_beside_postfix(self):
        self.house(build=RELEASE, log_level="notice")
        peer = postfix.Postfix(self, "default_transport = discard:\n")
        own_env = dict(os.environ, MANSIO_CONFIG=self.m.conf)
        peer_env = dict(postfix.environment(), MAIL_CONFIG=peer.conf)
        ours = as_ordinary_user([os.path.join(programs(RELEASE), "sendmail"), "-i", "user@out.test"])
        theirs = [postfix.program("sendmail"), "-i", "user@out.test"]  # as root: the unpacked postdrop has no set-gid bit
        times = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            for name, argv, env in (("ours", ours, own_env), ("theirs", theirs, peer_env)):
                began = time.monotonic()
                r = subprocess.run(argv, input=LETTER, capture_output=True, env=env, cwd="/")
                times[name].append(time.monotonic() - began)
                self.assertEqual(0, r.returncode, r.stderr)
        mine, other = (statistics.median(times[n]) * 1000 for n in ("ours", "theirs"))
        print(f"\nFIGURE one call of sendmail: {mine:.1f} ms, Postfix's {other:.1f} ms (median of {ROUNDS} in turn, both durable)")
        self.assertLessEqual(mine, other, "slower than Postfix's")


if __name__ == "__main__":
    main()
