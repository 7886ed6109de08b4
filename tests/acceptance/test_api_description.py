"""The API does what its description says, for input that the description allows and for input that it forbids."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from collector.identity.users import Role
from tests.integration.test_users import PASSWORD, make_user
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.postgres import PgServer

N_EXAMPLES = 6
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
NO_HTTP = b"Invalid HTTP request received."
"""The server's word on what is no request, before the API sees it."""
ENDLESS = ("/api/live", "/api/live/counts", "/api/junctions/{junction_id}/live")
"""Event streams: they have tests of their own."""


@pytest.fixture(scope="module")
def collector(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[RunningCollector]:
    with cloned_database(plain_server, next(database_names)) as dsn:
        make_user(dsn, "ada", Role.ADMIN)
        with running_collector(dsn, reading_open=False) as running:
            yield running


@pytest.fixture(scope="module")
def token(collector: RunningCollector) -> str:
    with httpx.Client(base_url=collector.url) as client:
        signed_in = client.post("/api/users/login", json={"name": "ada", "password": PASSWORD}).json()
        headers = {"Authorization": f"Bearer {signed_in['access_token']}"}
        made = client.post("/api/users/me/tokens", json={"name": "schema", "role": "admin"}, headers=headers)
        return str(made.json()["token"])


@pytest.fixture(scope="module")
def description(collector: RunningCollector) -> Any:
    load_all_checks()
    return schemathesis.openapi.from_url(f"{collector.url}/schema/openapi.json").exclude(path=list(ENDLESS))


def test_whatever_is_asked_is_answered_as_described(description: Any, token: str) -> None:
    faults, n = [], 0
    for found in description.get_all_operations():
        operation, n = found.ok(), n + 1
        try:
            _try(operation, token)
        except BaseExceptionGroup as group:
            faults += [f"{operation.label}: {fault}" for fault in group.exceptions]
    assert n > 60, "the description lost operations"
    assert not faults, "\n\n".join(faults)


def test_every_body_has_an_example_that_is_understood(collector: RunningCollector, token: str) -> None:
    """Refused it may be: what it names is not there. But not for its shape."""
    refused = []
    with httpx.Client(base_url=collector.url, headers={"Authorization": f"Bearer {token}"}) as client:
        for path, methods in client.get("/schema/openapi.json").json()["paths"].items():
            for method, operation in methods.items():
                for media, told in operation.get("requestBody", {}).get("content", {}).items():
                    if media != "application/json" or path.startswith("/api/ingest"):
                        continue
                    assert told.get("examples"), f"{method} {path} has no example"
                    url = re.sub(r"\{\w+\}", str(uuid4()), path)
                    for example in told["examples"].values():
                        answer = client.request(method, url, json=example["value"])
                        if answer.status_code == 400:
                            refused.append(f"{method} {path}: {answer.text}")
    assert not refused, "\n".join(refused)


def test_all_routes_refuse_what_they_do_not_know_and_bodies_that_are_no_json(
    collector: RunningCollector, token: str
) -> None:
    bodies = {
        b"{": "body: it is no JSON",
        b'{"name": "\xff"}': "body: it is no JSON, which is UTF-8",
        b"[" * 3000: "body: its lists and tables are nested too deeply",
        b"7": "body: has to be a table",
    }
    with httpx.Client(base_url=collector.url, headers={"Authorization": f"Bearer {token}"}) as client:
        nothing = client.post("/api/users/login")
        assert (nothing.status_code, nothing.json()["errors"][0]["key"]) == (400, "body")
        for path, methods in client.get("/schema/openapi.json").json()["paths"].items():
            if not path.startswith("/api/") or path.startswith(("/api/ingest", "/api/device")):
                continue
            url = re.sub(r"\{\w+\}", str(uuid4()), path)
            for method, operation in methods.items():
                content = operation.get("requestBody", {}).get("content", {})
                example: dict[str, Any] = next(
                    iter(content.get("application/json", {}).get("examples", {}).values()), {}
                )
                needed = {
                    one["name"]: "counts"
                    for one in operation.get("parameters", [])
                    if one["in"] == "query" and one.get("required")
                }
                asked = client.request(method, url, params=needed | {"nosuch": "1"}, json=example.get("value"))
                assert asked.status_code == 400, f"{method} {url}: {asked.text}"
                assert "nosuch: there is no such parameter here" in asked.json()["detail"]
                for body, told in bodies.items() if example and not path.endswith("/import") else ():
                    answer = client.request(method, url, content=body)
                    assert answer.status_code == 400, f"{method} {url}: {answer.text}"
                    assert told in answer.json()["detail"]


def _try(operation: Any, token: str) -> None:
    @settings(max_examples=N_EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(case=strategies.one_of(operation.as_strategy(), operation.as_strategy(GenerationMode.NEGATIVE)))
    def test(case: Any) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {token}"}, timeout=60)
        if answer.content != NO_HTTP:
            case.validate_response(answer, checks=CHECKS)

    test()
