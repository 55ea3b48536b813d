"""The people that an adapter is tried on, and what of it stayed with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from client.serving.adapters import Trained, open_adapter, read_adapter
from client.serving.asking import read_wish, recommend_as_asked
from client.serving.recommend import Recommendation
from client.training.personal import PersonalTensors
from client.words.facts import Items
from client.words.wish import Wish
from shared.aggregation import rule_of
from shared.config import DataConfig, EngineConfig
from shared.data.population import Population, history_of, smallest
from shared.data.protocol import Protocol, protocol_warnings
from shared.data.salted import SaltedDigest
from shared.errors import DataError
from shared.metrics import NOT_RELEASED, ranking_metrics
from shared.model.adapter import install
from shared.privacy.ledger.promise import read_promise
from shared.run_files import RunFolder, run_files
from simulations.engine.cohort import CohortEngine
from simulations.engine.ranking import personal_file
from simulations.world.sources import open_population

# The promise stands in the adapter's file, and whoever made that wrote it.
NOT_VERIFIED = {"promise_verified": False, "promise_verified_by": "starling verify FOLDER"}

Phase = Literal["test", "validation"]


@dataclass(frozen=True)
class Tried:
    """On whom an adapter is tried; what is None is as it was trained.

    Attributes
    ----------
    adapter : Path
        DIR/adapters/NAME.safetensors.
    data, columns : str or None
        As `data.spec`, `data.columns`.
    users, world_seed : int or None
        As `data.users`, `data.world_seed`.
    """

    adapter: Path
    data: str | None = None
    columns: str | None = None
    users: int | None = None
    world_seed: int | None = None


def people_of(given: Tried) -> Population:
    """The users that the adapter was trained on, where the same data is named again."""
    trained = read_adapter(given.adapter)[1]
    data, seed = trained.data, given.world_seed
    spec = data.spec if given.data is None else given.data
    same = data.spec == spec
    # Another log is another experiment: nothing of the trained one's digests holds for it.
    chosen = DataConfig(
        spec=spec,
        columns=data.columns if same and given.columns is None else given.columns,
        users=data.users if same and given.users is None else given.users,
        world_seed=(data.world_seed if same else 0) if seed is None else seed,
        world_items=data.world_items,
    )
    return open_population(chosen, trained.world)


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
    personal = PersonalTensors(config, schema, config.federation.fixed_rounds, kept)
    mine = personal.trained(population.keys)
    return PersonalState(
        f"{name}: ranked with everyone's own B of {kept.name} ({mine} of {len(population)} people "
        "trained one), which is not in the adapter file",
        personal,
    )


@dataclass(frozen=True)
class Recommended:
    """What one person is recommended, and by what.

    Attributes
    ----------
    items : list of Recommendation
    people : Population
    trained : Trained
    note : str
        What people are ranked with; empty where nothing stays on devices.
    wish : Wish
        What was asked for.
    """

    items: list[Recommendation]
    people: Population
    trained: Trained
    note: str
    wish: Wish


def recommended(tried: Tried, user: str | None, k: int, ask: str = "") -> Recommended:
    """The k best items for a person, best first.

    Parameters
    ----------
    tried : Tried
    user : str or None
        An identifier of the log; None is somebody new, of whom nothing is known but what they ask.
    k : int
    ask : str
        What they are looking for, see `client.words.wish`.
    """
    people = people_of(tried)
    trained = open_adapter(tried.adapter, people)
    own, history = own_tensors(tried.adapter, trained, people), np.zeros(0, dtype=np.int64)
    if user is not None:
        index = people.user_index(user)
        mine = own.adapter(trained.adapter, people.keys[index])
        install(trained.recommender, trained.schema, mine)
        history = people.history(index)
    wish = read_wish(trained, Items(people.catalogue), ask)
    found = recommend_as_asked(trained, history, k, wish)
    return Recommended(found, people, trained, own.note, wish)


def evaluated(tried: Tried, phase: Phase) -> dict[str, Any]:
    """Held-out items ranked with an adapter: `metrics`, and what they are of."""
    population = people_of(tried)
    trained = open_adapter(tried.adapter, population)
    asked = smallest(population.keys, trained.config.data.evaluated_users)
    lengths = [len(history_of(population, user)) for user in asked]
    protocol = Protocol.of(lengths, len(population.catalogue), trained.config.data.negatives)
    if protocol.why_nobody:
        raise DataError(f"{population.name}: {protocol.why_nobody}")
    drawn = protocol.stated()
    engine = CohortEngine(population, trained.recommender, EngineConfig())
    own = own_tensors(tried.adapter, trained, population)
    config, promise = trained.config, read_promise(tried.adapter)
    metrics = ranking_metrics(*engine.evaluate(asked, trained.adapter, phase, config, own.personal))
    told = {"note": own.note} if own.note else {}
    page: dict[str, Any] = {"data": population.name, "phase": phase, "metrics": metrics}
    page |= {"metrics_status": NOT_RELEASED, "promise": promise}
    known = drawn | {"items": len(population.catalogue)} | population.catalogue.stated()
    page |= {**drawn, "warnings": protocol_warnings(known)}
    return page | NOT_VERIFIED | told
