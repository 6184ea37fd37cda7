#!/usr/bin/python3
"""Configuration errors by `mansiod -t`, and starts that cannot succeed: each says where and why, and exits with 1."""
import os
import re
import socket
import subprocess

import support  # noqa: F401
import case
from case import Case, main, need_root
from ports import free_port

BAD = {
    "unknown key": ('hostname = "a.test"\nhostnane = "b.test"\n', 2, "hostnane"),
    "unknown key in a block": ('retry {\n plan = { "1m" }\n plam = "2m"\n}\n', 3, "plam"),
    "unknown block": ('\n\nlisten2 smtp { }\n', 3, "listen2"),
    "brace left open": ('retry { plan = { "1m" }\n', None, ""),
    "quote left open": ('hostname = "a.test\n', None, ""),
    "bad time": ('retry { plan = { "10 parsecs" } }\n', 1, "10 parsecs"),
    "negative time": ('timeouts { connect = "-5s" }\n', 1, "-5s"),
    "bad size": ('limits {\n message_size = "50X" }\n', 2, "50X"),
    "bad number": ('limits { recipients = "many" }\n', 1, "many"),
    "number too large": ('limits { recipients = 99999999999999999999 }\n', 1, ""),
    "bad address": ('listen smtp { address = "127.0.0.1:99999" }\n', 1, "127.0.0.1:99999"),
    "bad network": ('relay_from = { "10.0.0.0/33" }\n', 1, "10.0.0.0/33"),
    "bad word": ('listen smtp { address = "127.0.0.1:2525" tls = "perhaps" }\n', 1, "perhaps"),
    "bad log level": ('log { level = "chatty" }\n', 1, "chatty"),
    "bad route": ('route "*" { via = "pigeon" }\n', 1, "pigeon"),
    "bad delivery": ('domain "a.test" { deliver = "lmtp:[127.0.0.1" }\n', 1, "lmtp:"),
    "two domains of one name": ('domain "a.test" { deliver = "discard" }\ndomain "a.test" { deliver = "discard" }\n', 2, "a.test"),
    "TLS without a certificate": ('listen smtp { address = "127.0.0.1:2525" tls = "required" }\n', None, "certificate"),
    "bad host name": ('hostname = "a b"\n', 1, "a b"),
    "binary": ("\0\1\2\377", None, ""),
}


class Configuration(Case):
    def mansiod(self, *args):
        return self.run_program([os.path.join(case.programs(), "mansiod"), *args])

    def test_errors(self):
        for name, (text, line, word) in BAD.items():
            with self.subTest(name):
                path = self.file("bad.conf", text)
                r = self.mansiod("-t", "-c", path)
                self.assertEqual(1, r.returncode, r.stdout + r.stderr)
                self.assertEqual("", r.stdout)
                self.assertRegex(r.stderr, r"^" + re.escape(path) + (rf":{line}: " if line else r":\d+: "))
                self.assertIn(word, r.stderr)
                self.assertEqual(1, r.stderr.count("\n"), "one error, one line")

    def test_good(self):
        for text in ("", 'hostname = mail.example.org\n', '# only a comment\n',
                     'route "*" { via = "relay:[smtp.isp.test]:587" }\ndomain "a.test" { deliver = "error:5.1.1 gone" }\n'):
            with self.subTest(text):
                r = self.mansiod("-t", "-c", self.file("good.conf", text))
                self.assertEqual((0, "", ""), (r.returncode, r.stdout, r.stderr))

    def test_missing_file(self):
        r = self.mansiod("-t", "-c", self.path("none.conf"))
        self.assertEqual(1, r.returncode)
        self.assertIn("none.conf", r.stderr)

    def test_from_the_environment(self):
        path = self.file("env.conf", "nonsense = 1\n")
        r = self.run_program(case.as_ordinary_user([os.path.join(case.programs(), "mansiod"), "-t"]), env={"MANSIO_CONFIG": path})
        self.assertEqual(1, r.returncode)
        self.assertIn("env.conf:1:", r.stderr)

    # --- starts ---

    def refused(self, m, *words):
        m.spawn()
        status = m.process.wait(30)
        text = m.log_text()
        m.stopped, m._checked = True, True
        self.assertEqual(1, status, text)
        for word in words:
            self.assertIn(word, text)
        self.assertEqual([], m.pids())

    def test_port_in_use(self):
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            self.refused(self.mansio(port=port, start=False), f"127.0.0.1:{port}", "in use")

    def test_second_server(self):
        first = self.mansio()
        self.refused(self.mansio(start=False, state_dir=first.state), "another mansiod")
        first.send("a@b.test", ["c@d.test"], "Subject: x\n\nx\n")
        first.tolerate("dns_failed")

    def test_state_dir_cannot_be_written(self):
        os.mkdir(self.path("closed"), 0o555)
        m = self.mansio(start=False, state_dir=self.path("closed") + "/state")
        self.refused(m, "closed/state", "ermission denied")

    def test_certificate_missing(self):
        m = self.mansio(start=False, config=f'tls {{ certificate = "{self.path("no.pem")}" key = "{self.path("no.key")}" }}\n')
        self.refused(m, "no.pem")

    def test_certificate_is_garbage(self):
        bad = self.file("bad.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        m = self.mansio(start=False, config=f'tls {{ certificate = "{bad}" key = "{bad}" }}\n')
        self.refused(m, "certificate")

    @need_root("a user can only be missing where one is looked for")
    def test_user_missing(self):
        self.refused(self.mansio(start=False, as_root=True, user="no-such-user"), "no-such-user", "no such user")

    def test_queuectl_without_a_server(self):
        m = self.mansio()
        m.stop()
        r = m.queuectl("--json", "list")
        self.assertEqual((0, ""), (r.returncode, r.stdout), r.stderr)


if __name__ == "__main__":
    main()
