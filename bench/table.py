# SPDX-License-Identifier: MIT
"""The table: a line for each program of a row."""

COLUMNS = (f"{'name':<16} {'transport':<12} {'bytes':>7} {'conns':>5} {'unit':<7}  {'program':<24} {'value':>8} {'ratio':>6}"
           f" {'spread':>9}  {'ns sender':>9} {'receiver':>8} {'ratio':>6}  {'syscalls':>8} {'allocs':>7}")


def short(value):
    """Four significant digits at most: 70.64 M, 134.2 k, 17.3."""
    if value is None:
        return ""
    for letter, unit in (("M", 1e6), ("k", 1e3)):
        if value >= unit:
            return f"{value / unit:.4g} {letter}"
    return f"{value:.4g}"


def ratio(better, other):
    """Above 1: peapod does better."""
    return f"{better / other:.2f}" if better and other else ""


def line_of(row, name, of, ours, key):
    """`of` and `ours` are Samples."""
    value = of.median(key)
    spread = of.spread(key)
    counted = [f"{of.median(c):.4f}" if of.median(c) is not None else "" for c in ("syscalls_per_message", "allocs_per_message")]
    ratios = ["", ""]
    if of is not ours:
        more_is_better = row["unit"].endswith("/s")
        ratios = [ratio(row["peapod"], value) if more_is_better else ratio(value, row["peapod"]), ratio(of.cpu(), ours.cpu())]
    return (f"{row['name']:<16} {row['transport']:<12} {row['size']:>7} {row['connections']:>5} {row['unit']:<7}  {name:<24}"
            f" {short(value):>8} {ratios[0]:>6} {spread[0]:.2f}-{spread[1]:.2f}  {short(of.median('cpu_ns_sender')):>9}"
            f" {short(of.median('cpu_ns_receiver')):>8} {ratios[1]:>6}  {counted[0]:>8} {counted[1]:>7}").rstrip()


# ---- The same for docs/performance.md

def beside(row, values, cpus):
    """`pea2pea 2.89 / 3.10, ...`: by the value, by CPU time."""
    more_is_better = row["unit"].endswith("/s")
    words = []
    for name, value in values.items():
        both = [ratio(row["peapod"], value) if more_is_better else ratio(value, row["peapod"]),
                ratio(cpus.get(name), row["cpu_ns"])]
        words.append(f"{name} {' / '.join(text for text in both if text)}")
    return ", ".join(words) or "-"


def markdown(rows):
    """A line for each row, ratios as in the table."""
    lines = ["| workload | transport | bytes | at once | peapod | spread | ns sender, receiver | system calls | allocations | limits | peers |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        counts = [row["syscalls_per_message"], row["allocs_per_message"]]
        cpu = [short(row["cpu_ns_sender"]), short(row["cpu_ns_receiver"])]
        lines.append(f"| {row['name']} | {row['transport']} | {row['size']} | {row['connections']} | {short(row['peapod'])} {row['unit']}"
                     f" | {'-'.join(f'{s:.2f}' for s in row['spread'])} | {', '.join(cpu) if all(cpu) else ''}"
                     f" | {' | '.join('' if count is None else f'{count:.4f}' for count in counts)}"
                     f" | {beside(row, row['limits'], row['limits_cpu_ns'])} | {beside(row, row['peers'], row['peers_cpu_ns'])} |")
    return "\n".join(lines)
