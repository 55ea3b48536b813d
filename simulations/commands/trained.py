"""A trained adapter, and the people it is tried on: what `evaluate` and `recommend` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from client.serving.adapters import Trained, read_adapter
from client.training.personal import PersonalTensors
from shared.aggregation import rule_of
from shared.config import DataConfig
from shared.data.population import Population
from shared.data.salted import SaltedDigest
from shared.run_files import RunFolder, run_files
from simulations.engine.ranking import personal_file
from simulations.world.sources import open_population


class Named(Protocol):
    """The options that say on whom an adapter is tried."""

    @property
    def adapter(self) -> Path:
        """DIR/adapters/NAME.safetensors."""

    @property
    def data(self) -> str:
        """As `data.spec`."""

    @property
    def columns(self) -> str | None:
        """As `data.columns`; None: as trained."""

    @property
    def users(self) -> int | None:
        """As `data.users`; None: as trained."""

    @property
    def world_seed(self) -> int | None:
        """As `data.world_seed`; None: as trained."""


def people_of(given: Named) -> Population:
    """The users that the adapter was trained on, where the same data is named again."""
    trained = read_adapter(given.adapter)[1]
    data, same, seed = trained.data, trained.data.spec == given.data, given.world_seed
    # Another log is another experiment: nothing of the trained one's digests holds for it.
    chosen = DataConfig(
        spec=given.data,
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
    personal = PersonalTensors(config, schema, config.federation.rounds, kept)
    mine = personal.trained(population.keys)
    return PersonalState(
        f"{name}: ranked with everyone's own B of {kept.name} ({mine} of {len(population)} people "
        "trained one), which is not in the adapter file",
        personal,
    )
