"""A small tree of names as the Internet has it: knot serves and signs a root and zones below it, unbound validates against that root's key.

    names = dnssec.Names(test, {"signed.": "mx IN A 127.0.1.1\\n", "plain.": "..."}, unsigned=["plain."], broken=["bogus."])
    names.address                     unbound's, "127.0.0.1:PORT"
    names.broken: zones whose DS in the root is of another key: no validated answer can come from there (SERVFAIL)

unbound comes unpacked (tests/run puts it into build/peers/unbound)."""
import os
import shutil
import subprocess

import dns.flags
import dns.message
import dns.query

import case
from ports import free_port
from waiting import wait_until

UNBOUND = os.environ.get("MANSIO_UNBOUND") or os.path.join(case.TOP, "build", "peers", "unbound", "usr", "sbin", "unbound")


def missing():
    """Why there can be no signed names, or None."""
    for name in ("knotd", "keymgr"):
        if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None:
            return f"{name} is not installed"
    if not os.path.exists(UNBOUND):
        return f"unbound is not unpacked at {UNBOUND} (tests/run does it)"
    r = subprocess.run([UNBOUND, "-V"], capture_output=True)
    return None if r.returncode == 0 else "unbound does not run: " + r.stderr.decode(errors="replace").strip()


class Names:
    def __init__(self, test, zones, unsigned=(), broken=(), port=None):
        self.test, self.zones, self.unsigned = test, zones, set(unsigned)
        self.folder = test.subfolder("names")
        os.chown(self.folder, os.geteuid(), os.getegid())
        self.knot_port, self.port = free_port(), port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._knot_write()
        root = []
        for name in zones:
            self._zone_write(name, zones[name])
            root.append(f"{name} IN NS ns.{name}\nns.{name} IN A 127.0.0.1\n")
            if name not in self.unsigned:
                self._keymgr(name, "generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=yes")
                root.append(self._ds(name, name in broken))
        self._zone_write(".", "".join(root))
        self._keymgr(".", "generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=yes")
        self.anchor = self._ds(".", False)
        self._unbound_write()
        self._run("knot", ["knotd", "-c", self._path("knot.conf")])
        for name in [".", *zones]:
            wait_until(lambda: self._serves(name), 20, lambda: f"knot's zone {name}\n" + self.log("knot"))
        self._run("unbound", [UNBOUND, "-d", "-c", self._path("unbound.conf")])
        wait_until(self._validates, 20, lambda: "unbound's validated answer\n" + self.log("unbound"))

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _write(self, name, text):
        with open(self._path(name), "w") as f:
            f.write(text)

    def _zone_write(self, name, text):
        mine = "" if name == "." else name
        self._write(f"{name}zone", f"$ORIGIN {name}\n$TTL 300\n@ IN SOA ns.{mine or 'root.'} h.{mine or 'root.'} 1 3600 600 86400 5\n"
                    f"@ IN NS ns.{mine or 'root.'}\n" + (f"ns.{mine or 'root.'} IN A 127.0.0.1\n") + text)

    def _knot_write(self):
        text = f"""server:
    rundir: "{self.folder}"
    listen: 127.0.0.1@{self.knot_port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{self.folder}"
policy:
  - id: here
    manual: on
    single-type-signing: off
    algorithm: ECDSAP256SHA256
zone:
"""
        for name in [".", *self.zones]:
            text += f'  - domain: {name}\n    storage: "{self.folder}"\n    file: "{name}zone"\n    zonefile-sync: -1\n' \
                    "    zonefile-load: whole\n    journal-content: none\n"
            if name not in self.unsigned:
                text += "    dnssec-signing: on\n    dnssec-policy: here\n"
        self._write("knot.conf", text)

    def _keymgr(self, name, *words):
        r = subprocess.run(["keymgr", "-c", self._path("knot.conf"), name, *words], capture_output=True, text=True,
                           env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin"))
        self.test.assertEqual(0, r.returncode, f"keymgr {name} {words}: {r.stdout}{r.stderr}")
        return r.stdout

    def _ds(self, name, wrong):
        """The DS records of its key-signing key; `wrong` spoils their digests."""
        lines = [line for line in self._keymgr(name, "ds").splitlines() if " DS " in line and " 2 " in line]
        if wrong:
            lines = [line.rsplit(" ", 1)[0] + " " + "00" * 32 for line in lines]
        return "".join(line.replace(" DS ", " IN DS ", 1) + "\n" for line in lines)

    def _unbound_write(self):
        stubs = "".join(f'stub-zone:\n  name: "{name}"\n  stub-addr: 127.0.0.1@{self.knot_port}\n' for name in [".", *self.zones])
        self._write("anchor", self.anchor)
        self._write("unbound.conf", f"""server:
  directory: "{self.folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  val-log-level: 1
  num-threads: 1
  interface: 127.0.0.1
  port: {self.port}
  do-not-query-localhost: no
  do-ip6: no
  module-config: "validator iterator"
  trust-anchor-file: "{self._path('anchor')}"
remote-control:
  control-enable: no
{stubs}""")

    def _run(self, name, argv):
        with open(self._path(name + ".log"), "ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin"))

        def end():
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.test.addCleanup(end)

    def log(self, name):
        with open(self._path(name + ".log"), errors="replace") as f:
            return f.read()[-4000:]

    def _ask(self, name, kind, port):
        query = dns.message.make_query(name, kind, want_dnssec=True)
        query.flags |= dns.flags.AD
        try:
            return dns.query.udp(query, "127.0.0.1", 2, port)
        except (OSError, dns.exception.DNSException):
            return None

    def _serves(self, name):
        reply = self._ask(name, "SOA", self.knot_port)
        return reply is not None and reply.answer and (name in self.unsigned or len(reply.answer) > 1)

    def _validates(self):
        reply = self._ask(".", "NS", self.port)
        return reply is not None and reply.flags & dns.flags.AD
