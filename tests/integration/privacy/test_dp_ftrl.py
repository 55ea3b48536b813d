"""Correlated noise on a server that is interrupted: the same rows, each for one sum only.

A deployment (not simulated: its noise key comes from the operating system) over clients whose
updates are zero, so that what every round releases is its noise.
"""

import json
from itertools import pairwise

import numpy as np
import pytest
from flwr.app import MessageType
from safetensors.numpy import load_file, save_file

import server.release.releases as releases_module
from client.messages import parse, update_reply
from server import federation as federation_module
from server import round as round_module
from server.federation import run_federation
from server.release.releases import Releases
from shared.config import from_dict, settings_hash
from shared.errors import ConfigError, LedgerError, PrivacyError
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.mechanisms.correlated import CorrelatedNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.run_files import run_files
from shared.update import Update

pytestmark = pytest.mark.usefixtures("flower")

USERS, ROUNDS, DIM = 9, 6, 40
NODES = [1000 + 13 * i for i in range(USERS)]
CONFIG = from_dict(
    {
        "federation": {
            "secure_aggregation": "off",
            "rounds": ROUNDS,
            "cohort": 3.0,
            "server_optimizer": "fedavgm",
            "server_lr": 1.0,
            "beta_1": 0.5,
            "popularity_start": False,
        },
        "privacy": {
            "epsilon": 2.0,
            "delta": 1e-3,
            "clipping_norm": 0.7,
            "mechanism": "dp_ftrl",
            "min_separation": 3,
        },
    }
)


class Crash(Exception):
    """Stands for the end of the process."""


class Silent:
    """A grid of reachable clients without anything to say."""

    def __init__(self, nodes=NODES):
        self.nodes = list(nodes)
        self.asked = {}

    def get_node_ids(self):
        return self.nodes

    def send_and_receive(self, messages, timeout=None):
        for number, message in enumerate(messages):
            assert message.metadata.message_type == MessageType.TRAIN
            request = parse(message)
            node = message.metadata.dst_node_id
            self.asked.setdefault(request.round_number, []).append(node)
            message.metadata.__dict__["_message_id"] = str(number)
            nothing = np.zeros(DIM, dtype=np.float32)
            yield update_reply(message, Update(nothing, 1.0, 0.0, request.schema), [node])


@pytest.fixture
def files(tmp_path):
    found = run_files(tmp_path, "p")
    for path in (found.initial, found.adapter):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": np.zeros(DIM, dtype=np.float32)}, found.initial)
    return found


@pytest.fixture
def released(monkeypatch):
    """What every round released, and the sum that it was."""
    seen = []
    release = Releases.release

    def spy(self, kind, total, round_number):
        noised = release(self, kind, total, round_number)
        seen.append((round_number, total.copy(), noised))
        return noised

    monkeypatch.setattr(Releases, "release", spy)
    return seen


def serve(files, grid=None, **arguments):
    return run_federation(grid or Silent(), CONFIG, files, simulated=False, **arguments)


def stop_after(number):
    def on_round(entry):
        if entry["round"] == number:
            raise Crash

    return on_round


def rows_of(files):
    """The rows that the kept key gives, by their definition: C^-1 Z."""
    kept = json.loads(files.noise_key.read_text())
    identity = Ledger.open(files.ledger).header.identity
    assert kept["ledger"] == identity
    key = bytes.fromhex(kept["key"])
    z = [NoiseSource.kept(key, identity, "row", t).normal(DIM) for t in range(1, ROUNDS + 1)]
    mechanism = server_plan(CONFIG, USERS).planned("update").mechanism
    scale = mechanism.noise_multiplier * mechanism.sensitivity * 0.7
    return scale * np.linalg.inv(mechanism.matrix.dense()) @ np.stack(z)


def check(files, released):
    """Every round that was released had its own row, and no row two rounds."""
    rows = rows_of(files)
    numbers = [number for number, _, _ in released]
    assert len(set(numbers)) == len(numbers), "a row was released twice"
    for number, total, noised in released:
        np.testing.assert_allclose(noised - total, rows[number - 1], rtol=1e-9, atol=1e-12)


def test_a_whole_run_is_one_gaussian_and_takes_turns(files, released):
    grid = Silent()
    serve(files, grid)
    check(files, released)
    ledger = Ledger.open(files.ledger)
    kinds = [(entry.release, entry.round) for entry in ledger.entries]
    assert kinds == [("training", 0), *(("update", t) for t in range(1, ROUNDS + 1))]
    assert ledger.epsilon() == pytest.approx(2.0, rel=1e-4)
    assert [len(grid.asked[t]) for t in range(1, ROUNDS + 1)] == [3] * ROUNDS
    for node in NODES:
        rounds = [t for t in grid.asked if node in grid.asked[t]]
        assert len(rounds) == 2
        assert rounds[1] - rounds[0] >= 3
    assert files.noise_key.stat().st_mode & 0o777 == 0o600


def test_the_training_is_on_disk_before_anything_is_released(files, monkeypatch):
    seen = []
    row = CorrelatedNoise.row

    def spy(self, number):
        seen.append([entry.release for entry in Ledger.open(files.ledger).entries])
        return row(self, number)

    monkeypatch.setattr(CorrelatedNoise, "row", spy)
    serve(files)
    assert seen[0] == ["training", "update"]
    assert [len(entries) for entries in seen] == list(range(2, ROUNDS + 2))


def test_a_round_beyond_the_noise_is_refused_and_not_recorded(files):
    serve(files)
    plan = server_plan(CONFIG, USERS)
    before = files.ledger.read_bytes()
    releases = Releases(plan, settings_hash(CONFIG), files.ledger, None, files.noise_key)
    with pytest.raises(ConfigError, match="row 7 of the noise: expected 1 to 6"):
        releases.release("update", np.zeros(DIM), ROUNDS + 1)
    assert files.ledger.read_bytes() == before


def test_who_is_asked_is_on_disk_before_anyone_is(files, monkeypatch):
    grid = Silent()
    send = Silent.send_and_receive

    def spy(self, messages, timeout=None):
        messages = list(messages)
        last = json.loads(files.asked.read_text().splitlines()[-1])
        asked = sorted(message.metadata.dst_node_id for message in messages)
        assert asked in ([], last["asked"])  # nobody: the evaluation, which there is none of
        return send(self, messages, timeout)

    monkeypatch.setattr(Silent, "send_and_receive", spy)
    serve(files, grid)
    assert len(files.asked.read_text().splitlines()) == ROUNDS


def crash_before_the_checkpoint(monkeypatch, at):
    save = round_module.save

    def failing(state, file):
        if state.round_number == at:
            raise Crash
        save(state, file)

    monkeypatch.setattr(round_module, "save", failing)


def test_after_a_restart_the_same_rows_go_on(files, released):
    with pytest.raises(Crash):
        serve(files, on_round=stop_after(2))
    serve(files)
    assert [number for number, _, _ in released] == [1, 2, 3, 4, 5, 6]
    check(files, released)


def test_a_round_that_was_lost_is_skipped_with_its_row(files, released, monkeypatch):
    grid = Silent()
    with monkeypatch.context() as patch:
        crash_before_the_checkpoint(patch, at=3)
        with pytest.raises(Crash):
            serve(files, grid)
    serve(files, grid)
    assert [number for number, _, _ in released] == [1, 2, 3, 4, 5, 6]
    assert len(grid.asked[3]) == 3  # asked once, before the crash
    check(files, released)
    assert len(Ledger.open(files.ledger)) == 1 + ROUNDS


def test_a_round_that_was_only_asked_for_is_asked_again(files, released, monkeypatch):
    grid = Silent()
    release = Releases.release

    def failing(self, kind, total, number):
        if number == 3:
            raise Crash
        return release(self, kind, total, number)

    with monkeypatch.context() as patch:
        patch.setattr(Releases, "release", failing)
        with pytest.raises(Crash):
            serve(files, grid)
    serve(files, grid)
    check(files, released)
    assert grid.asked[3] == sorted(set(grid.asked[3])) * 2  # the same three people
    assert len(files.asked.read_text().splitlines()) == ROUNDS


# Negative controls: each fault must be found.


def test_fresh_noise_after_a_restart_is_found(files, released, monkeypatch):
    with pytest.raises(Crash):
        serve(files, on_round=stop_after(2))
    monkeypatch.setattr(releases_module, "kept_key", lambda *_, **__: bytes(32))
    serve(files)
    with pytest.raises(AssertionError, match="Not equal"):
        check(files, released)


def test_forgotten_rows_after_a_restart_are_found(files, released, monkeypatch):
    with pytest.raises(Crash):
        serve(files, on_round=stop_after(2))
    monkeypatch.setattr(CorrelatedNoise, "_made", lambda self, t, n: self._independent(t).normal(n))
    serve(files)
    with pytest.raises(AssertionError, match="Not equal"):
        check(files, released)


def test_a_row_that_would_serve_two_sums_is_refused_and_without_that_found(
    files, released, monkeypatch
):
    with monkeypatch.context() as patch:
        crash_before_the_checkpoint(patch, at=3)
        with pytest.raises(Crash):
            serve(files)
    resumed = federation_module._resumed
    # The fault: the lost round is done again, as a simulation does it.
    monkeypatch.setattr(federation_module, "_resumed", lambda *a: resumed(*a[:-1], True))
    with pytest.raises(LedgerError, match="must not be used for another sum"):
        serve(files)
    monkeypatch.setattr(Releases, "_before_row", lambda self, number: None)
    serve(files)
    with pytest.raises(AssertionError, match="released twice"):
        check(files, released)


# What must be there to go on.


def lose(path):
    path.unlink()


def cut(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("noise_key", lose, "cannot go on"),
        ("asked", lose, "nobody's limits can be kept"),
        ("asked", cut, "nobody's limits can be kept"),
        ("ledger", lose, "is missing"),
    ],
)
def test_without_what_was_kept_nothing_goes_on(files, name, spoil, said):
    with pytest.raises(Crash):
        serve(files, on_round=stop_after(3))
    spoil(getattr(files, name))
    grid = Silent()
    with pytest.raises(LedgerError, match=said):
        serve(files, grid)
    assert not grid.asked


def test_a_new_run_in_an_old_folder_gets_new_noise(files, released):
    """Ledger and checkpoint removed, the key left: the next ledger is another one."""
    serve(files)
    key = files.noise_key.read_bytes()
    for path in (files.ledger, files.checkpoint, files.asked):
        path.unlink()
    first, released[:] = [noised for _, _, noised in released], []
    serve(files)
    check(files, released)
    assert files.noise_key.read_bytes() != key
    for one, other in zip(first, (noised for _, _, noised in released), strict=True):
        assert np.abs(one - other).min() > 0


def test_a_schedule_that_asks_too_early_ends_the_run_before_anyone_is_asked(files, monkeypatch):
    everyone = lambda self, number, people, record: list(range(len(people)))  # noqa: E731
    monkeypatch.setattr("server.cohort.participation.LeastRecent.choose", everyone)
    grid = Silent()
    with pytest.raises(PrivacyError, match=r"3 rounds apart\. Nobody was asked"):
        serve(files, grid)
    assert list(grid.asked) == [1]


def test_a_deployment_with_people_coming_and_going_stays_within_the_limits(files, released):
    grid = Silent()
    rng = np.random.default_rng(3)
    changing = {t: [n for n in NODES if rng.random() < 0.6] for t in range(40)}
    calls = iter(range(40))
    grid.get_node_ids = lambda: NODES if (t := next(calls)) == 0 else changing[t]
    serve(files, grid)
    check(files, released)
    for node in NODES:
        rounds = sorted(t for t in grid.asked if node in grid.asked[t])
        assert len(rounds) <= 2
        assert all(b - a >= 3 for a, b in pairwise(rounds))
    assert load_file(files.adapter)["w"].shape == (DIM,)
