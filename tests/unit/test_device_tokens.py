"""Who may send: signatures, audiences, times."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from collector.errors import ApiProblem
from collector.identity.device_tokens import Device, DeviceTokens
from common.codes import ProblemCode
from common.tokens import LEEWAY_S, LIFETIME_S, MAX_LIFETIME_S
from tests.servers.device import FakeDevice

NOW_S = 1_800_000_000.0


class Keys:
    """The enrolled devices, and how often their keys were asked for."""

    def __init__(self, *devices: FakeDevice) -> None:
        self.keys = {device.id: device.public_key for device in devices}
        self.n_asked = 0

    async def load(self, device_id: UUID) -> bytes | None:
        self.n_asked += 1
        return self.keys.get(device_id)


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


def verify(header: str | None, *devices: FakeDevice, now_s: float = NOW_S) -> Device:
    return asyncio.run(DeviceTokens(Keys(*devices).load).verify(header, now_s))


def refusal(header: str | None, *devices: FakeDevice, now_s: float = NOW_S) -> ApiProblem:
    with pytest.raises(ApiProblem) as problem:
        verify(header, *devices, now_s=now_s)
    return problem.value


def test_a_signed_token_proves_the_device(device: FakeDevice) -> None:
    proven = verify(f"Bearer {device.token(NOW_S)}", device)
    assert proven == Device(device.id, device.public_key)
    assert verify(f"bearer  {device.token(NOW_S)} ", device) == proven


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "token"])
def test_a_missing_token_is_told(header: str | None) -> None:
    problem = refusal(header)
    assert (problem.status, problem.code) == (401, ProblemCode.TOKEN_MISSING)


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "..", "x" * 5000, "eyJhbGciOiJub25lIn0.e30."])
def test_garbage_is_invalid(token: str, device: FakeDevice) -> None:
    assert refusal(f"Bearer {token}", device).code == ProblemCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another"},
        {"aud": None},
        {"sub": str(uuid4())},
        {"sub": None},
        {"iss": "me"},
        {"iss": None},
        {"iss": "0" * 50},
        {"iat": None},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": NOW_S + MAX_LIFETIME_S + 1},
        {"exp": NOW_S - 1},
    ],
)
def test_claims_that_do_not_fit_are_invalid(changed: dict[str, Any], device: FakeDevice) -> None:
    assert refusal(f"Bearer {device.token(NOW_S, **changed)}", device).code == ProblemCode.TOKEN_INVALID


def test_another_key_or_algorithm_is_invalid(device: FakeDevice) -> None:
    thief = FakeDevice(id=device.id)
    assert refusal(f"Bearer {thief.token(NOW_S)}", device).code == ProblemCode.TOKEN_INVALID
    claims = {
        "iss": str(device.id),
        "sub": str(device.id),
        "aud": "stopline-collector",
        "iat": NOW_S,
        "exp": NOW_S + 9,
    }
    shared = jwt.encode(claims, device.public_key.hex(), algorithm="HS256")
    assert refusal(f"Bearer {shared}", device).code == ProblemCode.TOKEN_INVALID


def test_an_unknown_device_is_told(device: FakeDevice) -> None:
    problem = refusal(f"Bearer {device.token(NOW_S)}")
    assert (problem.status, problem.code) == (403, ProblemCode.DEVICE_UNKNOWN)


@pytest.mark.parametrize("off_s", [-LIFETIME_S - LEEWAY_S - 1, LEEWAY_S + 1, -3e8, 3e8])
def test_a_clock_that_is_off_is_told_apart_from_a_bad_signature(off_s: float, device: FakeDevice) -> None:
    problem = refusal(f"Bearer {device.token(NOW_S + off_s)}", device)
    assert (problem.status, problem.code) == (401, ProblemCode.TOKEN_TIME)


@pytest.mark.parametrize("off_s", [-LIFETIME_S - LEEWAY_S + 1, LEEWAY_S - 1])
def test_clocks_may_differ_a_little(off_s: float, device: FakeDevice) -> None:
    assert verify(f"Bearer {device.token(NOW_S + off_s)}", device).id == device.id


def test_a_token_is_forgotten_when_it_expires_and_a_key_is_not(device: FakeDevice) -> None:
    keys = Keys(device)
    tokens = DeviceTokens(keys.load)

    async def use() -> None:
        for offset_s in range(5):
            await tokens.verify(f"Bearer {device.token(NOW_S + offset_s)}", NOW_S)
        with pytest.raises(ApiProblem):
            await tokens.verify(f"Bearer {device.token(NOW_S)}", NOW_S + LIFETIME_S + LEEWAY_S + 1)
        assert keys.n_asked == 1

    asyncio.run(use())


def test_a_device_that_got_another_key_goes_on_with_that(device: FakeDevice) -> None:
    keys = Keys(device)
    tokens = DeviceTokens(keys.load)
    renewed = FakeDevice(id=device.id)

    async def use() -> None:
        await tokens.verify(f"Bearer {device.token(NOW_S)}", NOW_S)
        with pytest.raises(ApiProblem):
            await tokens.verify(f"Bearer {renewed.token(NOW_S)}", NOW_S)
        keys.keys[device.id] = renewed.public_key
        proven = await tokens.verify(f"Bearer {renewed.token(NOW_S)}", NOW_S)
        assert proven.public_key == renewed.public_key

    asyncio.run(use())


def test_the_memory_is_bounded() -> None:
    devices = [FakeDevice() for _ in range(3)]
    keys = Keys(*devices)
    tokens = DeviceTokens(keys.load, cached_tokens=2)
    headers = [f"Bearer {device.token(NOW_S)}" for device in devices]

    async def use() -> None:
        for header in headers:
            await tokens.verify(header, NOW_S)
        await tokens.verify(headers[2], NOW_S)
        assert keys.n_asked == 3
        await tokens.verify(headers[0], NOW_S)
        assert keys.n_asked == 4

    asyncio.run(use())


def test_a_token_of_now_fits(device: FakeDevice) -> None:
    assert verify(f"Bearer {device.token()}", device, now_s=time.time()).id == device.id
