#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the programs of bench/ side by side, prints one table and writes build/bench.json: see docs/performance.md.

Programs that are compared run in turn, each as often as the others; medians are compared. A program prints lines of a
key and a value, and its figure alone on the last line. programs.py runs one, rows.py several in turn, workloads.py says
which; table.py and goals.py print, plots.py draws."""
import argparse
import json
import signal
import sys
import time

import goals
import table
import workloads
from rows import Bench


def write(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(rows, out, indent=1)
        out.write("\n")


def measure(options):
    parts = {"quick": workloads.quick} if options.what == "quick" else \
        {name: workloads.WORKLOADS[name] for name in options.only or workloads.WORKLOADS}
    bench = Bench(options)
    took = {}
    print(table.COLUMNS)
    try:
        for name, part in parts.items():
            begun = time.monotonic()
            part(bench)
            took[name] = time.monotonic() - begun
            write(options.out, bench.rows)  # what there is by now
    except KeyboardInterrupt:
        bench.failed.append("interrupted")
    write(options.out, bench.rows)
    for name, why in bench.silent.items():
        print(f"left out  {name}: {why}")
    for line in goals.summary(bench.rows):
        print(line)
    print("took     " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items()) + f"; in all {sum(took.values()) / 60:.1f} min")
    print(f"bench: medians of {options.runs} runs of {options.seconds} s each, in turn; spread: the least and the most, by the median;"
          f" ratios of values and of CPU time: above 1 peapod does better. {options.out} has it all")
    for why in bench.failed:
        print(f"FAILED    {why}")
    return 1 if bench.failed else 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", epilog="`scripts/bench plot` draws docs/plots from what this wrote")
    parser.add_argument("what", nargs="?", choices=["full", "quick", "goals", "markdown"], default="full",
                        help="all (the default); messages one way, in under 4 minutes; of the last run: its goals, its rows for the docs")
    parser.add_argument("--only", choices=workloads.WORKLOADS, action="append", help="a part of the full bench; again for more")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4, help="that count, of each run")
    parser.add_argument("--out", default="build/bench.json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no program outlives this one, and what was measured is kept
    if options.what in ("full", "quick"):
        return measure(options)
    with open(options.out, encoding="utf-8") as file:
        rows = json.load(file)
    print("\n".join(goals.summary(rows)) if options.what == "goals" else table.markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
