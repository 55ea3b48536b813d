"""How contributions travel where nobody reads anything but their sum: on a grid, in a ring.

    central      encode(x) = trunc(clip(x) 2^b / C)                        the server adds noise
    distributed  encode(x) = as `shared.privacy.mechanisms.distributed`    noise comes with it

Both sides derive the same form from the settings and the public number of users.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig, settings_hash
from shared.errors import ConfigError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.evaluation import METRICS_CLIP
from shared.privacy.contribution.units import (
    devices_share_noise,
    histogram_limit,
    moments_limit,
    quantile_rule,
    update_limit,
)
from shared.privacy.mechanisms.correlated import CorrelatedMechanism
from shared.privacy.mechanisms.distributed import SkellamMechanism
from shared.privacy.mechanisms.fixed_point import FixedPoint
from shared.privacy.mechanisms.gaussian import UpdateWithBits
from shared.privacy.mechanisms.rotation import Rotation
from shared.privacy.mechanisms.skellam import WordSource
from shared.privacy.plan.exact_sum import exact_sizes
from shared.privacy.plan.plan import device_plan, server_plan
from shared.secagg.ring import Ring, Words

Vector = npt.NDArray[np.float64]

UNBOUNDED = 64.0
"""L2 norm that a contribution is cut to where no guarantee clips it: a ring must end somewhere."""

_WORD = 32  # bits of a number of a message whose sum is exact
_FINEST, _COARSEST = 24, 4  # of the grid then, as it is within 32 bits
_SIGMAS = 9.0  # of the server's noise that the ring has room for: a number passes it once in 10^18


class SummedForm(Protocol):
    """One kind of sum, as devices write it and as a server reads it."""

    @property
    def ring(self) -> Ring:
        """That messages are added in."""
        ...

    @property
    def fewest(self) -> int:
        """Messages with which a sum may be opened: fewer would hide too little."""
        ...

    @property
    def most(self) -> int:
        """Messages with which a sum may be opened: the ring might not hold more."""
        ...

    def encode(
        self, contribution: npt.NDArray[np.floating], source: WordSource, bit: float = 0.0
    ) -> Words:
        """The message of one device.

        Parameters
        ----------
        contribution : float32 or float64 [dim]
            Clipped.
        source : WordSource
            The device's own; must not serve two messages.
        bit : float
            1/2 or -1/2 under adaptive clipping: one more number of the message; else 0.

        Returns
        -------
        uint32 or uint64 [dim], or [dim + 1] under adaptive clipping
            Elements of `ring`.
        """
        ...

    def size(self, dim: int) -> int:
        """Numbers of a message about so many."""
        ...

    def decode(self, total: Words) -> Vector:
        """The sum that a sum of messages stands for, float64 [dim]."""
        ...

    def bits(self, total: Words) -> float:
        """The sum of the bits; 0 where there are none."""
        ...

    def fold(self, released: Vector) -> Vector:
        """A sum with the server's noise, read modulo the ring again, float64 [dim].

        A sum at the edge of the ring is read from one end or the other by what one person adds.
        Whoever sends more than they may could bring it there. Modulo the ring, what is released
        follows from the noised sum alone that there would be without a ring.
        """
        ...

    def fold_bits(self, released: float) -> float:
        """The same of the sum of the bits."""
        ...

    def noise_norm(self, devices: int, dim: int) -> float:
        """Expected L2 norm of the noise that came with so many messages."""
        ...


@dataclass(frozen=True)
class ExactForm:
    """Sums that a server learns exactly, and noises.

    Parameters
    ----------
    grid : FixedPoint
    sizes : (int, int)
        `fewest` and `most`.
    room : int
        >= most: how many clipping norms a number may reach, with the noise that is added.
    adapts : bool
        Whether a bit travels with each contribution, as one more number: twice the bit.
    cut : bool
        Whether contributions may be longer than the grid's norm, and are cut here.
    """

    grid: FixedPoint
    sizes: tuple[int, int]
    room: int
    adapts: bool = False
    cut: bool = False

    @property
    def ring(self) -> Ring:
        """Holds every sum of so many contributions, whatever they are, and its noise."""
        return Ring.holding(self.room * self.grid.l2_sensitivity)

    @property
    def fewest(self) -> int:
        """See `SummedForm`."""
        return self.sizes[0]

    @property
    def most(self) -> int:
        """See `SummedForm`."""
        return self.sizes[1]

    def encode(
        self, contribution: npt.NDArray[np.floating], source: WordSource, bit: float = 0.0
    ) -> Words:
        """See `SummedForm.encode`; nothing here is random."""
        whole = self.grid.encode(self._cut(contribution))
        if self.adapts:
            whole = np.append(whole, np.int64(round(2 * bit)))
        return self.ring.reduce(whole)

    def _cut(self, contribution: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        if not self.cut:
            return contribution
        import torch  # where something is clipped, not where plans ask for the sensitivity

        cut: npt.NDArray[np.floating] = self.grid.clip(torch.from_numpy(contribution)).numpy()
        return cut

    def size(self, dim: int) -> int:
        """See `SummedForm.size`."""
        return dim + self.adapts

    def decode(self, total: Words) -> Vector:
        """See `SummedForm.decode`."""
        whole = self.ring.centred(total)
        return self.grid.decode(whole[: whole.size - self.adapts])

    def bits(self, total: Words) -> float:
        """See `SummedForm.bits`."""
        return float(self.ring.centred(total)[-1]) / 2 if self.adapts else 0.0

    def fold(self, released: Vector) -> Vector:
        """See `SummedForm.fold`."""
        half = 2.0 ** (self.ring.bits - 1) * self.grid.step
        folded: Vector = (released + half) % (2 * half) - half
        return folded

    def fold_bits(self, released: float) -> float:
        """See `SummedForm.fold_bits`."""
        half = 2.0 ** (self.ring.bits - 1) / 2
        return (released + half) % (2 * half) - half

    def noise_norm(self, devices: int, dim: int) -> float:
        """None came."""
        return 0.0


@dataclass(frozen=True)
class NoisedForm:
    """Sums that a server never learns without their noise.

    Parameters
    ----------
    mechanism : SkellamMechanism
    context : tuple of str or int
        Of the sum: what its rotation is drawn from.
    """

    mechanism: SkellamMechanism
    context: tuple[str | int, ...]

    @property
    def ring(self) -> Ring:
        """See `SkellamMechanism.ring`."""
        return self.mechanism.ring

    @property
    def fewest(self) -> int:
        """See `Counted`."""
        return self.mechanism.counted.fewest

    @property
    def most(self) -> int:
        """See `Counted`."""
        return self.mechanism.counted.devices

    def encode(
        self, contribution: npt.NDArray[np.floating], source: WordSource, bit: float = 0.0
    ) -> Words:
        """See `SummedForm.encode`; there are no bits."""
        grid = self.mechanism.grid(contribution.size)
        return grid.message(contribution, _rotation(contribution.size, self.context), source)

    def size(self, dim: int) -> int:
        """As many; `ConfigError` if the ring does not hold sums of them."""
        self.mechanism.grid(dim)
        return dim

    def decode(self, total: Words) -> Vector:
        """See `SummedForm.decode`."""
        return self.mechanism.grid(total.size).open(total, _rotation(total.size, self.context))

    def bits(self, total: Words) -> float:
        """There are none."""
        return 0.0

    def fold(self, released: Vector) -> Vector:
        """Its noise came before it was read."""
        return released

    def fold_bits(self, released: float) -> float:
        """There are none."""
        return released

    def noise_norm(self, devices: int, dim: int) -> float:
        """See `SummedForm.noise_norm`; with what rounding adds at most."""
        return self.mechanism.grid(dim).deviation(devices) * math.sqrt(dim)


@functools.lru_cache(maxsize=4)
def _rotation(dim: int, context: tuple[str | int, ...]) -> Rotation:
    """Drawn once for all messages of a sum."""
    return Rotation(dim, *context)


def summed_form(
    config: ExperimentConfig,
    users: int,
    kind: str,
    adapted: float = 0.0,
    round_number: int = 0,
) -> SummedForm:
    """The form of a kind of sum in a round.

    Parameters
    ----------
    config : ExperimentConfig
        Of one point.
    users : int
        Size of the population: public.
    kind : {"update", "histogram", "moments", "metrics"}
    adapted : float
        The round's clipping norm where it adapts, else 0.
    round_number : int
        0 before the first.

    Raises
    ------
    ConfigError
        If nothing of the kind is summed under these settings, or no ring is large enough.
    """
    if devices_share_noise(config):
        plan = server_plan(config, users)
        mechanism = plan.planned(kind).mechanism if plan else None
        if isinstance(mechanism, SkellamMechanism):
            return NoisedForm(mechanism, (settings_hash(config), kind, round_number))
        raise ConfigError(f"release {kind!r}: not one whose noise comes in shares")
    return _exact(config, users, kind, adapted)


def noise_heard(config: ExperimentConfig, users: int, kind: str, dim: int) -> float:
    """Standard deviation of the noise in a number of a released sum, by what is public.

    What is accounted is less where the noise comes in shares: those of who may collude count, to
    whoever reads a sum, as much as all others, and so does rounding.

    Parameters
    ----------
    config : ExperimentConfig
    users : int
    kind : {"histogram", "moments"}
    dim : int
        Numbers of the sum.

    Returns
    -------
    float
        In units of the clipping norm; 0 where nobody noises that.
    """
    plan = server_plan(config, users)
    found = plan or device_plan(config, users)
    planned = found.of(kind) if found else None
    if planned is None:
        return 0.0
    mechanism, asked = planned.mechanism, config.federation.expected_popularity_cohort(users)
    if isinstance(mechanism, SkellamMechanism):
        return mechanism.grid(dim).deviation(asked) / mechanism.clip.norm
    alone = plan is None  # every device adds independent noise to its own
    return mechanism.noise_multiplier * (math.sqrt(asked) if alone else 1.0)


def _exact(config: ExperimentConfig, users: int, kind: str, adapted: float) -> ExactForm:
    privacy = config.privacy
    if math.isfinite(privacy.epsilon) and privacy.trust == "local":
        raise ConfigError(f"privacy.trust = local: a {kind} is noised by its device, not in a sum")
    fewest, most = exact_sizes(config, users, kind)
    limit = {
        "update": update_limit(config, adapted),
        "histogram": histogram_limit(config),
        "moments": moments_limit(config),
        "metrics": METRICS_CLIP.norm,
    }[kind]
    room = most + math.ceil(_SIGMAS * _noise(config, users, kind))
    bits = min(_FINEST, ((2 ** (_WORD - 1) - 1) // room).bit_length() - 1)
    if bits < _COARSEST:
        raise ConfigError(
            f"{kind}: sums over {most} users do not fit into {_WORD} bits; give a smaller cohort"
        )
    grid = FixedPoint(L2Clip(limit or UNBOUNDED), bits)
    adapts = kind == "update" and quantile_rule(config) is not None
    return ExactForm(grid, (fewest, most), room, adapts, cut=limit is None)


def _noise(config: ExperimentConfig, users: int, kind: str) -> float:
    """The largest standard deviation of what the server adds to a number, in clipping norms."""
    plan = server_plan(config, users)
    planned = plan.of(kind) if plan else None
    if planned is None:
        return 0.0
    mechanism = planned.mechanism
    if isinstance(mechanism, CorrelatedMechanism):  # the last row holds the most
        rows = float(np.linalg.norm(mechanism.matrix.inverse()))
        return mechanism.standard_deviation / mechanism.clip.norm * rows
    if isinstance(mechanism, UpdateWithBits):
        return mechanism.update.noise_multiplier
    return mechanism.noise_multiplier
