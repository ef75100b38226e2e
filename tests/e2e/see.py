"""Reads captures back, and compares what is explained with what happens.

see.py whole FILE PORTS         a capture has these interfaces, both directions, and statistics that add up
see.py comments FILE N COMMENT  at least N packets have this comment
see.py cut FILE SNAP SENT       packets are cut to SNAP bytes, and those that are missing are counted
see.py agree BINARY SOCKET      explains packets, sends them, and compares their ways; runs in the client's namespace
"""

import json
import struct
import subprocess
import sys
import time

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6


def options(data):
    found = {}
    while len(data) >= 4:
        code, length = struct.unpack_from("<HH", data)
        if code == 0:
            break
        found[code] = data[4 : 4 + length]
        data = data[4 + (length + 3) // 4 * 4 :]
    return found


class Capture:
    """A pcapng file, read by its definition and by nothing else."""

    def __init__(self, path):
        self.interfaces, self.packets, self.statistics = [], [], {}
        data = open(path, "rb").read()
        while data:
            kind, length = struct.unpack_from("<II", data)
            assert struct.unpack_from("<I", data, length - 4)[0] == length, "a block names its length twice"
            self.block(kind, data[8 : length - 4])
            data = data[length:]

    def block(self, kind, body):
        if kind == INTERFACE:
            found = options(body[8:])
            assert found[9] == b"\x09", "times are nanoseconds"
            self.interfaces.append(found[2].decode())
        elif kind == PACKET:
            interface, high, low, kept, length = struct.unpack_from("<IIIII", body)
            found = options(body[20 + (kept + 3) // 4 * 4 :])
            assert abs((high << 32 | low) / 1e9 - time.time()) < 600, "the time is now"
            packet = {"interface": self.interfaces[interface], "kept": kept, "length": length}
            packet["direction"] = struct.unpack("<I", found[2])[0] & 3
            packet["missed"] = struct.unpack("<Q", found[4])[0] if 4 in found else 0
            packet["comment"] = found.get(1, b"").decode()
            self.packets.append(packet)
        elif kind == STATISTICS:
            found = options(body[12:])
            self.statistics[struct.unpack_from("<I", body)[0]] = {
                name: struct.unpack("<Q", found[code])[0]
                for code, name in {4: "received", 6: "passed", 7: "lost", 8: "delivered"}.items()
            }


def whole(path, ports):
    capture = Capture(path)
    wanted = ports.split(",")
    assert capture.interfaces[: len(wanted)] == wanted, capture.interfaces
    assert {packet["direction"] for packet in capture.packets} == {1, 2}, "in and out"
    passed = sum(each["passed"] for each in capture.statistics.values())
    assert passed == len(capture.packets), (passed, len(capture.packets))
    assert len(capture.statistics) == len(capture.interfaces), "each interface has its statistics"
    lan = capture.statistics[0]
    assert lan["received"] >= 5 and lan["delivered"] == 10, lan


def comments(path, number, comment):
    found = [packet["comment"] for packet in Capture(path).packets]
    assert found.count(comment) >= int(number), found


def cut(path, snap, sent):
    capture = Capture(path)
    assert capture.packets and all(packet["kept"] == int(snap) for packet in capture.packets), capture.packets
    assert all(packet["length"] == 98 for packet in capture.packets), capture.packets
    counted = capture.statistics[0]
    assert counted["passed"] == int(sent), counted
    assert counted["lost"] + counted["delivered"] == int(sent), counted
    assert 0 < sum(packet["missed"] for packet in capture.packets) <= counted["lost"], counted


# Each case: name, arguments of `explain`, and how scapy sends the same packet.
def cases():
    lan = "10.0.1.100"
    far = "172.16.9.9"
    for name, proto, ports in [("udp", "udp", (1111, 53)), ("icmp", "icmp", None)]:
        yield f"{name} to a backend", lan, "10.0.2.11", proto, ports, {}
        yield f"{name} with its last hop", lan, "10.0.2.11", proto, ports, {"ttl": 1}
        yield f"{name} to a blackhole", lan, "10.66.1.1", proto, ports, {}
        yield f"{name} to the unreachable", lan, "10.67.1.1", proto, ports, {}
        yield f"{name} without a route", lan, "192.0.2.1", proto, ports, {}
        yield f"{name} to this host", lan, "10.0.1.1", proto, ports, {}
        yield f"{name} to this host on another link", lan, "10.0.3.1", proto, ports, {}
        yield f"{name} back to where it is from", lan, far, proto, ports, {}
        yield f"{name} from this host's address", "10.0.2.1", "10.0.2.11", proto, ports, {}
        yield f"{name} from nowhere", "0.0.0.0", "10.0.2.11", proto, ports, {}
        yield f"{name} from a group", "224.0.0.9", "10.0.2.11", proto, ports, {}
        yield f"{name} to a group", lan, "239.1.2.3", proto, ports, {}
        yield f"{name} to the network's broadcast address", lan, "10.0.2.255", proto, ports, {}
        yield f"{name} to another station", lan, "10.0.2.11", proto, ports, {"to_station": "02:00:00:00:00:77"}
    yield "tcp to a listener", lan, "10.0.1.1", "tcp", (40001, 80), {}
    yield "tcp to no listener", lan, "10.0.1.1", "tcp", (40002, 81), {}
    yield "tcp stray", lan, "10.0.1.1", "tcp", (40003, 80), {"tcp_flags": "ack"}
    yield "tcp reset", lan, "10.0.1.1", "tcp", (40004, 80), {"tcp_flags": "rst"}
    yield "tcp in transit", lan, "10.0.2.11", "tcp", (40005, 80), {"tcp_flags": "ack"}
    yield "a protocol of nobody's", lan, "10.0.1.1", "99", None, {}
    yield "udp over IPv6", "fd00:1::100", "fd00:2::11", "udp", (1111, 53), {}
    yield "udp over IPv6 with its last hop", "fd00:1::100", "fd00:2::11", "udp", (1111, 53), {"ttl": 1}
    yield "udp over IPv6 without a route", "fd00:1::100", "2001:db8::1", "udp", (1111, 53), {}
    yield "ping over IPv6 of this host", "fd00:1::100", "fd00:1::1", "icmp", None, {}
    yield "udp over IPv6 to this host", "fd00:1::100", "fd00:1::1", "udp", (1111, 53), {}
    yield "from a link-local address beyond its link", "fe80::100", "fd00:2::11", "udp", (1111, 53), {}
    yield "to the loopback address", "fd00:1::100", "::1", "udp", (1111, 53), {}


def built(own, station, source, destination, proto, ports, more):
    from scapy.all import ICMP, IP, TCP, UDP, Ether, ICMPv6EchoRequest, IPv6, Raw

    v6 = ":" in destination
    hops = int(more.get("ttl", 64))
    ip = IPv6(src=source, dst=destination, hlim=hops) if v6 else IP(src=source, dst=destination, ttl=hops, id=0)
    flags = {"ack": "A", "rst": "R"}.get(more.get("tcp_flags"), "S")
    transport = {
        "udp": lambda: UDP(sport=ports[0], dport=ports[1]),
        "tcp": lambda: TCP(sport=ports[0], dport=ports[1], flags=flags, seq=1),
        "icmp": lambda: ICMPv6EchoRequest() if v6 else ICMP(type=8, id=0, seq=0),
    }.get(proto)
    if transport is None:
        ip.proto = int(proto)
        return Ether(src=station, dst=more.get("to_station", own)) / ip
    to = more.get("to_station", own)
    if not v6 and destination.startswith("239."):
        to = "01:00:5e:" + ":".join(f"{int(octet):02x}" for octet in destination.split(".")[1:])
    return Ether(src=station, dst=to) / ip / transport()


def outcome(way):
    """What must agree: each stage's verdict, what was rewritten, the end, and what was made on its behalf."""
    end = {key: way["end"][key] for key in ("verdict", "port", "reason", "prefix", "next_hop", "listener")}
    steps = [(step["stage"], step["verdict"], step["changes"]) for step in way["steps"]]
    # TCP is asked what it would do, and does it only with what is real: what it answers is said in words.
    tcp = any(step["stage"] == "tcp" for step in way["steps"])
    made = [] if tcp else sorted(made["text"].split(",")[0] for made in way["made"])
    return {"end": end, "steps": steps, "made": made}


def agree(binary, socket):
    from scapy.all import sendp

    def run(*arguments, wait=True):
        command = [binary, *arguments, "--socket", socket, "--json"]
        if not wait:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    ports = run("show", "ports", "--port", "lan")
    own = ports["ports"][0]["mac"]
    station = open("/sys/class/net/eth0/address").read().strip()
    # So that neighbours are known, and neither the way there nor the way back begins with a question.
    for address in ["10.0.2.11", "fd00:2::11", "10.0.1.1", "fd00:1::1"]:
        subprocess.run(["ping", "-q", "-c1", "-W1", address], stdout=subprocess.DEVNULL, check=True)
    wrong = []
    number = 0
    for name, source, destination, proto, numbers, more in cases():
        number += 1
        arguments = ["--in", "lan", "--src", source, "--dst", destination, "--proto", proto, "--from-station", station]
        if numbers:
            arguments += ["--sport", str(numbers[0]), "--dport", str(numbers[1])]
        for key, value in more.items():
            arguments += ["--" + key.replace("_", "-"), str(value)]
        explained = run("explain", *arguments)["ways"][0]
        filter_ = f"src {source} and dst {destination} and ether src {station}"
        follower = run("trace", "--count", "1", filter_, wait=False)
        time.sleep(0.3)
        packet = built(own, station, source, destination, proto, numbers, more)
        sendp(packet, iface="eth0", verbose=False)
        try:
            output, errors = follower.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            follower.kill()
            wrong.append(f"{name}: nothing was followed")
            continue
        if not output:
            wrong.append(f"{name}: {errors}")
            continue
        happened = json.loads(output.splitlines()[0])
        if outcome(explained) != outcome(happened):
            wrong.append(f"{name}:\n  explained {outcome(explained)}\n  happened  {outcome(happened)}")
    print(f"{number} cases")
    assert number >= 20
    assert not wrong, "\n".join(wrong)


{"whole": whole, "comments": comments, "cut": cut, "agree": agree}[sys.argv[1]](*sys.argv[2:])
