#!/usr/bin/python3
"""What scanners say of our ports: sslscan finds no weak suite, testssl.sh (a part of it: the whole takes minutes, see docs/security.md) nothing
above LOW."""
import json
import os
import re
import subprocess
import unittest

import support  # noqa: F401
import case
from case import Case, main
from certificates import certificate
from ports import free_port

PEERS = os.path.join(case.TOP, "build", "peers")
SSLSCAN = os.path.join(PEERS, "sslscan", "usr", "bin", "sslscan")
TESTSSL = os.path.join(PEERS, "testssl.sh", "usr", "bin", "testssl")
SEVERE = ("MEDIUM", "HIGH", "CRITICAL")


class Scan(Case):
    def setUp(self):
        super().setUp()
        self.submission, self.submissions = free_port(), free_port()
        for kind in ("ec", "rsa"):
            certificate(self.path(kind), "mx.here.test", key=kind, days=90)
        self.m = self.mansio(listen='tls = "opportunistic"', build=case.RELEASE if os.path.exists(
            os.path.join(case.RELEASE, "mansiod")) else case.BUILD, limits="errors = 0", log_level="warning", config=f"""
listen submission {{ address = "127.0.0.1:{self.submission}" tls = "required" }}
listen submissions {{ address = "127.0.0.1:{self.submissions}" }}
tls {{ certificate = {{ "{self.path('ec')}.cert", "{self.path('rsa')}.cert" }}
       key = {{ "{self.path('ec')}.key", "{self.path('rsa')}.key" }} }}""")

    @unittest.skipUnless(os.path.exists(SSLSCAN), "sslscan is not unpacked (tests/run does it)")
    def test_sslscan(self):
        for port, how in ((self.m.port, ["--starttls-smtp"]), (self.submission, ["--starttls-smtp"]), (self.submissions, [])):
            with self.subTest(port=port, how=how):
                text = subprocess.run([SSLSCAN, "--no-colour", "--no-check-certificate", *how, f"127.0.0.1:{port}"],
                                      capture_output=True, timeout=60).stdout.decode()
                for version in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
                    self.assertRegex(text, rf"{version}\s+disabled")
                suites = re.findall(r"^(?:Preferred|Accepted)\s+(\S+)\s+(\d+) bits\s+(\S+)", text, re.M)
                self.assertGreater(len(suites), 8, text)
                for version, bits, suite in suites:
                    self.assertGreaterEqual(int(bits), 128, suite)
                    self.assertTrue(version == "TLSv1.3" or suite.startswith("ECDHE-"), suite)
                    self.assertNotRegex(suite, r"NULL|RC4|DES|MD5|EXP|anon|ADH|AECDH|CCM8|SEED|CAMELLIA")
                self.assertIn("not vulnerable to heartbleed", text)
                self.assertNotIn("ffdhe", text)

    @unittest.skipUnless(os.path.exists(TESTSSL), "testssl.sh is not unpacked (tests/run does it)")
    def test_testssl(self):
        out = self.path("testssl.json")
        folder = os.path.join(os.path.dirname(TESTSSL), "..", "..", "etc", "testssl")
        r = subprocess.run([TESTSSL, "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "-p",
                            "--jsonfile", out, f"127.0.0.1:{self.submissions}"], capture_output=True, timeout=200,
                           env=dict(os.environ, TESTSSL_INSTALL_DIR=os.path.realpath(folder)))
        with open(out) as f:
            findings = json.load(f)
        self.assertGreater(len(findings), 6, r.stdout.decode(errors="replace"))
        self.assertEqual([], [x for x in findings if x["severity"] in SEVERE])
        words = {x["id"]: x["finding"] for x in findings}
        self.assertIn("offered", words["TLS1_3"])
        self.assertTrue(words["TLS1"].startswith("not offered"), words["TLS1"])


if __name__ == "__main__":
    main()
