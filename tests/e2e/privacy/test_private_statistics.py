"""From the command: a clip that adapts, metrics from devices, and what verify makes of them."""

import json
import shutil

import pytest

from tests.support.command import command, results

NAME = "eps-4-seed-0"


@pytest.fixture(scope="module")
def finished(settings, tiny_bert, tmp_path_factory, own_folders):
    """A complete run with both. Not to be altered: copy it."""
    folder = tmp_path_factory.mktemp("statistics") / "run"
    flags = ["--adaptive-clipping", 0.5, "--metrics-share", 0.3, "--metrics-every", 1]
    settings_of_run = ["--config", settings, "--backbone", tiny_bert, "--references", "none"]
    done = command(
        "simulate", *settings_of_run, *flags, "--rounds", 3, "--epsilon", "4,inf", "--out", folder
    )
    assert done.code == 0, done.err
    return folder, done


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "copy")


def test_the_run_tells_what_was_released_and_verify_agrees(finished):
    folder, done = finished
    private, open_ = results(folder)["points"]
    releases = private["released_metrics"]["releases"]
    assert [found["round"] for found in releases] == [1, 2, 3]
    for found in releases:
        for name in ("hr@10", "ndcg@10"):
            assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
            assert found[name]["value"] != private["validation"][name]  # which nothing noised
    assert len(private["clipping_norms"]) == 4
    assert private["references"]["popularity_private"]["metrics"]["users"] == 40
    assert private["epsilon"] == pytest.approx(4.0, rel=1e-3)
    assert not {"released_metrics", "clipping_norms"} & set(open_)
    assert set(open_["references"]) == {"start"}
    assert "Released at epsilon 4, seed 0, on validation items: HR@10 0." in done.out
    page = (folder / "report.html").read_text()
    assert "Accuracy that was released" in page
    assert "The released histogram alone" in page
    assert command("verify", folder).code == 0


def test_a_run_whose_end_was_lost_releases_nothing_again(finished, run):
    before = results(run)["points"][0]
    ledger = (run / f"ledger-{NAME}.jsonl").read_bytes()
    for end in ("outcome", "sealed"):
        (run / "points" / f"{NAME}.{end}.json").unlink()
    assert command("simulate", "--resume", run).code == 0
    after = results(run)["points"][0]
    assert (run / f"ledger-{NAME}.jsonl").read_bytes() == ledger
    for name in ("released_metrics", "clipping_norms", "metrics", "epsilon"):
        assert after[name] == before[name]
    assert command("verify", run).code == 0


def change(edit):
    def attack(folder):
        found = results(folder)
        edit(found["points"][0])
        (folder / "results.json").write_text(json.dumps(found))

    return attack


def better(point):
    point["released_metrics"]["releases"][-1]["hr@10"]["value"] = 0.99


def narrower(point):
    found = point["released_metrics"]["releases"][0]["ndcg@10"]
    found["low"] = found["value"]


def other_sums(point):
    point["released_metrics"]["releases"][1]["sums"][0] += 1.0


def one_kept_back(point):
    del point["released_metrics"]["releases"][0]


def none_told(point):
    del point["released_metrics"]


def an_exact_one_beside(point):
    exact = {"round": 3, "sums": [1, 1, 1], "users": 2.0, "hr@10": {}, "ndcg@10": {}}
    point["released_metrics"]["releases"].append(exact)


def another_clip(point):
    point["clipping_norms"][0] = 0.1


def a_clip_out_of_range(point):
    point["clipping_norms"][2] = 1e9


def no_clips(point):
    del point["clipping_norms"]


def bits_for_nothing(point):
    point["releases"]["update"]["event"]["event"]["events"].pop()


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (better, "round 3: its figures do not follow"),
        (narrower, "round 1: its figures do not follow"),
        (other_sums, "round 2: its figures do not follow"),
        (one_kept_back, "of rounds [2, 3] claimed, the ledger shows [1, 2, 3]"),
        (none_told, "released_metrics: expected a list"),
        (an_exact_one_beside, "of rounds [1, 2, 3, 3] claimed"),
        (another_clip, "the first 1"),
        (a_clip_out_of_range, "1e+09 claimed after round 2, its bits give"),
        (no_clips, "clipping_norms = None"),
        (bits_for_nothing, "update: claimed"),
    ],
)
def test_what_the_ledger_does_not_allow_is_found(edit, reason, run):
    change(edit)(run)
    done = command("verify", run)
    assert done.code == 3
    assert reason in " ".join(done.out.split())


def test_metrics_that_never_come_on_the_way_are_told(finished, settings, tiny_bert, tmp_path):
    assert "metrics_every" not in finished[1].err
    flags = ["--metrics-share", 0.3, "--metrics-every", 2, "--rounds", 2, "--epsilon", 4]
    model = ["--config", settings, "--backbone", tiny_bert, "--references", "none"]
    done = command("simulate", *model, *flags, "--out", tmp_path / "run")
    assert (done.code, "released at the end alone" in done.err) == (0, True), done.err
    private = results(tmp_path / "run")["points"][0]
    assert [found["round"] for found in private["released_metrics"]["releases"]] == [2]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--unit", "example", "--metrics-share", 0.1), "privacy.unit (--unit) = example"),
        (("--unit", "example", "--trust", "local", "--adaptive-clipping", 0.5), "privacy.unit"),
        (("--metrics-every", 2), "needs privacy.metrics_share"),
        (("--adaptive-clipping", 1.0), "privacy.adaptive_clipping"),
    ],
)
def test_what_is_not_accounted_is_refused_before_anything_runs(flags, words, settings, tmp_path):
    done = command("simulate", "--config", settings, *flags, "--out", tmp_path / "run")
    assert done.code == 2
    assert words in done.error
    assert not (tmp_path / "run").exists()
