"""`stopline-agent timing log`: what is wrong with a log of hi-res events, and what it measures."""

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_agent.commands.options import Subparsers
from edge_agent.domain.signals.lint import Finding, lint
from edge_agent.domain.signals.log_rows import DETECTOR_COLUMNS, DetectorRow, LogError, LogRow, read_event_rows
from edge_agent.domain.signals.measures import actuations, arrivals, phase_cycles, terminations, waits
from edge_agent.domain.signals.timing import TimingError
from edge_agent.exit_codes import EXIT_FAILED, EXIT_OK

_HELP = """\
What is wrong with a log of hi-res events, and what it measures: greens and how they ended, split failures,
arrivals on green, waits, actuations.

FILE.csv has the columns TimeStamp, DeviceId, EventId, Parameter; the names that others use for them are known too.
--detectors tells which detector is what to which phase: columns DeviceId, Phase, Parameter, Function, where
Function is Presence or Advance.
"""
_SHOWN_FINDINGS = 20
_WHOLE_S = float("inf")


def add_log(ways: Subparsers) -> None:
    """Add `log` to `timing`."""
    parser = ways.add_parser(
        "log",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what is wrong with a log of events, and what it measures",
    )
    option = parser.add_argument
    option("file", type=Path, metavar="FILE.csv", help="the log")
    option("--detectors", type=Path, metavar="FILE.csv", help="what the detectors are")
    option("--device", metavar="NAME", help="which DeviceId; needed if there are several")
    option("--conflict", action="append", default=[], metavar="A:B", help="phases that must never go together")
    option("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(way=_log)


def _log(options: argparse.Namespace) -> int:
    """1: there are findings."""
    device, rows = _rows(options.file, options.device)
    detectors = [] if options.detectors is None else _detectors(options.detectors, device)
    findings = lint(rows, [_conflict(text) for text in options.conflict])
    phases = _phases(sorted(rows, key=lambda row: row.at_s), detectors)
    if options.json:
        print(json.dumps({"rows": len(rows), "findings": [_told(one) for one in findings], "phases": phases}))
    else:
        print(_as_text(rows, findings, phases))
    return EXIT_FAILED if findings else EXIT_OK


def _rows(path: Path, device: str | None) -> tuple[str, list[LogRow]]:
    with path.open(encoding="utf-8", newline="") as file:
        try:
            events = list(read_event_rows(csv.reader(file)))
        except (UnicodeDecodeError, csv.Error) as error:
            raise LogError(f"{path} is no CSV: {error}") from error
    devices = sorted({event.device for event in events})
    if device is None and len(devices) > 1:
        raise LogError(f"{path} holds several devices; choose one with --device: {', '.join(devices[:20])}")
    wanted = [event for event in events if device in (None, event.device)]
    if not wanted:
        raise LogError(
            f"{path} holds no event" + (f" of {device!r}; there are {', '.join(devices)}" if device else "")
        )
    zero = min(event.at for event in wanted)
    rows = [LogRow((event.at - zero).total_seconds(), event.code, event.parameter) for event in wanted]
    return wanted[0].device, rows


def _detectors(path: Path, device: str) -> list[DetectorRow]:
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file)
        if not set(DETECTOR_COLUMNS) <= set(lines.fieldnames or ()):
            raise LogError(f"{path}: its first line must name {', '.join(DETECTOR_COLUMNS)}")
        try:
            return [
                DetectorRow(line["DeviceId"], int(line["Phase"]), int(line["Parameter"]), line["Function"])
                for line in lines
                if line["DeviceId"] == device
            ]
        except ValueError as error:
            raise LogError(f"{path}, line {lines.line_num}: {error}") from error


def _conflict(text: str) -> frozenset[int]:
    a, _, b = text.partition(":")
    if not (a.isdecimal() and b.isdecimal() and int(a) != int(b)):
        raise TimingError(f"--conflict {text}: write two phases, as 2:4")
    return frozenset((int(a), int(b)))


def _phases(rows: Sequence[LogRow], detectors: Sequence[DetectorRow]) -> dict[str, dict[str, object]]:
    """All that can be told, by phase."""
    found: dict[int, dict[str, object]] = {}
    for (_, phase, why), n in sorted(terminations(rows, _WHOLE_S).items()):
        found.setdefault(phase, {})[why.value] = n
    failures: Counter[int] = Counter()
    for cycle in phase_cycles(rows, detectors):
        failures[cycle.phase] += cycle.is_split_failure
    for phase, n in failures.items():
        found.setdefault(phase, {})["split_failures"] = n
    for (_, phase), one in arrivals(rows, detectors, _WHOLE_S).items():
        found.setdefault(phase, {}).update(arrivals=one.n, on_green=round(one.share, 3))
    spans: dict[int, list[float]] = {}
    for wait in waits(rows):
        spans.setdefault(wait.phase, []).append(wait.waited_s)
    for phase, of_phase in spans.items():
        found.setdefault(phase, {}).update(
            wait_mean_s=round(sum(of_phase) / len(of_phase), 1), wait_max_s=round(max(of_phase), 1)
        )
    return {str(phase): found[phase] for phase in sorted(found)}


def _told(finding: Finding) -> dict[str, object]:
    return {"at_s": round(finding.at_s, 3), "rule": finding.rule, "text": finding.text}


def _as_text(rows: Sequence[LogRow], findings: Sequence[Finding], phases: dict[str, dict[str, object]]) -> str:
    span_h = (max(row.at_s for row in rows) - min(row.at_s for row in rows)) / 3600.0
    n_on = sum(actuations(rows, _WHOLE_S).values())
    lines = [f"{len(rows)} events in {span_h:.2f} h, {n_on} actuations of detectors"]
    for phase, told in phases.items():
        lines.append(f"phase {phase}: " + ", ".join(f"{name} {value}" for name, value in told.items()))
    lines.append(_summary(findings))
    lines += [f"  {one.at_s:10.3f} s  {one.rule:<9} {one.text}" for one in findings[:_SHOWN_FINDINGS]]
    if len(findings) > _SHOWN_FINDINGS:
        lines.append(f"  and {len(findings) - _SHOWN_FINDINGS} more; --json tells all")
    return "\n".join(lines)


def _summary(findings: Iterable[Finding]) -> str:
    kinds = Counter(one.rule for one in findings)
    return ", ".join(f"{n} x {rule}" for rule, n in kinds.most_common()) + " to mend" if kinds else "no findings"
