"""The .sql files: named blocks, and errors that say what is wrong with them."""

from importlib.resources import files

import pytest

from collector.db import SqlError, load_queries, parse_queries


def test_blocks_are_found_by_name() -> None:
    queries = parse_queries("x", "-- head\n\n-- name: one\n-- Why.\nSELECT 1;\n\n-- name: two_2\nSELECT ';'\n")
    assert dict(queries) == {"one": b"-- Why.\nSELECT 1", "two_2": b"SELECT ';'"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;", r"sql/x\.sql: the block a is there twice"),
        ("-- name: A\nSELECT 1;", r"sql/x\.sql: 'A' is no name for a block"),
        ("-- name:\nSELECT 1;", r"sql/x\.sql: '' is no name for a block"),
        ("-- name: a\n-- nothing\n-- name: b\nSELECT 1", r"sql/x\.sql: the block a is empty"),
    ],
)
def test_a_wrong_file_is_told(text: str, told: str) -> None:
    with pytest.raises(SqlError, match=told):
        parse_queries("x", text)


def test_an_unknown_block_is_told_by_file_and_name() -> None:
    with pytest.raises(SqlError, match=r"sql/x\.sql has no block `-- name: two`"):
        parse_queries("x", "-- name: one\nSELECT 1")["two"]


def test_every_area_that_ships_can_be_read() -> None:
    names = [entry.name for entry in (files("collector") / "sql").iterdir() if entry.name.endswith(".sql")]
    areas = [name.removesuffix(".sql") for name in names if name != "schema.sql"]
    assert {"counts", "fleet", "ingest", "junctions", "rollups", "store"} <= set(areas)
    for area in areas:
        assert len(load_queries(area)) > 0, area
