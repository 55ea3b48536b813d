"""Every rule from the command line to recommendations, checked by `verify`."""

import json
import shutil

import pytest

from shared.aggregation import RULES
from tests.support.command import command, results, write_settings

OFTEN = ("fedsa", "flexlora", "principal")  # keeps tensors; sums products; another model
SLOW = [pytest.param(r, marks=pytest.mark.slow) for r in RULES if r not in OFTEN and r != "fedit"]


@pytest.mark.parametrize("rule", [*OFTEN, *SLOW])
def test_simulate_verify_recommend(rule, tiny_bert, tmp_path):
    settings, out = write_settings(tmp_path, references=()), tmp_path / "run"
    options = ["--aggregation", rule, "--epsilon", "4,inf"]
    done = command(
        "simulate", "--config", settings, "--backbone", tiny_bert, *options, "--out", out
    )
    assert done.code == 0, done.err
    assert ("publishes what devices keep" in done.out) == (rule == "fedsa")
    found = results(out)
    assert found["config"]["federation"]["aggregation"] == rule
    assert command("verify", out).code == 0
    adapter = out / found["points"][0]["adapter"]
    asked = ("--data", "world", "--users", "40", "--adapter", adapter)
    asked_one = command("recommend", *asked, "--user", "u3")
    assert asked_one.code == 0
    assert ("everyone's own B" in asked_one.out) == (rule == "fedsa")
    if rule == "fedsa":
        ranked_with_their_own(found["points"][0], asked, tmp_path)


def ranked_with_their_own(point, asked, tmp_path):
    """The folder of a run has everyone's B; the adapter file alone has the initial one."""
    *data, file = asked
    page = json.loads(command("evaluate", *data, file, "--json").out)
    assert page["metrics"]["hr@10"] == pytest.approx(point["metrics"]["hr@10"])
    assert "of 40 people trained one" in page["note"]
    alone = tmp_path / "alone" / "adapters" / file.name
    alone.parent.mkdir(parents=True)
    shutil.copy(file, alone)
    page = json.loads(command("evaluate", *data, alone, "--json").out)
    assert "ranked with what is shared and the initial B" in page["note"]
    asked_one = command("recommend", *data, alone, "--user", "u3", "--json")
    assert "the initial B" in json.loads(asked_one.out)["note"]


def test_a_rule_without_factors_is_refused(tmp_path):
    done = command("simulate", "--preset", "local", "--aggregation", "ffa", "--out", tmp_path / "x")
    assert done.code == 2
    assert "federation.aggregation (--aggregation) = ffa" in done.error
    assert "model.lora_rank = 0" in done.error
