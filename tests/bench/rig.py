"""What is measured and what it is measured with: the origin, soproxy with its sandbox, and the peers.

Whatever is started here dies with this program, also when this program is killed."""

import ctypes
import os
import resource
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
API = "/Cust12345/api/v1/bench"
PATH = "/Cust12345/api/v1/Contact/1"
# With Host, six ordinary ones.
HEADERS = {
    "User-Agent": "LegacyApplication/4.2 (Windows NT 6.1)",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Accept-Language": "en-GB,en;q=0.9,nb;q=0.8",
    "Cache-Control": "no-cache",
}
FILE_SIZE = 10_000_000
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Failed(Exception):
    """Said to the user without a trace."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def get(url, data=None, timeout=10):
    """Status, headers and body; a refusal is an answer, too."""
    request = urllib.request.Request(url, data=data, headers=HEADERS)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def bound(core):
    """What a new process does first: it stays on this core, and ends when this program ends."""
    parent = os.getpid()

    def prepare():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        os.sched_setaffinity(0, {core})

    return prepare


class Process:
    """A server on one core, with what it says in a file that can be emptied while it runs."""

    def __init__(self, rig, name, command, core, environment=None, cwd=None):
        self.name, self.log = name, os.path.join(rig.directory, f"{name}.log")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SOPROXY_") and not k.lower().endswith("_proxy")}
        clean.update(environment or {})
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean, cwd=cwd, preexec_fn=bound(core)
            )
        self.pid = self.child.pid
        self.core, self.rig = core, rig
        rig.running.append(self)

    def said(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def wait_until(self, ready, seconds=15):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                raise Failed(f"{self.name} stopped with exit code {self.child.returncode}:\n{self.said()[-2000:]}")
            try:
                if ready():
                    return self
            except OSError:
                pass
            time.sleep(0.02)
        raise Failed(f"{self.name} is not ready after {seconds} s:\n{self.said()[-2000:]}")

    def listening(self, port):
        def ready():
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True

        return self.wait_until(ready)

    def stop(self):
        if self in self.rig.running:
            self.rig.running.remove(self)
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def tree(self):
        """This process and all that descend from it."""
        pids, found = [self.pid], []
        while pids:
            pid = pids.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as children:
                        pids.extend(int(p) for p in children.read().split())
            except OSError:
                pass
        return found

    def cpu_times(self):
        """Nanoseconds on a processor, of each thread."""
        times = {}
        for pid in self.tree():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                        times[task] = int(stat.read().split()[0])
            except OSError:
                pass
        return times

    def cpu_since(self, before):
        """Seconds, of all threads that still live; one that ended in between takes what it used with it."""
        return sum(t - before.get(task, 0) for task, t in self.cpu_times().items()) / 1e9

    def resident(self):
        """Resident bytes, of the whole tree."""
        total = 0
        for pid in self.tree():
            with open(f"/proc/{pid}/status") as status:
                total += sum(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))
        return total


class Proxy:
    """A running proxy: its process, its port, and what it was seen to send."""

    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port
        self.url = f"http://127.0.0.1:{port}"

    def stop(self):
        self.process.stop()


class Rig:
    def __init__(self, options, directory):
        self.options, self.directory, self.running = options, directory, []
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise Failed("two cores are needed: one for the proxies, one for the load")
        self.proxy_core, self.load_core = cores[0], cores[1]
        os.sched_setaffinity(0, {self.load_core})
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.nofile = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, hard))
        self.workers, self.load = True, None
        self.soproxy_version = ""
        self.tools = {name: shutil.which(name) for name in ("nginx", "haproxy", "caddy", "envoy", "wrk", "openssl", "valgrind", "go")}
        for name in ("nginx", "haproxy", "caddy"):
            self.tools[name] = self.tools[name] or next(
                (f for f in (f"/usr/sbin/{name}", f"/usr/local/sbin/{name}") if os.path.exists(f)), None
            )
        wheel = os.path.join(options.cache, "envoy/envoy/_bin/envoy")
        if not self.tools["envoy"] and os.path.exists(wheel):
            self.tools["envoy"] = wheel
        for name in ("nginx", "wrk", "openssl"):
            if not self.tools[name]:
                raise Failed(f"{name} is needed, and not here (the origin is an nginx, the load is made by wrk)")

    def close(self):
        for process in reversed(list(self.running)):
            process.stop()

    def child(self, command):
        """A generator of load."""
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=bound(self.load_core)
        )

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def template(self, name, **values):
        with open(os.path.join(HERE, "peers", name)) as file:
            text = file.read()
        values.setdefault("DIR", self.directory)
        values.setdefault("NOFILE", self.nofile)
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        return text

    def empty_logs(self):
        """A minute of load is gigabytes of access log in the end."""
        for name in os.listdir(self.directory):
            if name.endswith(".log"):
                os.truncate(self.path(name), 0)

    def watch_others(self):
        """Begins to watch what the two cores do for others, the hypervisor included; the answer tells the larger share since then."""

        def now():
            usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            ours = {self.proxy_core: 0, self.load_core: sum(u.ru_utime + u.ru_stime for u in usage)}
            for process in self.running:
                ours[process.core] += sum(process.cpu_times().values()) / 1e9
            with open("/proc/stat") as stat:
                lines = {f[0]: f[1:] for f in map(str.split, stat)}
            # All but idle and waiting for a disk; guests are in the first already.
            busy = {core: sum(int(lines[f"cpu{core}"][i]) for i in (0, 1, 2, 5, 6, 7)) / TICKS for core in ours}
            return time.monotonic(), {core: busy[core] - ours[core] for core in ours}

        begin, before = now()

        def share():
            end, after = now()
            return max(after[core] - before[core] for core in after) / (end - begin)

        return share

    # --- the origin ---

    def certificates(self):
        def openssl(*arguments):
            done = subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True, text=True)
            if done.returncode:
                raise Failed(f"openssl {arguments[0]}: {done.stderr}")

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=soproxy bench",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        openssl("req", *key, "-keyout", "origin.key", "-out", "origin.csr", "-subj", "/CN=soproxy bench origin")
        self.write("origin.ext", "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "origin.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "origin.ext", "-out", "origin.crt")

    def start_origin(self):
        self.certificates()
        with open(self.path("file"), "wb") as file:
            file.write((string.ascii_letters * (FILE_SIZE // 52 + 1)).encode()[:FILE_SIZE])
        plain, tls = free_ports(2)
        self.origin_port = {"plain": plain, "TLS": tls}
        # An entity as the web API answers it, filled up to 1 KB.
        json = '{"ContactId":1,"Name":"SuperOffice AS","Department":"Oslo","Associate":{"AssociateId":1,"Name":"SAL0"},"Text":"'
        json += "x" * (1022 - len(json)) + '"}'
        config = self.write("origin.conf", self.template("origin.conf", PLAIN=plain, TLS=tls, API=API, JSON=json))
        command = [self.tools["nginx"], "-e", self.path("origin.error.log"), "-p", self.directory, "-c", config]
        self.origin = Process(self, "origin", command, self.load_core).listening(tls)
        body = get(f"http://127.0.0.1:{plain}{PATH}")[2]
        if len(body) != 1024:
            raise Failed(f"the origin's answer is {len(body)} bytes, not 1024")
        self.direct = f"http://127.0.0.1:{plain}"

    # --- soproxy ---

    def start_sandbox(self):
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        binary = self.options.soproxy
        done = subprocess.run(
            [binary, "sandbox", "--write-config", self.path("demo"), "--address", address],
            capture_output=True, text=True, cwd=self.directory,
        )
        if done.returncode:
            raise Failed(f"{binary} sandbox --write-config: {done.stderr}")
        if not os.path.exists(self.path("demo/proxy.toml")):
            raise Failed(f"{binary} is no soproxy: sandbox --write-config writes nothing")
        self.login_url = f"http://{address}"
        command = [binary, "sandbox", "--only", "--address", address]
        self.sandbox = Process(self, "sandbox", command, self.load_core, cwd=self.directory).listening(port)
        with open(self.path("demo/secrets/client_secret")) as file:
            self.apptoken = file.read().strip()
        self.soproxy_version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()

    def soproxy_environment(self, kind, port, admin):
        scheme, host = ("http", "127.0.0.1") if kind == "plain" else ("https", "localhost")
        host = f"{host}:{self.origin_port[kind]}"
        environment = {
            "SOPROXY_SUPEROFFICE__LOGIN_URL": self.login_url,
            "SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS": host,
            "SOPROXY_SUPEROFFICE__CA_FILE": self.path("ca.crt"),
            "SOPROXY_TENANTS__CUST12345__API_URL": f"{scheme}://{host}/Cust12345/api",
            "SOPROXY_LISTEN__ADDRESS": f"127.0.0.1:{port}",
            "SOPROXY_ADMIN__ADDRESS": f"127.0.0.1:{admin}",
        }
        if self.workers:
            environment["SOPROXY_LISTEN__WORKERS"] = "1"
        return environment

    def start_soproxy(self, kind, binary=None, name="soproxy", wrapper=()):
        """soproxy with a ticket of the sandbox's, in front of the origin."""
        binary = binary or self.options.soproxy
        port, admin = free_ports(2)
        # What wraps it writes files of its own, and wants to look into it.
        free = ["--no-confine", "--allow-core"] if wrapper else []
        command = [*wrapper, binary, "run", *free, "--config", self.path("demo/proxy.toml")]
        process = Process(self, name, command, self.proxy_core, self.soproxy_environment(kind, port, admin), self.directory)
        try:
            process.wait_until(lambda: get(f"http://127.0.0.1:{admin}/readyz")[0] == 200, 60)
        except Failed:
            process.stop()
            if self.workers and "unknown key" in process.said():
                say(f"{binary} has no listen.workers: its worker threads are as many as it likes, all on one core")
                self.workers = False
                return self.start_soproxy(kind, binary, name, wrapper)
            raise
        proxy = Proxy(name, process, port)
        proxy.authorization = self.check(proxy, kind)
        return proxy

    def check(self, proxy, kind, authorization=None):
        """Fails unless the origin sees what it should; returns the ticket header that it saw."""
        wanted = 200
        status, _, body = get(proxy.url + API + "/echo")
        seen = body.decode().split("\n")
        expected = [API + "/echo", authorization, self.apptoken, *HEADERS.values(), "TLSv1.3" if kind == "TLS" else ""]
        if status != wanted or len(seen) < len(expected):
            raise Failed(f"{proxy.name} answers {status}: {body[:500]!r}\n{proxy.process.said()[-1000:]}")
        if not authorization:
            expected[1] = seen[1]
            if not seen[1].startswith("SOTicket 7T:"):
                raise Failed(f"{proxy.name} sends no ticket: {seen!r}")
        if seen[: len(expected)] != expected:
            raise Failed(f"the origin sees through {proxy.name}\n{seen!r}\ninstead of\n{expected!r}")
        status, headers, body = get(proxy.url + PATH)
        if status != wanted or len(body) != 1024 or "json" not in headers.get("Content-Type", ""):
            raise Failed(f"{proxy.name} answers {status}, {len(body)} bytes")
        return seen[1]

    # --- peers ---

    def peers(self):
        here = [name for name in ("nginx", "haproxy", "envoy", "caddy", "go") if self.tools[name]]
        return here + (["baseline"] if self.options.baseline else [])

    def version(self, name):
        arguments = {"nginx": ["-v"], "haproxy": ["-v"], "caddy": ["version"], "envoy": ["--version"], "wrk": ["-v"], "go": ["version"]}[name]
        done = subprocess.run([self.tools[name], *arguments], capture_output=True, text=True)
        for word in (done.stdout + done.stderr).replace("/", " ").split():
            number = word.removeprefix("v").removeprefix("go")
            if number[:1].isdigit() and "." in number:
                return f"{name} {number}"
        return name

    def start_peer(self, name, kind, authorization):
        """The peer on soproxy's core, setting the very headers that soproxy sets."""
        if name == "baseline":
            return self.start_soproxy(kind, self.options.baseline, "baseline")
        (port,) = free_ports(1)
        ca, tls = self.path("ca.crt"), kind == "TLS"
        values = {
            "PORT": port,
            "ORIGIN": self.origin_port[kind],
            "SCHEME": "https" if tls else "http",
            "AUTHORIZATION": authorization,
            "APPTOKEN": self.apptoken,
            "TLS_OPTIONS": "",
        }
        binary = self.tools[name]
        if name == "nginx":
            config = self.write("nginx.conf", self.template("nginx.conf", **values))
            command = [binary, "-e", self.path("nginx.error.log"), "-p", self.directory, "-c", config]
        elif name == "haproxy":
            if tls:
                values["TLS_OPTIONS"] = f"ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost alpn http/1.1"
            config = self.write("haproxy.cfg", self.template("haproxy.cfg", **values))
            command = [binary, "-db", "-f", config]
        elif name == "caddy":
            if tls:
                values["TLS_OPTIONS"] = f"tls_server_name localhost\n\t\t\ttls_trusted_ca_certs {ca}"
            config = self.write("Caddyfile", self.template("Caddyfile", **values))
            command = [binary, "run", "--adapter", "caddyfile", "--config", config]
        elif name == "envoy":
            if tls:
                values["TLS_OPTIONS"] = (
                    '"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": '
                    '"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "localhost", '
                    '"common_tls_context": {"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}, "validation_context": '
                    f'{{"trusted_ca": {{"filename": "{ca}"}}, "match_typed_subject_alt_names": '
                    '[{"san_type": "DNS", "matcher": {"exact": "localhost"}}]}}}},'
                )
            config = self.write("envoy.json", self.template("envoy.json", **values))
            command = [binary, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c", config]
        elif name == "go":
            binary = self.path("goproxy")
            if not os.path.exists(binary):
                self.build_go(binary)
            origin = f"{values['SCHEME']}://127.0.0.1:{values['ORIGIN']}"
            command = [binary, f"127.0.0.1:{port}", origin, ca, authorization, self.apptoken]
        else:
            raise Failed(f"no peer is called {name}")
        environment = {"HOME": self.directory, "XDG_DATA_HOME": self.directory, "XDG_CONFIG_HOME": self.directory}
        process = Process(self, name, command, self.proxy_core, environment, self.directory).listening(port)
        proxy = Proxy(name, process, port)
        self.check(proxy, kind, authorization)
        return proxy

    def build_go(self, binary):
        """Of the standard library alone, so nothing is fetched."""
        environment = {**os.environ, "GOCACHE": self.path("gocache"), "GO111MODULE": "off", "GOPROXY": "off"}
        command = [self.tools["go"], "build", "-o", binary, os.path.join(HERE, "peers/proxy.go")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"proxy.go does not compile: {done.stderr}")
