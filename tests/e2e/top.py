"""`tidegate top` as an operator meets it: on a terminal that changes its size, and printed once.

top.py terminal BINARY SOCKET   drives it on a pseudo-terminal
top.py plausible FILE           judges what `top --once -o json` printed while there was HTTP traffic
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

PATIENCE_S = 10


# A control sequence, or a character.
PIECE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|(.)", re.DOTALL)


class Terminal:
    """A program on a pseudo-terminal, and what stands on its screen."""

    def __init__(self, command, rows, columns):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.screen = {}
        self.row = self.column = 0
        self.aside = False
        self.child = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=dict(os.environ, TERM="xterm-256color"),
            start_new_session=True,
        )

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.master, keys.encode())

    def lines(self):
        """What stands on the screen."""
        rows = {}
        for (row, column), character in self.screen.items():
            rows.setdefault(row, {})[column] = character
        return ["".join(row.get(at, " ") for at in range(max(row) + 1)) for _, row in sorted(rows.items())]

    def take(self, text):
        for arguments, command, character in PIECE.findall(text):
            if character:
                self.screen[self.row, self.column] = character
                self.column += 1
            elif command == "H":
                row, column = (arguments or "1;1").split(";")
                self.row, self.column = int(row) - 1, int(column) - 1
            elif command == "J":
                self.screen = {}
            elif arguments == "?1049":
                self.aside = command == "h"

    def until(self, what, holds):
        """Follows the program until something holds."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            rest = end - time.monotonic()
            if rest <= 0 or not select.select([self.master], [], [], rest)[0]:
                sys.exit("\n".join([f"never: {what}; there was", *self.lines()]))
            self.take(os.read(self.master, 65536).decode(errors="replace"))

    def expect(self, text):
        self.until(text, lambda: any(text in line for line in self.lines()))


def drive(binary, socket):
    terminal = Terminal([binary, "top", "--socket", socket, "--interval", "0.2"], 24, 110)
    terminal.until("a screen of its own", lambda: terminal.aside)
    terminal.expect("over 0.2 s")
    for keys, text in [("1", "RX PPS"), ("4", "SYN cookies sent"), ("\t", "latency p99"), ("6", "ENDPOINT")]:
        terminal.press(keys)
        terminal.expect(text)
    # Smaller, then larger: drawn anew each time.
    for rows, columns, text in [(3, 20, "q quit"), (50, 200, "1 overview")]:
        terminal.screen = {}
        terminal.resize(rows, columns)
        terminal.expect(text)
        terminal.expect("CLUSTER")
    leave(terminal, "q")
    # Ctrl-C is a key like others: it is not the signal that ends a program.
    terminal = Terminal([binary, "top", "--socket", socket], 24, 110)
    terminal.expect("over 1.0 s")
    leave(terminal, "\x03")


def leave(terminal, keys):
    """Ends the program; the terminal must be as it was before."""
    terminal.press(keys)
    terminal.until("the screen of before", lambda: not terminal.aside)
    status = terminal.child.wait(PATIENCE_S)
    if status != 0:
        sys.exit(f"exit status {status}")
    if termios.tcgetattr(terminal.slave) != terminal.before:
        sys.exit("the terminal is not as it was before")


def judge(path):
    with open(path, encoding="utf-8") as file:
        frame = json.load(file)
    complaints = []

    def hold(what, value, least, most):
        if value is None or not least < value <= most:
            complaints.append(f"{what}: {value} is not in ({least}, {most}]")

    hold("interval, s", frame["interval_s"], 0.9, 30)
    for way in ("rx", "tx"):
        hold(f"{way} packets/s", sum(port[f"{way}_packets_per_s"] for port in frame["ports"]), 10, 1e8)
        hold(f"{way} bits/s", sum(port[f"{way}_bits_per_s"] for port in frame["ports"]), 1e4, 1e12)
    busiest = max(frame["cores"], key=lambda core: core["load_percent"] or 0)
    hold("load", busiest["load_percent"], 0, 100)
    hold("cycles per packet", busiest["cycles_per_packet"], 100, 1e6)
    hold("turns/s", busiest["turns_per_s"], 10, 1e9)
    hold("free frames", busiest["free_frames"], 0, 1e7)
    stages = {stage["name"]: stage for stage in busiest["stages"]}
    for name in ("rx", "l3_input", "tcp", "tasks", "tcp_output", "tx"):
        hold(f"stage {name}", stages.get(name, {}).get("cycles_per_packet"), 0, 1e6)
    hold("shares", sum(stage["share_percent"] for stage in stages.values()), 10, 101)
    http = frame["http"]
    hold("requests/s", http["requests_per_s"], 10, 1e7)
    hold("2xx/s", http["by_class_per_s"][2], 10, 1e7)
    hold("p50", http["p50_us"], 0, 1e7)
    if not complaints and not http["p50_us"] <= http["p99_us"]:
        complaints.append(f"p50 {http['p50_us']} above p99 {http['p99_us']}")
    endpoints = [endpoint for cluster in frame["clusters"] for endpoint in cluster["endpoints"]]
    hold("requests/s of endpoints", sum(endpoint["requests_per_s"] for endpoint in endpoints), 10, 1e7)
    hold("open connections", frame["tcp"]["open"], 1, 1e6)
    if complaints:
        sys.exit("\n".join(complaints + [json.dumps(frame, indent=1)]))


if __name__ == "__main__":
    {"terminal": drive, "plausible": judge}[sys.argv[1]](*sys.argv[2:])
