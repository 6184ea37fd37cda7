#!/usr/bin/python3
"""Users of the host: mail written as its owner, ~/.forward followed, and what is not safe put off. Wants root (users, a private
/etc/passwd); the last case runs as an ordinary user."""
import glob
import mailbox
import os
import pwd

import support  # noqa: F401
from case import Case, main, need_root
from namespaces import behind_mounts
from ports import free_port
from waiting import wait_until

ZONE = """
far IN MX 10 mx.far
mx.far IN A 127.0.0.2
"""
USERS = {"alice": 54001, "bob": 54002, "carol": 54003, "dave": 54004, "erin": 54005, "frank": 54006}


class Owners(Case):
    def world(self, config=""):
        self.port = free_port()
        self.spool = self.subfolder("spool")
        os.chmod(self.spool, 0o1777)
        with open("/etc/passwd") as f:
            lines = f.read()
        for name, uid in USERS.items():
            home = self.subfolder(name)
            os.chown(home, uid, uid)
            os.chmod(home, 0o755)
            lines += f"{name}:x:{uid}:{uid}::{home}:/bin/bash\n"
        passwd = self.file("passwd", lines)
        self.far = self.sink(port=self.port, address="127.0.0.2")
        m = self.mansio(
            dns=self.dns(ZONE), mx_port=self.port, hostname="mx.h.test", as_root=True, user="nobody", start=False,
            config='domain "h.test" { system_users = true }\n'
                   f'domain "s.test" {{ system_users = true mbox = "{self.spool}/%u" }}\n' + config)
        behind_mounts(m, {"/etc/passwd": passwd})
        return m.start()

    def forward(self, user, text, mode=0o600):
        path = self.file(f"{user}/.forward", text.replace("HOME", self.path(user)))
        os.chown(path, USERS[user], USERS[user])
        os.chmod(path, mode)

    def box(self, user):
        return glob.glob(self.path(user) + "/Maildir/new/*")

    @need_root("to act as mailbox owners")
    def test_mail_belongs_to_its_owner(self):
        m = self.world()
        m.send("x@far.test", ["alice@h.test", "Bob+tag@h.test", "carol@s.test"], "Subject: t\n\nFrom x\n")
        m.wait_empty()
        for user in ("alice", "bob"):
            st = os.stat(self.box(user)[0])
            self.assertEqual((USERS[user], USERS[user], 0o100600), (st.st_uid, st.st_gid, st.st_mode))
        self.assertEqual((USERS["carol"], 0o100600), (os.stat(self.spool + "/carol").st_uid, os.stat(self.spool + "/carol").st_mode))
        box = mailbox.mbox(self.spool + "/carol")
        self.assertEqual(["carol@s.test"], [x["Delivered-To"] for x in box])
        box.close()
        with m.client() as c:
            c.ehlo()
            c.mail("x@far.test")
            self.assertEqual([550, 250, 250], [c.rcpt(r)[0] for r in ("nosuch@h.test", "ALICE+x@h.test", "postmaster@h.test")])
        m.send("x@far.test", ["root@h.test", "postmaster@h.test"], "Subject: t\n\nx\n")
        r = m.wait_recipient("root@h.test", attempts=lambda n: n >= 1)
        self.assertIn("root needs an alias", r["reply"])
        r = m.wait_recipient("postmaster@h.test", attempts=lambda n: n >= 1)
        self.assertIn("needs an alias", r["reply"])

    @need_root("to act as mailbox owners")
    def test_forward_is_followed(self):
        m = self.world()
        self.forward("alice", "\\alice, bob, dave@far.test\n|\"sh -c 'env > HOME/env; cat > HOME/piped; id -u >> HOME/env'\"\n"
                              "HOME/archive\n")
        self.forward("bob", "carol\n")
        self.forward("erin", "# nothing\n")
        m.send("x@far.test", ["alice+shop@h.test", "carol@h.test", "erin@h.test"], "Subject: t\n\nx\n",
               rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
        m.wait_empty()
        self.assertEqual([1, 0, 1, 1], [len(self.box(u)) for u in ("alice", "bob", "carol", "erin")])
        with open(self.path("alice/env")) as f:
            env = f.read().splitlines()
        for line in ("USER=alice", "LOGNAME=alice", f"HOME={self.path('alice')}", "SHELL=/bin/bash", "EXTENSION=shop",
                     "DOMAIN=h.test", "SENDER=x@far.test", "RECIPIENT=alice+shop@h.test", str(USERS["alice"])):
            self.assertIn(line, env)
        self.assertEqual(USERS["alice"], os.stat(self.path("alice/archive")).st_uid)
        wait_until(lambda: len(self.far.messages) >= 2, 20, "the copy elsewhere and the notifications")
        self.assertIn(["dave@far.test"], [x.recipients for x in self.far.messages])
        self.assertTrue(any(b"Action: expanded" in x.content for x in self.far.messages))

    @need_root("to act as mailbox owners")
    def test_what_a_forward_sends_on_is_sent_by_us(self):
        """SRS: the only forwarding that lookup does not see."""
        keys = self.file("srs.keys", "tops3cr3t\n")
        os.chmod(keys, 0o600)
        m = self.world(f'srs {{ domain = "h.test" keys = "{keys}" }}\n')
        self.forward("alice", "dave@far.test, bob\n")
        m.send("x@far.test", ["alice@h.test"], "Subject: t\n\nx\n")
        m.wait_empty()
        self.assertRegex(self.far.messages[0].sender, r"^SRS0=.*=far\.test=x@h\.test$")
        with open(self.box("bob")[0]) as f:
            self.assertIn("Return-Path: <x@far.test>", f.read())

    @need_root("to act as mailbox owners")
    def test_circles_end(self):
        m = self.world()
        self.forward("alice", "bob\n")
        self.forward("bob", "carol@h.test\n")
        self.forward("carol", "alice\n")
        m.send("x@far.test", ["alice@h.test"], "Subject: lost\n\nx\n")
        m.wait_empty()
        self.assertIn(b"Status: 5.4.6", self.far.messages[0].content)
        self.forward("dave", "\\dave, erin\n")
        self.forward("erin", "dave, \\erin\n")
        m.send("x@far.test", ["dave@h.test"], "Subject: kept\n\nx\n")
        m.wait_empty()
        self.assertEqual([1, 1, 1], [len(self.box("dave")), len(self.box("erin")), len(self.far.messages)])
        m.send("x@far.test", ["alice@h.test"], "Delivered-To: alice@h.test\nSubject: again\n\nx\n")
        m.wait_empty()
        self.assertIn(b"a mail loop", self.far.messages[1].content)

    @need_root("to act as mailbox owners")
    def test_what_is_not_safe_waits(self):
        m = self.world()
        m.announce("forward_refused")
        self.forward("alice", "bob\n", 0o660)
        self.file("target", "bob\n")
        os.symlink(self.path("target"), self.path("bob/.forward"))
        self.forward("carol", "erin\n")
        os.chmod(self.path("carol"), 0o777)
        self.forward("dave", ":include:/etc/passwd\n")
        self.forward("frank", "erin\n")
        os.chown(self.path("frank/.forward"), USERS["alice"], USERS["alice"])
        waiting = ("alice", "bob", "carol", "dave", "frank")
        m.send("x@far.test", [u + "@h.test" for u in waiting + ("erin",)], "Subject: t\n\nx\n")
        for user in waiting:
            r = m.wait_recipient(user + "@h.test", attempts=lambda n: n >= 1)
            self.assertIn("4.3.5", r["reply"])
        self.assertEqual(1, len(self.box("erin")))
        self.forward("alice", "erin\n")
        m.queuectl("retry", "all")
        wait_until(lambda: not m.recipients("alice@h.test"), 20, "the mended .forward")

    def test_an_ordinary_user_writes_his_own_mail_alone(self):
        me = pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("nobody")
        m = self.mansio(hostname="mx.h.test", config='domain "h.test" { system_users = true '
                                                     f'maildir = "{self.subfolder("boxes")}/%u" }}\n')
        m.send("x@far.test", [me.pw_name + "@h.test", "daemon@h.test"], "Subject: t\n\nx\n")
        r = m.wait_recipient("daemon@h.test", attempts=lambda n: n >= 1)
        self.assertIn("ordinary user", r["reply"])
        self.assertEqual(1, len(glob.glob(self.path("boxes") + f"/{me.pw_name}/new/*")))


if __name__ == "__main__":
    main()
