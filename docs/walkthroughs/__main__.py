"""Writes the pages, or checks them: ``python -m docs.walkthroughs [--check] [REPORT]``.

REPORT is what ``lab run --json`` has written; scenarios that are not in it keep the verdicts recorded before. Without
one, only texts can have changed. ``make walkthroughs`` runs the scenarios and then this.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.walkthroughs import pages, recording
from lab.errors import EXIT_FAILED, EXIT_OK, LabError
from lab.scenario import load

SCENARIOS = pages.DOCS.parent / "scenarios"


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.walkthroughs", description="The walkthrough pages.")
    parser.add_argument("--check", action="store_true", help="only say what would change; exit code 1 if anything does")
    parser.add_argument("report", nargs="?", type=Path, metavar="REPORT", help="the report of lab run --json REPORT")
    arguments = parser.parse_args()
    try:
        generated = pages.files(load.load_all(load.discover(SCENARIOS)), _verdicts(arguments.report))
    except LabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if not arguments.check:
        pages.write(generated)
        return EXIT_OK
    found = pages.drift(generated)
    if not found:
        return EXIT_OK
    sys.stdout.write(found)
    sys.stderr.write(f"error: the walkthroughs are not what the scenarios say\n  what to do: run {recording.REMEDY}\n")
    return EXIT_FAILED


def _verdicts(report: Path | None) -> recording.Recording:
    """What was recorded, and what a report brings that is newer."""
    recorded = recording.load() if recording.FILE.exists() else {}
    return recorded | (recording.from_report(report) if report is not None else {})


if __name__ == "__main__":
    sys.exit(main())
