"""Which tensors of their own people are ranked with, when an adapter file is used.

The file holds what is shared; what stays on devices is beside it in a simulation's folder, and with
nobody who was only given the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from client.serving.adapters import Trained
from client.training.keeper import Keeper
from shared.aggregation import rule_of
from shared.data.population import Population
from shared.run_files import run_files
from simulations.engine.ranking import personal_file


@dataclass(frozen=True)
class Own:
    """People's own tensors beside an adapter, where the rule has such.

    Attributes
    ----------
    state : Path or None
        As `CohortEngine.evaluate` takes it; None ranks everyone with the adapter as it stands.
    note : str
        What people are ranked with, in words; empty where nothing stays on devices.
    """

    state: Path | None = None
    note: str = ""
    keeper: Keeper | None = None

    def adapter(self, shared: Tensor, user: int) -> Tensor:
        """The adapter [dim] of one person."""
        return shared if self.keeper is None else self.keeper.adapters(shared, [user])[0]


def own_tensors(file: Path, trained: Trained, population: Population) -> Own:
    """What lies beside an adapter file of people of this population.

    Parameters
    ----------
    file : Path
        DIR/adapters/NAME.safetensors.
    """
    config, schema = trained.config, trained.schema
    if not rule_of(config).personal(schema.names):
        return Own()
    state = run_files(file.resolve().parents[1], file.stem).devices
    kept = personal_file(state)
    name = f"federation.aggregation = {config.federation.aggregation}"
    if kept is None or not kept.exists() or population.digest != config.data.digest:
        return Own(
            note=f"{name}: B stays on the devices, and none of these people's is here; ranked with "
            "what is shared and the initial B"
        )
    keeper = Keeper(config, schema, config.federation.rounds, kept)
    mine = keeper.trained(range(len(population)))
    return Own(
        state,
        f"{name}: ranked with everyone's own B of {kept.name} ({mine} of {len(population)} people "
        "trained one), which is not in the adapter file",
        keeper,
    )
