"""A search on the command line: its table, its document, going on, and what it needs."""

import json
import sys

from tests.support.command import command

VARY = "federation.server_lr=0.03..3"


def test_a_search_and_what_comes_of_it(settings, tiny_bert, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(settings.read_text().replace("[model]", f'[model]\nbackbone = "{tiny_bert}"'))
    out = tmp_path / "search"
    words = ("--config", own, "--vary", VARY, "--trials", 1, "--epsilon", "inf", "--out", out)
    done = command("tune", *words)
    assert done.code == 0, done.err
    assert "as it stands: ndcg@10" in done.err
    assert "trial 1 of 1: ndcg@10" in done.err
    assert "Chosen on the synthetic world, which is nobody's data" in done.out
    done = command("tune", "--resume", out, "--trials", 2, "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    page = json.loads(done.out)
    assert sorted(each["number"] for each in page["trials"]) == [0, 1, 2]
    assert page["of"] == "validation items"
    used = ("simulate", "--config", out / "best.toml", "--users", 40, "--references", "none")
    done = command(*used, "--out", tmp_path / "run", "--quiet")
    assert done.code == 0, done.err
    assert command("verify", tmp_path / "run").code == 0


def test_without_optuna_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = command("tune", "--out", tmp_path / "out")
    assert done.code == 2
    assert "needs the package optuna" in done.error
