"""The lights' end of the link: what it takes, what it answers, and that nobody can hold it up."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.codes import Aspect, SignalMode
from common.commands import Flash, ManualOverride, OrderResult
from edge_agent.link.asking import Asking, LightsUnreachable
from edge_agent.link.messages import Ask, OrderAnswer, Presence, Refused, Shown, ToAgent, ToSignals
from edge_agent.link.server import MAX_BACKLOG_BYTES, MAX_LINE_BYTES, MAX_PEERS, LinkBusy, LinkServer, Peer
from tests.waiting import until

SHOWN = Shown(
    junction="crossroads", at_ns=5_000_000_000, since_ns=1_000_000_000,
    aspects={"north": Aspect.GREEN, "east": Aspect.RED}, mode=SignalMode.AUTOMATIC,
    stage="ns", next_stage=None, plan="day", algorithm="adaptive",
)  # fmt: skip
SEEN = Presence(sensor="cam", zone="approach", at_ns=7, n=3, n_standing=1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LinkServer]:
    server = LinkServer(tmp_path / "link.sock")
    server.open()
    yield server
    server.close()


class Talker:
    """The other end, by hand."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.heard = b""

    def say(self, *lines: bytes) -> None:
        self.socket.sendall(b"".join(line + b"\n" for line in lines))

    def listen(self) -> list[ToAgent]:
        with contextlib.suppress(BlockingIOError):
            self.heard += self.socket.recv(1 << 20)
        return [msgspec.json.decode(line, type=ToAgent) for line in self.heard.split(b"\n")[:-1]]

    def is_hung_up(self) -> bool:
        try:
            while self.socket.recv(1 << 20):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True


@pytest.fixture
def talker(server: LinkServer, tmp_path: Path) -> Iterator[Talker]:
    with contextlib.closing(connect(server, tmp_path).socket) as its:
        talker = Talker.__new__(Talker)
        talker.socket, talker.heard = its, b""
        yield talker


def connect(server: LinkServer, folder: Path) -> Talker:
    n = len(server.peers)
    talker = Talker(folder / "link.sock")
    until(lambda: len(server.peers) > n, server.poll)
    return talker


def heard(server: LinkServer, n: int = 1) -> list[tuple[Peer, ToSignals]]:
    found: list[tuple[Peer, ToSignals]] = []
    until(lambda: len(found) >= n, lambda: found.extend(server.poll()))
    return found


def answer(server: LinkServer, talker: Talker, n: int = 1) -> ToAgent:
    until(lambda: len(talker.listen()) >= n, server.poll)
    return talker.listen()[n - 1]


def encoded(message: Any) -> bytes:
    return msgspec.json.encode(message)


def test_what_is_said_is_heard_whole_whatever_the_pieces(server: LinkServer, talker: Talker) -> None:
    line = encoded(SEEN) + b"\n"
    for piece in (line[:5], line[5:] + line[:9], line[9:]):
        talker.socket.sendall(piece)
        server.poll() if piece == line[:5] else None
    assert [message for _, message in heard(server, 2)] == [SEEN, SEEN]
    assert server.tally.n_messages == 2


def test_an_order_comes_with_the_kernels_word_on_who_gave_it(server: LinkServer, talker: Talker) -> None:
    talker.say(encoded(Ask(id="a", order=Flash(by="x" * 100))))
    ((peer, message),) = heard(server)
    assert isinstance(message, Ask)
    assert message.order.by == "x" * 80 + f" (uid {os.getuid()})"
    assert (peer.uid, peer.pid, peer.may_speak) == (os.getuid(), os.getpid(), True)
    server.tell(OrderAnswer(id="a", result=OrderResult(accepted=True)), peer)
    assert answer(server, talker) == OrderAnswer(id="a", result=OrderResult(accepted=True))


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff\xfe", b"[]", b'{"type":"nonsense"}', b"[" * 5000, b'{"type":"ask"}']
)
def test_nonsense_is_answered_and_counted_and_the_rest_goes_on(
    server: LinkServer, talker: Talker, line: bytes
) -> None:
    talker.say(line, encoded(SEEN))
    assert [message for _, message in heard(server)] == [SEEN]
    refusal = answer(server, talker)
    assert isinstance(refusal, Refused)
    assert "no message that the lights know" in refusal.reason
    assert server.tally.n_bad_lines == 1


def test_an_order_out_of_bounds_is_refused_as_an_order(server: LinkServer, talker: Talker) -> None:
    order = encoded(Ask(id="7", order=ManualOverride(by="me", cycle_s=60.0, lane_green_s={}, expires_s=1.0)))
    talker.say(order)
    refusal = answer(server, talker)
    assert isinstance(refusal, OrderAnswer)
    assert (refusal.id, refusal.result.accepted) == ("7", False)
    assert "expires_s" in refusal.result.reason


def test_who_talks_only_nonsense_or_without_end_is_cut_off(server: LinkServer, tmp_path: Path) -> None:
    loud, endless = connect(server, tmp_path), connect(server, tmp_path)
    with loud.socket, endless.socket:
        loud.say(*[b"nonsense"] * 200)
        until(loud.is_hung_up, server.poll)
        endless.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            for _ in range(MAX_LINE_BYTES // 1000 + 100):
                endless.socket.send(b"x" * 1000)
                server.poll()
        until(lambda: not server.peers, server.poll)
    assert server.tally.n_dropped_peers == 2


@pytest.mark.parametrize("line", [b"", b"nonsense", encoded(SEEN)])
def test_who_floods_is_cut_off_within_one_look(
    server: LinkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    """Whoever may only watch would else have thousands of answers made in one step of the lights."""
    monkeypatch.setattr(server, "_may_speak", lambda *_: False)
    loud = connect(server, tmp_path)
    with loud.socket:
        loud.say(*[line] * (16 * 1024 // (len(line) + 1)))
        until(lambda: not server.peers, server.poll)
    assert server.tally.n_bad_lines + server.tally.n_not_allowed <= 110


def test_a_reader_that_hangs_is_dropped_and_the_others_are_told(server: LinkServer, tmp_path: Path) -> None:
    hung, other = connect(server, tmp_path), connect(server, tmp_path)
    with hung.socket, other.socket:
        line_bytes = len(encoded(SHOWN))
        sent_bytes = 0
        while len(server.peers) == 2:
            server.tell(SHOWN)
            server.poll()
            sent_bytes += line_bytes
            with contextlib.suppress(BlockingIOError):
                other.socket.recv(1 << 20)
            assert sent_bytes < 20 * MAX_BACKLOG_BYTES
        (left,) = server.peers
        server.tell(Refused(reason="still here"), left)
        until(lambda: b"still here" in other.socket.recv(1 << 20))
        assert server.backlog_bytes(left) == 0


def test_what_is_shown_is_the_first_that_a_new_peer_hears(server: LinkServer, tmp_path: Path) -> None:
    server.tell(msgspec.structs.replace(SHOWN, stage="ew"))
    server.tell(SHOWN)
    late = connect(server, tmp_path)
    with late.socket:
        assert answer(server, late) == SHOWN


def test_too_many_are_told_so(server: LinkServer, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_PEERS):
            stack.enter_context(connect(server, tmp_path).socket)
        one_more = Talker(tmp_path / "link.sock")
        stack.enter_context(one_more.socket)
        refusal = answer(server, one_more)
        assert isinstance(refusal, Refused)
        assert "connected to the lights already" in refusal.reason
        assert len(server.peers) == MAX_PEERS


def test_a_socket_left_behind_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "link.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    first, second = LinkServer(path), LinkServer(path)
    first.open()
    with pytest.raises(LinkBusy, match="another lights' daemon listens"):
        second.open()
    first.close()
    first.close()
    assert not path.exists()
    path.write_text("somebody's file")
    with pytest.raises(FileExistsError):
        second.open()
    assert path.read_text() == "somebody's file"


def test_the_daemon_that_was_replaced_does_not_take_the_new_ones_socket_away(tmp_path: Path) -> None:
    path = tmp_path / "link.sock"
    old, new = LinkServer(path), LinkServer(path)
    old.open()
    path.unlink()
    new.open()
    old.close()
    with Asking(path):
        new.close()


AS_SOMEBODY = """
import os, sys
from pathlib import Path
from common.commands import Flash
from edge_agent.link.asking import Asking
os.setgroups([int(g) for g in sys.argv[2].split(",") if g]); os.setgid(65534); os.setuid(65534)
with Asking(Path(sys.argv[1]), 60.0) as asking:
    print(next(asking.shown()).junction)
    print(asking.order(Flash(by="root")).reason)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try to be somebody else")
@pytest.mark.parametrize(
    ("group", "groups", "may"), [(None, "", False), ("daemon", "", False), ("daemon", "1", True)]
)
def test_strangers_may_watch_and_members_of_the_group_may_speak(group: str | None, groups: str, may: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="stopline-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "link.sock"
        server = LinkServer(path, mode=0o666, group=group)
        server.open()
        server.tell(SHOWN)
        found: list[tuple[Peer, ToSignals]] = []

        def serve() -> None:
            for peer, message in server.poll():
                found.append((peer, message))
                assert isinstance(message, Ask)
                result = OrderResult(accepted=False, reason=message.order.by)
                server.tell(OrderAnswer(id=message.id, result=result), peer)

        child = subprocess.Popen(
            [sys.executable, "-c", AS_SOMEBODY, str(path), groups], stdout=subprocess.PIPE, text=True
        )
        until(lambda: child.poll() is not None, serve)
        said, _ = child.communicate()
        server.close()
    assert child.returncode == 0
    junction, reason = said.splitlines()
    assert junction == "crossroads"
    assert (len(found) == 1) == may
    assert reason == ("root (uid 65534)" if may else reason)
    assert may or "use sudo" in reason
    assert server.tally.n_not_allowed == (0 if may else 1)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(LightsUnreachable, match="systemctl status stopline-signals"):
        Asking(tmp_path / "none.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left.sock"))
    left.close()
    with pytest.raises(LightsUnreachable, match="nobody listens"):
        Asking(tmp_path / "left.sock")
    hung = socket.socket(socket.AF_UNIX)
    hung.bind(str(tmp_path / "hung.sock"))
    hung.listen()
    with (
        hung,
        Asking(tmp_path / "hung.sock", 0.01) as asking,
        pytest.raises(LightsUnreachable, match="not answer"),
    ):
        asking.order(Flash(by="me"))
