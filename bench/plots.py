#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws docs/plots/*.png from what scripts/bench wrote, by gnuplot: `scripts/bench plot [FILE...]`, by default
build/bench.json. Of several files a later one's rows take the place of an earlier one's. A plot whose rows are not
there is left as it is, and the end says so."""
import json
import os
import subprocess
import sys

FOLDER = "docs/plots"
BYTES_MOST = 60 << 10  # of a picture: the repository holds them all
MIB = 1 << 20

# Colours that are told apart by most eyes; peapod's own are strong, limits are grey, peers in between.
OURS = ["#0050b0", "#d04000", "#108040"]
KINDS = ["ours", "limit", "peer"]
LIMITS = ["#303030", "#909090"]
THEIRS = ["#c060a0", "#e0a000", "#40b0c0", "#806040", "#70a030"]

STYLE = """
set terminal png notruecolor size 960,540 font "DejaVuSans,11" background rgb "#ffffff"
set border 3 lc rgb "#606060"
set tics nomirror
set grid xtics ytics lc rgb "#d8d8d8" lt 1
set key outside right top reverse Left samplen 2
"""


class Series:
    """A line: its points by x, as (y, least, most); the spread is drawn where there is one."""

    def __init__(self, title, kind):
        self.title, self.kind, self.points = title, kind, {}

    def add(self, x, y, spread=None):
        if x and y:
            low, high = spread or (1, 1)
            self.points[x] = (y, y * low, y * high)


class Lines(dict):
    """Series by title, in the order in which they come."""

    def to(self, title, kind):
        return self.setdefault(title, Series(title, kind))

    def add_row(self, ours, x, row, times=1):
        """peapod's value, its limits' and the peers'."""
        self.to(ours, "ours").add(x, row["peapod"] * times, row["spread"])
        for name, value in row["limits"].items():
            self.to(name, "limit").add(x, value * times)
        for name, value in row["peers"].items():
            self.to(name, "peer").add(x, value * times, row["peers_spread"].get(name))


def styled(lines):
    """gnuplot's words for each line."""
    palettes = {"ours": iter(OURS), "limit": iter(LIMITS), "peer": iter(THEIRS)}
    width = {"ours": 3, "limit": 2, "peer": 1.5}
    dash = {"ours": 1, "limit": 2, "peer": 1}
    for number, line in enumerate(lines):
        colour = next(palettes[line.kind], "#b0b0b0")
        yield f"lc rgb '{colour}' lw {width[line.kind]} dt {dash[line.kind]} pt {4 + number} ps 0.9"


def quoted(text):
    return '"' + text.replace('"', "'") + '"'


def draw(name, title, x_label, y_label, lines, x_tics, log="xy"):
    """One picture; `log`: which axes are logarithmic. False: there is nothing to draw."""
    lines = sorted((line for line in lines.values() if len(line.points) > 1), key=lambda line: KINDS.index(line.kind))
    if not any(line.kind == "ours" for line in lines):
        return False
    script = [STYLE, f"set output {quoted(f'{FOLDER}/{name}.png')}", f"set title {quoted(title)} noenhanced",
              f"set xlabel {quoted(x_label)}", f"set ylabel {quoted(y_label)}", f"set logscale {log}",
              "set format y '%.0s %c'" if "y" in log else "set yrange [0:*]",
              "set xtics (" + ", ".join(f"{quoted(text)} {x}" for x, text in x_tics.items()) + ")"]
    script.append(f"set xrange [{min(x_tics) / 1.2}:{max(x_tics) * 1.2}]")
    plots = []
    for number, (line, style) in enumerate(zip(lines, styled(lines))):
        script.append(f"$line{number} << END")
        script += [f"{x} {y} {low} {high}" for x, (y, low, high) in sorted(line.points.items())]
        script.append("END")
        if any(low != high for _, low, high in line.points.values()):
            colour = style.split(" lw ")[0]
            plots.append(f"$line{number} using 1:2:3:4 with yerrorbars {colour} lw 1 pt 0 notitle")
        plots.append(f"$line{number} using 1:2 with linespoints {style} title {quoted(line.title)} noenhanced")
    script.append("plot " + ", ".join(plots))
    done = subprocess.run(["gnuplot"], input="\n".join(script), capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        sys.exit(f"plot: gnuplot could not draw {name}: {done.stderr.strip()}")
    size = os.path.getsize(f"{FOLDER}/{name}.png")
    if size > BYTES_MOST:
        sys.exit(f"plot: {FOLDER}/{name}.png has {size} bytes, more than {BYTES_MOST}")
    print(f"drawn     {FOLDER}/{name}.png, {size >> 10} KiB")
    return True


SIZES = {16: "16 B", 256: "256 B", 4096: "4 KiB", 32768: "32 KiB", MIB: "1 MiB"}
COUNTS = {1: "1", 10: "10", 100: "100", 1000: "1,000", 9000: "9,000"}


# ---- The pictures: each takes all rows, and returns whether it was drawn

def oneway(rows, family):
    lines = Lines()
    for row in rows:
        if row["name"] == "oneway" and row["connections"] == 1 and row["transport"].split("-")[0] == family:
            lines.add_row(f"peapod {row['transport']}", row["size"], row, times=row["size"])
    return draw(f"oneway-{family}", f"Messages one way over one connection: {family}", "size of a message",
                "bytes of messages per second", lines, SIZES)


def connections(rows):
    lines = Lines()
    for row in rows:
        if row["name"] == "oneway" and row["size"] == 256 and row["transport"] in ("plain", "noise"):
            kept = row if row["transport"] == "noise" else row | {"limits": {}, "peers": {}}
            lines.add_row(f"peapod {row['transport']}", row["connections"], kept)
    return draw("connections", "Messages of 256 B one way over many connections; limits and peers: those of Noise",
                "connections", "messages per second", lines, {x: COUNTS[x] for x in (1, 10, 100, 1000)})


def latency(rows):
    lines = Lines()
    for row in rows:
        for part in (10, 50, 80):
            if row["name"] == f"open{part}-p99" and row["transport"] == "noise":
                lines.add_row("peapod noise", part, row)
    return draw("latency", "64 B by schedule, Noise and CURVE: p99 from when a message was due",
                "load, % of the rate that peapod reaches with a flush for each message", "µs", lines,
                {10: "10", 50: "50", 80: "80"}, log="y")


def handshakes(rows):
    lines = Lines()
    for row in rows:
        if row["name"] == "connect" and row["transport"] == "noise":
            lines.add_row("peapod noise", row["connections"], row)
    return draw("connect", "Connect, full handshake, a byte, its answer, close", "connections in the making at a time",
                "connections per second", lines, {1: "1", 16: "16", 64: "64"}, log="x")


def of_growth(rows, name, key="connections"):
    lines = Lines()
    for row in rows:
        if row["name"] == name:
            lines.to(f"peapod {row['transport']}", "ours").add(row[key], row["peapod"], row["spread"])
            if row["limit"]:
                lines.to(f"raw, {row['transport']}", "limit").add(row[key], row["limit"], row["limit_spread"])
    return lines


def growth_message(rows):
    return draw("growth-message", "CPU time of a message: sixteen of 256 B to each connection in turn", "connections",
                "ns, sender and receiver", of_growth(rows, "growth-message"), COUNTS, log="x")


def growth_connect(rows):
    lines = of_growth(rows, "growth-connect")
    for line in lines.values():
        line.points.pop(1, None)  # what is made once stands beside it
    return draw("growth-connect", "CPU time of a new connection, handshake included, by how many there are in the end", "connections",
                "µs, both sides", lines, {x: COUNTS[x] for x in (10, 100, 1000, 9000)}, log="x")


def growth_memory(rows):
    return draw("growth-memory", "Memory of a connection that rests", "connections", "KiB, of the listener",
                of_growth(rows, "growth-memory"), {90: "90", 900: "900", 9000: "9,000"}, log="x")


def growth_nodes(rows):
    lines = Lines()
    for what, title in (("start", "start, µs"), ("stop", "stop, µs"), ("memory", "memory, KiB")):
        for line in of_growth(rows, f"growth-node-{what}").values():
            line.title = title
            lines[title] = line
    return draw("growth-nodes", "A node with key, rules and a listener, by how many there are", "nodes of one process", "µs or KiB, of one node",
                lines, {10: "10", 100: "100", 1000: "1,000", 2000: "2,000"}, log="x")


PICTURES = {
    "oneway-plain": lambda rows: oneway(rows, "plain"),
    "oneway-noise": lambda rows: oneway(rows, "noise"),
    "oneway-tls": lambda rows: oneway(rows, "tls"),
    "connections": connections,
    "latency": latency,
    "connect": handshakes,
    "growth-message": growth_message,
    "growth-connect": growth_connect,
    "growth-memory": growth_memory,
    "growth-nodes": growth_nodes,
}


def read(paths):
    rows = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for row in json.load(file):
                rows[row["name"], row["transport"], row["size"], row["connections"]] = row
    return list(rows.values())


def main():
    try:
        rows = read(sys.argv[1:] or ["build/bench.json"])
    except (OSError, ValueError) as why:
        sys.exit(f"plot: {why}; scripts/bench writes it")
    os.makedirs(FOLDER, exist_ok=True)
    for name, picture in PICTURES.items():
        if not picture(rows):
            print(f"left out  {FOLDER}/{name}.png: its rows are not there")


if __name__ == "__main__":
    main()
