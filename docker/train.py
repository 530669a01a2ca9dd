#!/usr/bin/env python3
"""Ordinary work for an instrumented soproxy, so that a profile-guided build knows what is hot.

    docker/train.py SOPROXY

One tenant's web API is the sandbox itself, over plain HTTP; the other's is a small TLS server here. Requests of 1 KB answers,
some uploads, some larger downloads, over connections that are kept, for about twenty seconds. Needs python3 and openssl.
"""

import http.client
import http.server
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

JSON = b'{"ContactId":1,"Text":"' + b"x" * 999 + b'"}'
HEADERS = {
    "Accept": "application/json",
    "Accept-Language": "en",
    "Accept-Encoding": "gzip",
    "User-Agent": "Legacy/1.0 (Windows NT)",
    "X-Requested-With": "training",
}


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = JSON * 256 if "large" in self.path else JSON
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tls_origin(directory):
    key, crt = os.path.join(directory, "origin.key"), os.path.join(directory, "origin.crt")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=training", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", crt],
        check=True,
        capture_output=True,
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], crt


def load(port, tenant, until, counts):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    done = 0
    while time.monotonic() < until:
        done += 1
        if done % 50 == 0:
            connection.request("PUT", f"/{tenant}/api/v1/_sandbox/echo", b"y" * 40_000, HEADERS)
        elif done % 51 == 0:
            connection.request("GET", f"/{tenant}/api/v1/large", headers=HEADERS)
        else:
            connection.request("GET", f"/{tenant}/api/v1/Contact/1?$select=name", headers=HEADERS)
        connection.getresponse().read()
    counts.append(done)


def main():
    binary = os.path.abspath(sys.argv[1])
    running = []
    with tempfile.TemporaryDirectory() as directory:
        try:
            tls, crt = tls_origin(directory)
            sandbox, listen, admin = free_port(), free_port(), free_port()
            address = f"127.0.0.1:{sandbox}"
            write = [binary, "sandbox", "--write-config", directory, "--address", address]
            subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
            running.append(subprocess.Popen([binary, "sandbox", "--only", "--address", address], stdout=subprocess.DEVNULL))
            environment = {
                **os.environ,
                "SOPROXY_LISTEN__ADDRESS": f"127.0.0.1:{listen}",
                "SOPROXY_ADMIN__ADDRESS": f"127.0.0.1:{admin}",
                "SOPROXY_SUPEROFFICE__CA_FILE": crt,
                "SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS": f"{address},localhost:{tls}",
                "SOPROXY_TENANTS__CUST12345__API_URL": f"https://localhost:{tls}/Cust12345/api",
            }
            with open(os.path.join(directory, "log"), "w", encoding="utf-8") as log:
                # What is learnt is written to a file at exit, which a confined process cannot.
                run = [binary, "run", "--no-confine", "--config", os.path.join(directory, "proxy.toml")]
                running.append(subprocess.Popen(run, env=environment, stderr=log))
            deadline = time.monotonic() + 60
            while subprocess.run([binary, "healthcheck", "--ready", "--address", f"127.0.0.1:{admin}"], capture_output=True).returncode:
                if time.monotonic() > deadline:
                    sys.exit("the instrumented soproxy did not become ready")
                time.sleep(0.2)
            counts, until = [], time.monotonic() + 20
            tenants = ["Cust12345", "Cust12345", "Cust54321"]
            threads = [threading.Thread(target=load, args=(listen, tenant, until, counts)) for tenant in tenants * 3]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if len(counts) < len(threads) or sum(counts) < 1000:
                sys.exit(f"the training did not work: {counts}")
            print(f"trained with {sum(counts)} requests")
        finally:
            # The profile is written at exit.
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
            for process in reversed(running):
                process.wait(60)


main()
