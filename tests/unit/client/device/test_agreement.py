"""A device takes part only in what it agreed to and its owner allows, and writes it down first."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from client.device import agreement
from client.device.agreement import AGREED, CAPS, LEDGER, PARTICIPATION, Agreement
from client.device.clock import FILE as CLOCK
from client.device.clock import Days
from shared.config import settings_hash
from shared.errors import ConfigError, Declined, LedgerError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.keys import public_hex
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.issue import promises
from shared.privacy.policy.signed import signed
from tests.support.asking import asked
from tests.support.federations import point_config
from tests.support.persons import SCHEMA, START, USERS, Clock, Person
from tests.support.privacy.policies import OTHER, agreed, made, operator, sealed

MANY = {"rounds": 30, "cohort": 1.0, "popularity_start": True}


@pytest.fixture
def summed_before(monkeypatch):
    """Histograms as where something adds them up before the server sees one."""
    monkeypatch.setattr(agreement, "in_clear", lambda release, promised: "")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def config():
    """Every round costs a device about epsilon 0.3: noise for 30 rounds at epsilon 2."""
    return point_config("b", federation=MANY)


@pytest.fixture
def person(state, clock):
    return Person(state, clock)


def test_every_participation_is_on_record_unamplified(summed_before, person, config):
    person.asked(config, 0, release="histogram")
    person.asked(config, 1)
    person.asked(config, 7)
    ledger = Ledger.open(person.state / PARTICIPATION)
    (promise,) = promises(config, USERS)
    assert [entry.event for entry in ledger.entries] == [
        promise.of(kind).cost for kind in ("histogram", "update", "update")
    ]
    header = ledger.header
    told = header.guarantee
    assert (told.unit, told.trust, told.delta) == ("user", "central", promise.guarantee.delta)
    assert header.settings == settings_hash(config)


def test_a_device_takes_part_until_just_under_its_owners_cap(person, config):
    person.caps("epsilon = 1.0")
    with pytest.raises(Declined) as caught:
        person.asked_every_round(config)
    last = person.rounds[-1]
    assert 3 < last < 29
    assert str(caught.value).startswith(f"declined round {last + 1}: it would bring this device")
    assert "over its owner's cap of 1" in str(caught.value)
    (promise,) = promises(config, USERS)
    cost = promise.of("update").cost
    assert (
        epsilon([(cost, last)], promise.guarantee.delta)
        <= 1
        < epsilon([(cost, last + 1)], promise.guarantee.delta)
    )
    assert Ledger.open(person.state / PARTICIPATION).epsilon() <= 1
    person.caps("epsilon = 1.2")  # its owner's to change
    person.asked(config, last + 1)


REFUSED = {
    "paused": ("pause = true", {}, "its owner has paused it"),
    "no privacy": ("", {"epsilon": math.inf}, "promises no privacy"),
    "single examples": (
        'unit = "user"',
        {"privacy": {"unit": "example", "trust": "local"}},
        "hides single examples only",
    ),
    "trusts the server": ('trust = "local"', {}, "its owner asks for local"),
    "both, trusting the server with a person": (
        'unit = "user"\ntrust = "local"',
        {"privacy": {"unit": "both"}},
        "its owner asks for local",
    ),
    "no round a day": ("rounds_per_day = 0", {}, "allows 0 rounds a day"),
    "too much at once": ("epsilon = 0.01", {}, "over its owner's cap of 0.01"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_caps_are_the_owners(case, person):
    caps, settings, message = REFUSED[case]
    config = point_config("b", federation={"rounds": 3}, **{"epsilon": 2.0, **settings})
    person.caps(caps)
    with pytest.raises(Declined, match=message):
        person.asked(config)
    assert {path.name for path in person.state.iterdir()} <= {
        CAPS,
        ".lock",
        CLOCK,
    }  # nothing agreed
    person.caps('epsilon = "inf"')
    person.asked(config)


def test_a_cap_with_a_typing_error_is_no_cap_and_nothing_is_answered(person, config):
    for text in ("epsilom = 1.0", "epsilon = -1.0", "epsilon = nan", 'pause = "no"', "epsilon ="):
        person.caps(text)
        with pytest.raises(ConfigError, match=r"caps\.toml"):
            person.asked(config)
    assert person.rounds == []


def weaker(config, **changes):
    return replace(made(config, USERS, SCHEMA, start=START), **changes)


def test_only_the_operators_word_counts(person, config, state, clock):
    forged = signed(weaker(config, issuer=public_hex(OTHER)), OTHER)
    with pytest.raises(Declined, match="not signed by the operator's key"):
        person.asked(config, text=forged)
    edited = sealed(weaker(config)).replace('"rounds":30', '"rounds":31')
    with pytest.raises(Declined, match="not signed by the operator's key"):
        person.asked(config, text=edited)
    with pytest.raises(Declined, match="brings no policy"):
        person.asked(config, text="")
    with pytest.raises(Declined, match="not the JSON"):
        person.asked(config, text="hello")
    Person(state, clock, public_hex(OTHER)).asked(config, text=forged)  # another owner, another key


def test_a_policy_is_about_one_exchange(person, config):
    other = point_config("b", federation=MANY, train={"local_lr": 0.25})
    about = {
        "settings asked for": {"settings": settings_hash(other)},
        "rests on 40": {"users": 41},
        "another adapter": {"schema": "t"},
        "rounds 1 to 30": {"round_number": 31},
    }
    for message, changes in about.items():
        with pytest.raises(Declined, match=message):
            person.asked(config, **changes)
    with pytest.raises(Declined, match="rounds 1 to 30"):
        person.asked(config, 0)
    assert person.rounds == []


def test_a_policy_that_promises_more_noise_than_its_settings_give_is_refused(person, config):
    (promise,) = made(config, USERS, SCHEMA).promises
    loud = tuple(replace(r, noise_multiplier=99.0) for r in promise.releases)
    lie = weaker(config, promises=(replace(promise, releases=loud),))
    with pytest.raises(Declined, match="not what its settings give"):
        person.asked(config, text=sealed(lie))


UNSAMPLED = {"popularity_start": False, "rounds": 30, "cohort": 1.0}
ADAPTS = {"adaptive_clipping": 0.5}
# Settings, and fields of a request or a policy, of which nobody can say what taking part costs.
UNCOUNTABLE = {
    "a clip too short": ({"clipping_norm": 1e-31}, {}),
    "a clip too long": ({"clipping_norm": 1e31}, {}),
    "a clip without noise": (
        {"epsilon": math.inf, "clip_without_noise": True, "clipping_norm": 1e31},
        {},
    ),
    "a clip that adapted too far down": (ADAPTS | {"clipping_norm": 1e-28}, {"clip": 1e-31}),
    "a clip that adapted too far up": (ADAPTS | {"clipping_norm": 1e28}, {"clip": 1e31}),
    "a clip that adapted to no number": (ADAPTS, {"clip": math.nan}),
    "a clip that adapted to nothing": (ADAPTS, {"clip": 0.0}),
    "a clip that adapted out of its range": (ADAPTS, {"clip": 501.0}),
    "a clip that adapted beyond all": (ADAPTS, {"clip": math.inf}),
    "a clip below zero": (ADAPTS, {"clip": -0.5}),
    "examples clipped too short": (
        {"unit": "example", "trust": "local", "example_clipping_norm": 1e-30},
        {},
    ),
    "next to no epsilon": ({"epsilon": 1e-9}, {}),
    "nobody's delta": ({"delta": 0.5}, {}),
    "next to no delta": ({"delta": 1e-300}, {}),
    "nobody": ({}, {"users": 0}),
    "a policy of more noise than there is": ({}, {"event": 1e300}),
}


@pytest.mark.parametrize(
    ("case", "release"),
    [
        (case, release)
        for case, (_, fields) in UNCOUNTABLE.items()
        for release in ("update", "metrics", "ranks")
        if release == "update" or "clip" not in fields  # which is asked for with an update
    ],
)
def test_what_cannot_be_counted_is_declined_whatever_is_asked_for(case, release, state, clock):
    """Nothing of a request leaves the gate as another error: those are the state folder's."""
    privacy, fields = UNCOUNTABLE[case]
    config = point_config("b", federation=UNSAMPLED, privacy={"metrics_share": 0.1})
    policy = made(config, USERS, SCHEMA, start=START)
    config = replace(config, privacy=replace(config.privacy, **privacy))
    fields = dict(fields)
    if noise := fields.pop("event", None):
        (promise,) = policy.promises
        event = {"kind": "gaussian", "noise_multiplier": noise}
        odd = tuple(replace(one, event=event) for one in promise.releases)
        policy = replace(policy, promises=(replace(promise, releases=odd),))
    text = sealed(replace(policy, settings=settings_hash(config)))
    person = Person(state, clock)
    request = asked(config, release, 1, policy=text, **{"users": USERS} | fields)
    with pytest.raises(Declined) as declined, person.gate.admitted(request, SCHEMA):
        pass
    with pytest.raises(Declined), person.gate.admitted(replace(request, policy="{}"), SCHEMA):
        pass
    assert declined.value.word == "policy"
    assert str(declined.value) in person.gate.refusals(request, SCHEMA)
    assert person.gate.refusals(replace(request, policy=""), SCHEMA)
    assert person.rounds == []


def test_what_is_too_much_to_be_counted_together_is_declined(state, clock, config):
    """Each run is within what accountants take, and all of them are not."""
    (plain,) = promises(config, USERS)
    steps = {
        "kind": "self_composed",
        "count": 600_000,
        "event": {"kind": "gaussian", "noise_multiplier": 1e5},
    }
    update = replace(plain.of("update"), event=steps)
    policy = weaker(config, promises=(replace(plain, releases=(update,)),))
    person = Person(state, clock)
    person.gate = Agreement(state, operator(), Days(state, clock), lambda *_: policy.promises)
    person.asked(config, 1, text=sealed(policy))
    with pytest.raises(Declined, match="count of a release = 1200000") as declined:
        person.asked(config, 2, text=sealed(policy))
    assert (declined.value.word, person.rounds) == ("owner", [1])


WEAKER = {
    "epsilon": {"epsilon": 4.0},
    "no privacy": {"epsilon": math.inf},
    "rounds": {"federation": {**MANY, "rounds": 31}},
    "windows": {"train": {"max_windows": 4}},
    "clip": {"privacy": {"clipping_norm": 0.6}},
    "delta": {"privacy": {"delta": 2e-3}},
    "unit": {"privacy": {"unit": "example"}},
}


@pytest.mark.parametrize("case", WEAKER)
def test_what_is_weaker_than_agreed_is_refused(case, person, config):
    person.caps('epsilon = "inf"')
    person.asked(config, 1)
    later = {"federation": MANY} | WEAKER[case]
    with pytest.raises(Declined, match="weaker than the one agreed"):
        person.asked(point_config("b", **later), 2)
    stronger = point_config("b", epsilon=1.5, federation=MANY)
    person.asked(stronger, 2)
    for before in (point_config("b", **later), config):  # what is agreed only gets stricter
        with pytest.raises(Declined, match="weaker than the one agreed"):
            person.asked(before, 3)
    assert person.rounds == [1, 2]


def test_a_device_that_noises_answers_under_no_other_settings(person):
    """A server that asks for an update without noise, of a device that agreed to noise."""
    local = {"unit": "example", "trust": "local"}
    config = point_config("b", privacy=local)
    person.caps('epsilon = "inf"')
    person.asked(config, 1)
    for other in (
        {"epsilon": math.inf},
        {"trust": "central"},
        {"unit": "user", "trust": "central"},
    ):
        privacy = {"epsilon": 2.0} | local | other
        with pytest.raises(Declined, match="weaker than the one agreed"):
            person.asked(point_config("b", privacy=privacy), 2)


def test_a_stronger_policy_does_not_start_a_second_record(person):
    """What was spent towards one unit and placement would be missing in the other's record."""
    example = {"unit": "example", "trust": "central"}
    person.asked(point_config("b", privacy=example), 1)
    local = point_config("b", privacy=example | {"trust": "local"})
    with pytest.raises(Declined, match="new state folder begins new ones"):
        person.asked(local, 2)


def test_an_expired_policy_is_refused_and_a_new_one_heeded(person, config, clock):
    person.asked(config, 1)
    clock.on(days=30)
    with pytest.raises(Declined, match=r"holds from 2026-11-22.* until 2026-12-22"):
        person.asked(config, 2)
    person.asked(config, 2, text=agreed(config, USERS, SCHEMA, start=clock.time))
    clock.on(days=-30)  # and before its time
    with pytest.raises(Declined, match="the clock is behind"):
        person.asked(config, 3)


def test_a_policy_that_was_seen_to_expire_stays_expired(person, config, clock):
    person.asked(config, 1)
    clock.on(days=40)
    with pytest.raises(Declined, match="holds from"):
        person.asked(config, 2)
    clock.on(days=-38)
    with pytest.raises(Declined, match=r"holds from .* it is 2027-01-01.*; the clock is behind"):
        person.asked(config, 2)
    assert person.rounds == [1]


def test_rounds_a_day_are_of_the_date_in_utc(summed_before, person, config, clock):
    person.caps("rounds_per_day = 2")
    person.asked(config, 0, release="histogram")
    person.asked(config, 1)
    with pytest.raises(Declined, match="2 rounds a day, and so many were answered on 2026-11-22"):
        person.asked(config, 2)
    clock.on(hours=3, minutes=59)
    with pytest.raises(Declined):
        person.asked(config, 2)
    clock.on(minutes=2)
    person.asked(config, 2)


def test_a_clock_set_back_frees_no_rounds(person, config, clock):
    person.caps("rounds_per_day = 1")
    person.asked(config, 1)
    clock.on(days=-1)
    person.caps("rounds_per_day = 2")
    person.asked(config, 2, text=agreed(config, USERS, SCHEMA, start=START - timedelta(days=9)))
    with pytest.raises(Declined, match=r"on 2026-11-22 \(UTC\); the clock is behind"):
        person.asked(config, 3)
    clock.on(days=2)
    person.asked(config, 3)


def test_a_declined_round_leaves_no_trace(person, config):
    person.asked(config, 1)
    before = {path.name: path.read_bytes() for path in person.state.iterdir() if path.name != CAPS}
    person.caps("pause = true")
    with pytest.raises(Declined):
        person.asked(config, 2)
    after = {path.name: path.read_bytes() for path in person.state.iterdir() if path.name != CAPS}
    assert after == before


def test_it_lasts_over_restarts_and_what_was_pinned_is_the_strictest(person, config, state, clock):
    person.asked(config, 1)
    stricter = point_config("b", epsilon=1.0, federation=MANY)
    text = agreed(stricter, USERS, SCHEMA, start=START)
    person.asked(stricter, 2, text=text)
    assert (state / AGREED).read_text() == text
    again = Person(state, clock)
    again.caps("epsilon = 0.3")
    with pytest.raises(Declined, match="would bring this device from user-level epsilon"):
        again.asked(stricter, 3)


def test_no_more_than_the_agreed_participations(summed_before, person):
    config = point_config("b", federation={"rounds": 2, "popularity_start": True})
    person.asked(config, 0, release="histogram")
    with pytest.raises(Declined, match="has taken part as often as agreed"):
        person.asked(config, 0, release="histogram")
    for number in (1, 1):  # a repetition is one more
        person.asked(config, number)
    with pytest.raises(Declined, match="has taken part as often as agreed"):
        person.asked(config, 2)


def test_what_no_promise_covers_is_refused(person, config):
    with pytest.raises(Declined, match="promises nothing about 'secrets'"):
        person.asked(config, 1, release="secrets")


def test_exact_ranks_leave_no_device(state, clock, config):
    person = Person(state, clock)
    with pytest.raises(Declined, match="exact ranks leave no device"):
        person.asked(config, 0, release="ranks")
    with pytest.raises(Declined, match="brings no policy"):
        person.asked(config, 0, release="ranks", text="")
    assert person.rounds == []


def test_an_edited_record_is_refused(person, config, state):
    person.asked(config, 1)
    file = state / PARTICIPATION
    file.write_bytes(file.read_bytes().replace(b'"round":1', b'"round":2'))
    with pytest.raises(LedgerError, match="line 2"):
        person.asked(config, 2)


def test_both_units_are_held_to_their_own_ledgers(person):
    config = point_config("b", privacy={"unit": "both"}, federation={"rounds": 3})
    person.caps("epsilon = 0.5")
    with pytest.raises(Declined, match="level epsilon"):
        person.asked(config)
    person.caps("")
    person.asked(config)
    assert person.rounds == [1]
    assert not (person.state / LEDGER).exists()  # the device writes that as it draws its noise


def test_correlated_noise_is_paid_with_the_first_round_and_has_its_limits(state, clock, config):
    """All rounds are one mechanism: what it costs does not grow, and it rests on rare rounds."""
    (plain,) = promises(config, USERS)
    update = replace(
        plain.of("update"),
        mechanism="dp_ftrl",
        times=2,
        separation=3,
        event={"kind": "no_op"},
    )
    training = replace(
        plain.of("update"),
        kind="training",
        mechanism="dp_ftrl",
        times=1,
        event={"kind": "gaussian", "noise_multiplier": 2.5},
    )
    policy = weaker(config, promises=(replace(plain, releases=(training, update)),))
    person = Person(state, clock)
    person.gate = Agreement(state, operator(), Days(state, clock), lambda *_: policy.promises)
    text = sealed(policy)
    person.caps("epsilon = 0.5")
    with pytest.raises(Declined, match="from user-level epsilon 0 to 1"):
        person.asked(config, 1, text=text)
    person.caps("epsilon = 2.0")
    person.asked(config, 2, text=text)
    with pytest.raises(Declined, match="took part in round 2, and agreed to 3 rounds"):
        person.asked(config, 4, text=text)
    with pytest.raises(Declined, match="took part in round 2, and agreed to 3 rounds"):
        person.asked(config, 1, text=text)
    spent = Ledger.open(state / PARTICIPATION).epsilon()
    person.asked(config, 5, text=text)
    ledger = Ledger.open(state / PARTICIPATION)
    assert ledger.epsilon() == spent
    assert [entry.release for entry in ledger.entries] == ["training", "update", "update"]
    with pytest.raises(Declined, match="as often as agreed"):
        person.asked(config, 9, text=text)
