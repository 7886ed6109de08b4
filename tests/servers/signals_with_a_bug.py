"""The lights' daemon with a bug in its controller or interlock, which shows after so many steps.

python -m tests.servers.signals_with_a_bug PART N run --config F
"""

import sys
from typing import Any

from edge_agent.domain.signals.controller import Controller
from edge_agent.domain.signals.interlock import Interlock
from edge_agent.signals.cli import main

PARTS: dict[str, tuple[Any, str]] = {"controller": (Controller, "step"), "interlock": (Interlock, "allow")}


def plant(part: str, n_steps: int) -> None:
    """From step `n_steps` on it raises."""
    owner, name = PARTS[part]
    sound = getattr(owner, name)
    done = [0]

    def faulty(*args: Any, **kwargs: Any) -> Any:
        done[0] += 1
        if done[0] > n_steps:
            raise ZeroDivisionError("a bug that somebody left behind")
        return sound(*args, **kwargs)

    setattr(owner, name, faulty)


if __name__ == "__main__":
    plant(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
