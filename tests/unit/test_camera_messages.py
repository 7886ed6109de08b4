"""What camera processes and the agent tell each other comes through whole, or not at all."""

import asyncio

import pytest

from common.codes import Direction, GapReason, Via
from common.records import Count, Frames
from edge_agent.cameras.child import ChildGarbled, MessagePipe
from edge_agent.cameras.jobs import camera_job, threads_per_camera
from edge_agent.cameras.messages import (
    LENGTH,
    Beat,
    Fact,
    Failed,
    Finished,
    InZone,
    Message,
    Probed,
    Ready,
    decode,
    decode_job,
    encode,
    encode_job,
)
from edge_agent.config.camera import CameraSettings

pytestmark = pytest.mark.anyio
COUNT = Count(1, 0, 0, "north", "stop", Via.CAMERA, "car", Direction.IN, 0.9, "7")
BLOCK = Fact(9, Frames(1, 0, 0, "north", 1000, 1000, 10, 0))
MESSAGES: list[Message] = [
    Ready(1, 640, 360, 12.5),
    Ready(1, 640, 360, 12.5, "4 points: its error cannot be known", ("lorry",)),
    Probed(9.9, 31.0),
    Fact(2**60, COUNT),
    Beat(3, "ok", 9.9, 0, 31.0, BLOCK),
    Beat(3, "black", 0.0, 0, None, None),
    Beat(3, "ok", 9.9, 0, None, None, (InZone("yard", 13, 11, 12), InZone("gate", 0, 0, None))),
    Failed(GapReason.MODEL_FAILED, "the model"),
    Finished(),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_each_message_comes_back(message: Message) -> None:
    assert decode(encode(message)[LENGTH.size :]) == message


async def test_messages_come_in_any_pieces() -> None:
    stream = asyncio.StreamReader()
    pipe = MessagePipe(stream)
    received = []
    for byte in b"".join(map(encode, MESSAGES)):
        stream.feed_data(bytes([byte]))
        message = await pipe.receive(0)
        if message is not None:
            received.append(message)
    assert received == MESSAGES


async def test_what_was_sent_before_the_end_is_received() -> None:
    stream = asyncio.StreamReader()
    pipe = MessagePipe(stream)
    stream.feed_data(encode(MESSAGES[0]) + encode(MESSAGES[2])[:-3])
    stream.feed_eof()
    assert not pipe.ended
    assert await pipe.receive(1.0) == MESSAGES[0]
    assert await pipe.receive(1.0) is None, "one that was cut off is none"
    assert pipe.ended


@pytest.mark.parametrize(
    "sent",
    [b"\xff\xff\xff\xff", LENGTH.pack(3) + b"\x00\x01\x02", LENGTH.pack(2) + b"{}"],
    ids=["long", "junk", "json"],
)
async def test_nonsense_is_told(sent: bytes) -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(sent)
    with pytest.raises(ChildGarbled):
        await MessagePipe(stream).receive(1.0)


async def test_a_count_that_breaks_the_wires_bounds_does_not_come_through() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(encode(Fact(1, Count(1, 0, 0, "", "stop", Via.CAMERA, "car", Direction.IN))))
    with pytest.raises(ChildGarbled, match="length"):
        await MessagePipe(stream).receive(1.0)


def test_a_job_holds_what_was_configured() -> None:
    settings = CameraSettings.model_validate_json(
        '{"name": "north", "source": "rtsp://h/1", "model": "motion", "fps": 5.0,'
        '"lines": [{"name": "stop", "points": [[0, 1], [2, 3]]}]}'
    )
    job = camera_job(settings, 3)
    assert (job.threads, job.fps, job.classes) == (3, 5.0, None)
    assert job.lines == (("stop", ((0.0, 1.0), (2.0, 3.0)), "auto"),)
    assert decode_job(encode_job(job)) == job


@pytest.mark.parametrize(
    ("n_cores", "n_cameras", "threads"), [(4, 1, 3), (4, 2, 2), (4, 8, 1), (1, 1, 1), (16, 2, 4)]
)
def test_cameras_share_the_cores(n_cores: int, n_cameras: int, threads: int) -> None:
    assert threads_per_camera(n_cores, n_cameras) == threads
