"""The agent's identity: made once, kept safe, never replaced behind anybody's back."""

import base64
import json
import os
import stat
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.tokens import ALGORITHM, AUDIENCE, LIFETIME_S, MAX_LIFETIME_S
from edge_agent.enrol import DEVICE_FILE, IDENTITY_FILE, IdentityError, load_or_create, sign_token


def test_the_identity_is_made_once_and_stays(tmp_path: Path) -> None:
    first = load_or_create(tmp_path / "state", "pi-1", "Main St")
    second = load_or_create(tmp_path / "state", "pi-1", "Main St")
    assert first.device == second.device
    assert first.public_key == second.public_key
    assert load_or_create(tmp_path / "other", "pi-1").device != first.device


def test_the_private_key_is_for_the_agent_alone(tmp_path: Path) -> None:
    load_or_create(tmp_path, "pi-1")
    path = tmp_path / IDENTITY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    load_or_create(tmp_path, "pi-1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == [DEVICE_FILE, IDENTITY_FILE]


def test_the_public_part_is_what_the_collector_reads_and_follows_the_name(tmp_path: Path) -> None:
    identity = load_or_create(tmp_path, "pi-1", "Main St")
    document = json.loads((tmp_path / DEVICE_FILE).read_text())
    assert document == {
        "device": str(identity.device),
        "name": "pi-1",
        "public_key": identity.public_key,
        "junction": "Main St",
    }
    assert len(base64.urlsafe_b64decode(document["public_key"] + "=")) == 32
    assert identity.public_key not in (tmp_path / IDENTITY_FILE).read_text()
    load_or_create(tmp_path, "Brücke", None)
    assert json.loads((tmp_path / DEVICE_FILE).read_text())["name"] == "Brücke"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"device": "x"}', '{"device": 5, "private_key": "AA"}'])
def test_a_damaged_identity_is_an_error_that_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / IDENTITY_FILE).write_text(content)
    with pytest.raises(IdentityError, match=r"identity\.json is damaged .* backup"):
        load_or_create(tmp_path, "pi-1")
    assert (tmp_path / IDENTITY_FILE).read_text() == content


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="cannot be read or written"):
        load_or_create(tmp_path / "file", "pi-1")


def test_a_power_cut_while_writing_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_: int) -> None:
        raise OSError(5, "power cut")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut)
        with pytest.raises(IdentityError):
            load_or_create(tmp_path, "pi-1")
    assert not (tmp_path / IDENTITY_FILE).exists()
    load_or_create(tmp_path, "pi-1")


def test_tokens_are_what_the_collector_expects(tmp_path: Path) -> None:
    identity = load_or_create(tmp_path, "pi-1")
    now_s = time.time()
    token, expires_s = sign_token(identity, now_s)
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(identity.public_key + "="))
    claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=AUDIENCE)
    assert claims["iss"] == claims["sub"] == str(identity.device)
    assert claims["exp"] == expires_s
    assert claims["exp"] - claims["iat"] == LIFETIME_S <= MAX_LIFETIME_S
    assert claims["iat"] <= now_s
