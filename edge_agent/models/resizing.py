"""A model for another input size: half the pixels are half the work, on a Pi that is too slow for the model.

Detectors of most families are convolutions, which take any size; what binds them to one are the shape that is
declared for their input, and constants by which they rearrange what they work on. Those constants are the sides of
the input divided by a stride, so they are found and divided anew. Whether the result is still the same detector is
for the caller to try: nothing here runs it.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_agent.models.known import ModelError
from edge_agent.models.protobuf import (
    BYTES,
    VARINT,
    Field,
    NotAMessage,
    fields_of,
    message_of,
    numbers_in,
    signed,
)

Size = tuple[int, int]
STRIDE_PX = 32
"""Sides are multiples of it: the coarsest grid that most detectors look at."""

# Numbers of fields, by the schema of ONNX.
_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_NAME, _TYPE, _TENSOR_TYPE, _SHAPE, _DIM, _DIM_VALUE, _DIM_PARAM = 1, 2, 1, 2, 1, 1, 2
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _ATTRIBUTE_TENSOR = 1, 2, 4, 5, 5
_DIMS, _DATA_TYPE, _INT64_DATA, _TENSOR_NAME, _RAW_DATA = 1, 2, 7, 8, 9
_INT64 = 7

_STRIDES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class _Sides:
    """The input's sides, as height and width, before and after."""

    before: Size
    after: Size

    def of_grid(self, height: int, width: int) -> Size | None:
        """What a grid of these sides becomes; None: it is not the input's at any stride."""
        for stride in _STRIDES:
            if (height * stride, width * stride) == self.before:
                return -(-self.after[0] // stride), -(-self.after[1] // stride)
        return None

    def of_cells(self, n: int) -> int | None:
        """The same for a grid's number of cells."""
        for stride in _STRIDES:
            height, width = (-(-side // stride) for side in self.before)
            if height * width == n:
                return -(-self.after[0] // stride) * -(-self.after[1] // stride)
        return None


def resized(model: bytes, size_px: Size) -> bytes:
    """The content of a model's file, for an input of another size.

    Args:
        size_px: width and height.

    Raises:
        ModelError: it is no such file, or takes no picture of a fixed size.
    """
    if any(side % STRIDE_PX for side in size_px):
        raise ModelError(
            f"{size_px[0]}x{size_px[1]} will not do: each side has to be a multiple of {STRIDE_PX}, such as "
            f"{_near(size_px[0])}x{_near(size_px[1])}"
        )
    try:
        return message_of(
            Field(_GRAPH, BYTES, _graph(field.data, size_px)) if field.number == _GRAPH else field
            for field in fields_of(model)
        )
    except (NotAMessage, struct.error) as error:
        raise ModelError(f"it is not the file of an ONNX model: {error}") from error


def _near(side_px: int) -> int:
    return max(STRIDE_PX, round(side_px / STRIDE_PX) * STRIDE_PX)


def _graph(graph: bytes, size_px: Size) -> bytes:
    fields = fields_of(graph)
    constants = {_text(field.data, _TENSOR_NAME) for field in fields if field.number == _INITIALIZER}
    picture, before, at = _picture(
        f.data for f in fields if f.number == _INPUT and _text(f.data, _NAME) not in constants
    )
    sides = _Sides(before, (size_px[1], size_px[0]))
    shaping = _shaping(field.data for field in fields if field.number == _NODE)
    changed = []
    for field in fields:
        data = field.value
        if field.number == _VALUE_INFO:
            continue  # shapes of what is in between: optional, and no longer so
        if field.number == _INPUT and _text(field.data, _NAME) == picture:
            data = _with_sides(field.data, at, sides.after)
        elif field.number == _OUTPUT:
            data = _with_open_shape(field.data)
        elif field.number == _INITIALIZER:
            data = _constant(field.data, shaping.get(_text(field.data, _TENSOR_NAME)), sides)
        elif field.number == _NODE and _text(field.data, _OP_TYPE) == "Constant":
            data = _constant_node(field.data, shaping, sides)
        changed.append(Field(field.number, field.kind, data))
    return message_of(changed)


def _text(message: bytes, number: int) -> str:
    return next((f.data.decode(errors="replace") for f in fields_of(message) if f.number == number), "")


def _within(message: bytes, *numbers: int) -> bytes:
    """A message within messages; empty where there is none."""
    for number in numbers:
        message = next((field.data for field in fields_of(message) if field.number == number), b"")
    return message


def _picture(inputs: Iterable[bytes]) -> tuple[str, Size, int]:
    """Name of the input that takes the picture, its height and width, and which of its sizes is the height."""
    for told in inputs:
        shape = [_size(field.data) for field in fields_of(_within(told, _TYPE, _TENSOR_TYPE, _SHAPE))]
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            continue
        at = 2 if shape[1] == 3 else 1
        height, width = shape[at : at + 2]
        if height is None or width is None:
            raise ModelError("its input is open to any size already; say which one with input_size")
        return _text(told, _NAME), (height, width), at
    raise ModelError("it has no input for a picture (batch x 3 x height x width, or batch x height x width x 3)")


def _size(dimension: bytes) -> int | None:
    for field in fields_of(dimension):
        if field.number == _DIM_VALUE and isinstance(field.value, int) and field.value > 0:
            return field.value
    return None


def _changed(message: bytes, number: int, change: Mapping[int, bytes] | None, *deeper: int) -> bytes:
    """The message with the fields of this number changed: those in `change`, by place; None leaves them out."""
    result, place = [], 0
    for field in fields_of(message):
        if field.number != number:
            result.append(field)
        elif deeper:
            result.append(Field(number, BYTES, _changed(field.data, deeper[0], change, *deeper[1:])))
        elif change is not None:
            result.append(Field(number, BYTES, change.get(place, field.data)))
            place += 1
    return message_of(result)


def _with_sides(told: bytes, at: int, sides: Size) -> bytes:
    dims = {at + i: message_of([Field(_DIM_VALUE, VARINT, side)]) for i, side in enumerate(sides)}
    return _changed(told, _TYPE, dims, _TENSOR_TYPE, _SHAPE, _DIM)


def _with_open_shape(told: bytes) -> bytes:
    """An output without its shape, which is found when the model is loaded."""
    return _changed(told, _TYPE, None, _TENSOR_TYPE, _SHAPE)


def _shaping(nodes: Iterable[bytes]) -> dict[str, str]:
    """Names of constants that tell a shape, and of what kind the operation is that takes them."""
    kinds = {}
    for node in nodes:
        fields = fields_of(node)
        kind = next((f.data.decode(errors="replace") for f in fields if f.number == _OP_TYPE), "")
        inputs = [f.data.decode(errors="replace") for f in fields if f.number == _NODE_INPUT]
        at = {"Reshape": 1, "Resize": 3}.get(kind)
        if at is not None and at < len(inputs) and inputs[at]:
            kinds[inputs[at]] = kind
    return kinds


def _constant_node(node: bytes, shaping: Mapping[str, str], sides: _Sides) -> bytes:
    kind = shaping.get(_text(node, _NODE_OUTPUT))
    if kind is None:
        return node
    attribute = _within(node, _ATTRIBUTE)
    tensor = _within(attribute, _ATTRIBUTE_TENSOR)
    changed = _constant(tensor, kind, sides)
    return _changed(node, _ATTRIBUTE, {0: changed}, _ATTRIBUTE_TENSOR) if changed != tensor else node


def _constant(tensor: bytes, kind: str | None, sides: _Sides) -> bytes:
    """A constant, with the sides of a grid in it as they are by now."""
    if kind is None:
        return tensor
    fields = fields_of(tensor)
    if not any(field.number == _DATA_TYPE and field.value == _INT64 for field in fields):
        return tensor
    values = _numbers(fields)
    changed = _grid_changed(values, sides)
    if changed == values:
        return tensor
    raw = Field(_RAW_DATA, BYTES, struct.pack(f"<{len(changed)}q", *changed))
    return message_of([*(f for f in fields if f.number not in (_INT64_DATA, _RAW_DATA)), raw])


def _numbers(fields: Iterable[Field]) -> list[int]:
    values: list[int] = []
    for field in fields:
        if field.number == _RAW_DATA:
            values += [number for (number,) in struct.iter_unpack("<q", field.data)]
        elif field.number == _INT64_DATA:
            values += [signed(field.value)] if isinstance(field.value, int) else numbers_in(field.data)
    return values


def _grid_changed(shape: list[int], sides: _Sides) -> list[int]:
    """A shape that ends with the height and width of a grid, or with their product, for the other size."""
    if len(shape) >= 4 and (grid := sides.of_grid(*shape[-2:])):
        return [*shape[:-2], *grid]
    if len(shape) == 3 and (cells := sides.of_cells(shape[-1])):
        return [*shape[:-1], cells]
    return shape
