#!/usr/bin/env python3
"""Makes a work copy of a Tidegate configuration for a test network.

Only what a place decides is changed: the driver of each port, how it names its interface, and where certificates, the
admin socket and the access log are. Everything else is the file as it stands, so what is shown is what is shipped.
"""
import argparse
import re
import sys
from pathlib import Path

TABLE = re.compile(r"^\s*\[\[?\s*([A-Za-z0-9_.]+)\s*\]\]?")
PEM = re.compile(r'"([^"]*?)([^"/]+\.(?:pem|key))"')
DRIVER_ONLY = {"af_xdp": ("xdp_mode", "zero_copy", "capture", "busy_poll_us"), "dpdk": ("device",)}
EAL_ARGUMENTS = ["--no-pci"]
HUGE_PAGES_NEEDED = 256


def eal_arguments():
    """Huge pages where the machine has set some aside, ordinary memory otherwise."""
    free = re.search(r"HugePages_Free:\s+(\d+)", Path("/proc/meminfo").read_text())
    if free and int(free.group(1)) >= HUGE_PAGES_NEEDED:
        return EAL_ARGUMENTS
    return EAL_ARGUMENTS + ["--no-huge", "-m", "512"]


def port_line(line, key, driver, index):
    """One line of a [[port]] table for another driver; None drops it."""
    for owner, keys in DRIVER_ONLY.items():
        if key in keys and owner != driver:
            return None
    if key == "driver":
        return f'driver = "{"dpdk" if driver.startswith("dpdk") else driver}"'
    if key == "interface" and driver.startswith("dpdk"):
        name = re.search(r'"([^"]+)"', line).group(1)
        device = f"net_af_xdp{index},iface={name}" if driver == "dpdk" else f"net_tap{index},iface={name}"
        return f'device = "{device}"'
    return line


def adapt(text, driver, pki, state, queues):
    """The work copy's text and the interfaces of its ports, in order."""
    table, index, interfaces, lines = "", -1, [], []
    skipping = False
    for line in text.splitlines():
        header = TABLE.match(line)
        if header:
            table = header.group(1)
            skipping = table == "dpdk"
            if line.lstrip().startswith("[[port"):
                index += 1
                lines.append(line)
                if queues > 1:
                    lines.append(f"queues = {queues}")
                continue
        if skipping:
            continue
        key = line.split("=")[0].strip()
        if table == "port":
            if key == "interface":
                interfaces.append(re.search(r'"([^"]+)"', line).group(1))
            if key == "queues" and queues > 1:
                continue
            line = port_line(line, key, driver, index)
            if line is None:
                continue
        elif table == "runtime" and key == "cores" and queues > 1:
            # A core polls one queue of every port.
            line = f"cores = {list(range(queues))}"
        elif table == "admin" and key == "socket":
            line = f'socket = "{state}/admin.sock"'
        elif table == "log" and key == "access":
            line = f'access = "{state}/access.log"'
        if not line.lstrip().startswith("#"):
            line = PEM.sub(lambda found: f'"{pki}/{found.group(2)}"', line)
        lines.append(line)
    if driver.startswith("dpdk"):
        quoted = ", ".join(f'"{argument}"' for argument in eal_arguments())
        lines += ["", "[dpdk]", f"eal_args = [{quoted}]"]
    return "\n".join(lines) + "\n", interfaces


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--driver", required=True, choices=["af_xdp", "tap", "dpdk", "dpdk_tap"])
    parser.add_argument("--pki", required=True)
    parser.add_argument("--state", required=True)
    parser.add_argument("--queues", type=int, default=1)
    options = parser.parse_args()
    text, interfaces = adapt(options.source.read_text(), options.driver, options.pki, options.state, options.queues)
    if len(interfaces) != 3:
        sys.exit(f"{options.source}: the test network has three wires, the file {len(interfaces)} interfaces")
    # Written aside and moved in one step, as an editor does it: a watcher never sees half a file.
    aside = options.target.with_suffix(".new")
    aside.write_text(text)
    aside.rename(options.target)
    print(" ".join(interfaces))


if __name__ == "__main__":
    main()
