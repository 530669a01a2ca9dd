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
CPU_TARGETS = {
    ("nginx", "plain"): 1.00, ("nginx", "TLS"): 0.90,
    ("haproxy", "TLS"): 0.86, ("envoy", "TLS"): 0.36, ("caddy", "TLS"): 0.24, ("go", "TLS"): 0.35,
}


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description="What soproxy costs, next to other proxies.")
    parser.add_argument("--soproxy", metavar="PATH", default=os.path.join(REPOSITORY, "target/release/soproxy"),
                        help="the program to measure (default: target/release/soproxy, built if missing)")
    parser.add_argument("--baseline", metavar="PATH", help="another soproxy, as one more peer")
    parser.add_argument("--only", metavar="NAMES", help="of the peers, only these: nginx,haproxy,envoy,caddy,baseline")
    parser.add_argument("--figures", metavar="NAMES", default="cpu",
                        help="of the figures, only these: cpu")
    parser.add_argument("--upstream", choices=["plain", "TLS"], help="of the upstream kinds, only this")
    parser.add_argument("--rounds", type=int, metavar="N", help="one-second rounds of each pair (default 15, quick 8)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, install nothing: two minutes")
    parser.add_argument("--no-install", action="store_true", help="go on with the peers that are installed")
    parser.add_argument("--save", metavar="FILE", help="write the table to this file, too")
    parser.add_argument("--cache", default=tempfile.gettempdir(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.soproxy = os.path.abspath(options.soproxy)
    if options.baseline:
        options.baseline = os.path.abspath(options.baseline)
    options.rounds = options.rounds or (8 if options.quick else 15)
    return options


def row_of_cpu(result):
    target = CPU_TARGETS.get((result["peer"], result["kind"]))
    median, low, high = result["ratio"]
    return (
        f"CPU per request, {result['kind']} upstream", result["peer"], f"{result['ours']:.1f} µs", f"{result['theirs']:.1f} µs",
        f"{median:.3f} ({low:.3f}–{high:.3f})", f"≤ {target:.2f}" if target else "",
    )


def table(rows):
    lines = ["| figure | against | soproxy | peer | ratio (90 % interval) | target |", "|---|---|---|---|---|---|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def circumstances(rig, peers):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    versions = [rig.soproxy_version] + [rig.version(name) for name in [*peers, "wrk"] if name in rig.tools]
    return f"{time.strftime('%Y-%m-%d')}, {model}, Linux {platform.release()}; {', '.join(versions)}."


def run(rig):
    options = rig.options
    peers = rig.peers() + (["baseline"] if options.baseline else [])
    if options.only:
        wanted = options.only.split(",")
        missing = [name for name in wanted if name not in peers]
        peers = [name for name in peers if name in wanted]
    else:
        missing = [name for name in ("nginx", "haproxy", "envoy", "caddy") if name not in peers]
    if missing:
        say(f"not here, and left out: {', '.join(missing)}")
    kinds = [options.upstream] if options.upstream else ["plain", "TLS"]
    rig.start_origin()
    rig.start_sandbox()
    rows = []
    for peer in peers:
        for kind in kinds:
            rows.append(row_of_cpu(measure.cpu(rig, peer, kind, options.rounds)))
            say("| " + " | ".join(rows[-1]) + " |")
    return table(rows) + "\n\n" + circumstances(rig, peers)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = tempfile.mkdtemp(prefix="soproxy-bench.")
    rig = None
    try:
        rig = Rig(options, directory)
        # nginx's worker gives up root, and reads the file for the downloads.
        os.chmod(directory, 0o755)
        report = run(rig)
    except Failed as failure:
        sys.exit(f"{failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if rig:
            rig.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(report)
    if options.save:
        with open(options.save, "w") as file:
            file.write(report + "\n")


main()
