#!/usr/bin/python3
"""Postfix's own generator through the whole server: every message arrives once and byte for byte, less our trace field."""
import collections
import selectors
import socket
import subprocess
import threading
import time
import unittest

import support  # noqa: F401
import postfix
from case import Case, figure, main
from ports import free_port
from sink import without_trace

ZONE = """
one IN MX 10 mx.one
mx.one IN A 127.0.0.2
"""
COUNT = 1000


class Tap:
    """A TCP relay that keeps what the client says, so that we know what was sent."""

    def __init__(self, to):
        self.to, self.streams, self.threads = to, [], []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            kept = bytearray()
            self.streams.append(kept)
            t = threading.Thread(target=self._serve, args=(client, kept), daemon=True)
            self.threads.append(t)
            t.start()

    def _serve(self, client, kept):
        with client, socket.create_connection(self.to) as server, selectors.DefaultSelector() as ready:
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            try:
                while True:
                    for key, _ in ready.select():
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        if key.fileobj is client:
                            kept += data
                        key.data.sendall(data)
            except OSError:
                return

    def messages(self):
        """The contents that were sent, with the dots that were doubled for the way undone."""
        for thread in self.threads:
            thread.join(10)
        for stream in self.streams:
            at = 0
            stream = bytes(stream)
            while (start := stream.find(b"DATA\r\n", at)) >= 0:
                end = stream.index(b"\r\n.\r\n", start + 4) + 2
                content = stream[start + 6:end]
                yield content[1:].replace(b"\r\n..", b"\r\n.") if content.startswith(b"..") else \
                    content.replace(b"\r\n..", b"\r\n.")
                at = end + 3

    def close(self):
        self.listener.close()


class Relay(Case):
    @unittest.skipIf(postfix.missing(), postfix.missing())
    def test_thousand(self):
        port = free_port()
        sink = self.sink(port, "127.0.0.2")
        m = self.mansio(dns=self.dns(ZONE), mx_port=port, log_level="info", inbound=2, outbound=2)
        tap = Tap(("127.0.0.1", m.port))
        self.addCleanup(tap.close)
        began = time.monotonic()
        for count, size, sessions in ((COUNT * 8 // 10, 4096, 20), (COUNT * 2 // 10 - 5, 100, 5), (5, 3000000, 2)):
            subprocess.run([postfix.program("smtp-source"), "-d", "-s", str(sessions), "-m", str(count),
                            "-l", str(size), "-f", "sender@back.test", "-t", "r@one.test", "-S", f"size {size}",
                            f"127.0.0.1:{tap.port}"],
                           check=True, env=postfix.environment(), timeout=120)
        sink.wait(COUNT, 90, m.log_tail)
        took = time.monotonic() - began
        m.wait_empty()
        sent = collections.Counter(tap.messages())
        got = collections.Counter(without_trace(x.content) for x in sink.messages)
        self.assertEqual(COUNT, sum(sent.values()))
        self.assertEqual(COUNT, len(sink.messages))
        self.assertTrue(sent == got, f"{len(sent - got)} messages changed on their way, {len(got - sent)} appeared")
        self.assertEqual({("sender@back.test", ("r@one.test",))},
                         {(x.sender, tuple(x.recipients)) for x in sink.messages})
        for x in sink.messages[:5]:
            trace = x.content[:len(x.content) - len(without_trace(x.content))]
            self.assertRegex(trace, rb"^Received: from \S+ \(.*\[127\.0\.0\.1\]\)\s+by mx\.here\.test with E?SMTP id \S+"
                                    rb"\s+for <r@one\.test>;\s+\w+, \d+ \w+ \d{4} [\d:]+ [+-]\d{4}\r\n$")
        figure(f"{COUNT} messages from smtp-source, all octets as sent, in {took:.1f} s")


if __name__ == "__main__":
    main()
