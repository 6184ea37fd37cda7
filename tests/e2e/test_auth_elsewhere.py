#!/usr/bin/python3
"""Passwords that others judge: a real PAM (pam_unix over private passwd and shadow files, pam_exec), a real Dovecot by its
auth-client socket."""
import base64
import grp
import os
import pwd
import shutil
import signal
import smtplib
import subprocess
import unittest

import support  # noqa: F401
import case
from case import IS_ROOT, Case, as_ordinary_user, give, main, need_root
from certificates import anybody, certificate
from namespaces import behind_mounts
from ports import free_port
from waiting import wait_until
from wire import Wire

BUILD = case.RELEASE if os.path.exists(os.path.join(case.RELEASE, "mansiod")) else case.BUILD
DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
PAM_UNIX = "/lib/x86_64-linux-gnu/security/pam_unix.so"
HASH = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"
DOVECOT_CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_username_format = %Lu
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = passwd-file
  args = {dir}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service auth {{
  unix_listener auth-client {{
    mode = 0666
  }}
}}
"""


class Elsewhere(Case):
    def house(self, passwords, as_root=False, start=True, more=""):
        self.submission = free_port()
        self.m = self.mansio(relay=False, start=False, as_root=as_root, user="nobody" if as_root else None, config=f'''
listen submission {{ address = "127.0.0.1:{self.submission}" tls = "none" auth = true auth_without_tls = true }}
auth {{ passwords = "{passwords}" failures = 0 {more} }}
exempt_from = {{ "127.0.0.1" }}
domain "here.test" {{ deliver = "discard" }}
checks {{ names = false tarpit = "0" }}''')
        return self.m.start() if start else self.m

    def login(self, name, password, source="127.0.0.1"):
        w = Wire(self, self.submission, source)
        self.offered = w.say("EHLO client.test")
        return w.say("AUTH PLAIN " + base64.b64encode(f"\0{name}\0{password}".encode()).decode())

    def judged(self, good, bad):
        """Right and wrong passwords, and what was offered."""
        for name, password in good:
            self.assertEqual("235", self.login(name, password)[:3], (name, password, self.m.log_tail()))
        for i, (name, password) in enumerate(bad):  # each from elsewhere: nobody has to wait for guessing
            self.assertEqual("535", self.login(name, password, f"127.0.2.{i + 1}")[:3], (name, password))
        self.assertIn("AUTH PLAIN LOGIN", self.offered)
        self.assertNotIn("SCRAM", self.offered)


class Pam(Elsewhere):
    SERVICE = "auth required pam_unix.so\naccount required pam_unix.so\n"

    def pam(self, service, more="", as_root=True):
        """A server that sees passwd, shadow and pam.d of this test's making."""
        folder = self.subfolder("pam.d")
        self.file("pam.d/mansio", service)
        with open("/etc/passwd") as f:
            lines = f.read()
        self.file("passwd", lines + "walter:x:7001:7001::/:/bin/sh\nanna:x:7002:7002::/:/bin/sh\n")
        self.file("shadow", f"root:*:19000::::::\nwalter:{HASH}:19000::::::\nanna:{HASH}:19000:0:99999:7::1:\n")
        os.chmod(self.path("shadow"), 0o600)
        m = self.house("pam", as_root=as_root, start=False, more=more)
        behind_mounts(m, {"/etc/passwd": self.path("passwd"), "/etc/shadow": self.path("shadow"), "/etc/pam.d": folder})
        return m.start()

    @need_root("to show the server other passwords than this machine's")
    @unittest.skipUnless(os.path.exists(PAM_UNIX), "needs pam_unix")
    def test_unix(self):
        m = self.pam(self.SERVICE)
        self.judged([("walter", "secret")],
                    [("walter", "Secret"), ("walter", "secret "), ("nobody-at-all", "secret"),
                     ("anna", "secret")])  # whose account has expired
        m.kill("pam")
        for event in ("child_ended", "channel_lost", "passwords_failed"):
            m.tolerate(event)
        wait_until(lambda: self.login("walter", "secret")[:3] == "235", 10, "the next pam process")

    @need_root("to show the server other services than this machine's")
    def test_a_slow_module_is_bounded(self):
        asleep = self.path("asleep")
        script = self.file("sleeper", f"#!/bin/sh\ncat >/dev/null\n[ \"$PAM_USER\" = walter ] || exit 0\n"
                                      f"echo \"$PAM_RHOST\" >{asleep}\nexec sleep 1000\n")
        os.chmod(script, 0o755)
        m = self.pam(f"auth required pam_exec.so expose_authtok quiet {script}\naccount required pam_permit.so\n",
                     more='password_time = "700ms"')
        m.announce("passwords_failed")
        slow = Wire(self, self.submission)
        slow.say("EHLO client.test")
        slow.socket.sendall(b"AUTH PLAIN " + base64.b64encode(b"\0walter\0x") + b"\r\n")
        wait_until(lambda: os.path.exists(asleep), 10, "the module")
        self.assertEqual("235", self.login("anna", "x")[:3], "others do not wait for it")
        self.assertEqual("454", slow.reply()[:3])
        with open(asleep) as f:
            self.assertEqual("127.0.0.30\n", f.read())


@unittest.skipUnless(DOVECOT, "needs dovecot")
class Dovecot(Elsewhere):
    def dovecot(self):
        folder = self.subfolder("dovecot")
        give(folder)
        give(self.subfolder("dovecot/run"))
        uid, gid = (65534, 65534) if IS_ROOT else (os.getuid(), os.getgid())
        self.file("dovecot/users", "walter:{PLAIN}secret::\nguenther:{PLAIN}sch\u00f6n::\n")
        conf = self.file("dovecot/dovecot.conf", DOVECOT_CONFIG.format(
            dir=folder, user=pwd.getpwuid(uid).pw_name, group=grp.getgrgid(gid).gr_name, uid=uid, gid=gid))
        self.socket = folder + "/run/auth-client"
        return conf

    def dovecot_start(self, conf):
        p = subprocess.Popen(as_ordinary_user([DOVECOT, "-F", "-c", conf]), stdin=subprocess.DEVNULL, start_new_session=True)

        def end():
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)  # its auth would stay for those who hold connections
                p.wait()
        self.addCleanup(end)
        return end

    def test_passwords(self):
        conf = self.dovecot()
        m = self.house("dovecot:" + self.socket)
        m.announce("passwords_failed")
        self.assertEqual("454", self.login("walter", "secret")[:3], "there is no Dovecot yet")
        end = self.dovecot_start(conf)
        wait_until(lambda: self.login("walter", "secret")[:3] == "235", 20, "Dovecot")
        self.judged([("walter", "secret"), ("WALTER", "secret"), ("guenther", "sch\u00f6n")],
                    [("walter", "Secret"), ("nobody-at-all", "secret"), ("guenther", "schon"), ("tab\there", "secret")])
        self.assertEqual({"walter", "guenther"}, {e["login"] for e in m.events("authenticated")}, "as Dovecot calls them")
        end()
        wait_until(lambda: self.login("walter", "secret")[:3] == "454", 10, "the end of it")
        self.dovecot_start(conf)
        wait_until(lambda: self.login("walter", "secret")[:3] == "235", 20, "the next one")

    def test_under_tls(self):
        """By the released build: behind the sandbox."""
        self.dovecot_start(self.dovecot())
        self.submission = free_port()
        m = self.mansio(relay=False, build=BUILD, config=f'''
listen submission {{ address = "127.0.0.1:{self.submission}" tls = "required" auth = true }}
tls {{ {certificate(self.path("one"), "localhost")} }}
auth {{ passwords = "dovecot:{self.socket}" }}
domain "here.test" {{ deliver = "discard" }}''')
        wait_until(lambda: os.path.exists(self.socket), 20, "Dovecot's socket")
        with smtplib.SMTP("localhost", self.submission, timeout=30) as s:
            s.starttls(context=anybody())
            s.login("walter", "secret")
            s.sendmail("walter@here.test", ["x@here.test"], "Subject: x\r\n\r\nx\r\n")
        m.wait_empty()


if __name__ == "__main__":
    main()
