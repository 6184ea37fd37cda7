#!/usr/bin/python3
"""The metrics of a live daemon: the text, the socket, and the files that use the names."""
import json
import os
import re
import socket

import support  # noqa: F401
from ports import free_port
from waiting import wait_until
from case import IS_ROOT, TOP, Case, as_ordinary_user, main, need_root

LINE = re.compile(r'^([a-z_]+)(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? ([0-9.]+)$')


def parse(text):
    """Values by name and labels; fails on anything that is not the text format."""
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif not line.startswith("# HELP "):
            found = LINE.match(line.replace('"+Inf"', '"Inf"'))
            assert found, line
            base = re.sub("_(bucket|sum|count)$", "", found[1])
            assert found[1] in types or types.get(base) == "histogram", line
            assert (types.get(found[1]) == "counter") == found[1].endswith("_total"), line
            values[found[1] + (found[2] or "")] = float(found[4])
    return values


# Written where there are certificates, or a route that asks for TLSA records (test_tls_peers.py sees them).
ONLY_WITH_TLS = {"mansio_tls_certificate_not_after_timestamp_seconds", "mansio_dane_live"}


class Metrics(Case):
    def scrape(self, request=b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(os.path.join(self.m.run_dir, "metrics"))
            s.sendall(request)
            answer = b""
            while piece := s.recv(65536):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(b"HTTP/1.0 200 OK", head)
        self.assertIn(b"Content-Length: %d" % len(body), head)
        return body.decode("ascii")

    def test_numbers_follow_what_happens(self):
        hop = self.sink(script={"rcpt": lambda s, arg: b"450 4.2.0 later\r\n" if b"later" in arg else
                                b"550 5.1.1 no\r\n" if b"never" in arg else None})
        lane = f"relay:[127.0.0.1]:{hop.port}"
        self.m = self.mansio(config=f'route "*" {{ via = "{lane}" }}', retry='plan = {{ "1h" }} jitter = 0'.format())
        before = parse(self.scrape())
        self.assertEqual(0, before["mansio_queue_messages"])
        self.assertEqual(1, before["mansio_accepting"])
        self.m.send("", ["ok@one.test", "never@one.test"], "Subject: x\n\nx\n")
        self.m.tolerate("double_bounce")
        self.m.send("a@one.test", ["later@one.test"], "Subject: x\n\nx\n")
        self.m.wait_event("deferred")
        self.m.wait_event("failed")
        now = parse(self.scrape())
        self.assertEqual(2, now["mansio_messages_accepted_total"])
        self.assertEqual(1, now["mansio_queue_messages"])
        for result, code in (("delivered", 2), ("deferred", 4), ("failed", 5)):
            self.assertEqual(1, now[f'mansio_recipient_results_total{{result="{result}"}}'])
            self.assertEqual(1, now[f'mansio_lane_results_total{{lane="{lane}",result="{result}",class="{code}"}}'])
        self.assertEqual(1, now["mansio_delivery_delay_seconds_count"])
        self.assertEqual(1, now['mansio_delivery_delay_seconds_bucket{le="Inf"}'])
        self.assertGreater(now["mansio_commit_batch_size_count"], 0)
        r = self.m.queuectl("metrics")
        self.assertEqual(set(now), set(parse(r.stdout)))
        self.scrape(b"\n\n")
        self.names = {re.sub("{.*", "", name) for name in now}
        with open(os.path.join(TOP, "daemon/queued/metrics.c")) as f:  # those of certificates and DANE need TLS
            self.names |= set(re.findall(r'"(mansio_[a-z_]+)"', f.read()))
        for path in ("etc/monitoring/grafana.json", "etc/monitoring/alerts.yml"):
            with open(os.path.join(TOP, path)) as f:
                text = f.read()
            for name in set(re.findall(r"mansio_[a-z_]+", text)):
                self.assertIn(name, self.names | ONLY_WITH_TLS, path)
        with open(os.path.join(TOP, "etc/monitoring/grafana.json")) as f:
            json.load(f)

    def test_by_http_and_what_a_message_leaves_in_them(self):
        hop = self.sink()
        port, other = free_port(), free_port()
        self.m = self.mansio(config=f'metrics_http = {port}\nroute "*" {{ via = "relay:[127.0.0.1]:{hop.port}" }}')
        self.m.send("a@one.test", ["b@one.test"], "Subject: x\n\n" + 500 * "x\n")
        self.m.wait_event("message_done")
        wait_until(lambda: parse(self.by_http(port))["mansio_sessions_open"] == 0 and
                   parse(self.by_http(port))["mansio_sessions_total"] >= 1, 20)
        now = parse(self.by_http(port))
        for stage in ("accept", "commit", "schedule", "connect", "deliver"):
            self.assertGreaterEqual(now[f'mansio_stage_seconds_count{{stage="{stage}"}}'], 1, stage)
            self.assertEqual(now[f'mansio_stage_seconds_count{{stage="{stage}"}}'],
                             now[f'mansio_stage_seconds_bucket{{stage="{stage}",le="Inf"}}'])
        self.assertGreater(now["mansio_accepted_bytes_total"], 1000)
        self.assertEqual(now["mansio_accepted_bytes_total"], now["mansio_delivered_bytes_total"])
        self.assertIn('mansio_dns_answers_total{outcome="found"}', now)
        for request in (b"\0" * 9000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2000, b"\n\n"):
            self.by_http(port, request)
        with socket.create_connection(("127.0.0.1", port)) as silent:  # it is not waited for
            with open(self.m.conf) as f:
                text = f.read().replace(f"metrics_http = {port}", f"metrics_http = 127.0.0.1:{other}")
            with open(self.m.conf, "w") as f:
                f.write(text)
            self.assertEqual(0, self.m.queuectl("reload").returncode)
            self.m.wait_event("reloaded")
            wait_until(lambda: self.answers(other) and not self.answers(port), 20)
            silent.close()

    def answers(self, port):
        try:
            return "mansio_queue_messages" in self.by_http(port)
        except OSError:
            return False

    def by_http(self, port, request=b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            answer = b""
            try:
                s.sendall(request)
                while piece := s.recv(65536):
                    answer += piece
            except ConnectionResetError:  # more was sent than is ever read
                pass
        return answer.partition(b"\r\n\r\n")[2].decode("ascii")

    @need_root("asks as another user")
    def test_strangers_see_no_next_hops(self):
        self.m = self.mansio(as_root=False)
        code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n"
                "d=b''\nwhile (p:=s.recv(65536)): d+=p\nsys.stdout.write(d.decode())")
        argv = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups", "/usr/bin/python3", "-c", code,
                os.path.join(self.m.run_dir, "metrics")]
        r = self.run_program(argv)
        self.assertIn("mansio_queue_messages 0", r.stdout, r.stderr)
        self.assertNotIn("mansio_lane", r.stdout)


if __name__ == "__main__":
    main()
