"""A run without rounds: what is released once is the whole model, and everything says so."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.privacy.ledger.ledger import Ledger
from tests.support.command import command, results

NAME = "eps-4-seed-0"


@pytest.fixture(scope="module")
def finished(settings, tiny_bert, tmp_path_factory, own_folders):
    """With metrics from devices. Not to be altered: copy it."""
    folder = tmp_path_factory.mktemp("no-rounds") / "run"
    flags = ["--config", settings, "--backbone", tiny_bert, "--references", "popularity"]
    flags += ["--rounds", 0, "--metrics-share", 0.3, "--epsilon", "4,inf"]
    done = command("simulate", *flags, "--out", folder)
    assert done.code == 0, done.err
    return folder, done


def test_it_is_counted_told_and_verified(finished):
    folder, done = finished
    private, open_ = results(folder)["points"]
    for point in (private, open_):
        assert (point["rounds"], point["updates"], point["trained_parameters"]) == (0, 0, 0)
        assert (point["history"], point["communication_bytes"]["up"] > 0) == ([], True)
        assert "start" not in {**point["references"], **point["compared"]}  # it is that itself
    assert set(private["releases"]) == {"histogram", "metrics"}
    assert set(open_["releases"]) == {"histogram"}
    assert 3.98 < private["epsilon"] <= 4.0 * (1 + 1e-6)
    (measured,) = private["released_metrics"]["releases"]
    assert measured["round"] == 0
    entries = Ledger.open(folder / f"ledger-{NAME}.jsonl").entries
    assert [(at.release, at.round) for at in entries] == [("histogram", 0), ("metrics", 0)]
    assert "its own start" not in done.out
    assert command("verify", folder).code == 0


def test_the_model_is_the_initial_one_and_its_histogram(finished):
    folder, _ = finished
    initial, released = (
        load_file(folder / which)
        for which in (f"points/{NAME}.initial.safetensors", f"adapters/{NAME}.safetensors")
    )
    moved = {name for name in initial if not np.array_equal(initial[name], released[name])}
    assert moved == {"item_bias.weight"}


def test_a_round_that_is_claimed_of_it_is_found(finished, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "run")
    told = results(run)
    told["points"][0] |= {"rounds": 1, "updates": 1, "noise_multiplier": 5.0}
    (run / "results.json").write_text(json.dumps(told))
    done = command("verify", run)
    assert done.code == 3
    assert "rounds = 1 claimed, the settings give 0" in done.out


def test_resumed_when_its_end_was_lost_it_releases_nothing_again(finished, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "run")
    ledger = (run / f"ledger-{NAME}.jsonl").read_bytes()
    for end in ("outcome", "sealed"):
        (run / "points" / f"{NAME}.{end}.json").unlink()
    assert command("simulate", "--resume", run).code == 0
    assert (run / f"ledger-{NAME}.jsonl").read_bytes() == ledger
