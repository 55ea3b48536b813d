"""What a person who trusts nothing tried on files, words and places."""

import hashlib
import json
import zlib

import numpy as np
import pytest

from shared.config import ExperimentConfig, to_dict
from shared.config.places import ELSEWHERE, from_a_place, without_places
from shared.data.catalogue import Catalogue
from shared.errors import ModelError
from shared.model.sources import choice
from shared.privacy import sentences
from shared.privacy.ledger.promise import SECURE, SEEDED
from shared.run_files import RunFolder
from simulations.api.settings import experiment_of
from simulations.api.words import in_python
from simulations.report.promises import promise_rows
from simulations.results import RESULTS_SCHEMA, Results
from simulations.table import table_problem, write_tables
from simulations.tune.space import _why_not


def results(**model):
    point = {"epsilon_target": 8.0, "seed": 0, "epsilon": 7.9, "delta": 5e-10, "unit": "user"}
    tree = {"schema": RESULTS_SCHEMA, "points": [point], "config": {"model": model}}
    return Results.of(tree)


@pytest.mark.parametrize("delta", ["0.0", "1e-12", "5.1e-10"])
def test_a_small_number_of_a_table_is_compared_by_its_own_size(delta, tmp_path):
    run = RunFolder(tmp_path)
    write_tables(results(), run)
    assert not table_problem(results(), run, run.csv.name)
    run.csv.write_text(run.csv.read_text().replace("5e-10", delta))
    assert "says other" in table_problem(results(), run, run.csv.name)


def test_vectors_from_a_file_are_a_premise_like_a_start():
    assert results().premises == results(items="minilm").premises == ()
    (said,) = results(items="cf.npz", items_sha256="ab" * 32).premises
    pinned = hashlib.sha256(b"owner/model@abc").hexdigest()
    assert results(backbone="owner/model@abc", backbone_sha256=pinned).premises == ()
    for name, kind in (("backbone", "reader"), ("items", "encoder")):
        # A folder of somebody's, and one that is called as a revision on the hub would be.
        for typed in ("weights", "/home/me/weights", "owner/model@abc"):
            (told,) = results(**{name: typed, f"{name}_sha256": "cd" * 32}).premises
            assert told == sentences.encoded(ELSEWHERE[kind], "cd" * 32)
            assert from_a_place(typed, "cd" * 32)
    assert "abababababababab" in said
    assert "no budget here covers" in said


def test_promises_whose_cost_is_on_devices_alone_can_be_shown():
    told = results()
    del told.points[0].stated["epsilon"]
    assert [claim.target for claim in told.private_claims] == [8.0]


@pytest.mark.parametrize("told", ["pip install --no-deps gguf", "/data/run -x/--private: gone"])
def test_commands_and_paths_keep_their_dashes(told):
    with pytest.raises(ModelError) as caught, in_python():
        raise ModelError(f"{told}; see --micro-batch")
    assert str(caught.value).startswith(told.partition(" -x")[0])
    assert "--private" in str(caught.value) or "--no-deps" in str(caught.value)
    assert str(caught.value).endswith("see micro_batch")


def test_no_place_on_this_machine_goes_to_a_tracker():
    config = to_dict(ExperimentConfig())
    config["data"]["spec"], config["model"]["items"] = "/home/ada/log", "~/cf.npz"
    config["engine"]["address"] = "10.0.0.1:6379"
    told = without_places(config)
    assert (told["data"]["spec"], told["model"]["items"]) == ("log", "cf.npz")
    assert told["model"]["backbone"] == config["model"]["backbone"]
    assert not {"ada", "10.0.0.1", "~"} & set(json.dumps(told).replace("/", " ").split())
    assert config["data"]["spec"] == "/home/ada/log"


@pytest.mark.parametrize("name", ["model.items", "model.pooling", "model.start"])
def test_what_item_vectors_come_from_is_no_setting_to_search_over(name):
    assert "stays as it is" in _why_not(name)


@pytest.mark.parametrize(
    "error", [TypeError, AttributeError, RuntimeError, MemoryError, zlib.error]
)
def test_whatever_reading_vectors_raises_is_a_mistake_in_the_file(error, tmp_path, monkeypatch):
    file = tmp_path / "v.npz"
    np.savez(file, items=np.array(["a", "b"]), vectors=np.eye(2))

    def broken(archive):
        raise error

    monkeypatch.setattr(choice, "_arrays", broken)
    with pytest.raises(ModelError, match="no archive of these two"):
        choice._from_file(file, Catalogue(("a", "b"), ("A", "B")))


@pytest.mark.parametrize(("name", "one"), [("epsilon", 8), ("references", "popularity")])
def test_one_value_is_a_list_of_one(name, one):
    both = (experiment_of({name: given})[0] for given in (one, [one]))
    assert next(both) == next(both)


@pytest.mark.parametrize(("noise", "own"), [(SECURE, True), (SEEDED, False)])
def test_a_page_says_that_the_generator_is_the_runs_own_word(noise, own):
    told = results()
    about = {"noise": noise, "trust": "central", "relation": "zero_out"}
    told.points[0].stated.update(about)
    (row,) = promise_rows(told)
    assert row["noise"].startswith(noise)
    assert ("own word" in row["noise"]) is own
