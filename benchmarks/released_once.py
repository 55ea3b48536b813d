"""How much of a budget moments should have, and what they should weigh, by logs of other kinds.

    python benchmarks/released_once.py [--data SPEC ...]

Ranks validation items by what is released once and public features alone, without the language
model, under the noise of several budgets: for every split of a budget, with each of `SCALES` as
`model.moments_scale`. What is committed was chosen by the first three logs, on none of which a
headline is reported; the others only show what it does there. Prints a line for each, and writes
`benchmarks/results/released_once.json`. Some 10 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import prior
import torch

from client.training.evaluate import target_ranks
from shared.data.split import held_out
from shared.data.windows import context_window
from shared.metrics import ranking_metrics
from shared.model.affinities import MOMENTS, PRIOR
from shared.privacy.contribution.histogram import WEIGHTS
from shared.privacy.plan.split import one_release

RESULTS = Path(__file__).parent / "results" / "released_once.json"
CHOSEN_BY = ("world", "amazon-software", "movielens-latest-small")
SHOWN = ("movielens-100k", "movielens-1m")
PEOPLE = {"world": 1000, "movielens-1m": 943}  # of a log; of the others all
SPLITS = ((1.0, 0.0), (0.6, 0.4), (0.25, 0.75))  # histogram, moments
EPSILONS = (1.0, 2.0, 8.0)
SCALES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
METRICS = ("hr@10", "hr@10_se", "ndcg@10", "full_hr@10", "full_ndcg@10")


def ranked(log: prior.Log, known: prior.Known, weights: torch.Tensor) -> list[dict[str, Any]]:
    """Validation metrics of everybody, of each row of weights [n, features]."""
    items, config = len(known.terms[0]), log.config
    every, found = torch.arange(items), []
    for user, history in zip(log.bench.users, log.histories, strict=True):
        case = held_out(history, "validation", items)
        if case is None:
            continue
        window = context_window(case.context, config.model.max_length)
        window = window[window >= 0]  # without the place before the first
        scores = (weights @ known.features(torch.from_numpy(window), every)).numpy()
        of = (target_ranks(row, history, case, config.data.negatives, user) for row in scores)
        found.append(list(of))
    ranks = np.array(found)  # [people, weights, sampled and full]
    told = (ranking_metrics(*ranks[:, n].T.tolist()) for n in range(len(weights)))
    return [{name: round(each[name], 4) for name in METRICS} for each in told]


def weights_at(scale: float) -> list[float]:
    """`PRIOR` and `WEIGHTS` in a row, the moments' scaled."""
    scaled = {name: scale if name == MOMENTS else 1.0 for name in PRIOR}
    return [scaled[name] * weight for name, row in PRIOR.items() for weight in row] + [*WEIGHTS]


def main() -> None:
    """Measure, show, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=[*CHOSEN_BY, *SHOWN])
    torch.set_num_threads(1)
    rows = []
    for spec in parser.parse_args().data:
        log, began = prior.Log(spec, PEOPLE.get(spec)), time.monotonic()
        people = len(log.histories)
        for epsilon in EPSILONS:
            told = people * one_release(epsilon, prior.DELTA)
            for split in SPLITS:
                known = log.known(epsilon, *split)
                scales = SCALES if split[1] else (1.0,)
                weights = torch.tensor([weights_at(each) for each in scales])
                for each, metrics in zip(scales, ranked(log, known, weights), strict=True):
                    row = {"log": spec, "people": people, "epsilon": epsilon, "n_mu": round(told)}
                    row |= {"split": split, "scale": each} | metrics
                    rows.append(row)
                    print(*row.values(), flush=True)
        print(f"{spec}: {time.monotonic() - began:.0f} s", flush=True)
    found = {"delta": prior.DELTA, "seed": prior.SEED, "weights": PRIOR, "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
