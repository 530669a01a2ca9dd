#!/usr/bin/env python3
"""Holds what came through soproxy against what came directly: compare.py answers|requests DIRECTORY VERSION…

DIRECTORY holds NAME.head, .body and .code as curl left them (answers), or NAME.seen as the origin noted it (requests), for the
names "direct" and each VERSION. The differences, none or some lines, go to VERSION.difference.
"""

import difflib
import pathlib
import re
import sys

# What README documents, and what belongs to one connection alone.
ANSWER_SKIP = {"via", "x-request-id", "connection", "keep-alive", "transfer-encoding", "trailer"}
REQUEST_SKIP = {"via", "authorization", "so-apptoken", "host", "connection", "te"}
# curl's exit codes for an answer that broke off: 18 and 56 over HTTP/1, 92 over HTTP/2.
BROKEN_OFF = {"56": "18", "92": "18"}


def in_order(lines):
    """Names in alphabetical order; lines of one name keep theirs."""
    return sorted(lines, key=lambda line: line.split(":")[0].lower())


def answer(directory, name, version):
    """What a client may rely on, one thing per line. HTTP/2 has neither reasons nor upper case, HTTP/1.0 no trailers."""
    lines = (directory / f"{name}.head").read_text("latin-1").split("\n")
    while re.match(r"HTTP/\S+ 1\d\d", lines[0]):  # interim answers need not pass
        lines = lines[lines.index("") + 1 :]
    end = lines.index("") if "" in lines else len(lines)
    code = (directory / f"{name}.code").read_text().strip()
    status = lines[0].split(" ", 1)[-1]
    yield f"exit code {BROKEN_OFF.get(code, code)}"
    yield f"status {status[:3] if version == '2' else status}"
    trailers = [] if version == "1.0" else lines[end:]
    for kind, some in ("header", lines[1:end]), ("trailer", trailers):
        pairs = [line.partition(":")[::2] for line in some if line]
        kept = [f"{key.lower() if version == '2' else key}: {value.strip()}" for key, value in pairs if key.lower() not in ANSWER_SKIP]
        yield from (f"{kind} {line}" for line in in_order(kept))
    body = (directory / f"{name}.body").read_bytes()
    yield f"{len(body)} bytes of body, hash {hash(body)}"


def request(directory, name, version):
    """What the origin saw, one thing per line."""
    path = directory / f"{name}.seen"
    if not path.exists():
        return
    headers = []
    for line in path.read_text("latin-1").split("\n"):
        kind, _, rest = line.partition(": ")
        if kind == "header":
            key, _, value = rest.partition(":")
            if key.lower() not in REQUEST_SKIP:
                headers.append(f"{key.lower() if version == '2' else key}:{value}")
        elif kind != "connection":
            yield line
    yield from in_order(headers)


def main():
    mode, directory, versions = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    things = answer if mode == "answers" else request
    for version in versions:
        direct, through = list(things(directory, "direct", version)), list(things(directory, version, version))
        lines = [line for line in difflib.unified_diff(direct, through, "", "", "", n=0) if not re.match(r"---|\+\+\+|@@", line)]
        if lines and [line.lower() for line in direct] == [line.lower() for line in through]:
            lines.insert(0, "only the case of letters differs:")
        (directory / f"{version}.difference").write_text("\n".join(lines), "latin-1")


main()
