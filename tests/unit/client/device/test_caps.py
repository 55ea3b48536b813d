"""What an owner allows is absolute: no word of the operator's moves it, and none is needed."""

import logging
import math
import os
from dataclasses import replace

import pytest

from client.device.agreement import AGREED, CAPS, PARTICIPATION, Agreement
from client.device.clock import Days
from client.device.rehearsal import Rehearsal
from shared.errors import ConfigError, Declined, ProtocolError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy import caps
from shared.privacy.policy.caps import SAFE, Caps, load_caps, write_safe_caps
from shared.privacy.policy.issue import promises
from shared.privacy.policy.signed import read_policy
from tests.support import ROOT
from tests.support.bad.environments import without_override
from tests.support.federations import point_config
from tests.support.persons import SCHEMA, START, USERS, Clock, Person
from tests.support.privacy.policies import agreed, made, noisier, operator, sealed

EVERYONE = {"cohort": 1.0, "popularity_start": True, "secure_aggregation": "auto"}
BARE = {"secure_aggregation": "off"}


def point(epsilon=2.0, rounds=3, seed=5, federation=None, **privacy):
    summed = {} if privacy.get("unit", "user") == "user" else BARE
    federation = EVERYONE | {"rounds": rounds} | summed | (federation or {})
    return point_config(
        "b", epsilon, seed=seed, federation=federation, privacy={"delta": 1e-5} | privacy
    )


class Owner(Person):
    """Of a device whose `caps.toml` holds these lines alone; without any it has none."""

    def __init__(self, state, text, **allowed):
        self.clock, self.state = Clock(), state
        self.gate = Agreement(state, operator(), Days(state, self.clock), **allowed)
        if text is not None:
            state.mkdir()
            (state / CAPS).write_text(text)

    def spent(self):
        """Of all that is on record, at the owner's delta."""
        kept = [Ledger.open(file) for file in records(self.state / PARTICIPATION)]
        events = [(entry.event, 1) for ledger in kept for entry in ledger.entries]
        return epsilon(events, load_caps(self.state / CAPS).delta)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def whole_run(config, release="update", **changes):
    rounds = range(1, config.federation.rounds + 1) if release == "update" else (0, 0)
    return [(config, release, {"round_number": number} | changes) for number in rounds]


def runs(points):
    return [asked for config in points for asked in whole_run(config)]


ALONE = {"users": 1}
MEASURED = point(2.5, federation={"metrics_every": 1, **BARE}, metrics_share=0.5)
# What an operator might try -> the owner's lines (None: no file), what is asked, the last answer.
BYPASSES = {
    "a delta of the operator's": (
        "epsilon = 8.0",
        whole_run(point(8.0, 40, federation=BARE, delta=0.99), **ALONE),
        "delta = 0.99 is over its owner's cap of 1e-05",
    ),
    "a delta of the operator's, and no caps": (
        None,
        whole_run(point(2.0, delta=1e-3)),
        "delta = 0.001 is over its owner's cap of 1e-05",
    ),
    "a delta that is only a little larger": (
        "delta = 1e-6",
        whole_run(point(delta=1.0000001e-6)),
        "over its owner's cap of 1e-06",
    ),
    "epsilon 100, and no caps": (None, whole_run(point(100.0, 40)), "its owner's cap of 8"),
    "epsilon 100, and an empty file": ("", whole_run(point(100.0, 40)), "its owner's cap of 8"),
    "all in one round": (None, whole_run(point(100.0, 1)), "its owner's cap of 8"),
    "no privacy, and no caps": (None, whole_run(point(math.inf)), "promises no privacy"),
    "no privacy, a finite cap": (
        "epsilon = 1e9",
        whole_run(point(math.inf)),
        "promises no privacy",
    ),
    "run after run, each within the cap": (
        "epsilon = 3.0",
        runs(point(1.5, seed=seed) for seed in range(9)),
        "its owner's cap of 3",
    ),
    "the histogram after the rounds": (
        "epsilon = 2.0",
        [*whole_run(point(2.5)), *whole_run(point(2.5), "histogram")],
        "its owner's cap of 2",
    ),
    "the metrics after the rounds": (
        "epsilon = 2.0\nsums = false",
        [
            *whole_run(MEASURED),
            *whole_run(MEASURED, "metrics", round_number=1),
        ],
        "its owner's cap of 2",
    ),
    "single examples": (None, whole_run(point(unit="example")), "hides single examples only"),
    "single examples, noised here": (
        None,
        whole_run(point(unit="example", trust="local")),
        "hides single examples only",
    ),
    "single examples after whole people": (
        'unit = "example"',
        [*whole_run(point()), *whole_run(point(unit="example"))],
        "weaker than the one agreed: unit",
    ),
    "whole people after single examples": (
        'unit = "example"\nsums = false',
        [*whole_run(point(unit="example")), *whole_run(point(clipping_norm=0.1))],
        "another unit",
    ),
    "its own seen": (
        "sums = true",
        whole_run(point(federation=BARE)),
        "its owner asks for sums = true",
    ),
    "more trust": ('trust = "local"', whole_run(point()), "its owner asks for local"),
    "a smaller group": (
        None,
        [*whole_run(point(group_size=2)), *whole_run(point(group_size=1))],
        "units covered together",
    ),
    "thousands of rounds": (
        None,
        whole_run(point(600.0, 1000, federation={"cohort": 40.0})),
        "its owner's cap of 8",
    ),
    "one round again and again": (
        "sums = false",
        9 * whole_run(point(40.0, 40, federation=BARE))[:1],
        "its owner's cap of 8",
    ),
    "one round again, in sums": (
        None,
        2 * whole_run(point(0.5, 40))[:1],
        "is in a sum of that already",
    ),
    "more in a day": (
        None,
        whole_run(point(0.5, 40))[:25],
        "its owner allows 24 rounds a day",
    ),
    "exact ranks": (None, whole_run(point(), "ranks"), "exact ranks leave no device"),
    "a clip beyond its range": (
        None,
        whole_run(point(adaptive_clipping=0.5), clip=0.5 * 1001),
        "clipping norm 500.5 of this round",
    ),
    "a clip that adapts, after one that does not": (
        None,
        [*whole_run(point()), *whole_run(point(adaptive_clipping=0.5), clip=0.5)],
        "mechanism of update",
    ),
}


@pytest.mark.parametrize("case", BYPASSES)
def test_no_operator_gets_around_the_owner(case, state):
    text, tried, answer = BYPASSES[case]
    person = Owner(state, text)

    def try_all():
        for config, release, changes in tried:
            about = {"users": USERS} | changes
            policy = agreed(config, about["users"], SCHEMA, start=START)
            person.asked(config, text=policy, release=release, **about)

    with pytest.raises(ProtocolError, match=answer):
        try_all()
    assert person.spent() <= load_caps(state / CAPS).epsilon


def folder(file):
    file.mkdir()


def link_to_nothing(file):
    file.symlink_to(file.with_name("elsewhere"))


def link_to_itself(file):
    file.symlink_to(file)


def pipe(file):
    os.mkfifo(file)


NO_CAPS = {
    "a folder": folder,
    "a link to what is not there": link_to_nothing,
    "a link to itself": link_to_itself,
    "a pipe": pipe,
    "no text": lambda file: file.write_bytes(b"\xff\xfe"),
    **{
        line: lambda file, line=line: file.write_text(line)
        for line in (
            "epsilon = nan",
            "epsilon = -1.0",
            "epsilon = -inf",
            "epsilon = 0",
            "epsilon = true",
            'epsilon = "8"',
            "delta = nan",
            "delta = 0",
            "delta = 1.0",
            "delta = inf",
            "rounds_per_day = -1",
            "rounds_per_day = 1.5",
            "rounds_per_day = nan",
            "rounds_per_day = true",
            'unit = "person"',
            'trust = "nobody"',
            "epsilom = 1.0",
            "epsilon = 1.0\nepsilon = 9.0",
            "epsilon =",
        )
    },
}


@pytest.mark.parametrize("case", NO_CAPS)
def test_what_is_no_cap_stops_the_device(case, state):
    person = Owner(state, None)
    state.mkdir()
    NO_CAPS[case](state / CAPS)
    with pytest.raises(ConfigError, match=r"caps\.toml"):
        person.asked(point(), text=agreed(point(), USERS, SCHEMA, start=START))
    assert person.rounds == []


def test_caps_that_cannot_be_read_stop_the_device(state):
    person = Owner(state, "epsilon = 1.0")
    (state / CAPS).chmod(0)
    with without_override(), pytest.raises(ConfigError, match="cannot be read"):
        person.asked(point())


def test_without_a_file_safe_caps_are_written_and_named(state, caplog):
    person = Owner(state, None)
    with caplog.at_level(logging.WARNING):
        person.asked(point())
        person.asked(point(), 2)
    assert (state / CAPS).read_text() == SAFE
    assert load_caps(state / CAPS) == Caps() == load_caps(state / "none")
    (told,) = caplog.messages
    assert told.startswith(f"{state / CAPS}: there was none; written, with: epsilon = 8 at delta")
    assert SAFE in (ROOT / "docs" / "policy.md").read_text()


def test_caps_that_appear_in_the_same_moment_are_kept(tmp_path, monkeypatch):
    """The owner's own, written between the look and the writing."""
    file = tmp_path / CAPS
    monkeypatch.setattr(caps.os.path, "lexists", lambda at: False)
    file.write_text("pause = true\n")
    assert not write_safe_caps(file)
    assert file.read_text() == "pause = true\n"
    assert [each.name for each in tmp_path.iterdir()] == [CAPS]


def test_what_is_left_out_counts_as_in_the_safe_file(state):
    Owner(state, "pause = true")
    assert load_caps(state / CAPS) == replace(Caps(), pause=True)


def test_a_limit_is_lifted_by_its_owners_word_only(state):
    person = Owner(state, 'epsilon = "inf"\nrounds_per_day = "inf"')
    for number in range(1, 31):
        person.asked(point(math.inf, 40), number)
    person = Owner(state.with_name("other"), "epsilon = inf\nrounds_per_day = inf")
    person.asked(point(math.inf))


def test_the_owners_delta_counts(state):
    """Whatever the policy's: a smaller one makes nothing cheaper, nor dearer."""
    person = Owner(state, "epsilon = 1.0\ndelta = 1e-5")
    config = point(4.0, 30, federation={"popularity_start": False}, delta=1e-9)
    with pytest.raises(Declined, match="at delta 1e-05"):
        person.asked_every_round(config)
    (promise,) = promises(config, USERS)
    cost, taken = promise.of("update").cost, len(person.rounds)
    assert epsilon([(cost, taken)], 1e-5) <= 1 < epsilon([(cost, taken + 1)], 1e-5)
    assert epsilon([(cost, taken)], 1e-9) > 1


ULP = 2.0**-52


@pytest.mark.parametrize("by", [1 + ULP, 1 + 1e-9, 1 + 9e-6])
def test_noise_that_another_search_found_may_only_be_more(by, state):
    config = point(federation={"popularity_start": False})
    person = Owner(state, None)
    person.asked(config, text=sealed(noisier(made(config, USERS, SCHEMA, start=START), by)))
    (promise,) = promises(config, USERS)
    (entry,) = Ledger.open(state / PARTICIPATION).entries
    assert entry.event == promise.of("update").cost  # what this device found: it costs no less


@pytest.mark.parametrize("by", [1 - ULP, 1 - 1e-9, 1 + 2e-5, 1.5])
def test_less_noise_or_clearly_more_is_not_what_the_settings_give(by, state):
    config = point(federation={"popularity_start": False})
    with pytest.raises(Declined, match="not what its settings give"):
        Owner(state, None).asked(
            config, text=sealed(noisier(made(config, USERS, SCHEMA, start=START), by))
        )


def test_a_second_stricter_run_is_judged_by_what_was_spent(state):
    first = point(2.0, 2, federation={"popularity_start": False})
    second = point(1.0, 2, federation={"popularity_start": False})
    person = Owner(state, None)
    for config in (first, second):
        person.asked_every_round(config)  # by people who used every round of the first
        with pytest.raises(Declined, match="has taken part as often as agreed"):
            person.asked(config, 2)
    assert person.rounds == [1, 2, 1, 2]
    once = [promises(config, USERS)[0].of("update").cost for config in (first, second)]
    assert person.spent() == pytest.approx(epsilon([(cost, 2) for cost in once], 1e-5))
    with pytest.raises(Declined, match="weaker than the one agreed"):
        person.asked(first, 1)  # what is agreed only gets stricter
    third = point(0.5, 2, federation={"popularity_start": False})
    (state / CAPS).write_text(f"epsilon = {person.spent() + 0.01}")
    with pytest.raises(Declined, match="over its owner's cap"):
        person.asked(third, 1)


def test_runs_as_strict_as_each_other_keep_their_own_counts(state):
    """Asked in turn, neither begins anew; both cost."""
    person = Owner(state, None)
    one, other = (point(1.0, 2, seed, {"popularity_start": False}) for seed in (1, 2))
    for number in (1, 2):
        person.asked(one, number)
        person.asked(other, number)
    for config in (one, other):
        with pytest.raises(Declined, match="has taken part as often as agreed"):
            person.asked(config, 2)
    assert [file.name for file in records(state / PARTICIPATION)] == [
        "participation.jsonl",
        "participation-2.jsonl",
    ]


def test_what_was_spent_towards_one_unit_is_not_forgotten_with_the_agreement(state):
    """Its owner removed what was agreed, and kept the records: they are about windows."""
    person = Owner(state, 'unit = "example"\nsums = false')
    person.asked(point(unit="example"))
    (state / AGREED).unlink()
    with pytest.raises(Declined, match="another unit"):
        person.asked(point())


def test_a_rehearsal_counts_every_run(state, tmp_path):
    person = Owner(state, None)
    configs = [point(1.0, 2, seed, {"popularity_start": False}) for seed in (1, 2)]
    for config in configs:
        person.asked(config)
    text = agreed(configs[0], USERS, SCHEMA)
    (folder := tmp_path / "copy").mkdir()
    device = Rehearsal(folder, text, read_policy(text, None), operator(), configs[0])
    device.copy(state, None)
    (last,) = device.answers(2, None)  # of the two rounds of the run, one is on record
    (promise,) = promises(configs[0], USERS)
    three = epsilon([(promise.of("update").cost, 3)], 1e-5)
    assert last.words.endswith(f"so far user-level epsilon {three:.4g} at delta 1e-05")


def test_another_matrix_is_paid_for_anew(state):
    """Under correlated noise all rounds of a run are one mechanism; a second run is a second."""

    def limited(most):
        federation = {"rounds": 4, "cohort": 10.0, "popularity_start": False}
        privacy = {"mechanism": "dp_ftrl", "min_separation": 1, "max_participations": most}
        return point(1.0, federation=federation, **privacy)

    person = Owner(state, None)
    person.asked(limited(3), 1)
    once = person.spent()
    person.asked(limited(2), 1)
    (promise,) = promises(limited(2), USERS)
    training = [promises(limited(most), USERS)[0].of("training").cost for most in (3, 2)]
    assert person.spent() == pytest.approx(epsilon([(cost, 1) for cost in training], 1e-5))
    assert person.spent() > 1.2 * once
    person.asked(limited(2), 2)
    with pytest.raises(Declined, match="as often as agreed"):
        person.asked(limited(2), 3)
    with pytest.raises(Declined, match="weaker than the one agreed"):
        person.asked(limited(3), 3)
    assert promise.of("update").times == 2
