"""Who is told which tags were read: admins alone, and each time is written down. What others see is made here.

A tag's EPC follows one vehicle through the city, also where it is a hash.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from common.codes import Via
from common.records import KINDS, Count, Cycle

WITHHELD = "(withheld)"
"""Stands where a tag was."""
_MAY_NAME_TAGS = frozenset({"count", "cycle"})
_TAGLESS_VIA = frozenset(Via) - {Via.RFID}
_VIA, _LANES = (1 + record.__struct_fields__.index(name) for record, name in ((Count, "via"), (Cycle, "lanes")))
_TAG_KEYS = frozenset({"epc", "epcs", "epc_id", "epc_ids", "tag", "tag_id", "tag_ids", "tags"})
_TAG_KEY_IN_TEXT = re.compile(r'"(?:epc|tag)(?:s|_ids?)?\\*"', re.IGNORECASE)
_KIND = re.compile(r'\s*\[\s*"(\w+)"')
_QUOTED = re.compile(r"'.*'|\".*\"|`[^`]*`")
_HARMLESS = re.compile(
    r"'(?![a-f]+')[a-z_]{1,40}'|`(?:(?:int|float|str|bool|null|array|object)(?: \| )?)+`|`\$[\[\].0-9]*`"
)
"""The name of a kind, types, and a place in the record, of all that may be quoted."""


def may_name_tags(raw: str) -> bool:
    """Whether the text of a record, broken as it may be, can have a tag in it. In doubt it can."""
    kind = _KIND.match(raw)
    if kind is None or kind[1] not in KINDS or _TAG_KEY_IN_TEXT.search(raw):
        return True
    if kind[1] not in _MAY_NAME_TAGS:
        return False
    try:
        fields = msgspec.json.decode(raw, type=list[Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return True
    if kind[1] == "count":
        return len(fields) <= _VIA or fields[_VIA] not in _TAGLESS_VIA
    lanes = fields[_LANES] if len(fields) > _LANES else None
    return not isinstance(lanes, list) or any(map(_lane_may_name_tags, lanes))


def _lane_may_name_tags(lane: Any) -> bool:
    """Beside the lane's name there are numbers alone, where nothing was read."""
    return not isinstance(lane, list) or any(isinstance(value, str | list | dict) and value for value in lane[1:])


def without_quotes(detail: str) -> str:
    """Why a record was put aside, without what was quoted of it."""
    first_line, _, rest = detail.partition("\n")
    told = _QUOTED.sub(lambda quoted: quoted[0] if _HARMLESS.fullmatch(quoted[0]) else WITHHELD, first_line)
    return told + (f" {WITHHELD}" if rest else "")


def names_tags(context: Mapping[str, Any]) -> bool:
    """Whether the context of a log line has tags in it, as far as its names tell. A number of `tags` is none."""
    return any(map(_is_tag, context, context.values()))


def without_tags(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context of a log line with `WITHHELD` where tags stand."""
    return {key: WITHHELD if _is_tag(key, value) else value for key, value in context.items()}


def _is_tag(key: str, value: Any) -> bool:
    is_number_of_tags = key.lower() == "tags" and isinstance(value, int | float)
    return key.lower() in _TAG_KEYS and value is not None and not is_number_of_tags
