#!/usr/bin/env python3
"""Connections that are open during a reload: idle, in the middle of a request, in the middle of a response, a tunnel."""
import os
import subprocess
import sys

from case import connection, request, same

BINARY, STATE = sys.argv[1:3]


def reload():
    subprocess.run([BINARY, "reload", "--socket", f"{STATE}/admin.sock"], check=True, capture_output=True)


COUNT = 4 << 20
with connection() as idle, connection() as sending, connection(timeout=30) as receiving, connection() as tunnel:
    idle.send(request("GET", "/"))
    same("first request", idle.response().status, 200)
    sending.send(request("POST", "/lab/echo", fields=["Content-Length: 10"]) + b"01234")
    receiving.send(request("GET", f"/lab/bytes/{COUNT}"))
    head = receiving.until(b"\r\n\r\n")
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    tunnel.send(request("GET", "/lab/ws", fields=fields))
    same("tunnel", tunnel.response().status, 101)
    for _ in range(5):
        reload()
    idle.send(request("GET", "/"))
    same("second request", idle.response().status, 200)
    sending.send(b"56789")
    same("echo", sending.response().body, b"0123456789")
    same("rest of the response", len(receiving.exactly(COUNT)), COUNT)
    data = os.urandom(5000)
    tunnel.send(data)
    same("through the tunnel", tunnel.exactly(5000) == data, True)
