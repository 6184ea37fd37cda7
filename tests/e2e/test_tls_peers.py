#!/usr/bin/python3
"""Mail to hosts that are right, wrong or hostile in their TLS and their DNSSEC, at each level of encryption: our verdict beside Postfix's
for the same host, in a table. The names are signed by knot and validated by unbound; everything is in a network of this test's own."""
import collections
import os
import re
import smtplib
import subprocess
import sys
import tempfile
import unittest

import support  # noqa: F401
import case
import dnssec
import postfix
from case import Case
from certificates import Authority, certificate, tlsa
from namespaces import mount_namespace
from tlspeer import Peer
from waiting import Late, wait_until

LEVELS = {"may": "opportunistic", "encrypt": "encrypt", "verify": "verify", "secure": "secure", "dane": "dane",
          "dane-only": "dane-only"}
SENT = {"tls": "TLS", "clear": "clear", None: "deferred"}

# Where the two differ, and why.
OLD = "TLS 1.1 is no more (RFC 8996); Postfix 3.7 still takes it"
DIFFERENT = {("tls-1.1", "may"): OLD, ("tls-1.1", "encrypt"): OLD, ("tls-1.1", "dane"): OLD}


def enter_own_network():
    """A network namespace with nothing in it, and a resolv.conf of its own."""
    if os.environ.get("MANSIO_TEST_UNSHARED"):
        return None
    if not case.IS_ROOT:
        return "needs root: a network of its own"
    if not mount_namespace("--net"):
        return "no namespaces here"
    os.environ["MANSIO_TEST_UNSHARED"] = "1"
    os.execvp("unshare", mount_namespace("--net") + [sys.executable] + sys.argv)


def settle_network():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w", prefix="resolv-", delete=False) as f:
        f.write("nameserver 127.0.0.1\noptions edns0 trust-ad\n")
    os.chmod(f.name, 0o644)
    subprocess.run(["mount", "--bind", f.name, "/etc/resolv.conf"], check=True)
    os.unlink(f.name)


class Row:
    """A host, and the domains (one for each level) whose mail it takes."""

    def __init__(self, name, zone="signed.", host=None, **expected):
        self.name, self.zone, self.host, self.expected = name, zone, host or f"mx.{name}.{zone}", expected
        self.peer, self.address = None, None

    def domain(self, level):
        return f"{self.name}.{level}.{self.zone}"


class Peers(Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.subfolder("ca"))
        self.rows, self.zones, self.next = [], collections.defaultdict(str), 1

    def address(self):
        self.next += 1
        return f"127.0.1.{self.next}"

    def row(self, name, cert="", way="", records=(), zone="signed.", server=None, **expected):
        """cert: good, name (another's), expired, self, none. records: (usage, selector, matching[, "wrong"])."""
        row = Row(name, zone, **expected)
        base = self.path(name)
        names = [row.host.rstrip(".")] + [row.domain("secure").rstrip(".")]
        if cert == "self":
            certificate(base, names[0])
        elif cert in ("good", "name", "expired"):
            self.authority.issue(base, *(["mx.else.test"] if cert == "name" else names), expired=cert == "expired")
        row.address = self.address()
        self.zones[zone] += f"{row.host} IN A {row.address}\n"
        for usage, selector, matching, *wrong in records:
            record = tlsa(self.authority.root if usage == 2 else base + ".cert", usage, selector, matching)
            if wrong:
                record = record[:-64] + "0" * 64
            self.zones[zone] += f"_25._tcp.{row.host} IN TLSA {record}\n"
        for level in LEVELS:
            self.zones[zone] += f"{row.domain(level)} IN MX 10 {row.host}\n"
        row.peer = server(row.address, base, names[0]) if server else Peer(
            self, row.address, 25, base if cert else None, way)
        self.rows.append(row)
        return row

    def as_mansio(self, address, base, name):
        m = self.mansio(hostname=name, name="r", start=False, as_root=True, user="nobody", config=f"""
listen extra {{ class = "smtp" address = "{address}:25" tls = "opportunistic" }}
tls {{ certificate = "{base}.cert" key = "{base}.key" }}
""" + "".join(f'domain "mansio.{level}.signed" {{ deliver = "discard" }}\n' for level in LEVELS))
        m.tolerate("session_refused")
        m.start()
        return m

    def as_postfix(self, address, base, name):
        return postfix.Postfix(self, f"""smtpd_tls_security_level = may
smtpd_tls_chain_files = {base}.key, {base}.cert
smtpd_tls_loglevel = 1
relay_domains = signed
transport_maps = static:discard:
""", hostname=name, address=address, port=25)

    def hosts(self):
        tls, no, clear = "tls", None, "clear"
        every = dict.fromkeys(LEVELS, tls)
        only = {"dane-only": no}
        roots = {"verify": no, "secure": no}
        self.row("good", "good", **{**every, **only})
        self.row("wrong-name", "name", **{**every, **roots, **only})
        self.row("expired", "expired", **{**every, **roots, **only})
        self.row("self-signed", "self", **{**every, **roots, **only})
        nothing = dict.fromkeys(LEVELS, no)
        open_to_all = {**nothing, "may": clear, "dane": clear}
        self.row("stripped", "good", "plain", **open_to_all)
        self.row("stalled", "good", "stall", **open_to_all)
        self.row("garbage", "good", "garbage", **open_to_all)
        self.row("says-454", "good", "refuse", **open_to_all)
        self.row("hangs-up", "good", "close", **open_to_all)
        self.row("tls-1.1", "good", "old", **open_to_all)
        ee = {**every, **roots}
        self.row("dane-311", "self", records=[(3, 1, 1)], **ee)
        self.row("dane-301", "self", records=[(3, 0, 1)], **ee)
        self.row("dane-312", "self", records=[(3, 1, 2)], **ee)
        self.row("dane-300", "self", records=[(3, 0, 0)], **ee)
        self.row("dane-rollover", "self", records=[(3, 1, 1, "wrong"), (3, 1, 1)], **ee)
        self.row("dane-expired", "expired", records=[(3, 1, 1)], **ee)
        self.row("dane-name", "name", records=[(3, 1, 1)], **ee)
        self.row("dane-201", "good", records=[(2, 0, 1)], **every)
        self.row("dane-211", "good", records=[(2, 1, 1)], **every)
        self.row("dane-201-name", "name", records=[(2, 0, 1)], **{**every, **roots, "dane": no, **only})
        self.row("dane-201-old", "expired", records=[(2, 0, 1)], **{**every, **roots, "dane": no, **only})
        self.row("dane-mismatch", "self", records=[(3, 1, 1, "wrong")], **{**every, **roots, "dane": no, **only})
        self.row("dane-unusable", "self", records=[(1, 1, 1)], **{**every, **roots, **only})
        self.row("dane-stripped", "good", "plain", records=[(3, 1, 1)], **{**open_to_all, "dane": no})
        self.row("dane-stalled", "good", "stall", records=[(3, 1, 1)], **{**open_to_all, "dane": no})
        self.row("unsigned-zone", "self", records=[(3, 1, 1, "wrong")], zone="plain.", **{**every, **roots, **only})
        self.row("broken-zone", "good", zone="bogus.", **nothing)
        alias = self.row("dane-alias", "self", **ee)  # an MX host that is another name of one with records
        self.zones["signed."] = self.zones["signed."].replace(
            f"{alias.host} IN A {alias.address}\n", f"{alias.host} IN CNAME real.alias.signed.\nreal.alias.signed. IN A {alias.address}\n"
            f"_25._tcp.real.alias.signed. IN TLSA {tlsa(self.path('dane-alias') + '.cert', 3, 1, 1)}\n")
        self.row("mansio", "good", records=[(3, 1, 1)], server=self.as_mansio, **every)
        self.row("postfix", "good", records=[(3, 1, 1)], server=self.as_postfix, **every)

    def recipients(self):
        return [f"x@{row.domain(level).rstrip('.')}" for row in self.rows for level in LEVELS]

    def send_by_mansio(self, names):
        m = self.mansio(name="s", start=False, timeouts='ehlo = "2s" greeting = "5s"', limits="connections_per_lane = 4",
                        log_level="info", outbound=2, config=f'tls {{ roots = "{self.authority.root}" }}\n' + "".join(
                            f'route "*.{level}.{zone.rstrip(".")}" {{ via = "mx" tls = "{ours}" }}\n'
                            for level, ours in LEVELS.items() for zone in self.zones))
        m.write(m.text.replace('"127.0.0.1:9" } timeout = "1s" tries = 1', f'"{names.address}" }} timeout = "3s" tries = 2 trust_ad = true\n'
                               'check_signed = "mx.good.signed" check_unsigned = "mx.unsigned-zone.plain" check_broken = "mx.broken-zone.bogus"'))
        m.tolerate("tls_failed", "connect_failed", "lane_backoff", "deferred")
        m.start()
        m.send("a@here.test", self.recipients(), b"Subject: x\r\n\r\nx\r\n")
        return m

    def verdicts_of_mansio(self, m):
        """recipient: "tls", "clear" or None."""
        got = {}
        for e in m.events("delivered", "deferred", "failed"):
            how = None if e["event"] != "delivered" else "tls" if (e.get("tls") or "").startswith("TLS") else "clear"
            got.setdefault(e["to"] if "to" in e else e["rcpt"], (how, e.get("tls"), e.get("reply")))
        return got

    def send_by_postfix(self):
        policy = self.file("policy", "".join(
            f".{level}.{zone.rstrip('.')} {level}\n" for level in LEVELS for zone in self.zones))
        p = postfix.Postfix(self, f"""smtp_tls_CAfile = {self.authority.root}
smtp_tls_security_level = may
smtp_tls_policy_maps = texthash:{policy}
smtp_tls_session_cache_database =
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
smtp_starttls_timeout = 2s
smtp_connect_timeout = 5s
smtp_tls_loglevel = 1
smtp_tls_fingerprint_digest = sha256
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
""", hostname="mx.post.test")
        with smtplib.SMTP(p.address, p.port, timeout=60) as s:
            s.sendmail("a@post.test", self.recipients(), b"Subject: x\r\n\r\nx\r\n")
        return p

    def verdicts_of_postfix(self, p):
        got, tls = {}, {}
        for line in p.log().splitlines():
            m = re.search(r"postfix/smtp\[(\d+)\]: (\w+) TLS connection established to", line)
            if m:
                tls[m.group(1)] = m.group(2)
            m = re.search(r"postfix/(?:smtp|error)\[(\d+)\]: .* to=<([^>]+)>.* status=(\w+) \((.*)\)", line)
            if not m:
                continue
            process, to, status, why = m.groups()
            how = tls.pop(process, None)
            if got.get(to, (None,))[0] is None:
                got[to] = (None, how, why) if status != "sent" else ("tls" if how else "clear", how, why)
        return got

    def test_table(self):
        self.hosts()
        names = dnssec.Names(self, self.zones, unsigned=["plain."], broken=["bogus."], port=53)
        p = self.send_by_postfix()
        m = self.send_by_mansio(names)
        everybody = self.recipients()
        expected = {f"x@{row.domain(level).rstrip('.')}": row.expected[level] for row in self.rows for level in LEVELS}
        wait_until(lambda: len(self.verdicts_of_mansio(m)) == len(everybody), 30, m.log_tail)
        # Postfix goes to clear text only when the message has been deferred once.
        judged = [r for r in expected if "tls-1.1" not in r]
        try:
            wait_until(lambda: (got := self.verdicts_of_postfix(p)) and all(got.get(r, (None,))[0] == expected[r] for r in judged), 12)
        except Late:
            pass  # the table says which
        ours, theirs = self.verdicts_of_mansio(m), self.verdicts_of_postfix(p)
        print(f"  {'host':16}" + "".join(f"{level:>22}" for level in LEVELS) + "      (Mansio / Postfix)")
        wrong = []
        for row in self.rows:
            cells = []
            for level in LEVELS:
                to = f"x@{row.domain(level).rstrip('.')}"
                a, b = ours[to], theirs.get(to, (None, None, "?"))
                cells.append(f"{SENT[a[0]] + ' / ' + SENT[b[0]]:>22}")
                if a[0] != row.expected[level]:
                    wrong.append(f"Mansio, {row.name} at {level}: {a}, expected {SENT[row.expected[level]]}")
                if b[0] != a[0] and (row.name, level) not in DIFFERENT:
                    wrong.append(f"Postfix differs, {row.name} at {level}: {b}, ours {a}")
            print(f"  {row.name:16}" + "".join(cells))
        for (name, level), reason in DIFFERENT.items():
            print(f"  {name} at {level}: {reason}")
        self.assertEqual([], wrong, "\n".join(wrong))
        self.assertTrue(m.events("dane_live"))
        self.assertIn("mansio_dane_live 1", m.queuectl("metrics").stdout)
        self.assertIn("live: signed zones are vouched for", m.queuectl("doctor").stdout)
        receiver = next(x for x in self._mansios if x is not m)
        self.assertRegex(receiver.queuectl("metrics").stdout, r'not_after_timestamp_seconds\{index="00",name="mx.mansio.signed",'
                                                              r'key="ecdsa"\} 1\d{9}\n')
        m.stop()


if __name__ == "__main__":
    why = enter_own_network() or postfix.missing_server() or dnssec.missing()
    if why:
        Peers.test_table = unittest.skip(why)(Peers.test_table)
    else:
        settle_network()
    case.main()
