"""A point that was interrupted ends as one that was not: same adapter, same ledger."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest

from server import federation as federation_module
from server import round as round_module
from server.checkpoint import load
from server.federation import run_federation
from server.messages import Replies
from server.release import metrics as metrics_module
from server.release.releases import Releases
from shared.config import ExperimentConfig, from_dict
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, LedgerError
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import RunFolder
from simulations.engine.simulation import Simulation
from simulations.flower.grid import CohortGrid
from simulations.sweep.folder import save_settings
from simulations.world.world import World
from tests.support.federations import federate, point_config, prepare
from tests.support.tiny import make_engine

pytestmark = pytest.mark.usefixtures("flower")

CASES = {
    "private": {"federation": {"rounds": 5, "average_last": 0.5, "lr_decay": "linear"}},
    "private, momentum": {"federation": {"rounds": 5, "server_optimizer": "fedavgm"}},
    "correlated noise": {
        "federation": {"rounds": 5, "server_optimizer": "fedavgm", "cohort": 0.5},
        "privacy": {"mechanism": "dp_ftrl", "min_separation": 2},
    },
    "private, the clip adapts, selected by a private metric": {
        "federation": {"rounds": 5, "metrics_every": 2, "select": "private_metric"},
        "privacy": {"adaptive_clipping": 0.5, "metrics_share": 0.3},
    },
    "private, refactored after every round": {
        "federation": {
            "rounds": 5,
            "aggregation": "fedsvd",
            "average_last": 0.7,
            "server_optimizer": "fedavgm",
        }
    },
    "private, moments": {"federation": {"rounds": 3}, "privacy": {"moments_share": 0.4}},
    "not private, selected on validation": {
        "epsilon": math.inf,
        "federation": {"rounds": 5, "evaluate_every": 2},
    },
}


class Crash(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def grid(tiny_bert):
    return CohortGrid(make_engine(World(users=25, items=60), tiny_bert))


@pytest.fixture(scope="module")
def whole(grid, tiny_bert, tmp_path_factory):
    """The uninterrupted run of a case, computed once."""
    done = {}

    def run(case):
        if case not in done:
            with pytest.MonkeyPatch.context() as patch:
                folder = tmp_path_factory.mktemp("whole")
                done[case] = federate(folder, grid, point_config(tiny_bert, **CASES[case]), patch)
        return done[case]

    return run


def in_on_round(grid, config, folder, patch):
    """Right after the checkpoint of round 2."""

    def stop(entry):
        if entry["round"] == 2:
            raise Crash

    run_federation(grid, config, prepare(folder, grid.engine), simulated=True, on_round=stop)


def before_the_checkpoint(grid, config, folder, patch):
    """The ledger has round 3, the checkpoint does not."""
    save = round_module.save

    def failing(state, file):
        if state.round_number == 3:
            raise Crash
        save(state, file)

    patch.setattr(round_module, "save", failing)
    run_federation(grid, config, prepare(folder, grid.engine), simulated=True)


def before_the_first_checkpoint(grid, config, folder, patch):
    """The ledger has histogram and round 1, there is no checkpoint at all."""

    def failing(state, file):
        raise Crash

    patch.setattr(round_module, "save", failing)
    run_federation(grid, config, prepare(folder, grid.engine), simulated=True)


def between_ledger_and_noise(grid, config, folder, patch):
    """Round 2 is on record but nothing was released."""
    release = Releases.release

    def failing(self, kind, total, round_number):
        if round_number == 2:
            self.ledger.append(round_number, kind, self._plan.planned(kind).event)
            raise Crash
        return release(self, kind, total, round_number)

    patch.setattr(Releases, "release", failing)
    run_federation(grid, config, prepare(folder, grid.engine), simulated=True)


def in_the_final_evaluation(grid, config, folder, patch):
    """All rounds are done, the outcome is not written."""

    def failing(self, *arguments):
        raise Crash

    patch.setattr(federation_module, "evaluated", failing)
    run_federation(grid, config, prepare(folder, grid.engine), simulated=True)


def while_validating(grid, config, folder, patch):
    """Non-private: round 2 is trained, its validation is not in."""
    ranks = Replies.ranks

    def failing(self):
        raise Crash

    patch.setattr(Replies, "ranks", failing)
    try:
        run_federation(grid, config, prepare(folder, grid.engine), simulated=True)
    finally:
        patch.setattr(Replies, "ranks", ranks)


def between_metrics_and_the_checkpoint(grid, config, folder, patch):
    """Metrics of round 2 are on record and noised, and nobody has read them."""

    def failing(*arguments):
        raise Crash

    patch.setattr(metrics_module, "estimate_metrics", failing)
    run_federation(grid, config, prepare(folder, grid.engine), simulated=True)


def between_the_record_of_moments_and_their_noise(grid, config, folder, patch):
    """What people have together is on record, and nothing was released of it."""
    release = Releases.release

    def failing(self, kind, total, round_number):
        if kind == "moments":
            self.ledger.append(round_number, kind, self._plan.planned(kind).event)
            raise Crash
        return release(self, kind, total, round_number)

    patch.setattr(Releases, "release", failing)
    run_federation(grid, config, prepare(folder, grid.engine), simulated=True)


CRASHES = [
    between_the_record_of_moments_and_their_noise,
    between_metrics_and_the_checkpoint,
    in_on_round,
    before_the_checkpoint,
    before_the_first_checkpoint,
    between_ledger_and_noise,
    in_the_final_evaluation,
    while_validating,
]


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.__name__)
@pytest.mark.parametrize("case", CASES)
def test_resumed_equals_uninterrupted(case, crash, grid, whole, tiny_bert, tmp_path, monkeypatch):
    expected = whole(case)
    config = point_config(tiny_bert, **CASES[case])
    if crash is while_validating and not config.federation.evaluate_every:
        crash = in_the_final_evaluation
    if crash is between_metrics_and_the_checkpoint and not config.privacy.metrics_share:
        pytest.skip("no metrics in this case")
    together = config.privacy.moments_share or math.isinf(config.privacy.epsilon)
    if crash is between_the_record_of_moments_and_their_noise and not together:
        pytest.skip("no moments in this case")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash(grid, config, tmp_path, patch)
    assert not (tmp_path / "points" / "point.outcome.json").exists()
    resumed = federate(tmp_path, grid, config, monkeypatch)
    np.testing.assert_array_equal(resumed.adapter, expected.adapter)
    assert resumed.ledger.entries == expected.ledger.entries
    assert resumed.ledger.epsilon() == expected.ledger.epsilon()
    timeless = [{**run.outcome, "seconds": 0} for run in (resumed, expected)]
    assert timeless[0] == timeless[1]


@pytest.fixture
def interrupted(grid, tiny_bert, tmp_path, monkeypatch):
    """A point that stopped after round 2, and its settings."""
    config = point_config(tiny_bert, **CASES["private"])
    with monkeypatch.context() as patch, pytest.raises(Crash):
        in_on_round(grid, config, tmp_path, patch)
    return prepare(tmp_path, grid.engine), config


def resume(grid, files, config):
    return run_federation(grid, config, files, simulated=True)


def test_a_cut_ledger_is_refused(interrupted, grid):
    files, config = interrupted
    lines = files.ledger.read_bytes().splitlines(keepends=True)
    files.ledger.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(LedgerError, match="does not continue"):
        resume(grid, files, config)
    assert load(files.checkpoint).round_number == 2


def test_a_missing_ledger_is_refused(interrupted, grid):
    files, config = interrupted
    files.ledger.unlink()
    with pytest.raises(LedgerError, match="is missing"):
        resume(grid, files, config)


def test_an_edited_ledger_is_refused(interrupted, grid):
    files, config = interrupted
    before = files.ledger.read_bytes()
    files.ledger.write_bytes(before.replace(b'"round":1', b'"round":9'))
    assert files.ledger.read_bytes() != before
    with pytest.raises(LedgerError, match="line 3"):
        resume(grid, files, config)


def test_a_line_torn_by_the_crash_is_dropped_and_released_again(interrupted, grid, whole):
    files, config = interrupted
    with files.ledger.open("ab") as file:
        file.write(b'{"round":3,"rel')
    resume(grid, files, config)
    assert Ledger.open(files.ledger).entries == whole("private").ledger.entries


def test_other_settings_are_refused(interrupted, grid, tiny_bert):
    files, _ = interrupted
    other = point_config(tiny_bert, epsilon=8.0, **CASES["private"])
    with pytest.raises(ConfigError, match="other settings"):
        resume(grid, files, other)


@pytest.mark.parametrize("lost", [2, 3])
def test_a_deployment_never_repeats_a_recorded_round(lost, grid, tiny_bert, tmp_path, monkeypatch):
    """With fresh noise a repetition would be a second release: the lost round stays spent."""
    config = point_config(
        tiny_bert,
        federation={"rounds": 3, "popularity_start": False, "cohort": 1.0},
        privacy={"adaptive_clipping": 0.5},
    )
    save = round_module.save

    def failing(state, file):
        if state.round_number == lost:
            raise Crash
        save(state, file)

    files = prepare(tmp_path, grid.engine)
    with monkeypatch.context() as patch:
        patch.setattr(round_module, "save", failing)
        with pytest.raises(Crash):
            run_federation(grid, config, files, simulated=False)
    outcome = run_federation(grid, config, files, simulated=False)
    assert outcome["rounds"] == 3
    bits, norms = outcome["clipping_bits"], outcome["clipping_norms"]  # of which verify wants all
    assert [number for number, bit in enumerate(bits, 1) if bit is None] == [lost]
    assert [n for n, (one, after) in enumerate(pairwise(norms), 1) if one == after] == [lost]
    assert "history" not in outcome  # exact norms and cohort sizes stay with the server
    ledger = Ledger.open(files.ledger)
    assert [entry.round for entry in ledger.entries] == [1, 2, 3]
    assert ledger.epsilon() <= config.privacy.epsilon * (1 + 1e-6)


def test_a_deployment_never_repeats_a_recorded_histogram(grid, tiny_bert, tmp_path, monkeypatch):
    """Recorded, then lost before the first checkpoint: the bias stays as it was.

    As where something adds the histograms up before the server sees one.
    """
    monkeypatch.setattr(federation_module, "histogram_in_clear", lambda config: False)
    config = point_config(tiny_bert, federation={"rounds": 2, "popularity_start": True})
    files = prepare(tmp_path, grid.engine)

    def crash(state, file):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(federation_module, "save_state", crash)
        with pytest.raises(Crash):
            run_federation(grid, config, files, simulated=False)
    run_federation(grid, config, files, simulated=False)
    ledger = Ledger.open(files.ledger)
    assert [entry.release for entry in ledger.entries] == ["histogram", "update", "update"]


def test_a_deployment_never_repeats_recorded_metrics(grid, tiny_bert, tmp_path, monkeypatch):
    """On record, then lost: of the iterate of round 1, and of the final adapter."""
    config = point_config(
        tiny_bert,
        federation={"rounds": 2, "popularity_start": False, "metrics_every": 1},
        privacy={"metrics_share": 0.3},
    )
    files = prepare(tmp_path, grid.engine)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(metrics_module, "estimate_metrics", crashing)
            with pytest.raises(Crash):
                run_federation(grid, config, files, simulated=False)
    outcome = run_federation(grid, config, files, simulated=False)
    ledger = Ledger.open(files.ledger)
    kinds = [(1, "update"), (1, "metrics"), (2, "update"), (2, "metrics")]
    assert [(entry.round, entry.release) for entry in ledger.entries] == kinds
    assert outcome["released_metrics"]["releases"] == []  # lost: nobody ever saw them
    assert ledger.epsilon() <= config.privacy.epsilon * (1 + 1e-6)


def crashing(*arguments):
    raise Crash


def test_a_start_that_came_no_further_says_nothing_of_the_data(tmp_path):
    run = RunFolder(tmp_path)
    run.points.mkdir()
    SaltedDigest.of(World(users=3)).write(run.data)  # and killed before its settings were there
    SaltedDigest.of(grown := World(users=4)).keep(run.data)
    save_settings(ExperimentConfig(), data := SaltedDigest.of(grown), run)
    assert SaltedDigest.read(run.data) == data
    save_settings(ExperimentConfig(), SaltedDigest.of(World(users=5)), run)
    assert SaltedDigest.read(run.data) == data


def test_a_run_on_changed_data_is_refused(tiny_bert, tmp_path):
    """Another log under the same name is another experiment."""
    config = from_dict(
        {"data": {"spec": "world", "users": 20}, "model": {"backbone": str(tiny_bert)}}
    )
    begun = Simulation(config)
    assert Simulation(begun.config, data=begun.data).config == begun.config
    grown = dataclasses.replace(begun.config, data=dataclasses.replace(config.data, users=21))
    with pytest.raises(ConfigError, match="not the data that the run started with"):
        Simulation(grown, data=begun.data)
