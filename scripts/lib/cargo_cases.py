#!/usr/bin/env python3
"""Reads what cargo test said, prints a line per test, and appends the results: cargo_cases.py SUITE LOG RESULTS"""
import os
import re
import sys

RUNNING = re.compile(r"^\s+Running .*?\(.*/([^/]+?)-[0-9a-f]{16}\)")
DOCS = re.compile(r"^\s+Doc-tests (\S+)")
TEST = re.compile(r"^test (.+?) \.\.\. (.*)$")
OUTCOME = re.compile(r"^(ok|FAILED|ignored.*)$")


def cases(lines):
    """(name, outcome) of each test; a test that prints may have its outcome on a later line."""
    binary, open_case = "", None
    for line in lines:
        if found := RUNNING.match(line) or DOCS.match(line):
            if open_case:
                yield open_case, "FAILED"  # the runner died inside it
                open_case = None
            binary = found.group(1)
        elif found := TEST.match(line):
            name = f"{binary}::{re.sub(' - should panic$', '', found.group(1))}"
            if OUTCOME.match(found.group(2)):
                yield name, found.group(2)
            else:
                open_case = name
        elif open_case and OUTCOME.match(line):
            yield open_case, line.strip()
            open_case = None
    if open_case:
        yield open_case, "FAILED"


def main(suite, log, results):
    lines = open(log, errors="replace").read().splitlines()
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    green, red, plain = ("\033[32m", "\033[31m", "\033[0m") if colour else ("", "", "")
    failed = False
    with open(results, "a") as out:
        for name, outcome in cases(lines):
            if outcome.startswith("ignored"):
                print(f"--    {suite}/{name} ({outcome})")
                continue
            word = "ok" if outcome == "ok" else "FAIL"
            failed |= word == "FAIL"
            shade = green if word == "ok" else red
            print(f"{shade}{word}{plain}{' ' * (6 - len(word))}{suite}/{name}")
            print(f"{word} {suite}/{name}", file=out)
    if failed:
        said = False
        for line in lines:
            if line.startswith("---- ") and line.endswith(" stdout ----"):
                said = True
            elif line.startswith("failures:") or line.startswith("test result:"):
                said = False
            if said and not re.match(r"^\s+(\d+: |at )", line):
                print("      " + line)


if __name__ == "__main__":
    main(*sys.argv[1:4])
