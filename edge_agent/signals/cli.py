"""`stopline-signals`: a light entry point, which loads neither the agent nor its configuration."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common import __version__
from edge_agent.exit_codes import EXIT_BUSY, EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_USAGE
from edge_agent.lean import without
from edge_agent.signals.priority import REFUSED, come_first, step_back

if TYPE_CHECKING:
    import argparse

    from edge_agent.signals.config import SignalsConfig

logger = logging.getLogger(__name__)

PROGRAM = "stopline-signals"
DEFAULT_CONFIG = Path("/etc/stopline/signals.toml")
_AFTER_THE_END = "SERVICE_RESULT"
_ENDED_WITH = "EXIT_STATUS"
"""systemd sets both for `ExecStopPost`."""
_EPILOG = f"""commands:
  run          drive the lights until stopped; the default
  check        try everything that the configuration names, and say what to mend
  lamp-test    light each lamp of each head in turn
  contact-test tell what each contact says, as it is pressed
  safe-state   set all heads to red, after a daemon that died

exit codes:
  0   done
  1   failed, or found something to mend; the message tells what
  {EXIT_USAGE}   the command line is wrong
  {EXIT_BUSY}  another lights' daemon runs on the same state folder
  {EXIT_CONFIG}  the configuration cannot be used
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments = ["run", *arguments]
    code = _do(arguments)
    handlers = logging.getLogger().handlers
    if not all(getattr(handler, "drained", lambda: True)() for handler in handlers):
        os._exit(code)
    return code


def _do(arguments: Sequence[str]) -> int:
    if len(arguments) == 3 and arguments[:2] == ["run", "--config"] and not arguments[2].startswith("-"):
        # As the unit has it. The parser would stay in memory for as long as the lights run.
        return drive(Path(arguments[2]))
    options = make_parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def make_parser() -> "argparse.ArgumentParser":
    """The whole command line."""
    import argparse

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [COMMAND] [--config F]",
        description="Drives the lights of a junction.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stopline {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for name, add in (
        ("run", add_run),
        ("check", add_check),
        ("lamp-test", add_lamp_test),
        ("contact-test", add_contact_test),
        ("safe-state", add_safe),
    ):
        add(subparsers.add_parser(name))
    return parser


def add_run(parser: "argparse.ArgumentParser") -> None:
    """The options of `run`."""
    _add(parser, run, run.__doc__)


def add_check(parser: "argparse.ArgumentParser") -> None:
    """The options of `check`."""
    _add(parser, check, check.__doc__)


def add_lamp_test(parser: "argparse.ArgumentParser") -> None:
    """The options of `lamp-test`."""
    from edge_agent.commands.options import seconds

    _add(parser, lamp_test, lamp_test.__doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask; the road is closed")
    parser.add_argument(
        "--seconds", type=seconds, default=1.0, metavar="S", help="how long each lamp is lit (default: 1)"
    )


def add_contact_test(parser: "argparse.ArgumentParser") -> None:
    """The options of `contact-test`."""
    from edge_agent.commands.options import seconds

    _add(parser, contact_test, contact_test.__doc__)
    parser.add_argument(
        "--seconds", type=seconds, default=600.0, metavar="S", help="for how long (default: 600); Ctrl-C ends it"
    )


def add_safe(parser: "argparse.ArgumentParser") -> None:
    """The options of `safe-state`."""
    _add(parser, safe_state, safe_state.__doc__)


def _add(parser: "argparse.ArgumentParser", run: "Callable[[argparse.Namespace], int]", doc: str | None) -> None:
    parser.description = doc
    parser.add_argument(
        "--config",
        type=Path,
        metavar="F",
        default=DEFAULT_CONFIG,
        help=f"the configuration (default: {DEFAULT_CONFIG})",
    )
    parser.set_defaults(run=run)


def run(options: "argparse.Namespace") -> int:
    """Drive the lights until SIGTERM. SIGHUP reads the configuration again; a bad one is refused, and the lights
    go on."""
    return drive(options.config)


def drive(path: Path) -> int:
    """`run`, with the configuration in `path`."""
    # Before anything else, since most of a start is loading, and the machine may be busy.
    priority = come_first()
    with without("typing_extensions"):
        # Where it is installed, it is asked for what this Python has itself.
        import msgspec  # noqa: F401

    from edge_agent.config.faults import ConfigError
    from edge_agent.drivers.base import HeadsError
    from edge_agent.signals.loading import load_signals_config
    from edge_agent.signals.memory import DaemonRuns

    lost = ""
    try:
        config = load_signals_config(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        kept = last_good()
        if kept is None:
            return EXIT_CONFIG
        config, lost = kept, f"the configuration cannot be used; {str(error).splitlines()[0]}"
    if not config.loop.realtime:
        priority = step_back()
    _log(config)
    # Only now: a configuration with mistakes has no need of the rest.
    from edge_agent.signals.app import run_signals

    level = logging.WARNING if config.loop.realtime and priority.startswith(REFUSED) else logging.INFO
    logger.log(level, "the lights of %s begin (%s)", config.described.name, priority, extra={"action": "begins"})
    try:
        run_signals(config, lambda: load_signals_config(path), lost=lost)
    except DaemonRuns as error:
        logger.critical("%s", error, extra={"action": "daemon_runs"})
        return EXIT_BUSY
    except HeadsError as error:
        logger.critical("%s", error, extra={"action": "heads_unusable"})
        return EXIT_FAILED
    except Exception:
        logger.critical("the lights' daemon failed; the heads are red", exc_info=True, extra={"action": "failed"})
        return EXIT_FAILED
    return EXIT_OK


def check(options: "argparse.Namespace") -> int:
    """Try everything that the configuration names: one line each, ok, note or FAIL, and what to mend. No lamp is
    touched."""
    from edge_agent.config.faults import ConfigError
    from edge_agent.signals.loading import load_signals_config

    try:
        config = load_signals_config(options.config)
    except ConfigError as error:
        for fault in error.faults:
            print(f"FAIL  config: {fault}")
        return EXIT_CONFIG
    from edge_agent.signals.checks import check_all

    junction = config.described
    parts = f"movements {len(junction.movements)}, stages {len(junction.stages)}, plans {len(junction.plans)}"
    print(f"ok    config: {options.config}: {junction.name}; {parts}; heads: {config.heads.driver}")
    code = EXIT_OK
    for finding in check_all(config):
        print(f"{finding.verdict:<4}  {finding.what}: {finding.text}", flush=True)
        if finding.verdict == "FAIL":
            code = EXIT_FAILED
    return code


def lamp_test(options: "argparse.Namespace") -> int:
    """Light each lamp of each head in turn, all other heads red, and say what is read back. Only while the daemon
    does not run; close the road first."""
    from edge_agent.config.faults import ConfigError
    from edge_agent.signals.loading import load_signals_config

    try:
        config = load_signals_config(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    if not options.yes and not _road_is_closed(config):
        print("not done", file=sys.stderr)
        return EXIT_FAILED
    from edge_agent.signals.app import open_configured_heads
    from edge_agent.signals.lamp_test import light_each

    return _with_heads(config, lambda: light_each(config, open_configured_heads, options.seconds))


def contact_test(options: "argparse.Namespace") -> int:
    """Tell what each contact says, and each change: press the buttons, turn the keys, drive over the loops. Only
    while the daemon does not run; no lamp is touched, and nothing is ordered."""
    from edge_agent.config.faults import ConfigError
    from edge_agent.drivers.contacts import ContactsError
    from edge_agent.signals.loading import load_signals_config

    try:
        config = load_signals_config(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    if not config.contacts:
        print(f"{options.config} names no contacts; add [contacts.NAME] with their pins", file=sys.stderr)
        return EXIT_FAILED
    from edge_agent.signals.contact_test import watch_contacts

    try:
        return _with_heads(config, lambda: watch_contacts(config.contacts, options.seconds))
    except ContactsError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_OK


def safe_state(options: "argparse.Namespace") -> int:
    """Set all heads to red. The unit does it after every end of the daemon, whatever ended it; where the
    configuration cannot be used any more, with the last that was good."""
    from edge_agent.config.faults import ConfigError
    from edge_agent.signals.loading import load_signals_config

    kept: SignalsConfig | None
    try:
        config = load_signals_config(options.config)
        kept = last_good(tells_why_not=False)
    except ConfigError as error:
        print(error, file=sys.stderr)
        kept = last_good()
        if kept is None:
            return EXIT_CONFIG
        config = kept
    if _AFTER_THE_END in os.environ and os.environ.get(_ENDED_WITH) != str(EXIT_BUSY):
        # systemd says that the daemon has ended: whatever the disk and a lock on it say, lamps come first. But
        # where it found another one at work, it touched nothing, and the lock counts.
        return _make_all_safe(config, kept)
    return _with_heads(config, lambda: _make_all_safe(config, kept), needs_lock=False)


def _make_all_safe(config: "SignalsConfig", kept: "SignalsConfig | None") -> int:
    """The pins that the daemon drove, too: the file may name others by now, for the next start."""
    from edge_agent.drivers.base import HeadsError

    if kept is not None and kept.heads != config.heads:
        try:
            _make_safe(kept)
        except HeadsError as error:
            print(error, file=sys.stderr)
    return _make_safe(config)


def _make_safe(config: "SignalsConfig") -> int:
    if config.heads.driver != "gpio":
        return EXIT_OK
    from edge_agent.drivers.base import HeadsError
    from edge_agent.drivers.heads import gpio
    from edge_agent.signals.config import wiring_of

    try:
        gpio.safe_state(wiring_of(config.heads))
    except HeadsError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _with_heads(config: "SignalsConfig", act: Callable[[], int], *, needs_lock: bool = True) -> int:
    """Do it as the only one who has the heads.

    Args:
        needs_lock: not done where the lock cannot be had, as on a disk that can only be read. Else it is done all
            the same, but never while another process has the heads.
    """
    from edge_agent.drivers.base import HeadsError
    from edge_agent.signals.memory import DaemonRuns, HeadsLock

    lock = HeadsLock(Path(config.state_dir))
    try:
        try:
            lock.take()
        except OSError as error:
            if needs_lock:
                raise
            print(
                f"{config.state_dir}: {error.strerror}; the heads are made safe without the lock", file=sys.stderr
            )
        return act()
    except DaemonRuns as error:
        print(error, file=sys.stderr)
        return EXIT_BUSY
    except HeadsError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except OSError as error:
        print(f"{config.state_dir}: {error.strerror}; run it as the daemon's user", file=sys.stderr)
        return EXIT_FAILED
    finally:
        lock.release()


def _road_is_closed(config: "SignalsConfig") -> bool:
    print(f"Every lamp of {config.described.name} will be lit, greens included. Close the road first.")
    try:
        return input("Type the junction's name to go on: ").strip() == config.described.name
    except EOFError:
        return False


def last_good(*, tells_why_not: bool = True) -> "SignalsConfig | None":
    """The configuration that the daemon last ran with; only where systemd says where the state is, so that nobody
    who tries a file gets another one."""
    import msgspec

    from edge_agent.signals.config import SignalsConfig
    from edge_agent.signals.memory import LAST_GOOD_NAME

    folder = os.environ.get("STATE_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / LAST_GOOD_NAME
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=SignalsConfig)
    except (OSError, ValueError, RecursionError) as error:
        if tells_why_not:
            print(f"nor is there one that was good before: {path}: {error}", file=sys.stderr)
        return None
    return kept


def _log(config: "SignalsConfig") -> None:
    from common.logs import LogFormat, set_up_logging
    from edge_agent.redact import redact
    from edge_agent.signals.log_aside import LogAside

    for_people = sys.stderr.isatty() or "JOURNAL_STREAM" in os.environ
    form: LogFormat = "json"
    if config.log.format == "text" or (config.log.format == "auto" and for_people):
        form = "text"
    set_up_logging(form, getattr(logging, config.log.level.upper()), clean=redact)
    root = logging.getLogger()
    root.handlers = [LogAside(handler) for handler in root.handlers]


if __name__ == "__main__":
    sys.exit(main())
