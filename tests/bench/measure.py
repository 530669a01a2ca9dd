"""The measurements."""

import os
import random
import re
import statistics
import subprocess

from rig import HEADERS, PATH, Failed, say


def interval(values):
    """The median and a bootstrap 90 % interval of it."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(2000))
    return statistics.median(values), medians[100], medians[1899]


def wrk(rig, proxy, seconds):
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = [rig.tools["wrk"], "-t1", "-c32", f"-d{seconds}s", *headers, proxy.url + PATH]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wrk_requests(proxy, process):
    output = process.communicate()[0]
    count = re.search(r"(\d+) requests in", output)
    if process.returncode or not count or "Non-2xx" in output or "Socket errors" in output:
        raise Failed(f"wrk on {proxy.name}:\n{output}")
    return int(count.group(1))


def cpu_round(rig, pair, seconds=1):
    """Both under the same load at the same time on the same core: microseconds of CPU time per request, of each."""
    before = [proxy.process.cpu_times() for proxy in pair]
    load = [wrk(rig, proxy, seconds) for proxy in pair]
    requests = [wrk_requests(proxy, process) for proxy, process in zip(pair, load)]
    return [proxy.process.cpu_since(b) / n * 1e6 for proxy, b, n in zip(pair, before, requests)]


def cpu(rig, peer_name, kind, rounds):
    """CPU per request of soproxy and of a peer, paired."""
    soproxy = rig.start_soproxy(kind)
    peer = rig.start_peer(peer_name, kind, soproxy.authorization)
    try:
        ours, theirs = [], []
        for number in range(rounds + 1):
            a, b = cpu_round(rig, (soproxy, peer))
            rig.empty_logs()
            if number == 0:  # pools fill, pages are touched
                continue
            ours.append(a)
            theirs.append(b)
        ratios = [a / b for a, b in zip(ours, theirs)]
        return {
            "peer": peer_name, "kind": kind,
            "ours": statistics.median(ours), "theirs": statistics.median(theirs), "ratio": interval(ratios),
        }
    finally:
        peer.stop()
        soproxy.stop()
