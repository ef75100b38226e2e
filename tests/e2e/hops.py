"""Two next hops under traffic, one of which is cut and comes back: when its flows move, and whether the others notice.

    hops.py PREFIX FLOWS     two targets, 10.77.0.1 and fd77::1, each with FLOWS flows from the client by b1 and b2

Both backends' ends of the wire hear what is sent to them even while they are cut: the cut is behind the listener. Prints what it
measured; fails when a flow of the lost hop takes longer than a second to move, when a packet of the others is lost or goes elsewhere,
or when not every flow is back where it was in the end. Runs as root.
"""
import socket
import struct
import subprocess
import sys
import time

from ways import MARK, inside, listener

PERIOD, CUT, BACK, END = 0.02, 1.0, 4.0, 7.0
CUT_TABLE = "add table netdev cut; add chain netdev cut in { type filter hook ingress device eth0 priority 0; policy drop; }"


def rule(prefix, host, what):
    subprocess.run(["ip", "netns", "exec", f"{prefix}-{host}", "nft", what], check=True)


def senders(prefix, count):
    def make():
        sockets = []
        for family, target in ((socket.AF_INET, "10.77.0.1"), (socket.AF_INET6, "fd77::1")):
            for number in range(count):
                out = socket.socket(family, socket.SOCK_DGRAM)
                out.bind(("::" if ":" in target else "0.0.0.0", 20000 + number + count * (":" in target)))
                out.connect((target, 7777))
                sockets.append(out)
        return sockets
    return inside(f"{prefix}-client", make)


def hear(listeners, heard):
    for host, ear in listeners.items():
        while True:
            try:
                frame, address = ear.recvfrom(2048)
            except BlockingIOError:
                break
            at = frame.rfind(MARK)
            if address[2] != 4 and at > 0:
                flow, number = struct.unpack_from("!HI", frame, at + len(MARK))
                heard.append((time.monotonic(), flow, number, host))


def traffic(prefix, sockets):
    """Sends and hears for END seconds; when the cut and the return happened, what was sent when, and what was heard."""
    listeners = {host: inside(f"{prefix}-{host}", listener) for host in ("b1", "b2")}
    for ear in listeners.values():
        ear.setblocking(False)
    heard, sent, began, turn, cut, back = [], [], time.monotonic(), 0, None, None
    while (now := time.monotonic()) < began + END:
        if cut is None and now > began + CUT:
            rule(prefix, "b1", CUT_TABLE)
            cut = time.monotonic()
        if back is None and now > began + BACK:
            rule(prefix, "b1", "delete table netdev cut")
            back = time.monotonic()
        sent.append(time.monotonic())
        for flow, out in enumerate(sockets):
            out.send(MARK + struct.pack("!HI", flow, turn))
            if flow % 32 == 31:
                hear(listeners, heard)
        turn += 1
        hear(listeners, heard)
        time.sleep(max(0.0, now + PERIOD - time.monotonic()))
    time.sleep(0.2)
    hear(listeners, heard)
    return cut, back, sent, heard


def main(prefix, flows):
    sockets = senders(prefix, int(flows))
    cut, back, sent, heard = traffic(prefix, sockets)
    first = {}
    for at, flow, _, host in heard:
        if at < cut:
            first.setdefault(flow, host)
    of = {host: {flow for flow, way in first.items() if way == host} for host in ("b1", "b2")}
    wrong = []
    if len(first) < len(sockets) or not all(of.values()):
        sys.exit(f"{len(first)} of {len(sockets)} flows were heard before the cut")
    late = [sent[turn] - cut for at, flow, turn, host in heard if host == "b1" and cut < sent[turn] < back]
    moved = max(late, default=0.0)
    returned = min(at - back for at, _, _, host in heard if host == "b1" and at > back)
    astray = sum(host != "b2" for _, flow, _, host in heard if flow in of["b2"])
    lost = len(sent) * len(of["b2"]) - len({(flow, turn) for _, flow, turn, _ in heard if flow in of["b2"]})
    ends = {flow: host for at, flow, turn, host in heard if turn == len(sent) - 1}
    print(f"{len(of['b1'])} flows moved {moved * 1000:.0f} ms after the cut and came back {returned * 1000:.0f} ms after its end;"
          f" of the {len(of['b2'])} others {lost} packets of {len(sent) * len(of['b2'])} were lost and {astray} went astray")
    if moved > 1.0:
        wrong.append("a flow moved too late")
    if astray or lost:
        wrong.append("the others were disturbed")
    if ends != first:
        wrong.append(f"{sum(ends.get(flow) != host for flow, host in first.items())} flows did not return")
    sys.exit("; ".join(wrong) or None)


if __name__ == "__main__":
    main(*sys.argv[1:])
