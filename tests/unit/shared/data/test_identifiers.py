"""One form for one person, wherever an identifier enters."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.catalogue import Catalogue
from shared.data.identifiers import TwoSpellingsError, appearance, normalised, spellings
from shared.data.log import InteractionLog
from shared.data.population import ChosenUsers, person_key
from shared.data.sources import open_log
from shared.errors import DataError
from simulations.world.world import World
from tests.support.writing import csv

NFC, NFD = "Zo\u00eb", "Zoe\u0308"
SAME = [NFD, f" {NFC}", f"{NFC}\u00a0", f"\ufeff{NFC}", f"{NFD}\u200b\t", f"\u2066{NFC}\u2069"]


@pytest.mark.parametrize("written", SAME)
def test_every_spelling_has_the_key_and_the_place(
    tmp_path: Path, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert person_key(written) == person_key(NFC)
    items = [("a", "Alpha"), (NFC, "Beta")]
    # Interactions spell both otherwise than the items file and than whoever asks.
    rows = [(written, "a", "1"), (written, written, "2")]
    log = open_log(str(csv(tmp_path, rows, items)))
    assert log.history(log.user_index(NFC)).tolist() == [0, 1]
    assert (log.user_index(written), log.user_id(0)) == (0, NFC)
    assert log.keys == (person_key(NFC),)
    assert ChosenUsers(log, 1).user_index(written) == 0
    assert log.reading.normalised == 2  # as a user and as an item
    assert "2 identifiers were taken in another form" in capsys.readouterr().err


@pytest.mark.parametrize("written", [*SAME, f"{NFC}\ufe0f", "\uff3ao\u00eb", "Zoe\u034f\u0308"])
def test_two_spellings_are_two_people_to_nobody(written: str) -> None:
    with pytest.raises(TwoSpellingsError):
        spellings([NFC, written])
    frame = {"user": [NFC, written], "item": ["a", "b"], "timestamp": [1, 2]}
    with pytest.raises(DataError, match="cannot be told apart"):
        InteractionLog(frame, Catalogue(("a", "b"), ("A", "B")))


def test_what_may_be_two_is_two() -> None:
    apart = ["b1", "B1", "01", "1", "1.5", "1.50", "a b", "ab", "a-b"]
    assert list(spellings(apart).forms.values()) == apart


@given(st.text(max_size=6))
def test_a_form_is_its_own_form_and_looks_the_same(written: str) -> None:
    form = normalised(written)
    assert normalised(form) == form
    assert appearance(form) == appearance(written)


def test_a_user_of_the_world_has_one_name() -> None:
    world = World(20)
    assert world.user_index(" u7") == 7
    for other in ("u07", "u\uff17", "u7.0", "u20", "u"):
        with pytest.raises(DataError, match="no user"):
            world.user_index(other)
