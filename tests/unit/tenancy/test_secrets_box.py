"""Secrets at rest: sealed, bound to their place, readable after a rotation, in a private file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suanwang.kernel.errors import Unavailable
from suanwang.tenancy.secrets_box import SecretDamaged, SecretsBox, rotate

SECRETS = {"TOKEN": "s3cret", "名": "值"}


def test_what_was_sealed_opens_again_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys"
    sealed = SecretsBox.from_file(path).seal(SECRETS, "job_1")
    assert b"s3cret" not in sealed
    assert SecretsBox.from_file(path).open(sealed, "job_1") == SECRETS
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_secrets_never_look_the_same() -> None:
    box = SecretsBox.in_memory()
    assert box.seal(SECRETS) != box.seal(SECRETS)


def test_a_sealed_value_opens_only_where_it_belongs() -> None:
    box = SecretsBox.in_memory()
    sealed = box.seal(SECRETS, "job_1")
    with pytest.raises(SecretDamaged):
        box.open(sealed, "job_2")


def test_every_altered_byte_is_noticed() -> None:
    box = SecretsBox.in_memory()
    sealed = box.seal({"a": "b"})
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises((SecretDamaged, Unavailable)):
            box.open(bytes(altered))
    for length in range(len(sealed)):
        with pytest.raises((SecretDamaged, Unavailable)):
            box.open(sealed[:length])


def test_rotation_seals_with_the_new_key_and_opens_with_the_old(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    old = SecretsBox.from_file(path)
    sealed = old.seal(SECRETS)
    new = rotate(path)
    assert new.open(sealed) == SECRETS
    assert old.is_current(sealed)
    assert not new.is_current(sealed)
    assert new.is_current(new.seal(SECRETS))
    with pytest.raises(Unavailable) as error:
        old.open(new.seal(SECRETS))
    assert error.value.reason == "KeyMissing"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    SecretsBox.from_file(path)
    os.chmod(path, 0o640)
    with pytest.raises(Unavailable) as error:
        SecretsBox.from_file(path)
    assert error.value.reason == "KeyFileOpen"


def test_an_empty_key_file_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    with pytest.raises(Unavailable) as error:
        SecretsBox.from_file(path)
    assert error.value.reason == "KeyFileEmpty"
