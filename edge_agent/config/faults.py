"""What is wrong with a configuration, all of it at once. Both daemons tell it in the same words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a configuration.

    Attributes:
        source: the file, or the environment variable.
        line: in the file, where it is known.
        key: the setting, as `cameras[north].fps`; empty where the whole file is meant.
        value: what was given, without secrets; None where nothing was.
        message: what is wrong and what would be right.
    """

    source: str
    line: int | None
    key: str
    value: str | None
    message: str

    def __str__(self) -> str:
        where = f"{self.source}, line {self.line}" if self.line else self.source
        shown = f"{self.key} = {self.value}" if self.key and self.value is not None else self.key
        return ": ".join(part for part in (where, shown, self.message) if part)


class ConfigError(ValueError):
    """The configuration cannot be used. Holds everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: (fault.line is None, fault.line or 0))
        super().__init__("\n".join(str(fault) for fault in self.faults))
