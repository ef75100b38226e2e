#!/usr/bin/env python3
"""The ICMP errors a router owes (RFC 1812 §4.3, RFC 4443), by scapy from the client's namespace: what is told, by whom, in what form,
and when nothing is said. docs/operations.md has the table."""
import logging
import os
import select
import time

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import (  # noqa: E402
    ICMP, IP, UDP, Ether, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6ParamProblem,
    ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN, Raw, conf, get_if_hwaddr, getmacbyip,
)

from case import case, holds, main, same  # noqa: E402
from ways import PACKET_OUTGOING, inside, listener  # noqa: E402

conf.verb = 0
conf.iface = "eth0"
ME, ME6, GW, GW6 = "10.0.1.100", "fd00:1::100", "10.0.1.1", "fd00:1::1"
FRAME = Ether(dst=getmacbyip(GW), src=get_if_hwaddr("eth0"))
BODY = Raw(bytes(range(256)) * 8)


SOCKET = conf.L2socket(iface="eth0")
BACKENDS = {host: inside(f"{os.environ['PREFIX']}-{host}", listener) for host in ("b1", "b2")}


def heard(seconds, wanted):
    """The packets that come within a time and are `wanted`, one by one."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if not select.select([SOCKET], [], [], left)[0]:
            return
        packet = SOCKET.recv(65535)
        if packet is not None and wanted(packet):
            yield packet


def is_error(packet):
    """An ICMP error to us."""
    if ICMP in packet and packet[IP].dst == ME:
        return packet[ICMP].type not in (0, 8)
    return IPv6 in packet and packet[IPv6].dst == ME6 and packet[IPv6].nh == 58 and bytes(packet[IPv6])[40] < 128


def asked(packet, timeout=1.0):
    """The ICMP error about a packet; None if there is none."""
    list(heard(0.01, is_error))  # What was late is not about this one.
    SOCKET.send(packet if Ether in packet else FRAME / packet)
    return next(heard(timeout, is_error), None)


def udp(target, size=40, **fields):
    return IP(src=ME, dst=target, **fields) / UDP(sport=4000, dport=33434) / Raw(bytes(BODY)[:size])


def udp6(target, size=40, **fields):
    return IPv6(src=ME6, dst=target, **fields) / UDP(sport=4000, dport=33434) / Raw(bytes(BODY)[:size])


def error(packet, kind, code, source=GW, timeout=1.0):
    """The error has this type and code, this source, the precedence of network control, and quotes what fits 576 bytes."""
    answer = asked(packet, timeout)
    holds(f"no error of type {kind}", answer is not None and ICMP in answer)
    same("type and code", (answer[ICMP].type, answer[ICMP].code), (kind, code))
    same("source (RFC 1812 §4.3.2.4)", answer[IP].src, source)
    same("precedence 6 (RFC 1812 §4.3.2.5)", answer[IP].tos, 0xC0)
    sent = bytes(FRAME / packet)[14:]
    quoted = bytes(answer[ICMP])[8:]
    same("as much as fits 576 bytes (RFC 1812 §4.3.2.3)", len(quoted), min(len(sent), 548))
    same("what is quoted, but for TTL and checksum", quoted[:8] + quoted[12:], sent[:8] + sent[12 : len(quoted)])
    return answer[ICMP]


def error6(packet, layer, code, source=GW6, timeout=1.0):
    """The same for IPv6: what fits 1280 bytes."""
    answer = asked(packet, timeout)
    holds(f"no {layer.__name__}", answer is not None and layer in answer)
    same("code", answer[layer].code, code)
    same("source (RFC 4443 §2.2)", answer[IPv6].src, source)
    sent = bytes(FRAME / packet)[14:]
    quoted = bytes(answer[layer])[8:]
    same("as much as fits 1280 bytes (RFC 4443 §2.4)", len(quoted), min(len(sent), 1232))
    same("what is quoted, but for the hop limit", quoted[:7] + quoted[8:], sent[:7] + sent[8 : len(quoted)])
    return answer[layer]


def silence(what, packet, timeout=0.4):
    answer = asked(packet, timeout)
    holds(f"{what} was answered: {answer!r}", answer is None)


def arrived():
    """The backends that have heard one of our datagrams since this was last asked."""
    hosts = set()
    for host, ear in BACKENDS.items():
        while select.select([ear], [], [], 0)[0]:
            frame, address = ear.recvfrom(65535)
            if address[2] != PACKET_OUTGOING and bytes(BODY)[:40] in frame:
                hosts.add(host)
    return hosts


def goes_nowhere(what, packet):
    """Neither is it answered nor does it leave by another link."""
    arrived()
    silence(what, packet)
    hosts = arrived()
    holds(f"{what} was passed on to {hosts}", not hosts)


@case
def no_route_is_net_unreachable():
    error(udp("192.0.2.1"), 3, 0)
    error(udp("192.0.2.1", 1400), 3, 0)
    error6(udp6("2001:db8::1"), ICMPv6DestUnreach, 0)
    error6(udp6("2001:db8::1", 1400), ICMPv6DestUnreach, 0)


@case
def a_neighbour_that_does_not_answer_is_host_unreachable():
    error(udp("10.0.2.97"), 3, 1, timeout=6)
    error6(udp6("fd00:2::97"), ICMPv6DestUnreach, 3, timeout=6)


@case
def routes_say_unreachable_and_prohibited():
    error(udp("10.67.0.1"), 3, 1)
    error(udp("10.68.0.1"), 3, 13)
    error6(udp6("fd68::1"), ICMPv6DestUnreach, 1)
    silence("a blackhole", udp("10.66.0.1"))


@case
def the_hop_limit_ends_in_transit():
    for ttl in (0, 1):
        error(udp("10.0.2.11", ttl=ttl), 11, 0)
        error6(udp6("fd00:2::11", hlim=ttl), ICMPv6TimeExceeded, 0)
    error(udp("10.0.2.11", 1400, ttl=1), 11, 0)


@case
def nobody_serves_port_or_protocol():
    error(udp(GW), 3, 3)
    error(udp("10.0.2.1"), 3, 3, source="10.0.2.1")
    error(IP(src=ME, dst=GW, proto=253) / Raw(b"what is this" * 3), 3, 2)
    error6(udp6(GW6), ICMPv6DestUnreach, 4)
    error6(udp6("fd00:2::1"), ICMPv6DestUnreach, 4, source="fd00:2::1")
    problem = error6(IPv6(src=ME6, dst=GW6, nh=253) / Raw(b"what is this" * 3), ICMPv6ParamProblem, 1)
    same("points at the next header", problem.ptr, 6)


@case
def too_long_names_the_mtu():
    """By a port whose MTU is 1400."""
    told = error(udp("10.0.3.11", 1400, flags="DF"), 3, 4)
    same("next-hop MTU (RFC 1191 §4)", told.nexthopmtu, 1400)
    same("MTU", error6(udp6("fd00:3::11", 1400), ICMPv6PacketTooBig, 0).mtu, 1400)
    cut = asked(udp("10.0.3.11", 1400), 0.3)  # It arrives, and there nobody serves the port.
    holds(f"told about a packet that may be cut: {cut!r}", cut is None or (cut[IP].src, cut[ICMP].code) == ("10.0.3.11", 3))


@case
def a_header_that_cannot_be_read_is_a_parameter_problem():
    """RFC 1812 §4.3.3.5: the pointer is the octet that is wrong."""
    from scapy.all import IPOption

    packet = IP(src=ME, dst="10.0.2.11", options=[IPOption(b"\x44\x02\x05\x00")]) / UDP(dport=9) / Raw(b"x" * 20)
    answer = asked(packet)
    holds("no parameter problem", answer is not None and answer[ICMP].type == 12 and answer[ICMP].code == 0)
    holds("the pointer is among the options", 20 <= answer[ICMP].ptr < 24)


@case
def never_about_errors():
    for kind in (3, 4, 5, 11, 12):
        silence(f"ICMP {kind}", IP(src=ME, dst="10.0.2.11", ttl=1) / ICMP(type=kind) / Raw(bytes(udp("10.9.9.9"))))
    for kind in (1, 2, 3, 4, 100, 127, 137):
        message = Raw(bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + bytes(udp6("fd00:2::11")))
        silence(f"ICMPv6 {kind}", IPv6(src=ME6, dst="fd00:2::11", hlim=1, nh=58) / message)
        # RFC 4443 §2.4 (e.1) does not end at the first header.
        hidden = IPv6(src=ME6, dst="fd00:2::11", hlim=1) / IPv6ExtHdrDestOpt(nh=58, options=[PadN(optdata=b"abcd")])
        silence(f"ICMPv6 {kind} behind options", hidden / message)
    holds("a query is no error", asked(IP(src=ME, dst="10.0.2.11", ttl=1) / ICMP()) is not None)
    query = IPv6(src=ME6, dst="fd00:2::11", hlim=1) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"abcd")]) / ICMPv6EchoRequest()
    holds("a query behind options is none", asked(query) is not None)


@case
def never_about_later_fragments():
    silence("a later fragment", udp("10.0.2.11", ttl=1, frag=5))
    holds("the first one is", asked(udp("10.0.2.11", ttl=1, flags="MF")) is not None)
    later = IPv6(src=ME6, dst="fd00:2::11", hlim=1) / IPv6ExtHdrFragment(nh=58, offset=4, id=9) / Raw(b"x" * 32)
    silence("a later fragment of who knows what ICMPv6", later)


@case
def never_about_groups_or_from_nobody():
    """RFC 1812 §5.3.4, §5.3.5.2: nor is any of it passed on."""
    arrived()
    for target, backend in (("10.0.2.11", "b1"), ("10.0.3.11", "b2")):
        SOCKET.send(FRAME / udp(target))
        time.sleep(0.2)
        same("who hears a datagram to a host", arrived(), {backend})
    goes_nowhere("a group", udp("224.0.0.9"))
    goes_nowhere("a group", udp("239.1.2.3", ttl=9))
    goes_nowhere("a group", udp("239.1.2.3", ttl=1))
    goes_nowhere("all hosts", udp("255.255.255.255"))
    goes_nowhere("the link's broadcast address", udp("10.0.1.255"))
    for target in ("10.0.2.255", "10.0.3.255", "10.0.2.0"):
        goes_nowhere("another link's broadcast address", udp(target))
    for target in ("192.0.2.1", "10.0.2.11"):
        goes_nowhere("a frame to all", Ether(dst="ff:ff:ff:ff:ff:ff", src=get_if_hwaddr("eth0")) / udp(target))
        goes_nowhere("a frame to a group", Ether(dst="01:00:5e:00:00:01", src=get_if_hwaddr("eth0")) / udp(target))
    goes_nowhere("a group", udp6("ff0e::1:2"))
    for target in ("2001:db8::1", "fd00:2::11"):
        goes_nowhere("a frame to a group", Ether(dst="33:33:00:00:00:01", src=get_if_hwaddr("eth0")) / udp6(target))
    for source in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "10.0.1.255", GW):
        packet = udp("192.0.2.1")
        packet[IP].src = source
        SOCKET.send(FRAME / packet)
        about = list(heard(0.2, lambda got: ICMP in got and got[IP].src == GW and got[ICMP].type == 3))
        holds(f"an error to {source}: {about!r}", not about)


@case
def no_source_quench_and_no_redirect():
    """RFC 6633; and a router that sends no redirects forwards what came the long way (docs/operations.md)."""
    for _ in range(20):
        SOCKET.send(FRAME / udp("172.16.0.9"))  # Its next router is on the link it came from.
    for _ in range(200):
        SOCKET.send(FRAME / udp("10.0.2.11"))

    def unwanted(got):
        if ICMP in got and got[IP].dst == ME:
            return got[ICMP].type in (4, 5)
        return IPv6 in got and got[IPv6].nh == 58 and bytes(got[IPv6])[40] == 137

    told = list(heard(1.0, unwanted))
    holds(f"{told!r}", not told)


@case
def errors_are_limited_and_counted():
    """RFC 1812 §4.3.2.8: 50 in a second, 20 at once, as this scenario's file says."""
    time.sleep(1.2)
    list(heard(0.01, is_error))
    begun = time.monotonic()
    for _ in range(300):
        SOCKET.send(FRAME / udp("192.0.2.1"))
    took = time.monotonic() - begun
    told = len(list(heard(0.3, lambda got: is_error(got) and IP in got and got[IP].src == GW)))
    most = 20 + 50 * (took + 0.3) + 5
    holds(f"{told} errors in {took:.2f} s, at most {most:.0f}", 15 <= told <= most)
    with open(os.path.join(os.environ["STATE"], "told"), "w") as out:
        out.write(str(told))


if __name__ == "__main__":
    main()
