"""`starling evaluate` and `starling recommend`: use an adapter that a run released."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Column, Table
from torch import Tensor

from client.serving.adapters import Trained, open_adapter, read_adapter
from client.serving.recommend import Recommendation, recommend
from client.training.personal import PersonalTensors
from shared.aggregation import rule_of
from shared.config import DataConfig, EngineConfig
from shared.data.catalogue import Catalogue
from shared.data.population import Population, history_of, smallest
from shared.data.protocol import Protocol, negatives_in_words, protocol_warnings
from shared.data.salted import SaltedDigest
from shared.data.split import Phase
from shared.errors import ConfigError, DataError
from shared.metrics import NOT_RELEASED, ranking_metrics
from shared.model.adapter import install
from shared.privacy import sentences
from shared.privacy.ledger.promise import in_words, read_promise
from shared.run_files import RunFolder, run_files
from simulations.commands.options import takes
from simulations.console import Console
from simulations.engine.cohort import CohortEngine
from simulations.engine.ranking import personal_file
from simulations.world.sources import open_population

_Data = Annotated[str, typer.Option(help="world, a known name, or a path.")]
_Columns = Annotated[
    str | None, typer.Option(help="What its files call them: user=userId,item=movieId.")
]
_Adapter = Annotated[Path, typer.Option(help="DIR/adapters/NAME.safetensors of a run.")]
_Users = Annotated[
    int | None, typer.Option(min=1, help="Only N of the users; default: as trained.")
]
_Seed = Annotated[
    int | None, typer.Option(min=0, help="Of the synthetic world; default: as trained.")
]


@dataclass(frozen=True)
class Evaluated:
    """The options of `starling evaluate`."""

    data: _Data
    adapter: _Adapter
    phase: Annotated[str, typer.Option(help="test | validation")] = "test"
    users: _Users = None
    columns: _Columns = None
    world_seed: _Seed = None
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False


@takes(Evaluated)
def evaluate_adapter(given: Evaluated) -> None:
    """Rank held-out items with a trained adapter."""
    adapter, phase = given.adapter, given.phase
    if phase not in ("test", "validation"):
        raise ConfigError(f"--phase {phase}: expected test or validation")
    population = _population(given)
    trained = open_adapter(adapter, population)
    asked = smallest(population.keys, trained.config.data.evaluated_users)
    protocol = _protocol(population, asked, trained.config.data.negatives)
    engine = CohortEngine(population, trained.recommender, EngineConfig())
    own = own_tensors(adapter, trained, population)
    config, promise = trained.config, read_promise(adapter)
    metrics = ranking_metrics(
        *engine.evaluate(asked, trained.adapter, cast(Phase, phase), config, own.personal)
    )
    if given.as_json:
        told = {"note": own.note} if own.note else {}
        page: dict[str, object] = {"data": population.name, "phase": phase, "metrics": metrics}
        page |= {"metrics_status": NOT_RELEASED, "promise": promise}
        page |= {**protocol, "warnings": protocol_warnings(protocol)}
        typer.echo(json.dumps(page | told))
        return
    title = f"{population.name}, {phase}, {metrics['users']:.0f} users"
    figures = (Column(name, justify="right") for name in ("value", "95% +- over users"))
    table = Table("metric", *figures, title=title)
    for name, value in metrics.items():
        if name != "users" and not name.endswith("_se"):
            error = metrics.get(f"{name}_se")
            table.add_row(name, f"{value:.4f}", "-" if error is None else f"{1.96 * error:.4f}")
    Console().print(table)
    typer.echo(f"HR, NDCG and MRR are {negatives_in_words(protocol)}; full: among all items.")
    for warning in protocol_warnings(protocol):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(sentences.measured())
    typer.echo(in_words(promise))
    if own.note:
        Console().print(own.note)


def _protocol(population: Population, asked: Sequence[int], wanted: int) -> dict[str, Any]:
    """What can be asked of those people, as it is stated; refused where nobody can be."""
    lengths = [len(history_of(population, user)) for user in asked]
    found = Protocol.of(lengths, len(population.catalogue), wanted)
    if found.why_nobody:
        raise DataError(f"{population.name}: {found.why_nobody}")
    return found.stated()


@dataclass(frozen=True)
class Asked:
    """The options of `starling recommend`."""

    data: _Data
    adapter: _Adapter
    user: Annotated[str, typer.Option(help="A user of the log, by identifier.")]
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10
    explain: Annotated[bool, typer.Option("--explain", help="Say why.")] = False
    users: _Users = None
    columns: _Columns = None
    world_seed: _Seed = None
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False


@takes(Asked)
def recommend_items(asked: Asked) -> None:
    """Recommend items to one user, and say why."""
    population = _population(asked)
    trained = open_adapter(asked.adapter, population)
    index = population.user_index(asked.user)
    own = own_tensors(asked.adapter, trained, population)
    mine = own.adapter(trained.adapter, population.keys[index])
    install(trained.recommender, trained.schema, mine)
    history = population.history(index)
    found = recommend(trained.recommender, history, trained.config.model.max_length, asked.k)
    promise = read_promise(asked.adapter)
    if asked.as_json:
        rows = [_plain(one, population.catalogue) for one in found]
        told = {"note": own.note} if own.note else {}
        page = {"user": asked.user, "recommendations": rows, "promise": promise}
        typer.echo(json.dumps(page | told))
        return
    Console().print(_table(found, population, asked.user, asked.explain))
    if asked.explain:
        Console().print(_note(trained))
    typer.echo(in_words(promise))
    if own.note:
        Console().print(own.note)


def _population(asked: Evaluated | Asked) -> Population:
    """The users that the adapter was trained on, where the same data is named again."""
    trained = read_adapter(asked.adapter)[1]
    data, same = trained.data, trained.data.spec == asked.data
    # Another log is another experiment: nothing of the trained one's digests holds for it.
    chosen = DataConfig(
        spec=asked.data,
        columns=data.columns if same and asked.columns is None else asked.columns,
        users=data.users if same and asked.users is None else asked.users,
        world_seed=(data.world_seed if same else 0)
        if asked.world_seed is None
        else asked.world_seed,
        world_items=data.world_items,
    )
    return open_population(chosen, trained.world)


def _table(found: list[Recommendation], population: Population, user: str, explain: bool) -> Table:
    catalogue = population.catalogue
    title = f"For user {user} of {population.name}"
    why = ("why",) if explain else ()
    table = Table("item", Column("score", justify="right"), *why, title=title)
    for one in found:
        row = [catalogue.texts[one.item], f"{one.score:.2f}"]
        table.add_row(*row, *([_why(one, catalogue)] if explain else []))
    return table


def _why(one: Recommendation, catalogue: Catalogue) -> str:
    liked = [f"{catalogue.texts[item]} {share:+.2f}" for item, share in one.history[:3]]
    rest = sum(share for _, share in one.history[3:])
    parts = [*liked, f"rest of the history {rest:+.2f}"] if liked else []
    parts += [f"popularity {one.popularity:+.2f}", f"language model {one.language_model:+.2f}"]
    return "; ".join(parts)


def _note(trained: Trained) -> str:
    return (
        "The parts of a line add up to its score. Item texts: what their likeness to the "
        f"candidate adds, the latest of the last {trained.config.model.max_length} weighing most. "
        "Popularity: the item's bias. Language model: what reading the history in order adds, "
        "not taken apart."
    )


def _plain(one: Recommendation, catalogue: Catalogue) -> dict[str, object]:
    return {
        "item": catalogue.item_ids[one.item],
        "text": catalogue.texts[one.item],
        "score": one.score,
        "popularity": one.popularity,
        "language_model": one.language_model,
        "history": [
            {"item": catalogue.item_ids[item], "text": catalogue.texts[item], "share": share}
            for item, share in one.history
        ],
    }


@dataclass(frozen=True)
class PersonalState:
    """People's own tensors beside an adapter, where the rule has such.

    An adapter file holds what is shared; what stays on devices is beside it in a simulation's
    folder, and with nobody who was only given the file.

    Attributes
    ----------
    note : str
        What people are ranked with, in words; empty where nothing stays on devices.
    personal : PersonalTensors or None
        As they stood after the last round; None ranks everyone with the adapter as it stands.
    """

    note: str = ""
    personal: PersonalTensors | None = None

    def adapter(self, shared: Tensor, key: int) -> Tensor:
        """The adapter [dim] of the person with a key."""
        return shared if self.personal is None else self.personal.adapters(shared, [key])[0]


def own_tensors(file: Path, trained: Trained, population: Population) -> PersonalState:
    """What lies beside an adapter file of people of this population.

    Parameters
    ----------
    file : Path
        DIR/adapters/NAME.safetensors.
    """
    config, schema = trained.config, trained.schema
    if not rule_of(config).personal(schema.names):
        return PersonalState()
    folder = file.resolve().parents[1]
    kept, data = personal_file(run_files(folder, file.stem).devices), RunFolder(folder).data
    name = f"federation.aggregation = {config.federation.aggregation}"
    same = data.exists() and SaltedDigest.read(data).matches(population)
    if kept is None or not kept.exists() or not same:
        return PersonalState(
            note=f"{name}: B stays on the devices, and none of these people's is here; ranked with "
            "what is shared and the initial B"
        )
    personal = PersonalTensors(config, schema, config.federation.rounds, kept)
    mine = personal.trained(population.keys)
    return PersonalState(
        f"{name}: ranked with everyone's own B of {kept.name} ({mine} of {len(population)} people "
        "trained one), which is not in the adapter file",
        personal,
    )
