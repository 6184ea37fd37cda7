#!/usr/bin/python3
"""sendmail in the boxes that services and containers are put into: no new privileges, a user without a name, a private /tmp, a
root that is read-only. Each with the server up (0 and delivered), down (0 and in the drop folder), and with nowhere to write (75).

systemd is not needed: unshare and setpriv set the same things that its units ask for."""
import glob
import os
import subprocess
import unittest

import support  # noqa: F401
from callers import SendmailCase
from case import BUILD, RELEASE, main, need_root, programs
from namespaces import mount_namespace, root_is_mount_point
from waiting import wait_until

RELEASE_THERE = os.path.exists(os.path.join(RELEASE, "sendmail"))
NAMELESS = 61234  # in the range that DynamicUser takes
# In a mount namespace of its own; FOLDER is the test's, which the box must show as a unit's ReadWritePaths would.
PRIVATE_TMP = """
mount --bind FOLDER /mnt && mount --bind PROGRAMS /srv && mount -t tmpfs tmpfs /tmp && mkdir -p FOLDER PROGRAMS &&
mount --move /mnt FOLDER && mount --move /srv PROGRAMS && test "$(ls /tmp | wc -l)" -le 2"""
ROOT_READ_ONLY = """
mount --bind FOLDER FOLDER && mount -o remount,bind,ro / && ! touch /usr/written 2>/dev/null"""
NOTHING_WRITABLE = """
mount -o remount,bind,ro / && ! touch FOLDER/written 2>/dev/null"""
NO_PROC = "mount -t tmpfs -o ro tmpfs /proc"


@need_root("to make such boxes")
@unittest.skipUnless(mount_namespace(), "this machine gives no mount namespace")
class Hardened(SendmailCase):
    def setUp(self):
        super().setUp()
        self.build = RELEASE if RELEASE_THERE else BUILD
        self.house(as_root=True, user="nobody", build=self.build)

    def boxed(self, token, mounts="", rights=(), code=0):
        """One call as a user whom the system does not know, with no capability and no way to get one."""
        user = ["setpriv", f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups", "--no-new-privs",
                "--inh-caps=-all", "--bounding-set=-all", *rights]
        words = mounts.replace("FOLDER", self.folder).replace("PROGRAMS", programs(self.build)).strip() + \
            ' && exec "$@"' if mounts else 'exec "$@"'
        argv = [*mount_namespace(), "sh", "-ec", words, "sh", *user,
                os.path.join(programs(self.build), "sendmail"), "-t", "-i"]
        r = subprocess.run(argv, input=f"To: user@out.test\nSubject: {token}\n\nbody\n".encode(), capture_output=True,
                           env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MANSIO_CONFIG": self.m.conf,
                                "ASAN_OPTIONS": "detect_leaks=0"}, cwd="/", timeout=60)
        self.assertEqual(code, r.returncode, (token, r.stderr.decode()))
        return r

    def up_and_down(self, token, mounts="", rights=()):
        self.boxed(token + "-up", mounts, rights)
        self.assertEqual([], self.dropped())
        self.m.stop()
        self.boxed(token + "-down", mounts, rights)
        self.assertEqual([NAMELESS], [os.stat(f).st_uid for f in self.dropped()])
        self.m.start()
        for way in ("-up", "-down"):
            content = self.arrived(token + way)[0].content
            self.assertIn(b"(uid %d)" % NAMELESS, content.split(b"\r\n", 1)[0])
            self.assertIn(b"From: uid%d@here.test" % NAMELESS, content)
        wait_until(lambda: not self.dropped(), 10, "an empty drop folder")

    def dropped(self):
        return glob.glob(os.path.join(self.m.state, "drop", "*"))

    def test_no_new_privileges_and_a_user_without_a_name(self):
        self.up_and_down("nameless")

    def test_private_tmp(self):
        self.up_and_down("private", PRIVATE_TMP)

    @unittest.skipUnless(root_is_mount_point(), "/ is no mount point here (a plain chroot)")
    def test_root_read_only(self):
        self.up_and_down("readonly", ROOT_READ_ONLY)

    @unittest.skipUnless(RELEASE_THERE, "no release build (tests/run makes one), and sanitizers want /proc")
    def test_no_proc(self):
        self.up_and_down("procless", NO_PROC)

    @unittest.skipUnless(root_is_mount_point(), "/ is no mount point here (a plain chroot)")
    def test_nothing_writable(self):
        """ProtectSystem=strict without the drop folder among ReadWritePaths: the socket still takes mail, else the status says so."""
        self.boxed("strict-up", NOTHING_WRITABLE)
        self.assertEqual(["user@out.test"], self.recipients("strict-up"))
        self.m.stop()
        r = self.boxed("strict-down", NOTHING_WRITABLE, code=75)
        self.assertIn(b"could not be kept", r.stderr)
        self.assertEqual([], self.dropped())


if __name__ == "__main__":
    main()
