"""One question to the collector and its answer: signed, compressed, timed, and bounded in size."""

import ipaddress
import ssl
from collections.abc import Callable, Collection
from typing import Annotated, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import msgspec
import zstandard
from msgspec import Meta

from common import __version__
from common.batch import BATCHES_PATH, STREAMS_PATH, Ack, Batch, ClockState, Problem
from common.clock import Anchor, Resolved, Stamp
from common.records import UnixMs
from common.remote import COMMANDS_PATH
from edge_agent.clock_source import Clock, collector_anchor
from edge_agent.enrol import Identity, sign_token
from edge_agent.outbox import OutgoingBatch
from edge_agent.sync.pacing import parse_retry_after
from edge_agent.sync.trouble import SyncTrouble, Trouble, explain_answer, explain_error

MAX_ANSWER_BYTES = 4 * 1024 * 1024
_ANSWER_S = 60.0
_AFTER_WAIT_S = 15.0
"""A question that waits is answered when its time is over; later, the connection broke unnoticed."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which `ssl.VerifyFlags` does not name."""
_RENEW_BEFORE_S = 60
_ZSTD_LEVEL = 3

T = TypeVar("T")
_ack_decoder = msgspec.json.Decoder(Ack)
_problem_decoder = msgspec.json.Decoder(Problem)
_encoder = msgspec.json.Encoder()


class SyncSettings(msgspec.Struct, frozen=True):
    """Where the collector is and how to talk to it."""

    url: str
    ca_file: str | None = None
    """The certificate of the authority that issued the collector's; None: those that this system trusts."""
    allow_plain_http: bool = False
    """Without it, `http://` is for this machine only."""
    send_interval_s: float = 1.0
    """Shortest time between batches while there is no backlog."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        if not sound or not parts.hostname:
            raise ValueError(f"url is {self.url!r}; it must be like https://collector.example.org:8443")
        if parts.scheme == "http" and not self.allow_plain_http and not _is_loopback(parts.hostname):
            raise ValueError(
                f"url is {self.url!r}; beyond this machine it must be https:// (allow_plain_http = true "
                "sends everything readable to anybody in between)"
            )

    @property
    def host(self) -> str:
        """The collector's name and port, for messages."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


class Refusal(msgspec.Struct, frozen=True):
    """An answer that is not an acknowledgement."""

    status: int
    problem: Problem | None
    retry_after_s: float | None
    trouble: Trouble


class Offered(msgspec.Struct, frozen=True):
    """A `common.remote.Command`, its order not read yet: it may be one of a later version."""

    id: UUID
    order: msgspec.Raw
    expires_in_s: Annotated[float, Meta(ge=0.0, le=86_400.0)]


class Offer(msgspec.Struct, frozen=True):
    """A `common.remote.CommandList`, likewise."""

    commands: list[Offered]
    server_time: UnixMs
    waited_s: float | None = None
    """None: an older collector does not tell."""


_offer_decoder = msgspec.json.Decoder(Offer)


class Exchange:
    """Talks to one collector for one device. `close` it at the end.

    Args:
        now: what time it is, as well as is known.
        add_anchor: is told the collector's time with every answer.
    """

    def __init__(
        self,
        settings: SyncSettings,
        identity: Identity,
        clock: Clock,
        add_anchor: Callable[[Anchor], None],
    ) -> None:
        self._settings, self._identity, self._clock = settings, identity, clock
        self._add_anchor = add_anchor
        self._client: httpx.AsyncClient | None = None
        self._checks_time = True
        self._token: tuple[str, float] | None = None
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)

    async def ask(self, stream: str, epoch: UUID, now: Resolved) -> Ack | Refusal:
        """What the collector has of an epoch. Raises SyncTrouble."""
        return await self._send("GET", f"{STREAMS_PATH}/{stream}?epoch={epoch}", None, now, _ack_decoder)

    async def post(self, batch: OutgoingBatch, now: Resolved) -> Ack | Refusal:
        """Bring a batch. Raises SyncTrouble."""
        stamp = self._clock.stamp()
        clock = ClockState(stamp.synced, self._clock.error_ms(), stamp.boot_id)
        records = [msgspec.Raw(record) for record in batch.records]
        body = Batch(self._identity.device, batch.stream, batch.epoch, batch.first_seq, now.at_ms, clock, records)
        content = self._compressor.compress(_encoder.encode(body))
        return await self._send("POST", BATCHES_PATH, content, now, _ack_decoder)

    async def wait_for_commands(self, known: Collection[UUID], wait_s: float, now: Resolved) -> Offer | Refusal:
        """Wait until the collector has orders for the lights, other than these. Raises SyncTrouble."""
        query = "&".join([f"wait_s={wait_s:g}", *(f"known={one}" for one in known)])
        return await self._send("GET", f"{COMMANDS_PATH}?{query}", None, now, _offer_decoder, wait_s)

    def forget_token(self) -> None:
        """The time was wrong: sign anew."""
        self._token = None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        now: Resolved,
        decoder: "msgspec.json.Decoder[T]",
        wait_s: float = 0.0,
    ) -> T | Refusal:
        headers = {"Authorization": f"Bearer {self._current_token(now.at_ms / 1000)}"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Encoding": "zstd"}
        sent = self._clock.stamp()
        client = await self._open_client(sent)
        try:
            timeout = _timeout(wait_s + _AFTER_WAIT_S if wait_s else _ANSWER_S)
            async with client.stream(method, path, content=body, headers=headers, timeout=timeout) as response:
                content = await _read_bounded(response)
                certificate = _certificate(response)
        except (httpx.HTTPError, OSError) as error:
            raise SyncTrouble(explain_error(error, self._settings.host)) from error
        received = self._clock.stamp()
        answer = self._parse(response, content, now, decoder)
        server_time_ms = _server_time(answer)
        if server_time_ms is not None:
            if not self._checks_time:
                self._check_validity(certificate, server_time_ms / 1000)
            self._add_anchor(collector_anchor(sent, received, server_time_ms))
        return answer

    def _parse(
        self, response: httpx.Response, content: bytes, now: Resolved, decoder: "msgspec.json.Decoder[T]"
    ) -> T | Refusal:
        if response.status_code == 200:
            try:
                return decoder.decode(content)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass
        try:
            problem = _problem_decoder.decode(content) if response.status_code >= 400 else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            problem = None
        retry_after_s = parse_retry_after(response.headers.get("Retry-After"), now.at_ms / 1000)
        if retry_after_s is None and problem is not None:
            retry_after_s = problem.retry_after_s
        trouble = explain_answer(response.status_code, problem, self._settings.host)
        return Refusal(response.status_code, problem, retry_after_s, trouble)

    def _current_token(self, now_s: float) -> str:
        if self._token is None or not self._token[1] - 3600 < now_s < self._token[1] - _RENEW_BEFORE_S:
            self._token = sign_token(self._identity, now_s)
        return self._token[0]

    async def _open_client(self, stamp: Stamp) -> httpx.AsyncClient:
        """The client; a new one when the clock became right or wrong.

        With a clock that is not synchronised no certificate would ever be valid, and where NTP is blocked only the
        collector can tell the time. Then everything of the certificate is checked but its dates, and these are
        checked against the time that the collector tells.
        """
        if self._client is not None and self._checks_time != stamp.synced:
            await self.close()
        if self._client is None:
            self._checks_time = stamp.synced
            self._client = httpx.AsyncClient(
                base_url=self._settings.url,
                verify=_make_tls(self._settings, check_time=self._checks_time),
                limits=httpx.Limits(max_connections=2),
                headers={"User-Agent": f"stopline-agent/{__version__}", "Accept": "application/json"},
            )
        return self._client

    def _check_validity(self, certificate: dict[str, str] | None, server_s: float) -> None:
        if not certificate:
            return
        begin_s, end_s = (ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter"))
        if not begin_s <= server_s <= end_s:
            raise SyncTrouble(
                Trouble(
                    f"the certificate of {self._settings.host} is valid from {certificate['notBefore']} to "
                    f"{certificate['notAfter']}, and the collector's own clock says otherwise",
                    "renew the certificate, or set the collector's clock right",
                )
            )


def _timeout(read_s: float) -> httpx.Timeout:
    return httpx.Timeout(connect=15.0, read=read_s, write=60.0, pool=15.0)


def _make_tls(settings: SyncSettings, *, check_time: bool) -> ssl.SSLContext | bool:
    if urlsplit(settings.url).scheme == "http":
        return True
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        trouble = Trouble(f"ca_file {settings.ca_file} cannot be read: {error}", "give the path of a PEM file")
        raise SyncTrouble(trouble, slow=True) from error
    if not check_time:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return context


async def _read_bounded(response: httpx.Response) -> bytes:
    """The answer's body; of a longer one its beginning, which then does not parse."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            break
    return bytes(content)


def _certificate(response: httpx.Response) -> dict[str, str] | None:
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    return tls.getpeercert() if tls is not None else None


def _server_time(answer: object) -> int | None:
    if isinstance(answer, Ack | Offer):
        return answer.server_time
    if not isinstance(answer, Refusal):
        return None
    return answer.problem.server_time if answer.problem is not None else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
