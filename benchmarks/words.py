"""Whether what is said in words holds: no invented title, and the items that are named matter.

    starling simulate --data movielens-100k --rounds 3 --cohort 128 --epsilon 8 --layers 2 --out RUN
    python benchmarks/words.py --adapter RUN/adapters/eps-8-seed-0.safetensors --writer smollm2

Of 50 people drawn by a fixed seed, each one's profile and the reason for their first
recommendation, from the template and from the writer. Looked for are titles that are none of the
items that may be named, by a search of its own here and not by `client/words/check.py`: in what the
model wrote, and in what is shown. Then the deletion test, of 300 people: how much the score of the
first recommendation moves when the three items of the history that add most to it are deleted, and
when three others are, drawn at random (mean of five draws) from all that is read and from the
latest ten, since what was chosen last weighs most. Then what asking in words is worth, see
`asking`. All is kept in benchmarks/results/words.json; of texts only the ten that docs/words.md
quotes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from client.serving.adapters import Trained, open_adapter
from client.serving.reasons import case_of, weighing
from client.serving.recommend import Recommendation, explain, recommend
from client.words.facts import Items
from client.words.said import TEMPLATE, Said
from client.words.spoken import Speaker
from client.words.wish import WEIGHT, Reader, Wish
from client.words.writer import Writer, open_writer
from shared.data.population import Population
from shared.data.titles import titled, writings
from simulations.api.trained import Tried, people_of

RESULTS = Path(__file__).parent / "results" / "words.json"
PEOPLE, DELETED_PEOPLE, ASKING, FEWEST = 50, 300, 120, 10  # interactions of somebody who is asked
DELETED, DRAWS, RANKED, QUOTED, LATE, AT_ONCE = 3, 5, 10, 10, 10, 10
WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)  # of what is asked for; chosen on validation


class Search:
    """Titles in a text that are none of those that may be named, found without the check."""

    def __init__(self, people: Population) -> None:
        self._texts = people.catalogue.texts
        self._all = [name for text in self._texts for name in writings(titled(text)[0])]

    def __call__(self, text: str, items: list[int]) -> list[str]:
        """What is left of titles once those of `items` are taken out, longest first."""
        own = [name for item in items for name in writings(titled(self._texts[item])[0])]
        rest = re.sub("|".join(map(re.escape, sorted(own, key=len, reverse=True))), "_", text)
        dated = re.findall(r"[^_.,;]*[^\W_][^_.,;]*\((?:19|20)\d\d\)", rest)
        capital = re.findall(r"(?<![.!?;:])(?<!^)\s([A-Z][\w'-]*(?:\s[A-Z][\w'-]*)*)", rest)
        several = [name for name in self._all if " " in name and name in rest]
        return [found.strip() for found in {*dated, *capital, *several}]


class Bench:
    """People, the model that ranks for them, and what is drawn."""

    def __init__(self, adapter: Path, seed: int) -> None:
        self.people = people_of(Tried(adapter))
        self.trained: Trained = open_adapter(adapter, self.people)
        self.length = self.trained.config.model.max_length
        self.random = random.Random(seed)
        known = [u for u in range(len(self.people)) if len(self.people.history(u)) >= FEWEST]
        self.users = self.random.sample(known, min(len(known), DELETED_PEOPLE))

    def first(self, user: int, k: int = 1) -> list[Recommendation]:
        """The k best of a person."""
        return recommend(self.trained.recommender, self.people.history(user), self.length, k)

    def as_asked(self, history: Any, wish: Wish, weight: float) -> list[int]:
        """The ten best for a history and a wish of some weight."""
        fit = weight * wish.fit(len(self.people.catalogue))
        model = self.trained.recommender
        return [each.item for each in recommend(model, history, self.length, RANKED, (), fit)]

    def moves(self, user: int) -> dict[str, float]:
        """How far one person's first recommendation falls, and by what it was above the tenth."""
        history = self.people.history(user)[-self.length :]
        best = self.first(user, RANKED)
        one = best[0]
        named = [item for item, _ in one.history[:DELETED]]
        others = [item for item in history.tolist() if item not in named]
        late = [item for item in history[-LATE:].tolist() if item not in named]
        return {
            "leading": self._moved(history, named, one),
            "random": self._drawn(history, others, one),
            "late": self._drawn(history, late, one),
            "lead": one.score - best[-1].score,
        }

    def _drawn(self, history: Any, others: list[int], one: Recommendation) -> float:
        draws = [self.random.sample(others, DELETED) for _ in range(DRAWS)]
        return float(np.mean([self._moved(history, each, one) for each in draws]))

    def _moved(self, history: Any, deleted: list[int], one: Recommendation) -> float:
        left = history[~np.isin(history, deleted)]
        (now,) = explain(self.trained.recommender, left, self.length, [one.item])
        return abs(now.score - one.score)


def written(bench: Bench, users: list[int], writer: Writer | None) -> tuple[dict[str, Any], Any]:
    """Profiles and reasons of some people: how many hold, and what they say."""
    speaker, search = Speaker(bench.people.catalogue, writer), Search(bench.people)
    counted: dict[str, Any] = {}
    texts = []
    found = {user: bench.first(user, RANKED) for user in users}
    for kind in ("profile", "because"):
        began = time.process_time()
        if kind == "profile":
            told, allowed = _profiles(bench, speaker, found)
        else:
            told, allowed = _becauses(speaker, found)
        spent = time.process_time() - began
        others = [bool(search(each.text, own)) for each, own in zip(told, allowed, strict=True)]
        drafts = [
            any(search(part.sentence, own) for part in each.refused)
            for each, own in zip(told, allowed, strict=True)
        ]
        counted[kind] = {
            "people": len(users),
            "shown_with_other_titles": sum(others),
            "drafts_with_other_titles": sum(drafts),
            "shown_as_the_model_wrote": sum(each.by != TEMPLATE for each in told),
            "sentences_refused": sum(len(each.refused) for each in told),
            "cpu_seconds_each": round(spent / len(users), 2),
        }
        texts += [(kind, user, each) for user, each in zip(users, told, strict=True)]
        print(kind, counted[kind], flush=True)
    return counted, texts


def _profiles(
    bench: Bench, speaker: Speaker, found: dict[int, list[Recommendation]]
) -> tuple[list[Said], list[list[int]]]:
    """Profiles, and the items that each may name; a writer writes ten at a time."""
    histories = [bench.people.history(user) for user in found]
    weigh = [weighing(best) for best in found.values()]
    told: list[Said] = []
    for first in range(0, len(histories), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        told += speaker.profiles(histories[some], weigh[some])
    return told, [history.tolist() for history in histories]


def _becauses(
    speaker: Speaker, found: dict[int, list[Recommendation]]
) -> tuple[list[Said], list[list[int]]]:
    """Reasons for each one's first recommendation, and the items that each may name."""
    cases = [case_of(best[0], speaker.items) for best in found.values()]
    told: list[Said] = []
    for first in range(0, len(cases), AT_ONCE):
        told += speaker.because(cases[first : first + AT_ONCE])
    return told, [[case.item, *case.leading] for case in cases]


def deleted(bench: Bench) -> dict[str, Any]:
    """The deletion test, with 95% intervals of the ratio by bootstrap over people."""
    moved = [bench.moves(user) for user in bench.users]
    leads = np.array([each["leading"] for each in moved])
    others = np.array([each["random"] for each in moved])
    drawn = np.random.default_rng(0).integers(0, len(moved), (2000, len(moved)))
    ratios = leads[drawn].mean(1) / others[drawn].mean(1)
    return {
        "people": len(moved),
        "leading_3": float(leads.mean()),
        "random_3": float(others.mean()),
        "random_3_of_the_latest_10": float(np.mean([each["late"] for each in moved])),
        "lead_over_the_tenth": float(np.mean([each["lead"] for each in moved])),
        "ratio": float(leads.mean() / others.mean()),
        "ratio_95": [float(edge) for edge in np.quantile(ratios, (0.025, 0.975))],
        "people_with_twice": float((leads >= 2 * others).mean()),
    }


def asking(bench: Bench) -> dict[str, Any]:
    """120 people who ask for the kind, the decade or both of what they chose next.

    Shares of people whose next choice is among the ten best of all items that they have not met,
    and of these ten that have all that was asked for. Beside them the ten most popular of those
    that have it, by exact counts that no device has. The weight is chosen by the second but last
    choice (validation), the figures are of the last (test).
    """
    items, catalogue = Items(bench.people.catalogue), len(bench.people.catalogue)
    vectors = bench.trained.recommender.items.numpy()
    reader = Reader(items, vectors)  # kinds by their names: no encoder is asked
    counts = np.bincount(
        np.concatenate([bench.people.history(u)[:-2] for u in range(len(bench.people))]),
        minlength=catalogue,
    )
    found: dict[str, Any] = {}
    for phase, back in (("validation", 2), ("test", 1)):
        for form in ("{kind}", "from the {decade}s", "{kind} from the {decade}s"):
            rows: dict[str, list[list[float]]] = {}
            for user in bench.users[:ASKING]:
                history = bench.people.history(user)
                target, before = int(history[-back]), history[:-back]
                item = items[target]
                if not item.phrases or not item.year:
                    continue
                kind = min(item.phrases, key=lambda each: (items.counts[each], each))
                wish = reader.read(form.format(kind=kind, decade=item.decade))
                met = wish.fit(catalogue) == len(wish.parts)
                for weight in WEIGHTS if phase == "validation" else (0.0, WEIGHT):
                    best = bench.as_asked(before, wish, weight)
                    rows.setdefault(f"weight {weight:g}", []).append(
                        [target in best, float(met[best].mean())]
                    )
                popular = np.where(met, counts + 1.0, 0.0)
                popular[before] = -1
                best = np.argsort(-popular, kind="stable")[:RANKED].tolist()
                rows.setdefault("popular of these", []).append(
                    [target in best, float(met[best].mean())]
                )
            told = {name: np.mean(each, axis=0) for name, each in rows.items()}
            found[f"{phase}: {form}"] = {"people": len(rows["popular of these"])} | {
                name: {"hr@10": float(hit), "fits": float(fits)}
                for name, (hit, fits) in told.items()
            }
    return found


def quoted(texts: Any, people: Population) -> list[dict[str, Any]]:
    """Every tenth of what was written, good or bad."""
    every = max(1, len(texts) // QUOTED)
    return [
        {
            "kind": kind,
            "user": people.user_id(user),
            "by": said.by,
            "text": said.text,
            "refused": [[each.sentence, each.wrong] for each in said.refused],
        }
        for kind, user, said in texts[::every]
    ]


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--writer", default="smollm2")
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default="deletion,asking,template,writer", help="what to do")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(asked.adapter, asked.seed)
    users = bench.users[: asked.people]
    page: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    page |= {"data": bench.people.name, "seed": asked.seed}
    for part in asked.parts.split(","):
        page |= _measured(part, bench, users, asked.writer)
        asked.out.write_text(json.dumps(page, indent=1) + "\n")
    print(json.dumps({name: page[name] for name in page if name != "quoted"}, indent=1))


def _measured(part: str, bench: Bench, users: list[int], writer: str) -> dict[str, Any]:
    """One part of the page."""
    if part == "deletion":
        return {part: deleted(bench)}
    if part == "asking":
        return {part: asking(bench)}
    if part == TEMPLATE:
        return {part: written(bench, users, None)[0]}
    found, texts = written(bench, users, open_writer(writer))
    return {writer: found, "quoted": quoted(texts, bench.people)}


if __name__ == "__main__":
    main()
