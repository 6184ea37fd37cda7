#!/usr/bin/python3
"""A flood of TLS handshakes, or of wrong passwords, beside an authenticated client: how many messages it still gets through.
Alone and beside the flood take turns in short slices, so that what else the machine does is in both. Attackers run at the same priority
as the server, each with an address and a process of its own and many connections at once; a handshake costs them one packet of
octets made before, and costs the server all that a handshake costs. MANSIO_FLOOD_SECONDS=N, on a quiet machine, measures for N seconds
each and wants half of the rate kept."""
import base64
import multiprocessing
import os
import selectors
import socket
import ssl
import time

import support  # noqa: F401
import case
from case import Case, figure, main
from ports import free_port
from test_door import certificate
from wire import Wire

SLICES = 4
MEASURED = "MANSIO_FLOOD_SECONDS" in os.environ  # else the machine may be busy with anything: then only counts are judged
SECONDS = float(os.environ.get("MANSIO_FLOOD_SECONDS", "2")) / SLICES
BUILD = case.RELEASE if os.path.exists(os.path.join(case.RELEASE, "mansiod")) else case.BUILD
ATTACKERS = 8
AT_ONCE = 20
HANDSHAKES, BURST = 100, 10  # rates.handshakes


def client_hello():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def cpu(pids):
    """Seconds of processor time that these have had."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass  # gone
    return ticks / os.sysconf("SC_CLK_TCK")


class Crowd:
    """An attacker: `at_once` connections from one address, each new again when the server has spoken or closed. on_words(octets)
    says what to send next; None: this try is over; nothing: more is to come."""

    def __init__(self, source, port, first, on_words):
        self.source, self.port, self.first, self.on_words = source, port, first, on_words
        self.selector = selectors.DefaultSelector()
        self.answered = self.refused = 0

    def open(self):
        s = socket.socket()
        s.setblocking(False)
        s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        try:
            s.bind((self.source, 0))
            s.connect_ex(("127.0.0.1", self.port))
        except OSError:
            s.close()
            return
        self.selector.register(s, selectors.EVENT_WRITE if self.first else selectors.EVENT_READ)

    def end(self, s):
        self.selector.unregister(s)
        s.close()

    def turn(self, going):
        while going and len(self.selector.get_map()) < AT_ONCE:
            before = len(self.selector.get_map())
            self.open()
            if len(self.selector.get_map()) == before:
                break
        for key, events in self.selector.select(0.05):
            s = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    s.send(self.first)
                    self.selector.modify(s, selectors.EVENT_READ)
                    continue
                words = s.recv(65536)
                answer = self.on_words(words) if words else None
                if answer is not None:
                    s.send(answer)
                    continue
                self.answered += bool(words)
                self.refused += not words
            except OSError:
                self.refused += 1
            self.end(s)
        if not going:
            for key in list(self.selector.get_map().values()):
                self.end(key.fileobj)


class Flood(Case):
    def server(self, rates=""):
        self.submission, self.submissions = free_port(), free_port()
        users = os.path.join(self.subfolder("auth"), "users")
        m = self.mansio(relay=False, start=False, inbound=2, build=BUILD, log_level="info", config=f'''
listen submission {{ address = "127.0.0.1:{self.submission}" tls = "none" auth = true auth_without_tls = true }}
listen submissions {{ address = "127.0.0.1:{self.submissions}" auth = true }}
tls {{ {certificate(self.path("one"), "mx.here.test")} }}
auth {{ users = "{users}" failures = 5 ban = "10m" }}
exempt_from = {{ "127.0.0.1" }}
checks {{ names = false }}
rates {{ handshakes = "{HANDSHAKES}/1s burst {BURST}" client_messages = "0" client_commands = "0" {rates} }}
domain "here.test" {{ deliver = "discard" }}''')
        r = self.run_program(case.as_ordinary_user([m.program("queuectl"), "-c", m.conf, "user", "add", "alice"]),
                             stdin="correct horse\n")
        self.assertEqual(0, r.returncode, r.stderr)
        m.start()
        m.tolerate("login_shut_out")
        return m

    def client(self):
        w = Wire(self, self.submission, "127.0.0.1")
        w.say("EHLO client.test")
        self.assertEqual("235", w.say("AUTH PLAIN " + base64.b64encode(b"\0alice\0correct horse").decode())[:3])
        return w

    def messages(self, w, seconds):
        """The client sends as fast as it is answered; how many messages were accepted."""
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            answers = w.say("MAIL FROM:<alice@here.test>", "RCPT TO:<bob@here.test>", "DATA")
            self.assertEqual(["250", "250", "354"], [a[:3] for a in answers])
            self.assertEqual("250", w.say("Subject: x\r\n\r\nx\r\n.")[:3])
            count += 1
        return count

    def beside(self, m, name, port, first, on_words):
        """Messages alone, beside the flood; tries that the server answered, that it refused; seconds of flood."""
        context = multiprocessing.get_context("fork")
        going, stop = context.Event(), context.Event()
        answered, refused = context.Array("L", ATTACKERS), context.Array("L", ATTACKERS)

        def attacker(i):
            crowd = Crowd(f"127.0.1.{i + 1}", port, first, on_words())
            while not stop.is_set():
                if not going.is_set():
                    crowd.turn(False)
                    going.wait(0.05)
                    continue
                crowd.turn(True)
                answered[i], refused[i] = crowd.answered, crowd.refused
        w = self.client()
        attackers = [context.Process(target=attacker, args=(i,), daemon=True) for i in range(ATTACKERS)]
        for a in attackers:
            a.start()
        servers = [m.process.pid] + [e["pid"] for e in m.events("child_started")]
        theirs = [a.pid for a in attackers]
        alone = flooded = 0
        spent, used, seconds = 0.0, 0.0, 0.0
        for _ in range(SLICES):
            alone += self.messages(w, SECONDS)
            before, ours, began = cpu(theirs), cpu(servers), time.monotonic()
            going.set()
            flooded += self.messages(w, SECONDS)
            going.clear()
            seconds += time.monotonic() - began
            spent, used = spent + cpu(theirs) - before, used + cpu(servers) - ours
        stop.set()
        for a in attackers:
            a.join(1)
            a.kill()
            a.join()
        figure(f"flood of {name}: {alone / SLICES / SECONDS:.0f} messages/s of an authenticated client alone, "
               f"{flooded / seconds:.0f} beside it ({flooded / alone:.0%}); {sum(answered) / seconds:.0f} answered and "
               f"{sum(refused) / seconds:.0f} refused tries/s from {ATTACKERS} addresses; processors during the flood: "
               f"attackers {spent / seconds:.2f}, server {used / seconds:.2f} of {os.cpu_count()}")
        return alone, flooded, sum(answered), sum(refused), seconds

    def half(self, alone, flooded):
        if MEASURED:
            self.assertGreaterEqual(flooded, alone / 2, "the client keeps half its rate")

    def test_handshakes(self):
        m = self.server()
        alone, flooded, answered, _, seconds = self.beside(m, "handshakes", self.submissions, client_hello(),
                                                           lambda: lambda words: None)
        self.assertGreater(answered, HANDSHAKES * seconds / 4, "strangers are served too")
        # Each slice begins while somebody has just sent; what is under way at its end may be answered.
        self.assertLessEqual(answered, SLICES * BURST + (HANDSHAKES + 10) * 2 * seconds)
        self.half(alone, flooded)

    def test_refused_connections(self):
        """Over the rate of connections: those who may not even begin cost little, too."""
        m = self.server('client_connections = "20/1m"')
        alone, flooded, answered, _, _ = self.beside(m, "refused connections", self.submissions, client_hello(),
                                                           lambda: lambda words: None)
        self.assertGreater(len(m.events("session_refused", why="client_connections")), 0)
        self.assertLessEqual(answered, ATTACKERS * 22, "what each address gets in a minute")
        self.half(alone, flooded)

    def test_passwords(self):
        m = self.server()
        guess = b"EHLO guess.test\r\nAUTH PLAIN " + base64.b64encode(b"\0alice\0wrong") + b"\r\n"

        def talk():
            return lambda words: guess if words.startswith(b"220") else \
                None if any(line[:3] in (b"535", b"454", b"421", b"554") for line in words.split(b"\r\n")) else b""
        alone, flooded, _, _, _ = self.beside(m, "wrong passwords", self.submission, b"", talk)
        self.assertLessEqual(len(m.events("login_failed")), ATTACKERS * (5 + 3),
                             "no more than `failures` of an address are judged, and those that were being judged by then")
        self.half(alone, flooded)


if __name__ == "__main__":
    main()
