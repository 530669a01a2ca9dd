#!/usr/bin/env python3
"""An origin that says what it is told to, byte for byte: usage: origin.py PORT JOURNAL-DIRECTORY

Hand-written HTTP/1.1 on purpose: servers of the shelf tidy up what the judges want to see. A path ends in /BEHAVIOUR/TAG; what
arrived is written to JOURNAL-DIRECTORY/TAG as plain lines once the request has ended, one way or another.
"""

import asyncio
import gzip
import hashlib
import os
import random
import sys

JOURNAL = sys.argv[2]
FILE = random.Random(1).randbytes(100_000)
BIG = random.Random(2).randbytes(10 * 1024 * 1024)
TEXT = b"".join(b"line %d of a text that packs well\n" % i for i in range(5000))
PACKED = gzip.compress(TEXT, mtime=0)
DATE = "Date: Tue, 02 Jan 2024 03:04:05 GMT"


class BrokenOff(Exception):
    """The request ended before its body did."""


class Request:
    def __init__(self, connection, number, head):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.headers = [line.split(":", 1) for line in lines[1:] if line]
        self.connection, self.number = connection, number
        path = self.target.split("?")[0].split("/")
        self.behaviour, self.tag = (path + ["", ""])[4:6]
        self.hash, self.length, self.trailers, self.ended = hashlib.sha256(), 0, [], "no"
        self.noted, self.cancelled = False, None

    def get(self, name):
        return ", ".join(value.strip() for key, value in self.headers if key.lower() == name)

    def report(self):
        lines = [f"{self.method} {self.target} {self.version}", f"connection: {self.connection} request: {self.number}"]
        lines += [f"header: {name}: {value.strip()}" for name, value in self.headers]
        lines += [f"body-length: {self.length}", f"body-sha256: {self.hash.hexdigest()}", f"body-ended: {self.ended}"]
        lines += [f"trailer: {line}" for line in self.trailers]
        lines += [f"cancelled: {self.cancelled}"] if self.cancelled else []
        return "\n".join(lines).encode("latin-1") + b"\n"

    def journal(self):
        """Once: a check may have looked at it, and gone on to the next."""
        if self.noted:
            return
        self.noted = True
        path = os.path.join(JOURNAL, self.tag or "untagged")
        with open(path + ".new", "wb") as file:
            file.write(self.report())
        os.rename(path + ".new", path)


class Peer:
    count = 0

    def __init__(self, reader, writer):
        Peer.count += 1
        self.reader, self.writer, self.number, self.close = reader, writer, Peer.count, False

    async def serve(self):
        requests = 0
        try:
            while not self.close:
                head = await self.reader.readuntil(b"\r\n\r\n")
                requests += 1
                request = Request(self.number, requests, head[:-4])
                try:
                    await self.answer(request)
                finally:
                    request.journal()
        except (asyncio.IncompleteReadError, ConnectionError, BrokenOff):
            pass
        finally:
            self.writer.close()

    async def body(self, request):
        """Reads the request's body to its end."""
        if "100-continue" in request.get("expect").lower():
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if "chunked" in request.get("transfer-encoding"):
                while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    await self.take(request, size)
                    await self.reader.readexactly(2)
                while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                    request.trailers.append(line[:-2].decode("latin-1"))
            else:
                await self.take(request, int(request.get("content-length") or 0))
            request.ended = "yes"
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise BrokenOff from error

    async def take(self, request, size):
        while size:
            data = await self.reader.read(min(size, 65536))
            if not data:
                raise BrokenOff
            request.hash.update(data)
            request.length += len(data)
            size -= len(data)

    async def say(self, head, body=b"", version="HTTP/1.1"):
        """A status and header lines, and a body as it is."""
        text = "\r\n".join([f"{version} {head[0]}", DATE, *head[1:]])
        self.writer.write(text.encode("latin-1") + b"\r\n\r\n" + body)
        await self.writer.drain()

    async def answer(self, request):
        behaviour = getattr(self, "on_" + request.behaviour.replace("-", "_"), self.on_unknown)
        await behaviour(request)

    async def on_unknown(self, request):
        await self.body(request)
        await self.say(["404 Not Found", "Content-Length: 0"])

    async def plain(self, request, body, status="200 OK", headers=()):
        sent = b"" if request.method == "HEAD" else body
        await self.say([status, *headers, f"Content-Length: {len(body)}"], sent)

    async def on_echo(self, request):
        await self.body(request)
        request.journal()
        await self.plain(request, request.report(), headers=["Content-Type: text/plain"])

    async def on_file(self, request):
        """Conditional requests and ranges, as RFC 9110 has them, for one or several ranges."""
        await self.body(request)
        etag, modified = '"v1-abc"', "Mon, 01 Jan 2024 00:00:00 GMT"
        known = [f"ETag: {etag}", f"Last-Modified: {modified}", "Accept-Ranges: bytes", "Cache-Control: private, max-age=60"]
        if request.get("if-match") not in ("", etag):
            return await self.plain(request, b"", "412 Precondition Failed", known)
        if request.get("if-none-match") == etag or (not request.get("if-none-match") and request.get("if-modified-since") == modified):
            return await self.say(["304 Not Modified", *known])
        ranges = request.get("range").removeprefix("bytes=")
        if not ranges or request.get("if-range") not in ("", etag):
            return await self.plain(request, FILE, headers=[*known, "Content-Type: application/octet-stream"])
        spans = []
        for one in ranges.split(","):
            first, last = one.strip().split("-")
            if not first:
                first, last = len(FILE) - int(last), len(FILE) - 1
            spans.append((int(first), min(int(last or len(FILE)), len(FILE) - 1)))
        if any(first >= len(FILE) for first, _ in spans):
            return await self.plain(request, b"", "416 Range Not Satisfiable", [f"Content-Range: bytes */{len(FILE)}"])
        if len(spans) == 1:
            first, last = spans[0]
            line = f"Content-Range: bytes {first}-{last}/{len(FILE)}"
            return await self.plain(request, FILE[first : last + 1], "206 Partial Content", [*known, line])
        parts = [b"--xx\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (a, b, len(FILE)) + FILE[a : b + 1] + b"\r\n" for a, b in spans]
        await self.plain(request, b"".join(parts) + b"--xx--\r\n", "206 Partial Content", ["Content-Type: multipart/byteranges; boundary=xx"])

    async def on_big(self, request):
        await self.body(request)
        await self.plain(request, BIG, headers=["Content-Type: application/octet-stream"])

    async def on_packed(self, request):
        await self.body(request)
        if "gzip" in request.get("accept-encoding"):
            return await self.plain(request, PACKED, headers=["Content-Encoding: gzip", 'ETag: "t;gzip"', "Vary: Accept-Encoding"])
        await self.plain(request, TEXT, headers=['ETag: "t"', "Vary: Accept-Encoding"])

    async def on_chunked(self, request):
        """Chunks of all sizes, an extension, and trailers."""
        await self.body(request)
        await self.say(["200 OK", "Transfer-Encoding: chunked", "Trailer: X-Checksum, X-Again"])
        at, size = 0, 1
        while request.method != "HEAD" and at < len(FILE):
            part = FILE[at : at + size]
            extension = b";name=value" if size % 2 else b""
            self.writer.write(b"%x%s\r\n%s\r\n" % (len(part), extension, part))
            await self.writer.drain()
            at, size = at + size, size * 3
        if request.method != "HEAD":
            digest = hashlib.sha256(FILE).hexdigest().encode()
            self.writer.write(b"0\r\nX-Checksum: " + digest + b"\r\nX-Again: a\r\nX-Again: b\r\n\r\n")

    async def on_until_close(self, request):
        await self.body(request)
        self.close = True
        await self.say(["200 OK", "Content-Type: application/octet-stream", "Connection: close"], b"" if request.method == "HEAD" else FILE)

    async def on_http10(self, request):
        await self.body(request)
        self.close = True
        await self.say(["200 OK", "Content-Type: application/octet-stream"], FILE, "HTTP/1.0")

    async def on_headers(self, request):
        """Names in fragile case, the same name several times, values at the edges."""
        await self.body(request)
        lines = ["X-First: 1", "WWW-authenticate: Basic realm=\"a\"", "ETag: \"x\"", "x-lower: l", "X-UPPER: U", "X-Multi: one", "Link: <a>"]
        lines += ["X-Multi: two", "X-Empty:", "X-Latin: \xe9\xe5", "X-Utf8: \xc3\xa9", "X-MULTI: three", "Server: Microsoft-IIS/10.0"]
        lines += ["Set-Cookie: a=1; path=/", "Set-Cookie: b=2; HttpOnly", "P3P: CP=\"x\"", "X-Spaces:   in  side  ", "Content-MD5: zz=="]
        await self.plain(request, b"ok\n", headers=lines)

    async def on_many(self, request):
        await self.body(request)
        count = int(request.target.split("?")[1])
        await self.plain(request, b"ok\n", headers=[f"X-Line-{i}: {i}" for i in range(count)])

    async def on_long(self, request):
        await self.body(request)
        await self.plain(request, b"ok\n", headers=["X-Long: " + "v" * int(request.target.split("?")[1])])

    async def on_status(self, request):
        """?CODE+Reason+phrase"""
        await self.body(request)
        status = request.target.split("?")[1].replace("+", " ")
        if status[:3] in ("204", "304"):
            return await self.say([status, 'ETag: "s"'])
        await self.plain(request, b"body of " + status.encode() + b"\n", status, ["Location: /elsewhere"] if status[0] == "3" else [])

    async def on_no_date(self, request):
        await self.body(request)
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")

    async def on_interim(self, request):
        await self.body(request)
        self.writer.write(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await asyncio.sleep(0.1)
        await self.plain(request, b"after hints\n")

    async def on_slow(self, request):
        await self.body(request)
        await asyncio.sleep(float(request.target.split("?")[1]))
        await self.plain(request, b"slow but sure\n")

    async def on_drip(self, request):
        """A line, and then ?silent: nothing, or a line now and then, until the caller is gone."""
        await self.body(request)
        await self.say(["200 OK", "Transfer-Encoding: chunked"], b"6\r\nfirst\n\r\n")
        self.close = True
        gone = asyncio.ensure_future(self.reader.read(1))
        while not (await asyncio.wait([gone], timeout=0.1))[0]:
            if "?silent" not in request.target:
                self.writer.write(b"5\r\nmore\n\r\n")
        request.cancelled = "yes"

    async def on_early(self, request):
        """?STATUS: answers at once, and takes no notice of the body any more; the connection stays open, as some servers do."""
        await self.plain(request, b"enough\n", request.target.split("?")[1].replace("+", " "))
        await self.body(request)

    async def on_early_close(self, request):
        """The same, with Connection: close, and a lingering close as nginx and IIS do it."""
        await self.plain(request, b"enough\n", request.target.split("?")[1].replace("+", " "), ["Connection: close"])
        self.close = True
        self.writer.write_eof()
        await self.body(request)

    async def on_refuse(self, request):
        """Refuses before 100 Continue; a body that comes all the same is seen in the journal."""
        self.close = True
        await self.plain(request, b"too large\n", "413 Content Too Large", ["Connection: close"])
        self.writer.write_eof()
        request.headers = [line for line in request.headers if line[0].lower() != "expect"] + [["Had-Expect", " " + request.get("expect")]]
        await self.body(request)

    async def on_break(self, request):
        """?length, ?chunked or ?close: an answer that breaks off; the last one by a reset, as FIN would be its regular end."""
        await self.body(request)
        how = request.target.split("?")[1]
        self.close = True
        if how == "length":
            await self.say(["200 OK", "Content-Length: 1000"], b"x" * 100)
        elif how == "chunked":
            await self.say(["200 OK", "Transfer-Encoding: chunked"], b"64\r\n" + b"x" * 100 + b"\r\n")
        else:
            await self.say(["200 OK", "Connection: close"], b"x" * 100)
        # What is there must have gone before the end, or a reset might overtake it.
        await asyncio.sleep(0.2)
        if how == "close":
            import socket, struct
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()


async def main():
    async def connected(reader, writer):
        await Peer(reader, writer).serve()

    server = await asyncio.start_server(connected, "127.0.0.1", int(sys.argv[1]), limit=1 << 20)
    async with server:
        await server.serve_forever()


asyncio.run(main())
