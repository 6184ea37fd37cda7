"""Mount namespaces for tests: what is mounted within is seen by nobody else and goes with the last process."""
import functools
import os
import subprocess


@functools.lru_cache(None)
def mount_namespace(*options):
    """The words before a command that give it a mount namespace (and what else unshare's options ask for), or None
    where the machine gives none. In a chroot whose root is no mount point nothing can be made private: there the
    mounts of the host, which are private or slaves unless somebody shared them, stay as they are."""
    for propagation in ("private", "unchanged"):
        words = ["unshare", "--mount", "--propagation", propagation, *options]
        try:
            if subprocess.run(words + ["true"], capture_output=True, check=False).returncode == 0:
                return words
        except FileNotFoundError:
            break
    return None


def behind_mounts(m, mounts):
    """Lets the server m (tests/support/mansio.py, not yet started) see `mounts`, a path for each place, which nobody else sees."""
    real, program = m.program("mansiod"), m.program
    binds = "".join(f"mount --bind {path} {place} && " for place, path in mounts.items())
    wrapper = m.test.file("mansiod", f"""#!/bin/sh
exec {" ".join(mount_namespace())} sh -c '{binds}exec {real} "$@"' sh "$@"
""")
    os.chmod(wrapper, 0o755)
    m.program = lambda name: wrapper if name == "mansiod" else program(name)


def root_is_mount_point():
    """Whether / can be remounted: not so in a plain chroot."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return any(line.split()[4] == "/" for line in f)
