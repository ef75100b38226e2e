#!/usr/bin/env python3
"""Packets a router must not like, by scapy from the client's namespace: checksums, martians, lengths, fragments, MTU."""
import logging

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import (  # noqa: E402
    ICMP, IP, TCP, UDP, Ether, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ParamProblem,
    IPv6, Raw, conf, get_if_hwaddr, getmacbyip, sendp, srp1, IPv6ExtHdrDestOpt, PadN, HBHOptUnknown,
)

from case import case, holds, main, same  # noqa: E402

conf.verb = 0
conf.iface = "eth0"
ROUTER = getmacbyip("10.0.1.1")
FRAME = Ether(dst=ROUTER, src=get_if_hwaddr("eth0"))
ECHO = IP(src="10.0.1.100", dst="10.0.2.11") / ICMP(id=7, seq=1) / Raw(b"x" * 40)


def asked(packet, timeout=0.7):
    return srp1(FRAME / packet, timeout=timeout)


@case
def a_plain_echo_is_answered():
    answer = asked(ECHO)
    holds("no answer at all", answer is not None and answer[ICMP].type == 0)
    same("TTL went down on the way back", answer[IP].ttl, 63)


@case
def wrong_header_checksum_is_dropped():
    bad = ECHO.copy()
    bad[IP].chksum = 0x1234
    holds("a packet with a wrong checksum was forwarded", asked(bad) is None)


@case
def martians_are_dropped():
    for source in ("127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.1.1"):
        bad = ECHO.copy()
        bad[IP].src = source
        holds(f"source {source} was answered", asked(bad, 0.3) is None)
    for target in ("127.0.0.1", "240.0.0.1"):
        bad = ECHO.copy()
        bad[IP].dst = target
        answer = asked(bad, 0.3)
        holds(f"destination {target} was forwarded", answer is None or answer[ICMP].type == 3)


@case
def truncated_and_lying_lengths_are_dropped():
    for change in ({"len": 2000}, {"len": 10}, {"ihl": 15}, {"ihl": 4}, {"version": 5}):
        bad = ECHO.copy()
        for field, value in change.items():
            setattr(bad[IP], field, value)
        holds(f"{change} was answered", asked(bad, 0.3) is None)
    for length in range(0, 34):
        sendp(Raw(bytes(FRAME / ECHO)[:length].ljust(14, b"\0")))
    holds("still alive", asked(ECHO) is not None)


@case
def frames_for_another_station_are_ignored():
    other = Ether(dst="02:11:22:33:44:55", src=get_if_hwaddr("eth0")) / ECHO
    holds("a frame for another address was forwarded", srp1(other, timeout=0.4) is None)


@case
def echo_of_ip_options_is_sane():
    """Record route is legal; whether honoured or ignored, the packet is not lost and the gateway lives."""
    from scapy.all import IPOption_RR

    packet = IP(src="10.0.1.100", dst="10.0.1.1", options=[IPOption_RR(length=15, routers=["0.0.0.0"] * 3)]) / ICMP()
    asked(packet, 0.4)
    holds("still alive", asked(ECHO) is not None)


@case
def icmp_error_quotes_the_packet():
    probe = IP(src="10.0.1.100", dst="10.0.2.11", ttl=1, id=4711) / UDP(sport=1234, dport=33434) / Raw(b"quoted")
    answer = asked(probe)
    holds("no time exceeded", answer is not None and answer[ICMP].type == 11 and answer[ICMP].code == 0)
    same("quoted id", answer["IPerror"].id, 4711)
    same("quoted port", answer["UDPerror"].dport, 33434)
    same("from the near address", answer[IP].src, "10.0.1.1")


@case
def no_error_about_an_error():
    """RFC 1812 §4.3.2.7: an ICMP error is never answered by another, nor is a fragment but the first."""
    error = IP(src="10.0.1.100", dst="10.0.2.11", ttl=1) / ICMP(type=3, code=3) / IP(dst="1.2.3.4") / UDP()
    holds("answered an error", asked(error, 0.4) is None)
    fragment = IP(src="10.0.1.100", dst="10.0.2.11", ttl=1, frag=10) / Raw(b"x" * 64)
    holds("answered a later fragment", asked(fragment, 0.4) is None)


@case
def fragments_are_forwarded():
    from scapy.all import fragment, srp

    whole = IP(src="10.0.1.100", dst="10.0.2.11", id=99) / ICMP(id=9, seq=9) / Raw(b"f" * 2900)
    answers, _ = srp([FRAME / piece for piece in fragment(whole, 1400)], timeout=1.5, multi=True)
    holds("no answer to a fragmented echo", any(answer[IP].src == "10.0.2.11" for _, answer in answers))


@case
def tcp_to_a_closed_port_is_reset():
    answer = asked(IP(src="10.0.1.100", dst="10.0.1.1") / TCP(sport=4000, dport=4444, flags="S", seq=100))
    holds("no reset", answer is not None and "R" in answer[TCP].flags and "A" in answer[TCP].flags)
    same("acknowledges the SYN", answer[TCP].ack, 101)


@case
def udp_to_a_closed_port_is_unreachable():
    answer = asked(IP(src="10.0.1.100", dst="10.0.1.1") / UDP(sport=4000, dport=4444) / Raw(b"hello"))
    holds("no port unreachable", answer is not None and ICMP in answer and answer[ICMP].type == 3)
    same("code", answer[ICMP].code, 3)


@case
def odd_tcp_flags_do_no_harm():
    for flags in ("", "F", "FPU", "SF", "SR", "FSRPAUEC", "A"):
        asked(IP(src="10.0.1.100", dst="10.0.1.1") / TCP(sport=4001, dport=80, flags=flags, seq=1, ack=1), 0.15)
    holds("still alive", asked(ECHO) is not None)


@case
def ipv6_echo_and_unknown_option():
    base = IPv6(src="fd00:1::100", dst="fd00:1::1")
    answer = asked(base / ICMPv6EchoRequest(id=3, data=b"v6"))
    holds("no echo reply", answer is not None and ICMPv6EchoReply in answer)
    # RFC 8200 §4.2: an option of class 10 that is unknown is reported to the sender.
    option = HBHOptUnknown(otype=0x9E, optlen=2, optdata=b"ab")
    answer = asked(base / IPv6ExtHdrDestOpt(options=[option, PadN(optdata=b"")]) / ICMPv6EchoRequest(data=b"v6"))
    holds("neither reported nor answered twice", answer is None or ICMPv6ParamProblem in answer)


@case
def ipv6_unreachable():
    answer = asked(IPv6(src="fd00:1::100", dst="2001:db8::1") / ICMPv6EchoRequest(data=b"nowhere"))
    holds("no answer about a missing route", answer is not None and ICMPv6DestUnreach in answer)


if __name__ == "__main__":
    main()
