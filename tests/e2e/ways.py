"""Which way each of many flows takes: sends one datagram per flow from the client and hears at the backends who gets it.

    ways.py take PREFIX ADDRESS FLOWS OUT [KEY=VALUE…]   a line per flow in OUT: its number, the backend, the Ethernet address it is for
        port=N      destination port (7777)        dscp=N   code point
        source=A    source address                 from=N   the namespace that sends (client)
    ways.py shares OUT NAME=WEIGHT…                      fails unless each has its share; NAME is a backend or an Ethernet address
    ways.py moved BEFORE AFTER GONE                      fails unless exactly the flows of GONE take another way

A flow is one source port. Runs as root; namespaces are PREFIX-client, PREFIX-b1 and PREFIX-b2.
"""
import ctypes
import os
import select
import socket
import struct
import sys
import time

CLONE_NEWNET, ETH_P_ALL, PACKET_OUTGOING = 0x40000000, 3, 4
FIRST_PORT, MARK = 20000, b"way!"


def inside(name, make):
    """What `make` opens in a namespace; this process stays where it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{name}", "rb") as there:
        for at, do in ((there, make), (home, lambda: None)):
            if libc.setns(at.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made = do() or made
    return made


def listener():
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    heard.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    heard.bind(("eth0", ETH_P_ALL))
    return heard


def sender(family, source, number, dscp):
    out = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET:
        out.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    else:
        out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    out.bind((source, FIRST_PORT + number))
    return out


def drain(listeners, seen):
    """Takes what has been heard so far."""
    while True:
        ready, _, _ = select.select(list(listeners), [], [], 0)
        if not ready:
            return
        for heard in ready:
            frame, address = heard.recvfrom(2048)
            at = frame.rfind(MARK)
            if address[2] != PACKET_OUTGOING and at > 0:
                flow = struct.unpack_from("!H", frame, at + len(MARK))[0]
                way = (listeners[heard], ":".join(f"{octet:02x}" for octet in frame[:6]))
                if seen.setdefault(flow, way) != way:
                    sys.exit(f"flow {flow} takes two ways: {seen[flow]} and {way}")


def take(prefix, address, flows, out, *options):
    told = dict(option.split("=", 1) for option in options)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    port, dscp, source = int(told.get("port", 7777)), int(told.get("dscp", 0)), told.get("source", "")
    listeners = {inside(f"{prefix}-{host}", listener): host for host in ("b1", "b2")}
    seen = {}
    # Twice, to see that a flow stays.
    for _ in range(2):
        for number in range(int(flows)):
            # The socket must be made there; that it sends from here does not matter.
            one = inside(f"{prefix}-{told.get('from', 'client')}", lambda: sender(family, source, number, dscp))
            one.sendto(MARK + struct.pack("!H", number), (address, port))
            one.close()
            if number % 32 == 31:
                time.sleep(0.002)
                drain(listeners, seen)
    deadline = time.monotonic() + 2
    while len(seen) < int(flows) and time.monotonic() < deadline:
        time.sleep(0.02)
        drain(listeners, seen)
    with open(out, "w", encoding="ascii") as file:
        file.writelines(f"{flow} {' '.join(way)}\n" for flow, way in sorted(seen.items()))
    print(f"{len(seen)} of {flows} flows arrived")
    if len(seen) < int(flows):
        sys.exit(1)


def read(path):
    with open(path, encoding="ascii") as file:
        return {int(flow): tuple(way) for flow, *way in map(str.split, file)}


def shares(path, *wanted):
    ways = read(path)
    weights = {name: int(weight) for name, weight in (word.split("=") for word in wanted)}
    counts = {name: sum(name in way for way in ways.values()) for name in weights}
    print(counts)
    if sum(counts.values()) != len(ways):
        sys.exit(f"others got {len(ways) - sum(counts.values())} flows")
    for name, weight in weights.items():
        expected = len(ways) * weight / sum(weights.values())
        # Chance in the flows and in the buckets, each about the square root; five times that is no chance.
        if abs(counts[name] - expected) > max(5 * expected ** 0.5, 0.2 * expected):
            sys.exit(f"{name}: {counts[name]} flows, not about {expected:.0f}")


def moved(before, after, gone):
    before, after = read(before), read(after)
    changed = {flow for flow in before if after[flow] != before[flow]}
    had = {flow for flow, way in before.items() if gone in way}
    print(f"{len(changed)} of {len(before)} flows moved, {len(had)} were with {gone}")
    if changed != had or not had:
        sys.exit(f"{len(changed - had)} moved without need, {len(had - changed)} did not move")


if __name__ == "__main__":
    {"take": take, "shares": shares, "moved": moved}[sys.argv[1]](*sys.argv[2:])
