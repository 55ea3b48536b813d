"""Audits of what is no simulation: a device that its owner holds, a run that is not ours."""

import json

import pytest

from client.device.agreement import PARTICIPATION
from shared.data.sources import open_items
from tests.support.asking import asked
from tests.support.auditing.foreign import write
from tests.support.command import command
from tests.support.federations import point_config
from tests.support.privacy.policies import agreed
from tests.support.running.nodes import USERS, Node, request, schema_of, write_log
from tests.support.running.released import publish
from tests.support.tiny import random_adapter


@pytest.fixture
def device(tiny_bert, tmp_path):
    """The folder of a device that took part twice, with the release of that run."""
    config = point_config(
        tiny_bert,
        federation={"rounds": 40, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )
    log = str(write_log(tmp_path))
    model = schema_of(log, config)
    node = Node(tmp_path, log, 0)
    node.caps("epsilon = 1.5\nsums = false\n")
    policy = agreed(config, USERS, model.digest)
    assert not node.refusal(request(model, config, 1, policy))
    about = {"users": USERS, "schema": model.trainable.digest, "policy": policy}
    arrays = model.split(random_adapter(model).numpy())
    node.resident.answer(asked(config, "update", 2, arrays=arrays, **about), node.number)
    node.folder.install(publish(tmp_path / "1", config, open_items(log)))
    return node.state


def audited(subject, out):
    """The verdict and findings of an audit."""
    done = command("audit", subject, "--out", out, "--json")
    document = json.loads(done.out)
    assert document["exit_code"] == done.code
    (part,) = document["parts"]
    return document, {each["name"]: each for each in part["findings"]}


def verdicts(found):
    return {name: each["verdict"] for name, each in found.items()}


@pytest.mark.usefixtures("flower")
def test_a_devices_owner_checks_the_devices_own_record(device, tmp_path):
    document, found = audited(device, tmp_path / "audit")
    assert document["exit_code"] == 0
    assert set(verdicts(found).values()) == {"holds"}
    assert found["epsilon, user, central trust"]["figures"]["recomputed"] == pytest.approx(
        found["cap, user, central trust"]["figures"]["spent"], rel=1e-2
    )
    assert any("other devices sent" in each for each in document["cannot"])


def shortened(state):
    file = state / PARTICIPATION
    file.write_text(file.read_text().replace('"round":2', '"round":3'))


def cap_lowered(state):
    (state / "caps.toml").write_text("epsilon = 0.01\nsums = false\n")


def another_operator(state):
    file = state / "device.toml"
    key = "ab" * 32
    lines = [
        f'operator = "{key}"' if line.startswith("operator") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")


def another_release(state):
    adapter = next((state / "releases").glob("*/adapter.safetensors"))
    adapter.write_bytes(adapter.read_bytes()[:-4] + b"\0\0\0\0")


@pytest.mark.usefixtures("flower")
@pytest.mark.parametrize(
    ("how", "name"),
    [
        (shortened, "own record"),
        (cap_lowered, "cap, user, central trust"),
        (another_operator, "agreement"),
        (another_release, "release"),
    ],
)
def test_what_does_not_hold_on_a_device_is_named(device, tmp_path, how, name):
    how(device)
    document, found = audited(device, tmp_path / "audit")
    assert document["exit_code"] == 3
    assert found[name]["verdict"] == "violated"


def test_a_run_that_is_not_ours_is_audited_from_its_files(tmp_path):
    write(tmp_path / "theirs")
    document, found = audited(tmp_path / "theirs", tmp_path / "theirs-audit")
    assert document["exit_code"] == 0, document["words"]
    assert verdicts(found)["noise scale"] == "holds"
    assert command("verify", tmp_path / "theirs-audit").code == 0
    arrays = next(each for each in (tmp_path / "theirs").rglob("*.safetensors"))
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"\1")
    assert command("verify", tmp_path / "theirs-audit").code == 3


def test_a_run_that_is_not_ours_with_half_its_noise_is_named(tmp_path):
    write(tmp_path / "theirs", noise=0.5)
    document, found = audited(tmp_path / "theirs", tmp_path / "audit")
    assert document["exit_code"] == 3
    assert found["noise scale"]["verdict"] == "violated"


def test_a_part_of_a_run_that_is_not_ours_is_not_shown(tmp_path):
    write(tmp_path / "theirs", claim__rounds=100, claim__epsilon=40.0)
    document, found = audited(tmp_path / "theirs", tmp_path / "audit")
    assert document["exit_code"] == 4
    assert found["ledger"]["verdict"] == "not shown"


def test_without_known_people_nothing_says_what_would_have_been_seen(tmp_path):
    write(tmp_path / "theirs")
    file = tmp_path / "theirs" / "federated-run.json"
    tree = json.loads(file.read_text())
    del tree["canaries"]
    file.write_text(json.dumps(tree))
    document, _ = audited(tmp_path / "theirs", tmp_path / "audit")
    assert document["exit_code"] == 4
    assert "No canary is known" in document["words"]
