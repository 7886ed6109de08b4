"""The collector's log."""

import logging

from common import logs
from common.logs import LogFormat

__all__ = ["LogFormat", "set_up_logging"]


def set_up_logging(log_format: LogFormat, level: int = logging.INFO) -> None:
    """To standard error, for the whole process. The root calls it once."""
    logs.set_up_logging(log_format, level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # The pool says at WARNING what the writers and readers say themselves, with more to go by.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
