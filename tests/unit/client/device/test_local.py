"""A node's own configuration names its data and its user."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import client.training.examples
from client.device.agreement import AGREED, CAPS
from client.device.local import _log, _recommender, device_of
from shared.data.population import person_key
from shared.errors import ConfigError, DataError, Declined
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.issue import promises
from tests.support.asking import asked
from tests.support.federations import point_config
from tests.support.persons import SCHEMA, START, USERS, Clock, Person, owners
from tests.support.privacy.policies import agreed, operator
from tests.support.tiny import random_adapter


@pytest.fixture
def log(tmp_path):
    rows = [f"{user},{item},{time}" for user in "uv" for time, item in enumerate("abcd")]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
    items = "\n".join(f"{i},Text of {i}" for i in "abcdef")
    (tmp_path / "items.csv").write_text(f"item,text\n{items}\n")
    yield str(tmp_path)
    _log.cache_clear()
    _recommender.cache_clear()


@pytest.fixture
def own(tmp_path):
    """What a node's owner configures beside data and user."""
    return {"state": str(tmp_path / "state"), "operator": operator()}


@pytest.fixture
def config(tiny_bert):
    return point_config(tiny_bert)


def test_a_user_by_name_or_by_partition(log, config, own):
    named = device_of({"data": log, "user": "v", **own}, config)
    placed = device_of({"data": log, "partition-id": 1, **own}, config)
    assert named.key == placed.key == person_key("v")
    assert named.history.tolist() == [0, 1, 2, 3]
    assert named.recommender is placed.recommender  # built once


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"data": None}, "data is missing"),
        ({"user": None}, "user is missing"),
        ({"state": None}, "state is missing"),
        ({"state": "here"}, "give a full path"),
        ({"operator": None}, "operator = '': expected the operator's public key"),
        ({"operator": "abc"}, "operator = 'abc': expected"),
    ],
)
def test_an_incomplete_node_is_refused(node, message, log, config, own):
    node = {"data": log, "user": "u", **own} | node
    node = {name: value for name, value in node.items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        device_of(node, config)


def test_an_unknown_user_is_refused(log, config, own):
    with pytest.raises(DataError, match="'w'"):
        device_of({"data": log, "user": "w", **own}, config)


def test_a_nodes_ledger_lasts_and_its_noise_is_never_seeded(log, tiny_bert, tmp_path, own):
    """Two processes' worth of devices: asked twice for a round, both count and differ."""
    privacy = {"unit": "example", "trust": "local", "epsilon": 8.0, "delta": 1e-3}
    config = point_config(tiny_bert, privacy=privacy)
    node = {"data": log, "user": "u", **own}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / CAPS).write_text(owners())
    messages = []
    for _ in range(2):
        device = device_of(node, config)
        adapter = device.schema.split(random_adapter(device.schema).numpy())
        policy = agreed(config, 40, device.schema.digest)
        messages.append(
            device.answer(asked(config, number=1, arrays=adapter, policy=policy)).vector
        )
    assert abs(messages[0] - messages[1]).max() > 0
    kept = Ledger.open(tmp_path / "state" / "ledger.jsonl")
    assert [entry.round for entry in kept.entries] == [1, 1]
    assert kept.header.guarantee.trust == "local"
    device = device_of(node, config)
    device.answer(
        asked(config, number=2, arrays=adapter, policy=policy)
    )  # three updates were planned, a histogram besides

    def insist():
        for _ in range(9):
            device.answer(asked(config, number=3, arrays=adapter, policy=policy))

    with pytest.raises(Declined, match="declined round 3"):
        insist()


def test_a_second_run_has_a_ledger_of_its_own_and_adds_to_what_is_capped(
    log, tiny_bert, tmp_path, own
):
    """By a device that used all of the first, and adds its noise itself."""
    state = tmp_path / "state"
    state.mkdir()
    (state / CAPS).write_text(owners())
    node = {"data": log, "user": "u", **own}

    def answer(epsilon, number):
        privacy = {"unit": "example", "trust": "local", "epsilon": epsilon, "delta": 1e-3}
        federation = {"rounds": 1, "popularity_start": False}
        config = point_config(tiny_bert, privacy=privacy, federation=federation)
        device = device_of(node, config)
        adapter = device.schema.split(random_adapter(device.schema).numpy())
        policy = agreed(config, 40, device.schema.digest)
        device.answer(asked(config, number=number, arrays=adapter, policy=policy))

    answer(4.0, 1)
    answer(2.0, 1)
    names = ("ledger.jsonl", "ledger-2.jsonl")
    kept = [Ledger.open(state / name) for name in names]
    assert [len(ledger) for ledger in kept] == [1, 1]
    assert [ledger.header.guarantee.budget for ledger in kept] == [4.0, 2.0]
    with pytest.raises(Declined, match="as often as agreed"):
        answer(2.0, 1)
    spent = epsilon([(ledger.entries[0].event, 1) for ledger in kept], 1e-3)
    (state / CAPS).write_text(owners(f"epsilon = {spent + 0.1}"))
    with pytest.raises(Declined, match=f"from example-level epsilon {spent:.3g} to .* over its"):
        answer(1.0, 1)


def test_two_requests_at_once_do_not_both_see_room_for_one(
    log, tiny_bert, tmp_path, own, monkeypatch
):
    privacy = {"unit": "example", "trust": "local", "epsilon": 8.0, "delta": 1e-3}
    config = point_config(tiny_bert, privacy=privacy)
    (promise,) = promises(config, 40)
    once = epsilon([(promise.of("update").cost, 1)], promise.guarantee.delta)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / CAPS).write_text(owners(f"epsilon = {once * 1.05}"))
    real = client.training.examples.DeviceBudget

    def slow(*arguments):  # between the look at the cap and the record
        time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(client.training.examples, "DeviceBudget", slow)
    device = device_of({"data": log, "user": "u", **own}, config)
    adapter = device.schema.split(random_adapter(device.schema).numpy())
    policy = agreed(config, 40, device.schema.digest)

    def answer(number):
        try:
            return device.answer(asked(config, number=number, arrays=adapter, policy=policy))
        except Declined as why:
            return str(why)

    with ThreadPoolExecutor(2) as both:
        said = [found for found in both.map(answer, (1, 2)) if isinstance(found, str)]
    assert len(said) == 1
    assert "over its owner's cap" in said[0]
    assert len(Ledger.open(tmp_path / "state" / "ledger.jsonl")) == 1


def test_before_a_model_is_built_all_but_its_adapter_is_checked(tmp_path, config):
    person = Person(tmp_path / "state", Clock())
    text = agreed(config, USERS, SCHEMA, start=START)
    request = asked(config, users=USERS, policy=text)
    person.gate.foresee(request)
    with pytest.raises(Declined, match="another adapter"):
        person.gate.admitted(request, "").__enter__()
    for caps, message in (("epsilon = 0.01", "cap of 0.01"), ("pause = true", "paused")):
        person.caps(caps)
        with pytest.raises(Declined, match=message):
            person.gate.foresee(request)
    with pytest.raises(Declined, match="brings no policy"):
        person.gate.foresee(replace(request, policy=""))
    assert not (person.state / AGREED).exists()
