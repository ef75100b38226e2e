#!/usr/bin/env python3
"""What a gateway says of its groups (MLD, RFC 9777), heard and asked for from its link.

    mld.py DEVICE reports SECONDS GROUP…     until each group was reported as one that is listened to from now on
    mld.py DEVICE left SECONDS GROUP…        until each was reported as one that is listened to no more
    mld.py DEVICE query SECONDS GROUP…       asks for all groups, and again for the first alone: each time all of them are reported
    mld.py DEVICE query1 SECONDS GROUP…      the same with the words of version 1
"""

import ipaddress
import sys
import time

from scapy.all import (
    AsyncSniffer,
    Ether,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
    get_if_hwaddr,
    in6_chksum,
    sendp,
)

# Kinds of records (RFC 9777 §5.2.12), and what stands for a report of version 1.
IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, VERSION_1 = 2, 3, 4, 131


def sound(packet, to):
    """What RFC 9777 §5.2 asks of every message: from the link, hop limit 1, behind a router alert, its checksum right."""
    ip = packet[IPv6]
    alert = packet[IPv6ExtHdrHopByHop].options[0] if IPv6ExtHdrHopByHop in packet else None
    message = bytes(packet[IPv6ExtHdrHopByHop].payload) if alert else b""
    checks = {
        "source": ip.src.startswith("fe80::"),
        "hop limit": ip.hlim == 1,
        "router alert": isinstance(alert, RouterAlert) and alert.value == 0,
        "destination": ip.dst == to,
        "link": packet[Ether].dst == group_mac(to),
        "checksum": in6_chksum(58, ip, message) == 0,
    }
    wrong = [name for name, right in checks.items() if not right]
    if wrong:
        packet.show()
        sys.exit(f"wrong: {', '.join(wrong)}")


def group_mac(group):
    return ":".join(f"{byte:02x}" for byte in b"\x33\x33" + ipaddress.IPv6Address(group).packed[12:])


def reported(packet, own):
    """What is said of which groups."""
    if packet[Ether].src == own:
        return []
    if ICMPv6MLReport2 in packet:
        sound(packet, "ff02::16")
        # Read by hand: scapy takes the second record for the payload of the first.
        message = bytes(packet[ICMPv6MLReport2])
        records = [message[at : at + 20] for at in range(8, len(message), 20)]
        if len(records) != int.from_bytes(message[6:8], "big") or any(record[1:4] != bytes(3) for record in records):
            sys.exit(f"a report that is none: {message.hex()}")
        return [(record[0], str(ipaddress.IPv6Address(record[4:20]))) for record in records]
    if ICMPv6MLReport in packet:
        sound(packet, packet[ICMPv6MLReport].mladdr)
        return [(VERSION_1, packet[ICMPv6MLReport].mladdr)]
    return []


def query(device, message, to):
    sendp(
        Ether(src=get_if_hwaddr(device), dst=group_mac(to))
        / IPv6(src="fe80::abcd", dst=to, hlim=1)
        / IPv6ExtHdrHopByHop(options=[RouterAlert()])
        / message,
        iface=device,
        verbose=0,
    )


def main():
    device, what, seconds, *groups = sys.argv[1:]
    own, heard = get_if_hwaddr(device), []
    sniffer = AsyncSniffer(iface=device, filter="ip6", prn=lambda packet: heard.append(packet), store=False)
    sniffer.start()
    time.sleep(0.5)
    print("listening", flush=True)
    asks = [None]
    if what.startswith("query"):
        kind = ICMPv6MLQuery if what == "query1" else ICMPv6MLQuery2
        asks = [(kind(mladdr=group, mrd=1000), to) for group, to in (("::", "ff02::1"), (groups[0], groups[0]))]
    wanted_kind = {"reports": TO_EXCLUDE, "left": TO_INCLUDE, "query": IS_EXCLUDE, "query1": VERSION_1}[what]
    for ask in asks:
        seen = len(heard)
        if ask:
            query(device, *ask)
        until = time.monotonic() + float(seconds)
        wanted = {(wanted_kind, group) for group in groups}
        said = set()
        while not wanted <= said and time.monotonic() < until:
            time.sleep(0.05)
            said = {record for packet in heard[seen:] for record in reported(packet, own)}
        if not wanted <= said:
            sys.exit(f"missing: {sorted(map(str, wanted - said))}, heard {sorted(map(str, said))}")
        print("heard", sorted(map(str, said)), flush=True)
    sniffer.stop()


if __name__ == "__main__":
    main()
