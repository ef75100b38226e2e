#!/usr/bin/env python3
"""HTTP/1.1 through the gateway, byte by byte: framing, bodies, reuse, upgrades, limits, routes, error pages."""
import hashlib
import os
import socket
import threading
import time

from case import case, connection, fetch, holds, main, request, same


def chunked(data, size=3000):
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@case
def get_is_answered_by_a_backend():
    answer = fetch("GET", "/")
    same("status", answer.status, 200)
    holds(f"a backend's page, got {answer.body!r}", answer.body.startswith(b"This is backend "))


@case
def requests_are_spread_evenly():
    """Round robin: forty requests, twenty each, whatever connection they come on."""
    seen = [fetch("GET", "/").field("x-backend") for _ in range(40)]
    same("answers of each backend", sorted({who: seen.count(who) for who in seen}.items()), [("1", 20), ("2", 20)])


@case
def connection_is_kept_and_reused():
    with connection() as wire:
        for _ in range(200):
            wire.send(request("GET", "/1k"))
            answer = wire.response()
            same("status", answer.status, 200)
            same("length", len(answer.body), 1024)


@case
def pipelined_requests_are_answered_in_order():
    with connection() as wire:
        sizes = [1, 70000, 0, 333, 5, 120000, 17]
        wire.send(b"".join(request("GET", f"/lab/bytes/{size}") for size in sizes))
        same("lengths in order", [len(wire.response().body) for _ in sizes], sizes)


@case
def http_1_0_closes_and_is_not_chunked():
    with connection() as wire:
        wire.send("GET /lab/echo HTTP/1.0\r\nHost: x.example.com\r\n\r\n")
        answer = wire.response()
        same("status", answer.status, 200)
        holds("no transfer coding for HTTP/1.0", not answer.has("transfer-encoding"))
        same("nothing after the body", wire.rest(), b"")


@case
def connection_close_is_obeyed():
    with connection() as wire:
        wire.send(request("GET", "/", fields=["Connection: close"]))
        answer = wire.response()
        same("status", answer.status, 200)
        same("Connection", answer.field("connection").lower(), "close")
        same("nothing more", wire.rest(), b"")


@case
def half_closed_client_is_still_served():
    """A client that sends its request and FIN waits for the answer; it has not gone."""
    with connection() as wire:
        wire.send(request("GET", "/lab/slow/300"))
        wire.finish_sending()
        same("body", wire.response().body, b"at last\n")


@case
def head_has_no_body():
    with connection() as wire:
        wire.send(request("HEAD", "/1k") + request("GET", "/"))
        answer = wire.response("HEAD")
        same("status", answer.status, 200)
        same("length announced", answer.field("content-length"), "1024")
        same("the next response follows at once", wire.response().status, 200)


@case
def post_with_length():
    body = os.urandom(100_000)
    answer = fetch("POST", "/lab/sum", body=body)
    same("what the origin saw", answer.body.decode(), f"{len(body)} {hashlib.sha256(body).hexdigest()}\n")


@case
def post_chunked():
    body = os.urandom(50_000)
    answer = fetch("POST", "/lab/sum", fields=["Transfer-Encoding: chunked"], body=chunked(body))
    same("what the origin saw", answer.body.decode(), f"{len(body)} {hashlib.sha256(body).hexdigest()}\n")


@case
def chunk_extensions_and_tiny_chunks():
    raw = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in b"hello") + b"0\r\n\r\n"
    answer = fetch("POST", "/lab/echo", fields=["Transfer-Encoding: chunked"], body=raw)
    same("body", answer.body, b"hello")


@case
def trailers_arrive():
    answer = fetch("POST", "/lab/echo", fields=["TE: trailers"], body=b"some text")
    same("body", answer.body, b"some text")
    same("trailer", answer.trailers.get("x-checksum"), hashlib.sha256(b"some text").hexdigest())


@case
def expect_100_continue():
    """The body is sent only after the interim response."""
    with connection() as wire:
        body = b"y" * 20000
        head = request("POST", "/lab/echo", fields=["Expect: 100-continue", f"Content-Length: {len(body)}"])
        wire.send(head)
        same("interim status", wire.response(interim=True).status, 100)
        wire.send(body)
        answer = wire.response()
        same("status", answer.status, 200)
        same("body", answer.body, body)


@case
def large_download():
    count = 64 << 20
    with connection(timeout=60) as wire:
        wire.send(request("GET", f"/lab/bytes/{count}"))
        answer = wire.response()
    block = bytes(range(256)) * 256
    wanted = hashlib.sha256()
    for _ in range(count // len(block)):
        wanted.update(block)
    same("checksum", hashlib.sha256(answer.body).hexdigest(), wanted.hexdigest())


@case
def large_upload():
    body = os.urandom(1 << 20) * 32
    with connection(timeout=60) as wire:
        wire.send(request("PUT", "/lab/sum", body=body))
        answer = wire.response()
    same("what the origin saw", answer.body.decode(), f"{len(body)} {hashlib.sha256(body).hexdigest()}\n")


@case
def both_ways_at_once():
    """An echo of 16 MiB: sending and receiving go on together, or back-pressure deadlocks."""
    body = os.urandom(1 << 20) * 16
    with connection(timeout=60) as wire:
        sender = threading.Thread(target=wire.send, args=(request("POST", "/lab/echo", body=body),))
        sender.start()
        answer = wire.response()
        sender.join()
    same("checksum", hashlib.sha256(answer.body).hexdigest(), hashlib.sha256(body).hexdigest())


@case
def slow_reader_is_waited_for():
    """Back-pressure: a client that reads late gets every byte, and others are served meanwhile."""
    count = 8 << 20
    with connection(timeout=60) as wire:
        wire.plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(request("GET", f"/lab/bytes/{count}"))
        time.sleep(1.5)
        same("another client", fetch("GET", "/").status, 200)
        same("length", len(wire.response().body), count)


@case
def websocket_is_tunnelled():
    with connection() as wire:
        fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        wire.send(request("GET", "/lab/ws", fields=fields))
        answer = wire.response()
        same("status", answer.status, 101)
        same("accept", answer.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        same("upgrade", answer.field("upgrade").lower(), "websocket")
        for length in (1, 125, 4096, 100_000):
            data = os.urandom(length)
            wire.send(data)
            same(f"{length} bytes back", wire.exactly(length) == data, True)
        wire.finish_sending()
        same("the tunnel ends with it", wire.rest(), b"")


@case
def response_until_close():
    answer = fetch("GET", "/lab/close")
    same("body", answer.body, b"until the end")


@case
def hop_by_hop_fields_stay_on_their_hop():
    fields = ["Connection: X-Secret, keep-alive", "X-Secret: 1", "Keep-Alive: timeout=9", "TE: gzip",
              "Proxy-Connection: keep-alive", "X-Kept: yes"]
    head = fetch("GET", "/lab/head", fields=fields).body.decode().lower()
    for gone in ("x-secret", "keep-alive:", "proxy-connection", "te: gzip"):
        holds(f"{gone} was forwarded: {head}", gone not in head)
    holds(f"x-kept was not forwarded: {head}", "x-kept: yes" in head)
    answer = fetch("GET", "/lab/hops")
    holds("X-Private of the response was forwarded", not answer.has("x-private"))
    same("X-Public", answer.field("x-public"), "yours")


@case
def forwarded_fields_name_the_client():
    seen = fetch("GET", "/lab/head", host="lab.example.com").body.decode().lower()
    holds(f"X-Forwarded-For: {seen}", "x-forwarded-for: 10.0.1.100" in seen)
    holds(f"X-Forwarded-Proto: {seen}", "x-forwarded-proto: http" in seen)
    holds(f"X-Forwarded-Host: {seen}", "x-forwarded-host: lab.example.com" in seen)
    holds(f"Host is kept: {seen}", "\r\nhost: lab.example.com\r\n" in seen)


@case
def host_decides_the_route():
    holds("exact host", b"lab.example.com" in fetch("GET", "/head", host="lab.example.com").body)
    holds("host with port and capitals", b"HTTP/1.1" in fetch("GET", "/head", host="LAB.example.com:80").body)
    holds("wildcard", b"a.wild.example.com" in fetch("GET", "/head", host="a.wild.example.com").body)
    same("not the wildcard's own name", fetch("GET", "/1k", host="wild.example.com").status, 200)


@case
def path_prefix_matches_whole_segments():
    same("below the prefix", fetch("GET", "/lab/slow/1").body, b"at last\n")
    same("not a longer word", fetch("GET", "/laboratory").status, 404)
    holds("that was nginx", fetch("GET", "/laboratory").has("x-backend"))


@case
def ipv6_on_both_sides():
    with connection(address="fd00:1::1") as wire:
        wire.send(request("GET", "/seen", host="six.example.com"))
        body = wire.response().body.decode()
    holds(f"the client's address: {body}", "x_forwarded_for=fd00:1::100" in body)


def refused(raw, *statuses):
    """A request that must be answered with one of `statuses` and the connection closed."""
    with connection() as wire:
        wire.send(raw)
        answer = wire.response()
        holds(f"status {answer.status} for {raw[:80]!r}, wanted {statuses}", answer.status in statuses)
        same("the connection is closed", wire.rest(), b"")


@case
def ambiguous_requests_are_refused():
    """RFC 9112: nothing that two parsers could read differently goes further."""
    start = b"POST /lab/sum HTTP/1.1\r\nHost: a\r\n"
    refused(start + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
    refused(start + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400)
    refused(start + b"Content-Length: +5\r\n\r\nhello", 400)
    refused(start + b"Content-Length: 5, 6\r\n\r\nhello", 400)
    refused(start + b"Content-Length: 99999999999999999999999\r\n\r\n", 400, 413)
    refused(start + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, 501)
    refused(start + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400, 501)
    refused(start + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, 501)
    refused(start + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400)
    refused(b"POST /lab/sum HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)


@case
def malformed_heads_are_refused():
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", 400)
    refused(b"GET / HTTP/1.1\nHost: a\n\n", 400)
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400)
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400)
    refused(b"GET / HTTP/1.1\r\n\r\n", 400)
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)
    refused(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400)
    refused(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400)
    refused(b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400)
    refused(b"GET / HTTP/2.1\r\nHost: a\r\n\r\n", 400, 505)
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n", 400)
    refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n", 400)


@case
def malformed_chunks_end_the_connection():
    start = b"POST /lab/sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for bad in (b"zz\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloX0\r\n\r\n", b"fffffffffffffffff\r\n", b"-1\r\n"):
        with connection() as wire:
            wire.send(start + bad)
            text = wire.rest()
        holds(f"{bad!r} got {text[:60]!r}", text == b"" or b" 400 " in text.split(b"\r\n")[0])


@case
def oversized_heads_are_refused():
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40000 + b"\r\n\r\n", 431)
    many = b"".join(b"X-%d: y\r\n" % index for index in range(3000))
    refused(b"GET / HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n", 431)


@case
def broken_answers_become_502():
    same("not HTTP", fetch("GET", "/lab/garbage").status, 502)
    same("two framings", fetch("GET", "/lab/both").status, 502)


@case
def cut_answer_is_not_passed_off_as_whole():
    """A reset, or fewer bytes than announced, or (if nothing had been passed on yet) 502: each tells the client."""
    for _ in range(10):
        try:
            answer = fetch("GET", "/lab/cut")
        except (ConnectionResetError, AssertionError):
            continue
        same("status of a whole answer", answer.status, 502)


@case
def refused_backend_is_502_or_503():
    answer = fetch("GET", "/", host="refused.example.com")
    holds(f"status {answer.status}", answer.status in (502, 503))


@case
def silent_backend_is_504():
    begin = time.monotonic()
    same("status", fetch("GET", "/", host="silent.example.com").status, 504)
    holds("within the connect timeout", time.monotonic() - begin < 3)


@case
def request_deadline_is_504():
    begin = time.monotonic()
    same("status", fetch("GET", "/never", host="deadline.example.com").status, 504)
    took = time.monotonic() - begin
    holds(f"after 0.7 s, not {took:.2f}", 0.6 < took < 2)


@case
def connect_failure_is_retried_elsewhere():
    """One of two backends refuses every connection: no request may notice."""
    same("statuses", {fetch("GET", "/", host="half.example.com").status for _ in range(20)}, {200})


@case
def many_clients_at_once():
    """Three hundred connections, each with several requests in flight at the same time as the others'."""
    wires = [socket.create_connection(("10.0.1.1", 80), timeout=20) for _ in range(300)]
    for round_ in range(3):
        for wire in wires:
            wire.sendall(request("GET", f"/lab/bytes/{1000 + round_}") if round_ % 2 else request("GET", "/1k"))
        for wire in wires:
            held = b""
            while b"\r\n\r\n" not in held or len(held.split(b"\r\n\r\n", 1)[1]) < (1000 + round_ if round_ % 2 else 1024):
                piece = wire.recv(65536)
                holds("a connection ended early", piece)
                held += piece
            holds(f"status: {held[:30]!r}", held.startswith(b"HTTP/1.1 200"))
    for wire in wires:
        wire.close()


if __name__ == "__main__":
    main()
