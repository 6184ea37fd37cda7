"""Waiting for events: poll quickly, give up late. No test sleeps for a fixed time and hopes."""
import os
import time

# Sanitizers and a busy machine may need this many times what an idle one does.
SLOW = float(os.environ.get("MANSIO_TEST_SLOW", "1"))


class Late(AssertionError):
    pass


def wait_until(condition, seconds=30, what="the condition"):
    """Returns the first true value of condition(); raises Late with `what` (text or a call that makes it)."""
    deadline = time.monotonic() + seconds * SLOW
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Late(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
