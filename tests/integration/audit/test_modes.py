"""Every way to be private, audited: correct code violates nothing, whatever can be shown of it."""

import pytest

from simulations.audit.run import Depth, run_parts
from simulations.sweep.sweep import run_sweep
from tests.support.auditing.tried import settings

MODES = {
    "user, distributed": {
        "privacy": {"trust": "distributed", "min_survivors": 0.5, "metrics_share": 0.0},
        "federation": {"cohort": 1.0, "metrics_cohort": 1.0},
    },
    "example, central": {
        "privacy": {"unit": "example", "metrics_share": 0.0, "histogram_share": 0.0},
        "federation": {"popularity_start": False},
    },
    "example, local": {
        "privacy": {
            "unit": "example",
            "trust": "local",
            "metrics_share": 0.0,
            "histogram_share": 0.0,
        },
        "federation": {"popularity_start": False, "cohort": 0.2},
    },
    "dp_ftrl": {
        "privacy": {"mechanism": "dp_ftrl", "metrics_share": 0.0},
        "federation": {"cohort": 0.2, "server_optimizer": "fedavgm"},
    },
    "an adaptive clip": {"privacy": {"adaptive_clipping": 0.5}},
    "released once": {"federation": {"rounds": 0}, "privacy": {"metrics_share": 0.0}},
    "moments": {"model": {"moments_rank": 4}, "federation": {"cohort": 1.0}},
    "alternating": {"federation": {"aggregation": "alternating"}},
    "sums under masks": {"federation": {"secure_aggregation": "on", "cohort": 1.0, "rounds": 1}},
}
SWEEP = {"sweep": {"epsilons": [8.0], "references": []}}
SHOWN = {
    "dp_ftrl",
    "user, distributed",
    "example, local",
    "moments",
    "sums under masks",
    "an adaptive clip",
}


SLOW = {"an adaptive clip", "alternating", "sums under masks"}


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[pytest.mark.slow] * (mode in SLOW)) for mode in MODES]
)
def test_nothing_is_violated(mode, tiny_bert, tmp_path):
    config = settings(tiny_bert, **SWEEP | MODES[mode])
    run_sweep(config, tmp_path, quiet=True)
    parts = list(run_parts(tmp_path, None, Depth(quick=True, canaries=40), lambda what: None))
    found = [each for part in parts for each in (*part.findings, *part.controls)]
    assert [each for each in found if each.verdict == "violated"] == []
    if mode in SHOWN:
        needed = {
            each.name: each.verdict for part in parts for each in part.findings if each.required
        }
        assert len(needed) > 1
        assert set(needed.values()) == {"holds"}
