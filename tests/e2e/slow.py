#!/usr/bin/env python3
"""Slow and silent clients on the impatient listener: each is cut at its own limit, and nobody else waits."""
import socket
import time

from case import GATEWAY, Wire, case, connection, holds, main, request, same

PORT = 8081


def cut_after(wire, earliest, latest):
    begin = time.monotonic()
    try:
        text = wire.rest()
    except ConnectionResetError:
        text = b""
    took = time.monotonic() - begin
    holds(f"cut after {took:.1f} s, wanted {earliest} to {latest}", earliest <= took <= latest)
    return text


@case
def head_byte_by_byte_is_408():
    with connection(PORT, timeout=10) as wire:
        begin = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ":
            wire.send(bytes([byte]))
            time.sleep(0.05)
        text = cut_after(wire, 0, 4)
        holds(f"{time.monotonic() - begin:.1f} s in all", 1.5 < time.monotonic() - begin < 4)
        holds(f"408 or just closed, got {text[:40]!r}", text == b"" or b" 408 " in text.split(b"\r\n")[0])


@case
def idle_connection_is_closed():
    with connection(PORT, timeout=10) as wire:
        wire.send(request("GET", "/"))
        same("status", wire.response().status, 200)
        same("nothing but the end", cut_after(wire, 3, 7), b"")


@case
def silent_connection_is_closed():
    with connection(PORT, timeout=12) as wire:
        cut_after(wire, 1, 6)


@case
def request_over_the_limit_is_504():
    with connection(PORT, timeout=12) as wire:
        begin = time.monotonic()
        wire.send(request("GET", "/lab/never"))
        same("status", wire.response().status, 504)
        took = time.monotonic() - begin
        holds(f"after about three seconds, not {took:.1f}", 2.5 < took < 5)


@case
def smaller_head_limit_is_the_listeners_own():
    with connection(PORT) as wire:
        wire.send(request("GET", "/", fields=["X: " + "y" * 6000]))
        same("status", wire.response().status, 431)


@case
def two_hundred_slow_clients_hold_nobody_up():
    slow = [Wire(socket.create_connection((GATEWAY, PORT), timeout=10)) for _ in range(200)]
    for wire in slow:
        wire.send("GET / HTTP/1.1\r\nHost: a\r\nX:")
    begin = time.monotonic()
    for _ in range(50):
        with connection() as wire:
            wire.send(request("GET", "/"))
            same("status", wire.response().status, 200)
    holds("others are served at once", time.monotonic() - begin < 1.5)
    for wire in slow:
        cut_after(wire, 0, 4)
        wire.plain.close()


if __name__ == "__main__":
    main()
