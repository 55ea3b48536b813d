"""What a device keeps from one request to the next, and what it reads again."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

import pytest

import client.device.resident
import client.training.examples
from client.device.agreement import AGREED, CAPS
from client.device.clock import Days
from client.device.folder import SETTINGS, DeviceFolder, Owned
from client.device.resident import Resident
from client.store import Interaction, Store
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError, DataError, Declined, ModelError
from shared.model.adapter import AdapterSchema
from shared.model.sources.choice import build, find
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.issue import promises
from tests.support.asking import asked
from tests.support.federations import point_config
from tests.support.persons import SCHEMA, START, USERS, Clock, Person, owners
from tests.support.privacy.policies import agreed, operator
from tests.support.tiny import random_adapter

CATALOGUE = Catalogue(tuple("abcdef"), tuple(f"Text of {item * 3}" for item in "abcdef"))


@pytest.fixture
def folder(tmp_path):
    folder = DeviceFolder.begin(tmp_path / "state", Owned("u", operator()), CATALOGUE)
    folder.store.add(Interaction(item, time) for time, item in enumerate("abcd"))
    (folder.path / CAPS).write_text(owners())
    return folder


@pytest.fixture
def config(tiny_bert):
    return point_config(tiny_bert)


@lru_cache
def schema_of(model):
    return AdapterSchema.of(build(CATALOGUE, find(model), model))


def request_of(config, number=1):
    """A request for an update under a policy that holds."""
    schema = schema_of(config.model)
    adapter = schema.split(random_adapter(schema).numpy())
    return asked(config, number=number, arrays=adapter, policy=agreed(config, 40, schema.digest))


def test_model_and_gate_last_and_the_history_is_read_again(folder, tiny_bert, monkeypatch):
    """Something is added between two requests: by another process, a page or an import."""
    config = point_config(tiny_bert, epsilon=math.inf)
    (folder.path / CAPS).write_text(owners('epsilon = "inf"'))
    resident, built, derived = Resident(folder), [], []
    client.device.resident._recommender.cache_clear()
    real, promised = client.device.resident.build, resident._agreement._derive
    monkeypatch.setattr(client.device.resident, "build", lambda *a: (built.append(1), real(*a))[1])
    resident._agreement._derive = lambda *a: (derived.append(1), promised(*a))[1]
    before = resident.answer(request_of(config), 2)
    assert (resident.answer(request_of(config, 2), 2).vector != 0).any()
    other = Store(folder.path)
    other.add([Interaction("e", 9), Interaction("f", 10)])
    after = resident.answer(request_of(config), 2)
    assert (before.vector != after.vector).any()
    assert (len(built), len(derived)) == (1, 1)


def test_a_device_builds_the_reader_that_the_settings_choose(folder, tiny_bert, backbones):
    """One model encodes items, another reads; with other weights than the server's, neither."""
    config = point_config(tiny_bert, epsilon=math.inf)
    (folder.path / CAPS).write_text(owners('epsilon = "inf"'))
    model = replace(config.model, backbone=str(backbones("gguf-llama")), items=str(tiny_bert))
    model = find(model).identified(model)
    config = replace(config, model=model)
    update = Resident(folder).answer(request_of(config), 2)
    assert (update.vector != 0).any()
    other = replace(config, model=replace(model, items_sha256="0" * 64))
    with pytest.raises(ModelError, match=r"model.items = .*: the weights here are .* the server's"):
        Resident(folder).answer(request_of(other), 2)


def test_a_clock_that_is_set_back_gives_no_new_day(folder, tiny_bert):
    """Nor does it revive a policy that was seen to have ended."""
    config, clock = point_config(tiny_bert), Clock()
    clock.time = datetime.now(UTC)
    (folder.path / CAPS).write_text(owners("rounds_per_day = 1"))
    resident = Resident(folder, Days(folder.path, clock))
    asked = request_of(config)
    resident.answer(asked, 2)
    clock.on(days=-2)
    with pytest.raises(Declined, match="the clock is behind"):
        resident.answer(request_of(config, 2), 2)
    clock.on(days=60)
    with pytest.raises(Declined, match="the policy holds from"):
        resident.answer(replace(asked, round_number=2), 2)
    clock.on(days=-58)
    with pytest.raises(Declined, match=r"the policy holds from .* the clock is behind"):
        resident.answer(replace(asked, round_number=2), 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / SETTINGS).unlink(), "no device is here"),
        (lambda path: (path / SETTINGS).write_text("user = "), "device.toml: not TOML"),
        (
            lambda path: (path / SETTINGS).write_text("user = 3\noperator=''"),
            "user: Input should be a valid",
        ),
        (lambda path: (path / SETTINGS).write_text("usr = 'u'"), "usr: is no setting; did you me"),
        (
            lambda path: (path / SETTINGS).write_text('user = "u"\noperator = "ab"'),
            "operator = 'ab': expected the operator's public key",
        ),
        (lambda path: (path / "catalogue.json").unlink(), "catalogue.json: cannot be read"),
        (lambda path: (path / "catalogue.json").write_text("{"), "not a published catalogue"),
        (lambda path: (path / "identity.pem").write_text("no key"), "identity.pem"),
    ],
)
def test_a_folder_that_is_damaged_is_told_when_the_device_begins(damage, message, folder):
    Resident(folder)
    damage(folder.path)
    with pytest.raises((ConfigError, DataError), match=message) as told:
        Resident(DeviceFolder(folder.path))
    assert "\n" not in str(told.value)


def test_a_folder_is_begun_once(folder):
    with pytest.raises(ConfigError, match="holds a device already"):
        DeviceFolder.begin(folder.path, Owned("v", operator()), CATALOGUE)
    assert folder.owned.user == "u"
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_devices_ledger_lasts_and_its_noise_is_never_seeded(folder, tiny_bert):
    """Two processes' worth of devices: asked twice for a round, both count and differ."""
    privacy = {"unit": "example", "trust": "local", "epsilon": 8.0, "delta": 1e-3}
    config = point_config(tiny_bert, privacy=privacy)
    messages = [Resident(folder).answer(request_of(config), 2).vector for _ in range(2)]
    assert abs(messages[0] - messages[1]).max() > 0
    kept = Ledger.open(folder.path / "ledger.jsonl")
    assert [entry.round for entry in kept.entries] == [1, 1]
    assert kept.header.guarantee.trust == "local"
    device = Resident(folder)
    device.answer(request_of(config, 2), 2)  # three updates were planned, a histogram besides

    def insist():
        for _ in range(9):
            device.answer(request_of(config, 3), 2)

    with pytest.raises(Declined, match="declined round 3"):
        insist()


def test_a_second_run_has_a_ledger_of_its_own_and_adds_to_what_is_capped(folder, tiny_bert):
    """By a device that used all of the first, and adds its noise itself."""
    state, device = folder.path, Resident(folder)

    def answer(epsilon, number):
        privacy = {"unit": "example", "trust": "local", "epsilon": epsilon, "delta": 1e-3}
        federation = {"rounds": 1, "popularity_start": False}
        config = point_config(tiny_bert, privacy=privacy, federation=federation)
        device.answer(request_of(config, number), 2)

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


def test_two_requests_at_once_do_not_both_see_room_for_one(folder, tiny_bert, monkeypatch):
    privacy = {"unit": "example", "trust": "local", "epsilon": 8.0, "delta": 1e-3}
    config = point_config(tiny_bert, privacy=privacy)
    (promise,) = promises(config, 40)
    once = epsilon([(promise.of("update").cost, 1)], promise.guarantee.delta)
    (folder.path / CAPS).write_text(owners(f"epsilon = {once * 1.05}"))
    real = client.training.examples.DeviceBudget

    def slow(*arguments):  # between the look at the cap and the record
        time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(client.training.examples, "DeviceBudget", slow)
    devices = [Resident(folder), Resident(DeviceFolder(folder.path))]

    def answer(number):
        try:
            return devices[number - 1].answer(request_of(config, number), 2)
        except Declined as why:
            return str(why)

    with ThreadPoolExecutor(2) as both:
        said = [found for found in both.map(answer, (1, 2)) if isinstance(found, str)]
    assert len(said) == 1
    assert "over its owner's cap" in said[0]
    assert len(Ledger.open(folder.path / "ledger.jsonl")) == 1


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
