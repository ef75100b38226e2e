#!/usr/bin/env python3
"""An HTTP/1.1 origin that does what nginx will not: echo, trailers, stalls, upgrades, and answers cut short.

Each path is one behaviour; the scenarios name them. Runs in a backend's namespace: lab.py ADDRESS PORT
"""
import asyncio
import hashlib
import sys

ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def read_head(reader):
    """(method, target, {lower-case name: value}, raw bytes), or None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = raw.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    fields = {}
    for line in lines[1:]:
        if line:
            name, value = line.split(":", 1)
            fields[name.strip().lower()] = value.strip()
    return method, target, fields, raw


async def body_of(reader, fields):
    """The pieces of a request's body, as they come."""
    if "chunked" in fields.get("transfer-encoding", "").lower():
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            if size == 0:
                while (await reader.readline()) not in (b"\r\n", b""):
                    pass
                return
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    else:
        left = int(fields.get("content-length", 0))
        while left:
            piece = await reader.read(min(left, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece


def answer(body, status="200 OK", extra=()):
    head = [f"HTTP/1.1 {status}", "Content-Type: text/plain", f"Content-Length: {len(body)}", *extra, "", ""]
    return "\r\n".join(head).encode() + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


async def echo(reader, writer, fields):
    """The body, streamed back in chunks while it still arrives, its checksum in a trailer."""
    if fields.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n"
    writer.write(head.encode())
    checksum = hashlib.sha256()
    async for piece in body_of(reader, fields):
        checksum.update(piece)
        writer.write(chunk(piece))
        await writer.drain()
    writer.write(b"0\r\nX-Checksum: %s\r\n\r\n" % checksum.hexdigest().encode())


async def sum_up(reader, writer, fields):
    """Swallows the body and says how long it was and its checksum."""
    checksum, length = hashlib.sha256(), 0
    async for piece in body_of(reader, fields):
        checksum.update(piece)
        length += len(piece)
    writer.write(answer(f"{length} {checksum.hexdigest()}\n".encode()))


async def pattern(writer, count):
    """`count` predictable bytes with a Content-Length."""
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n".encode())
    block = bytes(range(256)) * 256
    while count:
        writer.write(block[: min(count, len(block))])
        count -= min(count, len(block))
        await writer.drain()


async def upgrade(reader, writer, fields):
    """A WebSocket handshake, then every byte back: what a tunnel must carry is bytes, not frames."""
    import base64

    key = fields.get("sec-websocket-key", "").encode()
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT_KEY).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def serve_one(reader, writer):
    """One request; False ends the connection."""
    head = await read_head(reader)
    if head is None:
        return False
    method, target, fields, raw = head
    path = target.split("?")[0].removeprefix("/lab")
    if path == "/echo":
        await echo(reader, writer, fields)
    elif path == "/sum":
        await sum_up(reader, writer, fields)
    elif path == "/ws" and fields.get("upgrade", "").lower() == "websocket":
        await upgrade(reader, writer, fields)
        return False
    elif path.startswith("/bytes/"):
        await pattern(writer, int(path.split("/")[2]))
    elif path == "/head":
        writer.write(answer(raw) if method != "HEAD" else answer(raw)[: -len(raw)])
    elif path == "/hops":
        writer.write(answer(b"hop\n", extra=["Connection: X-Private", "X-Private: mine", "Keep-Alive: timeout=5", "X-Public: yours"]))
    elif path == "/never":
        await asyncio.sleep(3600)
    elif path.startswith("/slow/"):
        await asyncio.sleep(int(path.split("/")[2]) / 1000)
        writer.write(answer(b"at last\n"))
    elif path == "/cut":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        await writer.drain()
        return False
    elif path == "/close":
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
        await writer.drain()
        return False
    elif path == "/garbage":
        writer.write(b"I am not HTTP at all\r\n\r\n")
        await writer.drain()
        return False
    elif path == "/both":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        await writer.drain()
        return False
    else:
        writer.write(answer(b"no such thing\n", "404 Not Found"))
    await writer.drain()
    return True


async def serve(reader, writer):
    try:
        while await serve_one(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def main(address, port):
    server = await asyncio.start_server(serve, address, port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
