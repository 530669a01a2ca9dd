"""tests/bench/run.sh begins with this one: arguments in, one table out."""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time

import measure
from rig import Failed, Rig, say

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALL_PEERS = ["nginx", "haproxy", "envoy", "caddy", "go"]
DISTURBED = " †"
CONDITIONS = (
    "Access log on in every proxy, into a file; the same two headers set by each; the upstream's certificate verified, TLS 1.3; "
    "both proxies of a line on one core at the same time (latency, memory: in turn), the origin and the load on another."
)
FIGURES = ["cpu", "latency", "bulk", "memory", "instructions"]
CPU_TARGETS = {
    ("nginx", "plain"): 1.00, ("nginx", "TLS"): 0.90,
    ("haproxy", "TLS"): 0.86, ("envoy", "TLS"): 0.36, ("caddy", "TLS"): 0.24, ("go", "TLS"): 0.35,
}


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description="What soproxy costs, next to other proxies.", allow_abbrev=False)
    parser.add_argument("--soproxy", metavar="PATH",
                        help="the program to measure (default: target/release/soproxy, built if missing)")
    parser.add_argument("--baseline", metavar="PATH", help="another soproxy, as one more peer")
    parser.add_argument("--only", metavar="NAMES", help=f"of the peers, only these: {','.join(ALL_PEERS)},baseline")
    parser.add_argument("--figures", metavar="NAMES", default="cpu,latency,bulk,memory",
                        help=f"of the figures, only these: {','.join(FIGURES)}")
    parser.add_argument("--instructions", action="store_true", help="instructions per request under callgrind, too (a minute)")
    parser.add_argument("--upstream", choices=["plain", "TLS"], help="of the upstream kinds, only this")
    parser.add_argument("--rounds", type=int, metavar="N", help="one-second rounds of CPU time (default 15, quick 8 and 4)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, install nothing: two minutes")
    parser.add_argument("--with-go", action="store_true", help="a Go ReverseProxy as one more peer; installs golang-go")
    parser.add_argument("--no-install", action="store_true", help="go on with the peers that are installed")
    parser.add_argument("--save", metavar="FILE", help="write the table to this file, too")
    parser.add_argument("--cache", default=tempfile.gettempdir(), help=argparse.SUPPRESS)
    parser.add_argument("--plan", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    given = options.soproxy is not None
    options.soproxy = os.path.abspath(options.soproxy or os.path.join(REPOSITORY, "target/release/soproxy"))
    options.baseline = options.baseline and os.path.abspath(options.baseline)
    if options.rounds is not None and options.rounds < 1:
        parser.error("at least one round")
    for program in ([options.soproxy] if given else []) + ([options.baseline] if options.baseline else []):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is no program")
    options.only = options.only.split(",") if options.only else None
    options.figures = options.figures.split(",") + (["instructions"] if options.instructions else [])
    for given, known in ((options.only or [], [*ALL_PEERS, "baseline"]), (options.figures, FIGURES)):
        for name in given:
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    if options.plan:
        # What run.sh has to see to before.
        install = not (options.quick or options.no_install)
        build = not (given or os.path.exists(options.soproxy))
        print(" ".join(["install"] * install + ["go"] * options.with_go + ["build"] * build))
        sys.exit()
    return options


def micro(value):
    return f"{value:.1f} µs"


def ratio(three, quiet, target=None):
    """The last two columns: a ratio with its spread, and what it is to be."""
    median, low, high = three
    verdict = ""
    if target is not None:
        # As far as the rounds can tell.
        verdict = f"≤ {target:.2f}: {'met' if high <= target else 'missed' if low > target else 'undecided'}"
    return f"{median:.2f} ({low:.2f}–{high:.2f}){'' if quiet else DISTURBED}", verdict


def limit(value, target, unit):
    return "", f"≤ {target} {unit}: {'met' if value <= target else 'missed'}"


def cpu_rows(rig, peers, kinds):
    for peer in peers:
        for kind in kinds:
            # In a quick run, the others need not be known as well as nginx.
            rounds = rig.options.rounds or (15 if not rig.options.quick else 8 if peer == "nginx" else 4)
            ours, theirs, three, quiet = measure.cpu(rig, peer, kind, rounds)
            yield (
                f"CPU per request, {kind} upstream", peer, micro(ours), micro(theirs),
                *ratio(three, quiet, CPU_TARGETS.get((peer, kind))),
            )


def latency_rows(rig, peer, kinds):
    rounds, seconds = (4, 1) if rig.options.quick else (8, 3)
    for kind in kinds:
        result, quiet = measure.latency(rig, peer, kind, rounds, seconds)
        strict = peer == "nginx" and kind == "TLS"
        for name, target in (("p50", 1.0), ("p90", None), ("p99", 1.2)):
            r = result[name]
            label = f"latency at 2,000 requests/s, {name}, {kind} upstream (direct, plain: {micro(r['direct'])})"
            yield label, peer, micro(r["soproxy"]), micro(r["peer"]), *ratio(r["ratio"], quiet, target if strict else None)
        r = result["serial"]
        label = f"one request at a time, added median latency, {kind} upstream (direct, plain: {micro(r['direct'])})"
        yield label, peer, micro(r["soproxy"]), micro(r["peer"]), *ratio(r["ratio"], quiet, 1.0 if peer == "nginx" else None)


def bulk_rows(rig, peer, kinds):
    rounds, seconds = (3, 1) if rig.options.quick else (8, 2)
    for kind in kinds:
        for direction, target in (("down", 0.85), ("up", 0.40)):
            ours, theirs, three, quiet = measure.bulk(rig, peer, kind, direction, rounds, seconds)
            strict = peer == "nginx" and kind == "TLS"
            yield (
                f"CPU per GB {direction}, bodies of 10 MB, {kind} upstream", peer, f"{ours:.2f} s", f"{theirs:.2f} s",
                *ratio(three, quiet, target if strict else None),
            )


def memory_rows(rig, peer):
    (idle, each), (peer_idle, peer_each) = measure.memory(rig, peer)
    yield "resident memory, idle", peer, f"{idle / 1e6:.1f} MB", f"{peer_idle / 1e6:.1f} MB", *limit(idle / 1e6, 15, "MB")
    label = "… and for each of 5,000 idle connections"
    yield label, peer, f"{each / 1024:.1f} KiB", f"{peer_each / 1024:.1f} KiB", *limit(each / 1024, 16, "KiB")


def instruction_rows(rig):
    median, apart = measure.instructions(rig)
    yield "instructions per request, plain upstream, callgrind", "", f"{median:.0f} (± {apart / 2:.0f})", "", "", ""


def table(rows):
    lines = ["| figure | against | soproxy | peer | ratio (90 % interval) | target |", "|---|---|---|---|---|---|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def circumstances(rig, peers):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    versions = [rig.soproxy_version] + [rig.version(name) for name in [*peers, "wrk"] if name in rig.tools]
    return f"{time.strftime('%Y-%m-%d')}, {model}, Linux {platform.release()}; {', '.join(versions)}."


def run(rig):
    options = rig.options
    here = rig.peers()
    wanted = options.only or [*ALL_PEERS, "baseline"]
    if not options.only:
        optional = {"go": options.with_go, "baseline": options.baseline}
        wanted = [name for name in wanted if optional.get(name, True)]
    missing = [name for name in wanted if name not in here]
    peers = [name for name in wanted if name in here]
    if missing:
        say(f"not here, and left out: {', '.join(missing)}")
    if not peers and set(options.figures) != {"instructions"}:
        raise Failed("there is nothing to compare with")
    kinds = [options.upstream] if options.upstream else ["plain", "TLS"]
    rig.start_origin()
    rig.start_sandbox()
    # The first of the peers, nginx, is the one for all figures; CPU per request is compared with each.
    parts = {
        "cpu": [lambda peer=peer: cpu_rows(rig, [peer], kinds) for peer in peers],
        "latency": [lambda: latency_rows(rig, peers[0], kinds)],
        "bulk": [lambda: bulk_rows(rig, peers[0], kinds)],
        "memory": [lambda: memory_rows(rig, peers[0])],
        "instructions": [lambda: instruction_rows(rig)],
    }
    rows, failures = [], []
    for name in options.figures:
        for part in parts[name]:
            try:
                for row in part():
                    rows.append(row)
                    say("| " + " | ".join(row) + " |")
            except Failed as failure:
                say(f"{name}: {failure}")
                failures.append(f"{name}: {str(failure).splitlines()[0]}")
    notes = [circumstances(rig, peers), CONDITIONS]
    if any(DISTURBED in cell for row in rows for cell in row):
        notes.append(f"{DISTURBED.strip()} Others used more than {measure.QUIET:.0%} of a core in some of these rounds: measure again when it is quiet.")
    if missing:
        notes.append(f"Not compared: {', '.join(missing)}.")
    notes.extend(f"Failed: {failure}" for failure in failures)
    return "\n\n".join([table(rows), *notes]), bool(failures)


def main():
    options = arguments()
    # Also where a shell had the program started with SIGINT ignored.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="soproxy-bench.")
    rig = None
    try:
        rig = Rig(options, directory)
        # nginx's worker gives up root, and reads the file for the downloads.
        os.chmod(directory, 0o755)
        report, failed = run(rig)
    except Failed as failure:
        sys.exit(f"{failure}")
    finally:
        if rig:
            rig.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(report)
    if options.save:
        with open(options.save, "w") as file:
            file.write(report + "\n")
    sys.exit(1 if failed else 0)


main()
