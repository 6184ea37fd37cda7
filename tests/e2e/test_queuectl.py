#!/usr/bin/python3
"""queuectl and mailq on a live daemon."""
import support  # noqa: F401
from case import Case, main

HOLD = 'route "*" { via = "hold" }'


class Listing(Case):
    def test_the_traditional_listing(self):
        m = self.mansio(config=HOLD)
        self.assertEqual("Mail queue is empty\n", m.mailq().stdout)
        m.send("a@here.test", ["b@one.test"], "Subject: one\n\nx\n")
        self.assertEqual("-- 1 Kbytes in 1 Requests.", m.mailq().stdout.splitlines()[-1])
        m.send("a@here.test", ["c@one.test"], "Subject: two\n\n" + "x" * 60 + "\n")
        lines = m.mailq().stdout.splitlines()
        self.assertEqual("-- 1 Kbytes in 2 Requests.", lines[-1])
        self.assertIn("-Queue ID-", lines[0])


if __name__ == "__main__":
    main()
