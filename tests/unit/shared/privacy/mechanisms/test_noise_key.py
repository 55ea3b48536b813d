"""The kept key of correlated noise."""

import json
from pathlib import Path

import pytest

from shared.errors import ConfigError, LedgerError
from shared.privacy.mechanisms.source import kept_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "noise.key"


def test_it_is_made_once_and_its_owners_only(file: Path) -> None:
    key = kept_key(file, "a", spent=False)
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert kept_key(file, "a", spent=True) == key
    assert kept_key(file, "a", spent=False) == key
    assert list(file.parent.iterdir()) == [file]


def test_another_ledger_gets_another_key_before_anything_was_released(file: Path) -> None:
    first = kept_key(file, "a", spent=False)
    assert kept_key(file, "b", spent=False) != first


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_text("nonsense"),
        lambda file: file.write_text(json.dumps({"ledger": "a", "key": "00"})),
        lambda file: file.write_text(json.dumps({"ledger": "b", "key": "00" * 32})),
    ],
    ids=["lost", "damaged", "short", "another's"],
)
def test_used_noise_without_its_key_is_refused(file: Path, spoil) -> None:
    kept_key(file, "a", spent=False)
    spoil(file)
    with pytest.raises(LedgerError, match="missing or another's"):
        kept_key(file, "a", spent=True)


def test_a_key_that_others_can_read_is_refused(file: Path) -> None:
    kept_key(file, "a", spent=False)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        kept_key(file, "a", spent=True)


def test_a_folder_that_is_missing_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match="noise key"):
        kept_key(file.parent / "missing" / "noise.key", "a", spent=False)
