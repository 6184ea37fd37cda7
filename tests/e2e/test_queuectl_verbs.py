#!/usr/bin/python3
"""Every verb of queuectl, on a live daemon: its exit, its JSON against the schema in the tree, its example in the manual; and
what others than the postmaster may see."""
import json
import os
import re
import unittest

import support  # noqa: F401
from namespaces import mount_namespace
from case import TOP, Case, main, need_root

try:
    import jsonschema
except ImportError:  # python3-jsonschema
    jsonschema = None

HOLD = 'route "*" { via = "hold" }'


def schema():
    with open(os.path.join(TOP, "docs/schema/queuectl-1.json")) as f:
        return json.load(f)


def verbs_of_source():
    with open(os.path.join(TOP, "tools/queuectl.c")) as f:
        table = f.read().split("static const struct verb verbs[] = {")[1].split("};")[0]
    return re.findall(r'\{"([a-z]+)",', table)


class Verbs(Case):
    def check(self, name, text, at_least=1):
        """Each line holds to the definition."""
        lines = text.splitlines()
        self.assertGreaterEqual(len(lines), at_least, name)
        whole = schema()
        for line in lines:
            line = json.loads(line)
            if jsonschema is not None:
                jsonschema.validate(line, {"$ref": f"#/$defs/{name}", "$defs": whole["$defs"]})

    def ctl(self, *args, ok=0, stdin=None):
        r = self.m.queuectl("--json", *args)
        self.ran.add(next(a for a in args if not a.startswith("-")))
        self.assertIn(r.returncode, ok if isinstance(ok, tuple) else (ok,), f"{args}: {r.stdout}{r.stderr}")
        return r.stdout

    def test_each(self):
        self.ran = {"user", "top", "watch"}  # test_clients, test_queuectl_top
        self.m = self.mansio(config=HOLD)
        ids = [self.m.send("a@here.test", ["b@one.test", "c@two.test"], f"Subject: {i}\n\nx\n") for i in range(3)]
        self.check("list", self.ctl("list"), 3)
        self.check("list", self.ctl("list", "domain=one.test and held"), 3)
        self.check("count_", self.ctl("count", "domain=two.test"))
        self.check("show", self.ctl("show", ids[0]))
        self.check("show", self.ctl("explain", ids[0]))
        self.check("show", self.ctl("trace", "a@here.test"), 3)
        self.check("stats", self.ctl("stats"))
        self.ctl("lanes", "limit", "mx:one.test", "concurrency=3")
        self.check("lanes", self.ctl("lanes"))
        self.check("done", self.ctl("lanes", "suspend", "all"))
        self.check("change", self.ctl("release", ids[0]))
        self.check("change", self.ctl("retry", ids[0]))
        self.check("change", self.ctl("hold", "domain=one.test"))
        self.check("change", self.ctl("reroute", ids[0], "relay:[127.0.0.1]:9"))
        self.check("change", self.ctl("--dry-run", "delete", ids[1]))
        self.check("change", self.ctl("delete", ids[1]))
        self.check("change", self.ctl("undo", ids[1]))
        self.check("change", self.ctl("--now", "bounce", ids[2]))
        self.check("show", self.ctl("show", ids[2]))  # a finished one
        self.ctl("resend", ids[0], "--to", "d@three.test")
        for verb in ("pause", "unpause"):
            for what in ("accepting", "delivering"):
                self.check("done", self.ctl(verb, what))
        self.check("route", self.ctl("route", "x@one.test"))
        self.ctl("ban", "list")
        self.assertIn("mansio_queue_messages", self.ctl("metrics"))
        self.check("fsck", self.ctl("fsck"))
        self.check("doctor", self.ctl("doctor", ok=(0, 1)), 4)
        self.ctl("backup", self.subfolder("copy"))
        self.check("done", self.ctl("reload"))
        self.ctl("restore", self.path("copy"), ok=1)  # not over a queue in use
        self.ctl("compact", ok=1)
        self.ctl("lanes", "suspend", "all")
        self.ctl("--yes", "release", "all")  # due, in lanes that go nowhere: not waited for
        self.ctl("drain")
        self.check("done", self.ctl("stop"))
        self.m.process.wait(10)
        self.m.stopped = True
        self.assertEqual(set(verbs_of_source()), self.ran)
        for verb, line in (("list", "list"), ("show", "show"), ("explain", "show"), ("fsck", "fsck")):  # offline
            self.check(line, self.ctl(verb, *([ids[0]] if verb in ("show", "explain") else [])))
        self.ctl("backup", self.subfolder("again"))
        self.ctl("hold", "--yes", "all", ok=69)
        self.ctl("fsck", "--repair")

    def test_who_did_it_is_logged(self):
        self.m = self.mansio(config=HOLD)
        self.ran = set()
        id = self.m.send("a@here.test", ["b@one.test"], "Subject: x\n\nx\n")
        steps = [("release", id), ("hold", id), ("lanes", "suspend", "mx:x"), ("lanes", "resume", "mx:x"),
                 ("lanes", "limit", "mx:x", "concurrency=2", "rate=0.5/h"), ("pause", "accepting"), ("unpause", "accepting"), ("reroute", id, "local"),
                 ("delete", id), ("undo", id), ("--now", "delete", id)]
        self.ctl("lanes", "suspend", "all")
        for step in steps:
            self.ctl(*step)
        events = self.m.events("control")
        self.assertEqual(["suspend", "release", "hold", "suspend", "resume", "limit", "limit", "pause", "unpause", "reroute", "delete",
                          "undo", "delete"], [e["command"] for e in events])
        self.assertEqual({os.getuid()}, {int(e["uid"]) for e in events})

    @need_root("asks as another user")
    def test_strangers_see_their_own(self):
        self.m = self.mansio(config=HOLD, as_root=True, user="nobody")
        self.ran = set()
        self.m.send("a@here.test", ["b@one.test"], "Subject: of smtp\n\nx\n")

        def as_user(uid, *args, groups="--clear-groups"):
            return self.run_program(["setpriv", f"--reuid={uid}", "--regid=100", groups, self.m.program("queuectl"), "-c",
                                     self.m.conf, "--json", *args])
        r = as_user(4711, "count")
        self.assertEqual({"v": 1, "messages": 0, "recipients": 0}, json.loads(r.stdout), r.stderr)
        for verb in (("hold", "all", "--yes"), ("stats",), ("lanes",), ("trace", "b@one.test"), ("pause", "accepting")):
            r = as_user(4711, *verb)
            self.assertEqual(77, r.returncode, r.stdout + r.stderr)
        self.assertEqual([], self.m.events("control"))
        self.check("count_", self.ctl("count"))

    @need_root("asks as another user")
    def test_members_of_the_group_may_do_everything(self):
        """By their first group or by another; and what they do is logged as theirs."""
        group, member = 54321, 4712
        with open("/etc/group") as f:
            lines = "".join(line for line in f if not line.startswith("mansio:"))
        groups = self.file("group", lines + f"mansio:x:{group}:\n")
        self.m = self.mansio(config=HOLD, as_root=True, user="nobody", start=False)
        self.ran = set()
        wrapper = self.file("mansiod", "#!/bin/sh\nexec " + " ".join(mount_namespace()) + " sh -c 'mount --bind " + groups +
                            " /etc/group && exec " + self.m.program("mansiod") + ' "$@"\' sh "$@"\n')
        os.chmod(wrapper, 0o755)
        programs = self.m.program
        self.m.program = lambda name: wrapper if name == "mansiod" else programs(name)
        self.m.start()
        id = self.m.send("a@here.test", ["b@one.test"], "Subject: x\n\nx\n")
        for rights in (("--regid=100", f"--groups={group}"), (f"--regid={group}", "--clear-groups")):
            r = self.run_program(["setpriv", f"--reuid={member}", *rights, programs("queuectl"), "-c", self.m.conf, "--json", "release", id])
            self.assertEqual(0, r.returncode, r.stdout + r.stderr)
            r = self.run_program(["setpriv", f"--reuid={member}", *rights, programs("queuectl"), "-c", self.m.conf, "--json", "hold", id])
            self.assertEqual(0, r.returncode, r.stdout + r.stderr)
        self.assertEqual([member] * 4, [int(e["uid"]) for e in self.m.events("control")])
        r = self.run_program(["setpriv", f"--reuid={member}", "--regid=100", "--groups=101", programs("queuectl"), "-c", self.m.conf, "stats"])
        self.assertEqual(77, r.returncode, r.stdout + r.stderr)


class Manual(unittest.TestCase):
    def test_each_verb_has_an_example(self):
        with open(os.path.join(TOP, "docs/man/queuectl.8")) as f:
            text = f.read()
        examples = text.split(".Sh EXAMPLES")[1].split("\n.Sh ")[0]
        for verb in verbs_of_source():
            self.assertRegex(text, rf"(?m)^\.It Cm .*\b{verb}\b", f"{verb} is not described")
            self.assertRegex(examples, rf"(?m)^queuectl (--?[a-z-]+ )*{verb}\b", f"{verb} has no example")

    def test_the_schema_knows_what_it_names(self):
        if jsonschema is None:
            self.skipTest("needs python3-jsonschema")
        jsonschema.Draft202012Validator.check_schema(schema())


if __name__ == "__main__":
    main()
