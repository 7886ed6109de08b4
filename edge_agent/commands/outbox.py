"""Look into what waits for the collector.

status   how much waits, since when, and what was put aside; of a running agent, as it tells itself
export   all records that wait, to be rescued from an SD card: JSON lines with everything, or CSV with the counts
verify   read every row, and see that no number is missing

export and verify need the agent to be stopped. Nothing in the outbox is changed.
"""

import argparse
import csv
import io
import json
import sqlite3
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from edge_agent.clock_source import Clock
from edge_agent.commands.options import DEFAULT_CONFIG, Subparsers, add_command
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.config.settings import StatusSettings
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from edge_agent.outbox import OutboxBusy, OutboxError
from edge_agent.outbox.reader import Flaw, OutboxReader, Waiting, reading

_COLUMNS = (
    *("epoch", "seq", "at", "at_error_ms", "sensor", "source", "via", "class", "direction", "confidence"),
    *("track", "inferred", "speed_mps"),
)
_STATUS_TIMEOUT_S = 3.0


def add(subparsers: Subparsers) -> None:
    """Add `outbox` to the command line."""
    parser = add_command(subparsers, "outbox", __doc__, run)
    parser.add_argument("what", choices=tuple(_WAYS), help="what to do")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, metavar="F", default=DEFAULT_CONFIG, help="take the outbox of this")
    where.add_argument("--file", type=Path, metavar="DB", help="an outbox itself, as on an SD card of another Pi")
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="of export (default: jsonl)")
    parser.add_argument("--out", type=Path, metavar="F", help="export to this new file (default: standard output)")


def run(options: argparse.Namespace) -> int:
    """Do it, or say why not."""
    try:
        path, status = _where(options)
        return _WAYS[options.what](path, status, options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except sqlite3.DatabaseError as error:
        _complain(f"{path} is damaged: {error}. Keep a copy; the agent salvages what it can when it starts")
    except (OutboxError, OSError) as error:
        _complain(str(error))
    return EXIT_FAILED


def _complain(text: str) -> None:
    print(f"stopline-agent outbox: {text}", file=sys.stderr)


def _where(options: argparse.Namespace) -> tuple[Path, StatusSettings | None]:
    if options.file is not None:
        return options.file, None
    config = load_config(options.config, files_must_exist=False)
    return config.outbox_path, config.status


# --- status ------------------------------------------------------------------------------------------------------


def _status(path: Path, status: StatusSettings | None, _: argparse.Namespace) -> int:
    try:
        with reading(path, Clock().stamp()) as reader:
            print(f"{path} (no agent runs on it)")
            _print_status(reader)
    except OutboxBusy:
        if status is None or not status.enabled:
            raise
        _print_running(status)
    return EXIT_OK


def _print_status(reader: OutboxReader) -> None:
    kinds: Counter[str] = Counter()
    oldest_ms: int | None = None
    for entry in reader.read():
        if isinstance(entry, Waiting):
            kinds[entry.kind] += 1
            at_ms = json.loads(entry.record)[2]
            oldest_ms = at_ms if oldest_ms is None else min(oldest_ms, at_ms)
    by_kind = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
    print(f"waiting       {sum(kinds.values())}{': ' if by_kind else ''}{by_kind}")
    print(f"oldest        {_iso(oldest_ms) if oldest_ms is not None else '-'}")
    print(f"dropped       {reader.dropped} since it was made")
    for generation in reader.generations:
        print(f"epoch         {generation.epoch}: acknowledged to {generation.acked - generation.base}")
    aside = reader.quarantine()
    print(f"put aside     {len(aside)}{' (newest first)' if aside else ''}")
    for epoch, seq, code, detail, _ in aside[:10]:
        print(f"              {epoch} {seq} {code}: {detail}")


def _print_running(status: StatusSettings) -> None:
    """Of a running agent, which alone may read its outbox."""
    host = "127.0.0.1" if status.host in ("0.0.0.0", "::") else status.host
    url = f"http://{host}:{status.port}/status.json"
    try:
        with urllib.request.urlopen(url, timeout=_STATUS_TIMEOUT_S) as answer:
            found: dict[str, Any] = json.load(answer)
    except OSError as error:
        raise OutboxBusy(f"an agent runs, and its status page {url} does not answer: {error}") from error
    outbox, sync = found["outbox"], found["sync"]
    print(f"the agent runs ({url})")
    print(f"waiting       {outbox['waiting']} records, {outbox['size_bytes'] / 1e6:.1f} MB")
    print(f"dropped       {outbox['dropped']} since it was made")
    if sync:
        print(f"collector     {sync['collector']}: {sync['phase']}, {sync['delivered']} delivered since the start")
    for complaint in found["complaints"]:
        print(f"look at       {complaint}")


# --- export ------------------------------------------------------------------------------------------------------


def _export(path: Path, _: StatusSettings | None, options: argparse.Namespace) -> int:
    with reading(path, Clock().stamp()) as reader, _output(options.out) as out:
        write = _write_csv if options.format == "csv" else _write_jsonl
        n_written, n_left_out, flaws = write(reader, out)
    left_out = f", {n_left_out} that are no counts left out" if n_left_out else ""
    print(f"{n_written} records exported{left_out}", file=sys.stderr)
    for flaw in flaws:
        _complain(f"epoch {flaw.epoch}, number {flaw.seq}: {flaw.what}")
    return EXIT_FAILED if flaws else EXIT_OK


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    # "x": what was exported once is never written over.
    with path.open("x", encoding="utf-8", newline="") as file:
        yield file


def _write_jsonl(reader: OutboxReader, out: TextIO) -> tuple[int, int, list[Flaw]]:
    n_written, flaws = 0, []
    for entry in reader.read():
        if isinstance(entry, Flaw):
            flaws.append(entry)
            continue
        out.write(
            f'{{"stream":{json.dumps(entry.stream)},"epoch":"{entry.epoch}","record":{entry.record.decode()}}}\n'
        )
        n_written += 1
    return n_written, 0, flaws


def _write_csv(reader: OutboxReader, out: TextIO) -> tuple[int, int, list[Flaw]]:
    n_written = n_left_out = 0
    flaws = []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for entry in reader.read():
        if isinstance(entry, Flaw):
            flaws.append(entry)
        elif entry.kind != "count":
            n_left_out += 1
        else:
            _, seq, at_ms, at_error_ms, *rest = json.loads(entry.record)
            table.writerow([entry.epoch, seq, _iso(at_ms), at_error_ms, *rest[: len(_COLUMNS) - 4]])
            n_written += 1
        out.write(text.getvalue())
        text.seek(0)
        text.truncate()
    return n_written, n_left_out, flaws


# --- verify ------------------------------------------------------------------------------------------------------


def _verify(path: Path, _: StatusSettings | None, __: argparse.Namespace) -> int:
    n_records = n_lost = n_flaws = 0
    with reading(path, Clock().stamp()) as reader:
        for entry in reader.read():
            if isinstance(entry, Flaw):
                n_flaws += 1
                print(f"FAIL  epoch {entry.epoch}, number {entry.seq}: {entry.what}")
            elif entry.kind == "lost":
                n_lost += entry.seq - entry.from_seq + 1
            else:
                n_records += 1
    verdict = "FAIL" if n_flaws else "ok  "
    print(f"{verdict}  {path}: {n_records} records and {n_lost} known to be lost; {n_flaws} faults")
    return EXIT_FAILED if n_flaws else EXIT_OK


_WAYS: dict[str, Callable[[Path, StatusSettings | None, argparse.Namespace], int]] = {
    "status": _status,
    "export": _export,
    "verify": _verify,
}


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
