"""The wire: what was ever sent parses for ever, and means the same.

`tests/cases/wire/v1/` holds messages as they were sent, written by hand, each with what it means. A sample is
never changed and never made anew: when one of these tests fails, the code is wrong.
"""

import json
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import codes
from common.batch import Ack, Batch, Problem
from common.records import KINDS, Count, Frames, Gap, Record, first_covered_seq

CASES = Path(__file__).parents[1] / "cases/wire"
SAMPLES = sorted((CASES / "v1").glob("*.json"))
MESSAGES: dict[str, type[msgspec.Struct]] = {"batch": Batch, "ack": Ack, "problem": Problem}


def load(path: Path) -> tuple[Any, bytes, dict[str, Any]]:
    """A sample's type, its bytes on the wire, and what its fields mean."""
    case = json.loads(path.read_text())
    return MESSAGES.get(path.name.partition(".")[0], Record), msgspec.json.encode(case["wire"]), case["means"]


def plain(message: msgspec.Struct) -> dict[str, Any]:
    """All fields of a message, as JSON's own types."""
    fields = {field: getattr(message, field) for field in message.__struct_fields__}
    if isinstance(message, Batch):
        fields["records"] = [json.loads(bytes(raw)) for raw in message.records]
    converted: dict[str, Any] = json.loads(msgspec.json.encode(fields))
    return converted


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_recorded_message_parses_and_means_the_same(path: Path) -> None:
    kind, wire, means = load(path)
    message = msgspec.json.decode(wire, type=kind)
    if kind is Record:
        assert type(message) is KINDS[path.name.partition(".")[0]]
    assert plain(message) == {**added_since(message, means), **means}


def added_since(message: msgspec.Struct, means: dict[str, Any]) -> dict[str, Any]:
    """Fields that a sample does not know yet; they must have their defaults."""
    fields = msgspec.structs.fields(message)
    return {field.name: field.default for field in fields if field.name not in means}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_recorded_message_survives_a_round_trip(path: Path) -> None:
    kind, wire, means = load(path)
    again = msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(wire, type=kind)), type=kind)
    assert plain(again) == {**added_since(again, means), **means}


def test_every_kind_and_message_has_a_sample() -> None:
    assert {path.name.partition(".")[0] for path in SAMPLES} == KINDS.keys() | MESSAGES.keys()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_fields_that_a_newer_agent_adds_are_ignored(kind: str) -> None:
    _, wire, means = load(CASES / f"v1/{kind}.json")
    known = msgspec.json.decode(wire, type=Record)
    newer = [*json.loads(msgspec.json.encode(known)), "unknown", {"to": ["us"]}]
    record = msgspec.json.decode(msgspec.json.encode(newer), type=Record)
    assert record == known
    assert plain(record) == {**added_since(record, means), **means}


@pytest.mark.parametrize("name", ["Direction", "Via", "GapReason", "DropClass", "RejectCode", "ProblemCode"])
def test_codes_are_only_added_and_at_the_end(name: str) -> None:
    enum: type[StrEnum] = getattr(codes, name)
    recorded = json.loads((CASES / "codes.json").read_text())[name]
    assert [str(code) for code in enum][: len(recorded)] == recorded


def test_the_kinds_are_the_tags() -> None:
    assert {kind: struct.__struct_config__.tag for kind, struct in KINDS.items()} == {kind: kind for kind in KINDS}


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (["hologram", 1, 0, 0], "Invalid value 'hologram'"),
        ([], "at least length 1,"),
        (["count", 1, 0, 0, "cam"], "at least length 9, got 5"),
        (["count", 0, 0, 0, "cam", "line", "camera", "car", "in"], r"`int` >= 1 - at `\$\[1\]`"),
        (["count", 1, 2**60, 0, "cam", "line", "camera", "car", "in"], r"\$\[2\]"),
        (["count", 1, 0, -1, "cam", "line", "camera", "car", "in"], r"\$\[3\]"),
        (["count", 1, 0, 0, "", "line", "camera", "car", "in"], r"length >= 1 - at `\$\[4\]`"),
        (["count", 1, 0, 0, "cam", "line", "sonar", "car", "in"], "Invalid enum value 'sonar'"),
        (["count", 1, 0, 0, "cam", "line", "camera", "car", "in", 1.5], r"<= 1.0 - at `\$\[9\]`"),
        (["count", "1", 0, 0, "cam", "line", "camera", "car", "in"], "Expected `int`, got `str`"),
        (["frames", 1, 0, 0, "cam", -5, 0, 0, 0], r"\$\[5\]"),
        (["log", 1, 0, 0, "INFO", "x", "m" * 8001], "length <= 8000"),
        ({"kind": "count"}, "Expected `array`"),
    ],
)
def test_what_is_no_record_is_refused_by_name(wire: object, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.json.decode(msgspec.json.encode(wire), type=Record)


def test_a_gap_covers_the_records_it_stands_for() -> None:
    lost = Gap(139, 0, 0, codes.GapReason.OUTBOX_FULL, 0, from_seq=40)
    assert first_covered_seq(lost) == 40
    assert first_covered_seq(Gap(139, 0, 0, codes.GapReason.PAUSED, 0)) == 139
    assert first_covered_seq(Frames(7, 0, 0, "cam", 0, 0, 0, 0)) == 7


def values(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Any value that a wire type allows, as msgspec sees the type: new fields are covered as they come."""
    match info:
        case msgspec.inspect.StructType(cls=cls):
            return structs(cls)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([values(one) for one in types])
        case msgspec.inspect.IntType(ge=ge, le=le):
            return st.integers(-(2**53) if ge is None else ge, 2**53 if le is None else le)
        case msgspec.inspect.FloatType(ge=ge, le=le):
            return st.floats(ge, le, allow_nan=False, allow_infinity=False)
        case msgspec.inspect.StrType(min_length=shortest, max_length=longest):
            letters = st.characters(exclude_categories=["Cs"])
            return st.text(letters, min_size=shortest or 0, max_size=min(longest or 40, 40))
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.EnumType(cls=enum):
            return st.sampled_from(enum)
        case msgspec.inspect.ListType(item_type=item):
            return st.lists(values(item), max_size=5)
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(values(key), values(value), max_size=5)
    raise NotImplementedError(f"the wire has a type that no value is known for: {info}")


@cache
def structs(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of a wire struct. Made once, and not for each value: that takes as long as all the rest."""
    info = msgspec.inspect.type_info(cls)
    assert isinstance(info, msgspec.inspect.StructType)
    return st.builds(cls, **{field.name: values(field.type) for field in info.fields})


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.data())
def test_any_record_survives_a_round_trip(kind: str, data: st.DataObject) -> None:
    record = data.draw(structs(KINDS[kind]))
    wire = msgspec.json.encode(record)
    assert msgspec.json.decode(wire, type=Record) == record
    assert json.loads(wire)[0] == kind


@given(st.lists(st.one_of([structs(struct) for struct in KINDS.values()]), min_size=1, max_size=5))
def test_a_batch_keeps_its_records_as_they_are(records: list[Record]) -> None:
    raw = [msgspec.Raw(msgspec.json.encode(record)) for record in records]
    sample, _, _ = load(CASES / "v1/batch.json")
    batch = msgspec.json.decode((CASES / "v1/batch.json").read_bytes(), type=_BatchCase).wire
    wire = msgspec.json.encode(msgspec.structs.replace(batch, records=raw))
    received = msgspec.json.decode(wire, type=sample)
    assert [msgspec.json.decode(one, type=Record) for one in received.records] == records


class _BatchCase(msgspec.Struct):
    """A sample file of a batch."""

    wire: Batch


def test_a_record_cannot_be_changed() -> None:
    count = Count(1, 0, 0, "cam", "line", codes.Via.CAMERA, "car", codes.Direction.IN)
    with pytest.raises(AttributeError):
        count.seq = 2  # type: ignore[misc]
