"""What was typed is told by the names that whoever typed it knows: the flag's and the setting's."""

import pytest

from shared.errors import ConfigError, DataError
from simulations.api.options import settings
from simulations.commands.options import naming, words
from tests.support.command import command

SETTINGS = settings()


def told(error, **typed):
    with pytest.raises(type(error)) as raised, naming(typed):
        raise error
    assert raised.value is error  # with its notes
    return str(error)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_told_with_the_flag_that_gave_it(name):
    setting, flag = SETTINGS[name], f"--{name.replace('_', '-')}"
    wrong = ConfigError(f"settings: {setting} = 1: expected another")
    assert told(wrong, **{name: setting}) == f"{setting} ({flag}) = 1: expected another"
    listed = ConfigError(f"settings: {setting}.0 = 1: expected another")
    assert told(listed, **{name: setting}) == f"{setting}.0 ({flag}) = 1: expected another"


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("settings: privacy.delta = 1: expected less"),  # of a file
        ConfigError("privacy.unit (--unit) = user: named already"),
        DataError("items.csv, row 3: no unit"),
        ConfigError("my.privacy.unit = user, privacy.units = 3, of privacy.unit nothing"),
    ],
)
def test_what_was_not_typed_is_told_as_it_was(error):
    before = str(error)
    assert told(error, unit="privacy.unit") == before


def test_a_flag_without_a_setting_is_named_by_itself():
    assert told(ConfigError("took_part = 4: no"), took_part="took_part") == (
        "took_part (--took-part) = 4: no"
    )


# As one types it -> what the answer says, whatever found the mistake.
TYPED = {
    "simulate --epsilon 0": "sweep.epsilons.0 (--epsilon) = 0.0: ",
    "simulate --unit users": "privacy.unit (--unit) = 'users': ",
    "simulate --delta 1": "privacy.delta (--delta) = 1.0: ",
    "simulate --rounds 1000001": "federation.rounds (--rounds) = 1000001: ",
    "simulate --cohort -1": "federation.cohort (--cohort) = -1.0: ",
    "simulate --users 100000000000": "data.users (--users) = 100000000000: ",
    "simulate --seeds -1": "sweep.seeds.0 (--seeds) = -1: ",
    "simulate --ray-address here": "engine.address (--ray-address) = here: ",
    "simulate --trust local --unit user": "privacy.trust (--trust) = local does not go with "
    "privacy.unit (--unit) = user: ",
    "simulate --epsilon 8,8.00001": "sweep.epsilons (--epsilon) = 8.0 and 8.00001: ",
    "account --noise 0 --rounds 1 --sampling 1 --users 9": "noise (--noise) = 0.0: ",
    "account --noise 1 --rounds 0 --sampling 1 --users 9": "rounds (--rounds) = 0: ",
    "account --noise 1 --rounds 1 --sampling 1 --users 0": "users (--users) = 0: ",
    "account --epsilon nan --rounds 1 --sampling 1 --users 9": "epsilon (--epsilon) = nan: ",
    "data inspect world --columns user=a": "data.columns (--columns) = 'user=a': ",
}


@pytest.mark.parametrize("typed", TYPED)
def test_a_mistake_on_the_command_line_is_told_by_both_names(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*typed.split())
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert TYPED[typed] in done.error  # perhaps of which point
    assert "settings: " not in done.error


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("none,popularity", "none stands alone"),
        ("popularity, none", "none stands alone"),
        ("", "'': expected names with commas, or none for none"),
        ("popularity,,start", "expected names with commas"),
        ("popularity,popularity", "the same name twice"),
    ],
)
def test_none_stands_alone_and_nothing_is_none(text, why):
    assert words("--references", "none") == []
    assert words("--references", "popularity, start") == ["popularity", "start"]
    with pytest.raises(ConfigError, match=why):
        words("--references", text)
