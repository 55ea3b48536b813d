"""Decoders from one command to recommendations: simulate, evaluate, recommend, verify."""

import json
from pathlib import Path

import pytest

from tests.support.command import command, results

SETTINGS = """
[data]
spec = "world"
users = 24
negatives = 20
[model]
max_length = 8
lora_rank = 1
lora_targets = ["query", "value", "mlp"]
instruction = "what would this person like next"
layers = 1
weights = "{weights}"
[train]
max_windows = 2
[federation]
rounds = 2
cohort = 8
[engine]
engine = "{engine}"
dtype = "{dtype}"
checkpointing = {checkpointing}
[sweep]
epsilons = [4.0]
references = ["zero_shot"]
"""
PLAIN = {"weights": "full", "dtype": "float32", "checkpointing": "false"}
SAVING = {"weights": "int8", "dtype": "bf16", "checkpointing": "true"}
CASES = [
    (family, engine, PLAIN)
    for family in ("qwen2", "gguf-llama")
    for engine in ("cohort", "sequential")
]
CASES += [("gpt2", "cohort", PLAIN), ("qwen2", "cohort", SAVING), ("qwen2", "sequential", SAVING)]


@pytest.fixture(scope="module")
def runs(backbones, tmp_path_factory, own_folders):
    """A finished run of each case, made once."""
    done = {}

    def run(family, engine, more):
        key = (family, engine, more["weights"])
        if key not in done:
            folder = tmp_path_factory.mktemp("run")
            settings = folder / "settings.toml"
            settings.write_text(SETTINGS.format(engine=engine, **more))
            out = folder / "out"
            ended = command(
                "simulate", "--config", settings, "--backbone", backbones(family), "--out", out
            )
            assert ended.code == 0, ended.err
            done[key] = out
        return done[key]

    return run


@pytest.mark.parametrize(
    ("family", "engine", "more"), CASES, ids=[f"{f}-{e}-{m['weights']}" for f, e, m in CASES]
)
def test_from_training_to_recommendations(family, engine, more, runs):
    run = runs(family, engine, more)
    found = results(run)
    assert found["complete"] is True
    (point,) = found["points"]
    assert point["epsilon"] <= 4.0 * (1 + 1e-6)
    environment = found["environment"]
    assert environment["dtype"] == more["dtype"]
    assert str(environment["checkpointing"]).lower() == more["checkpointing"]
    verified = command("verify", run)
    assert verified.code == 0, verified.err
    adapter = run / "adapters" / "eps-4-seed-0.safetensors"
    evaluated = command("evaluate", "--data", "world", "--adapter", adapter, "--json")
    assert evaluated.code == 0, evaluated.err
    measured = json.loads(evaluated.out)["metrics"]["hr@10"]
    # In bf16 a rank near the tenth place may tip over.
    assert measured == pytest.approx(point["metrics"]["hr@10"], abs=0 if more is PLAIN else 0.1)
    named = ("--data", "world", "--adapter", adapter, "--user", "u3", "--explain")
    recommended = command("recommend", *named)
    assert recommended.code == 0, recommended.err
    assert "add up to its score" in recommended.out


@pytest.mark.parametrize(
    ("family", "more"), [("qwen2", PLAIN), ("gguf-llama", PLAIN), ("qwen2", SAVING)]
)
def test_both_engines_draw_the_same_curve(family, more, runs):
    cohort, loop = (results(runs(family, e, more))["points"][0] for e in ("cohort", "sequential"))
    loose = 0 if more is PLAIN else 0.1
    assert cohort["metrics"]["hr@10"] == pytest.approx(loop["metrics"]["hr@10"], abs=loose)
    assert cohort["epsilon"] == loop["epsilon"]


@pytest.mark.parametrize("engine", ["cohort", "sequential"])
@pytest.mark.parametrize("dtype", ["float32", "bf16"])
def test_a_decoder_is_trained_by_example(engine, dtype, backbones, tmp_path):
    """Per-example gradients by vmap and by Opacus' hooks, each checked against a plain step."""
    settings = tmp_path / "settings.toml"
    more = {"weights": "int8", "dtype": dtype, "checkpointing": "false"}
    settings.write_text(SETTINGS.format(engine=engine, **more))
    done = command(
        "simulate", "--config", settings, "--backbone", backbones("llama"), "--unit", "example",
        "--rounds", 1, "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0, done.err
    verified = command("verify", tmp_path / "out")
    assert verified.code == 0, verified.err


def test_hooks_and_recomputed_layers_are_refused_together(tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.format(engine="sequential", **SAVING))
    done = command("simulate", "--config", settings, "--unit", "example", "--out", tmp_path / "out")
    assert done.code == 2
    assert "checkpointing = true does not go with privacy.unit (--unit) = example" in done.error


def test_dtype_is_an_option_and_a_wrong_one_is_one_line(backbones, tmp_path):
    done = command("simulate", "--dtype", "float16", "--out", tmp_path / "out")
    assert done.code == 2
    assert "engine.dtype (--dtype) = 'float16'" in done.error


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('lora_targets = ["c_attn"]', "'c_attn' is no linear layer of this backbone"),
        ("max_length = 90", "this backbone has 96 positions"),
    ],
)
def test_what_does_not_fit_the_backbone_is_one_line(setting, told, backbones, tmp_path):
    file = tmp_path / "settings.toml"
    more = "[data]\nusers = 20\n[federation]\ncohort = 5\n"
    file.write_text(f'[model]\ninstruction = "abcdefghij"\n{setting}\n{more}')
    done = command(
        "simulate", "--config", file, "--backbone", backbones("qwen2"), "--out", tmp_path / "out"
    )
    assert done.code == 2
    assert told in done.error


@pytest.fixture(scope="module")
def chosen(backbones, tiny_bert, tmp_path_factory):
    """A finished run of each engine whose items another model encodes; made once."""
    done = {}

    def run(engine):
        if engine not in done:
            folder = tmp_path_factory.mktemp("chosen")
            settings = folder / "settings.toml"
            settings.write_text(SETTINGS.format(engine=engine, **PLAIN))
            reader = backbones("gguf-llama")
            words = ("--config", settings, "--backbone", reader, "--items", tiny_bert)
            ended = command("simulate", *words, "--out", folder / "out")
            assert ended.code == 0, ended.err
            done[engine] = folder / "out"
        return done[engine]

    return run


@pytest.mark.parametrize("engine", ["cohort", "sequential"])
def test_items_of_another_model_from_training_to_recommendations(engine, chosen):
    run = chosen(engine)
    stated = results(run)["config"]["model"]
    assert len(stated["items_sha256"]) == len(stated["backbone_sha256"]) == 64
    assert stated["items_sha256"] != stated["backbone_sha256"]
    verified = command("verify", run)
    assert verified.code == 0, verified.err
    adapter = run / "adapters" / "eps-4-seed-0.safetensors"
    evaluated = command("evaluate", "--data", "world", "--adapter", adapter, "--json")
    assert evaluated.code == 0, evaluated.err
    (point,) = results(run)["points"]
    assert json.loads(evaluated.out)["metrics"]["hr@10"] == point["metrics"]["hr@10"]
    named = ("--data", "world", "--adapter", adapter, "--user", "u3", "--explain")
    recommended = command("recommend", *named)
    assert recommended.code == 0, recommended.err
    assert "add up to its score" in recommended.out


def test_both_engines_train_a_reader_of_another_width_alike(chosen):
    first, second = (results(chosen(e))["points"][0] for e in ("cohort", "sequential"))
    for name in ("hr@10", "ndcg@10", "full_ndcg@10"):
        assert first["metrics"][name] == pytest.approx(second["metrics"][name], abs=1e-6)


def test_a_file_of_vectors_is_checked_wherever_it_is_used(backbones, tmp_path, monkeypatch):
    import numpy as np

    from simulations.world.world import World

    monkeypatch.chdir(tmp_path)
    ids = World(users=2).catalogue.item_ids
    drawn = np.random.default_rng(0).normal(size=(len(ids), 12))
    np.savez("own.npz", items=np.array(ids), vectors=drawn)
    Path("settings.toml").write_text(SETTINGS.format(engine="cohort", **PLAIN))
    words = ("--config", "settings.toml", "--backbone", backbones("qwen2"), "--items", "own.npz")
    done = command("simulate", *words, "--out", "out")
    assert done.code == 0, done.err
    verified = command("verify", "out")
    assert verified.code == 0, verified.err
    np.savez("own.npz", items=np.array(ids), vectors=drawn + 1)
    again = command("simulate", "--config", "out/config.toml", "--out", "again")
    assert again.code == 2
    assert "model.items_sha256: is " in again.error
    adapter = "out/adapters/eps-4-seed-0.safetensors"
    evaluated = command("evaluate", "--data", "world", "--adapter", adapter)
    assert evaluated.code == 2
    assert "was trained on other item vectors" in evaluated.error
