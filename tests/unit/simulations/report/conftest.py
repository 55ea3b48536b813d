"""A sweep's results as the sweep writes them, with invented numbers."""

import copy

import pytest

from simulations.compare import BASELINES, METRICS, Difference


def _meaning(groups):
    return {
        "exceeds": 0.0005,
        "group": 1,
        "groups": groups,
        "seen": [{"sums": 2, "epsilon": 9.5}, {"sums": 5, "epsilon": 17.25}],
    }


def _point(target, epsilon, seed, hit, full):
    private = epsilon != "inf"
    noise = 3.4 / target if private else 0.0
    return {
        "epsilon_target": target,
        "epsilon": epsilon,
        "epsilon_rdp": epsilon * 1.08 if private else "inf",
        "epsilon_prv": epsilon * 1.01 if private else "inf",
        **({"meaning": _meaning({"2": 19.8, "4": "inf"})} if private else {}),
        "delta": 1e-4,
        "unit": "user",
        "relation": "zero_out",
        "trust": "central",
        "adversary": "anyone who sees every released model, but not who was sampled",
        "noise_multiplier": noise,
        "histogram_noise_multiplier": 9.5 if private else None,
        "rounds": 6,
        "sampling_probability": 0.25,
        "cohort": 235.75,
        "clipping_norm": 0.5,
        "seed": seed,
        "metrics": {
            "hr@10": hit,
            "hr@10_se": 0.016,
            "ndcg@10": hit * 0.6,
            "ndcg@10_se": 0.01,
            "full_hr@10": full,
            "full_hr@10_se": 0.01,
            "full_ndcg@10": full * 0.5,
            "full_ndcg@10_se": 0.007,
            "mrr": hit * 0.5,
            "users": 943,
        },
        "validation": {"hr@10": hit + 0.01},
        "metrics_status": "evaluator only, not released",
        "communication_bytes": {"up": 123_456_789, "down": 987_654_321},
        "trained_parameters": 22_016,
        "seconds": 412.7,
        "ledger": {
            "file": f"ledger-eps{target}-seed{seed}.jsonl",
            "entries": 7,
            "head": "ab" * 32,
            "signature": "cd" * 64,
        },
        "history": [
            {
                "round": index + 1,
                "participants": 230 + index,
                "signal_norm": 10.0 / (index + 1),
                "noise_norm": 40.0 * noise,
            }
            for index in range(6)
        ],
    }


_HITS = {1.0: 0.40, 2.0: 0.44, 4.0: 0.48, 8.0: 0.52, "inf": 0.71}

RESULTS = {
    "schema": 1,
    "starling": "0.1.0",
    "complete": True,
    "data": {
        "spec": "movielens-100k",
        "name": "MovieLens-100K",
        "users": 943,
        "items": 1682,
        "interactions": 100_000,
        "evaluated_users": 943,
        "negatives": 99,
    },
    "config": {
        "federation": {"rounds": 6, "cohort": 235.75},
        "sweep": {"epsilons": [1.0, 2.0, 4.0, 8.0, "inf"], "seeds": [0, 1, 2]},
    },
    "environment": {"python": "3.11.9", "torch": "2.13.0", "device": "cpu"},
    "points": [
        _point(target, target if target == "inf" else target * 0.998, seed, hit + d, hit / 4 + d)
        for target, hit in _HITS.items()
        for seed, d in enumerate((-0.012, 0.003, 0.009))
    ],
    "references": {
        "popularity": {"metrics": {"hr@10": 0.419, "ndcg@10": 0.231, "full_hr@10": 0.05}},
        "zero_shot": {"metrics": {"hr@10": 0.21, "ndcg@10": 0.11, "full_hr@10": 0.02}},
        "local_only": {"metrics": {"hr@10": 0.24, "ndcg@10": 0.12, "full_hr@10": 0.024}},
        "centralized": {
            "metrics": {
                "hr@10": 0.768,
                "hr@10_se": 0.014,
                "ndcg@10": 0.476,
                "full_hr@10": 0.196,
                "full_ndcg@10": 0.102,
            }
        },
    },
}


@pytest.fixture
def results():
    """Five epsilons and three seeds, with references; free to alter."""
    return copy.deepcopy(RESULTS)


def _inner():
    """An example-level claim, of another delta, beside a point's own."""
    return {
        "epsilon_target": 3.0,
        "epsilon": 2.75,
        "epsilon_rdp": 3.1,
        "epsilon_prv": 2.76,
        "meaning": _meaning({"2": 6.5, "5": 24.75}),
        "delta": 2e-5,
        "unit": "example",
        "relation": "zero_out",
        "trust": "local",
        "adversary": "the server",
        "noise_multiplier": 1.5,
        "histogram_noise_multiplier": 4.0,
        "sampling_probability": 0.5,
        "clipping_norm": 0.1,
        "ledger": {
            "file": "devices/eps-1",
            "entries": 99,
            "head": "0" * 64,
        },
    }


@pytest.fixture
def both(results):
    """The same with an example-level guarantee beside every private point's own."""
    for point in results["points"]:
        if point["epsilon"] != "inf":
            point["example"] = _inner()
    results["config"]["train"] = {"max_windows": 5}
    return results


@pytest.fixture
def by_example(results):
    """The same, with example-level guarantees only."""
    for point in results["points"]:
        if point["epsilon"] != "inf":
            inner = _inner()
            point.update(
                {name: inner[name] for name in ("unit", "trust", "adversary", "delta", "meaning")}
            )
    results["config"]["train"] = {"max_windows": 5}
    return results


def beside(part, reference, error=0.01):
    """What a part states of itself beside a reference of its own people."""
    one, other = part["metrics"], reference["metrics"]
    pairs = {name: (one[name] - other[name], error) for name in METRICS}
    return {
        name: {**Difference.over([pair], one["users"]).stated(), "se": error}
        for name, pair in pairs.items()
    }


@pytest.fixture
def compared(results):
    """The same with a reference `same_model`, and what each point states beside the others."""
    return with_same_model(results)


def with_same_model(results):
    references = results["references"]
    references["same_model"] = {
        "metrics": dict(results["points"][9]["metrics"]),
        "seed": 0,
        "clipping_norm": 0.5,
    }
    for reference in references.values():
        reference["metrics"].setdefault("full_hr@10", 0.05)
        reference["metrics"].setdefault("full_ndcg@10", 0.025)
    results["config"]["private"] = {
        "federation": {"rounds": 6, "cohort": 0.5},
        "model": {"rank": 1},
    }
    results["config"]["model"] = {"rank": 4}
    return restated(results)


def restated(results):
    """With all comparisons as they follow from the metrics."""
    known = {k: v for k, v in results["references"].items() if k in BASELINES}
    same = results["references"]["same_model"]
    for point in results["points"]:
        others = known if point["epsilon"] == "inf" else {**known, "same_model": same}
        point["compared"] = {name: beside(point, other) for name, other in others.items()}
    same["compared"] = {name: beside(same, other) for name, other in known.items()}
    return results
