#!/usr/bin/python3
"""A real Dovecot as an ordinary process on loopback: mail that reached it by LMTP and through our Maildirs is read back over IMAP,
byte for byte but for trace fields."""
import glob
import grp
import imaplib
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading
import unittest

import support  # noqa: F401
from case import IS_ROOT, Case, as_ordinary_user, give, main
from ports import free_port
from waiting import wait_until

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
TRACE = re.compile(rb"^(Return-Path|Delivered-To|X-Original-To|Received):.*\r\n(?:[ \t].*\r\n)*", re.M)
CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = maildir:{dir}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
mail_plugins = {plugins}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}/home/%u allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
  unix_listener lmtp {{
    mode = 0666
  }}
}}
protocol lmtp {{
  mail_plugins = {plugins}
}}
"""
QUOTA = """
quota_full_tempfail = yes
plugin {{
  quota = count:User
  quota_rule = *:bytes=60000
  quota_vsizes = yes
}}
"""
MESSAGES = {
    "plain": b"Subject: plain\r\n\r\nhello\r\n",
    "eight": "Subject: eight\r\n\r\nG\u00fcnther \u2603\r\n".encode(),
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nFrom here\r\n>From there\r\n",
    "long": b"Subject: long\r\n\r\n" + b"x" * 990 + b"\r\n" + b"y\r\n" * 30000,
    "empty": b"Subject: empty\r\n\r\n",
    "folded": b"Subject: folded\r\nX-Long: a\r\n b\r\n\tc\r\nX-Bin: \x80\xff\r\n\r\n \r\n\r\n",
}


@unittest.skipUnless(DOVECOT, "needs dovecot")
class Dovecot(Case):
    def dovecot(self, quota=False):
        """Starts it; returns its folder."""
        folder = self.subfolder("dovecot")
        give(folder)
        for name in ("run", "mail", "home"):
            give(self.subfolder("dovecot/" + name))
        uid = 65534 if IS_ROOT else os.getuid()
        user, gid = pwd.getpwuid(uid), 65534 if IS_ROOT else os.getgid()
        self.imap, self.lmtp = free_port(), free_port()
        text = CONFIG.format(dir=folder, user=user.pw_name, group=grp.getgrgid(gid).gr_name, uid=uid, gid=gid, imap=self.imap,
                             lmtp=self.lmtp, plugins="quota" if quota else "")
        conf = self.file("dovecot/dovecot.conf", text + (QUOTA.format() if quota else ""))
        p = subprocess.Popen(as_ordinary_user([DOVECOT, "-F", "-c", conf]), stdin=subprocess.DEVNULL, start_new_session=True)

        def end():
            p.terminate()
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.addCleanup(end)

        def ready():
            if p.poll() is not None:
                raise AssertionError(f"dovecot ended with {p.returncode}")
            with socket.create_connection(("127.0.0.1", self.lmtp), 1) as s:
                return s.recv(4) == b"220 "
        def quietly():
            try:
                return ready()
            except OSError:
                return False
        wait_until(quietly, 20, "dovecot's LMTP")
        return folder

    def read_back(self, user):
        """Subject -> octets, as IMAP has them."""
        found = {}
        with imaplib.IMAP4("127.0.0.1", self.imap, timeout=20) as c:
            c.login(user, "secret")
            c.select()
            for number in c.search(None, "ALL")[1][0].split():
                content = c.fetch(number, "(RFC822)")[1][0][1]
                subject = re.search(rb"^Subject: (.*)\r\n", content, re.M).group(1).decode()
                self.assertNotIn(subject, found, "twice")
                found[subject] = content
        return found

    def same(self, found):
        self.assertEqual(sorted(MESSAGES), sorted(found))
        for name, sent in MESSAGES.items():
            self.assertEqual(sent, TRACE.sub(b"", found[name]), name)
            self.assertIn(b"Return-Path: <x@far.test>", found[name])

    def send_all(self, m, *to):
        for content in MESSAGES.values():
            m.send("x@far.test", to, content, mail_options=["BODY=8BITMIME"])
        m.wait_empty()

    def test_lmtp_over_tcp_and_a_socket(self):
        folder = self.dovecot()
        m = self.mansio(hostname="mx.h.test", config=f'domain "t.test" {{ deliver = "lmtp:[127.0.0.1]:{self.lmtp}" }}\n'
                                                     f'domain "u.test" {{ deliver = "lmtp:unix:{folder}/run/lmtp" }}\n')
        self.send_all(m, "alice@t.test", "bob@u.test", "carol@u.test")
        for user in ("alice@t.test", "bob@u.test", "carol@u.test"):
            self.same(self.read_back(user))

    def test_our_maildir(self):
        folder = self.dovecot()
        m = self.mansio(hostname="mx.h.test", config=f'domain "d.test" {{ maildir = "{folder}/mail/%u@%d" }}\n')
        self.send_all(m, "dave@d.test")
        for path in glob.glob(folder + "/mail/dave@d.test/new/*"):
            size, lines = map(int, re.search(r",S=(\d+),W=(\d+)$", path).groups())
            with open(path, "rb") as f:
                text = f.read()
            self.assertEqual((size, lines), (len(text), len(text) + text.count(b"\n")))
        self.same(self.read_back("dave@d.test"))
        with imaplib.IMAP4("127.0.0.1", self.imap, timeout=20) as c:
            c.login("dave@d.test", "secret")
            c.select()
            for i, line in enumerate(c.fetch("1:*", "(RFC822.SIZE)")[1]):  # what it makes of W= is what it hands out
                told = int(re.search(rb"RFC822.SIZE (\d+)", line).group(1))
                self.assertEqual(told, len(c.fetch(str(i + 1), "(RFC822)")[1][0][1]))
        with open(folder + "/log") as f:
            self.assertNotIn("Error", f.read())

    def test_quota_is_temporary_first(self):
        self.dovecot(quota=True)
        back = self.sink()
        m = self.mansio(hostname="mx.h.test", retry='plan = { "300ms" } jitter = 0',
                        config=f'over_quota = "3s"\ndomain "t.test" {{ deliver = "lmtp:[127.0.0.1]:{self.lmtp}" }}\n'
                               f'domain "far.test" {{ deliver = "relay:[127.0.0.1]:{back.port}" }}\n')
        m.send("x@far.test", ["full@t.test", "other@t.test"], b"Subject: a\r\n\r\n" + (b"z" * 70 + b"\r\n") * 700)
        m.wait_empty()
        m.send("x@far.test", ["full@t.test"], b"Subject: b\r\n\r\n" + (b"z" * 70 + b"\r\n") * 700)
        r = m.wait_recipient("full@t.test", attempts=lambda n: n >= 1)
        self.assertIn("4.2.2", r["reply"])
        m.wait_event("failed", to="full@t.test")
        wait_until(lambda: back.messages, 20, "the notification")
        self.assertIn(b"Status: 5.2.2", back.messages[0].content)

    def test_the_server_dies_between_recipients(self):
        """A peer that takes two of four and is gone: these two are there, the others follow, none comes twice."""
        self.dovecot()
        port, cuts = free_port(), []

        def serve():
            """Between Mansio and Dovecot; hangs up the first time after two of the four answers behind the data."""
            listener = socket.create_server(("127.0.0.1", port))
            self.addCleanup(listener.close)
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", self.lmtp))
                self.addCleanup(server.close)
                self.addCleanup(client.close)
                threading.Thread(target=pump, args=(client, server, None), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, cuts), daemon=True).start()

        def pump(source, target, cut):
            answers = 0
            try:
                while True:
                    data = source.recv(65536)
                    if not data:
                        break
                    if cut is not None and not cut:
                        lines = data.split(b"\r\n")
                        kept = []
                        for line in lines:
                            answers += b" Saved" in line
                            kept.append(line)
                            if answers == 2:
                                cut.append(1)
                                target.sendall(b"\r\n".join(kept) + b"\r\n")
                                raise OSError  # the end of the stream comes behind what was sent
                    target.sendall(data)
            except OSError:
                pass
            for s in (source, target):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        m = self.mansio(hostname="mx.h.test", config=f'domain "t.test" {{ deliver = "lmtp:[127.0.0.1]:{port}" }}\n')
        m.tolerate("delivery_uncertain")
        users = [f"u{i}@t.test" for i in range(4)]
        m.send("x@far.test", users, b"Subject: t\r\n\r\nx\r\n")
        m.wait_empty()
        self.assertEqual([1], cuts)
        copies = []
        for user in users:
            with imaplib.IMAP4("127.0.0.1", self.imap, timeout=20) as c:
                c.login(user, "secret")
                copies.append(int(c.select()[1][0]))
        # Whom the peer had answered for is not served again; for the others its answer was lost, and nobody can know.
        self.assertEqual([1, 1], copies[:2])
        self.assertTrue(all(n in (1, 2) for n in copies[2:]), copies)


if __name__ == "__main__":
    main()
