#!/usr/bin/env python3
"""Writes the first inputs of each corpus: what is valid, so that a fuzzer starts behind the first checks."""
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bad_input"))
from corpus import cases  # noqa: E402


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def piece(what, data, unit=1):
    data = data[: 255 * unit]
    data += bytes(-len(data) % unit)
    return bytes([what, len(data) // unit]) + data


def marked(dscp, v6):
    """UDP through the gateway that a rule of policy routing asks for."""
    udp = bytes.fromhex("c00000500010000000010203" "04050607")
    link = bytes.fromhex("020000000001" "020000000002" + ("86dd" if v6 else "0800"))
    if v6:
        head = (6 << 28 | dscp << 22).to_bytes(4, "big") + len(udp).to_bytes(2, "big") + bytes([17, 64])
        return link + head + bytes.fromhex("fd000001" + "00" * 10 + "0100" + "fd000002" + "00" * 11 + "11") + udp
    head = bytes([0x45, dscp << 2]) + (20 + len(udp)).to_bytes(2, "big") + bytes([0, 1, 0, 0, 64, 17, 0, 0])
    return link + head + bytes([10, 0, 1, 100, 10, 0, 2, 11]) + udp


def join(v6, kind, length, cuts):
    """Two packets for the gateway, cut into fragments: offset and length in units of eight bytes, and what is wrong."""
    return bytes([0x80 | kind << 1 | v6, length]) + b"".join(bytes(cut) for cut in cuts)


def main():
    ends = {}
    for case in cases():
        ends.setdefault(case.end, []).extend(case.frames)
    for end, frames in ends.items():
        picked = frames[:: max(1, len(frames) // 4)]
        for target in ("pipeline", "explain"):
            write(target, f"seed-{end}", b"".join(piece(8, frame, 8) for frame in picked))
    rules = b"".join(piece(8, marked(dscp, v6), 8) for dscp in (46, 8, 10, 0) for v6 in (False, True))
    for target in ("pipeline", "explain"):
        write(target, "seed-policy", rules)
    arp = [f[14:] for f in ends["arp_malformed"] + ends["answered"] if f[12:14] == b"\x08\x06"]
    write("neighbors", "seed-arp", b"".join(piece(4, message) for message in arp[-8:]))
    nd = [f[54:] for f in ends["icmp_malformed"] + ends["icmp_ignored"] if f[12:14] == b"\x86\xdd" and f[20] == 58 and f[54] in range(133, 138)]
    write("neighbors", "seed-nd", b"".join(piece(2 | 0x48, bytes([m[0] - 133]) + m[4:]) for m in nd[:12]))
    write("neighbors", "seed-checks", piece(2 | 0x20, b"\x02" + bytes(23)) + piece(4 | 8, bytes.fromhex("000108000604000102000000000200000000000000000000000000000a000101")))
    write("fragments", "seed-plain", bytes([0, 0, 0]) + bytes(200) + bytes([180]))
    write("fragments", "seed-options", bytes([3, 0x20, 9]) + bytes.fromhex("070704000000000194040000") + bytes(100) + bytes([200]))
    write("fragments", "seed-later", bytes([0, 0x20, 100]) + bytes(64) + bytes([200]))
    for number, kind in enumerate(["echo", "tcp", "udp"]):
        for v6 in (0, 1):
            # Two packets at a time: one in order, the other from its end, with a repetition.
            first = [(0, 40, 0), (40, 40, 0), (80, 255, 0)]
            second = [(100, 255, 1), (50, 50, 1), (50, 50, 1), (0, 50, 1)]
            mixed = [cut for pair in zip(first, second) for cut in pair] + second[3:]
            write("fragments", f"seed-join-{kind}{4 + 2 * v6}", join(v6, number, 70, mixed))
    overlap = [(0, 40, 0), (39, 255, 0), (40, 255, 0), (0, 40, 1), (40, 255, 1)]
    write("fragments", "seed-join-overlap", join(0, 0, 70, overlap))
    lies = [(0, 40, 4), (40, 40, 4), (0, 40, 8), (80, 255, 17), (0, 79, 1)]
    write("fragments", "seed-join-never", join(1, 2, 70, lies))
    write("segments", "seed-data", piece(0x18, bytes([0, 0, 0]) + b"hello") + piece(0x11, bytes([5, 5, 0])))
    write("segments", "seed-options", piece(0x10, bytes([0, 0, 3]) + bytes.fromhex("0101080a0000000100000000")) + piece(0x10, bytes([8, 0, 3]) + bytes.fromhex("0101050a0000000100000009") + b"late"))
    write("segments", "seed-reset", piece(0x98, bytes([0, 0, 0]) + b"x" * 100) + piece(4, bytes([100, 0, 0])))
    heads = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /x?y=z HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nConnection: close, x-a\r\nX-A: 1\r\n\r\nhello",
        "PUT http://b/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nExpect: 100-continue\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: c\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nForwarded: for=1.2.3.4\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\n\r\n",
    ]
    for number, head in enumerate(heads):
        write("heads", f"seed-{number}", head.encode())
    for number, body in enumerate(["5\r\nhello\r\n0\r\n\r\n", "a;x=\"y\\\"z\" ; b\r\n0123456789\r\n000\r\nX: 1\r\n\r\n", "ffffffffffffffff\r\n"]):
        write("chunked", f"seed-{number}", body.encode())
    route = bytes.fromhex("2c0000001800000000000000000000000210000000" + "fe00") + bytes.fromhex("00" * 6)
    message = bytes.fromhex("34000000180000000100000000000000" "02100000fe0300010000000008000100" "0a4d0000" "0800040001000000" "08000500" "0a000201")
    write("netlink", "seed-route", piece(0, message, 4))
    write("netlink", "seed-object", piece(0, bytes.fromhex("28000000680000000100000000000000" "0200000000000000" "0800010007000000" "0800050001000000"), 4) + piece(0, message, 4))
    write("netlink", "seed-short", piece(0, route, 4))
    root = HERE.parents[1]
    for path in [*sorted((root / "configs").glob("*.toml")), *sorted((root / "ctrl/tests/bad").glob("*.toml"))]:
        write("config", f"seed-{path.name}", path.read_bytes())


if __name__ == "__main__":
    main()
