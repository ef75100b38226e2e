#!/usr/bin/env python3
"""A TCP echo server, and the clients that try it: what comes back, what is refused, what a flood does."""
import argparse
import socket
import sys
import threading


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve_one(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def serve(address, port):
    server = socket.socket(family(address))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen()
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve_one, args=(connection,), daemon=True).start()


def ask(address, port, size):
    sent = bytes(i * 7 % 256 for i in range(size))
    received = bytearray()
    with socket.create_connection((address, port), timeout=10) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        while data := connection.recv(65536):
            received += data
        sender.join()
    if received != sent:
        sys.exit(f"{len(received)} bytes of {size} came back, or others")


def refused(address, port, kind):
    sock = socket.socket(family(address), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(3)
    try:
        sock.connect((address, port))
        if kind == "udp":
            sock.send(b"?")
            sock.recv(10)
        print("answered")
    except ConnectionRefusedError:
        print("refused")


def flood(address, port, count):
    # Not connected: the kernel would stop at the first refusal.
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    for _ in range(count):
        sock.sendto(b"flood", (address, port))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--ask", type=int)
    parser.add_argument("--refused", choices=["tcp", "udp"])
    parser.add_argument("--flood", type=int)
    options = parser.parse_args()
    if options.ask is not None:
        ask(options.address, options.port, options.ask)
    elif options.refused:
        refused(options.address, options.port, options.refused)
    elif options.flood:
        flood(options.address, options.port, options.flood)
    else:
        serve(options.address, options.port)


if __name__ == "__main__":
    main()
