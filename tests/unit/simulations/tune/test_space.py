"""What may be searched over, as it is typed."""

import optuna
import pytest

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from simulations.tune import DEFAULT, Search, space_of
from simulations.tune.asked import refuse_private


def test_ranges_and_words():
    found = space_of(
        "federation.server_lr=0.03..3, federation.rounds=1..12,model.lora_rank=1|2|4,"
        "federation.server_optimizer=fedadam|fedavgm,model.item_bias=true|false,"
        "privacy.histogram_share=0.1..0.9"
    )
    assert [(each.setting, each.values, each.ranged) for each in found] == [
        ("federation.server_lr", (0.03, 3.0), True),
        ("federation.rounds", (1, 12), True),
        ("model.lora_rank", (1, 2, 4), False),
        ("federation.server_optimizer", ("fedadam", "fedavgm"), False),
        ("model.item_bias", (True, False), False),
        ("privacy.histogram_share", (0.1, 0.9), True),
    ]


def test_what_a_trial_has_lies_inside_and_is_of_its_kind():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space = space_of(DEFAULT + ",federation.rounds=1..12,train.weight_decay=0..1")
    for _ in range(40):
        trial = study.ask()
        for each in space:
            value = each.suggested(trial)
            if each.ranged:
                low, high = each.values
                assert low <= value <= high
                assert type(value) is type(low)
            else:
                assert value in each.values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected section.name=LOW..HIGH"),
        ("model.lora_rank", "expected section.name=LOW..HIGH"),
        ("model.lora_rank=", "expected section.name=LOW..HIGH"),
        ("model.lora_rnk=1|2", "unknown.*did you mean model.lora_rank"),
        ("model.lora_rank=1", "at least two values"),
        ("model.lora_rank=1|1", "at least two values, each once"),
        ("model.lora_rank=4..2", "the lower end first"),
        ("model.lora_rank=1.5..2", "'1.5': expected a whole number"),
        ("train.local_lr=low..high", "'low': expected a number"),
        ("train.local_lr=1..inf", "expected a number that is finite"),
        ("train.local_lr=nan|1", "expected a number that is finite"),
        ("model.item_bias=1|0", "expected true or false"),
        ("model.lora_rank=1|2,model.lora_rank=4|8", "given twice"),
        ("model.lora_targets=query|value", "is a list"),
        ("privacy.epsilon=1..8", r"of \[privacy\] there are clipping_norm"),
        ("privacy.delta=1e-9..1e-5", r"of \[privacy\] there are"),
        ("privacy.unit=user|example", r"of \[privacy\] there are"),
        ("data.users=10..20", "stays as it is"),
        ("engine.dtype=float32|bf16", "stays as it is"),
        ("model.start=a|b", "stays as it is"),
    ],
)
def test_what_is_no_space_is_refused(text, told):
    with pytest.raises(ConfigError, match=told) as found:
        space_of(text)
    assert "\n" not in str(found.value)


def test_every_default_is_a_setting():
    assert all(
        hasattr(ExperimentConfig(), each.setting.split(".")[0]) for each in space_of(DEFAULT)
    )


def asked(spec, public=False):
    tree = {"data": {"spec": spec}}
    return Search(tree, space_of(DEFAULT), 8.0, (0,), "ndcg@10", 0, public)


def test_peoples_data_are_searched_on_a_word_that_they_are_public_alone():
    refuse_private(asked("world"))
    refuse_private(asked("movielens-1m", public=True))
    with pytest.raises(ConfigError, match=r"--public") as found:
        refuse_private(asked("movielens-1m"))
    assert "--private" in str(found.value)
