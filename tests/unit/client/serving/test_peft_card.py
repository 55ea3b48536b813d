"""A card says of privacy what the adapter's file carries, in the words that stand behind it."""

import dataclasses
import json
import math
import re

import pytest
from safetensors.numpy import load_file, save_file

from client.serving.peft import Figure, Measured, write_peft
from shared.canonical import canonical_json
from shared.config import to_dict
from shared.errors import ModelError
from shared.privacy import guarantee, sentences
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.promise import SECURE, SEEDED
from shared.published import ADAPTER
from tests.support.running.released import films, publish, settings_of

CENTRAL = Guarantee("user", "zero_out", "central", guarantee.USER_CENTRAL, 1e-4, 1, 8.0)
EXAMPLES = Guarantee("example", "zero_out", "local", guarantee.EXAMPLE_LOCAL, 1e-5, 1, 4.0)
IN_SUMS = dataclasses.replace(CENTRAL, adversary=guarantee.in_sums(CENTRAL.adversary, 12, 0.1))


@pytest.fixture(scope="module")
def adapter(backbones, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    config = settings_of(backbones("bert"), films(), model={"layers": 0, "item_rank": 2})
    return publish(folder / "made", config, films()) / ADAPTER, config


@pytest.fixture
def card(adapter, tmp_path):
    """What a card says of an adapter with these guarantees."""

    def told(*guarantees, noise=SECURE, measured=None, model=None, **more):
        file, config = adapter
        settings = to_dict(config)
        settings["model"] |= model or {}
        for name, values in more.items():
            settings[name] |= values
        promise = {"guarantees": list(guarantees), "settings": "0" * 64, "noise": noise}
        carried = {"settings": canonical_json(settings), "promise": canonical_json(promise)}
        made = tmp_path / "own.safetensors"
        save_file(load_file(file), made, carried)
        folder = write_peft(made, tmp_path / "out", "some/model", measured)
        return (folder / "README.md").read_text()

    return told


def spent(promised, epsilon):
    return promised.stated() | {"epsilon": epsilon, "ledger_head": "0" * 64}


def test_a_budget_is_named_with_its_unit_and_adversary(card):
    text = card(spent(CENTRAL, 7.5), noise=SEEDED)
    assert "| user | 7.5 | 0.0001 | 1 | zero_out | central | " in text
    assert guarantee.USER_CENTRAL in text
    for said in (
        sentences.of_a_file("told"),
        sentences.unit_of("user"),
        sentences.neighbours("user", "zero_out"),
        sentences.server_sees("central", in_clear=True),
        sentences.seeded(),
        sentences.several(),
        sentences.population(),
        sentences.floating(),
    ):
        assert said in text
    assert "at most e^ε = 1,810 times" in text
    assert sentences.of_a_file("nothing") not in text
    assert "- differential-privacy\n" in text


def test_sums_and_single_messages_are_told_apart(card):
    assert sentences.server_sees("central", in_clear=False) in card(spent(IN_SUMS, 7.5))


def test_noise_of_the_system_is_not_called_a_simulations(card):
    text = card(spent(CENTRAL, 7.5))
    assert sentences.seeded() not in text


def test_two_budgets_are_two_promises(card):
    text = card(spent(CENTRAL, 7.5), EXAMPLES.stated())
    assert sentences.two_budgets() in text
    assert "| example | at most 4 | 1e-05 |" in text
    assert sentences.unit_of("example") in text


@pytest.mark.parametrize("guarantees", [[], [spent(CENTRAL, "inf") | {"epsilon_target": "inf"}]])
def test_nothing_is_promised_where_there_is_no_budget(card, guarantees):
    text = card(*guarantees, noise=SEEDED)
    assert sentences.of_a_file("nothing") in text
    assert "differential-privacy" not in text
    for word in ("User-level", sentences.seeded(), "e^ε", sentences.of_a_file("told")):
        assert word not in text


@pytest.mark.parametrize(
    "change",
    [
        {"unit": "household"},
        {"delta": 2},
        {"epsilon": -1},
        {"epsilon": "none"},
        {"group_size": []},
        {"adversary": ""},
        {"relation": None},
    ],
    ids=str,
)
def test_a_promise_that_is_none_is_refused(card, change):
    with pytest.raises(ModelError, match="its promise") as found:
        card(spent(CENTRAL, 7.5) | change)
    assert "\n" not in str(found.value)


def test_what_a_file_says_is_text_and_nothing_else(card):
    """Whoever made the file may have written anything where the adversary stands."""
    evil = "nobody |\n\n# Verified\n<script>alert(1)</script> [all is well](http://evil) `x`"
    measured = Measured("log\n# Safe", 3, 4, (Figure("hr | x", 0.5, math.nan, math.nan),), False)
    text = card(spent(CENTRAL, 7.5) | {"adversary": evil}, noise=SEEDED, measured=measured)
    assert not re.search(r"^# (Verified|Safe)", text, re.MULTILINE)
    body = text.partition("```python")[0]
    assert "<script>" not in re.sub(r"\\.", "", body)
    assert "](http" not in re.sub(r"\\.", "", body)
    assert len([line for line in text.splitlines() if line.startswith("| user |")]) == 1


def test_metrics_are_the_evaluators_or_released(card):
    figures = (Figure("hr@10", 0.25, 0.125, 0.5),)
    shown = Measured("films", 40, 18, figures, False)
    text = card(spent(CENTRAL, 7.5), noise=SEEDED, measured=shown)
    assert "| hr@10 | 0.2500 | 0.1250 to 0.5000 |" in text
    assert "films: 40 people, 18 items." in text
    assert sentences.evaluators() in text


def test_released_metrics_are_covered(card):
    figures = (Figure("hr@10", 0.25, 0.0, 1.0),)
    text = card(spent(CENTRAL, 7.5), measured=Measured("", 40, 0, figures, True))
    assert "What people had on their own devices: 40 people." in text
    assert sentences.of_a_file("noised") in text
    assert sentences.evaluators() not in text


def test_a_servers_adapter_is_not_said_to_be_of_the_log_in_its_settings(card):
    """Its preset's: of `world`, where devices had films."""
    text = card(spent(CENTRAL, 7.5), data={"spec": "world"})
    assert "What people had on their own devices." in text
    assert "world" not in text.partition("```python")[0]


def test_that_nothing_was_released_is_said(card):
    assert "No figure was released." in card(
        spent(CENTRAL, 7.5), measured=Measured("", 3, 0, (), True)
    )


def test_what_else_changes_the_meaning_is_said(card):
    text = card(
        spent(CENTRAL, 7.5),
        model={"weights": "int8", "start": "/home/me/lora", "start_sha256": "ab" * 32}
        | {"start_is_public": True},
        federation={"aggregation": "fedsa"},
        privacy={"mechanism": "dp_ftrl", "min_separation": 4},
    )
    assert "base weights in int8" in text
    assert "every device keeps a B of its own" in text
    assert sentences.begun("ab" * 32) in text
    assert sentences.scheduled() in text
    assert "/home/me" not in text


def test_no_folder_of_a_person_is_in_what_is_handed_on(card, tmp_path):
    card(spent(CENTRAL, 7.5), data={"spec": "/home/me/private/log"})
    for file in (tmp_path / "out").iterdir():
        assert b"/home/me" not in file.read_bytes(), file.name
    about = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == "some/model"
