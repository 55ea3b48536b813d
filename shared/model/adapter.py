"""The adapter: everything that is trained, as named tensors and as one flat vector."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shared.errors import ProtocolError
from shared.model.arrays import Arrays

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class AdapterSchema:
    """Names and shapes of the trained tensors, in the order of the flat vector.

    Both sides of the protocol compare `digest` before they add anything up.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: nn.Module) -> AdapterSchema:
        """The schema of a model's parameters that require a gradient (tied ones once)."""
        trained = [(n, tuple(p.shape)) for n, p in model.named_parameters() if p.requires_grad]
        return cls(tuple(n for n, _ in trained), tuple(s for _, s in trained))

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> AdapterSchema:
        """The schema of named arrays in their order."""
        return cls(tuple(arrays), tuple(tuple(array.shape) for array in arrays.values()))

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

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Named tensors, each of shape [..., *shape] -> [..., dim]; leading dimensions are kept."""
        parts = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            tensor = tensors[name]
            lead = tensor.shape[: tensor.dim() - len(shape)]
            parts.append(tensor.reshape(*lead, math.prod(shape)))
        return torch.cat(parts, dim=-1)

    def unflatten(self, vector: Tensor) -> Tensors:
        """[..., dim] -> named tensors [..., *shape], views where possible."""
        parts = vector.split(self.sizes, dim=-1)
        return {
            name: part.reshape(*vector.shape[:-1], *shape)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

    def from_arrays(self, arrays: Arrays) -> Tensor:
        """Named arrays as they travel -> flat float32 vector [dim].

        Raises
        ------
        ProtocolError
            If names or shapes are not this schema's, or a value is not finite.
        """
        if set(arrays) != set(self.names):
            odd = sorted(set(arrays) ^ set(self.names))[0]
            raise ProtocolError(f"adapter tensor {odd!r}: on one side only; expected {self.digest}")
        for name, shape in zip(self.names, self.shapes, strict=True):
            if tuple(arrays[name].shape) != shape:
                got = tuple(arrays[name].shape)
                raise ProtocolError(f"adapter tensor {name!r}: shape {got}, expected {shape}")
            if not np.isfinite(arrays[name]).all():
                raise ProtocolError(f"adapter tensor {name!r}: holds numbers that are not finite")
        return self.flatten(
            {n: torch.tensor(arrays[n], dtype=torch.float32) for n in self.names}
        )

    def to_arrays(self, vector: Tensor) -> dict[str, npt.NDArray[np.float32]]:
        """Flat vector [dim] -> named float32 arrays."""
        tensors = self.unflatten(vector.detach().to("cpu", torch.float32))
        return {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}


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
