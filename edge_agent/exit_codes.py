"""What the exit codes of `stopline-agent` mean."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BUSY = 75
"""Something is in the way that may go away: another agent runs on this state folder. EX_TEMPFAIL."""
EXIT_CONFIG = 78
"""The configuration cannot be used. EX_CONFIG."""
