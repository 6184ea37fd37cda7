"""The table of targets: what each row wants, what was measured, and whether that is enough.

Each row looks at medians over the rounds of a run; a row whose measurements were not made says so."""
import statistics

NOT_MEASURED = "not measured"


class Medians:
    def __init__(self, results):
        self.results = results  # test -> server -> figures of each round

    def of(self, test, key, name="mansio"):
        values = [r[key] for r in self.results.get(test, {}).get(name, []) if isinstance(r.get(key), (int, float))]
        if not values:
            raise LookupError(test)
        return statistics.median(values)

    def fastest(self, test, key, less=False):
        """(value, name) of the peer that does best."""
        found = []
        for name in self.results.get(test, {}):
            if name != "mansio":
                found.append((self.of(test, key, name), name))
        if not found:
            raise LookupError(test)
        return min(found) if less else max(found)


def ratio(m, test, key, target, less=False):
    mine, other = m.of(test, key), m.of(test, key, "postfix")
    value = other / mine if less else mine / other
    return f"{mine:,.4g} : {other:,.4g} = {value:.1f} ×", value >= target


def fastest(m, test, key, target, less=False):
    mine, (other, name) = m.of(test, key), m.fastest(test, key, less)
    value = other / mine if less else mine / other
    return f"{mine:,.4g} : {other:,.4g} ({name}) = {value:.1f} ×", value >= target


def ceiling(m):
    mine, most = m.of("accept-50", "rate"), m.of("ceiling", "rate", "tools")
    return f"{mine:,.0f} of {most:,.0f} = {mine / most:.0%}", mine / most >= 0.4


def many(m):
    mine, fewer = m.of("accept-200", "rate"), m.of("accept-50", "rate")
    return f"{mine:,.0f} after {fewer:,.0f}", mine >= fewer


def processor(m):
    mine, other = m.of("relay", "cpu_us"), m.of("relay", "cpu_us", "postfix")
    return f"{mine:,.0f} µs : {other:,.0f} µs = 1/{other / mine:.0f}", other / mine >= 12


def at_most(m, test, key, most, unit):
    value = m.of(test, key)
    return f"{value:.3g} {unit}", value <= most


def at_least(m, test, key, least):
    value = m.of(test, key)
    return f"{value:.2f}", value >= least


def commits(m):
    mine, one = m.of("accept-1-pipelined", "p50"), m.of("commit", "p50", "tools")
    return f"{mine:.2f} ms : {one:.2f} ms = {mine / one:.2f} ×", mine / one <= 1.5


def tail(m):
    mine, other = m.of("accept-50", "p99"), m.of("accept-50", "p99", "postfix")
    return f"{mine:.1f} ms : {other:.1f} ms = 1/{other / mine:.1f}", other / mine >= 10


# Row, target, function of the medians: (measured, met).
ROWS = [
    ("accept, 50 sessions, 4 KiB, kept", "≥ 15 × Postfix", lambda m: ratio(m, "accept-50", "rate", 15)),
    ("…", "≥ 10 × the fastest peer", lambda m: fastest(m, "accept-50", "rate", 10)),
    ("…", "≥ 40 % of the ceiling", ceiling),
    ("accept, 200 sessions, kept", "no lower than at 50", many),
    ("accept, new connection each", "≥ 8 × Postfix", lambda m: ratio(m, "accept-new", "rate", 8)),
    ("accept, 50 sessions, STARTTLS", "none", lambda m: ratio(m, "accept-tls", "rate", 0)),
    ("end to end, 4 KiB", "≥ 12 × Postfix", lambda m: ratio(m, "relay", "rate", 12)),
    ("…, processor a message", "≤ 1/12 of Postfix", processor),
    ("end to end, STARTTLS in", "none", lambda m: ratio(m, "relay-tls", "rate", 0)),
    ("50 × 10 MiB end to end, MB/s", "≥ 2.5 × Postfix", lambda m: ratio(m, "large", "mb_s", 2.5)),
    ("…, peak memory", "≤ 48 MiB", lambda m: at_most(m, "large", "pss", 48, "MiB")),
    ("1 × 1,000 recipients, one domain, s", "≥ 3 × the fastest peer", lambda m: fastest(m, "fanout-one", "took", 3, True)),
    ("1 × 1,000 recipients, 1,000 domains, s", "≥ 3 × the fastest peer", lambda m: fastest(m, "fanout-1000", "took", 3, True)),
    ("1,000,000 deferred: end to end", "≥ 0.8 of the empty queue", lambda m: at_least(m, "deep", "holds", 0.8)),
    ("…, accepted beside it", "≥ 0.8 of the empty queue", lambda m: at_least(m, "deep", "accept_holds", 0.8)),
    ("…, restart to first delivery", "≤ 0.5 s", lambda m: at_most(m, "deep", "restart", 0.5, "s")),
    ("…, extra memory", "≤ 64 MiB", lambda m: at_most(m, "deep", "extra_memory", 64, "MiB")),
    ("churn, last sixth of the time", "≥ 0.9 of the first", lambda m: at_least(m, "churn", "holds", 0.9)),
    ("…, file by live data", "≤ 1.5 ×", lambda m: at_most(m, "churn", "file_to_live", 1.5, "×")),
    ("latency at 1 session, pipelined", "≤ 1.5 × one commit", commits),
    ("latency at 50 sessions, p99", "≤ 1/10 of Postfix", tail),
    ("idle, PSS", "≤ 12 MiB", lambda m: at_most(m, "idle", "pss", 12, "MiB")),
    ("…, wake-ups a second", "≤ 1 a process", lambda m: at_most(m, "idle", "wakeups", m.of("idle", "processes"), "")),
    ("into Maildirs of one user", "≥ 3 × Postfix", lambda m: ratio(m, "virtual", "rate", 3)),
    ("into Maildirs of 10 users of the host", "≥ 3 × Postfix", lambda m: ratio(m, "owners", "rate", 3)),
]


def rows(results):
    """(row, target, measured, met: True, False or None) for each row."""
    m, made = Medians(results), []
    for what, target, judge in ROWS:
        try:
            measured, met = judge(m)
        except LookupError:
            measured, met = NOT_MEASURED, None
        made.append({"row": what, "target": target, "measured": measured, "met": None if target == "none" else met})
    return made


def markdown(made):
    words = {True: "yes", False: "NO", None: "-"}
    lines = ["| work | target | measured (Mansio : Postfix) | met |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {r['row']} | {r['target']} | {r['measured']} | {words[r['met']]} |" for r in made
                               if r["measured"] != NOT_MEASURED])
