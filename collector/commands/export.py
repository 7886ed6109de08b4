"""`stopline-collector export`: what is stored, as CSV or Parquet, to a file. The API's export gives the same."""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import psycopg

from collector.commands.database import add_common_options, opened, settings
from collector.counting.queries import Bucket
from collector.db import Settings, make_pool
from collector.errors import ApiProblem, SettingError, UnavailableError
from collector.export.reading import Range, Reader
from collector.export.streams import Compression, Export, Form
from collector.export.tables import What
from collector.ops.parameters import time_range


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("export", help="write what is stored to a file")
    option = parser.add_argument
    option("file", type=Path, metavar="FILE", help="replaced when the new one is complete")
    option("--what", choices=[*What], type=What, default=What.ROLLUPS, help="default: rollups")
    option("--junction", action="append", help="name or id; repeatable (default: all)")
    option("--from", dest="start", metavar="TIME", help="RFC 3339 (default: a day before --to)")
    option("--to", dest="end", metavar="TIME", help="RFC 3339 (default: now)")
    option("--step", choices=[*Bucket], type=Bucket, default=Bucket.HOUR, help="of rollups (default: 1h)")
    option("--format", choices=[*Form], type=Form, default=Form.CSV, help="default: csv")
    option("--compress", choices=[*Compression], type=Compression, help="default: none; in Parquet zstd")
    add_common_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export once, and tell how much it was."""
    with opened(settings(options), makes=False) as database:
        size_bytes = asyncio.run(_write(options, database.dsn))
    print(f"{options.file}: {size_bytes:,} bytes")
    return 0


async def _write(options: argparse.Namespace, dsn: str) -> int:
    file_path: Path = options.file
    # Beside the file, so that it can take its place at once.
    unfinished = file_path.with_name(file_path.name + ".part")
    try:
        async with make_pool(Settings(dsn, min_size=1, max_size=2)) as pool:
            export = await _export(options, Reader(pool))
            with unfinished.open("wb") as file:
                async for piece in export.stream():
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                size_bytes = file.tell()
            unfinished.replace(file_path)
    except ApiProblem as problem:
        raise SettingError(problem.detail) from problem
    except psycopg.OperationalError as error:
        raise UnavailableError(f"the database went away: {str(error).strip()}") from error
    except OSError as error:
        raise SettingError(f"{file_path} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return size_bytes


async def _export(options: argparse.Namespace, reader: Reader) -> Export:
    asked = Range(*time_range(options.start, options.end), options.step)
    junctions = await reader.junctions(options.junction)
    return Export(reader, options.what, junctions, asked, options.format, options.compress)
