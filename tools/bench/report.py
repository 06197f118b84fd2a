"""Machine, date, commit; tables on the screen and in RESULTS.md."""
import datetime
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
RESULTS = os.path.join(HERE, "RESULTS.md")
INTRODUCTION = """# Measurements

Made by `tools/bench/bench` with `--write`. A row is replaced by a later one of the same case, model and machine; its commit is that
of the tree it was measured on (with + where files had changed since).
"""


def cores():
    return len(os.sched_getaffinity(0))


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        text = file.read()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.M)
    kind = next((flag for flag in ("avx512f", "avx2") if flag in text), "no AVX2")
    return f"{name.group(1) if name else os.uname().machine}, {cores()} cores, {kind}"


def today():
    return datetime.date.today().isoformat()


def commit():
    git = ["git", "-C", SOURCE]
    head = subprocess.run(git + ["rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        return "unknown"
    changed = subprocess.run(git + ["status", "--porcelain", "-uno", "--", "src", "include"], capture_output=True, text=True)
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def table(header, rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(name)] + [len(row[i]) for row in rows]) for i, name in enumerate(header)]
    line = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([line(header), "|" + "|".join("-" * (width + 2) for width in widths) + "|"] + [line(row) for row in rows])


def _cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def update(text, title, command, header, rows, keys):
    """The text of RESULTS.md with `rows` in section `title`, replacing those that are equal in the columns `keys`."""
    sections = re.split(r"(?m)^(?=## )", text or INTRODUCTION)
    old = next((section for section in sections if section.startswith(f"## {title}\n")), None)
    kept = []
    if old:
        lines = [line for line in old.splitlines() if line.startswith("|")]
        if lines and _cells(lines[0]) == header:
            kept = [_cells(line) for line in lines[2:]]
    rows = [[str(cell) for cell in row] for row in rows]
    columns = [header.index(key) for key in keys]
    key = lambda row: [row[column] for column in columns]
    new = {tuple(key(row)): row for row in rows}
    merged = [new.pop(tuple(key(row)), row) for row in kept] + list(new.values())
    section = f"## {title}\n\n`{command}`\n\n{table(header, merged)}\n"
    if old:
        sections[sections.index(old)] = section
    else:
        sections.append(section)
    return "\n".join(part.strip("\n") + "\n" for part in sections)


def show(title, command, header, rows, keys, write):
    """Prints the rows, and with `write` puts them into RESULTS.md with machine, date and commit."""
    header = header + ["machine", "date", "commit"]
    rows = [list(row) + [machine(), today(), commit()] for row in rows]
    print(f"\n{title}\n{table(header[:-3], [row[:-3] for row in rows])}\n{machine()}, {today()}, commit {commit()}\n{command}", flush=True)
    if not write:
        return
    text = ""
    if os.path.exists(RESULTS):
        with open(RESULTS, encoding="utf-8") as file:
            text = file.read()
    with open(RESULTS, "w", encoding="utf-8") as file:
        file.write(update(text, title, command, header, rows, keys + ["machine"]))


def count(number):
    """12345678 -> 12.3 M"""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
