"""The API does what its description says, for input that the description allows and for input that it forbids."""

from collections.abc import Iterator
from typing import Any

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

N_EXAMPLES = 15
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
ENDLESS = ("/api/live", "/api/live/counts")
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
    faults = []
    for found in description.get_all_operations():
        operation = found.ok()
        try:
            _try(operation, token)
        except BaseExceptionGroup as group:
            faults += [f"{operation.label}: {fault}" for fault in group.exceptions]
    assert not faults, "\n\n".join(faults)


def _try(operation: Any, token: str) -> None:
    @settings(max_examples=N_EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(case=strategies.one_of(operation.as_strategy(), operation.as_strategy(GenerationMode.NEGATIVE)))
    def test(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS, timeout=60)

    test()
