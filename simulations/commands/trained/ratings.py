"""`starling ratings`: learning from chosen ratings, corrected, tried on random ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from shared.canonical import document
from simulations.commands.options import choices, numbers, takes

if TYPE_CHECKING:
    from simulations.causal import Found

_KINDS = ("naive_bayes", "popularity", "logistic", "given")


@dataclass(frozen=True)
class Rated:
    """The options of `starling ratings`."""

    data: Annotated[str, typer.Option(help="coat, or a folder of ratings (docs/causal.md).")]
    propensities: Annotated[
        str,
        typer.Option(help=" | ".join(_KINDS), autocompletion=choices(*_KINDS)),
    ] = _KINDS[0]
    bound: Annotated[float, typer.Option(help="Of a weight, over the mean one.")] = 10.0
    seeds: Annotated[str, typer.Option(help="Of what is set aside, and of the model.")] = "0"
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False


@takes(Rated)
def ratings(given: Rated) -> None:
    """Learn from ratings that people chose to give, corrected, and try it on random ones."""
    from simulations.show import waiting

    seeds = [int(seed) for seed in numbers("--seeds", given.seeds, int)]
    with waiting(f"learning from {given.data}"):
        from simulations.causal import compared, open_ratings

        found = compared(open_ratings(given.data), given.propensities, given.bound, seeds)
    if given.as_json:
        page = {"data": given.data, "propensities": given.propensities, "bound": given.bound}
        page |= {"seeds": seeds, "found": {name: asdict(one) for name, one in found.items()}}
        typer.echo(document(page))
        return
    _show(found, given)


def _show(found: Mapping[str, Found], given: Rated) -> None:
    from simulations.show import figures, show_table

    rows = [
        (name, f"{one.mse:.4f}", _ends(one.mse_gain), f"{one.ndcg:.4f}", _ends(one.ndcg_gain))
        for name, one in found.items()
    ]
    columns = ("learned", *figures("MSE", "better by (95%)", "NDCG@5", "better by (95%)"))
    title = f"Random ratings of {given.data}; propensities {given.propensities}"
    show_table(columns, rows, title)
    typer.echo(
        "Better than naive, paired: intervals over people, of means over seeds. Random ratings "
        "chose nothing."
    )


def _ends(gain: tuple[float, float, float]) -> str:
    return f"{gain[0]:+.4f} ({gain[1]:+.4f} to {gain[2]:+.4f})"
