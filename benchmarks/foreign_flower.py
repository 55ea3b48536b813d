"""A run of Flower's own `DifferentialPrivacyServerSideFixedClipping`, recorded and audited.

    python benchmarks/foreign_flower.py [--out FOLDER]

A softmax regression of 900 numbers, 260 clients in 5 rounds, 200 of them canaries, through
Flower's unmodified `Strategy.start` in one process. What is recorded is in the format of
docs/audit-foreign.md, whose tables are printed; with `--out` the folders are kept. Besides the run
as it is documented there are two that Flower allows, one of them claimed in two ways, and three
with a mistake planted.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    dp_fixed_clipping,
)
from flwr.supercore.privacy_accounting import (
    GaussianPrivacyEvent,
    NeighboringRelation,
    PrivacyConfig,
    SamplingMethod,
)
from flwr.supercore.privacy_accounting.rdp_accountant import RdpAccountant
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from safetensors.numpy import save_file
from tables import table

from simulations.audit.findings import Finding
from simulations.audit.foreign import audited, read

FEATURES, CLASSES = 29, 30
CLIENTS, CANARIES, ROUNDS, CLIP, NOISE, DELTA = 260, 200, 5, 1.0, 3.5, 1e-5
_FAR = 1e3  # clips, of a canary that is in
_NEAR = 1e-3  # clips, of one that is out: Flower divides by the length of every update

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Setup:
    """How a run differs from the documented one.

    Attributes
    ----------
    accounted : bool
        Whether Flower's accountant is given, which refuses some of what follows.
    examples : bool
        Whether clients say how many examples they have, as FedAvg expects: the weights.
    weights : str
        What is claimed of them: "equal" or "examples".
    lost : float
        Share of clients whose answer does not come in time.
    planted : callable
        Gives what to patch: a context.
    """

    accounted: bool = False
    examples: bool = False
    weights: str = "equal"
    lost: float = 0.0
    planted: Callable[[], Any] | None = None


class Clients:
    """Everybody's data, and what each of them answers.

    Parameters
    ----------
    setup : Setup
    seed : int
    """

    def __init__(self, setup: Setup, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.dim = FEATURES * CLASSES + CLASSES
        self.included = draw.random(CANARIES) < 0.5
        self.coordinates = draw.choice(self.dim - 1, CANARIES, replace=False)
        self.examples = np.full(CLIENTS, 20)
        if setup.examples:  # from 1 to 200: few have many
            self.examples = np.ceil(200 ** draw.random(CLIENTS)).astype(int)
        truth = draw.normal(size=(FEATURES, CLASSES))
        inputs = draw.normal(size=(CLIENTS, 20, FEATURES))
        self.data = inputs, (inputs @ truth).argmax(-1)

    def trained(self, client: int, start: Vector) -> Vector:
        """The model that a client sends back, float32 [dim]."""
        if client >= CANARIES:
            return start + self._step(client, start)
        model = start.copy()
        if self.included[client]:
            model[self.coordinates[client]] += _FAR * CLIP
        else:
            model[-1] += _NEAR * CLIP
        return model

    def _step(self, client: int, start: Vector) -> Vector:
        """One step of gradient descent on the log-loss."""
        inputs, labels = (each[client] for each in self.data)
        scores = inputs @ start[:-CLASSES].reshape(FEATURES, CLASSES) + start[-CLASSES:]
        slope = np.exp(scores - scores.max(1, keepdims=True))
        slope /= slope.sum(1, keepdims=True)
        slope[np.arange(len(labels)), labels] -= 1
        weights = inputs.T @ slope / len(labels)
        return (-0.5 * np.concatenate([weights.ravel(), slope.mean(0)])).astype(np.float32)


class OneProcess(Grid):
    """Flower's grid, whose nodes answer in turn, in this process."""

    def __init__(self, clients: Clients, lost: float) -> None:
        self._clients, self._lost = clients, int(lost * CLIENTS)
        self._run, self._sent = Run.create_empty(1), 0

    def set_run(self, run: Run) -> None:
        """As Flower asks for it; so are the others."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(self, *given: Any, **named: Any) -> Message:
        """A message to a node."""
        return Message(*given, **named)

    def get_node_ids(self) -> Iterable[int]:
        """One node a client."""
        return range(1, CLIENTS + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Not asked for."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Not asked for."""
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Answers of all but those who are too late."""
        asked = list(messages)
        return [self._answer(message) for message in asked[self._lost if asked else 0 :]]

    def _answer(self, message: Message) -> Message:
        self._sent += 1
        message.metadata.__dict__["_message_id"] = str(self._sent)  # as Flower's link does
        client = message.metadata.dst_node_id - 1
        (start,) = message.content.array_records.values()
        model = self._clients.trained(client, flat(start))
        weights, bias = np.split(model, [FEATURES * CLASSES])
        arrays = {"weights": weights.reshape(FEATURES, CLASSES), "bias": bias}
        metrics = MetricRecord({"num-examples": int(self._clients.examples[client])})
        content = RecordDict({"arrays": record_of(arrays), "metrics": metrics})
        return Message(content, reply_to=message)


class Recorded(DifferentialPrivacyServerSideFixedClipping):
    """The strategy, and a folder that it writes what passes into: one file a round."""

    folder: Path
    rounds: list[dict[str, Any]]
    asked: list[str]

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Keep who is asked."""
        messages = list(super().configure_train(server_round, arrays, config, grid))
        self.asked = [str(each.metadata.dst_node_id) for each in messages]
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Keep what came back, before and after the clip, and what is released."""
        there, start = list(replies), flat(self.current_arrays)
        sent = rows_of(there) - start
        released, metrics = super().aggregate_train(server_round, there)
        arrays = {"sent": sent, "clipped": rows_of(there) - start, "start": start}
        arrays["released"] = flat(released) if released else start
        file = f"round-{server_round}.safetensors"
        save_file(arrays, self.folder / file)
        told = {"round": server_round, "file": file, "asked": self.asked}
        told["members"] = [str(each.metadata.src_node_id) for each in there]
        told["examples"] = [
            int(next(iter(each.content.metric_records.values()))["num-examples"]) for each in there
        ]
        self.rounds.append(told)
        return released, metrics


def record_of(arrays: dict[str, Vector]) -> ArrayRecord:
    """Named arrays, as they travel."""
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def flat(record: ArrayRecord) -> Vector:
    """All tensors, one after the other."""
    return np.concatenate([each.ravel() for each in record.to_numpy_ndarrays()])


def rows_of(replies: list[Message]) -> npt.NDArray[np.float32]:
    """Models that came back [members, dim]."""
    return np.stack([flat(next(iter(r.content.array_records.values()))) for r in replies])


def recorded(folder: Path, setup: Setup, seed: int = 0) -> None:
    """Run Flower, and write the run into a folder."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    settings = PrivacyConfig(
        DELTA, CLIENTS, NeighboringRelation.ADD_OR_REMOVE_ONE, SamplingMethod.NO_AMPLIFICATION
    )
    accountant, clients = RdpAccountant(settings), Clients(setup, seed)
    inner = FedAvg(fraction_train=1.0, fraction_evaluate=0.0)
    given = accountant if setup.accounted else None
    strategy = Recorded(inner, NOISE, CLIP, CLIENTS, accountant=given)
    strategy.folder, strategy.rounds = folder, []
    zeros = {"weights": np.zeros((FEATURES, CLASSES)), "bias": np.zeros(CLASSES)}
    start = record_of({name: value.astype(np.float32) for name, value in zeros.items()})
    with seeded(seed), setup.planted() if setup.planted else mock.patch.dict({}):
        strategy.start(OneProcess(clients, setup.lost), start, num_rounds=ROUNDS)
    if not setup.accounted:  # the same claim
        accountant.compose(GaussianPrivacyEvent(NOISE, CLIENTS, CLIENTS), ROUNDS)
    tree = {"format": "federated-run/1", "name": "Flower, server-side fixed clipping"}
    tree["claim"] = {
        "unit": "user",
        "relation": "add_or_remove",
        "clipping_norm": CLIP,
        "noise": {"multiplier": NOISE},
        "clients": CLIENTS,
        "sampling": {"kind": "everyone"},
        "rounds": ROUNDS,
        "weights": setup.weights,
        "delta": DELTA,
        "epsilon": accountant.get_epsilon(DELTA),
        "accountant": "Flower's RdpAccountant",
    }
    tree |= {"released": "model", "rounds": strategy.rounds}
    tree["tensors"] = [
        {"name": "weights", "size": FEATURES * CLASSES},
        {"name": "bias", "size": CLASSES},
    ]
    tree["canaries"] = {
        "clients": [str(client + 1) for client in range(CANARIES)],
        "included": clients.included.tolist(),
        "coordinates": clients.coordinates.tolist(),
    }
    (folder / "federated-run.json").write_text(json.dumps(tree))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Flower draws cohorts and noise from the process's own generators."""
    before, drawn = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(drawn)


def half_the_noise() -> Any:
    """Half of what the strategy says."""
    true = dp_fixed_clipping.compute_stdv
    return mock.patch.object(dp_fixed_clipping, "compute_stdv", lambda *given: true(*given) / 2)


def no_clip() -> Any:
    """Updates stay as long as they are."""
    return mock.patch.object(dp_fixed_clipping, "compute_clip_model_update")


def seed_every_round() -> Any:
    """As somebody does who wants rounds to be repeatable."""
    true = dp_fixed_clipping.add_gaussian_noise_inplace

    def noised(*given: Any) -> None:
        np.random.seed(42)
        true(*given)

    return mock.patch.object(dp_fixed_clipping, "add_gaussian_noise_inplace", noised)


SETUPS = {
    "as documented, with Flower's accountant": Setup(accounted=True),
    "clients weigh as many examples as they have": Setup(examples=True),
    "the same, and claimed": Setup(examples=True, weights="examples"),
    "a fifth of the clients answer too late": Setup(lost=0.2),
    "planted: half the noise": Setup(planted=half_the_noise),
    "planted: no clip": Setup(planted=no_clip),
    "planted: NumPy seeded every round": Setup(planted=seed_every_round),
}


def of(setup: Setup, folder: Path, seed: int = 0) -> list[Finding]:
    """Run, record, read back, audit."""
    folder.mkdir(parents=True, exist_ok=True)
    recorded(folder, setup, seed)
    return audited(read(folder))


def in_words(found: list[Finding]) -> str:
    """The first that is violated, and the names of others."""
    first, *others = [each for each in found if each.verdict == "violated"] or [None]
    if first is None:
        return "-"
    names = dict.fromkeys(f"`{each.name}`" for each in others if each is not None)
    return f"`{first.name}`: {first.words}" + (f"; besides {', '.join(names)}" if names else "")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the recorded runs here")
    out = parser.parse_args().out
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as away:
        found = {
            name: of(setup, (out or Path(away)) / str(number))
            for number, (name, setup) in enumerate(SETUPS.items(), start=1)
        }
    first = next(iter(found.values()))
    rows = [(each.name, each.verdict, each.threat_model, each.words) for each in first]
    print(table("finding|verdict|who sees|in words", rows))
    flagged = [(name, in_words(each)) for name, each in found.items()]
    print(table("run|violated", flagged))


if __name__ == "__main__":
    main()
