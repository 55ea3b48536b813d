"""From one command to a curve, and what can be done with what it left."""

import html
import json
import math
import shutil
import subprocess
import sys

import pytest

from client.words.facts import Items
from shared.data.titles import titled
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.spent import end_of
from simulations.world.world import World
from tests.support.command import REFERENCES, command, results, script, unfinish, write_settings
from tests.support.privacy.guarantees import differing


def test_a_run_leaves_everything_it_promises(run, finished):
    for name in ("results.json", "results.csv", "curve.png", "report.html", "config.toml"):
        assert (run / name).stat().st_size > 0, name
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in run.glob("ledger-*.jsonl")} == {
        "ledger-eps-2-seed-0.jsonl",
        "ledger-eps-inf-seed-0.jsonl",
    }
    assert {path.name for path in (run / "adapters").iterdir()} == {
        "eps-2-seed-0.safetensors",
        "eps-inf-seed-0.safetensors",
    }
    found = results(run)
    assert found["schema"] == 1
    assert found["complete"] is True
    assert found["data"]["users"] == 40
    assert set(found["references"]) == set(REFERENCES)
    private, open_ = found["points"]
    assert private["epsilon"] == pytest.approx(2.0, rel=1e-3)
    assert private["epsilon"] <= 2.0 * (1 + 1e-6)
    assert private["noise_multiplier"] > 0
    assert (open_["epsilon"], open_["epsilon_target"]) == ("inf", "inf")
    assert open_["noise_multiplier"] == 0
    for entry in [*found["points"], *found["references"].values()]:
        assert entry["metrics_status"] == "evaluator only, not released"
        for name in ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"):
            assert 0 <= entry["metrics"][name] <= 1
    for point in found["points"]:
        assert (point["unit"], point["relation"], point["trust"]) == (
            "user",
            "zero_out",
            "central",
        )
        assert (point["rounds"], point["seed"], point["delta"]) == (2, 0, 1e-3)
    assert "starling verify" in finished[1].out


def test_a_run_says_what_it_is_not_above(run, finished):
    """In results, outcome and report, of every point, over people and by both protocols."""
    found, (_, done) = results(run), finished
    report = (run / "report.html").read_text()
    for point in found["points"]:
        own = {"start"} | ({"popularity_private"} if point["epsilon"] != "inf" else set())
        assert set(point["compared"]) == own | {"popularity", "zero_shot", "local_only"}
        for name, told in point["compared"].items():
            other = {**found["references"], **point["references"]}[name]["metrics"]
            for metric in ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"):
                gain = point["metrics"][metric] - other[metric]
                assert told[metric]["difference"] == pytest.approx(gain)
                assert told[metric]["low"] <= gain <= told[metric]["high"]
    assert [entry["epsilon_target"] for entry in found["compared"]] == [2.0, "inf"]
    for target in ("2", "inf"):  # forty people and a random backbone: nothing is shown
        (line,) = [at for at in done.out.splitlines() if at.startswith(f"epsilon {target}: ")]
        assert "not shown above" in line
        assert "its own start" in line
        assert line in html.unescape(report)
    assert done.code == 0
    assert '"sampled"' not in (run / "results.json").read_text()  # single people's ranks


def test_the_same_model_without_noise_is_a_reference_of_its_own(apart, tmp_path, tiny_bert):
    """What the noised points train, not the larger model at infinity; its files do not stay."""
    run, file, done = apart
    found = results(run)
    noised, open_ = found["points"]
    same = found["references"]["same_model"]
    for name in ("trained_parameters", "rounds", "cohort", "seed"):
        assert same[name] == noised[name], name
    assert same["trained_parameters"] < open_["trained_parameters"]
    assert same["clipping_norm"] == noised["clipping_norm"]
    assert {"popularity", "start", "popularity_private", "same_model"} == set(noised["compared"])
    assert "same_model" not in open_["compared"]
    assert set(same["compared"]) == {"popularity", "start"}
    assert "are not the noised points' model" in done.out
    assert "model.lora_rank 2 instead of 1" in done.out
    planned = 2 * 12 + 30 + 30  # at infinity, noised, and the same model
    assert f"{planned} client updates to go" in done.err
    assert not (run / "points" / "reference-same_model").exists()
    assert command("verify", run).code == 0
    left_out = tmp_path / "left out"
    asked = ("--references", "popularity", "--epsilon", "2", "--out", left_out)
    done = command("simulate", "--config", file, "--backbone", tiny_bert, *asked)
    assert set(results(left_out)["references"]) == {"popularity"}


def test_a_run_agrees_with_its_ledgers(run):
    done = command("verify", run)
    assert done.code == 0
    assert "Claims, ledgers and files agree" in done.out


def ledger_of(folder):
    return folder / "ledger-eps-2-seed-0.jsonl"


def edit(change):
    def attack(folder):
        lines = ledger_of(folder).read_bytes().splitlines(keepends=True)
        ledger_of(folder).write_bytes(b"".join(change(lines)))

    return attack


def rewrite(folder):
    """A whole new ledger."""
    found, path = results(folder), ledger_of(folder)
    old = Ledger.open(path)
    path.unlink()
    new = Ledger.create(path, differing(old.header, budget=math.inf))
    for entry in old.entries:
        new.append(entry.round, entry.release, entry.event)
    found["points"][0]["ledger"] = end_of(new)
    (folder / "results.json").write_text(json.dumps(found))


def claim_less(folder):
    found = results(folder)
    found["points"][0]["epsilon"] = 1.5
    (folder / "results.json").write_text(json.dumps(found))


ATTACKS = {
    "line removed": edit(lambda lines: lines[:2] + lines[3:]),
    "lines reordered": edit(lambda lines: [*lines[:2], lines[3], lines[2]]),
    "line edited": edit(lambda x: [x[0], x[1], x[2].replace(b'"round":1', b'"round":2'), x[3]]),
    "tail cut": edit(lambda lines: lines[:-1]),
    "ledger rewritten": rewrite,
    "less claimed": claim_less,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_an_altered_run_is_found_out(attack, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    before = [(copy / f).read_bytes() for f in ("results.json", ledger_of(copy).name)]
    attack(copy)
    assert before != [(copy / f).read_bytes() for f in ("results.json", ledger_of(copy).name)]
    done = command("verify", copy)
    assert done.code == 3
    assert "MISMATCH" in done.out


def test_resuming_does_not_vouch_for_an_altered_ledger(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    ATTACKS["tail cut"](copy)
    results_before = (copy / "results.json").read_bytes()
    assert command("simulate", "--resume", copy).code == 3
    assert (copy / "results.json").read_bytes() == results_before
    assert command("verify", copy).code == 3


def replaced_adapter(folder):
    shutil.copy(adapter(folder, "inf"), adapter(folder, "2"))


def better_point(folder):
    file = folder / "points" / "eps-2-seed-0.sealed.json"
    found = json.loads(file.read_text())
    found["metrics"]["hr@10"] = 0.99
    file.write_text(json.dumps(found, indent=1))


def worse_reference(folder):
    file = folder / "points" / "reference-popularity.json"
    found = json.loads(file.read_text())
    found["metrics"]["hr@10"] = 0.0
    file.write_text(json.dumps(found, indent=1))


@pytest.mark.parametrize("attack", [replaced_adapter, better_point, worse_reference])
def test_resuming_vouches_for_nothing_that_was_altered(attack, run, tmp_path):
    copy = unfinish(shutil.copytree(run, tmp_path / "copy"))
    attack(copy)
    done = command("simulate", "--resume", copy)
    assert done.code == 3, done.out
    assert "edited after it was sealed" in done.err or "not the file that was sealed" in done.err


def test_the_installed_script_verifies_too(run):
    done = subprocess.run([script(), "verify", run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Claims, ledgers and files agree" in done.stdout


def adapter(run, epsilon):
    return run / "adapters" / f"eps-{epsilon}-seed-0.safetensors"


@pytest.mark.parametrize(("place", "epsilon"), [(0, "2"), (1, "inf")])
@pytest.mark.parametrize(("phase", "key"), [("test", "metrics"), ("validation", "validation")])
def test_evaluate_reproduces_the_run(place, epsilon, phase, key, run):
    done = command(
        "evaluate", "--data", "world", "--users", 40, "--adapter", adapter(run, epsilon),
        "--phase", phase, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["phase"] == phase
    assert found["metrics"] == pytest.approx(results(run)["points"][place][key], abs=1e-6)


def test_evaluate_prints_a_table(run):
    done = command("evaluate", "--data", "world", "--users", 40, "--adapter", adapter(run, "inf"))
    assert done.code == 0
    value = results(run)["points"][1]["metrics"]["hr@10"]
    assert f"{value:.4f}" in done.out


def recommend(run, *more):
    done = command(
        "recommend", "--data", "world", "--users", 40, "--adapter", adapter(run, "inf"),
        "--user", "u3", *more,
    )  # fmt: skip
    assert done.code == 0, done.err
    return done.out


def test_recommend_explains_itself_and_offers_nothing_known(run):
    world = World(users=40)
    known = {world.catalogue.item_ids[item] for item in world.history(3)}
    found = json.loads(recommend(run, "-k", 7, "--json"))
    rows = found["recommendations"]
    assert found["user"] == "u3"
    assert len(rows) == len({row["item"] for row in rows}) == 7
    assert not {row["item"] for row in rows} & known
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        shares = [part["share"] for part in row["history"]]
        assert {part["item"] for part in row["history"]} <= known
        assert row["score"] == pytest.approx(
            row["popularity"] + row["language_model"] + sum(shares), abs=1e-4
        )


def test_recommend_for_people(run):
    texts = {row["text"] for row in json.loads(recommend(run, "--json"))["recommendations"]}
    plain, explained = recommend(run), recommend(run, "--explain")
    for text in texts:
        assert text in plain
        assert text in explained
    assert len(texts) == 10
    assert "popularity" in explained
    assert "add up to its score" in explained
    assert "popularity" not in plain


def test_a_taste_is_said_in_words_of_the_persons_own_items(run):
    world = World(users=40)
    own = [titled(world.catalogue.texts[item])[0] for item in world.history(3)]
    plain = command("profile", "--data", "world", "--users", 40, "--user", "u3")
    assert plain.code == 0, plain.err
    assert plain.out.startswith(f"You chose {len(own)} titles. ")
    with_it = command(
        "profile", "--data", "world", "--users", 40, "--user", "u3", "--json",
        "--adapter", adapter(run, "inf"),
    )  # fmt: skip
    told = json.loads(with_it.out)
    assert (told["user"], told["by"], told["refused"]) == ("u3", "template", [])
    weighing = told["text"].partition("What weighs most in what is recommended: ")[2]
    assert any(title in weighing for title in own)
    others = {titled(text)[0] for text in world.catalogue.texts} - set(own)
    assert not [title for title in others if title in told["text"] and title not in "".join(own)]
    found = json.loads(recommend(run, "-k", 3, "--json"))["recommendations"]
    for row in found:
        assert row["because"]["text"].startswith(titled(row["text"])[0])
        assert row["because"]["text"] in recommend(run, "-k", 3, "--explain")


def test_what_is_asked_for_in_words_is_said_and_heeded(run):
    world = World(users=40)
    kind = Items(world.catalogue).counts.most_common(1)[0][0]
    found = json.loads(recommend(run, "-k", 5, "--json", "--ask", f"{kind}, no xyzzy"))
    assert [part["meaning"] for part in found["asked"]["understood"]] == [kind]
    assert found["asked"]["not_understood"] == ["xyzzy"]
    assert all(kind in row["text"].lower() for row in found["recommendations"])
    assert f"Understood: {kind}." in recommend(run, "--ask", kind)
    title = titled(world.catalogue.texts[0])[0]
    new = command(
        "recommend", "--data", "world", "--users", 40, "--adapter", adapter(run, "inf"),
        "--ask", f"like {title}", "-k", 3, "--explain",
    )  # fmt: skip
    assert new.code == 0, new.err
    assert "For somebody new" in new.out
    assert f"because you named {title}" in new.out


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_resuming_a_complete_run_changes_nothing(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    before = contents(copy)
    assert command("simulate", "--resume", copy).code == 0
    after = contents(copy)
    assert set(after) == set(before)
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed <= {"curve.png", "report.html"}  # drawn again from the same results


def test_help_is_quick_and_imports_no_torch():
    code = (
        "import sys, starling\n"
        "try: starling.main(['--help'])\n"
        "finally: print(sorted({'torch', 'flwr', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")
    for name in ("simulate", "verify", "data", "evaluate", "recommend"):
        assert f"  {name} " in done.stdout


def test_other_people_than_the_settings_state_are_refused(tmp_path):
    """Where rounds are given too: such a run would be refuted."""
    settings = write_settings(tmp_path, references=())
    settings.write_text(settings.read_text().replace("users = 40", "users = 40\npeople = 50"))
    done = command("simulate", "--config", settings, "--out", tmp_path / "run")
    assert done.code == 2
    assert "data.people: there are 40 here, the settings say 50" in done.error
    assert not (tmp_path / "run").exists()
