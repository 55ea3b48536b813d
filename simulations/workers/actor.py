"""One worker: a process with population and models resident, which trains shards of cohorts.

It runs inside a Ray actor and needs torch and Ray, not Flower.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig
from shared.data.salted import SaltedDigest
from shared.errors import EngineError
from shared.request import Answer, Request
from simulations.engine.references import REFERENCES, Findings
from simulations.engine.simulation import Simulation

SEEN = "seen"
_ROOT = Path(__file__).resolve().parents[2]  # where our rooms lie
_PACKAGES = ("starling", "torch", "transformers", "numpy")


def software() -> dict[str, str]:
    """What computes here: versions, and a digest of this code itself."""
    code = hashlib.sha256()
    for file in code_files():
        code.update(str(file.relative_to(_ROOT)).encode() + b"\0" + file.read_bytes())
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return found | {"starling's code": code.hexdigest()[:12]}


def code_files() -> list[Path]:
    """The files that a worker's answers depend on, in a fixed order."""
    rooms = ("shared", "client", "simulations")
    return [file for room in rooms for file in sorted(_ROOT.joinpath(room).rglob("*.py"))]


class Worker:
    """Answers for any users of the population that it opened.

    Every answer depends on its arguments alone, or, where devices keep ledgers, on these as they
    were before the question: asked twice, another worker gives the same answer.
    """

    def __init__(self) -> None:
        self._opened: Simulation | None = None

    def hello(self) -> tuple[str, dict[str, str]]:
        """The node's address, and its software."""
        import ray

        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]  # Ray: untyped
        return str(node), software()

    def open(
        self,
        config: ExperimentConfig,
        vectors: npt.NDArray[np.float32],
        data: SaltedDigest | None,
    ) -> None:
        """Open population and backbone.

        Parameters
        ----------
        config : ExperimentConfig
            With the digests of items and weights, and how this worker computes.
        vectors : float32 [items, d]
            Of the catalogue, as the command has them.
        data : SaltedDigest or None
            Of the people that the command opened.

        Raises
        ------
        ConfigError
            If data, items or weights here are not those of the digests.
        """
        self._opened = Simulation(config, np.array(vectors), data)

    def reach(self, file: Path, token: str) -> bool:
        """Whether the command's folder is this one: a file of it holds what it wrote, and answer.

        Parameters
        ----------
        file : Path
        token : str
            What the file must hold.
        """
        try:
            found = file.read_text(encoding="utf-8") == token
            if found:
                file.write_text(SEEN, encoding="utf-8")
        except OSError:
            return False
        return found

    def answer(
        self, request: Request, state: Path | None, users: Sequence[int]
    ) -> list[tuple[list[int], Answer]]:
        """See `CohortEngine.answer`."""
        engine = self._simulation.engine(request.config.model)
        return list(engine.answer(request, users, state))

    def reference(self, name: str, config: ExperimentConfig) -> Findings:
        """See `simulations.engine.references`."""
        return REFERENCES[name](self._simulation, config, lambda updates, remark: None)

    @property
    def _simulation(self) -> Simulation:
        if self._opened is None:
            raise EngineError("a worker was asked before it opened its data")
        return self._opened
