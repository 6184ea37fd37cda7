"""Names for the tests: knot serves the zone `test.`; a small front before it answers what knot cannot be made to say.

    dns = case.dns('''one 60 IN MX 10 mx.one
                      mx.one 60 IN A 127.0.0.2''')
    Mansio(case, dns=dns, ...)

Everything at or below these names is answered by the front, whatever the zone says:
    servfail.test refused.test silent.test garbage.test short.test notimp.test wrongid.test formerr.test
and slow-NNN.test is passed on after NNN milliseconds. `scripted` adds names: {"name.test.": call(query) -> octets}.
All else goes to knot unchanged, over UDP and TCP. The front counts: dns.count["udp"], dns.count["tcp"],
dns.asked[(name, type)]."""
import collections
import os
import re
import shutil
import socket
import socketserver
import struct
import subprocess
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

import case
from ports import free_port
from waiting import wait_until

ZONE = """$ORIGIN test.
$TTL 60
@ IN SOA ns.test. hostmaster.test. 1 3600 600 86400 1
@ IN NS ns.test.
ns IN A 127.0.0.1
"""

_CONF = """server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{folder}"
zone:
  - domain: test.
    storage: "{folder}"
    file: test.zone
    journal-content: none
    zonefile-load: whole
"""

_RCODES = {"servfail": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED, "notimp": dns.rcode.NOTIMP,
           "formerr": dns.rcode.FORMERR}


class _Udp(socketserver.BaseRequestHandler):
    def handle(self):
        query, sock = self.request
        answer = self.server.front.answer(query, "udp")
        if answer:
            sock.sendto(answer, self.client_address)


class _Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(20)
        stream = self.request.makefile("rb")
        try:
            while True:
                size = stream.read(2)
                if len(size) < 2:
                    return
                answer = self.server.front.answer(stream.read(struct.unpack("!H", size)[0]), "tcp")
                if answer is None:
                    return
                self.request.sendall(struct.pack("!H", len(answer)) + answer)
        except OSError:
            return


class _UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True
    block_on_close = False
    max_packet_size = 65535


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


class NameServer:
    def __init__(self, test, zone="", scripted=None):
        self.count, self.asked = collections.Counter(), collections.Counter()
        self.scripted = dict(scripted or {})
        self.gone = False  # nothing is answered while it is true
        self.knot_port, self.port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        folder = test.subfolder(f"knot-{self.knot_port}")
        with open(os.path.join(folder, "test.zone"), "w") as f:
            f.write(ZONE + "\n".join(line.strip() for line in zone.splitlines()) + "\n")
        with open(os.path.join(folder, "knot.conf"), "w") as f:
            f.write(_CONF.format(folder=folder, port=self.knot_port))
        self._log = os.path.join(folder, "log")
        knotd = shutil.which("knotd") or "/usr/sbin/knotd"
        with open(self._log, "wb") as log:
            self._knot = subprocess.Popen(case.as_ordinary_user([knotd, "-c", os.path.join(folder, "knot.conf")]),
                                          stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._servers = []
        for kind, handler in ((_UdpServer, _Udp), (_TcpServer, _Tcp)):
            server = kind(("127.0.0.1", self.port), handler)
            server.front = self
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            self._servers.append(server)
        wait_until(self._answers, 20, lambda: "knot's answer\n" + open(self._log).read())

    def _answers(self):
        if self._knot.poll() is not None:
            raise AssertionError("knotd ended:\n" + open(self._log).read())
        answer = self._knot_udp(dns.message.make_query("test.", "SOA").to_wire())
        return answer and dns.message.from_wire(answer).answer

    def _knot_udp(self, query):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            try:
                s.connect(("127.0.0.1", self.knot_port))
                s.send(query)
                return s.recv(65535)
            except OSError:
                return None

    def _knot_tcp(self, query):
        with socket.create_connection(("127.0.0.1", self.knot_port), 5) as s:
            s.sendall(struct.pack("!H", len(query)) + query)
            stream = s.makefile("rb")
            return stream.read(struct.unpack("!H", stream.read(2))[0])

    def answer(self, query, transport):
        if self.gone:
            return None
        try:
            parsed = dns.message.from_wire(query)
            name, kind = parsed.question[0].name.to_text().lower(), parsed.question[0].rdtype
        except Exception:  # whatever came, it is not a query that we can name
            return None
        self.count[transport] += 1
        self.asked[name, dns.rdatatype.to_text(kind)] += 1
        for scripted, call in self.scripted.items():
            if name == scripted or name.endswith("." + scripted):
                return call(parsed)
        labels = name.rstrip(".").split(".")
        word = labels[-2] if len(labels) >= 2 and labels[-1] == "test" else ""
        if word in _RCODES:
            reply = dns.message.make_response(parsed)
            reply.set_rcode(_RCODES[word])
            return reply.to_wire()
        if word == "silent":
            return None
        if word == "garbage":
            return query[:2] + b"\x81\x80\xff\xff\xff\xff\xff\xff\xff\xff" + b"\xc0\x0c" * 40
        if word == "short":
            return query[:7]
        if word == "wrongid":
            return bytes([query[0] ^ 0xff, query[1]]) + dns.message.make_response(parsed).to_wire()[2:]
        slow = re.fullmatch(r"slow-(\d+)", word)
        if slow:
            time.sleep(int(slow.group(1)) / 1000)
        return self._knot_tcp(query) if transport == "tcp" else self._knot_udp(query)

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._knot.terminate()
        try:
            self._knot.wait(10)
        except subprocess.TimeoutExpired:
            self._knot.kill()
            self._knot.wait()
