"""From the command: what people have together, and what verify makes of it."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import read_promise
from shared.privacy.plan import terms
from tests.support.command import command, results
from tests.support.privacy.forging import load, only, reseal, retold

# So little noise that what 40 people have together is told from it, whatever its seed is.
NAME = "eps-60-seed-0"
MOMENTS = f"points/{NAME}.moments.safetensors"
SHARE = "[privacy]\nmoments_share = 0.4\nhistogram_share = 0.2\n"


@pytest.fixture(scope="module")
def finished(settings, tiny_bert, tmp_path_factory, own_folders):
    """With and without noise, without rounds. Not to be altered: copy it."""
    folder = tmp_path_factory.mktemp("moments")
    file = folder / "settings.toml"
    text = settings.read_text().replace("[model]", "[model]\nmoments_rank = 4")
    file.write_text(text + SHARE)
    flags = ["--config", file, "--backbone", tiny_bert, "--references", "none", "--rounds", 0]
    done = command("simulate", *flags, "--epsilon", "60,inf", "--out", folder / "run")
    assert done.code == 0, done.err
    for file in (folder / "run").glob("adapters/*"):  # else nothing can be forged
        assert load_file(file)["moments_in.weight"].any()
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def test_it_is_counted_released_and_verified(finished):
    private, open_ = results(finished)["points"]
    for point in (private, open_):
        assert set(point["releases"]) == {"histogram", "moments"}
    # What remains goes to the histogram: .6 against .4.
    ratio = private["moments_noise_multiplier"] / private["histogram_noise_multiplier"]
    assert ratio == pytest.approx(np.sqrt(0.6 / 0.4), rel=1e-3)
    assert open_["moments_noise_multiplier"] == 0
    assert 59.5 < private["epsilon"] <= 60.0 * (1 + 1e-6)
    entries = Ledger.open(finished / f"ledger-{NAME}.jsonl").entries
    assert [(at.release, at.round) for at in entries] == [("histogram", 0), ("moments", 0)]
    # Neither without a budget is handed on.
    assert [file.name for file in finished.glob("points/*.moments.*")] == [MOMENTS[7:]]
    for name in (NAME, "eps-inf-seed-0"):
        tables = load_file(finished / f"adapters/{name}.safetensors")
        assert np.linalg.norm(tables["moments_in.weight"]) > 0
    assert command("verify", finished).code == 0


def changed(name, change):
    def forge(run):
        arrays = load_file(run / MOMENTS)
        save_file({**arrays, name: change(arrays[name])}, run / MOMENTS)

    return forge


def tables_of_another(run):
    """The operator's favourite: what the exact sum says, under the noised one's promise."""
    exact = load_file(only(run, "adapters/eps-inf-*"))
    kept = {name: exact[name] for name in ("moments_in.weight", "moments_out.weight")}
    file = run / f"adapters/{NAME}.safetensors"
    retold(file, read_promise(file), **kept)


def biased(run):
    file = run / f"adapters/{NAME}.safetensors"
    bias = load_file(only(run, "adapters/eps-inf-*"))["item_bias.weight"]
    retold(file, read_promise(file), **{"item_bias.weight": bias})


def altered(name, change):
    def forge(run):
        file = run / f"adapters/{NAME}.safetensors"
        retold(file, read_promise(file), **{name: change(load_file(file)[name])})

    return forge


FORGERIES = {
    "weights of blocks": (altered("mix.weight", lambda mix: mix * -3), "mix.weight"),
    "a core that nothing trained": (altered("core.weight", lambda core: core + 1), "core.weight"),
    "other sums": (changed("total", lambda total: total[::-1].copy()), "do not follow from it"),
    "other items": (changed("items", lambda items: items[::-1].copy()), "released histogram"),
    "another scale": (changed("scale", lambda scale: scale * 2), "released histogram"),
    "sums of another size": (changed("total", lambda total: total[:-1]), "coordinates of sizes"),
    "no sums": (changed("vectors", lambda vectors: vectors[:-1]), "cannot be compared"),
    "tables of the exact sum": (tables_of_another, "do not follow from it"),
    "a bias of the exact histogram": (biased, "does not follow from it"),
}


@pytest.mark.parametrize(("forge", "why"), FORGERIES.values(), ids=list(FORGERIES))
def test_what_does_not_follow_from_it_is_found_whoever_sealed_it(forge, why, run):
    forge(run)
    done = command("verify", run)
    assert done.code == 3
    assert "not the file that was sealed" in done.out
    reseal(run, load(run))  # by the operator, who has the key
    done = command("verify", run)
    assert done.code == 3
    assert why in done.out


def test_a_split_that_the_settings_do_not_give_is_refused(
    settings, tiny_bert, tmp_path, monkeypatch, own_folders
):
    """Whoever changes the rule spends no more, and on what nobody said."""
    flags = ["--config", settings, "--backbone", tiny_bert, "--references", "none"]
    flags += ["--rounds", 1, "--epsilon", 4, "--out", tmp_path / "run"]
    with monkeypatch.context() as patched:
        patched.setattr(terms, "shares", lambda *_: {"histogram": 0.5, "update": 0.5})
        assert command("simulate", *flags).code == 0
        assert command("verify", tmp_path / "run").code == 0
    done = command("verify", tmp_path / "run")
    assert done.code == 3
    assert "histogram_noise_multiplier = " in done.out
    assert "the settings give" in done.out


def test_a_run_without_it_is_not_one_with_it(run):
    (run / MOMENTS).unlink()
    found = load(run)
    reseal(run, found, without=(MOMENTS,))
    done = command("verify", run)
    assert done.code == 3
    assert f"'{MOMENTS}': not in the seal, and expected there" in done.out


def test_resumed_when_its_end_was_lost_it_asks_nobody_again(finished, run):
    ledger = (run / f"ledger-{NAME}.jsonl").read_bytes()
    moments = (run / MOMENTS).read_bytes()
    for end in ("outcome", "sealed"):
        (run / "points" / f"{NAME}.{end}.json").unlink()
    assert command("simulate", "--resume", run).code == 0
    assert (run / f"ledger-{NAME}.jsonl").read_bytes() == ledger
    assert (run / MOMENTS).read_bytes() == moments
    assert json.dumps(results(run)["points"][0]["metrics"]) == json.dumps(
        results(finished)["points"][0]["metrics"]
    )
