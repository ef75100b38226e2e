#!/usr/bin/env python3
"""The corpus of tests/bad_input by cable: each frame is lost for the reason it should be, and nothing else suffers.

Environment: STATE, where the gateway's admin socket is; DRIVER, which tells what a cable to it does not carry.
"""
import logging
import os
import re
import socket
import sys
import time
from pathlib import Path

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import conf, get_if_hwaddr, getmacbyip  # noqa: E402

from case import case, holds, main, same  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "bad_input"))
from corpus import cases  # noqa: E402

conf.verb = 0
conf.iface = "eth0"
CORPUS = cases(getmacbyip("10.0.1.1"), get_if_hwaddr("eth0"))
DRIVER = os.environ["DRIVER"]
CABLE = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
CABLE.bind(("eth0", 0))


def metrics():
    """The gateway's metrics as text."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(os.environ["STATE"] + "/admin.sock")
        admin.sendall(b"GET /metrics HTTP/1.1\r\nHost: tidegate\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: admin.recv(65536), b"")).decode()


def total(name, label=""):
    found = re.findall(rf"^{name}(?:{{[^}}]*{re.escape(label)}[^}}]*}})? ([0-9.e+]+)$", metrics(), re.M)
    return sum(float(value) for value in found)


def drops(reason):
    return total("tidegate_drops_total", f'reason="{reason}"')


def comes_true(condition, seconds):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def send(frames):
    """Those that a cable carries: the kernel sends no frame without a whole Ethernet header."""
    carried = [frame for frame in frames if len(frame) >= 14]
    for frame in carried:
        CABLE.send(frame)
    return len(carried)


def arrives(bad):
    """A TAP stands behind a bridge, which itself refuses what comes from no station."""
    return not (DRIVER.endswith("tap") and bad.end == "l2_bad_source")


@case
def the_corpus_in_the_tree_is_what_its_author_makes():
    import corpus

    same("corpus.txt", corpus.TEXT.read_text(), corpus.text())


@case
def every_bad_frame_is_counted_under_its_reason():
    wrong = []
    for bad in filter(arrives, CORPUS):
        if bad.end in ("forwarded", "answered", "used"):
            send(bad.frames)
            continue
        before = drops(bad.end)
        sent = send(bad.frames)
        if not comes_true(lambda: drops(bad.end) >= before + sent, 2):
            wrong.append(f"{bad.name}: {drops(bad.end) - before:.0f} of {sent} counted as {bad.end}")
    holds("; ".join(wrong), not wrong)


@case
def all_of_it_again_and_again_leaves_nothing_behind():
    frames = [frame for bad in CORPUS for frame in bad.frames]
    received = total("tidegate_rx_packets_total")
    free = total("tidegate_core_free_frames")
    sent = sum(send(frames) for _ in range(20))
    # Rings are filled a batch at a time, so that a few buffers more or less are with the kernel.
    home = comes_true(lambda: total("tidegate_core_free_frames") >= free - 128, 15)
    holds(f"free frames: {free:.0f} before, {total('tidegate_core_free_frames'):.0f} after {sent} bad ones", home)
    arrived = total("tidegate_rx_packets_total") - received
    holds(f"only {arrived:.0f} of {sent} arrived", arrived > sent / 2)


if __name__ == "__main__":
    main()
