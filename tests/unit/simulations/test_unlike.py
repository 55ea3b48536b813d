"""What is said of points without noise beside those with it is so, whatever the settings."""

import math

import pytest

from shared.config import from_dict, to_dict
from shared.privacy.contribution.units import update_clip
from simulations.compare import same_model
from simulations.results import Results
from simulations.unlike import what_differs

SETTINGS = {
    "as they are": ({}, {}, "no update clipped, exact histogram", "updates clipped at 0.35 as"),
    "clipped without noise": (
        {"clip_without_noise": True},
        {},
        "updates clipped at 0.35 as there, exact histogram",
        "updates clipped at 0.35 as there, exact histogram",
    ),
    "a clip that adapts": (
        {"adaptive_clipping": 0.5},
        {},
        "no update clipped, exact",
        "updates clipped at 0.35 where those adapt, exact",
    ),
    "and one of both": (
        {"adaptive_clipping": 0.5, "clip_without_noise": True},
        {},
        "updates clipped at 0.35 where those adapt, exact",
        "updates clipped at 0.35 where those adapt, exact",
    ),
    "examples": (
        {"unit": "example", "clip_without_noise": True},
        {},
        "no example's gradient clipped",
        "no example's gradient clipped",
    ),
    "both units": (
        {"unit": "both", "example_epsilon": 4.0},
        {},
        "no update or example's gradient clipped",
        "updates clipped at 0.35 as there, no example's gradient clipped",
    ),
    "correlated noise": (
        {"mechanism": "dp_ftrl", "min_separation": 2},
        {},
        "no update clipped, cohorts drawn independently",
        "as there, cohorts drawn independently",
    ),
    "sums of products": (
        {"clip_without_noise": True},
        {"aggregation": "flexlora"},
        "no update clipped",
        "no update clipped",
    ),
    "the best round": (
        {},
        {"evaluate_every": 1},
        "the round that validates best kept",
        "the round that validates best kept",
    ),
    "chosen by metrics": (
        {"metrics_share": 0.3},
        {"select": "private_metric", "metrics_every": 1},
        "no round chosen by its metrics",
        "no round chosen by its metrics",
    ),
    "no histogram": (
        {},
        {"popularity_start": False},
        "(no update clipped)",
        "updates clipped at 0.35 as there)",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_what_is_said_is_what_the_settings_do(case):
    privacy, federation, of_points, of_the_model = SETTINGS[case]
    config = from_dict(
        {
            "privacy": {"clipping_norm": 0.35, **privacy},
            "federation": {"rounds": 4, **federation},
            "sweep": {"epsilons": [8.0, math.inf], "seeds": [0]},
        }
    )
    clip = update_clip(same_model(config))
    points = [{"epsilon_target": epsilon, "epsilon": epsilon} for epsilon in (8.0, "inf")]
    same = {"seed": 0, "clipping_norm": None if clip is None else clip.norm}
    tree = {"schema": 1, "config": to_dict(config), "points": points}
    one, other = what_differs(Results.of({**tree, "references": {"same_model": same}}))
    assert one.startswith("The points without noise (inf) have the noised points' settings")
    assert of_points in one
    assert other.startswith("The reference same model has the noised points' settings")
    assert of_the_model in other


@pytest.mark.parametrize("private", [{}, {"model": {"lora_rank": 1}}], ids=["alike", "apart"])
@pytest.mark.parametrize(
    ("having", "words"),
    [
        ((), "exact moments, which the noised have not"),
        ((8.0,), "exact moments, which those at epsilon 2 have not"),
        ((2.0, 8.0), None),
    ],
)
def test_moments_that_noised_points_have_not_are_said(having, words, private):
    config = from_dict(
        {
            "model": {"moments_rank": 4},
            "private": private,
            "sweep": {"epsilons": [2.0, 8.0, math.inf], "seeds": [0]},
        }
    )
    points = [
        {
            "epsilon_target": epsilon,
            "epsilon": epsilon,
            "releases": {"moments": {}} if epsilon in (*having, "inf") else {},
        }
        for epsilon in (2.0, 8.0, "inf")
    ]
    tree = {"schema": 1, "config": to_dict(config), "points": points}
    told = what_differs(Results.of({**tree, "references": {"same_model": {"seed": 0}}}))
    assert len(told) == 2
    for line in told:
        assert words in line if words else "have not" not in line


def test_settings_that_are_none_are_no_error():
    points = [{"epsilon_target": epsilon, "epsilon": epsilon} for epsilon in (8.0, "inf")]
    (line,) = what_differs(Results.of({"schema": 1, "config": {"x": 1}, "points": points}))
    assert "no update clipped" in line
