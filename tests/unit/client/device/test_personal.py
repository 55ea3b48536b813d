"""What a device keeps of its person is shown whole, erased whole, and paused by one line."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from client.device.folder import DeviceFolder, Owned
from client.device.personal import FORGOTTEN, TENSORS
from client.device.resident import Resident
from client.store import FILE, Interaction
from client.training.personal import PersonalStore
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError, DataError, Declined
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.caps import load_caps
from shared.privacy.sentences import unlearned
from tests.support import ROOT
from tests.support.asking import asked
from tests.support.command import command
from tests.support.federations import point_config
from tests.support.persons import owners
from tests.support.privacy.policies import agreed, operator

ITEMS = ("apples", "bread", "cheese", "dates", "eggs", "figs")
CATALOGUE = Catalogue(ITEMS, tuple(f"Text of {item}" for item in ITEMS))
SECRETS = (b"apples", b"bread", b"cheese", b"plums")


@pytest.fixture
def device(tmp_path):
    """Of somebody who did, said and trained things, and took part in a round."""
    device = DeviceFolder.begin(tmp_path / "state", Owned("ann", operator()), CATALOGUE)
    device.store.add(Interaction(item, time) for time, item in enumerate(ITEMS[:3]))
    device.store.add([Interaction("plums", 9)])  # of another catalogue
    device.store.judge("cheese", False, 10)
    device.store.judge("eggs", True, 11)
    PersonalStore(device.path / TENSORS, "s", 2).keep([1], 1, np.array([[0.5, 2]], np.float32))
    (device.path / f"{FILE}.damaged-1").write_bytes(b"apples")
    (device.path / "caps.toml").write_text(owners(delta=1e-2))
    return device


def asking(tiny_bert):
    """A request that is asked under a policy that holds."""
    from shared.model.adapter import AdapterSchema
    from shared.model.backbone import resolve
    from shared.model.items import item_vectors
    from shared.model.recommender import build_recommender
    from tests.support.tiny import random_adapter

    config, source = point_config(tiny_bert), resolve(tiny_bert)
    model = build_recommender(source, item_vectors(CATALOGUE.texts, source), config.model)
    schema = AdapterSchema.of(model)
    arrays = schema.split(random_adapter(schema).numpy())
    policy = agreed(config, 40, schema.digest)
    return lambda number: asked(config, number=number, arrays=arrays, policy=policy)


def test_who_is_forgotten_is_in_no_file_and_in_no_round_and_what_was_spent_stays(device, tiny_bert):
    request, resident = asking(tiny_bert), Resident(device)
    resident.answer(request(1), 2)
    records = (device.path / "participation.jsonl").read_bytes()
    assert any(word in holding(device) for word in SECRETS)
    told = command("client", "forget", "--state", device.path, "--yes")
    assert told.code == 0, told.err
    assert "erased: personal.sqlite, store.copy.sqlite, store.sqlite, store.sqlite.dam" in told.out
    assert [word for word in SECRETS if word in holding(device)] == []
    assert not list(device.path.glob("personal*"))
    assert (device.path / "participation.jsonl").read_bytes() == records
    spent = command("policy", "spent", device.path)
    (entry,) = Ledger.open(device.path / "participation.jsonl").entries
    cost = epsilon([(entry.event, 1)], 1e-2)
    assert f"all together: user-level epsilon {cost:.4g} at delta 0.01" in spent.out
    assert unlearned(cost, 1e-2, "user") in told.out
    assert "e^ε = " in unlearned(cost, 1e-2, "user")
    for again in (resident, Resident(DeviceFolder(device.path))):
        with pytest.raises(Declined, match="has forgotten its person") as declined:
            again.answer(request(2), 2)
        assert declined.value.word == "owner"
    with pytest.raises(DataError, match="has forgotten its person"):
        _ = device.store
    assert (device.path / "participation.jsonl").read_bytes() == records


def holding(device):
    """All bytes of the folder but what is public, or was agreed."""
    public = ("catalogue.json", "agreement.json", "participation.jsonl")
    files = [file for file in device.path.rglob("*") if file.is_file() and file.name not in public]
    return b"".join(file.read_bytes() for file in files)


def test_who_is_forgotten_while_the_device_is_at_work_is_in_no_answer(
    device, tiny_bert, monkeypatch
):
    """Whoever asks for it does not wait; what was computed is not said."""
    request, resident = asking(tiny_bert), Resident(device)

    def trained(self, asked):
        device.forget()
        PersonalStore(device.path / TENSORS, "s", 1).keep([1], 1, np.ones((1, 1), np.float32))
        return "an answer"

    monkeypatch.setattr("client.device.device.Device._trained", trained)
    with pytest.raises(Declined, match="has forgotten its person"):
        resident.answer(request(1), 2)
    assert not (device.path / TENSORS).exists()


WRITER = """
import sys
from pathlib import Path
from client.store import Interaction, Store
from shared.errors import DataError
store = Store(Path(sys.argv[1]))
with store._database.writing() as database:
    database.execute("INSERT INTO interactions (item, time) VALUES ('plums again', 1)")
    print("within", flush=True)
    sys.stdin.readline()
for write in (lambda: store.add([Interaction("plums", 2)]), lambda: store.judge("plums", True, 3)):
    try:
        write()
    except DataError as why:
        print(why, flush=True)
"""


def test_whoever_writes_while_it_forgets_brings_nothing_back(device):
    """Another process is within its writing: forgetting waits for it, and it finds the mark."""
    words = [sys.executable, "-c", WRITER, str(device.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdout.readline() == "within\n"
        forgetting = threading.Thread(target=device.forget)
        forgetting.start()
        forgetting.join(1.0)  # it would be done by now, if it did not wait
        told, _ = writer.communicate("go on\n")
        forgetting.join()
    assert told.count("its person was forgotten; nothing is kept") == 2, told
    assert [word for word in SECRETS if word in holding(device)] == []
    assert not [*device.path.glob("*.sqlite*"), *device.path.glob("*.part")]


def test_what_a_killed_process_kept_of_someone_forgotten_goes_with_its_next_start(device):
    device.forget()
    PersonalStore(device.path / TENSORS, "s", 1).keep([1], 1, np.ones((1, 1), np.float32))
    Resident(DeviceFolder(device.path))
    assert not (device.path / TENSORS).exists()


def test_a_crash_while_it_forgets_leaves_it_silent_and_is_ended_by_doing_it_again(
    device, monkeypatch
):
    def crash(file):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr("client.device.personal.erase", crash)
    with pytest.raises(ConfigError, match="cannot be erased"):
        device.forget()
    monkeypatch.undo()
    assert device.forgotten
    with pytest.raises(DataError, match="has forgotten"):
        _ = device.store
    assert FILE in device.forget()
    assert device.forget() == []
    assert json.loads((device.path / FORGOTTEN).read_text()).keys() == {"forgotten"}


def test_one_item_is_forgotten_and_the_rest_stays(device):
    told = command("client", "forget", "--state", device.path, "--item", "apples", "--yes")
    assert (told.code, "erased: apples" in told.out) == (0, True)
    assert b"apples" not in holding(device)
    assert [each.item for each in device.store.interactions()] == [
        *("bread", "cheese", "plums", "eggs"),
    ]
    again = command("client", "forget", "--state", device.path, "--item", "apples", "--yes")
    assert (again.code, "nothing is kept of it" in again.error) == (2, True)
    assert not device.forgotten


def test_all_that_is_kept_is_exported_and_what_is_not_is_said(device, tiny_bert, tmp_path):
    Resident(device).answer(asking(tiny_bert)(1), 2)
    file = tmp_path / "mine.json"
    done = command("client", "export", file, "--state", device.path)
    assert done.code == 0, done.err
    assert file.stat().st_mode & 0o777 == 0o600
    told = json.loads(file.read_text())
    assert told["configured"]["user"] == "ann"
    did = {each["item"]: each["text"] for each in told["interactions"]}
    assert did == {item: f"Text of {item}" for item in (*ITEMS[:3], "eggs")} | {"plums": None}
    assert [(each["item"], each["liked"]) for each in told["opinions"]] == [
        ("cheese", False),
        ("eggs", True),
    ]
    _, entry = told["records"]["participation.jsonl"]
    assert '"round": 1' in json.dumps(entry)
    assert told["agreed"]["policy"]["issuer"] == operator()
    assert told["tensors"] == [{"settings": "s", "round": 1, "values": [0.5, 2.0]}]
    assert told["allowed"]["rounds_per_day"] == "inf"
    assert "identity.pem" in " ".join(told["not in it"])
    assert (device.path / "identity.pem").read_text() not in file.read_text()
    again = command("client", "export", file, "--state", device.path)
    assert (again.code, "is there already" in again.error) == (2, True)


@pytest.mark.parametrize(
    "caps",
    ["", "epsilon = 2.0\n", "pause = false # mine\nepsilon = 2.0\n", "# x\n  pause=true\n", None],
)
def test_pausing_changes_one_line_of_the_caps(caps, device):
    file = device.path / "caps.toml"
    file.unlink()
    if caps is not None:
        file.write_text(caps)
    before = load_caps(file)
    for words, paused in (([], True), (["--off"], False)):
        told = command("client", "pause", "--state", device.path, *words)
        assert told.code == 0, told.err
        after = load_caps(file)
        assert after.pause is paused
        assert vars(after) | {"pause": None} == vars(before) | {"pause": None}
    kept = set((caps or "").replace("false", "").replace("true", "").splitlines())
    assert kept <= set(file.read_text().replace("false", "").replace("true", "").splitlines())


def test_caps_that_are_wrong_are_told_and_left(device):
    file = device.path / "caps.toml"
    file.write_text("epsilom = 1\n")
    told = command("client", "pause", "--state", device.path)
    assert (told.code, "unknown cap epsilom" in told.error) == (2, True)
    assert file.read_text() == "epsilom = 1\n"
