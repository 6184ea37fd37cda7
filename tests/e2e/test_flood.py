#!/usr/bin/python3
"""A flood of TLS handshakes, or of wrong passwords, beside an authenticated client: how many messages it still gets through.
The ratio of the two halves of one run is a figure; what is asserted are counts. MANSIO_FLOOD_SECONDS makes the halves longer."""
import base64
import multiprocessing
import os
import socket
import time

import support  # noqa: F401
import case
from case import Case, figure, main
from ports import free_port
from test_door import anybody, certificate
from wire import Wire

SECONDS = float(os.environ.get("MANSIO_FLOOD_SECONDS", "2"))
BUILD = case.RELEASE if os.path.exists(os.path.join(case.RELEASE, "mansiod")) else case.BUILD
ATTACKERS = 8


class Flood(Case):
    def server(self, rates):
        self.submission, self.submissions = free_port(), free_port()
        users = os.path.join(self.subfolder("auth"), "users")
        m = self.mansio(relay=False, start=False, inbound=2, build=BUILD, log_level="info", config=f'''
listen submission {{ address = "127.0.0.1:{self.submission}" tls = "none" auth = true auth_without_tls = true }}
listen submissions {{ address = "127.0.0.1:{self.submissions}" auth = true }}
tls {{ {certificate(self.path("one"), "mx.here.test")} }}
auth {{ users = "{users}" failures = 5 ban = "10m" }}
exempt_from = {{ "127.0.0.1" }}
checks {{ names = false }}
rates {{ {rates} }}
domain "here.test" {{ deliver = "discard" }}''')
        r = self.run_program(case.as_ordinary_user([m.program("queuectl"), "-c", m.conf, "user", "add", "alice"]),
                             stdin="correct horse\n")
        self.assertEqual(0, r.returncode, r.stderr)
        m.start()
        m.tolerate("login_shut_out")
        return m

    def messages(self, seconds):
        """An authenticated client that sends as fast as it is answered; how many were accepted."""
        w = Wire(self, self.submission, "127.0.0.1")
        w.say("EHLO client.test")
        self.assertEqual("235", w.say("AUTH PLAIN " + base64.b64encode(b"\0alice\0correct horse").decode())[:3])
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            answers = w.say("MAIL FROM:<alice@here.test>", "RCPT TO:<bob@here.test>", "DATA")
            self.assertEqual(["250", "250", "354"], [a[:3] for a in answers])
            self.assertEqual("250", w.say("Subject: x\r\n\r\nx\r\n.")[:3])
            count += 1
        return count

    def beside(self, name, attack, tries_min=0):
        alone = self.messages(SECONDS)
        processes = multiprocessing.get_context("fork")
        stop, tries = processes.Event(), processes.Array("L", ATTACKERS)

        def attacker(i):
            os.nice(19)  # the attackers' machines are not ours
            while not stop.is_set():
                try:
                    attack(f"127.0.1.{i + 1}")
                except OSError:
                    pass  # turned away, or shut in its face
                tries[i] += 1
        attackers = [processes.Process(target=attacker, args=(i,), daemon=True) for i in range(ATTACKERS)]
        for a in attackers:
            a.start()
        flooded = self.messages(SECONDS)
        measured = sum(tries)
        while sum(tries) < tries_min:  # a crowded machine: what is asserted needs so many, however long they take
            attackers[0].join(0.1)
        stop.set()
        for a in attackers:
            a.join(1)
            a.kill()
            a.join()
        figure(f"flood of {name}: {alone / SECONDS:.0f} messages/s of an authenticated client alone, {flooded / SECONDS:.0f} "
               f"beside it ({flooded / alone:.0%}); {measured / SECONDS:.0f} tries/s from {ATTACKERS} addresses")
        self.assertGreater(flooded, 0)
        return sum(tries)

    def test_handshakes(self):
        m = self.server('client_connections = "20/1m"')

        context = anybody()

        def handshake(source):
            with socket.create_connection(("127.0.0.1", self.submissions), 10, (source, 0)) as plain, \
                    context.wrap_socket(plain):
                pass
        tries = self.beside("handshakes", handshake, ATTACKERS * 22)
        refused = len(m.events("session_refused", why="client_connections"))
        opened = tries - refused
        self.assertGreater(refused, 0)
        self.assertLessEqual(opened, ATTACKERS * 21, "what each address gets in a minute, and what was under way at the end")

    def test_passwords(self):
        m = self.server("")
        wrong = base64.b64encode(b"\0alice\0wrong").decode()

        def guess(source):
            with socket.create_connection(("127.0.0.1", self.submission), 40, (source, 0)) as s:
                f = s.makefile("rb")
                if not f.readline().startswith(b"220"):
                    return
                s.sendall(b"EHLO guess.test\r\nAUTH PLAIN " + wrong.encode() + b"\r\n")
                for line in f:
                    if line[:3] in (b"535", b"454", b"421"):
                        return
        self.beside("wrong passwords", guess)
        self.assertLessEqual(len(m.events("login_failed")), ATTACKERS * 5, "no more than `failures` of an address are judged")


if __name__ == "__main__":
    main()
