"""A model's file for another input size, changed without the library that knows its schema; checked by that."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_agent.models.known import ModelError
from edge_agent.models.protobuf import BYTES, FIXED_32, FIXED_64, VARINT, Field, NotAMessage, fields_of, message_of
from edge_agent.models.resizing import resized

fields = st.one_of(
    st.builds(Field, st.integers(1, 2**29 - 1), st.just(VARINT), st.integers(0, 2**64 - 1)),
    st.builds(Field, st.integers(1, 100), st.just(BYTES), st.binary(max_size=300)),
    st.builds(Field, st.integers(1, 100), st.just(FIXED_32), st.binary(min_size=4, max_size=4)),
    st.builds(Field, st.integers(1, 100), st.just(FIXED_64), st.binary(min_size=8, max_size=8)),
)


@settings(max_examples=60)
@given(st.lists(fields, max_size=6))
def test_a_message_comes_back_as_it_was(some: list[Field]) -> None:
    assert fields_of(message_of(some)) == some


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        fields_of(data)
    except NotAMessage:
        return


def model(*, typed: bool = False) -> bytes:
    """A model that takes 128 x 96 pixels and rearranges them by constants of every kind there is."""
    values = {
        "grid": [1, 2, 48, 12, 16],
        "joined": [1, -1, 12, 16],
        "cells": [96, 2, 96],
        "back": [2, -1, 96, 8, 12],
        "sizes": [1, 96, 24, 32],
        "rest": [1, 85, -1],
    }
    nodes = [
        helper.make_node("Reshape", ["images", "grid"], ["a"]),
        helper.make_node("Reshape", ["a", "joined"], ["b"]),
        helper.make_node("Resize", ["b", "", "", "sizes"], ["c"], mode="nearest"),
        helper.make_node("Reshape", ["c", "cells"], ["d"]),
        helper.make_node("Reshape", ["d", "back"], ["e"]),
        helper.make_node("Reshape", ["e", "rest"], ["output"]),
        helper.make_node("Add", ["grid", "other"], ["unused"]),
    ]
    tensors = [
        helper.make_tensor(name, TensorProto.INT64, [len(v)], v)
        if typed
        else numpy_helper.from_array(np.asarray(v, np.int64), name)
        for name, v in values.items()
    ]
    nodes.insert(0, helper.make_node("Constant", [], ["cells"], value=tensors.pop(2)))
    tensors.append(numpy_helper.from_array(np.asarray([1, 2, 48, 12, 16], np.int64), "other"))
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 96, 128])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 85, 192])
    between = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 2, 48, 12, 16])]
    graph = helper.make_graph(nodes, "made by a test", [picture], [output], tensors, value_info=between)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    helper.set_model_props(made, {"names": "{0: 'car'}"})
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("typed", [False, True])
def test_what_depends_on_the_size_is_changed_and_nothing_else(typed: bool) -> None:
    graph = onnx.load_from_string(resized(model(typed=typed), (192, 64))).graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, 3, 64, 192]
    assert not graph.output[0].type.tensor_type.HasField("shape")
    assert not graph.value_info
    told = {one.name: numpy_helper.to_array(one).tolist() for one in graph.initializer}
    assert told == {
        "grid": [1, 2, 48, 8, 24],
        "joined": [1, -1, 8, 24],
        "back": [2, -1, 96, 8, 12],  # no stride has it
        "sizes": [1, 96, 16, 48],
        "rest": [1, 85, -1],
        "other": [1, 2, 48, 12, 16],  # shapes nothing
    }
    constant = next(node for node in graph.node if node.op_type == "Constant")
    # 96 channels are not touched; 96 cells are 12 x 8 of... none: 6 x 8 and 12 x 16 are the grids that there are.
    assert numpy_helper.to_array(constant.attribute[0].t).tolist() == [96, 2, 96]


def test_cells_and_constants_among_the_nodes() -> None:
    shape = numpy_helper.from_array(np.asarray([24, 2, 192], np.int64))
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Reshape", ["images", "shape"], ["output"]),
    ]
    picture = helper.make_tensor_value_info("images", TensorProto.UINT8, [1, 96, 128, 3])
    output = helper.make_tensor_value_info("output", TensorProto.UINT8, [24, 2, 192])
    made = helper.make_model(helper.make_graph(nodes, "g", [picture], [output]))
    graph = onnx.load_from_string(resized(made.SerializeToString(), (192, 64))).graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, 64, 192, 3]
    assert numpy_helper.to_array(graph.node[0].attribute[0].t).tolist() == [24, 2, 192]
    graph = onnx.load_from_string(resized(made.SerializeToString(), (256, 256))).graph
    assert numpy_helper.to_array(graph.node[0].attribute[0].t).tolist() == [24, 2, 1024]


def test_a_damaged_file_is_refused_or_changed_and_never_more() -> None:
    whole = model()
    random = np.random.default_rng(3)
    for place in range(0, len(whole), 3):
        broken = bytearray(whole)
        broken[place] ^= int(random.integers(1, 256))
        for content in (whole[:place], bytes(broken)):
            with suppress(ModelError):
                resized(content, (64, 64))


def test_the_bundled_model_as_the_library_changes_it() -> None:
    """The same change made with the library that knows the schema: what differs is nothing."""
    source = Path(__file__).parents[2] / "edge_agent/models/street.onnx"
    theirs = onnx.load(source)
    for at, side in ((2, 192), (3, 320)):
        theirs.graph.input[0].type.tensor_type.shape.dim[at].dim_value = side
    theirs.graph.output[0].type.tensor_type.ClearField("shape")
    assert onnx.load_from_string(resized(source.read_bytes(), (320, 192))) == theirs
