"""Work that the lights do not depend on: when it fails, it is left out for a while, and the lights go on."""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

logger = logging.getLogger(__name__)

RETRY_S = 60.0
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Aside:
    """One such piece of work.

    Args:
        what: for the log: "the link to the agent".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._again_s = float("-inf")
        self.trouble = ""
        """Why it is left out at present; empty: it is not."""

    def do(self, now_s: float, otherwise: _T, act: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """`act(...)`, or `otherwise` where it raises, and for `RETRY_S` after that."""
        if now_s < self._again_s:
            return otherwise
        try:
            found = act(*args, **kwargs)
        except Exception as error:
            self._again_s = now_s + RETRY_S
            self.trouble = f"{self._what}: {type(error).__name__}: {error}"
            logger.exception("%s failed; the lights go on", self._what, extra={"action": "aside_failed"})
            return otherwise
        self.trouble = ""
        return found
