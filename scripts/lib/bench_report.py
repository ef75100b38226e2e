#!/usr/bin/env python3
"""Turns what wrk said into a line, and lines into a report: medians, and ratios taken within each round.

bench_report.py line ROUND SUBJECT PROBE_BEFORE PROBE_AFTER < wrk's output
bench_report.py report COMMAND ROOT < lines
bench_report.py place COMMAND ROOT
"""
import platform
import re
import statistics
import subprocess
import sys

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * MILLISECONDS[unit]


def line(round_, subject, before, after, said):
    """round,subject,requests/s,p50 ms,p99 ms,failed,probe before,probe after"""
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))
    p50, p99 = (milliseconds(re.search(rf"\s{p}%\s+(\S+)", said).group(1)) for p in (50, 99))
    failed = 0
    if found := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said):
        failed += sum(map(int, found.groups()))
    if found := re.search(r"Non-2xx or 3xx responses: (\d+)", said):
        failed += int(found.group(1))
    print(f"{round_},{subject},{rate:.0f},{p50:.3f},{p99:.3f},{failed},{before},{after}")


def place(command, root):
    """What must be known to compare a figure with another."""
    git = ["git", "-C", root, "-c", "safe.directory=*"]
    commit = subprocess.run([*git, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    cpus = open("/proc/cpuinfo").read().count("processor\t")
    print(f"`{command.strip()}`\n")
    print(f"- commit {commit or 'unknown'}")
    print(f"- {cpus} CPUs, {model.group(1) if model else 'unknown'}, Linux {platform.release()}")
    for program, arguments in (("nginx", ["-v"]), ("haproxy", ["-v"])):
        said = subprocess.run([program, *arguments], capture_output=True, text=True)
        print(f"- {(said.stdout + said.stderr).splitlines()[0]}")


def report(command, root, rows):
    place(command, root)
    subjects = list(dict.fromkeys(row[1] for row in rows))
    rounds = sorted({int(row[0]) for row in rows})
    value = {(int(row[0]), row[1]): [float(field) for field in row[2:]] for row in rows}
    print("\n| | requests/s | p50 ms | p99 ms | failed | probe ms |\n|---|---|---|---|---|---|")
    for subject in subjects:
        mine = [value[round_, subject] for round_ in rounds]
        rate, p50, p99 = (statistics.median(row[column] for row in mine) for column in range(3))
        probe = statistics.median(row[4] for row in mine)
        print(f"| {subject} | {rate:.0f} | {p50:.2f} | {p99:.2f} | {sum(row[3] for row in mine):.0f} | {probe:.0f} |")
    peers = [subject for subject in subjects if subject != "tidegate"]
    if "tidegate" in subjects and peers:
        print("\nTidegate relative to the peer, round by round (requests/s; p99):\n")
        print("| | " + " | ".join(f"round {round_}" for round_ in rounds) + " | median |")
        print("|---" * (len(rounds) + 2) + "|")
        for peer in peers:
            pairs = [(value[round_, "tidegate"], value[round_, peer]) for round_ in rounds]
            for name, column in (("requests/s", 0), ("p99", 2)):
                ratios = [ours[column] / theirs[column] for ours, theirs in pairs]
                cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
                print(f"| {name} / {peer} | {cells} | **{statistics.median(ratios):.2f}** |")


def main(arguments):
    if arguments[0] == "line":
        line(*arguments[1:5], sys.stdin.read())
    elif arguments[0] == "report":
        report(arguments[1], arguments[2], [row.strip().split(",") for row in sys.stdin if row.strip()])
    else:
        place(arguments[1], arguments[2])


if __name__ == "__main__":
    main(sys.argv[1:])
