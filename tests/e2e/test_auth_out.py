#!/usr/bin/python3
"""Logging in at smarthosts: aiosmtpd (PLAIN, LOGIN) and a second Mansio (SCRAM); a wrong password, no TLS, no AUTH; two logins at one
host; a file of logins that is wrong."""
import os
import ssl

import support  # noqa: F401
import case
from case import Case
from certificates import certificate
from ports import free_port
from waiting import wait_until

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult, LoginPassword
except ImportError:
    Controller = None

MESSAGE = b"Subject: x\r\n\r\nx\r\n"


class Smarthost:
    """Takes mail of alice with her password. Notes who sent what in which connection."""

    def __init__(self, test, exclude=(), tls=True, password=b"horse battery"):
        self.got, self.mechanisms, self.password = [], [], password
        context = None
        if tls:
            base = test.path("smarthost")
            certificate(base, "localhost")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(base + ".cert", base + ".key")
        self.controller = Controller(
            self, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=tls,
            authenticator=self.authenticate, auth_required=False, auth_require_tls=tls, auth_exclude_mechanism=exclude)
        self.controller.start()
        test.addCleanup(self.controller.stop)
        self.port = self.controller.port

    def authenticate(self, server, session, envelope, mechanism, data):
        self.mechanisms.append(mechanism)
        assert isinstance(data, LoginPassword)
        if data.login in (b"alice", b"bob") and data.password == self.password:
            session.login = data.login.decode()
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False)

    async def handle_DATA(self, server, session, envelope):
        self.got.append((getattr(session, "login", None), envelope.rcpt_tos, session.peer))
        return "250 2.0.0 ok"


@case.unittest.skipIf(Controller is None, "needs python3-aiosmtpd")
class Smarthosts(Case):
    def sender(self, routes, logins="isp alice horse battery\n", mode=0o600, start=True):
        path = self.file("logins", logins)
        os.chmod(path, mode)
        case.give(path)
        m = self.mansio(name="s", start=False, config=f'credentials = "{path}"\n{routes}')
        if start:
            m.start()
        return m

    def outcome(self, m):
        m.send("a@here.test", ["b@two.test"], MESSAGE)
        wait_until(lambda: m.events("delivered", "deferred"), 30, m.log_tail)
        return m.events("delivered", "deferred")[0]

    def hidden(self, m, *secrets):
        text = m.log_text()
        for secret in secrets:
            self.assertNotIn(secret, text)

    def test_plain_and_login(self):
        for exclude, mechanism in (((), "PLAIN"), (("PLAIN",), "LOGIN")):
            with self.subTest(mechanism):
                host = Smarthost(self, exclude)
                m = self.sender(f'route "*" {{ via = "relay:[127.0.0.1]:{host.port}" credentials = "isp" }}\n')
                self.assertEqual("delivered", self.outcome(m)["event"])
                self.assertEqual([mechanism], host.mechanisms)
                self.assertEqual("alice", host.got[0][0])
                self.hidden(m, "battery", "aG9yc2Ug", "AGFsaWNl")
                m.stop()

    def test_scram(self):
        """Neither side writes the umlaut as the other does: both prepare the password."""
        users, port = os.path.join(self.subfolder("auth"), "users"), free_port()
        tls = certificate(self.path("one"), "localhost")
        host = self.mansio(relay=False, start=False, name="h", hostname="smart.test", config=f"""
listen submission {{ address = "127.0.0.1:{port}" tls = "required" auth = true }}
tls {{ {tls} }}
auth {{ users = "{users}" }}
route "*" {{ via = "discard" }}
""")
        r = self.run_program(case.as_ordinary_user([host.program("queuectl"), "-c", host.conf, "user", "add", "alice"]),
                             stdin="ho\u0308rse battery\n")
        self.assertEqual(0, r.returncode, r.stderr)
        host.start()
        m = self.sender(f'route "*" {{ via = "relay:[127.0.0.1]:{port}" credentials = "isp" }}\n',
                        "isp alice h\u00f6rse battery\n")
        self.assertEqual("delivered", self.outcome(m)["event"])
        self.assertEqual("alice", host.wait_event("authenticated")["login"])
        self.hidden(m, "battery")

    def test_refused_mail_waits(self):
        host = Smarthost(self, password=b"another")
        m = self.sender(f'route "*" {{ via = "relay:[127.0.0.1]:{host.port}" credentials = "isp" }}\n')
        event = self.outcome(m)
        self.assertEqual("deferred", event["event"])
        self.assertIn("535 5.7.8", event["reply"])
        for shown in (m.queuectl("show", m.list()[0]["id"]), m.queuectl("explain", m.list()[0]["id"])):
            self.assertIn("5.7.8", shown.stdout)
            self.assertNotIn("AGFsaWNl", shown.stdout)
        # The operator mends it, and reloads.
        host.password = b"horse battery"
        m.reload()
        m.wait_empty()
        self.assertEqual("alice", host.got[0][0])

    def test_nothing_without_tls(self):
        host = Smarthost(self, tls=False)
        m = self.sender(f'route "*" {{ via = "relay:[127.0.0.1]:{host.port}" credentials = "isp" }}\n')
        self.assertEqual("deferred", self.outcome(m)["event"])
        self.assertEqual([], host.mechanisms)
        m.write(m.text.replace('credentials = "isp"', 'credentials = "isp" auth_without_tls = true'))
        m.reload()
        m.wait_empty()
        self.assertEqual(["PLAIN"], host.mechanisms)

    def test_not_offered(self):
        host = Smarthost(self, exclude=("PLAIN", "LOGIN"))
        m = self.sender(f'route "*" {{ via = "relay:[127.0.0.1]:{host.port}" credentials = "isp" }}\n')
        event = self.outcome(m)
        self.assertEqual("deferred", event["event"])
        self.assertIn("no way to log in", event["reply"])

    def test_logins_do_not_mix(self):
        """One host under three lanes: mail of each goes in connections of its own, although all could be shared."""
        host = Smarthost(self)
        at = f"[127.0.0.1]:{host.port}"
        spare = f"[127.0.0.1]:{free_port()}"
        m = self.sender(f"""
route "one.test" {{ via = "relay:{at}" credentials = "isp" tls = "encrypt" }}
route "two.test" {{ via = "relay:{at},{spare}" credentials = "other" tls = "encrypt" }}
route "three.test" {{ via = "relay:{at},{at}" tls = "encrypt" }}
""", "isp alice horse battery\nother bob horse battery\n")
        for _ in range(2):
            m.send("a@here.test", ["x@one.test", "x@two.test", "x@three.test"], MESSAGE)
            m.wait_empty()
        self.assertEqual({("alice", "x@one.test"), ("bob", "x@two.test"), (None, "x@three.test")},
                         {(login, to) for login, tos, _ in host.got for to in tos})
        self.assertEqual([1] * 6, [len(tos) for _, tos, _ in host.got])
        self.assertEqual(3, len({peer for _, _, peer in host.got}), "kept connections serve their own login again")

    def test_wrong_files(self):
        route = 'route "*" { via = "relay:[127.0.0.1]:9" credentials = "isp" }\n'
        for logins, mode, route, why in (
                ("isp alice x\n", 0o640, route, "others may use it (expected mode 0600)"),
                ("isp alice\n", 0o600, route, "logins:1: expected a name, a login and a password"),
                ("# none\n", 0o600, route, 'credentials = "isp": no such line'),
                ("isp alice x\n", 0o600, route.replace("isp\"", "isp\" tls = \"none\""), "auth_without_tls = true"),
                ("isp alice x\n", 0o600, route.replace("relay:[127.0.0.1]:9", "mx"), "expected only with relay"),
                ("isp alice x\n", 0o600, route + 'route "b.test" { via = "relay:[127.0.0.1]:9" }\n',
                 "expected the same credentials there")):
            with self.subTest(why):
                r = self.sender(route, logins, mode, start=False).check()
                self.assertEqual(1, r.returncode)
                self.assertIn(why, r.stdout + r.stderr)


if __name__ == "__main__":
    case.main()
