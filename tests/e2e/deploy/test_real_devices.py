"""Real devices over real messages: relay, device, agreement, ledger, and the server above them."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from safetensors.numpy import load_file

import client.device.resident
import server.run_policy
from client.messages import parse
from server.cohort.silence import Silence
from server.federation import run_federation
from shared.errors import ConfigError, EngineError, ProtocolError
from shared.privacy.keys import public_hex
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.signed import load_policy, signed
from tests.support.command import command
from tests.support.federations import point_config
from tests.support.privacy.policies import OTHER, agreed, made, noisier, operator, sealed
from tests.support.running.nodes import (
    USERS,
    Loopback,
    Node,
    declined,
    request,
    schema_of,
    served,
    write_log,
)

pytestmark = pytest.mark.usefixtures("flower")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return str(write_log(tmp_path_factory.mktemp("log")))


@pytest.fixture(scope="module")
def config(tiny_bert):
    """40 rounds of everyone at epsilon 2: one round alone costs about 0.2."""
    return point_config(
        tiny_bert,
        federation={"rounds": 40, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )


@pytest.fixture(scope="module")
def model(log, config):
    """The device's own adapter, as any device of this log builds it."""
    return schema_of(log, config)


def test_a_device_capped_at_epsilon_one_takes_part_until_just_under_it(
    log, config, model, tmp_path
):
    node = Node(tmp_path, log, 0)
    node.caps("epsilon = 1.0\n")
    policy = agreed(config, USERS, model.digest)
    refusals = [node.refusal(request(model, config, n, policy)) for n in range(1, 21)]
    answered = [not why for why in refusals]
    last = sum(answered)
    assert 4 < last < 19
    assert answered == [True] * last + [False] * (20 - last)
    assert node.rounds == list(range(1, last + 1))
    ledger = Ledger.open(node.state / "participation.jsonl")
    assert ledger.epsilon() <= 1
    ledger.append(last + 1, "update", ledger.entries[0].event)
    assert ledger.epsilon() > 1  # one more would have been over
    assert refusals[-1] == refusals[last].replace(f"round {last + 1}", "round 20")
    assert f"declined round {last + 1}: it would bring this device" in refusals[last]
    assert "its owner's cap of 1" in refusals[last]


def test_a_weaker_an_expired_and_a_forged_policy_are_refused(log, config, model, tmp_path):
    node, digest = Node(tmp_path, log, 1), model.digest
    assert not declined(node.answer(request(model, config, 1, agreed(config, USERS, digest))))
    weaker = point_config(
        config.model.backbone,
        epsilon=4.0,
        federation={"rounds": 40, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )
    expired = agreed(config, USERS, digest, start=datetime.now(UTC) - timedelta(days=31))
    stranger = replace(made(config, USERS, digest), issuer=public_hex(OTHER))
    edited = agreed(config, USERS, digest).replace('"rounds":40', '"rounds":50')
    tried = {
        "weaker than the one agreed: epsilon = 4": (weaker, agreed(weaker, USERS, digest)),
        "the policy holds from": (config, expired),
        "not signed by the operator's key": (config, signed(stranger, OTHER)),
        "policy: not signed by": (config, edited),
        "the request brings no policy": (config, ""),
    }
    for words, (settings, policy) in tried.items():
        assert words in node.refusal(request(model, settings, 2, policy))
    assert node.rounds == [1]


@pytest.mark.parametrize("release", ["update", "histogram", "metrics"])
def test_every_kind_of_request_is_checked(release, log, config, model, tmp_path):
    node = Node(tmp_path, log, 2)
    for policy in ("", agreed(config, USERS, "other")):
        assert declined(node.answer(request(model, config, 1, policy, release)))
    node.caps("pause = true")
    policy = agreed(config, USERS, model.digest)
    assert "paused" in node.refusal(request(model, config, 1, policy, release))
    assert node.rounds == []


def test_no_path_of_the_servers_choice_is_opened_before_its_policy_is_checked(
    log, config, model, tmp_path, monkeypatch
):
    node, opened = Node(tmp_path, log, 0), []
    real = client.device.resident.find
    monkeypatch.setattr(
        client.device.resident,
        "find",
        lambda model: (opened.append(model.backbone), real(model))[1],
    )
    (tmp_path / "there").mkdir()
    errors = set()
    for path in (tmp_path / "there", tmp_path / "not there"):
        other = replace(config, model=replace(config.model, backbone=str(path)))
        assert "brings no policy" in node.refusal(request(model, other, 1, ""))
        assert opened == []
        policy = agreed(other, USERS, model.digest)
        with pytest.raises(ProtocolError) as caught:  # the operator's own word: then it is looked
            node.answer(request(model, other, 1, policy))
        errors.add(str(caught.value))
        assert opened.pop() == str(path)
    assert errors == {"the device could not answer; its own log says why"}
    assert node.rounds == []


def test_a_run_over_real_devices_ends_with_those_that_still_may(log, tiny_bert, model, tmp_path):
    """One is paused, one caps at almost nothing, one allows two rounds a day."""
    config = point_config(
        tiny_bert,
        federation={"rounds": 4, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    nodes[0].caps("pause = true")
    nodes[1].caps("epsilon = 0.05")
    nodes[2].caps("rounds_per_day = 2")
    grid, files = Loopback(nodes), served(tmp_path, model)
    outcome = run_federation(grid, config, files, simulated=False)
    assert outcome["rounds"] == 4
    assert [len(node.rounds) for node in nodes] == [0, 0, 2, 4, 4, 4]
    reasons = [said.partition(": ")[2] for said in grid.said if said]
    assert {"its owner has paused it"} < set(reasons)
    assert len(reasons) == 4 + 4 + 2
    kept = load_policy(files.policy, operator())
    assert json.loads((nodes[3].state / "agreement.json").read_text())["policy"]["issuer"]
    assert kept.users == USERS
    central = Ledger.open(files.ledger)
    device = Ledger.open(nodes[3].state / "participation.jsonl")
    assert device.epsilon() == pytest.approx(central.epsilon())  # everyone in every round
    told = command("policy", "spent", nodes[3].state)
    assert "4 entries, user-level epsilon 2 at delta 0.01" in told.out
    assert "against anyone who sees every released adapter" in told.out


def test_everyone_may_decline_and_a_run_of_noise_alone_is_no_success(
    log, tiny_bert, model, tmp_path
):
    config = point_config(
        tiny_bert,
        federation={"rounds": 2, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    for node in nodes:
        node.caps("pause = true")
    files = served(tmp_path, model)
    with pytest.raises(EngineError, match=r"rounds 1 to 2: .* \(declined \(owner\)\)"):
        run_federation(Loopback(nodes), config, files, simulated=False)
    assert len(Ledger.open(files.ledger)) == 2  # pure noise was released, and counted


def test_a_policy_made_beforehand_serves_only_its_run(log, tiny_bert, model, tmp_path):
    config = point_config(
        tiny_bert,
        federation={"rounds": 2, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    files = served(tmp_path, model)
    early = tmp_path / "policy.json"
    early.write_text(agreed(config, USERS + 1, model.digest))
    with pytest.raises(
        ConfigError, match="6 clients are connected, and the run rests on users = 7"
    ):
        run_federation(Loopback(nodes), config, files, simulated=False, policy=early)
    old = made(config, USERS, model.digest, start=datetime.now(UTC) - timedelta(days=31))
    early.write_text(sealed(old))
    with pytest.raises(ConfigError, match="holds from"):
        run_federation(Loopback(nodes), config, files, simulated=False, policy=early)
    # From a machine whose search for the noise ended a little lower, and a little higher.
    early.write_text(sealed(noisier(made(config, USERS, model.digest), 1 + 1e-9)))
    with pytest.raises(ConfigError, match="promises are not what this run's settings"):
        run_federation(Loopback(nodes), config, files, simulated=False, policy=early)
    kept = noisier(made(config, USERS, model.digest), 1 - 1e-9)
    early.write_text(sealed(kept))
    server.run_policy.run_policy(config, USERS, model.digest, tmp_path / "kept", early)
    early.write_text(sealed(made(config, USERS, model.digest)) + "\n")
    run_federation(Loopback(nodes), config, files, simulated=False, policy=early)
    assert (nodes[0].state / "agreement.json").read_text() == early.read_text().strip()


def test_a_run_that_outlives_its_policy_stops_before_it_asks(
    log, tiny_bert, model, tmp_path, monkeypatch
):
    config = point_config(
        tiny_bert,
        federation={"rounds": 3, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )
    nodes, files = [Node(tmp_path, log, user) for user in range(USERS)], served(tmp_path, model)
    grid = Loopback(nodes)

    def late(entry):
        monkeypatch.setattr(
            server.run_policy, "_now", lambda: datetime.now(UTC) + timedelta(days=31)
        )

    with pytest.raises(EngineError, match=r"round 2: the policy held until .*nobody was asked"):
        run_federation(grid, config, files, simulated=False, on_round=late)
    assert (len(grid.said), len(Ledger.open(files.ledger))) == (USERS, 1)
    monkeypatch.undo()
    assert run_federation(grid, config, files, simulated=False)["rounds"] == 3


def test_a_policy_of_another_key_than_the_servers_is_told(
    log, tiny_bert, model, tmp_path, monkeypatch
):
    federation = {"rounds": 1, "cohort": 1.0, "popularity_start": False}
    config = point_config(tiny_bert, federation=federation, privacy={"delta": 1e-2})
    issuer, told = public_hex(OTHER), []
    monkeypatch.setattr(server.run_policy, "log", lambda level, *words: told.append(words[-1]))
    given = tmp_path / "policy.json"
    given.write_text(signed(replace(made(config, USERS, model.digest), issuer=issuer), OTHER))
    files = served(tmp_path, model)
    nodes = [Node(tmp_path, log, user, operator=issuer) for user in range(USERS)]
    run_federation(Loopback(nodes), config, files, simulated=False, policy=given)
    assert [node.rounds for node in nodes] == [[1]] * USERS
    assert f"signed by {issuer[:16]}..., this server's own key is {operator()[:16]}" in told[0]


def hostile(change):
    """A grid in which node 2 sends what it likes."""

    class Hostile(Loopback):
        def send_and_receive(self, messages, timeout=None):
            for reply in super().send_and_receive(messages, timeout):
                if reply.metadata.src_node_id == 2:
                    change(reply.content)
                yield reply

    return Hostile


def test_a_reply_of_another_round_or_policy_does_not_count(
    log, tiny_bert, model, tmp_path, monkeypatch
):
    config = point_config(
        tiny_bert,
        epsilon=math.inf,
        federation={"rounds": 1, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )

    def of_another_round(content):
        content.config_records["config"]["round"] = 0

    def of_another_policy(content):
        content.config_records["config"]["policy"] = "0" * 64

    heard = []
    monkeypatch.setattr(
        Silence, "heard", lambda self, at, expected, count, said: heard.append((count, len(said)))
    )
    adapters = []
    for number, change in enumerate((of_another_round, of_another_policy, lambda content: None)):
        folder = tmp_path / str(number)
        folder.mkdir()
        nodes = [Node(folder, log, user) for user in range(2)]
        for node in nodes:
            node.caps("epsilon = inf")
        files = served(folder, model)
        run_federation(hostile(change)(nodes), config, files, simulated=False)
        adapters.append({k: v.tolist() for k, v in load_file(files.adapter).items()})
    assert heard == [(1, 1), (1, 1), (2, 0)]  # counted, refused
    assert adapters[0] == adapters[1] != adapters[2]


def test_the_relay_tells_what_the_policy_is_about(model, config):
    policy = agreed(config, USERS, model.digest)
    read = parse(request(model, config, 3, policy))
    assert (read.policy, read.round_number, read.release) == (policy, 3, "update")
    broken = request(model, config, 3, policy)
    del broken.content.config_records["config"]["policy"]
    with pytest.raises(ProtocolError, match="policy"):
        parse(broken)


def test_a_device_that_adds_its_own_noise_heeds_its_owners_cap_too(log, tiny_bert, model, tmp_path):
    """Its ledger is the one it keeps anyway; what is left of the agreed budget stays unspent."""
    config = point_config(
        tiny_bert,
        epsilon=8.0,
        federation={"rounds": 6, "cohort": 1.0, "popularity_start": False},
        privacy={"unit": "example", "trust": "local", "delta": 1e-2},
    )
    node = Node(tmp_path, log, 0)
    node.caps("epsilon = 4.0\n")
    policy = agreed(config, USERS, model.digest)
    said = [node.refusal(request(model, config, n, policy)) for n in range(1, 7)]
    ledger = Ledger.open(node.state / "ledger.jsonl")
    last = len(ledger)
    assert 0 < last < 6
    assert ledger.epsilon() <= 4 < 8
    assert not any(said[:last])
    assert all("example-level" in words and "cap of 4" in words for words in said[last:])
    assert not (node.state / "participation.jsonl").exists()


def test_private_metrics_are_promised_counted_and_capped(log, tiny_bert, model, tmp_path):
    config = point_config(
        tiny_bert,
        federation={"rounds": 2, "cohort": 1.0, "popularity_start": False, "metrics_every": 1},
        privacy={"delta": 1e-2, "metrics_share": 0.2, "adaptive_clipping": 0.5},
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    nodes[0].caps("epsilon = 0.9")
    files = served(tmp_path, model)
    outcome = run_federation(Loopback(nodes), config, files, simulated=False)
    (promise,) = load_policy(files.policy, operator()).promises
    assert promise.of("metrics").times == 2
    assert promise.of("update").mechanism == "gaussian with adaptive clip"
    device = Ledger.open(nodes[1].state / "participation.jsonl")
    kinds = [entry.release for entry in device.entries]
    assert kinds == ["update", "metrics", "update", "metrics"]
    assert device.epsilon() == pytest.approx(Ledger.open(files.ledger).epsilon(), rel=1e-5)
    assert 0 < len(nodes[0].rounds) < 5
    assert Ledger.open(nodes[0].state / "participation.jsonl").epsilon() <= 0.9
    assert outcome["rounds"] == 2


def test_correlated_noise_over_real_devices(log, tiny_bert, model, tmp_path):
    """A device pays for all rounds with its first, as the server does, and rests in between."""
    config = point_config(
        tiny_bert,
        federation={"rounds": 4, "cohort": 3.0, "popularity_start": False},
        privacy={
            "delta": 1e-2,
            "mechanism": "dp_ftrl",
            "min_separation": 2,
            "max_participations": 2,
        },
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    files = served(tmp_path, model)
    run_federation(Loopback(nodes), config, files, simulated=False)
    (promise,) = load_policy(files.policy, operator()).promises
    update = promise.of("update")
    assert (update.mechanism, update.times, update.separation) == ("dp_ftrl", 2, 2)
    central = Ledger.open(files.ledger)
    for node in nodes:
        ledger = Ledger.open(node.state / "participation.jsonl")
        assert [entry.release for entry in ledger.entries] == ["training", "update", "update"]
        assert ledger.epsilon() == pytest.approx(central.epsilon())
        assert node.rounds[2] - node.rounds[1] >= 2
    policy = agreed(config, USERS, model.digest)
    again = nodes[0].refusal(request(model, config, 4, policy))
    assert "has taken part as often as agreed" in again
