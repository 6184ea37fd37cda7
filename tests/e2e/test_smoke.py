#!/usr/bin/python3
"""One message from the front door to its MX host, and the ends of a server's life."""
import support  # noqa: F401
from case import Case, main
from sink import without_trace

ZONE = """
one IN MX 10 mx.one
mx.one IN A 127.0.0.2
"""


class Smoke(Case):
    def test_relay(self):
        dns = self.dns(ZONE)
        from ports import free_port
        port = free_port()
        sink = self.sink(port=port, address="127.0.0.2")
        m = self.mansio(dns=dns, mx_port=port)
        content = b"From: a@here.test\r\nTo: b@one.test\r\nSubject: hello\r\n\r\n..two dots\r\n.one\r\n"
        id = m.send("a@here.test", ["b@one.test"], content)
        got = sink.wait(1, more=m.log_tail)[0]
        self.assertEqual(content, without_trace(got.content))
        self.assertEqual(("a@here.test", ["b@one.test"]), (got.sender, got.recipients))
        m.wait_empty()
        self.assertTrue(m.events("delivered", id=id))
        self.assertLess(m.stop(), 5)


if __name__ == "__main__":
    main()
