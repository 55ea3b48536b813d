"""A run whose targets are weighted: trained otherwise, under the same guarantee, and verified."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support.command import command, results, write_settings


@pytest.fixture(scope="module")
def run(tiny_bert, tmp_path_factory):
    def made(correction):
        folder = tmp_path_factory.mktemp("run")
        settings = write_settings(folder, rounds=1, references=())
        text = settings.read_text().replace("[2.0, inf]", "[2.0]")
        settings.write_text(text.replace("[train]\n", f"[train]\n{correction}"))
        words = ("--config", settings, "--backbone", tiny_bert, "--out", folder / "run")
        done = command("simulate", *words)
        assert done.code == 0, done.err
        return folder / "run"

    return made


@pytest.mark.slow
def test_a_corrected_run_is_verified_at_the_cost_of_a_plain_one(run):
    plain, corrected = run(""), run('correction = "snips"\nweight_bound = 2.0\n')
    assert command("verify", corrected).code == 0
    points = [results(folder)["points"][0] for folder in (plain, corrected)]
    for figure in ("epsilon", "delta", "noise_multiplier", "unit", "trust", "relation"):
        assert points[0][figure] == points[1][figure]
    kept = [
        load_file(folder / "adapters/eps-2-seed-0.safetensors") for folder in (plain, corrected)
    ]
    assert kept[0].keys() == kept[1].keys()
    assert any(not np.array_equal(kept[0][name], kept[1][name]) for name in kept[0])
