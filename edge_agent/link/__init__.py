"""How the two daemons of one Pi talk: a Unix socket, on which the lights' daemon listens.

Up go records (each acknowledged, and kept on the disk until then) and what the lights show; down come what sensors
see and orders. Either daemon may be absent, and each goes on without the other.
"""

from pathlib import Path

DEFAULT_SOCKET = Path("/run/stopline-signals/link.sock")
"""Where the lights' daemon listens unless told otherwise."""
