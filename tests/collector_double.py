"""A collector over real HTTP or HTTPS that keeps to the protocol, until it is told to misbehave."""

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import jwt
import msgspec
import zstandard
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from common.batch import BATCHES_PATH, STREAMS_PATH, Ack, Batch, Pace, Problem, Rejection
from common.codes import ProblemCode
from common.tokens import ALGORITHM, AUDIENCE, LEEWAY_S
from edge_agent.enrol import Identity
from edge_agent.outbox import OutgoingBatch
from tests.outbox_model import ModelCollector

Answer = tuple[int, dict[str, str], bytes]


class DoubleCollector:
    """Serves on a free port while entered as a context.

    Attributes:
        model: what it has stored.
        script: answers for the next requests, in order; each is given the normal answer's maker, so that it can
            lose the answer after the work was done, or do no work at all. None: a normal one.
        asked: method and path of every request.
    """

    def __init__(self, identity: Identity, tls: ssl.SSLContext | None = None) -> None:
        self.model = ModelCollector()
        self.script: deque[Callable[[Callable[[], Answer]], Answer | None] | None] = deque()
        self.asked: list[str] = []
        self.batch_sizes: list[int] = []
        self.clock_offset_s = 0.0
        self.pace = Pace(500, 1_000_000, 0)
        self.rejections: list[Rejection] = []
        self._identity = identity
        self._lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                double._handle(self, b"")

            def do_POST(self) -> None:
                double._handle(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def now_s(self) -> float:
        return time.time() + self.clock_offset_s

    def problem(self, status: int, code: ProblemCode, **more: Any) -> Answer:
        body = Problem("about:blank", "no", status, "because", code, int(self.now_s() * 1000), **more)
        return status, {"Content-Type": "application/problem+json"}, msgspec.json.encode(body)

    def _handle(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            self.asked.append(f"{handler.command} {urlsplit(handler.path).path}")
            step = self.script.popleft() if self.script else None

            def normal() -> Answer:
                return self._answer(handler, body)

            answer = normal() if step is None else step(normal)
        if answer is None:
            handler.close_connection = True
            handler.connection.close()
            return
        status, headers, content = answer
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        refusal = self._check_token(handler.headers["Authorization"])
        if refusal is not None:
            return refusal
        parts = urlsplit(handler.path)
        if parts.path.startswith(STREAMS_PATH):
            epoch = UUID(parse_qs(parts.query)["epoch"][0])
            return self._ack(epoch, self.model.watermark(epoch))
        assert parts.path == BATCHES_PATH
        assert handler.headers["Content-Encoding"] == "zstd"
        batch = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(body), type=Batch)
        assert batch.device == self._identity.device
        expected = self.model.watermark(batch.epoch) + 1
        if batch.first_seq > expected:
            return self.problem(409, ProblemCode.SEQUENCE_GAP, expected_seq=expected)
        self.batch_sizes.append(len(batch.records))
        records = [bytes(raw) for raw in batch.records]
        last = batch.first_seq - 1
        for raw in records:
            last = msgspec.json.decode(raw)[1]
        outgoing = OutgoingBatch(batch.stream, batch.epoch, batch.first_seq, last, records)
        return self._ack(batch.epoch, self.model.receive(outgoing))

    def _ack(self, epoch: UUID, watermark: int) -> Answer:
        ack = Ack(epoch, watermark, int(self.now_s() * 1000), self.pace, self.rejections)
        return 200, {"Content-Type": "application/json"}, msgspec.json.encode(ack)

    def _check_token(self, header: str) -> Answer | None:
        key = Ed25519PublicKey.from_public_bytes(self._identity.key.public_key().public_bytes_raw())
        claims = jwt.decode(
            header.removeprefix("Bearer "),
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"verify_exp": False, "verify_iat": False, "require": ["iss", "sub", "aud", "exp", "iat"]},
        )
        assert claims["iss"] == claims["sub"] == str(self._identity.device)
        if not claims["iat"] - LEEWAY_S <= self.now_s() <= claims["exp"] + LEEWAY_S:
            return self.problem(401, ProblemCode.TOKEN_TIME)
        return None


def make_certificate(
    folder: Path, name: str, *, begin: timedelta = timedelta(days=-1), end: timedelta = timedelta(days=30)
) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context with a certificate for `name`, and the file of the authority that signed it."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = datetime.now(UTC)

    def sign(
        subject: x509.Name, public: Any, *, is_ca: bool, begin: timedelta, end: timedelta
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        if is_ca:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(authority_key, hashes.SHA256())

    year = timedelta(days=365)
    root = sign(authority, authority_key.public_key(), is_ca=True, begin=-year, end=year)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    leaf = sign(subject, key.public_key(), is_ca=False, begin=begin, end=end)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    (folder / "cert.pem").write_bytes(leaf.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "ca.pem"
