"""Every rule from the command line to recommendations, checked by `verify`."""

import pytest

from shared.aggregation import RULES
from tests.support.command import command, results, write_settings


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "fedit"])
def test_simulate_verify_recommend(rule, tiny_bert, tmp_path):
    settings, out = write_settings(tmp_path, references=()), tmp_path / "run"
    options = ["--aggregation", rule, "--epsilon", "4,inf"]
    done = command(
        "simulate", "--config", settings, "--backbone", tiny_bert, *options, "--out", out
    )
    assert done.code == 0, done.err
    found = results(out)
    assert found["config"]["federation"]["aggregation"] == rule
    assert command("verify", out).code == 0
    adapter = out / found["points"][0]["adapter"]
    asked = ("--data", "world", "--users", "40", "--adapter", adapter)
    assert command("recommend", *asked, "--user", "u3").code == 0


def test_a_rule_without_factors_is_refused(tmp_path):
    done = command("simulate", "--preset", "local", "--aggregation", "ffa", "--out", tmp_path / "x")
    assert done.code == 2
    assert "federation.aggregation = ffa" in done.error
    assert "model.lora_rank = 0" in done.error
