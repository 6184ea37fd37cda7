"""What programs built with --coverage reached, by gcov.

    with reached.Run(build) as run:                 counts go into a folder of their own, not into the build folder
        subprocess.run([program], env=run.env)
        counts = run.counts({"smtp/dot.c"})         {file: {line: [times, branches, branches taken]}}
    counts = reached.counts(build, build, files)    what was counted in the build folder itself

Not for: daemons that run without a file system or are killed: they leave no counts."""
import json
import os
import shutil
import subprocess
import tempfile


def _gcov(path, file, into):
    # A signal or an early _exit may have left the counts of one process half written: gcov says so and gives the rest.
    r = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", path], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, cwd=os.path.dirname(path))
    for text in r.stdout.decode().splitlines():
        for f in json.loads(text)["files"]:
            if f["file"].endswith("/" + file) or f["file"] == file:
                for x in f["lines"]:
                    row = into.setdefault(x["line_number"], [0, 0, 0])
                    row[0] += x["count"]
                    row[1] += len(x["branches"])
                    row[2] += sum(b["count"] > 0 for b in x["branches"])


def counts(build, folder, files=None):
    """Of all sources, or of those in `files` (relative to the tree). `folder` holds the counts as `build` holds the objects."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if not name.endswith(".gcda") or ".dir/" not in path:
                continue
            file = path.split(".dir/")[-1][:-len(".gcda")]
            if files is not None and file not in files:
                continue
            note = os.path.join(build, os.path.relpath(path, folder))[:-len("gcda")] + "gcno"
            if folder != build:
                shutil.copy(note, where)
            _gcov(path, file, found.setdefault(file, {}))
    return found


class Run:
    def __init__(self, build):
        self.build = os.path.abspath(build)

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        self.env = dict(os.environ, GCOV_PREFIX=self.folder, GCOV_PREFIX_STRIP=str(self.build.count("/")), TMPDIR=self.folder)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def counts(self, files=None):
        return counts(self.build, self.folder, files)
