"""New people and new items: what a few words, or texts alone, are worth before anybody knows more.

    python benchmarks/cold.py --data movielens-100k

Trains on what 700 people of the log did, without a tenth of the items (drawn by a fixed seed), at
epsilon 8. Then:

*People* who were never trained on, after their last 0, 1, 3, 5 choices; with a sentence that names
the two most frequent kinds of what they chose before (`client.words.wish`); with the three most
popular titles that they chose before, as if somebody had picked them from a list; with both. Ranked
is their last choice among all items that they have not met (full) and among 99 of these.

*Items* that nobody in training met, ranked among themselves: of everybody who chose one, the last
such choice, after what they chose before it. Beside the model stand the mean popularity of the
items of the same kinds, and chance.

Popularity is by exact counts of the training people, which no server has. Results are kept in
benchmarks/results/cold.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from client.serving.adapters import Trained, open_adapter
from client.words.facts import Items
from client.words.wish import WEIGHT, Reader
from shared.config import DataConfig
from shared.data.population import Population
from shared.data.windows import context_window
from simulations.api.experiment import simulate
from simulations.api.trained import Tried, people_of
from simulations.world.sources import open_population

RESULTS = Path(__file__).parent / "results" / "cold.json"
TRAINED, COLD, EPSILON = 700, 0.1, 8.0  # people; share of the items
NEGATIVES, AT = 99, 10
Scores = npt.NDArray[np.float64]


def write_log(folder: Path, people: Population, users: list[int], cold: set[int]) -> None:
    """What training sees: the whole catalogue, these people, and none of the cold items."""
    ids, texts = people.catalogue.item_ids, people.catalogue.texts
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("item", "text"), *zip(ids, texts, strict=True)])
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("user", "item", "timestamp"))
        for user in users:
            kept = [item for item in people.history(user).tolist() if item not in cold]
            rows.writerows((people.user_id(user), ids[item], at) for at, item in enumerate(kept))


class Ranking:
    """A trained model, and how it ranks."""

    def __init__(self, trained: Trained, items: Items) -> None:
        self._model, self._length = trained.recommender, trained.config.model.max_length
        self._items = items
        self.reader = Reader(items, self._model.items.numpy())

    @torch.no_grad()
    def scores(self, history: list[int], words: str = "") -> Scores:
        """Of all items, float64 [items]."""
        window = context_window(np.array(history, dtype=np.int64), self._length)
        found = self._model.score(self._model.state(torch.from_numpy(window)).total).numpy()
        fit = self.reader.read(words).fit(len(self._items))
        return np.asarray(found + WEIGHT * found.std() * fit, dtype=np.float64)


class Tally:
    """Ranks by condition; ties count against the target."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.hits: dict[str, list[tuple[float, float, float]]] = {}

    def add(self, scored: dict[str, Scores], target: int, rivals: list[int]) -> None:
        """One person's target among rivals, and among 99 of these: the same for all conditions."""
        few = self._random.sample(rivals, min(NEGATIVES, len(rivals)))
        for name, scores in scored.items():
            full = int((scores[rivals] >= scores[target]).sum())
            sampled = int((scores[few] >= scores[target]).sum())
            gain = 1 / np.log2(full + 2) if full < AT else 0.0
            self.hits.setdefault(name, []).append((full < AT, gain, sampled < AT))

    def told(self) -> dict[str, Any]:
        """Means over people, with standard errors."""
        found = {}
        for name, rows in self.hits.items():
            table = np.array(rows, dtype=float)
            mean, error = table.mean(0), table.std(0, ddof=1) / len(table) ** 0.5
            names = ("full_hr@10", "full_ndcg@10", "hr@10")
            found[name] = {
                key: round(float(each), 4) for key, each in zip(names, mean, strict=True)
            }
            found[name]["full_hr@10_se"] = round(float(error[0]), 4)
            found[name]["people"] = len(table)
        return found


def new_people(ranking: Ranking, counts: Scores, histories: list[list[int]], items: Items) -> Any:
    """Whom training never saw."""
    tally, everything = Tally(1), range(len(items))
    for history in histories:
        *before, target = history
        kinds = Counter(kind for item in before for kind in items[item].phrases)
        sentence = " and ".join(kind for kind, _ in kinds.most_common(2))
        picked = sorted(before, key=lambda item: -counts[item])[:3]
        met = ranking.reader.read(sentence).fit(len(items))
        scored = {
            "popularity": counts,
            "popularity of the kinds": met * (counts.max() + 1) + counts,
            "a sentence": ranking.scores([], sentence),
            "three titles": ranking.scores(picked),
            "a sentence and three titles": ranking.scores(picked, sentence),
        }
        for n in (0, 1, 3, 5):
            scored[f"last {n}"] = ranking.scores(before[len(before) - n :])
        known = set(history)
        tally.add(scored, target, [item for item in everything if item not in known])
    return tally.told()


def new_items(
    ranking: Ranking, counts: Scores, histories: list[list[int]], cold: set[int], items: Items
) -> Any:
    """Whom nobody in training met."""
    warm = [item for item in range(len(items)) if item not in cold]
    of_kind: dict[str, list[float]] = {}
    for item in warm:
        for kind in items[item].phrases:
            of_kind.setdefault(kind, []).append(float(counts[item]))
    means = {kind: float(np.mean(found)) for kind, found in of_kind.items()}
    alike = [
        float(np.mean([means.get(kind, 0.0) for kind in items[item].phrases] or [0.0]))
        for item in range(len(items))
    ]
    tally, drawn = Tally(2), np.random.default_rng(3)
    for history in histories:
        places = [place for place, item in enumerate(history) if item in cold]
        if not places or not [item for item in history[: places[-1]] if item not in cold]:
            continue
        before = [item for item in history[: places[-1]] if item not in cold]
        scored = {
            "model": ranking.scores(before),
            "popularity of the kinds": np.array(alike),
            "chance": drawn.random(len(items)),
        }
        known = set(history)
        tally.add(scored, history[places[-1]], [item for item in sorted(cold) if item not in known])
    return tally.told()


def main() -> None:
    """Train, measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="movielens-100k")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    people = open_population(DataConfig(spec=asked.data))
    items, drawn = Items(people.catalogue), random.Random(asked.seed)
    order = drawn.sample(range(len(people)), len(people))
    users, others = order[:TRAINED], order[TRAINED:]
    cold = set(drawn.sample(range(len(items)), round(COLD * len(items))))
    seen = [people.history(user).tolist() for user in users]
    counts = np.bincount([i for h in seen for i in h if i not in cold], minlength=len(items))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "log"
        folder.mkdir()
        write_log(folder, people, users, cold)
        run = simulate(
            data=str(folder), epsilon=[EPSILON], rounds=asked.rounds, cohort=128, layers=2,
            references=[], seeds=[asked.seed], out=str(Path(place) / "run"), quiet=True,
        )  # fmt: skip
        file = run.adapter(EPSILON).path
        ranking = Ranking(open_adapter(file, people_of(Tried(file))), items)
        known = [[i for i in people.history(u).tolist() if i not in cold] for u in others]
        page = {
            "data": asked.data,
            "seed": asked.seed,
            "epsilon": EPSILON,
            "rounds": asked.rounds,
            "people": new_people(
                ranking, counts.astype(float), [h for h in known if len(h) > 5], items
            ),
            "items": new_items(ranking, counts.astype(float), seen, cold, items),
        }
    asked.out.write_text(json.dumps(page, indent=1) + "\n")
    print(json.dumps(page, indent=1))


if __name__ == "__main__":
    main()
