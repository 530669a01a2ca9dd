"""The measurements."""

import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import time

from rig import API, FILE_SIZE, HEADERS, HERE, PATH, Failed, get

# Of a core, for whatever else the machine does; clock ticks alone make one or two hundredths.
QUIET = 0.06


def interval(values):
    """The median and a bootstrap 90 % interval of it."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(2000))
    return statistics.median(values), medians[100], medians[1899]


def wrk(rig, proxy, seconds):
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = [rig.tools["wrk"], "-t1", "-c32", f"-d{seconds}s", *headers, proxy.url + PATH]
    return rig.child(command)


def wrk_requests(proxy, process):
    output = "".join(process.communicate())
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


# --- what wrk cannot make ---


def generator(rig):
    """The program of load.rs, made anew for each run of the benchmark: it takes a second."""
    if rig.load:
        return rig.load
    rustc = shutil.which("rustc") or os.path.expanduser("~/.cargo/bin/rustc")
    program = rig.path("load")
    command = [rustc, "-O", "--edition", "2021", os.path.join(HERE, "load.rs"), "-o", program]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Failed(f"rustc is needed for the load that wrk cannot make: {error}")
    if done.returncode:
        raise Failed(f"load.rs does not compile:\n{done.stderr}")
    rig.load = program
    return program


def head(line, url, **more):
    lines = [f"{line} HTTP/1.1", f"Host: {url.removeprefix('http://')}"]
    return "\n".join(lines + [f"{name}: {value}" for name, value in {**HEADERS, **more}.items()])


def load(rig, mode, url, request, *arguments):
    command = [generator(rig), mode, url.removeprefix("http://"), request, *map(str, arguments)]
    return rig.child(command)


def numbers(what, process):
    output, error = process.communicate()
    if process.returncode:
        raise Failed(f"load on {what}: {error}")
    return [float(word) for word in output.split()]


class Pair:
    """soproxy and a peer in front of the same kind of upstream."""

    def __init__(self, rig, peer, kind):
        self.rig, self.name, self.kind = rig, peer, kind

    def __enter__(self):
        self.soproxy = self.rig.start_soproxy(self.kind)
        try:
            self.peer = self.rig.start_peer(self.name, self.kind, self.soproxy.authorization)
        except Failed:
            self.soproxy.stop()
            raise
        return self.soproxy, self.peer

    def __exit__(self, *_):
        self.peer.stop()
        self.soproxy.stop()


def quiet_rounds(rig, rounds, one_round):
    """Rounds in which the machine did little else, and whether there were enough of them.

    A round that others disturbed is made again, but no more than as many as were asked for; then the quietest have to do.
    What decides is the others' share of the cores, never the figure. The first round (pools fill, pages are touched) is not counted."""
    one_round()
    made = []
    while len(made) < 2 * rounds and sum(share <= QUIET for share, _ in made) < rounds:
        rig.empty_logs()
        share = rig.watch_others()
        value = one_round()
        made.append((share(), value))
    kept = sorted(made, key=lambda one: one[0])[:rounds]
    return [value for _, value in kept], kept[-1][0] <= QUIET


def ratios(rig, rounds, one_round):
    """one_round gives a figure of soproxy's and one of the peer's: the medians, and that of the rounds' ratios."""
    pairs, quiet = quiet_rounds(rig, rounds, one_round)
    ours, theirs = zip(*pairs)
    return statistics.median(ours), statistics.median(theirs), interval([a / b for a, b in pairs]), quiet


def cpu(rig, peer_name, kind, rounds):
    with Pair(rig, peer_name, kind) as pair:
        return ratios(rig, rounds, lambda: cpu_round(rig, pair))


def latency(rig, peer_name, kind, rounds, seconds):
    """Direct, through soproxy and through the peer, in turn. The direct way is plain: TLS is what the proxies are there for."""
    with Pair(rig, peer_name, kind) as (soproxy, peer):
        ways = {"direct": rig.direct, "soproxy": soproxy.url, "peer": peer.url}
        turn = 0

        def one_round():
            nonlocal turn
            turn += 1
            times = {}
            for way, url in sorted(ways.items(), reverse=bool(turn % 2)):
                request = head(f"GET {PATH}", url)
                paced = numbers(way, load(rig, "pace", url, request, 2000, 16, seconds))
                serial = numbers(way, load(rig, "serial", url, request, 2000 * seconds))
                times[way] = (*paced, serial[0])
            return times

        made, quiet = quiet_rounds(rig, rounds, one_round)
        result = {}
        for index, name in enumerate(("p50", "p90", "p99")):
            result[name] = {way: statistics.median(times[way][index] for times in made) for way in ways}
            result[name]["ratio"] = interval([times["soproxy"][index] / times["peer"][index] for times in made])
        # What a proxy adds, round by round.
        added = [{way: times[way][3] - times["direct"][3] for way in ("soproxy", "peer")} for times in made]
        result["serial"] = {way: statistics.median(times[way] for times in added) for way in ("soproxy", "peer")}
        result["serial"]["direct"] = statistics.median(times["direct"][3] for times in made)
        result["serial"]["ratio"] = interval([times["soproxy"] / times["peer"] for times in added])
        return result, quiet


def bulk(rig, peer_name, kind, direction, rounds, seconds):
    """CPU seconds per GB of bodies of 10 MB, paired like cpu()."""
    with Pair(rig, peer_name, kind) as pair:
        for proxy in pair:
            check_bulk(proxy)

        def one_round():
            before = [proxy.process.cpu_times() for proxy in pair]
            started = []
            for proxy in pair:
                if direction == "down":
                    request, size = head(f"GET {API}/file", proxy.url), 0
                else:
                    request, size = head(f"POST {API}/sink", proxy.url, **{"Content-Length": FILE_SIZE}), FILE_SIZE
                started.append(load(rig, "bulk", proxy.url, request, size, 4, seconds))
            # Both have to have ended before the clocks are read; what was begun is finished, and counted.
            moved = [sum(numbers(proxy.name, process)[1:]) for proxy, process in zip(pair, started)]
            return [proxy.process.cpu_since(b) / bytes_ * 1e9 for proxy, b, bytes_ in zip(pair, before, moved)]

        return ratios(rig, rounds, one_round)


def check_bulk(proxy):
    status, _, body = get(f"{proxy.url}{API}/file")
    if status != 200 or len(body) != FILE_SIZE:
        raise Failed(f"{proxy.name} answers {status}, {len(body)} bytes, for the file")
    status, headers, _ = get(f"{proxy.url}{API}/sink", data=body)
    # The count is of the request with its head.
    if status != 204 or int(headers.get("X-Received", 0)) < FILE_SIZE:
        raise Failed(f"{proxy.name} answers {status}, and the origin received {headers.get('X-Received')} bytes of {FILE_SIZE}")


def memory(rig, peer_name, connections=5000):
    """Resident bytes after one request, and for each idle connection of a caller's, TLS upstream."""
    if rig.nofile < connections + 200:
        raise Failed(f"{connections} connections need more open files than {rig.nofile}: ulimit -n")
    with Pair(rig, peer_name, "TLS") as pair:
        result = []
        for proxy in pair:
            idle = proxy.process.resident()
            opened = idle_connections(proxy, connections)
            time.sleep(1)
            full = proxy.process.resident()
            for s in opened:
                s.close()
            result.append((idle, (full - idle) / connections))
        return result


def idle_connections(proxy, count, at_once=50):
    """Connections that made one request each, some of them at the same time."""
    address = ("127.0.0.1", proxy.port)
    request = (head(f"GET {PATH}", proxy.url) + "\n\n").replace("\n", "\r\n").encode()
    opened = []
    for _ in range(0, count, at_once):
        batch = [socket.create_connection(address, timeout=10) for _ in range(at_once)]
        for s in batch:
            s.sendall(request)
        for s in batch:
            received = b""
            while len(received) < 1024 or not received.endswith(b'"}'):
                part = s.recv(65536)
                if not part:
                    raise Failed(f"{proxy.name} closes a connection: {received[:300]!r}")
                received += part
            if not received.startswith(b"HTTP/1.1 200 "):
                raise Failed(f"{proxy.name}: {received[:300]!r}")
        opened += batch
    # Still there, all of them.
    for s in opened:
        s.setblocking(False)
        try:
            if not s.recv(1):
                raise Failed(f"{proxy.name} closed an idle connection")
        except BlockingIOError:
            pass
    return opened


def instructions(rig, count=2000):
    """Instructions per request under callgrind, and how far two runs of it are apart."""
    if not rig.tools["valgrind"]:
        raise Failed("valgrind is needed for --instructions")
    out = rig.path("callgrind.out")
    # One thread that gets on after another, as it happens, is what makes counts differ.
    wrapper = (rig.tools["valgrind"], "--tool=callgrind", f"--callgrind-out-file={out}", "--fair-sched=yes")
    soproxy = rig.start_soproxy("plain", wrapper=wrapper)
    control = shutil.which("callgrind_control")
    request = head(f"GET {PATH}", soproxy.url)
    dumps = 0

    def spent(requests):
        nonlocal dumps
        if requests:
            numbers("soproxy", load(rig, "serial", soproxy.url, request, requests))
        dumps += 1
        subprocess.run([control, "--dump", str(soproxy.process.pid)], check=True, capture_output=True)
        with open(f"{out}.{dumps}") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(("totals:", "summary:")))

    try:
        spent(200)
        nothing = spent(0)
        runs = [(spent(count) - nothing) / count for _ in range(3)]
        return statistics.median(runs), max(runs) - min(runs)
    finally:
        soproxy.stop()
