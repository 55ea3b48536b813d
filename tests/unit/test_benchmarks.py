"""The benchmarks measure what they say: the same work for all, operations counted right."""

import json
import subprocess
import sys
from argparse import Namespace
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from shared.config import ModelConfig, at_epsilon
from shared.data.windows import Windows
from shared.model.affinities import MOMENTS, PRIOR, initial_mix, starting_mix
from shared.privacy.contribution.histogram import WEIGHTS, popularity_bias, popularity_terms
from shared.privacy.plan.plan import server_plan
from simulations.world.world import World
from tests.support import ROOT
from tests.support.absent import ABSENT, hiding
from tests.support.tiny import make_engine


@pytest.fixture
def of_benchmarks(monkeypatch):
    """Import a module of benchmarks/ by its name there."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Processes started now find only what a GPU machine has."""
    (tmp_path / "sitecustomize.py").write_text(hiding([*ABSENT, "pfl"]))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize(
    "units", [("user",), pytest.param(("none", "user"), marks=pytest.mark.slow)], ids=len
)
def test_the_loop_and_the_engine_do_the_same_work(
    units, of_benchmarks, bare, monkeypatch, tmp_path
):
    """As on a GPU machine: without Flower, Opacus, the accountants and the peers."""
    out = tmp_path / "speed.json"
    options = ["--peers", "sequential,ours", "--sizes", "tiny", "--units", ",".join(units)]
    options += ["--repeats", "1", "--cohorts", "1", "--threads", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["speed.py", *options])
    with pytest.raises(SystemExit) as ended:
        of_benchmarks("speed").main()  # the peers run in processes of their own
    assert ended.value.code == 0
    (size,) = json.loads(out.read_text())["sizes"]
    rows = {(row["peer"], row["unit"]): row for row in size["rows"]}
    assert set(rows) == {(p, u) for p in ("sequential", "ours") for u in units}
    for unit in units:
        assert 0 < rows["sequential", unit]["apart"] < 1e-4  # compared, and not with itself
        assert rows["ours", unit]["updates_per_second"] > 0
    assert "none" not in units or rows["ours", "none"]["startup_seconds"] > 0
    assert size["skipped"] == []
    assert [r["repeat"] for r in size["repeats"]] == [0] * 2 * len(units)


@pytest.mark.parametrize("wrong", ["twice as far", "one client only", "not a number"])
def test_other_work_is_told(of_benchmarks, wrong):
    speed = of_benchmarks("speed")
    measured = speed.Measured("tiny", Namespace())
    ours = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    theirs = ours.copy()
    theirs[slice(None) if wrong == "twice as far" else 2] *= (
        np.nan if wrong == "not a number" else 2
    )
    measured.first = {("ours", "none"): ours, ("same", "none"): ours, ("pfl", "none"): theirs}
    apart = {name: measured._apart(first, unit) for (name, unit), first in measured.first.items()}
    rows = [{"peer": n, "dtype": "float32", "apart": away} for n, away in apart.items()]
    assert [row["peer"] for row in speed.other_work(rows)] == ["pfl"]


def test_a_sum_is_compared_with_the_sum(of_benchmarks):
    measured = of_benchmarks("speed").Measured("tiny", Namespace())
    ours = np.arange(12, dtype=np.float32).reshape(3, 4)
    measured.first = {("ours", "none"): ours}
    assert measured._apart(ours.sum(0, keepdims=True), "sum") == 0
    assert measured._apart(ours[:2].sum(0, keepdims=True), "sum") > 0.1


@pytest.mark.parametrize("size", ["tiny", "tiny-qwen"])
def test_operations_are_those_that_torch_counts(of_benchmarks, size):
    """Of one window without padding: only the pairs that the mask hides are more in torch."""
    flops, work = of_benchmarks("flops"), of_benchmarks("work").Work(size)
    sequential = of_benchmarks("peers.sequential")
    cut = next(c for u in range(40) if (c := work.windows(u)).targets[-1].min() >= 0)
    whole = Windows(cut.inputs[-1:], cut.targets[-1:])  # the last is full
    work.windows = lambda user: whole
    length, items = whole.inputs.shape[1], len(work.population.catalogue)
    products = {product.name: product.flops for product in flops.products(work, [0])}
    for hidden in ("pairs of positions", "affinities"):
        products[hidden] *= 2 * length / (length + 1)
    model = work.recommender()
    torch.nn.init.normal_(model.item_bias.weight)
    with FlopCounterMode(display=False) as counter:
        sequential.loss_of(model, *work.batch(0)).backward()
    # The bias is a product with a constant 1 there, forward and backward.
    expected = sum(products.values()) + 4 * items * length
    assert counter.get_total_flops() == pytest.approx(expected, rel=2e-3)


def test_targets_compare_the_right_rows(of_benchmarks):
    speed = of_benchmarks("speed")

    def row(peer, unit, rate, peak=2**30):
        named = {"peer": peer, "unit": unit, "updates_per_second": rate}
        return named | {"startup_seconds": 5.0, "peak_bytes": peak}

    rows = [row("sequential", "none", 50), row("pfl", "none", 60), row("flower", "none", 40)]
    rows += [row("ours", "none", 90, 2**30 + 2**20), row("ours", "example", 60)]
    found = {goal["name"]: goal for goal in speed.targets(rows, "cpu")}
    assert found["times the rate of sequential"]["value"] == pytest.approx(1.8)
    met = {
        name.split(",")[0].removeprefix("times the rate of "): g["met"] for name, g in found.items()
    }
    assert met["sequential"]
    assert not met["pfl"]  # 1.5 of 1.6
    assert met["flower"]
    assert not met["time with clipped examples"]  # 1.5 of 1.1
    assert [goal["met"] for goal in speed.targets(rows, "cuda")] == [False, False]  # of 10
    assert found["peak memory beyond the sequential loop's, MiB"]["value"] == pytest.approx(1)


def test_the_page_shows_what_the_results_say(of_benchmarks):
    tables = of_benchmarks("tables")
    text = tables.PAGE.read_text(encoding="utf-8")
    assert tables.page_of(text) == text
    assert set(tables.TABLES) <= {m.group(1) for m in tables._PLACE.finditer(text)}


def test_a_page_without_results_says_so(of_benchmarks, tmp_path):
    tables = of_benchmarks("tables")
    page = "before\n<!-- speed_cpu -->\nold\n<!-- end -->\nafter\n"
    assert "old" not in tables.page_of(page, tmp_path)
    assert "Not measured yet." in tables.page_of(page, tmp_path)


def test_rules_are_compared_and_nothing_is_computed_twice(
    of_benchmarks, monkeypatch, tmp_path, tiny_bert, flower
):
    rules, out = of_benchmarks("rules"), tmp_path / "rules.json"
    options = ["--data", "world", "--preset", "demo", "--users", "12", "--rounds", "1"]
    options += ["--rules", "fedit,fedsb,naive", "--seeds", "0,1", "--epsilons", "8"]
    options += ["--set", "federation.cohort=6.0", "--set", f'model.backbone="{tiny_bert}"']
    options += ["--set", "model.lora_rank=2", "--set", "private.model.lora_rank=2"]
    options += ["--out", str(tmp_path / "runs"), "--results", str(out)]
    monkeypatch.setattr("sys.argv", ["rules.py", *options])
    rules.main()
    page = out.read_text()
    rows = {row["rule"]: row for row in json.loads(page)["rows"]}
    assert rows["fedsb"]["upload_bytes"] < rows["fedit"]["upload_bytes"]
    assert rows["naive"]["trained_parameters"] > rows["fedit"]["trained_parameters"]
    low, high = rows["fedsb"]["versus_fedit"]["interval"]
    assert low <= rows["fedsb"]["versus_fedit"]["hr@10"] <= high
    apart = rows["fedsb"]["hr@10"] - rows["fedit"]["hr@10"]
    assert rows["fedsb"]["versus_fedit"]["hr@10"] == pytest.approx(apart, abs=1e-9)
    monkeypatch.setattr("simulations.sweep.point._federate", None)  # a second time would need it
    rules.main()
    assert out.read_text() == page


def test_the_interval_of_a_difference_is_paired(of_benchmarks):
    """Two rules that differ for one person in a hundred are not told apart by anything else."""
    difference = of_benchmarks("rules").difference
    ours = (np.random.default_rng(0).random((3, 100)) < 0.5).astype(int)
    theirs = ours.copy()
    theirs[:, 0] = 1 - theirs[:, 0]
    low, high = difference(ours.tolist(), theirs.tolist())["interval"]
    assert -0.03 <= low <= high <= 0.03
    assert difference(ours.tolist(), ours.tolist())["interval"] == [0, 0]
    better = np.minimum(ours, 0) + 1
    assert difference(better.tolist(), ours.tolist())["interval"][0] > 0.3


def test_the_prior_is_learned_on_what_the_model_scores_by(of_benchmarks, tiny_bert):
    """Features of one history times what is committed are the untrained model's own scores."""
    prior = of_benchmarks("prior")
    engine = make_engine(World(users=2, items=60), tiny_bert, hidden_scale=0.0, moments_rank=3)
    model, rng = engine.recommender, np.random.default_rng(0)
    counts = rng.normal(3, 2, 60)
    tables = torch.from_numpy(rng.normal(size=(2, 60, 3))).float()
    terms = torch.from_numpy(np.stack(popularity_terms(counts, 0.5))).float()
    blocks = prior.public_blocks(model.table, model.items.shape[1]) | {MOMENTS: tuple(tables)}
    history = torch.from_numpy(rng.permutation(60)[:7])
    found = prior.Known(blocks, terms).features(history, torch.arange(60))
    weights = torch.tensor([weight for row in PRIOR.values() for weight in row] + [*WEIGHTS])
    assert list(blocks) == list(PRIOR)
    assert (found.std(1) > 0).all()  # a block that is zero would be compared with nothing

    with torch.no_grad():
        model.mix.weight.copy_(initial_mix(list(blocks), model.items))
        model.moments_in.weight.copy_(tables[0])
        model.moments_out.weight.copy_(tables[1])
        bias = torch.from_numpy(popularity_bias(counts, 0.5, 1.0)).float()
        model.item_bias.weight.copy_(bias[:, None])
        scores = model(history[None])[0, -1]
    torch.testing.assert_close(weights @ found, scores, rtol=1e-4, atol=1e-5)


def test_the_prior_finds_the_weights_that_choices_were_made_by(of_benchmarks):
    prior, rng = of_benchmarks("prior"), torch.Generator().manual_seed(0)
    wanted = torch.linspace(-1, 1, 22)
    features = torch.randn(4000, 22, 5, generator=rng)
    chance = torch.softmax(torch.einsum("f,nfc->nc", wanted, features), 1)
    chosen = torch.multinomial(chance, 1, generator=rng)
    order = (chosen + torch.arange(5)) % 5  # what was met stands first
    blocks, terms = prior.learn(features.gather(2, order[:, None].expand(-1, 22, -1)))
    found = torch.tensor([weight for row in blocks.values() for weight in row] + terms)
    torch.testing.assert_close(found, wanted, rtol=0.15, atol=0.1)


@pytest.mark.slow
def test_all_that_a_gpu_is_measured_for_runs_without_one(bare):
    done = subprocess.run(
        [sys.executable, "benchmarks/bench_gpu.py", "--repeats", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("gpu", "speed_gpu", "roofline_gpu_minilm", "roofline_gpu_qwen"):
        assert f"\n{part}: " in done.stdout
    assert "nothing is written" in done.stdout
    assert "skipped pfl: skipped: No module named 'pfl'" in done.stdout


def test_secure_sums_are_of_the_same_work(of_benchmarks, monkeypatch):
    """Theirs and ours come to the same mean of the same updates."""
    bench = of_benchmarks("secure_aggregation")
    devices = bench.Devices(5, 40)
    ours, _, sent = bench.ours(devices)
    theirs, _, masked = bench.theirs(devices, 4, 3)
    expected = devices.mean(devices.nodes)
    assert abs(ours - expected).max() < 1e-6
    assert abs(theirs - expected).max() < 1e-4
    assert 4 * 40 < sent < 4 * 40 + 1000
    assert masked > 8 * 40


def test_the_page_of_secure_sums_shows_what_was_measured(of_benchmarks):
    found = json.loads((ROOT / "benchmarks/results/secure_aggregation.json").read_text())
    page = (ROOT / "docs" / "secure-aggregation.md").read_text(encoding="utf-8")
    assert [row for row in of_benchmarks("secure_aggregation").rows(found) if row not in page] == []


def test_the_curve_is_of_today_s_defaults_beside_those_of_before(of_benchmarks):
    curve = of_benchmarks("curve")
    options = Namespace(data="world", delta=1e-4)
    found = {}
    for variant in curve.VARIANTS:
        point = at_epsilon(curve.settings(options, variant, 8.0, 943), 8.0, 0)
        plan = server_plan(point, 943)
        found[variant] = point.model.moments_scale, plan.shares
        assert not point.federation.rounds
    (now, split), (before, earlier) = found.values()
    assert (now, before) == (2.0, None)
    assert split == pytest.approx({"histogram": 0.25, "moments": 0.75})
    assert earlier == pytest.approx({"histogram": 0.6, "moments": 0.4})
    point = at_epsilon(curve.settings(options, "before", 2.0, 943), 2.0, 0)
    assert server_plan(point, 943).of("moments") is None


def test_what_is_scaled_is_what_the_setting_scales(of_benchmarks):
    blocks, text = list(PRIOR), torch.eye(8)
    weights = of_benchmarks("released_once").weights_at(3.0)[: 4 * len(PRIOR)]
    rows = {name: weights[4 * n : 4 * n + 4] for n, name in enumerate(PRIOR)}
    start = starting_mix(blocks, text, ModelConfig(moments_scale=3.0))
    torch.testing.assert_close(initial_mix(blocks, text, rows), start)


def test_titles_that_may_not_be_named_are_found_without_the_check(of_benchmarks):
    words = of_benchmarks("words")
    people = Namespace(catalogue=World(users=2).catalogue)
    titles = [words.titled(text)[0] for text in people.catalogue.texts]
    search = words.Search(people)
    assert search(f"You chose {titles[0]} and {titles[1]}. Lately you chose it.", [0, 1]) == []
    assert search(f"You chose {titles[0]} and {titles[2]}.", [0, 1]) != []
    assert search("You chose The Silent Orchard (1994).", [0, 1]) != []
    assert search("You chose the Silent Orchard.", [0, 1]) != []


def test_a_tie_counts_against_a_new_item(of_benchmarks):
    tally = of_benchmarks("cold").Tally(0)
    rivals = list(range(1, 21))
    scores = np.arange(21.0)
    tally.add({"flat": np.zeros(21), "up": -scores, "down": scores}, 0, rivals)
    tally.add({"flat": np.zeros(21), "up": -scores, "down": scores}, 0, rivals)
    told = tally.told()
    assert [told[name]["full_hr@10"] for name in ("flat", "up", "down")] == [0, 1, 0]
    assert told["up"]["full_ndcg@10"] == 1
