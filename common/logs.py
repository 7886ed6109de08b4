"""Log lines of a daemon: for people, or JSON for machines. Both carry `action` and what else is in `extra`."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def set_up_logging(
    log_format: LogFormat, level: int = logging.INFO, clean: Callable[[str], str] | None = None
) -> None:
    """To standard error, for the whole process. The root calls it once.

    Args:
        clean: goes over every finished line; takes out what nobody may read.
    """
    formatter = _Json() if log_format == "json" else _Text()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Cleaning(formatter, clean) if clean else formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class _Text(logging.Formatter):
    """For a terminal or the journal."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.getMessage()}{extra}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _Cleaning(logging.Formatter):
    """Another formatter's lines, cleaned. Tracebacks and what libraries log go through it too."""

    def __init__(self, inner: logging.Formatter, clean: Callable[[str], str]) -> None:
        super().__init__()
        self._inner, self._clean = inner, clean

    def format(self, record: logging.LogRecord) -> str:
        return self._clean(self._inner.format(record))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
