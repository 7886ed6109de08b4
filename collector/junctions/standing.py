"""Which devices are meant by a file that says who stands at a junction, and which of them are new there. Pure."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from common.junction_checks import Fault


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """An enrolled device that a name or id of the file may mean, and where it stands."""

    id: UUID
    name: str
    status: str
    junction_id: UUID | None
    junction: str | None


@dataclass(slots=True)
class Standing:
    """What becomes of a file's devices.

    Attributes:
        arriving: those that have stood nowhere until now.
        notes: what the operator should know, and what is no fault.
    """

    arriving: list[KnownDevice] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stand(
    wanted: Sequence[str], known: Sequence[KnownDevice], free: Collection[str], junction: UUID | None
) -> Standing:
    """Args:
    wanted: names and ids.
    known: all devices with such a name or id.
    free: names of devices that stand nowhere: what may have been meant.
    junction: where they are to stand; None: at one that is not there yet.
    """
    found = Standing()
    for i, name in enumerate(wanted):
        meant = [one for one in known if name in (one.name, str(one.id))]
        here = [one for one in meant if junction is not None and one.junction_id == junction]
        if here:
            found.notes += _revoked(here)
            continue
        found.faults += _faults(f"devices[{i}]", name, meant)
        if len(meant) == 1 and meant[0].junction_id is None and meant[0] not in found.arriving:
            found.arriving += meant
            found.notes += _revoked(meant)
        elif not meant:
            others = [one for one in free if one not in wanted]
            near = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]}?" if near else ""
            found.notes.append(
                f"devices[{i}]: {name!r} is not enrolled yet; import again when it is, and it stands there{hint}"
            )
    return found


def _faults(path: str, name: str, meant: Sequence[KnownDevice]) -> Iterator[Fault]:
    if len(meant) > 1:
        ids = ", ".join(str(one.id) for one in meant)
        yield Fault(path, name, f"there are {len(meant)} devices of that name; name the one you mean by id: {ids}")
    elif meant and meant[0].junction_id is not None:
        yield Fault(
            path,
            name,
            f"stands at junction {meant[0].junction}: its counts by hour and day belong there; a Pi that moved "
            "gets a new id",
        )


def _revoked(devices: Sequence[KnownDevice]) -> list[str]:
    return [f"device {one.name} was revoked; it may not send" for one in devices if one.status != "active"]
