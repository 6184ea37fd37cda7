#!/usr/bin/python3
"""The short form of chaos: each trouble twice or so (tests/e2e/chaos.py; tests/e2e/chaos MINUTES runs longer)."""

import support  # noqa: F401
from case import main
from chaos import Chaos


class Short(Chaos):
    def test_each_trouble(self):
        self.chaos(seconds=7, while_max=0.6)


if __name__ == "__main__":
    main()
