"""VLAN devices in user space: a TAP per set of tags, whose frames go out of a device with the tags in front, and the other way.

    tags.py DEVICE NAME=TAGS…       TAGS: 10 (802.1Q), s10 (802.1ad), s100.20 or 100.20 (two)

For kernels without VLAN devices, and so that what is on the wire does not depend on their offloads.
"""

import fcntl
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 2, 0x1000, 0x4000
# Bytes of the virtio header in front of a frame.
VNET = 10
SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 263, 8, 4
UNFINISHED, VLAN_VALID, TPID_VALID = 0x08, 0x10, 0x40
CUSTOMER, SERVICE = 0x8100, 0x88A8


def tags_of(text):
    """The bytes between addresses and EtherType."""
    kind = SERVICE if text.startswith("s") else CUSTOMER
    first, *second = text.lstrip("s").split(".")
    tags = struct.pack("!HH", kind, int(first))
    return tags + b"".join(struct.pack("!HH", CUSTOMER, int(identifier)) for identifier in second)


def tap(name):
    device = open("/dev/net/tun", "r+b", buffering=0)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    return device


def received(wire):
    """A frame as it was on the wire, the kernel takes the outer tag out and tells it apart; and if its checksum is unfinished."""
    frame, auxiliary, _, address = wire.recvmsg(65536, socket.CMSG_SPACE(20))
    if address[2] == PACKET_OUTGOING:
        return b"", False
    for level, kind, data in auxiliary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, control, protocol = struct.unpack("IIIHHHH", data[:20])
            if status & VLAN_VALID:
                protocol = protocol if status & TPID_VALID else CUSTOMER
                frame = frame[:12] + struct.pack("!HH", protocol, control) + frame[12:]
            return frame, bool(status & UNFINISHED)
    return frame, False


def virtio(frame, unfinished):
    """The header that lets the kernel take an unfinished TCP or UDP checksum for good: the frame never was on a wire."""
    if not unfinished:
        return bytes(VNET)
    version, protocol = frame[12:14], frame[23] if frame[12:14] == b"\x08\x00" else frame[20]
    start = 34 if version == b"\x08\x00" else 54
    return struct.pack("=BBHHHH", 1, 0, 0, 0, start, 16 if protocol == 6 else 6)


def main():
    device, *wanted = sys.argv[1:]
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind((device, 3))
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    ends = [(tags_of(tags), tap(name)) for name, tags in (each.split("=") for each in wanted)]
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(CUSTOMER))
    out.bind((device, CUSTOMER))
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([wire, *(end for _, end in ends)], [], [])
        if wire in ready:
            frame, unfinished = received(wire)
            for tags, end in ends:
                # Not of a longer set of tags that begins alike.
                rest = frame[12 + len(tags):]
                if frame[12:12 + len(tags)] == tags and rest[:2] not in (b"\x81\x00", b"\x88\xa8"):
                    whole = frame[:12] + rest
                    try:
                        end.write(virtio(whole, unfinished) + whole)
                    except OSError:
                        pass  # Nobody has brought it up yet.
        for tags, end in ends:
            if end in ready:
                frame = end.read(65536)[VNET:]
                try:
                    out.send(frame[:12] + tags + frame[12:])
                except OSError as error:
                    print(error, len(frame), flush=True)


main()
