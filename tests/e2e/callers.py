"""What the sendmail tests share: a server whose every message ends in one sink, and calls of the command."""
import os
import re
import subprocess

import support  # noqa: F401
from case import Case, as_ordinary_user, programs
from sink import without_trace

ORIGIN = "here.test"


def fields(content, name):
    """The unfolded values of a field."""
    head = content.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0] + b"\n"
    head = re.sub(rb"\n[ \t]+", b" ", head)
    return [v.strip().decode("utf-8", "replace") for v in re.findall(rb"(?im)^" + name.encode() + rb"[ \t]*:(.*)$", head)]


class SendmailCase(Case):
    def house(self, config="", sink=True, **kwargs):
        self.out = self.sink() if sink else None
        port = self.out.port if sink else 9
        self.m = self.mansio(hostname="mx.here.test", config=f'origin = "{ORIGIN}"\n'
                             'domain "unused.test" { deliver = "discard" }\n'
                             f'route "*" {{ via = "relay:[127.0.0.1]:{port}" }}\n' + config, **kwargs)
        return self.m

    def argv(self, *args, name="sendmail", user=True):
        argv = [os.path.join(programs(), name), *args]
        return as_ordinary_user(argv) if user else argv

    def call(self, *args, stdin=b"", code=0, user=True, name="sendmail"):
        """One call, as the user of the server; its exit status is checked."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        r = subprocess.run(self.argv(*args, user=user, name=name), input=stdin, capture_output=True, timeout=60,
                           env=dict(os.environ, MANSIO_CONFIG=self.m.conf, ASAN_OPTIONS="detect_leaks=0"), cwd="/")
        self.assertEqual(code, r.returncode, f"{args}: {r.stdout.decode()} {r.stderr.decode()}\n{self.m.log_tail(8)}")
        return r

    def arrived(self, token, count=1, seconds=20):
        """The messages that hold the token, once there are so many for it."""
        from waiting import wait_until
        octets = token.encode()
        wait_until(lambda: sum(octets in m.content for m in self.out.messages) >= count, seconds,
                   lambda: f"{count} messages with {token}\n" + self.m.log_tail())
        return [m for m in self.out.messages if octets in m.content]

    def recipients(self, token, count=1):
        return sorted(r for m in self.arrived(token, count) for r in m.recipients)

    def body(self, message):
        return without_trace(message.content)
