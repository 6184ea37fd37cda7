#!/usr/bin/python3
"""The installed systemd units: how exposed systemd calls them, and mansiod as they start it: an ordinary user with one capability, which
no other process gets, and with a drop folder that is root's."""
import os
import random
import re
import shutil
import socket
import unittest

import support  # noqa: F401
import case
from case import Case, main, need_root

UNITS = os.path.join(case.TOP, "etc", "systemd")
EXPOSURE_MAX = {"mansio.service": 2.0, "mansio-drop.service": 2.0}
BIND = 1 << 10  # CAP_NET_BIND_SERVICE


def low_port():
    while True:
        port = random.randrange(600, 1000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def capabilities(pid):
    """Permitted, effective and ambient ones."""
    with open(f"/proc/{pid}/status") as f:
        return [int(line.split()[1], 16) for line in f if line.startswith(("CapPrm", "CapEff", "CapAmb"))]


class Unit(Case):
    def units(self):
        """A root folder with the units as they are installed."""
        folder = self.subfolder("root/etc/systemd/system")
        for name in os.listdir(UNITS):
            if re.search(r"\.(service\.in|path|timer)$", name):
                with open(os.path.join(UNITS, name)) as f:
                    self.file("root/etc/systemd/system/" + name.removesuffix(".in"),
                              f.read().replace("@CMAKE_INSTALL_FULL_SBINDIR@", "/usr/sbin"))
        return folder

    def exposure(self, name):
        r = self.run_program(["systemd-analyze", "security", "--offline=true", "--no-pager",
                              "--root=" + self.path("root"), name])
        self.assertEqual(0, r.returncode, r.stderr)
        return float(re.search(r"exposure level for \S+: ([0-9.]+)", r.stdout)[1])

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_exposure(self):
        folder = self.units()
        for name, most in EXPOSURE_MAX.items():
            exposure = self.exposure(name)
            case.figure(f"systemd-analyze security {name}: {exposure}")
            self.assertLess(exposure, most, name)
        os.mkdir(os.path.join(folder, "mansio.service.d"))
        shutil.copy(os.path.join(UNITS, "host-users.conf"), os.path.join(folder, "mansio.service.d"))
        case.figure(f"… with host-users.conf: {self.exposure('mansio.service')}")

    @need_root("to start with one capability")
    def test_one_capability(self):
        m = self.mansio(relay=False, start=False, as_root=True, port=low_port(),
                        config='domain "here.test" { deliver = "discard" }')
        drop = os.path.join(m.state, "drop")
        os.makedirs(drop)
        for folder in (m.folder, m.state):
            os.chown(folder, 65534, 65534)
        os.chmod(drop, 0o1733)
        real = m.program("mansiod")
        wrapper = self.file("mansiod", "#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "
                            "--bounding-set=-all,+net_bind_service --inh-caps=-all,+net_bind_service "
                            f'--ambient-caps=-all,+net_bind_service {real} "$@"\n')
        os.chmod(wrapper, 0o755)
        programs = m.program
        m.program = lambda name: wrapper if name == "mansiod" else programs(name)
        m.start()
        self.assertEqual({BIND}, set(capabilities(m.process.pid)))
        children = [e["pid"] for e in m.events("child_started")]
        self.assertGreaterEqual(len(children), 5)
        for pid in children:
            self.assertEqual({0}, set(capabilities(pid)))
        self.assertEqual((0, 0o1733), (os.stat(drop).st_uid, os.stat(drop).st_mode & 0o7777))
        m.send("x@far.test", ["a@here.test"], "Subject: t\n\nx\n")
        m.wait_empty()


if __name__ == "__main__":
    main()
