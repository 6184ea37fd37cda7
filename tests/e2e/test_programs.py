#!/usr/bin/python3
"""The programs that people mail with, as they come: each sends one message through ours. What is not installed is skipped."""
import os
import shutil
import subprocess
import unittest

import support  # noqa: F401
from callers import SendmailCase, fields
from case import TOP, as_ordinary_user, give, main, need_root, programs
from namespaces import mount_namespace

PEERS = os.path.join(TOP, "build", "peers")
MAILX = os.path.join(PEERS, "bsd-mailx", "usr", "bin", "bsd-mailx")
CRON = os.path.join(PEERS, "cron", "usr", "sbin", "cron")
NODEMAILER = os.path.join(PEERS, "nodemailer", "node_modules", "nodemailer")


def need(*names):
    missing = [n for n in names if not (os.path.exists(n) if "/" in n else shutil.which(n, path="/usr/bin:/bin"))]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class Programs(SendmailCase):
    def setUp(self):
        super().setUp()
        self.house()
        self.sendmail = os.path.join(programs(), "sendmail")
        self.home = self.subfolder("home")

    def run_it(self, *argv, stdin=b"", env=None):
        env = dict(PATH="/usr/bin:/bin", HOME=self.home, USER="nobody", LOGNAME="nobody", LANG="C.UTF-8",
                   MANSIO_CONFIG=self.m.conf, ASAN_OPTIONS="detect_leaks=0", **(env or {}))
        r = subprocess.run(as_ordinary_user(list(argv)), input=stdin, capture_output=True, env=env, cwd=self.home, timeout=60)
        self.assertEqual(0, r.returncode, (r.stdout + r.stderr).decode(errors="replace"))
        return r

    def script(self, name, text):
        path = os.path.join(self.home, name)
        with open(path, "w") as f:
            f.write(text)
        return give(path)

    def expect(self, token, recipients, count=1):
        self.assertEqual(sorted(recipients), self.recipients(token, count))
        for message in self.arrived(token):
            self.assertEqual([], fields(message.content, "Bcc"))
            self.assertEqual(1, len(fields(message.content, "From")))
            self.assertEqual(1, len(fields(message.content, "Date")))
            self.assertEqual(1, len(fields(message.content, "Message-ID")))
        return self.arrived(token)[0]

    @need(MAILX)
    def test_bsd_mailx(self):
        rc = self.script("mailrc", f"set sendmail={self.sendmail}\n")
        self.run_it(MAILX, "-s", "from mailx", "-b", "bcc@out.test", "-c", "cc@out.test", "user@out.test", stdin=b"body\n.\nmore\n",
                    env={"MAILRC": rc})
        self.expect("from mailx", ["bcc@out.test", "cc@out.test", "user@out.test"])

    @need("s-nail")
    def test_s_nail(self):
        self.run_it("s-nail", "-:/", "-S", f"mta={self.sendmail}", "-S", "v15-compat", "-r", "from@x.test", "-s", "from s-nail", "-b",
                    "bcc@out.test", "user@out.test", stdin=b"caf\xc3\xa9\n")
        self.assertEqual("from@x.test", self.expect("from s-nail", ["bcc@out.test", "user@out.test"]).sender)

    @need("mutt")
    def test_mutt(self):
        self.run_it("mutt", "-n", "-F", "/dev/null", "-e", f'set sendmail="{self.sendmail} -oem -oi"', "-e", "set copy=no", "-s",
                    "from mutt", "-b", "bcc@out.test", "user@out.test", stdin=b"body\n.\nmore\n")
        self.assertIn(b"\r\n.\r\nmore", self.expect("from mutt", ["bcc@out.test", "user@out.test"]).content)

    @need("git", "/usr/lib/git-core/git-send-email")
    def test_git_send_email(self):
        patch = self.script("0001-x.patch", "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
                            "From: A U Thor <author@x.test>\nDate: Sat, 1 Jan 2022 00:00:00 +0000\n"
                            "Subject: [PATCH] from git\n\n---\n x | 1 +\n\n--\n2.39\n")
        self.run_it("git", "send-email", "--quiet", "--confirm=never", "--suppress-cc=all", f"--sendmail-cmd={self.sendmail} -i",
                    "--from=me@x.test", "--envelope-sender=env@x.test", "--to=user@out.test", "--bcc=bcc@out.test", patch,
                    env={"GIT_COMMITTER_NAME": "me", "GIT_COMMITTER_EMAIL": "me@x.test", "GIT_AUTHOR_NAME": "me",
                         "GIT_AUTHOR_EMAIL": "me@x.test"})
        self.assertEqual("env@x.test", self.expect("from git", ["bcc@out.test", "user@out.test"]).sender)

    @need("php")
    def test_php(self):
        path = self.script("mail.php", r"""<?php exit(mail("user@out.test", "from php", "body\r\n.\r\nmore",
            "From: shop@x.test\r\nBcc: bcc@out.test", "-fbounce@x.test") ? 0 : 1);""")
        self.run_it("php", "-d", f"sendmail_path={self.sendmail} -t -i", path)
        self.assertEqual("bounce@x.test", self.expect("from php", ["bcc@out.test", "user@out.test"]).sender)

    @need("perl", "/usr/share/perl5/MIME/Lite.pm")
    def test_mime_lite(self):
        path = self.script("lite.pl", """use MIME::Lite; my $m = MIME::Lite->new(From => 'a@x.test', To => 'user@out.test',
            Bcc => 'bcc@out.test', Subject => 'from lite', Data => "body\\n"); $m->send('sendmail', "$ARGV[0] -t -oi -oem") or die;""")
        self.run_it("perl", path, self.sendmail)
        self.expect("from lite", ["bcc@out.test", "user@out.test"])

    @need("perl", "/usr/share/perl5/Mail/Sendmail.pm")
    def test_mail_sendmail(self):
        path = self.script("ms.pl", """use Mail::Sendmail; sendmail(From => 'a@x.test', To => 'user@out.test', Bcc => 'bcc@out.test',
            Subject => 'from mail-sendmail', Message => 'body', Smtp => "127.0.0.1:$ARGV[0]") or die $Mail::Sendmail::error;""")
        self.run_it("perl", path, str(self.m.port))
        self.assertEqual(["bcc@out.test", "user@out.test"], self.recipients("from mail-sendmail"))

    def test_python(self):
        path = self.script("mail.py", "import smtplib, subprocess, sys\nfrom email.message import EmailMessage\n"
                           "m = EmailMessage()\nm['From'], m['To'], m['Bcc'] = 'Jörg <a@x.test>', 'user@out.test', 'bcc@out.test'\n"
                           "m['Subject'] = 'from python'\nm.set_content('grüße\\n')\n"
                           "subprocess.run([sys.argv[1], '-t', '-oi'], input=m.as_bytes(), check=True)\n"
                           "m.replace_header('Subject', 'python-smtp')\n"
                           "with smtplib.SMTP('127.0.0.1', int(sys.argv[2])) as s:\n    s.send_message(m)\n")
        self.run_it("/usr/bin/python3", path, self.sendmail, str(self.m.port))
        self.expect("from python", ["bcc@out.test", "user@out.test"])
        self.assertEqual(["bcc@out.test", "user@out.test"], self.recipients("python-smtp"))

    @need("msmtp")
    def test_msmtp(self):
        self.run_it("msmtp", "--host=127.0.0.1", f"--port={self.m.port}", "--from=a@x.test", "--read-recipients", "--auth=off", "--tls=off",
                    stdin=b"From: a@x.test\nTo: user@out.test\nBcc: bcc@out.test\nSubject: from msmtp\n\nbody\n.\n")
        self.expect("from msmtp", ["bcc@out.test", "user@out.test"])

    @need("swaks")
    def test_swaks(self):
        self.run_it("swaks", "--pipe", f"{self.sendmail} -bs", "--from", "a@x.test", "--to", "user@out.test", "--header",
                    "Subject: from swaks", "--ehlo", "here.test")
        self.expect("from swaks", ["user@out.test"])

    @need(CRON)
    @need_root("cron becomes other users, and knows its places by name")
    @unittest.skipUnless(mount_namespace(), "this machine gives no mount namespace")
    def test_cron(self):
        """Debian's cron, as its package has it, in a mount namespace where its places are ours and sendmail is this one."""
        folder, spool = self.path("sbin"), self.path("spool")
        tabs = os.path.join(spool, "cron", "crontabs")
        os.makedirs(folder)
        os.makedirs(tabs)
        shutil.copy(self.sendmail, folder)
        for user, text in (("nobody", "MAILTO=user@out.test\n@reboot printf 'from-cron one\\n.\\ngr\\303\\274\\303\\237e\\n'\n"),
                           ("daemon", "MAILFROM=jobs@x.test\nMAILTO=user@out.test,other@out.test\n@reboot echo from-cron two\n"),
                           ("mail", "MAILTO=\n@reboot echo from-cron none\n")):
            with open(os.path.join(tabs, user), "w") as f:
                f.write(text)
            os.chmod(f.name, 0o600)
            shutil.chown(f.name, user)
        places = (f"mount --bind {folder} /usr/sbin && mount --bind {spool} /var/spool && "
                  f"mount -t tmpfs tmpfs /run && exec {CRON} -f")
        cron = subprocess.Popen([*mount_namespace(), "sh", "-c", places], stderr=subprocess.PIPE,
                                env=dict(PATH="/usr/bin:/bin", MANSIO_CONFIG=self.m.conf, ASAN_OPTIONS="detect_leaks=0"))
        self.addCleanup(cron.stderr.close)
        self.addCleanup(cron.wait)
        self.addCleanup(cron.kill)
        one = self.expect("from-cron one", ["user@out.test"])
        self.assertEqual((["root@here.test (Cron Daemon)"], ["Cron <nobody@" + os.uname().nodename + "> printf"]),
                         (fields(one.content, "From"), [s[:len(os.uname().nodename) + 21] for s in fields(one.content, "Subject")]))
        self.assertTrue(one.content.endswith("from-cron one\r\n.\r\ngrüße\r\n".encode()))
        self.assertIn(b"from nobody (uid ", one.content)
        two = self.expect("from-cron two", ["other@out.test", "user@out.test"])
        self.assertIn(b"from daemon (uid 1)", two.content)
        self.assertEqual(["jobs@x.test"], [f.split(" ")[0] for f in fields(two.content, "From")])
        self.assertFalse([m for m in self.out.messages if b"from-cron none" in m.content])

    @need("curl")
    def test_curl(self):
        self.run_it("curl", "-sS", f"smtp://127.0.0.1:{self.m.port}/here.test", "--mail-from", "a@x.test", "--mail-rcpt", "user@out.test",
                    "-T", "-", stdin=b"From: a@x.test\r\nSubject: from curl\r\n\r\nbody\r\n")
        self.assertEqual(["user@out.test"], self.recipients("from curl"))

    @need("node", NODEMAILER)
    def test_nodemailer(self):
        peers = os.path.join(self.home, "node_modules")
        shutil.copytree(os.path.dirname(NODEMAILER), peers)
        path = self.script("mail.js", """
            const mailer = require('nodemailer'), [path, port] = process.argv.slice(2);
            const letter = s => ({from: 'a@x.test', to: 'user@out.test', bcc: 'bcc@out.test', subject: s, text: 'body\\n.\\nmore'});
            (async () => {
                await mailer.createTransport({sendmail: true, path}).sendMail(letter('node-unix'));
                await mailer.createTransport({sendmail: true, path, newline: 'windows'}).sendMail(letter('node-windows'));
                await mailer.createTransport({sendmail: true, path, args: ['-t']}).sendMail(letter('node-header'));
                await mailer.createTransport({host: '127.0.0.1', port, ignoreTLS: true}).sendMail(letter('node-smtp'));
            })().catch(e => { console.error(e); process.exit(1); });""")
        self.run_it(shutil.which("node"), path, self.sendmail, str(self.m.port))
        for token in ("node-unix", "node-windows", "node-header", "node-smtp"):
            self.expect(token, ["bcc@out.test", "user@out.test"])


if __name__ == "__main__":
    main()
