"""A search is repeatable, goes on where it stopped, and looks at validation alone."""

import dataclasses
import importlib
import json
import math

import pytest

from shared.config import from_dict, load_toml
from shared.errors import ConfigError
from simulations.tune import Search, TuneFolder, search, space_of
from tests.support.command import SETTINGS

VARY = "federation.server_lr=0.03..3,model.projection_rank=2|4|8"
module = importlib.import_module("simulations.tune.search")


@pytest.fixture(scope="module")
def asked(tiny_bert, tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "own.toml"
    file.write_text(SETTINGS.format(rounds=1, references=""))
    tree = load_toml(file)
    tree.pop("sweep")
    tree["model"]["backbone"] = str(tiny_bert)
    return Search(tree, space_of(VARY), 4.0, (0,), "ndcg@10", 3, False)


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory, own_folders):
    """A search that ended, and what it said."""
    folder, said = TuneFolder(tmp_path_factory.mktemp("tune") / "one"), []
    return search(asked, 3, folder, said.append), folder, said


def plain(found):
    return sorted((each.number, tuple(each.values.items()), each.value) for each in found)


def test_the_best_is_first_and_its_settings_run(whole, asked):
    found, folder, said = whole
    assert len(found) == 4
    assert [each.value for each in found] == sorted((each.value for each in found), reverse=True)
    assert len({each.values.get("federation.server_lr") for each in found}) == 4
    assert len(said) == 4
    best = from_dict(load_toml(folder.best))
    for setting, value in found[0].values.items():
        section, _, name = setting.partition(".")
        assert getattr(getattr(best, section), name) == pytest.approx(value)
    assert best.data.users is None  # which log, and how much of it, is for whoever uses them
    assert json.loads(folder.trials.read_text())["trials"][0]["number"] == 0


def test_the_same_seed_tries_the_same(whole, asked, tmp_path):
    again = search(asked, 1, TuneFolder(tmp_path / "again"), lambda line: None)
    assert plain(again) == plain(whole[0])[:2]
    other = dataclasses.replace(asked, seed=4)
    found = search(other, 1, TuneFolder(tmp_path / "other"), lambda line: None)
    assert plain(found)[1] != plain(whole[0])[1]


def test_a_search_that_was_stopped_ends_as_if_it_had_not(whole, asked, tmp_path, monkeypatch):
    """Stopped in the middle of its second trial, and gone on with from the folder alone."""
    folder, calls = TuneFolder(tmp_path / "stopped"), []
    measured = module._measured

    def stops(trial, at):
        calls.append(trial)
        if len(calls) == 3:  # the start, a trial, and then
            raise KeyboardInterrupt
        return measured(trial, at)

    monkeypatch.setattr(module, "_measured", stops)
    with pytest.raises(KeyboardInterrupt):
        search(asked, 3, folder, lambda line: None)
    monkeypatch.setattr(module, "_measured", measured)
    assert folder.asked() == asked
    assert plain(search(folder.asked(), 3, folder, lambda line: None)) == plain(whole[0])
    assert plain(search(asked, 1, folder, lambda line: None)) == plain(whole[0])  # nothing is lost


def test_no_test_item_decides_and_none_is_kept(asked, tmp_path, monkeypatch):
    """Of a run that is best on validation and worst on test the first alone counts."""
    seen = []

    def run(machines, point, folder, listener):
        folder.mkdir()
        (folder / "results.json").write_text("metrics")
        seen.append(point)
        figures = {"ndcg@10": point.federation.server_lr, "ndcg@10_se": 0.1}
        worst = {"ndcg@10": -point.federation.server_lr}
        return type("Point", (), {"stated": {"validation": figures, "metrics": worst}})

    monkeypatch.setattr(module, "run_point", run)
    folder = TuneFolder(tmp_path / "made")
    found = search(asked, 3, folder, lambda line: None)
    rates = [each.values.get("federation.server_lr", 0.01) for each in found]
    assert rates == sorted(rates, reverse=True)
    assert len(seen) == 4
    names = {file.name for file in folder.path.iterdir()}
    assert names == {"tune.json", "trials.json", "best.toml", "journal.log", ".lock"}


def test_what_does_not_go_together_is_told_and_not_counted(asked, tmp_path):
    odd = dataclasses.replace(asked, space=space_of("federation.cohort=1000|2000"))
    folder, said = TuneFolder(tmp_path / "odd"), []
    start, *failed = search(odd, 2, folder, said.append)
    assert [each.number for each in failed] == [1, 2]
    assert all("there are 40 users" in each.why for each in failed)
    assert all(math.isnan(each.value) for each in failed)
    assert (start.number, start.why) == (0, "")
    assert "there are 40 users" in said[-1]
    assert from_dict(load_toml(folder.best)).federation.cohort == 12
    assert json.loads(folder.trials.read_text())["trials"][0]["why"] == ""


def test_what_is_no_search_makes_nothing(asked, tmp_path):
    folder = TuneFolder(tmp_path / "none")
    private = json.loads(json.dumps(asked.tree))
    private["data"] = {"spec": "movielens-100k"}
    crowd = json.loads(json.dumps(asked.tree))
    crowd["federation"]["cohort"] = 1000  # which shows when the first run begins
    for wrong, trials, told in (
        (dataclasses.replace(asked, tree=private), 2, "--public"),
        (asked, 0, "--trials 0"),
        (dataclasses.replace(asked, metric="accuracy"), 2, "--metric accuracy"),
        (dataclasses.replace(asked, tree=crowd), 2, "there are 40 users"),
    ):
        with pytest.raises(ConfigError, match=told):
            search(wrong, trials, folder, lambda line: None)
    assert not folder.path.exists()


def test_another_search_does_not_go_on_in_its_folder(whole, asked, tmp_path):
    with pytest.raises(ConfigError, match="holds another search"):
        search(dataclasses.replace(asked, epsilon=2.0), 5, whole[1], lambda line: None)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        search(asked, 1, TuneFolder(tmp_path), lambda line: None)
    with pytest.raises(ConfigError, match="holds no search"):
        TuneFolder(tmp_path).asked()
