#!/usr/bin/env python3
"""Prints what a JUnit file of CTest says: failed tests, skipped ones with their reasons, and the counts.

    tools/summarize_tests.py FILE

A GoogleTest program in which single tests skip themselves counts as passed for CTest; those are listed too, and the program
counts as skipped when all of them did.
Exits 1 when a test failed or none ran.
"""

import re
import sys
import xml.etree.ElementTree


def skipped_inside(output):
    """(test, reason) of tests that GoogleTest skipped; the reason is the line after 'Skipped' in its output."""
    lines = output.splitlines()
    reason = ""
    for number, line in enumerate(lines):
        if re.search(r": Skipped$", line) and number + 1 < len(lines):
            reason = lines[number + 1].strip()
        match = re.match(r"\[  SKIPPED \] (\S+) \(", line)
        if match:
            yield match.group(1), reason
            reason = ""


def main():
    cases = xml.etree.ElementTree.parse(sys.argv[1]).getroot().iter("testcase")
    counts = {"run": 0, "fail": 0, "notrun": 0, "disabled": 0}
    failed, skipped = [], []
    for case in cases:
        status = case.get("status", "")
        output = case.findtext("system-out") or ""
        counts[status] = counts.get(status, 0) + 1
        if status == "fail":
            failed.append(case.get("name"))
        elif status == "run":
            inside = list(skipped_inside(output))
            if inside and re.search(r"^\[  PASSED  \] 0 tests\.$", output, re.M):
                counts["run"] -= 1
                counts["notrun"] += 1
                skipped.append((case.get("name"), inside[0][1]))
            else:
                skipped += [(f"{case.get('name')} {test}", reason) for test, reason in inside]
        else:
            lines = [line for line in output.splitlines() if line.strip()]
            node = case.find("skipped")
            reason = lines[-1] if lines else (node.get("message", "") if node is not None else status)
            skipped.append((case.get("name"), reason))
    for name in failed:
        print(f"failed:  {name}")
    for name, reason in skipped:
        print(f"skipped: {name}: {reason}")
    not_run = counts["notrun"] + counts["disabled"]
    print(f"{counts['run']} passed, {counts['fail']} failed, {not_run} skipped")
    return 1 if counts["fail"] or counts["run"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
