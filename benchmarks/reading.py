"""Whether a causal language model that reads titles re-ranks what the vector model found.

    python benchmarks/reading.py --adapter RUN/adapters/eps-8-seed-0.safetensors

Zero-shot: after an instruction with the last ten titles, each of the twenty best items of the
vector model is scored by the mean log-likelihood of its title, less that of the title after the
instruction without a history (a title that is likely anyway says nothing of a person). Both are
standardised among the twenty; the blend is vector + w reading. w is chosen on the second but last
choice of some people (validation) and the figures are of the last choice of others (test), as the
share of people whose choice is among the first five of the twenty: nobody whose choice is not among
the twenty counts for or against. Results are kept in benchmarks/results/reading.json.

References
----------
TALLRec, https://arxiv.org/abs/2305.00447, trains such a prompt; here nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from client.serving.adapters import open_adapter
from client.serving.recommend import recommend
from client.words.facts import Items
from shared.model.sources.causal import CausalModel
from simulations.api.trained import Tried, people_of

RESULTS = Path(__file__).parent / "results" / "reading.json"
READ, NAMED, FIRST = 20, 10, 5  # items that are read again, titles of the history, what counts
WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0)
_PROMPT = "A person watched these films, in this order: {titles}. The next film they watch is"
_BARE = "The next film that somebody watches is"
Numbers = npt.NDArray[np.float64]


class Readers:
    """The vector model and the reader beside it, over one catalogue."""

    def __init__(self, adapter: Path, reader: str) -> None:
        self.people = people_of(Tried(adapter))
        self.trained = open_adapter(adapter, self.people)
        self.items = Items(self.people.catalogue)
        self.reader = CausalModel(reader)
        self._bare: dict[int, float] = {}
        self.seconds: list[float] = []

    def case(self, user: int, back: int) -> tuple[Numbers, Numbers, int] | None:
        """Standardised scores of the twenty by both, and the target's place; None if not there."""
        history = self.people.history(user)
        target, before = int(history[-back]), history[:-back]
        model, length = self.trained.recommender, self.trained.config.model.max_length
        found = recommend(model, before, length, READ)
        places = [one.item for one in found]
        if target not in places:
            return None
        began = time.process_time()
        read = self._read([int(item) for item in before[-NAMED:]], places)
        self.seconds.append(time.process_time() - began)
        return _standard([one.score for one in found]), _standard(read), places.index(target)

    def _read(self, history: list[int], items: list[int]) -> list[float]:
        titles = ", ".join(self.items[item].title for item in history)
        endings = [f" {self.items[item].title}" for item in items]
        after = self.reader.likelihoods(_PROMPT.format(titles=titles), endings)
        new = [item for item in items if item not in self._bare]
        if new:
            bare = self.reader.likelihoods(_BARE, [f" {self.items[item].title}" for item in new])
            self._bare |= dict(zip(new, bare, strict=True))
        return [value - self._bare[item] for value, item in zip(after, items, strict=True)]


def _standard(values: list[float]) -> Numbers:
    found = np.array(values)
    return (found - found.mean()) / max(float(found.std()), 1e-12)


def ranks(cases: list[tuple[Numbers, Numbers, int]], weight: float) -> Numbers:
    """Of every target among its twenty, from 0; ties count against it."""
    found = []
    for vector, read, target in cases:
        scores = vector + weight * read
        found.append(float((scores >= scores[target]).sum() - 1))
    return np.array(found)


def told(found: Numbers) -> dict[str, float]:
    """Share of targets among the first five, and mean reciprocal rank, with standard errors."""
    first, reciprocal = (found < FIRST).astype(float), 1 / (found + 1)
    error = len(found) ** -0.5
    return {
        "hr@5_of_20": round(float(first.mean()), 4),
        "hr@5_se": round(float(first.std(ddof=1) * error), 4),
        "mrr_of_20": round(float(reciprocal.mean()), 4),
        "mrr_se": round(float(reciprocal.std(ddof=1) * error), 4),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--reader", default="smollm2")
    parser.add_argument("--people", type=int, default=60, help="cases of each phase")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    readers = Readers(asked.adapter, asked.reader)
    enough = [u for u in range(len(readers.people)) if len(readers.people.history(u)) > NAMED + 2]
    order = random.Random(0).sample(enough, len(enough))
    half = len(order) // 2
    page: dict[str, Any] = {"reader": asked.reader, "read_again": READ, "titles": NAMED}
    weight = 0.0
    for phase, users, back in (("validation", order[:half], 2), ("test", order[half:], 1)):
        cases: list[tuple[Numbers, Numbers, int]] = []
        for user in users:
            if len(cases) == asked.people:
                break
            if case := readers.case(user, back):
                cases.append(case)
        weights = WEIGHTS if phase == "validation" else (0.0, weight)
        found = {f"weight {w:g}": told(ranks(cases, w)) for w in weights}
        if phase == "validation":
            weight = max(WEIGHTS, key=lambda w: float((1 / (ranks(cases, w) + 1)).mean()))
        alone = told(ranks([(read, read, at) for _, read, at in cases], 0.0))
        page[phase] = {"people": len(cases), **found, "reading alone": alone}
        if phase == "test":
            gain = 1 / (ranks(cases, weight) + 1) - 1 / (ranks(cases, 0.0) + 1)
            error = float(gain.std(ddof=1)) / len(gain) ** 0.5
            page["gain_mrr"] = [round(float(gain.mean()), 4), round(error, 4)]
        print(phase, json.dumps(page[phase]), flush=True)
    page |= {"weight": weight, "cpu_seconds_each": round(float(np.mean(readers.seconds)), 2)}
    asked.out.write_text(json.dumps(page, indent=1) + "\n")
    print(json.dumps(page, indent=1))


if __name__ == "__main__":
    main()
