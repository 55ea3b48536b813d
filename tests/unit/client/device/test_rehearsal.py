"""`starling policy check --rounds` answers what the gate would answer to a whole run."""

import pytest

from client.device import agreement
from client.device.agreement import AGREED, CAPS, LEDGER, PARTICIPATION
from client.device.clock import FILE as CLOCK
from client.device.clock import now
from client.device.rehearsal import Rehearsal, state_files
from shared.errors import ConfigError
from shared.privacy.policy.signed import read_policy
from tests.support.federations import point_config
from tests.support.persons import Person, owners
from tests.support.privacy.policies import agreed, operator

USERS = 40


def rehearsed(folder, config, rounds, caps="", given=True):
    (folder / "caps.toml").write_text(owners(caps))
    text = agreed(config, USERS, "s")
    settings = config if given else None
    device = Rehearsal(folder, text, read_policy(text, None), operator(), settings)
    return [answer.words.split(";")[0].split(": ")[0] for answer in device.answers(rounds, None)]


@pytest.mark.parametrize("given", [True, False])
def test_all_that_a_run_asks_for_is_rehearsed(tmp_path, given, monkeypatch):
    # As where something adds histograms up before the server sees one.
    monkeypatch.setattr(agreement, "in_clear", lambda release, promised: "")
    config = point_config(
        "b",
        federation={"rounds": 5, "popularity_start": True, "metrics_every": 2},
        privacy={"metrics_share": 0.3},
    )
    asked = ["histogram", "round 1", "round 2", "metrics of round 2", "round 3", "round 4"]
    asked += ["metrics of round 4", "round 5", "metrics of round 5"]
    assert rehearsed(tmp_path, config, 5, given=given) == asked
    (other := tmp_path / "capped").mkdir()
    day = rehearsed(other, config, 5, "rounds_per_day = 3", given)
    assert day == [*asked[:3], "declined round 2"]  # the metrics of that round


@pytest.mark.parametrize("given", [True, False])
def test_without_rounds_what_is_released_once_is_rehearsed(tmp_path, given, monkeypatch):
    monkeypatch.setattr(agreement, "in_clear", lambda release, promised: "")
    config = point_config("b", federation={"rounds": 0}, privacy={"metrics_share": 0.3})
    assert rehearsed(tmp_path, config, 5, given=given) == ["histogram", "metrics of round 0"]


def test_a_clip_that_adapts_is_asked_as_a_run_asks_for_it(tmp_path):
    federation = {"rounds": 2, "popularity_start": False}
    config = point_config("b", federation=federation, privacy={"adaptive_clipping": 0.5})
    assert rehearsed(tmp_path, config, 2) == ["round 1", "round 2"]


def test_a_histogram_in_clear_is_declined_beforehand(tmp_path):
    config = point_config("b", federation={"rounds": 2, "popularity_start": True})
    assert rehearsed(tmp_path, config, 2) == ["declined round 0"]


def test_where_the_clip_adapts_the_first_one_is_asked_for(tmp_path):
    privacy = {"adaptive_clipping": 0.5}
    federation = {"rounds": 2, "popularity_start": False}
    config = point_config("b", federation=federation, privacy=privacy)
    assert rehearsed(tmp_path, config, 2) == ["round 1", "round 2"]


OF_A_DEVICE = (CAPS, AGREED, CLOCK, LEDGER, "ledger-2.jsonl", PARTICIPATION)


@pytest.mark.parametrize("name", OF_A_DEVICE)
def test_a_state_folder_is_none_of_a_run_whatever_lies_beside(name, tmp_path):
    for file in (name, "config.toml", "results.json"):
        (tmp_path / file).touch()
        assert state_files(tmp_path) == [name]


def test_a_folder_of_a_run_is_no_state_folder(tmp_path):
    (tmp_path / "config.toml").touch()
    with pytest.raises(ConfigError, match="holds nothing of a device"):
        state_files(tmp_path)
    (tmp_path / "results.json").touch()
    with pytest.raises(ConfigError, match="is a run's folder"):
        state_files(tmp_path)


def test_under_correlated_noise_a_device_rests_as_it_would(tmp_path):
    privacy = {"mechanism": "dp_ftrl", "min_separation": 3}
    federation = {"rounds": 8, "cohort": 10.0, "popularity_start": False}
    config = point_config("b", federation=federation, privacy=privacy)
    assert rehearsed(tmp_path, config, 8) == ["round 1", "round 4", "round 7"]


def test_what_a_device_noises_itself_is_counted_in_full(tmp_path):
    privacy = {"unit": "example", "trust": "local"}
    config = point_config("b", epsilon=8.0, federation={"rounds": 2}, privacy=privacy)
    names = rehearsed(tmp_path, config, 3)  # the run has two
    assert names[0] in ("histogram", "round 1")
    assert names[-1] == "round 2"


FTRL = {"mechanism": "dp_ftrl", "min_separation": 5, "max_participations": 2}
PLAIN = {"delta": 1e-5}
# What a device of a longer run has on record -> what may still be asked of it in so many rounds.
MIDDLE = {
    "rests after a round": (FTRL, 8, [3], 1, ["round 8"]),
    "no more than agreed": (FTRL | {"min_separation": 1}, 8, [], 8, ["round 1", "round 2"]),
    "no more than is left": (FTRL | {"min_separation": 1}, 8, [1, 4], 8, []),
    "one of three done": (PLAIN, 3, [1], 3, ["round 2", "round 3"]),
    "all done": (PLAIN, 3, [1, 2, 3], 3, []),
    "the next alone": (PLAIN, 3, [2], 1, ["round 3"]),
    "asked again after a crash": (PLAIN, 3, [1, 1], 3, ["round 2", "declined round 3"]),
}


@pytest.mark.parametrize("case", MIDDLE)
def test_in_the_middle_of_a_run_it_goes_on_from_there(case, tmp_path):
    privacy, rounds, done, asked, answers = MIDDLE[case]
    federation = {"rounds": rounds, "cohort": 8.0, "popularity_start": False}
    config = point_config("b", federation=federation, privacy=privacy)
    person = Person(tmp_path / "state", now)
    for number in done:
        person.asked(config, number, text=agreed(config, USERS, "s"))
    (folder := tmp_path / "copy").mkdir()
    text = agreed(config, USERS, "s")
    device = Rehearsal(folder, text, read_policy(text, None), operator(), config)
    if done:
        device.copy(tmp_path / "state", None)
    (folder / "caps.toml").write_text(owners(""))
    found = [answer.words.split(";")[0].split(": ")[0] for answer in device.answers(asked, None)]
    assert found == answers
    for name in answers[:1]:
        person.asked(config, int(name.split()[1]), text=text)  # so does the device itself
