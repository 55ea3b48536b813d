"""From the flat settings of `flwr run .` to an experiment of ours."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import server.app
from shared.config import at_epsilon
from shared.errors import ConfigError, DataError
from shared.run_files import directory_of
from simulations.flower import run
from simulations.flower.run import experiment
from tests.support import ROOT

DEFAULTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]


def test_the_defaults_are_a_small_run_with_noise():
    config = experiment(DEFAULTS, nodes=40)
    assert (config.data.spec, config.data.users) == ("world", 40)
    for epsilon in (8.0, float("inf")):  # --run-config speaks for noised points too
        point = at_epsilon(config, epsilon, 0)
        assert (point.federation.rounds, point.federation.expected_cohort(40)) == (2, 40)


def test_no_default_says_that_noise_may_be_seeded():
    """`--run-config` replaces only keys that stand there: nobody can ask real nodes for it."""
    assert "simulated" not in DEFAULTS


def test_other_settings(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[model]\nlayers = 1\n")
    config = experiment(DEFAULTS | {"config": str(file), "rounds": 5, "cohort": 0.5}, nodes=10)
    assert (config.model.layers, config.federation.rounds) == (1, 5)
    assert config.federation.expected_cohort(10) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"users": 40}, r'2 virtual nodes.*--federation-config "num-supernodes=40"'),
        ({"rounds": -1}, "rounds = -1"),
        ({"preset": "none"}, "--preset none: unknown"),
        ({"config": "absent.toml"}, "absent.toml"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        experiment(DEFAULTS | settings, nodes=2)


def test_people_of_whom_nothing_can_be_shown_are_refused_before_anything_is_made(
    tmp_path, monkeypatch
):
    (tmp_path / "items.csv").write_text("item,text\na,A\nb,B\nc,C\n")
    (tmp_path / "interactions.csv").write_text("user,item,timestamp\nu,a,1\nu,b,2\nv,a,1\n")
    monkeypatch.setattr(run, "_registered", lambda grid: [7, 8])
    given = {**DEFAULTS, "data": str(tmp_path), "directory": str(tmp_path / "run")}
    with pytest.raises(DataError, match="nobody can be evaluated: of 2 people 2 have fewer"):
        run.prepared(object(), SimpleNamespace(run_config=given, run_id=1))
    assert not (tmp_path / "run").exists()


def test_the_log_says_among_how_many_people_were_ranked(tiny_bert, tmp_path, monkeypatch):
    """Three of six items are left to one, and two to the other; 99 are asked for."""
    (tmp_path / "items.csv").write_text("item,text\n" + "".join(f"{i},{i}\n" for i in "abcdef"))
    rows = [f"{user},{item},1\n" for user, met in (("u", "abc"), ("v", "abcd")) for item in met]
    (tmp_path / "interactions.csv").write_text("user,item,timestamp\n" + "".join(rows))
    (tmp_path / "mine.toml").write_text(f'[model]\nbackbone = "{tiny_bert}"\n')
    monkeypatch.setattr(run, "_registered", lambda grid: [7, 8])
    found = {"metrics": {"hr@10": 1.0, "ndcg@10": 0.5, "users": 2}}
    monkeypatch.setattr(server.app, "run_federation", lambda *given, **named: found)
    told = []
    monkeypatch.setattr(server.app, "log", lambda level, form, *words: told.append(form % words))
    given = {**DEFAULTS, "data": str(tmp_path), "directory": str(tmp_path / "run")}
    given |= {"config": str(tmp_path / "mine.toml"), "epsilon": "inf"}
    grid, made = run.prepared(object(), SimpleNamespace(run_config=given, run_id=1))
    server.app.serve(grid, made)
    assert "over 2 people, among as few as 2 sampled negatives (median 2.5; 99 asked" in told[-1]


def test_every_run_has_a_folder_of_its_own_unless_named(monkeypatch, tmp_path):
    monkeypatch.setenv("STARLING_HOME", str(tmp_path))
    runs = [directory_of({"directory": ""}, number) for number in (1, 2)]
    assert [folder.parent for folder in runs] == [tmp_path / "runs"] * 2
    assert runs[0] != runs[1]
    assert directory_of({"directory": "/some/where"}, 1) == Path("/some/where")


def test_on_real_nodes_a_missing_setting_is_named():
    context = SimpleNamespace(run_config=DEFAULTS)
    with pytest.raises(ConfigError, match="'config' is missing"):
        server.app.main(object(), context)
