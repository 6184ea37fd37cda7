"""A client that says exactly what it is told."""
import socket


class Wire:
    """A client that says exactly what it is told, from an address of its own."""

    def __init__(self, test, port, source="127.0.0.30", greeting=True):
        self._take(test, socket.create_connection(("127.0.0.1", port), 20, (source, 0)), greeting)

    @classmethod
    def of(cls, test, path):
        """At a UNIX socket."""
        wire = cls.__new__(cls)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(path)
        wire._take(test, s, True)
        return wire

    def _take(self, test, connected, greeting):
        self.socket = connected
        test.addCleanup(self.socket.close)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply() if greeting else None

    def reply(self):
        text = b""
        while True:
            line = self.file.readline()
            text += line
            if line[3:4] != b"-":
                return text.decode().strip()

    def say(self, *lines):
        self.socket.sendall(b"".join(line.encode() + b"\r\n" for line in lines))
        answers = [self.reply() for _ in lines]
        return answers[0] if len(lines) == 1 else answers

    def mail(self, *recipients, sender="a@there.test"):
        return self.say(f"MAIL FROM:<{sender}>", *[f"RCPT TO:<{r}>" for r in recipients])
