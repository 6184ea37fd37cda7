"""Mount namespaces for tests: what is mounted within is seen by nobody else and goes with the last process."""
import functools
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


def root_is_mount_point():
    """Whether / can be remounted: not so in a plain chroot."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return any(line.split()[4] == "/" for line in f)
