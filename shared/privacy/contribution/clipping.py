"""The one clip: bounds what a unit can add to a sum, and knows the sensitivity that follows.

torch is imported where something is clipped: plans, ledgers and policies ask for sensitivities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import ConfigError, ProtocolError
from shared.privacy.guarantee import Relation, check_relation

if TYPE_CHECKING:
    import torch

# Inside this range no coordinate that matters for the norm is a float32 denormal, so the rounding
# argument in `L2Clip` holds for every vector that fits in memory.
_SMALLEST_NORM = 1e-30
_LARGEST_NORM = 1e30


@dataclass(frozen=True)
class L2Clip:
    """Scale each contribution to an L2 norm of at most C.

        clip(u) = u min(1, C / ||u||)

    A contribution that holds NaN or infinity, or is so long that its scale would be a denormal
    number (for float32 beyond 1e37 C), becomes exactly zero: still valid, within every bound.

    Parameters
    ----------
    norm : float
        The clipping norm C, in [1e-30, 1e30].

    Raises
    ------
    ConfigError
        For a norm outside its range.

    Notes
    -----
    The bound holds for the floating-point numbers that come out, not only for real numbers: the
    L2 norm of a result, computed in float64, is at most C (1 + 1e-12). Norms are computed in
    float64. The scale aims at C (1 - 2u), u the machine epsilon of the contribution's type;
    rounding the scale and each product to that type costs at most u in relative terms.

    References
    ----------
    McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent Language Models.
    ICLR 2018. https://arxiv.org/abs/1710.06963
    """

    norm: float

    def __post_init__(self) -> None:
        if not _SMALLEST_NORM <= self.norm <= _LARGEST_NORM:  # also refuses NaN
            raise ConfigError(
                f"clipping norm = {self.norm}: "
                f"expected a number from {_SMALLEST_NORM} to {_LARGEST_NORM}"
            )

    def sensitivity(self, relation: Relation) -> float:
        """How far one unit can move the sum of clipped contributions, in L2 norm.

        Parameters
        ----------
        relation : {"zero_out", "replace_one"}

        Returns
        -------
        float
            C when a unit comes or goes, 2 C when its contribution is replaced by another.
        """
        return self.norm if check_relation(relation) == "zero_out" else 2 * self.norm

    def norms(self, updates: torch.Tensor) -> torch.Tensor:
        """L2 norms before clipping.

        Parameters
        ----------
        updates : torch.Tensor
            float32 or float64, [..., dim].

        Returns
        -------
        torch.Tensor
            float64, [...]; NaN or infinity where the contribution is not finite.

        Raises
        ------
        ProtocolError
            For another type or a number without a dimension.
        """
        import torch

        if updates.dtype not in (torch.float32, torch.float64) or updates.ndim == 0:
            raise ProtocolError(
                f"update of type {updates.dtype} and shape {tuple(updates.shape)}: "
                "expected float32 or float64 [..., dim]"
            )
        if updates.device.type == "mps":  # has no float64
            updates = updates.cpu()
        norms: torch.Tensor = torch.linalg.vector_norm(updates, dim=-1, dtype=torch.float64)
        return norms

    def __call__(self, updates: torch.Tensor) -> torch.Tensor:
        """Clip every contribution.

        Parameters
        ----------
        updates : torch.Tensor
            float32 or float64, [..., dim]: one contribution per row, e.g. [clients, dim].

        Returns
        -------
        torch.Tensor
            Same shape, type and device. Rows already within C are returned unchanged.

        Raises
        ------
        ProtocolError
            For another type or a number without a dimension.
        """
        import torch

        norms = self.norms(updates)  # [...]
        precision = torch.finfo(updates.dtype)
        target = self.norm * (1 - 2 * precision.eps)
        scale = torch.where(norms <= self.norm, 1.0, target / norms)  # NaN, 0 if not finite
        kept = (scale >= precision.tiny).to(updates.device).unsqueeze(-1)  # [..., 1]
        scale = scale.to(updates.device, updates.dtype).unsqueeze(-1)
        # Not `updates * 0`: NaN times zero is NaN.
        return torch.where(kept, updates * scale, torch.zeros_like(updates))
