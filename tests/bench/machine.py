"""The benchmark's own house on the machine, and what it reads from the machine.

The run re-executes itself in new mount, network and process namespaces: loopback with every port free, a private /etc,
/var/spool, /usr/libexec and /dev, so that peers that insist on fixed paths, users and ports disturb nobody, and nothing
that was started outlives the run. It needs root for that. A shell is the first process in there: it reaps what servers
leave behind."""
import os
import subprocess
import sys
import time

MARK = "MANSIO_BENCH_INSIDE"
CGROUPS = next((line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2"), None)


def enter(state):
    """Returns inside the namespaces; `state` is the folder on the disk to be measured."""
    if os.environ.get(MARK) != "1":
        if os.geteuid() != 0:
            raise SystemExit("tests/bench/run: needs root (private namespaces for the servers under test)")
        os.environ[MARK] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                              "sh", "-c", '"$@"; exit $?', "reaper", sys.executable, *sys.argv])
    house = os.path.join(state, "house")
    subprocess.run(["rm", "-rf", house], check=True)
    os.makedirs(house)
    run = lambda *a: subprocess.run(a, check=True)
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "house", house)
    for path in ("/etc", "/usr/libexec"):
        name = path.strip("/").replace("/", "-")
        upper, work = os.path.join(house, name, "upper"), os.path.join(house, name, "work")
        os.makedirs(upper), os.makedirs(work), os.makedirs(path, exist_ok=True)
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", path)
    for path in ("/var/spool", "/var/lib/opensmtpd"):
        if os.path.isdir(path) or path == "/var/spool":
            run("mount", "-t", "tmpfs", "-o", "mode=755", "spool", path)
    dev = os.path.join(house, "dev")
    os.makedirs(dev + "/shm")
    os.chmod(dev + "/shm", 0o1777)
    for node in ("null", "zero", "full", "random", "urandom", "tty"):
        open(os.path.join(dev, node), "w").close()
        run("mount", "--bind", "/dev/" + node, os.path.join(dev, node))
    os.symlink("/proc/self/fd", dev + "/fd")
    run("mount", "--bind", dev, "/dev")
    for node in ("null", "zero", "full", "random", "urandom", "tty"):
        run("mount", "--bind", os.path.join(dev, node), "/dev/" + node)
    run("ip", "link", "set", "lo", "up")
    with open("/etc/resolv.conf.new", "w") as f:
        f.write("nameserver 127.0.0.1\noptions timeout:2\n")
    os.rename("/etc/resolv.conf.new", "/etc/resolv.conf")


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


class Group:
    """A control group: all processes of one server, the dead ones' processor time too."""

    def __init__(self, name):
        self.path = os.path.join(CGROUPS, f"mansio-bench-{os.getpid()}-{int(time.time())}-{name}")
        os.makedirs(self.path, exist_ok=True)

    def join(self):
        with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
            f.write("0")

    def pids(self):
        return [int(p) for p in read(os.path.join(self.path, "cgroup.procs")).split()]

    def cpu(self):
        for line in read(os.path.join(self.path, "cpu.stat")).splitlines():
            if line.startswith("usage_usec"):
                return int(line.split()[1]) / 1e6
        return 0.0

    def remove(self):
        try:
            os.rmdir(self.path)
        except OSError:
            pass


def role(pid):
    """What a process is called in tables."""
    argv = read(f"/proc/{pid}/cmdline").split("\0")
    if len(argv) > 2 and argv[1] == "--role":
        return argv[2]
    return read(f"/proc/{pid}/comm").strip() or "?"


def pss_mib(pids):
    """Proportional memory of the processes, by name."""
    by = {}
    for pid in pids:
        name = role(pid)
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                by[name] = by.get(name, 0) + int(line.split()[1]) / 1024
    return by


def cpu_by_role(pids):
    """Processor seconds of the living processes, by name."""
    by, tick = {}, os.sysconf("SC_CLK_TCK")
    for pid in pids:
        name, fields = role(pid), read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
        if len(fields) > 13:
            by[name] = by.get(name, 0) + (int(fields[11]) + int(fields[12])) / tick
    return by


def io_written(pids):
    """Octets that the living processes have caused to be written to the disk."""
    total = 0
    for pid in pids:
        for line in read(f"/proc/{pid}/io").splitlines():
            if line.startswith("write_bytes:"):
                total += int(line.split()[1])
    return total
