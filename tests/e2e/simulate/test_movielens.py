"""MovieLens-100K, where it is present: every user a client, a few rounds, the real catalogue."""

import json

import pytest

from tests.support.command import command, results

SETTINGS = """
[data]
spec = "movielens-100k"
[model]
layers = 1
max_length = 20
lora_rank = 1
projection_rank = 4
[train]
max_windows = 1
[federation]
rounds = 2
cohort = 20
[sweep]
epsilons = [8.0]
references = ["popularity"]
"""


@pytest.fixture(scope="module")
def run(movielens, tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("movielens")
    (folder / "settings.toml").write_text(SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARLING_DATA", str(movielens))
        done = command(
            "simulate", "--config", folder / "settings.toml", "--backbone", tiny_bert,
            "--out", folder / "run", "--quiet",
        )  # fmt: skip
        assert done.code == 0, done.err
        yield folder / "run"


def test_every_user_is_a_client_and_is_ranked(run):
    data = results(run)["data"]
    assert (data["users"], data["items"], data["interactions"]) == (943, 1682, 100_000)
    (point,) = results(run)["points"]
    assert point["metrics"]["users"] == 943
    assert point["delta"] == 1e-4
    assert point["epsilon"] == pytest.approx(8, rel=1e-3)
    assert point["sampling_probability"] == pytest.approx(20 / 943)


def test_popularity_is_what_others_measured(run):
    """.419 / .231 with their negatives; ours differ, so within three standard errors."""
    metrics = results(run)["references"]["popularity"]["metrics"]
    assert metrics["hr@10"] == pytest.approx(0.419, abs=3 * metrics["hr@10_se"])
    assert metrics["ndcg@10"] == pytest.approx(0.231, abs=3 * metrics["ndcg@10_se"])


def test_verify_and_recommend(run):
    assert command("verify", run).code == 0
    adapter = run / "adapters" / "eps-8-seed-0.safetensors"
    done = command(
        "recommend", "--data", "movielens-100k", "--adapter", adapter, "--user", "196",
        "-k", 5, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["recommendations"]) == 5
