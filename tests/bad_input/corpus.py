#!/usr/bin/env python3
"""Frames that a router must not trust, each with the end it must come to.

    corpus.py            writes corpus.txt beside this file, which dataplane/tests/bad_input.rs runs through a worker
    corpus.py --check    fails when corpus.txt is not what would be written

tests/e2e/bad_input.py sends the same frames by cable. The network is that of scripts/lib/topology.sh: the sender is
10.0.1.100 and fd00:1::100 on the gateway's first port, which is 10.0.1.1 and fd00:1::1; 10.0.2.0/24 and fd00:2::/64 are
behind its second. The route to 10.66.0.0/16 is a blackhole, 10.67.0.0/16 is unreachable.

A case is a name, an end, an answer and frames. The end is the label of a DropReason, or `forwarded`, `answered`, `used`
(by this host: TCP and neighbour messages that are understood). The answer is what the sender of a lost frame gets: an
ICMP error as FAMILY:TYPE/CODE, with @POINTER behind a parameter problem, `rst`, or `-` for silence.
"""
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from scapy.all import (
    ARP, ICMP, IP, TCP, UDP, Ether, HBHOptUnknown, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, Raw, fragment, in6_getnsma, in6_getnsmac, in6_chksum, checksum, inet_pton,
)
import socket

ME, ME6 = "10.0.1.100", "fd00:1::100"
GW, GW6 = "10.0.1.1", "fd00:1::1"
FAR, FAR6 = "10.0.2.11", "fd00:2::11"
TEXT = Path(__file__).with_name("corpus.txt")


class Case(NamedTuple):
    """One sentence about what comes in, and what becomes of it."""

    name: str
    end: str
    answer: str
    frames: list


def cases(gateway="02:00:00:00:00:01", me="02:00:00:00:00:02"):
    """All of them, as frames from `me` to `gateway`."""
    made = []
    link = Ether(src=me, dst=gateway)

    def case(name, end, *packets, answer="-"):
        frames = [bytes(p) if isinstance(p, (bytes, Ether)) else bytes(ethernet(link, p)) for p in packets]
        made.append(Case(name, end, answer, frames))

    def cut(name, end, packet, lengths):
        whole = packet if isinstance(packet, bytes) else bytes(packet)
        case(f"{name} cut to {lengths.start} to {lengths.stop - 1} bytes", end, *(whole[:n] for n in lengths))

    link_cases(case, cut, link, gateway, me)
    arp_cases(case, cut, gateway, me)
    ipv4_cases(case, cut, link)
    address_cases(case, gateway, me)
    option_cases(case)
    fragment_cases(case)
    icmp_cases(case)
    tcp_cases(case)
    ipv6_cases(case, cut, link, gateway, me)
    extension_cases(case)
    discovery_cases(case, gateway, me)
    return made


def ethernet(link, packet):
    """In a frame; one that scapy has not made is IPv4."""
    return (link.copy() if not isinstance(packet, Raw) else Ether(src=link.src, dst=link.dst, type=0x0800)) / packet


def udp(src=ME, dst=FAR, **fields):
    return IP(src=src, dst=dst, **fields) / UDP(sport=1000, dport=33434) / Raw(b"0123456789abcdef")


def udp6(src=ME6, dst=FAR6, **fields):
    return IPv6(src=src, dst=dst, **fields) / UDP(sport=1000, dport=33434) / Raw(b"0123456789abcdef")


def link_cases(case, cut, link, gateway, me):
    cut("a frame", "l2_truncated", link / udp(), range(1, 14))
    case("802.3 with LLC", "l2_unknown_type", struct.pack("!6s6sH", mac(gateway), mac(me), 60) + b"\x42\x42\x03" + bytes(57))
    case("an EtherType nobody here speaks", "l2_unknown_type", Ether(src=me, dst=gateway, type=0x88B5) / Raw(bytes(46)))
    case("source is a group", "l2_bad_source", Ether(src="01:00:5e:00:00:01", dst=gateway) / udp())
    case("source is the broadcast address", "l2_bad_source", Ether(src="ff:ff:ff:ff:ff:ff", dst=gateway) / udp())
    case("source is nobody", "l2_bad_source", Ether(src="00:00:00:00:00:00", dst=gateway) / udp())
    case("unicast to another station", "l2_wrong_address", Ether(src=me, dst="02:de:ad:be:ef:01") / udp())
    case("IPv4 unicast by link broadcast", "not_forwardable", Ether(src=me, dst="ff:ff:ff:ff:ff:ff") / udp())
    case("IPv6 unicast by link multicast", "not_forwardable", Ether(src=me, dst="33:33:00:00:00:01") / udp6())
    case("the EtherType says IPv6, the packet is IPv4", "ip_truncated", Ether(src=me, dst=gateway, type=0x86DD) / Raw(bytes(udp())[:39]))
    case("the EtherType says IPv4, the packet is IPv6", "ip_bad_header", Ether(src=me, dst=gateway, type=0x0800) / Raw(bytes(udp6())))


def arp_cases(case, cut, gateway, me):
    def arp(source=me, to="ff:ff:ff:ff:ff:ff", **fields):
        base = dict(op=1, hwsrc=me, psrc=ME, hwdst="00:00:00:00:00:00", pdst=GW)
        return Ether(src=source, dst=to) / ARP(**{**base, **fields})

    case("a whole request is answered", "answered", arp())
    cut("a request", "arp_malformed", arp(), range(14, 42))
    case("hardware type is not Ethernet", "arp_malformed", arp(hwtype=6))
    case("protocol is not IPv4", "arp_malformed", arp(ptype=0x86DD))
    case("hardware address of 8 bytes", "arp_malformed", arp(hwlen=8))
    case("protocol address of 16 bytes", "arp_malformed", arp(plen=16))
    case("operation 0", "arp_malformed", arp(op=0))
    case("reverse ARP", "arp_malformed", arp(op=3))
    case("sender's hardware address is a group", "arp_malformed", arp(hwsrc="01:00:5e:00:00:01"))
    case("sender's hardware address is nobody", "arp_malformed", arp(hwsrc="00:00:00:00:00:00"))
    case("sender's address is a group", "arp_malformed", arp(psrc="224.0.0.1"))
    case("sender's address is the broadcast address", "arp_malformed", arp(psrc="255.255.255.255"))
    case("a request for somebody else", "arp_ignored", arp(psrc="10.0.1.66", pdst="10.0.1.77"))
    case("an answer nobody asked for", "arp_ignored", arp(op=2, psrc="10.0.1.66", pdst=GW, to=gateway, hwdst=gateway))
    case("our own hardware address comes back", "arp_ignored", arp(hwsrc=gateway, psrc=GW))
    case("somebody claims our address", "address_conflict", arp(psrc=GW, pdst=GW))


def ipv4_cases(case, cut, link):
    whole = bytes(link / udp())
    cut("an IPv4 packet", "ip_truncated", whole, range(14, len(whole)))
    case("a whole packet", "forwarded", udp())
    for version in (0, 5, 6, 15):
        case(f"version {version}", "ip_bad_header", udp(version=version))
    for words in (0, 4):
        case(f"a header of {words} words", "ip_bad_header", udp(ihl=words))
    case("a header longer than the packet", "ip_bad_header", udp(ihl=15))
    case("total length shorter than the header", "ip_bad_header", udp(len=19))
    case("total length 0", "ip_bad_header", udp(len=0))
    case("total length longer than the frame", "ip_truncated", udp(len=4000), udp(len=65535))
    case("wrong header checksum", "ipv4_bad_checksum", udp(chksum=0x1234), udp(chksum=0), udp(chksum=0xFFFF))
    case("TTL 0", "ttl_exceeded", udp(ttl=0), answer="icmp:11/0")
    case("TTL 1", "ttl_exceeded", udp(ttl=1), answer="icmp:11/0")
    case("TTL 1 in an ICMP error", "ttl_exceeded", IP(src=ME, dst=FAR, ttl=1) / ICMP(type=3, code=3) / udp())
    case("a blackhole", "blackhole", udp(dst="10.66.1.1"))
    case("an unreachable route", "no_route", udp(dst="10.67.1.1"), answer="icmp:3/1")
    case("no route", "no_route", udp(dst="192.0.2.1"), answer="icmp:3/0")
    case("a way back by the same interface until its TTL ends", "forwarded", udp(dst=ME))
    case("documentation prefixes are no martians", "forwarded", udp(src="198.51.100.7"))


def address_cases(case, gateway, me):
    for source in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"):
        case(f"from {source}", "ip_martian", udp(src=source), udp(src=source, dst=GW))
    for target in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1", "255.255.255.254"):
        case(f"to {target}", "ip_martian", udp(dst=target))
    case("from the broadcast address of the link", "ip_martian", udp(src="10.0.1.255"), udp(src="10.0.1.0"))
    case("from the broadcast address of another link", "ip_martian", udp(src="10.0.2.255"))
    case("from one of our addresses", "ip_own_source", udp(src=GW), udp(src="10.0.2.1"))
    case("LAND: from us to us", "ip_own_source", IP(src=GW, dst=GW) / TCP(sport=80, dport=80, flags="S"))
    case("from us to all", "ip_own_source", udp(src=GW, dst="255.255.255.255"))
    case("from a link-local address through us", "not_forwardable", udp(src="169.254.7.7"))
    case("to a link-local address through us", "not_forwardable", udp(dst="169.254.7.7"))
    case("169.253 and 169.255 are addresses like others", "forwarded", udp(src="169.253.255.255"), udp(src="169.255.0.0"))
    case("multicast", "not_forwardable", Ether(src=me, dst="01:00:5e:01:02:03") / udp(dst="239.1.2.3"))
    case("link-scope multicast", "not_forwardable", Ether(src=me, dst="01:00:5e:00:00:05") / udp(dst="224.0.0.5"))
    case("directed broadcast to another link", "no_listener", udp(dst="10.0.2.255"))
    case("broadcast to a port nobody serves", "no_listener", Ether(src=me, dst="ff:ff:ff:ff:ff:ff") / udp(dst="255.255.255.255"))
    case("a group's address with our hardware address", "not_forwardable", udp(dst="239.1.2.3"))


def options(data, dst=FAR, src=ME):
    """A packet with these options as they are: scapy would mend them."""
    data += bytes(-len(data) % 4)
    body = bytes(UDP(sport=1000, dport=33434, chksum=0) / Raw(b"options"))
    header = bytearray(bytes(IP(src=src, dst=dst, proto=17, ihl=5 + len(data) // 4, len=20 + len(data) + len(body), chksum=0)))
    header[10:12] = struct.pack("!H", checksum(bytes(header) + data))
    return Raw(bytes(header) + data + body)


def option_cases(case):
    way = bytes([10, 0, 3, 11])
    case("loose source route", "ip_source_route", options(b"\x83\x07\x04" + way), options(b"\x83\x07\x04" + way, GW))
    case("strict source route", "ip_source_route", options(b"\x89\x07\x04" + way), options(b"\x89\x07\x04" + way, GW))
    case("source route that is used up", "ip_source_route", options(b"\x83\x07\x08" + way, GW))
    case("source route behind padding", "ip_source_route", options(b"\x01\x01\x83\x07\x04" + way))
    case("source route whose pointer is in its header", "ip_bad_option", options(b"\x83\x07\x03" + way), answer="icmp:12/0@22")
    case("option of length 0", "ip_bad_option", options(b"\x07\x00\x04\x00"), answer="icmp:12/0@21")
    case("option of length 1", "ip_bad_option", options(b"\x07\x01\x04\x00"), answer="icmp:12/0@21")
    case("option longer than the header", "ip_bad_option", options(b"\x07\x0b\x04\x00"), answer="icmp:12/0@21")
    case("option without a length", "ip_bad_option", options(b"\x01\x01\x01\x07"), answer="icmp:12/0@23")
    case("record route too short for its pointer", "ip_bad_option", options(b"\x07\x02\x00\x00"), answer="icmp:12/0@21")
    case("timestamp whose pointer is in its header", "ip_bad_option", options(b"\x44\x04\x04\x00"), answer="icmp:12/0@22")
    case("router alert of a wrong length", "ip_bad_option", options(b"\x94\x03\x00\x00"), answer="icmp:12/0@21")
    case("malformed options to us", "ip_bad_option", options(b"\x07\x00\x04\x00", GW), answer="icmp:12/0@21")
    case("malformed options from the link's broadcast address", "ip_martian", options(b"\x07\x00\x04\x00", src="10.0.1.255"))
    case("record route", "forwarded", options(b"\x07\x07\x04" + bytes(4)))
    case("router alert", "forwarded", options(b"\x94\x04\x00\x00"))
    case("an unknown option", "forwarded", options(b"\x9e\x04\x00\x00"))


def piece(offset, payload, more=True, protocol=17, dst=FAR, number=77, **fields):
    return IP(src=ME, dst=dst, id=number, flags="MF" if more else 0, frag=offset, proto=protocol, **fields) / Raw(payload)


def fragment_cases(case):
    case("overlapping fragments pass a router, which puts nothing together", "forwarded", piece(0, b"a" * 64), piece(4, b"b" * 64, more=False))
    case("overlapping fragments to us (RFC 1858)", "fragment_overlap", piece(0, b"a" * 64, dst=GW), piece(4, b"b" * 64, more=False, dst=GW))
    case("the same of several fragments twice to us, and one that contradicts it", "fragment_overlap", *(piece(0, part * 64, dst=GW, number=78) for part in (b"a", b"a", b"b")))
    case("fragments of a ping to all", "fragment_for_host", *fragment(IP(src=ME, dst="10.0.1.255") / ICMP() / Raw(b"p" * 2000), 1000))
    case("fragments of a ping with a wrong checksum", "icmp_malformed", *fragment(IP(src=ME, dst=GW, id=2) / ICMP(chksum=0x1234) / Raw(b"p" * 2000), 1000))
    case("fragments of a whole ping to us", "answered", *fragment(IP(src=ME, dst=GW) / ICMP() / Raw(b"p" * 2000), 1000))
    case("the ping of death: an end beyond 65535", "bad_fragment", piece(8189, b"x" * 64, more=False), piece(8191, b"x" * 8, more=False, dst=GW))
    case("a piece in the middle that leaves a gap", "bad_fragment", piece(1, b"x" * 13), piece(0, b"x" * 65, dst=GW))
    case("an empty piece", "bad_fragment", piece(0, b""), piece(8, b"", more=False))
    case("a TCP header cut in two (RFC 1858)", "bad_fragment", piece(0, b"x" * 16, protocol=6), piece(0, b"x" * 8, protocol=6))
    case("a second piece over the TCP flags (RFC 1858, RFC 3128)", "bad_fragment", piece(1, b"x" * 32, protocol=6), piece(2, b"x" * 32, protocol=6, more=False))
    case("a last piece at offset 0 is a whole packet", "forwarded", IP(src=ME, dst=FAR, frag=0) / UDP(dport=33434) / Raw(b"x"))
    case("TTL 1 in a later piece is passed over in silence", "ttl_exceeded", piece(8, b"x" * 64, more=False, ttl=1))
    case("no route for a later piece, in silence", "no_route", piece(8, b"x" * 64, more=False, dst="192.0.2.1"))
    case("the bit that RFC 791 reserves", "forwarded", IP(src=ME, dst=FAR, flags="evil") / UDP(dport=33434) / Raw(b"x"))


def icmp_cases(case):
    ask = IP(src=ME, dst=GW) / ICMP(id=1, seq=1) / Raw(b"ping")
    case("a ping", "answered", ask)
    case("ICMP with a wrong checksum", "icmp_malformed", IP(src=ME, dst=GW) / ICMP(id=1, chksum=0x1234))
    case("ICMP of less than 8 bytes", "icmp_malformed", *(IP(src=ME, dst=GW, proto=1) / Raw(bytes(ICMP())[:n]) for n in range(8)))
    case("a ping to all", "icmp_ignored", IP(src=ME, dst="10.0.1.255") / ICMP(), IP(src=ME, dst="255.255.255.255") / ICMP())
    case("a redirect", "icmp_ignored", IP(src=ME, dst=GW) / ICMP(type=5, code=1, gw="10.0.1.66") / udp(src=GW))
    case("an error that quotes nothing of ours", "icmp_ignored", IP(src=ME, dst=GW) / ICMP(type=3, code=1) / udp(src="192.0.2.9"))
    case("an error that quotes no whole header", "icmp_ignored", IP(src=ME, dst=GW) / ICMP(type=3, code=4) / Raw(bytes(udp(src=GW))[:12]))
    case("a type that does not exist", "icmp_ignored", IP(src=ME, dst=GW) / ICMP(type=200))
    case("address mask and timestamp requests", "icmp_ignored", IP(src=ME, dst=GW) / ICMP(type=17), IP(src=ME, dst=GW) / ICMP(type=13, ts_ori=1, ts_rx=0, ts_tx=0))
    case("an unknown protocol", "no_listener", IP(src=ME, dst=GW, proto=253) / Raw(bytes(20)), answer="icmp:3/2")
    case("a UDP port nobody serves", "no_listener", udp(dst=GW), answer="icmp:3/3")
    case("UDP shorter than its header", "no_listener", IP(src=ME, dst=GW, proto=17) / Raw(bytes(4)), answer="icmp:3/3")


def tcp_cases(case):
    def tcp(dst=GW, **fields):
        return IP(src=ME, dst=dst) / TCP(**{**dict(sport=4000, dport=80, flags="S", seq=1), **fields})

    whole = bytes(tcp())
    case("TCP cut off", "tcp_malformed", *(IP(src=ME, dst=GW, proto=6) / Raw(whole[20 : 20 + n]) for n in range(20)))
    case("a TCP header of 16 bytes", "tcp_malformed", tcp(dataofs=4))
    case("a TCP header longer than the packet", "tcp_malformed", tcp(dataofs=15))
    case("wrong TCP checksum", "tcp_bad_checksum", tcp(chksum=0x1234))
    case("SYN and FIN", "tcp_malformed", tcp(flags="SF"), tcp(flags="SFPU"))
    case("SYN and RST", "tcp_malformed", tcp(flags="SR"), tcp(flags="FSRPAU"))
    case("port 0", "tcp_malformed", tcp(sport=0), tcp(dport=0))
    case("no flags at all", "tcp_no_connection", tcp(flags=""))
    case("RST for no connection", "tcp_no_connection", tcp(flags="R"))
    case("an ACK of something never sent, to no listener", "tcp_no_connection", tcp(dport=4444, flags="A", ack=7), answer="rst")
    case("SYN to all", "no_listener", tcp(dst="10.0.1.255"))


def ipv6_cases(case, cut, link, gateway, me):
    whole = bytes(link / udp6())
    cut("an IPv6 packet", "ip_truncated", whole, range(14, len(whole)))
    case("a whole IPv6 packet", "forwarded", udp6())
    for version in (0, 4, 7):
        case(f"IPv6 with version {version}", "ip_bad_header", udp6(version=version))
    case("payload length longer than the frame", "ip_truncated", udp6(plen=1000), udp6(plen=65535))
    case("hop limit 0", "ttl_exceeded", udp6(hlim=0), answer="icmp6:3/0")
    case("hop limit 1", "ttl_exceeded", udp6(hlim=1), answer="icmp6:3/0")
    case("no IPv6 route", "no_route", udp6(dst="2001:db8::1"), answer="icmp6:1/0")
    case("from ::", "ip_martian", udp6(src="::"), udp6(src="::", dst=GW6))
    case("from ::1", "ip_martian", udp6(src="::1"), udp6(src="::1", dst=GW6))
    case("to :: and ::1", "ip_martian", udp6(dst="::"), udp6(dst="::1"))
    case("from an IPv4 address in disguise", "ip_martian", udp6(src="::ffff:10.0.1.100"))
    case("to an IPv4 address in disguise", "ip_martian", udp6(dst="::ffff:10.0.2.11"))
    case("from a group", "ip_martian", udp6(src="ff02::1"), udp6(src="ff0e::7", dst=GW6))
    case("from one of our IPv6 addresses", "ip_own_source", udp6(src=GW6), udp6(src="fd00:2::1"))
    case("LAND over IPv6", "ip_own_source", IPv6(src=GW6, dst=GW6) / TCP(sport=80, dport=80, flags="S"))
    case("from a link-local address through us", "not_forwardable", udp6(src="fe80::100"), answer="icmp6:1/2")
    case("to a link-local address that is not ours", "not_forwardable", udp6(dst="fe80::7777"))
    case("IPv6 multicast", "not_forwardable", Ether(src=me, dst="33:33:00:00:00:07") / udp6(dst="ff0e::7"))
    case("interface-local multicast of a group that is not ours", "not_forwardable", Ether(src=me, dst="33:33:00:00:00:07") / udp6(dst="ff01::7"))
    case("IPv6 documentation prefix is no martian", "forwarded", udp6(src="2001:db8::7"))
    case("ICMPv6 with a wrong checksum", "icmp_malformed", IPv6(src=ME6, dst=GW6) / ICMPv6EchoRequest(cksum=0x1234))
    case("ICMPv6 of less than 8 bytes", "icmp_malformed", *(raw_icmp6(b"\x80\x00\x00\x00\x00\x01\x00"[:n]) for n in range(1, 8)))
    case("an ICMPv6 type that does not exist", "icmp_ignored", raw_icmp6(bytes([200, 0, 0, 0, 0, 0, 0, 0])))
    case("an ICMPv6 redirect", "icmp_ignored", raw_icmp6(bytes([137]) + bytes(39), hlim=255))
    case("an unknown next header", "no_listener", IPv6(src=ME6, dst=GW6, nh=253) / Raw(bytes(20)), answer="icmp6:4/1@6")
    case("a UDP port nobody serves over IPv6", "no_listener", udp6(dst=GW6), answer="icmp6:1/4")
    case("nothing next", "used", IPv6(src=ME6, dst=GW6, nh=59) / Raw(b"ignored"))


def raw_icmp6(message, src=ME6, dst=GW6, **fields):
    packet = IPv6(src=src, dst=dst, nh=58, **fields)
    if len(message) >= 4:
        packet.plen = len(message)
        packet.payload = Raw(message)
        total = in6_chksum(58, packet, message[:2] + b"\0\0" + message[4:])
        message = message[:2] + struct.pack("!H", total) + message[4:]
    packet.remove_payload()
    return packet / Raw(message)


def extension_cases(case):
    end = UDP(sport=1000, dport=33434) / Raw(b"behind")
    base, far = IPv6(src=ME6, dst=GW6), IPv6(src=ME6, dst=FAR6)

    def option(kind, header=IPv6ExtHdrDestOpt):
        return header(options=[HBHOptUnknown(otype=kind, optlen=2, optdata=b"ab"), PadN(optdata=b"")])

    for header, name in ((IPv6ExtHdrHopByHop, "hop-by-hop"), (IPv6ExtHdrDestOpt, "destination")):
        case(f"unknown {name} option, action skip", "no_listener", base / option(0x1E, header) / end, answer="icmp6:1/4")
        case(f"unknown {name} option, action discard", "ipv6_bad_extension", base / option(0x5E, header) / end)
        case(f"unknown {name} option, action report", "ipv6_bad_extension", base / option(0x9E, header) / end, answer="icmp6:4/2@42")
        case(f"unknown {name} option, action report to unicast only", "ipv6_bad_extension", base / option(0xDE, header) / end, answer="icmp6:4/2@42")
    case("options in transit are the destination's to judge", "forwarded", far / option(0xDE) / end)
    case("hop-by-hop options in transit are passed over (RFC 8200 §4.3)", "forwarded", far / option(0x9E, IPv6ExtHdrHopByHop) / end)
    case("hop-by-hop behind another header", "ipv6_bad_extension", base / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / end, answer="icmp6:4/1@40")
    case("hop-by-hop twice", "ipv6_bad_extension", base / IPv6ExtHdrHopByHop() / IPv6ExtHdrHopByHop() / end, answer="icmp6:4/1@40")
    case("type 0 routing header to us (RFC 5095)", "ipv6_bad_extension", base / IPv6ExtHdrRouting(addresses=[FAR6]) / end, answer="icmp6:4/0@42")
    case("type 0 routing header that bounces", "ipv6_bad_extension", base / IPv6ExtHdrRouting(addresses=[ME6, GW6] * 10) / end, answer="icmp6:4/0@42")
    case("type 0 routing header in transit is the destination's to refuse", "forwarded", far / IPv6ExtHdrRouting(addresses=[ME6]) / end)
    case("unknown routing header with segments left", "ipv6_bad_extension", base / IPv6ExtHdrRouting(type=77, addresses=[FAR6]) / end, answer="icmp6:4/0@42")
    case("routing header that is used up", "no_listener", base / IPv6ExtHdrRouting(segleft=0, addresses=[FAR6]) / end, answer="icmp6:1/4")
    case("a header that is cut off", "ipv6_bad_extension", *(IPv6(src=ME6, dst=GW6, nh=0) / Raw(b"\x11\x01\x01\x0c" + bytes(n)) for n in range(0, 12)))
    case("an option that runs over its header", "ipv6_bad_extension", IPv6(src=ME6, dst=GW6, nh=60) / Raw(b"\x11\x00\x01\x09" + bytes(12)), answer="icmp6:4/0@41")
    case("more headers than anybody needs", "ipv6_bad_extension", base / chain(20) / end)
    case("two IPv6 fragments to us that overlap (RFC 5722)", "fragment_overlap", base / IPv6ExtHdrFragment(m=1, id=1) / Raw(bytes(64)), base / IPv6ExtHdrFragment(offset=4, id=1) / Raw(bytes(64)))
    case("overlapping IPv6 fragments to us, and one that comes later", "fragment_overlap", *(base / IPv6ExtHdrFragment(m=1, offset=o, id=2) / Raw(bytes(64)) for o in (0, 4, 0)))
    case("the first fragment without its transport header (RFC 7112)", "ipv6_bad_extension", base / IPv6ExtHdrFragment(m=1, id=3, nh=60) / Raw(b"\x11\x04" + bytes(6)))
    case("IPv6 fragments in transit", "forwarded", far / IPv6ExtHdrFragment(m=1, id=4) / Raw(bytes(64)), far / IPv6ExtHdrFragment(offset=4, id=4) / Raw(bytes(64)))
    case("an atomic fragment is a whole packet (RFC 6946)", "no_listener", base / IPv6ExtHdrFragment(id=5) / end, answer="icmp6:1/4")
    case("an IPv6 fragment of a length that leaves a gap", "bad_fragment", base / IPv6ExtHdrFragment(m=1, id=7, nh=17) / Raw(bytes(61)), answer="icmp6:4/0@4")
    case("IPv6 fragments beyond 65535 bytes", "bad_fragment", base / IPv6ExtHdrFragment(offset=8191, id=8, nh=17) / Raw(bytes(16)), answer="icmp6:4/0@42")
    case("the first IPv6 fragment with half a transport header (RFC 7112)", "bad_fragment", base / IPv6ExtHdrFragment(m=1, id=9, nh=6) / Raw(bytes(16)), answer="icmp6:4/3@0")
    case("a jumbo payload in a small frame", "ipv6_bad_extension", jumbo())


def chain(count):
    headers = IPv6ExtHdrDestOpt()
    for _ in range(count - 1):
        headers = headers / IPv6ExtHdrDestOpt()
    return headers


def jumbo():
    """RFC 2675: payload length 0 and an option that says the real one, which no link here can carry."""
    return IPv6(src=ME6, dst=GW6, nh=0, plen=0) / Raw(b"\x11\x00\xc2\x04\x00\x01\x00\x00" + bytes(64))


def discovery_cases(case, gateway, me):
    group, group_mac = solicited(GW6)

    def ns(src=ME6, dst=group, to=group_mac, target=GW6, options=ICMPv6NDOptSrcLLAddr(lladdr=me), hlim=255, **fields):
        packet = Ether(src=me, dst=to) / IPv6(src=src, dst=dst, hlim=hlim) / ICMPv6ND_NS(tgt=target, **fields)
        return packet if options is None else packet / options

    def na(src=ME6, dst=GW6, to=gateway, target=ME6, hlim=255, lladdr=me, **fields):
        fields = {**dict(R=0, S=0, O=1), **fields}
        return Ether(src=me, dst=to) / IPv6(src=src, dst=dst, hlim=hlim) / ICMPv6ND_NA(tgt=target, **fields) / ICMPv6NDOptDstLLAddr(lladdr=lladdr)

    case("a solicitation", "answered", ns())
    case("a solicitation from afar: hop limit 254", "icmp_malformed", ns(hlim=254), ns(hlim=1), ns(hlim=0))
    case("a solicitation of code 1", "icmp_malformed", ns(code=1))
    case("a solicitation with a wrong checksum", "icmp_malformed", ns(cksum=0x1234))
    case("a solicitation for a group", "icmp_malformed", ns(target="ff02::1"))
    case("a solicitation that is cut off", "icmp_malformed", *(raw_nd(135, n, gateway, me) for n in range(4, 20)))
    case("an option of length 0", "icmp_malformed", ns(options=Raw(bytes([1, 0]) + mac(me))))
    case("an option longer than the message", "icmp_malformed", ns(options=Raw(bytes([1, 2]) + mac(me))))
    case("an option of one byte", "icmp_malformed", ns(options=Raw(b"\x01")))
    case("a link-layer address that is a group", "icmp_malformed", ns(options=ICMPv6NDOptSrcLLAddr(lladdr="33:33:00:00:00:01")))
    case("a link-layer address that is nobody's", "icmp_malformed", ns(options=ICMPv6NDOptSrcLLAddr(lladdr="00:00:00:00:00:00")))
    case("a duplicate check that says its address", "icmp_malformed", ns(src="::"))
    case("a duplicate check by unicast", "ip_martian", ns(src="::", dst=GW6, to=gateway, options=None))
    case("a solicitation from a group", "ip_martian", ns(src="ff02::1"))
    case("a solicitation for somebody else in our group", "icmp_ignored", ns(target="fd00:99::1"))
    whole, in_fragments = bytes(bytes_of(ns(dst=GW6, to=gateway))), Ether(src=me, dst=gateway) / IPv6(src=ME6, dst=GW6, hlim=255)
    case("a solicitation in fragments (RFC 6980)", "icmp_malformed", in_fragments / IPv6ExtHdrFragment(m=1, id=6, nh=58) / Raw(whole[:16]), in_fragments / IPv6ExtHdrFragment(offset=2, id=6, nh=58) / Raw(whole[16:]))
    case("a solicitation in one fragment (RFC 6980)", "icmp_malformed", Ether(src=me, dst=gateway) / IPv6(src=ME6, dst=GW6, hlim=255) / IPv6ExtHdrFragment(id=6, nh=58) / bytes_of(ns(dst=GW6, to=gateway)))
    case("an advertisement to all that claims to be asked for", "icmp_malformed", na(dst="ff02::1", to="33:33:00:00:00:01", S=1))
    case("an advertisement nobody asked for", "icmp_ignored", na(target="fd00:1::77"))
    case("an advertisement from afar", "icmp_malformed", na(hlim=64))
    case("an advertisement for a group", "icmp_malformed", na(target="ff02::1"))
    case("an advertisement whose address is a group's", "icmp_malformed", na(lladdr="33:33:00:00:00:01"))
    case("somebody advertises our address", "address_conflict", na(target=GW6, dst="ff02::1", to="33:33:00:00:00:01"))
    case("a router solicitation from nobody that says its address", "icmp_malformed", Ether(src=me, dst="33:33:00:00:00:02") / IPv6(src="::", dst="ff02::2", hlim=255) / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=me))
    case("a router solicitation from afar", "icmp_malformed", Ether(src=me, dst="33:33:00:00:00:02") / IPv6(src=ME6, dst="ff02::2", hlim=64) / ICMPv6ND_RS())
    case("a router solicitation with an option of length 0", "icmp_malformed", Ether(src=me, dst="33:33:00:00:00:02") / IPv6(src=ME6, dst="ff02::2", hlim=255) / ICMPv6ND_RS() / Raw(bytes(8)))


def solicited(address):
    group = in6_getnsma(inet_pton(socket.AF_INET6, address))
    return socket.inet_ntop(socket.AF_INET6, group), in6_getnsmac(group)


def raw_nd(kind, length, gateway, me):
    message = (bytes([kind]) + bytes(7) + socket.inet_pton(socket.AF_INET6, GW6))[:length]
    return Ether(src=me, dst=gateway) / raw_icmp6(message, hlim=255)


def bytes_of(frame):
    """The ICMPv6 message in a frame without extension headers."""
    return Raw(bytes(frame)[54:])


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def text():
    head = "# Made by corpus.py, which says what it means. name | end | answer | frames\n"
    return head + "".join(f"{c.name} | {c.end} | {c.answer} | {' '.join(f.hex() for f in c.frames)}\n" for c in cases())


def main():
    if sys.argv[1:] == ["--check"]:
        if TEXT.read_text() != text():
            sys.exit(f"{TEXT} is not what {sys.argv[0]} makes: run it")
    else:
        TEXT.write_text(text())


if __name__ == "__main__":
    main()
