"""Free TCP (and UDP) ports. All MX hosts of a test listen on one port number of many loopback addresses, as in the
world they do on 25: so a port is searched that is free on the whole of 127/8 and on ::1.

Ports come from below the kernel's ephemeral range, so that no outgoing connection takes one between its choice and its
use, and each is locked by a file for the life of the process, so that tests running side by side never share one."""
import atexit
import fcntl
import os
import random
import socket
import tempfile

_FIRST, _LAST = 10240, 32000
_locks = []
atexit.register(lambda: [lock.close() for lock in _locks])


def _is_free(port):
    for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM),
                         (socket.AF_INET6, socket.SOCK_STREAM)):
        try:
            with socket.socket(family, kind) as s:
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        except OSError as e:
            if family == socket.AF_INET6 and not has_ipv6():
                continue
            if e.errno:
                return False
    return True


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port():
    folder = os.path.join(tempfile.gettempdir(), f"mansio-ports-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    while True:
        port = random.randint(_FIRST, _LAST)
        lock = open(os.path.join(folder, str(port)), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        if _is_free(port):
            _locks.append(lock)
            return port
        lock.close()
