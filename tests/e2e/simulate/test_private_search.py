"""A search on people's own log: one budget for all of its runs, and what a liar would alter."""

import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file

from shared.leaves import sections
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import read_metadata, read_promise
from shared.privacy.ledger.seal import digests, write_sealed
from shared.privacy.plan.several import cost_of_all
from tests.support.command import SETTINGS, command

VARY = "federation.server_lr=0.03..3,privacy.clipping_norm=0.1|0.5"
BUDGET = 30.0


@pytest.fixture(scope="module")
def searched(tiny_bert, tmp_path_factory, own_folders):
    """A private search that ended, and its document."""
    folder = tmp_path_factory.mktemp("search")
    own = folder / "own.toml"
    text = SETTINGS.format(rounds=1, references="").replace("cohort = 12", "cohort = 40")
    own.write_text(text.replace("[model]", f'[model]\nbackbone = "{tiny_bert}"'))
    words = ("--config", own, "--vary", VARY, "--trials", 2, "--epsilon", BUDGET, "--quiet")
    done = command("tune", "--private", *words, "--out", folder / "one", "--json")
    assert done.code == 0, done.err
    return folder / "one", json.loads(done.out)


@pytest.fixture
def copied(searched, tmp_path):
    return shutil.copytree(searched[0], tmp_path / "copy")


def total(folder):
    return json.loads((folder / "total.json").read_text())


def seal_again(folder, **altered):
    """As a liar does who has the key: every file is what the seal says."""
    claims = {**total(folder), **altered}
    files = [folder / name for name in claims.pop("seal")["files"]]
    write_sealed(folder / "total.json", claims, digests(folder, files))


def test_all_runs_are_in_one_budget_and_each_is_verified(searched):
    folder, page = searched
    assert page["epsilon"] <= BUDGET
    ledgers = [Ledger.open(next((folder / f"trial-{n}").glob("ledger-*"))) for n in range(2)]
    assert page["epsilon"] > max(each.epsilon() for each in ledgers)
    assert page["epsilon"] > 0.98 * BUDGET  # nothing is given away
    assert "together" in page["about"]
    done = command("verify", folder)
    assert done.code == 0, done.out
    assert done.out.count("verdict agrees") == 2
    assert "run all together" in done.out
    told = json.loads(command("verify", folder, "--json").out)
    assert told["total"]["epsilon"] == pytest.approx(page["epsilon"])
    assert set(told["runs"]) == {"trial-0", "trial-1"}


def test_the_choice_is_by_released_figures_and_its_adapter_carries_the_total(searched):
    folder, page = searched
    claims = total(folder)
    released = []
    for number in range(2):
        results = json.loads((folder / f"trial-{number}" / "results.json").read_text())
        (point,) = results["points"]
        released.append(point["released_metrics"]["releases"][-1]["ndcg@10"]["value"])
        assert point["epsilon"] <= claims["each"] < BUDGET
    assert claims["chosen"] == released.index(max(released)) == page["trials"][0]["number"]
    (promise,) = read_promise(folder / "chosen.safetensors")["guarantees"]
    assert (promise["epsilon"], promise["epsilon_target"]) == (claims["epsilon"], BUDGET)
    assert len(promise["ledger_heads"]) == 2


def test_it_goes_on_where_it_stopped_and_ends_alike(searched, copied):
    shutil.rmtree(copied / "trial-1")
    for name in ("total.json", "chosen.safetensors", "best.toml", "trials.json"):
        (copied / name).unlink()
    done = command("tune", "--resume", copied, "--quiet", "--json")
    assert done.code == 0, done.err
    again, before = total(copied), total(searched[0])
    for found in (again, before):
        del found["seal"]
        for trial in found["trials"]:
            del trial["ledger"]  # which says when
    assert again == before
    done = command("tune", "--resume", copied, "--trials", 5)
    assert done.code == 2
    assert "keeps the 2" in done.error


def test_a_trial_that_was_not_planned_is_refused(copied):
    """Another run in a trial's folder would cost what the budget was not divided for."""
    shutil.rmtree(copied / "trial-1")
    shutil.copytree(copied / "trial-0", copied / "trial-1")
    before = (copied / "total.json").read_text()
    done = command("tune", "--resume", copied, "--quiet")
    assert done.code == 2
    assert "trial-1/config.toml: differs from these settings" in done.err
    assert (copied / "total.json").read_text() == before


def test_every_trial_asks_people_anew(searched):
    found = [json.loads((searched[0] / f"trial-{n}" / "results.json").read_text()) for n in (0, 1)]
    assert [at["points"][0]["seed"] for at in found] == [0, 1]


def test_all_in_its_folder_has_a_status(searched):
    folder, rows = searched[0], sections()["search"]
    found = set()
    for file in folder.iterdir():
        if file.suffix == ".json":
            found |= {f"{file.name}:{name}" for name in json.loads(file.read_text())}
        elif file.suffix == ".safetensors":
            found |= {f"{file.name}:{name}" for name in load_file(file)}
        elif file.is_file():  # a run's folder has sections of its own
            found.add(file.name)
    assert {name for name in found if rows.find(name) is None} == set()
    met = {rows.find(name).name for name in found}
    assert met == {leaf.name for leaf in rows.leaves}


def uncounted(folder):
    """A run whose cost nobody adds up."""
    shutil.copytree(folder / "trial-1", folder / "trial-2")
    return "trial-2: a run that the search does not count"


def cheaper(folder):
    seal_again(folder, epsilon=total(folder)["each"])
    return "all ledgers together give"


def left_out(folder):
    """As if the last run had not been."""
    shutil.rmtree(folder / "trial-1")
    claims = total(folder)
    del claims["seal"]["files"]["trial-1/results.json"]
    files = [folder / name for name in claims.pop("seal")["files"]]
    write_sealed(
        folder / "total.json",
        claims | {"trials": claims["trials"][:1], "chosen": 0},
        digests(folder, files),
    )
    return "epsilon = "


def same_cohorts(folder):
    """As searches were that asked the same people in every trial."""
    for number in range(2):
        file = folder / f"trial-{number}" / "results.json"
        claims = json.loads(file.read_text())
        claims["points"][0]["seed"] = 0
        write_sealed(file, claims, claims.pop("seal")["files"])
    seal_again(folder)
    return "trial-1: seed 0 is another trial's too"


def another_chosen(folder):
    seal_again(folder, chosen=(total(folder)["chosen"] + 1) % 2)
    return "the released figures give"


def better_figure(folder):
    trials = total(folder)["trials"]
    trials[0]["value"] = 0.9
    seal_again(folder, trials=trials)
    return "trial-0: value = 0.9 claimed, its run released"


def other_values(folder):
    trials = total(folder)["trials"]
    trials[1]["values"]["federation.server_lr"] = 0.5
    seal_again(folder, trials=trials)
    return "trial-1: federation.server_lr = 0.5 claimed"


def own_promise(folder):
    """The chosen run's adapter as it was: what it alone cost."""
    (run,) = (folder / f"trial-{total(folder)['chosen']}" / "adapters").glob("*.safetensors")
    shutil.copy(run, folder / "chosen.safetensors")
    seal_again(folder)
    return "another promise than the search's"


def other_weights(folder):
    file = folder / "chosen.safetensors"
    arrays, carried = load_file(file), read_metadata(file)
    save_file({name: array + 1 for name, array in arrays.items()}, file, carried)
    seal_again(folder)
    return "other tensors than the chosen run's"


def larger_budget(folder):
    claims = total(folder)
    seal_again(folder, guarantee=claims["guarantee"] | {"epsilon_target": claims["epsilon"] / 2})
    return "exceeds the budget"


def no_search(folder):
    seal_again(folder, trials=[])
    return "trials: []"


LIES = (
    *(uncounted, cheaper, left_out, same_cohorts, another_chosen, better_figure, other_values),
    *(own_promise, other_weights, larger_budget, no_search),
)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_what_was_altered_is_found_whoever_seals_it(copied, lie):
    told = lie(copied)
    done = command("verify", copied)
    assert done.code == 3, done.out
    assert told in done.out
    assert "DISAGREE" in done.out


def test_a_run_that_disagrees_or_whom_nobody_vouches_for_shows(copied):
    ledger = next((copied / "trial-1").glob("ledger-*"))
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:-1]))
    done = command("verify", copied)
    assert done.code == 3
    assert "trial-1: epsilon" in done.out
    done = command("verify", copied, "--key", "0" * 64)
    assert "not by the key that was named" in done.out


def test_what_no_private_search_can_be_is_refused(tiny_bert, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        f'[model]\nbackbone = "{tiny_bert}"\n[data]\nusers = 40\n[federation]\ncohort = 12\n'
    )
    for words, told in (
        (("--epsilon", "inf"), "a budget that is finite"),
        (("--seeds", "0,1"), "every seed would be a run more"),
        (("--metric", "mrr"), "with --private expected hr@10 or ndcg@10"),
        (("--public",), "give one"),
        (("--trials", 4, "--vary", "model.lora_rank=1|2"), "gives 3 different ones"),
    ):
        done = command("tune", "--private", "--config", own, *words, "--out", tmp_path / "none")
        assert done.code == 2, done.out
        assert told in done.error
    assert not (tmp_path / "none").exists()


def test_the_plan_is_what_the_ledgers_record(searched):
    """What was planned costs what was spent: nothing was released beside the plan."""
    from shared.config import at_epsilon
    from shared.privacy.plan.plan import server_plan
    from simulations.results import Results

    folder, page = searched
    plans = []
    for number in range(2):
        results = Results.read(folder / f"trial-{number}" / "results.json")
        config = at_epsilon(results.experiment(), page["each"], 0)
        plans.append(server_plan(config, results.users))
    assert cost_of_all(plans) == pytest.approx(page["epsilon"], rel=1e-6)
