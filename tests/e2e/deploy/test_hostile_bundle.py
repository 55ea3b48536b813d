"""A bundle with edited client and privacy code, run in a relay's place by another user."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from client.link import (
    FAILURE,
    UPDATE,
    Frame,
    answer_frame,
    body_of,
    declined_frame,
    head_of,
    request_frame,
)
from shared.config import settings_hash
from shared.privacy.keys import public_hex
from shared.privacy.policy.signed import signed
from tests.support import ROOT
from tests.support.federations import point_config
from tests.support.privacy.policies import OTHER, agreed, made
from tests.support.running.devices import Served
from tests.support.running.nodes import USERS, Node, request, schema_of, write_log
from tests.support.running.superlink import unpack

pytestmark = pytest.mark.usefixtures("flower")
HOSTILE = ROOT / "tests/support/running/hostile.py"
FLOWER, STRANGER = 61001, 61002  # users that nobody has
APART = os.getuid() == 0  # only then one may be somebody else

# What the operator edits: in this bundle nothing is asked, checked, clipped or recorded any more.
EDITS = {
    "client/device/agreement.py": (
        "with self._locked():\n            policy = self._accepted(request, schema)",
        "if True:\n            yield\n            return\n            policy = None",
    ),
    "shared/privacy/policy/caps.py": ("if self.pause", "if False"),
    "shared/privacy/contribution/bound.py": ("def bounded(", "bounded = lambda *a: a\ndef _was("),
}


@pytest.fixture(scope="module")
def bundle():
    """Readable by all, as what a server delivers to a node is by the node's user."""
    folder = Path(tempfile.mkdtemp(prefix="bundle"))
    folder.chmod(0o755)
    unpack(folder / "app")
    for package in ("client", "server", "shared", "simulations"):  # an honest one brings none
        clean = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / "app" / package, ignore=clean)
    for name, (old, new) in EDITS.items():
        file = folder / "app" / name
        text = file.read_text()
        assert old in text, name
        file.write_text(text.replace(old, new))
    yield folder / "app"
    shutil.rmtree(folder)


class Apart(Served):
    """Where this is possible its relay is another user's, as its owner is told to have it."""

    def __init__(self, folder, log, user):
        super().__init__(folder, log, user)
        if APART:
            os.chown(self.place, -1, FLOWER)
            self.place.chmod(0o2750)

    def command(self):
        return [*super().command(), *(["--uid", str(FLOWER)] if APART else [])]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return str(write_log(tmp_path_factory.mktemp("log")))


@pytest.fixture(scope="module")
def device(log, own_folders, tmp_path_factory):
    started = Apart(tmp_path_factory.mktemp("device"), log, 0).start()
    with contextlib.ExitStack() as stack:
        stack.callback(started.end)
        yield started.ready()


@pytest.fixture
def hostile(device, bundle):
    def run(frames, look=False, user=FLOWER):
        told = {
            "socket": str(device.socket),
            "state": str(device.state),
            "proc": f"/proc/{device.process.pid}",
            "files": ["device.toml", "store.sqlite", "identity.pem", "caps.toml", "catalogue.json"],
            "bundle": str(bundle),
            "frames": [base64.b64encode(frame).decode() for frame in frames],
            "look": look,
            "user": user if APART else 0,
            "group": FLOWER,
        }
        done = subprocess.run(
            [sys.executable, "-B", str(HOSTILE)],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            cwd=bundle,
            env={"PATH": os.environ["PATH"]},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["edited"]
        if APART:
            assert (found["user"], found["able"]) == (user, 0)
        answers = [base64.b64decode(each) for each in found["answers"]]
        return SimpleNamespace(answers=answers, open=found["open"])

    return run


def settings_of(tiny_bert, seed, **model):
    return point_config(
        tiny_bert,
        federation={"rounds": 40, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
        model=model,
        seed=seed,
    )


@pytest.fixture
def asks(log, tiny_bert):
    """A request for an update as an honest server makes it; changed, as another one may."""
    from client.messages import parse

    settings = settings_of(tiny_bert, 1)
    schema = schema_of(log, settings)

    def asking(number=1, policy=None, **changes):
        text = agreed(settings, USERS, schema.digest) if policy is None else policy
        return replace(parse(request(schema, settings, number, text)), **changes)

    asking.settings, asking.schema = settings, schema
    return asking


def packed(asked, node=2):
    return request_frame(asked, node).pack()


def kinds(answers):
    return [head_of(each[:14])[0] for each in answers]


OWNER, POLICY = declined_frame("owner").pack(), declined_frame("policy").pack()
FAILED = Frame(FAILURE, {}).pack()


def test_it_gets_what_an_honest_one_gets(device, hostile, asks, log, tmp_path):
    """To the byte; a declined round stays declined, however it is asked again."""
    first = asks()
    theirs = policy_by_another(asks)
    refused = [
        packed(asks(policy="")),
        packed(asks(policy=theirs)),
        packed(asks(policy=first.policy, users=USERS + 1)),
        packed(asks(41)),
        packed(replace(first, release="ranks", phase="test")),
        packed(replace(first, release="histogram", arrays={}, schema="")),
    ]
    device.caps("pause = true")
    assert hostile([packed(first)] * 2).answers == [OWNER] * 2
    device.caps("")
    found = hostile([*refused, packed(first), *refused, packed(first)]).answers
    honest = Node(tmp_path, log, 0)
    honest.caps("")
    wanted = answer_frame(honest.connected(None, None).answer(first)).pack()
    assert kinds([wanted]) == [UPDATE]
    assert found[6] == found[13] == wanted
    assert found[:6] == found[7:13]
    assert set(found[:6]) <= {OWNER, POLICY, FAILED}
    assert found[:3] == [POLICY] * 3
    device.caps("pause = true")
    assert hostile([packed(first)]).answers == [OWNER]
    assert device.rounds == honest.rounds * 2


def policy_by_another(asks):
    mine = made(asks.settings, USERS, asks.schema.digest)
    return signed(replace(mine, issuer=public_hex(OTHER)), OTHER)


@pytest.mark.skipif(not APART, reason="only root may be another user")
def test_it_opens_nothing_of_the_devices(device, hostile, asks):
    before = sorted(file.name for file in device.state.rglob("*"))
    place = sorted(device.place.iterdir()), device.place.stat().st_mode
    assert hostile([], look=True).open == []
    assert sorted(file.name for file in device.state.rglob("*")) == before
    assert (sorted(device.place.iterdir()), device.place.stat().st_mode) == place
    assert device.process.poll() is None
    # One whom the owner did not name is told nothing, though its group lets it in.
    assert hostile([packed(asks())], user=STRANGER).answers == [b""]
    assert f"user {STRANGER} asked: not one whom the owner named" in device.output.read_text()


def test_no_path_of_its_choice_is_opened(device, hostile, asks, tiny_bert):
    """A model that the settings name, under a policy that holds: what lies there is not told."""
    device.caps("")
    secret = device.state / "secret"
    secret.mkdir()
    (secret / "config.json").write_text("{}")
    (secret / "model.safetensors").write_bytes(b"")
    inside = device.state / ".." / device.state.name
    frames = []
    for name in (str(secret), f"{secret}/none", str(inside), "/proc/1", "../../etc", "/dev/stdin"):
        settings = settings_of(tiny_bert, 2, backbone=name)
        text = agreed(settings, USERS, asks.schema.digest)
        asked = asks(policy=text, config=settings, settings=settings_hash(settings))
        frames.append(packed(asked))
    before, rounds = listed(device), device.rounds
    assert hostile(frames).answers == [FAILED] * len(frames)
    assert (listed(device), device.rounds) == (before, rounds)


def test_no_text_of_it_is_a_path(device, hostile, asks):
    """And what is no frame, or a longer one than there may be, ends no device."""
    whole = packed(asks())
    frame = body_of(*split(whole))
    paths = ("../../../../etc/passwd", str(device.state / "identity.pem"), "a\0b", "~", "")
    texts = [name for name, value in frame.fields.items() if isinstance(value, str)]
    assert {"settings", "policy", "schema", "phase", "message", "node"} <= set(texts)
    frames = [
        Frame(frame.kind, {**frame.fields, name: path}, b"", frame.arrays).pack()
        for name in texts
        for path in paths
    ]
    frames += [whole[:cut] for cut in (0, 3, 13, 20, len(whole) - 1)]
    frames += [whole[:6] + b"\xff" * 8 + whole[14:], b"\0" * 4096, whole[:14] + whole[:14] * 99]
    (honest,) = hostile([whole]).answers
    assert kinds([honest]) == [UPDATE]
    before = listed(device)
    # Some texts have no meaning for an update: with these it is the same update.
    assert set(hostile(frames).answers) <= {OWNER, POLICY, FAILED, b"", honest}
    assert listed(device) == before
    assert set(device.rounds) == {1}
    assert hostile([whole]).answers == [honest]


def split(whole):
    return head_of(whole[:14])[0], whole[14:]


def listed(device):
    return sorted(str(file) for file in device.state.parent.rglob("*"))
