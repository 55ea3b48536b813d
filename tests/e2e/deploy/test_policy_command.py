"""`starling policy`: what a person types, and what a device would answer."""

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from client.device.agreement import AGREED, CAPS, LEDGER, PARTICIPATION
from client.device.clock import FILE as CLOCK
from client.device.clock import now
from shared.privacy.keys import public_hex
from shared.privacy.policy.caps import Caps
from shared.privacy.policy.signed import load_policy, signed, utc
from tests.support.command import command
from tests.support.federations import point_config
from tests.support.persons import SCHEMA, USERS, Person, owners
from tests.support.privacy.policies import OTHER, agreed, sealed


@pytest.fixture(scope="module")
def operator():
    done = command("policy", "key")
    assert done.code == 0
    return done.out.strip()


@pytest.fixture(scope="module")
def point(finished):
    """The policy and the settings that a run keeps of its private point."""
    points = finished[0] / "points"
    return points / "eps-2-seed-0.policy.json", points / "eps-2-seed-0.toml"


@pytest.fixture(scope="module")
def bare(point, tmp_path_factory):
    """The same, but that the server sees every answer: a histogram too, which devices decline."""
    change = ('secure_aggregation = "auto"', 'secure_aggregation = "off"')
    return _changed(point, tmp_path_factory.mktemp("bare"), *change)


@pytest.fixture(scope="module")
def plain(point, tmp_path_factory):
    """The same without a histogram."""
    change = ("popularity_start = true", "popularity_start = false")
    return _changed(point, tmp_path_factory.mktemp("plain"), *change)


def _changed(point, folder, was, becomes):
    settings, policy = folder / "s.toml", folder / "p.json"
    assert was in point[1].read_text()
    settings.write_text(point[1].read_text().replace(was, becomes))
    adapter = point[1].with_name("eps-2-seed-0.initial.safetensors")
    words = ("--config", settings, "--users", "40", "--out", policy, "--adapter", adapter)
    made = command("policy", "make", *words)
    assert made.code == 0, made.err
    return policy, settings


def checked(file, operator, *arguments):
    return command("policy", "check", file, "--operator", operator, *arguments)


def test_a_policy_made_beforehand_is_that_of_the_run(
    point, settings, tiny_bert, operator, tmp_path
):
    text = settings.read_text().replace("[model]", f'[model]\nbackbone = "{tiny_bert}"')
    (tmp_path / "s.toml").write_text(text)
    out = tmp_path / "policy.json"
    made = command(
        *("policy", "make", "--config", tmp_path / "s.toml", "--epsilon", "2", "--out", out)
    )
    assert made.code == 0, made.err
    assert "user-level epsilon 2 at delta 0.001, central trust" in made.out
    mine, its = (json.loads(file.read_text())["policy"] for file in (out, point[0]))
    for times in (mine, its):
        del times["valid_from"], times["valid_until"]
    assert mine == its
    assert mine["issuer"] == operator
    out = tmp_path / "as-given.json"
    as_given = command(
        *("policy", "make", "--config", point[1], "--users", "40", "--out", out, "--adapter"),
        point[1].with_name("eps-2-seed-0.initial.safetensors"),
    )
    assert as_given.code == 0, as_given.err
    assert {**mine} == {k: json.loads(out.read_text())["policy"][k] for k in mine}


def test_show_tells_it_in_words(point):
    shown = command("policy", "show", point[0])
    assert shown.code == 0
    assert (
        "2 rounds among 40 users; of one person at most 2 windows of 12 interactions in an update"
        in shown.out
    )
    assert "update: at most 2 times, gaussian, noise multiplier" in shown.out
    assert "devices decline" not in shown.out


@pytest.mark.parametrize(
    ("days_from_now", "word"), [(-40, "(EXPIRED: devices decline)"), (2, "(NOT YET: devices")]
)
def test_show_says_when_a_policy_does_not_hold(point, tmp_path, days_from_now, word):
    made = load_policy(point[0], None)
    start = datetime.now(UTC) + timedelta(days=days_from_now)
    when = {"valid_from": utc(start), "valid_until": utc(start + timedelta(days=30))}
    moved = replace(made, **when, issuer=public_hex(OTHER))
    (tmp_path / "p.json").write_text(signed(moved, OTHER))
    shown = command("policy", "show", tmp_path / "p.json")
    assert (shown.code, word in shown.out) == (0, True), shown.err


def test_a_policy_that_most_owners_decline_is_made_with_a_warning(point, tmp_path):
    out = tmp_path / "p.json"
    adapter = point[1].with_name("eps-2-seed-0.initial.safetensors")
    words = ("policy", "make", "--config", point[1], "--users", "40", "--adapter", adapter)
    told = command(*words, "--out", out).err
    assert "promises no privacy" not in told
    assert "warning: the policy's delta = 0.001 is over its owner's cap of 1e-05: every" in told
    done = command(*words, "--epsilon", "inf", "--out", tmp_path / "inf.json")
    assert (done.code, "promises no privacy" in done.err) == (0, True), done.err


def test_check_asks_round_after_round_until_the_device_declines(
    plain, bare, point, operator, tmp_path
):
    caps = tmp_path / "caps.toml"

    def allowing(text):
        caps.write_text(owners(text))
        return ("--caps", caps)

    free = checked(plain[0], operator, "--config", plain[1], "--rounds", 2, *allowing(""))
    assert free.code == 0, free.out
    assert [line.split(";")[0] for line in free.out.splitlines()] == [
        "owner's caps: epsilon = 1000 at delta = 0.001, unit = example, trust = central, "
        "sums = false, rounds_per_day = inf, pause = false",
        "round 1: takes part",
        "round 2: takes part",
    ]
    spent = [float(found) for found in re.findall(r"epsilon ([0-9.]+)", free.out)]
    cap = sum(spent) / 2  # more than one round, less than two
    capped = checked(plain[0], operator, "--rounds", 2, *allowing(f"epsilon = {cap}"))
    assert capped.code == 3
    _, *taken, second, note = capped.out.splitlines()
    assert taken == free.out.splitlines()[1:2]
    assert second.startswith("declined round 2: it would bring this device from user-level epsilon")
    assert second.endswith(f"over its owner's cap of {cap:g}")
    assert "needs --config" in note
    a_day = allowing("rounds_per_day = 1")
    today = checked(plain[0], operator, "--rounds", 2, *a_day)
    assert (today.code, "allows 1 rounds a day" in today.out) == (3, True)
    assert checked(plain[0], operator, "--rounds", 2, "--a-day", 1, *a_day).code == 0
    none = checked(plain[0], operator)  # as a device whose owner wrote nothing
    assert none.code == 3
    assert none.out.startswith("caps of a device whose owner wrote none: epsilon = 8 at delta")
    assert "delta = 0.001 is over its owner's cap of 1e-05" in none.out
    named = checked(bare[0], operator, "--rounds", 2, *allowing(""))
    assert (named.code, "would name the person's items to the server" in named.out) == (3, True)
    summed = checked(point[0], operator, "--rounds", 2, *allowing(""))
    assert (summed.code, "histogram: takes part" in summed.out) == (0, True)


def test_check_leaves_a_devices_state_as_it_is(point, operator, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "caps.toml").write_text("pause = true\n")
    asked = checked(point[0], operator, "--state", state)
    assert (asked.code, "its owner has paused it" in asked.out) == (3, True)
    assert [path.name for path in state.iterdir()] == ["caps.toml"]
    told = command("policy", "spent", state).out
    assert "trust = central, sums = true, rounds_per_day = 24, pause = true" in told
    assert "has agreed to nothing yet" in told


NOTHING = "holds nothing of a device (no caps.toml, agreement.json, clock.json, and no record)"
# What is in a folder -> what is said of it; None: no folder, or a file.
NO_STATE = {
    "none": (None, "there is no such folder"),
    "a file": ("a file", "is a file"),
    "empty": ((), NOTHING),
    "something else's": (("notes.txt", "agreement.json.bak", "ledger-eps-2.jsonl"), NOTHING),
    "settings": (("config.toml",), NOTHING),
    "a run's": (("config.toml", "results.json"), "is a run's folder"),
}


def asked_of(asks, state, point, operator, *words):
    if asks == "check":
        return checked(point[0], operator, "--state", state, *words)
    return command("policy", "spent", state, *words)


@pytest.mark.parametrize("case", NO_STATE)
@pytest.mark.parametrize("asks", ["check", "spent"])
def test_what_is_no_state_folder_is_told(asks, case, point, operator, tmp_path):
    holds, said = NO_STATE[case]
    state = tmp_path / "state"
    if isinstance(holds, str):
        state.write_text(holds)
    elif holds is not None:
        state.mkdir()
        for name in holds:
            (state / name).write_text("")
    done = asked_of(asks, state, point, operator)
    assert (done.code, said in done.error, done.out) == (2, True, ""), done.err


@pytest.mark.parametrize("kept", [CLOCK, AGREED, CAPS, PARTICIPATION, LEDGER])
@pytest.mark.parametrize("asks", ["check", "spent"])
def test_a_state_folder_is_one_whatever_else_lies_in_it(asks, kept, taken, plain, operator):
    """And whether its caps are the owner's, or those of no one."""
    (taken / PARTICIPATION).rename(taken / kept) if kept == LEDGER else None
    for file in taken.iterdir():
        if file.name != kept:
            file.unlink()
    for name in ("config.toml", "results.json"):
        (taken / name).write_text("")
    done = asked_of(asks, taken, plain, operator)
    assert done.code in (0, 3), done.err
    written = "owner's caps: " if kept == CAPS else "caps of a device whose owner wrote none: "
    assert done.out.startswith(written)
    told = json.loads(asked_of(asks, taken, plain, operator, "--json").out)
    assert told["caps_file"] == (str(taken / CAPS) if kept == CAPS else None)
    assert told["caps"].keys() == Caps.__dataclass_fields__.keys()


def test_every_reason_is_told_and_not_the_first_alone(plain, tmp_path):
    """Another's policy, over two caps, of a paused owner, whose record lies in a copy by then."""
    caps = tmp_path / "caps.toml"
    caps.write_text("pause = true\nepsilon = 0.1\ndelta = 1e-5\n")
    asked = checked(plain[0], public_hex(OTHER), "--caps", caps)
    assert asked.code == 3
    reasons = (
        "not signed by the operator's key",
        "its owner has paused it",
        "delta = 0.001 is over its owner's cap of 1e-05",
        "over its owner's cap of 0.1",
    )
    lines = [line for line in asked.out.splitlines() if line.startswith("declined round 1: ")]
    assert [sum(reason in line for line in lines) for reason in reasons] == [1, 1, 1, 1], asked.out
    told = json.loads(checked(plain[0], public_hex(OTHER), "--caps", caps, "--json").out)
    assert [each["words"] for each in told["answers"]] == lines
    assert told["takes_part"] is False


@pytest.mark.parametrize("name", [PARTICIPATION, "clock.json", AGREED, "caps.toml"])
def test_a_damaged_record_is_named_where_its_owner_has_it(name, taken, plain, operator):
    (taken / name).write_bytes(b'{"damaged')
    asked = checked(plain[0], operator, "--state", taken)
    assert str(taken / name) in asked.error, asked.err
    assert asked.code in (2, 3)


@pytest.fixture
def taken(tmp_path):
    """The state of a device that took part in the first round of a run."""
    config = point_config("b", federation={"popularity_start": False})
    person = Person(tmp_path / "state", now)
    person.asked(config, text=agreed(config, USERS, SCHEMA))
    return person.state


def test_what_was_spent_is_told_without_the_agreement(taken):
    whole = command("policy", "spent", taken).out.splitlines()
    (taken / AGREED).unlink()
    told = command("policy", "spent", taken)
    caps, no_agreement, *rest = told.out.splitlines()
    assert (told.code, rest) == (0, whole[-2:])
    assert (caps, no_agreement) == (whole[0], f"{taken}: no agreement.json is here")
    assert rest[0].startswith("participation.jsonl: 1 entries, user-level epsilon")
    assert rest[1].startswith("all together: user-level epsilon")


def test_what_was_spent_is_told_of_a_record_that_a_crash_cut_off(taken):
    """As the device will read it; nothing is written."""
    whole = command("policy", "spent", taken).out
    with (taken / PARTICIPATION).open("ab") as file:
        file.write(b'{"content":{"ev')
    before = {each: each.read_bytes() for each in taken.iterdir()}
    told = command("policy", "spent", taken)
    assert (told.code, told.out) == (0, whole)
    assert {each: each.read_bytes() for each in taken.iterdir()} == before


def test_a_cost_that_no_settings_give_is_refused_without_them(point, operator, tmp_path):
    policy = load_policy(point[0], None)
    (promise,) = policy.promises
    cheap = {"kind": "gaussian", "noise_multiplier": 0.01}
    event = {"kind": "poisson_sampled", "sampling_probability": 1e-9, "event": cheap}
    releases = tuple(replace(one, event=event) for one in promise.releases)
    made = replace(policy, promises=(replace(promise, releases=releases),))
    (tmp_path / "p.json").write_text(sealed(made))
    (tmp_path / "caps.toml").write_text(owners())
    done = checked(tmp_path / "p.json", operator, "--caps", tmp_path / "caps.toml")
    assert (done.code, "no settings give that" in done.error) == (2, True)


def test_another_operators_policy_is_declined(point, tmp_path):
    asked = checked(point[0], public_hex(OTHER))
    assert (asked.code, "not signed by the operator's key" in asked.out) == (3, True)


def test_mistakes_are_one_line(point, operator, tmp_path):
    shutil.copy(point[0], tmp_path / "p.json")
    (tmp_path / "bad.toml").write_text("epsilom = 1\n")
    (tmp_path / "no.json").write_text("{}")
    tried = {
        "cannot be read": checked(tmp_path / "none.json", operator),
        "not the JSON of a signed policy": checked(tmp_path / "no.json", operator),
        f"{tmp_path / 'bad.toml'}: unknown cap epsilom": checked(
            point[0], operator, "--caps", tmp_path / "bad.toml"
        ),
        "not the settings of this policy": checked(
            point[0], operator, "--config", point[1].with_name("eps-inf-seed-0.toml")
        ),
        "--epsilon: missing": command("policy", "make", "--preset", "demo", "--out", "x"),
        "give --config": command("policy", "make", "--adapter", "x", "--out", "x"),
        "is there already": command(
            *(
                "policy",
                "make",
                "--config",
                point[1],
                "--epsilon",
                "2",
                "--out",
                tmp_path / "p.json",
            )
        ),
    }
    for message, done in tried.items():
        assert (done.code, message in done.error) == (2, True), done.err
    assert (tmp_path / "p.json").read_bytes() == point[0].read_bytes()  # not overwritten
