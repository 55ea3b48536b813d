"""The adapter: all that is learned, as named tensors and as one flat vector."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shared.errors import ProtocolError
from shared.update import Arrays

Tensors = dict[str, Tensor]

# Tensors of the adapter that are released once, before the first round, and that none trains.
RELEASED = ("mix.weight", "moments_in.weight", "moments_out.weight")


@dataclass(frozen=True)
class AdapterSchema:
    """Names and shapes of an adapter's tensors in the order of the flat vector: by name.

    Both sides of the protocol compare `digest` before they add anything up.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: nn.Module) -> AdapterSchema:
        """The schema of what a model trains (tied ones once) and of what is released for it."""
        return cls._sorted(
            {
                name: tuple(parameter.shape)
                for name, parameter in model.named_parameters()
                if parameter.requires_grad or name in RELEASED
            }
        )

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> AdapterSchema:
        """The schema of named arrays."""
        return cls._sorted({name: tuple(array.shape) for name, array in arrays.items()})

    @classmethod
    def _sorted(cls, shapes: Mapping[str, tuple[int, ...]]) -> AdapterSchema:
        names = tuple(sorted(shapes))
        return cls(names, tuple(shapes[name] for name in names))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Elements of each tensor."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def dim(self) -> int:
        """Length of the flat vector."""
        return sum(self.sizes)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of names and shapes."""
        return hashlib.sha256(json.dumps([self.names, self.shapes]).encode()).hexdigest()

    def subset(self, names: Sequence[str]) -> AdapterSchema:
        """The schema of some of the tensors, in the same order.

        Raises
        ------
        ValueError
            For a name that is not in it, or none at all.
        """
        if not names or not set(names) <= set(self.names):
            raise ValueError(f"Expected some of {self.names}, not {tuple(names)}")
        shapes = dict(zip(self.names, self.shapes, strict=True))
        return self._sorted({name: shapes[name] for name in names})

    @property
    def trainable(self) -> AdapterSchema:
        """Without what is released once."""
        return self.subset([name for name in self.names if name not in RELEASED])

    def places(self, part: AdapterSchema) -> npt.NDArray[np.int64]:
        """Where the coordinates of a subset lie in the flat vector, int64 [part.dim]."""
        slices = [self.slice_of(name) for name in part.names]
        return np.concatenate([np.arange(s.start, s.stop) for s in slices])

    def part(self, vector: Tensor, names: Sequence[str]) -> Part:
        """Cut a flat vector [dim] into what is trained and what stays."""
        trained = self.subset(names)
        tensors = self.unflatten(vector)
        frozen = {name: tensors[name] for name in self.names if name not in trained.names}
        return Part(trained, trained.flatten(tensors), frozen)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Named tensors, each of shape [..., *shape] -> [..., dim]; leading dimensions are kept."""
        parts: list[Tensor] = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            tensor = tensors[name]
            lead = tensor.shape[: tensor.dim() - len(shape)]
            parts.append(tensor.reshape(*lead, math.prod(shape)))
        return torch.cat(parts, dim=-1)

    def unflatten(self, vector: Tensor) -> Tensors:
        """[..., dim] -> named tensors [..., *shape], views where possible."""
        parts = torch.split(vector, list(self.sizes), dim=-1)
        return {
            name: part.reshape(*vector.shape[:-1], *shape)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

    def split(self, vector: npt.NDArray[np.floating]) -> dict[str, npt.NDArray[np.float32]]:
        """Flat numpy vector [dim] -> named float32 arrays."""
        bounds = np.cumsum(self.sizes)[:-1]
        return {
            name: np.ascontiguousarray(part.reshape(shape), dtype=np.float32)
            for name, shape, part in zip(
                self.names, self.shapes, np.split(vector, bounds), strict=True
            )
        }

    def join(self, arrays: Arrays) -> npt.NDArray[np.float64]:
        """Named arrays -> flat numpy vector float64 [dim]."""
        return np.concatenate([np.ravel(arrays[name]) for name in self.names]).astype(np.float64)

    def slice_of(self, name: str) -> slice:
        """Where a tensor lies in the flat vector."""
        start = sum(self.sizes[: self.names.index(name)])
        return slice(start, start + self.sizes[self.names.index(name)])

    def from_arrays(self, arrays: Arrays) -> Tensor:
        """Named arrays as they travel -> flat float32 vector [dim].

        Raises
        ------
        ProtocolError
            If names or shapes are not this schema's, or a value is not finite.
        """
        if set(arrays) != set(self.names):
            odd = sorted(set(arrays) ^ set(self.names))[0]
            raise ProtocolError(
                f"adapter tensor {odd!r}: on one side only; expected schema {self.digest}"
            )
        for name, shape in zip(self.names, self.shapes, strict=True):
            if tuple(arrays[name].shape) != shape:
                got = tuple(arrays[name].shape)
                raise ProtocolError(f"adapter tensor {name!r}: shape {got}, expected {shape}")
            if not np.isfinite(arrays[name]).all():
                raise ProtocolError(f"adapter tensor {name!r}: holds numbers that are not finite")
        return self.flatten({n: torch.tensor(arrays[n], dtype=torch.float32) for n in self.names})


@dataclass(frozen=True)
class TargetWeights:
    """What targets count in a loss.

    Attributes
    ----------
    of_items : Tensor float32 [items]
        In [0, bound].
    self_normalised : bool
        Whether a mean is over the weights instead of the targets.
    """

    of_items: Tensor
    self_normalised: bool

    def counted(self, targets: Tensor) -> Tensor:
        """Of targets of any shape, in [0, bound]; 0 where there is none."""
        return self.of_items[targets.clamp(min=0)] * (targets >= 0)

    def shares(self, targets: Tensor, over: tuple[int, ...]) -> Tensor:
        """Of each target in the mean over some dimensions, of the targets' shape."""
        counted = self.counted(targets)
        each = counted if self.self_normalised else (targets >= 0).to(counted.dtype)
        total = each.sum(over, keepdim=True)
        return counted / torch.where(total > 0, total, torch.ones_like(total))


@dataclass(frozen=True)
class Part:
    """What one round trains of an adapter, and the rest, which stays as it is.

    Attributes
    ----------
    schema : AdapterSchema
        Of the trained tensors.
    start : Tensor float32 [schema.dim]
        Their values at the start of the round.
    frozen : dict of Tensor
        All the others.
    weights : TargetWeights or None
        What targets count in its training; None: all alike.
    """

    schema: AdapterSchema
    start: Tensor
    frozen: Tensors
    weights: TargetWeights | None = None


def current(model: nn.Module, schema: AdapterSchema) -> Tensor:
    """A copy of the model's own adapter as a flat vector [dim]."""
    parameters = dict(model.named_parameters())
    return schema.flatten({name: parameters[name].detach() for name in schema.names}).clone()


@torch.no_grad()
def install(model: nn.Module, schema: AdapterSchema, vector: Tensor) -> None:
    """Write a flat vector [dim] into the model's own parameters."""
    parameters = dict(model.named_parameters())
    for name, tensor in schema.unflatten(vector).items():
        parameters[name].copy_(tensor)
