#!/usr/bin/python3
"""SMTP smuggling: content that a lax server behind us could read as two messages. Each form goes through us to a receiver that takes bare
LF and CR for line ends, to Postfix with and without smtpd_forbid_bare_newline, and to Exim. Either the client is refused, or exactly one message arrives whose content no line reader can split."""
import glob
import os
import pwd
import re
import shutil
import socket
import subprocess
import unittest

import support  # noqa: F401
import case
import postfix
from case import Case, main
from namespaces import mount_namespace
from ports import free_port
from waiting import wait_until

ENDS = {  # what could stand for CRLF.CRLF
    "LF.LF": b"\n.\n", "LF.CRLF": b"\n.\r\n", "CRLF.LF": b"\r\n.\n", "CR.CR": b"\r.\r", "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r", "CR.LF": b"\r.\n", "LF.CR": b"\n.\r", "CRCRLF.CRLF": b"\r\r\n.\r\n", "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "LFCR.LFCR": b"\n\r.\n\r", "CRLFCR.CRLF": b"\r\n\r.\r\n", "CRLF NUL.CRLF": b"\r\n\0.\r\n", "CRLF. NUL CRLF": b"\r\n.\0\r\n",
    "CRLF..CRLF": b"\r\n..\r\n", "CRLF.space CRLF": b"\r\n. \r\n", "CRLF.tab CRLF": b"\r\n.\t\r\n", "CRLF..LF": b"\r\n..\n",
    "CRLF.CRLF.LF": b"\r\n..\r\n.\n", "NEL.NEL": b"\xc2\x85.\xc2\x85", "LS.LS": b"\xe2\x80\xa8.\xe2\x80\xa8", "VT.VT": b"\v.\v",
    "FF.FF": b"\f.\f", "x85.x85": b"\x85.\x85",
}
SECOND = b"MAIL FROM:<evil@here.test>\r\nRCPT TO:<victim@two.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nhaha\r\n"
ZONE = "two IN MX 10 mx.two\nmx.two IN A 127.0.0.2\n"


def lax_messages(content):
    """How many messages a reader sees that ends lines at CR, LF or CRLF and messages at a lone dot, once dots are put back."""
    stuffed = re.sub(rb"(^|\r\n)\.", rb"\1..", content)  # what our dot writer must at least have sent
    lines = re.split(rb"\r\n|\r|\n", stuffed)
    return 1 + sum(line == b"." for line in lines)

_UNPACKED = os.path.join(case.TOP, "build", "peers", "exim4-daemon-light", "usr", "sbin", "exim4")
EXIM = _UNPACKED if os.path.exists(_UNPACKED) else shutil.which("exim4")
EXIM_ID = 54999


class Smuggling(Case):
    def setUp(self):
        super().setUp()
        port = free_port()
        self.sink_ = self.sink(port=port, address="127.0.0.2")
        self.m = self.mansio(dns=self.dns(ZONE), mx_port=port)

    def say(self, f, s, octets, code):
        s.sendall(octets)
        while True:
            line = f.readline()
            if line[3:4] != b"-":
                break
        self.assertTrue(line.startswith(code), (octets[:60], line))
        return line

    def begin(self, n, extensions=b""):
        s = socket.create_connection(("127.0.0.1", self.m.port), 20)
        self.addCleanup(s.close)
        f = s.makefile("rb")
        self.assertTrue(f.readline().startswith(b"220"))
        self.say(f, s, b"EHLO client.test\r\n", b"250")
        self.say(f, s, b"MAIL FROM:<a@here.test>" + extensions + b"\r\n", b"250")
        self.say(f, s, b"RCPT TO:<n%d@two.test>\r\n" % n, b"250")
        return s, f

    def outcome(self, s, f):
        """The replies up to the end; how many messages were accepted."""
        s.sendall(b"QUIT\r\n")
        replies = []
        try:
            while line := f.readline():
                replies.append(line)
                if line.startswith(b"221"):
                    break
        except OSError:
            pass
        return replies, sum(line.startswith(b"250 2.0.0 ok: queued") for line in replies)

    def say_forms(self):
        """Says all forms; how many there are, and the numbers of those that were taken."""
        carried, forms = [], 0
        for name, end in ENDS.items():
            for way in ("data", "bdat"):
                forms += 1
                content = b"Subject: first\r\n\r\nfirst" + end + SECOND
                if way == "bdat" and end == b"\r\n..\r\n":
                    content = b"Subject: first\r\n\r\nfirst\r\n.\r\n" + SECOND  # in BDAT a lone dot is only text
                with self.subTest(form=name, way=way):
                    s, f = self.begin(forms)
                    if way == "data":
                        self.say(f, s, b"DATA\r\n", b"354")
                        s.sendall(content + b"\r\n.\r\n")
                    else:
                        s.sendall(b"BDAT %d LAST\r\n" % len(content) + content)
                    replies, accepted = self.outcome(s, f)
                    self.assertLessEqual(accepted, 1, replies)
                    self.assertFalse([r for r in replies if b"evil" in r or r.startswith(b"354")], replies)
                    if accepted:
                        carried.append(forms)
        # commands split by what is no line end
        for n, glue in enumerate((b"\n", b"\r", b"\0", b"\n\r", b"\r\0\n")):
            with self.subTest(command=glue):
                s, f = self.begin(900 + n)
                forms += 1
                s.sendall(b"NOOP" + glue + b"RCPT TO:<victim@two.test>\r\n")
                line = f.readline()
                self.assertTrue(line.startswith((b"500", b"501", b"554")), line)
                replies, _ = self.outcome(s, f)
                self.assertFalse([r for r in replies if b"2.1.5" in r], replies)
        self.m.wait_empty(120)
        self.assertGreaterEqual(forms, 40)
        return forms, carried

    def test_forms(self):
        forms, carried = self.say_forms()
        got = {m.recipients[0]: m for m in self.sink_.messages}
        self.assertEqual(len(carried), len(self.sink_.messages), "one message each")
        self.assertEqual({f"n{n}@two.test" for n in carried}, set(got))
        for name, m in got.items():
            self.assertEqual("a@here.test", m.sender)
            self.assertEqual(1, lax_messages(m.content), (name, m.content))
            self.assertIn(b"haha", m.content)
        print(f"{forms} forms: {forms - len(carried)} refused, {len(carried)} carried as the one message that they are")

    def through(self, port, folder):
        """All forms to the server at 127.0.0.3, which keeps one file a message below folder: a Maildir's, or Exim's -H beside its -D."""
        self.m.stop()
        self.m = self.mansio(dns=self.dns(ZONE.replace("127.0.0.2", "127.0.0.3")), mx_port=port)
        forms, carried = self.say_forms()

        def files():
            return glob.glob(f"{folder}/box/new/*") + glob.glob(f"{folder}/spool/input/*-H")
        # What it refuses itself (a bare LF that it does not like) came back to the sender; nothing may have been split.
        delivered = {e["to"] for e in self.m.events("delivered")}
        self.assertGreater(len(delivered), len(carried) // 2)
        wait_until(lambda: len(files()) >= len(delivered), 30, lambda: f"{len(files())} of {len(delivered)}")
        contents = []
        for path in files():
            with open(path, "rb") as f:
                contents.append(f.read())
            if path.endswith("-H"):
                with open(path[:-1] + "D", "rb") as f:
                    contents[-1] += f.read()
        self.assertEqual(len(delivered), len(contents), "one message each")
        for content in contents:
            self.assertIn(b"Subject: first", content)
            self.assertNotIn(b"evil@here.test", content.split(b"Subject: first")[0], "nothing has another sender")
        return f"{forms} forms, {len(carried)} carried, {len(contents)} messages"

    @unittest.skipIf(postfix.missing_server(), postfix.missing_server())
    def test_postfix(self):
        for forbid in ("yes", "no"):
            with self.subTest(smtpd_forbid_bare_newline=forbid):
                boxes, port = self.subfolder("boxes-" + forbid), free_port()
                os.chmod(boxes, 0o777)
                postfix.Postfix(self, f"""
virtual_mailbox_domains = two.test
virtual_mailbox_base = {boxes}
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_transport = virtual
smtpd_forbid_bare_newline = {forbid}
""", hostname="mx.two.test", address="127.0.0.3", port=port)
                print(f"Postfix, smtpd_forbid_bare_newline = {forbid}: " + self.through(port, boxes))

    def exim_argv(self, conf):
        """Exim insists on the user that it was built for. Where it is only unpacked, it sees a passwd file that has one."""
        if "Debian-exim" in (u.pw_name for u in pwd.getpwall()):
            return [EXIM, "-C", conf, "-bdf"], pwd.getpwnam("Debian-exim").pw_uid
        mounts = ""
        for name, line in (("passwd", f"Debian-exim:x:{EXIM_ID}:{EXIM_ID}::/:/bin/false\n"), ("group", f"Debian-exim:x:{EXIM_ID}:\n")):
            with open("/etc/" + name) as f:
                mounts += f"mount --bind {self.file(name, f.read() + line)} /etc/{name} && "
        return [*mount_namespace(), "sh", "-c", mounts + f'exec {EXIM} -C "$0" -bdf', conf], EXIM_ID

    @unittest.skipUnless(case.IS_ROOT and EXIM, "needs Exim and root")
    def test_exim(self):
        folder, port = self.subfolder("exim"), free_port()
        os.chmod(folder, 0o777)
        conf = self.file("exim.conf", f"""spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
primary_hostname = mx.two.test
local_interfaces = 127.0.0.3
daemon_smtp_ports = {port}
tls_advertise_hosts =
rfc1413_hosts =
host_lookup =
acl_smtp_rcpt = accept
acl_smtp_data = accept
queue_only = true
begin routers
box:
driver = accept
transport = box
begin transports
box:
driver = appendfile
file = /dev/null
""")
        os.chown(conf, 0, 0)
        argv, uid = self.exim_argv(conf)
        for name in ("spool", "log"):
            os.mkdir(f"{folder}/{name}")
            os.chown(f"{folder}/{name}", uid, uid)
        exim = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)
        self.addCleanup(exim.stderr.close)
        self.addCleanup(exim.wait)
        self.addCleanup(exim.terminate)

        def greets():
            self.assertIsNone(exim.poll(), "Exim ended")
            try:
                with socket.create_connection(("127.0.0.3", port), 2) as s:
                    return s.recv(4) == b"220 "
            except OSError:
                return False
        wait_until(greets, 20)
        print("Exim: " + self.through(port, folder))


if __name__ == "__main__":
    main()
