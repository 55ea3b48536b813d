"""An adapter that a run released: who promises what of it, and what it recommends.

The model enters when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simulations.api.words import in_python

if TYPE_CHECKING:
    from pandas import DataFrame

    from client.words.said import Said


class Adapter:
    """One adapter, tried on the people whom it was trained on.

    Parameters
    ----------
    path : Path
        DIR/adapters/NAME.safetensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def promise(self) -> Mapping[str, Any] | None:
        """What the file says of its own guarantee; nobody checked it but `Run.verify`.

        Its epsilon, delta, unit and adversary; None for one without noise.
        """
        from shared.privacy.ledger.promise import read_promise

        with in_python():
            return read_promise(self.path)

    def recommend(self, user: str, k: int = 10) -> DataFrame:
        """The k best items that a person has not met, best first.

        Returns
        -------
        DataFrame
            `item`, `text`, `score`, the parts that add up to it: `popularity`,
            `language_model`, and `history`, what likeness to the person's own items adds; and
            `because`, why in a sentence.
        """
        from pandas import DataFrame

        from simulations.api.tastes import explained
        from simulations.api.trained import Tried, recommended

        with in_python():
            found = recommended(Tried(self.path), user, k)
            because = explained(found, "template")
        rows = [
            {
                "item": found.people.catalogue.item_ids[one.item],
                "text": found.people.catalogue.texts[one.item],
                "score": one.score,
                "popularity": one.popularity,
                "language_model": one.language_model,
                "history": sum(share for _, share in one.history),
                "because": why.text,
            }
            for one, why in zip(found.items, because, strict=True)
        ]
        return DataFrame(rows)

    def profile(self, user: str, writer: str = "template") -> Said:
        """A person's taste in words; see docs/words.md.

        Parameters
        ----------
        user : str
        writer : str
            `template`, or a causal language model such as `smollm2`.

        Returns
        -------
        Said
            `text`, `by` whom, and what the writer wrote that is `refused`.
        """
        from simulations.api.tastes import profiled_with
        from simulations.api.trained import Tried

        with in_python():
            return profiled_with(Tried(self.path), user, writer)[0]

    def evaluate(self, phase: Literal["test", "validation"] = "test") -> Mapping[str, float]:
        """Metrics by name over the people: exact, and so for the evaluator alone."""
        from simulations.api.trained import Tried, evaluated

        with in_python():
            metrics: Mapping[str, float] = evaluated(Tried(self.path), phase)["metrics"]
        return metrics

    def export_peft(self, folder: str | Path, base: str = "") -> Path:
        """Write it as a folder that plain `transformers` and `peft` load, with a model card.

        Parameters
        ----------
        folder : str or Path
            A new one.
        base : str
            The base model on the hub, where the run names a folder.
        """
        from simulations.exported import export_peft

        with in_python():
            return export_peft(self.path, Path(folder), base)

    def __repr__(self) -> str:
        return f"Adapter({str(self.path)!r})"
