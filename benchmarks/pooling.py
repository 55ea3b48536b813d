"""Which pooling a model gets as an encoder of items, by a criterion on the items' texts alone.

    python benchmarks/pooling.py --models minilm,smollm2 --data world --items 300

Prints the agreement of attributes (`shared.model.sources.pooling.attribute_agreement`) of the four
ways to make a vector of a text, and which one that chooses. No interaction is read. The choice for
the bundled models stands in `shared/model/sources/choice.py`; docs/backbones.md has the figures.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from shared.data.attributes import EXTRA  # noqa: E402 (after the path)
from shared.data.sources import open_items  # noqa: E402 (after the path)
from shared.errors import ModelError  # noqa: E402 (after the path)
from shared.model.backbone import resolve  # noqa: E402 (after the path)
from shared.model.items import item_vectors  # noqa: E402 (after the path)
from shared.model.sources.choice import CHOSEN  # noqa: E402 (after the path)
from shared.model.sources.pooling import attribute_agreement  # noqa: E402 (after the path)
from simulations.world.world import World  # noqa: E402 (after the path)

WAYS = ("mean", "mean_apart", "last", "last_apart")


def texts_of(data: str, most: int) -> list[str]:
    """Texts of at most so many items, drawn by a fixed seed."""
    catalogue = World(users=2).catalogue if data == "world" else open_items(data)
    texts = list(catalogue.texts)
    return random.Random(0).sample(texts, min(most, len(texts)))


def main() -> None:
    """Print a table for every model and catalogue."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="minilm,smollm2")
    parser.add_argument("--data", default="world", help="catalogues, with commas")
    parser.add_argument("--items", type=int, default=300)
    asked = parser.parse_args()
    print("| model | catalogue | items | " + " | ".join(WAYS) + " | highest | in use |")
    print("|---" * (5 + len(WAYS)) + "|")
    for model in asked.models.split(","):
        try:
            source = resolve(model)
        except ModelError as error:
            print(f"skipped: {error}")
            continue
        used = CHOSEN.get(source.digest, "mean")
        for data in asked.data.split(","):
            texts = texts_of(data, asked.items)
            found = {}
            for way in WAYS:
                vectors = item_vectors(texts, source, pooling=way)
                found[way] = attribute_agreement(vectors[:, :-EXTRA], texts)
            cells = " | ".join(f"{found[way]:.3f}" for way in WAYS)
            best = max(found, key=found.__getitem__)
            print(f"| {model} | {data} | {len(texts)} | {cells} | {best} | {used} |", flush=True)


if __name__ == "__main__":
    main()
