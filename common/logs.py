"""Log lines of a daemon: for people, or JSON for machines. Both carry `action` and what else is in `extra`."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def set_up_logging(log_format: LogFormat, level: int = logging.INFO, clean: Callable[[str], str] = str) -> None:
    """To standard error, for the whole process. The root calls it once.

    Args:
        clean: goes over every text, tracebacks and what libraries log included; takes out what nobody may read.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(clean) if log_format == "json" else _Text(clean))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _Formatter(logging.Formatter):
    def __init__(self, clean: Callable[[str], str]) -> None:
        super().__init__()
        self._clean = clean


class _Json(_Formatter):
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
        # Before it is JSON: afterwards a text taken out could take a quotation mark along.
        cleaned = {key: self._clean(value) if isinstance(value, str) else value for key, value in line.items()}
        return json.dumps(cleaned, default=lambda value: self._clean(str(value)), ensure_ascii=False)


class _Text(_Formatter):
    """For a terminal or the journal."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.getMessage()}{extra}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return self._clean(line)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
