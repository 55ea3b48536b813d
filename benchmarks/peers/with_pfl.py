"""Apple's `pfl`: its PyTorchModel, FederatedDataset, SimulatedBackend and FederatedAveraging."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from pfl.postprocessor.base import Postprocessor
from torch import Tensor, nn
from work import RATE, Work

from peers import Cohorts, Done
from peers.sequential import loss_of, trained
from shared.model.adapter import AdapterSchema, install


class WithLoss(nn.Module):
    """The model with the two methods that `pfl` asks for."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.model = work.recommender()

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Of one client."""
        return loss_of(self.model, inputs, targets)

    def metrics(self, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
        """None is measured: `pfl` asks in the first iteration."""
        del inputs, targets
        return {"nothing": Weighted(0, 1)}


class Watching(Postprocessor, TrainingProcessCallback):
    """Keeps the updates that are compared, and tells when a cohort is finished."""

    def __init__(self, schema: AdapterSchema, done: Done) -> None:
        self.schema, self.done = schema, done
        self.updates: list[Tensor] = []

    def postprocess_one_user(self, *, stats: Any, user_context: Any) -> tuple[Any, Metrics]:
        """A client's update."""
        if self.done.wants:
            tensors = {name: stats[f"model.{name}"] for name in self.schema.names}
            self.updates.append(self.schema.flatten(tensors).cpu())
        return stats, Metrics()

    def after_central_iteration(self, *_: Any, **__: Any) -> tuple[bool, Metrics]:
        """A cohort is finished."""
        self.done(torch.stack(self.updates) if self.updates else None)
        self.updates.clear()
        return False, Metrics()


def run(work: Work, unit: str, cohorts: Cohorts, done: Done) -> None:
    """One `pfl` run, an iteration a cohort."""
    del unit  # it has one
    module = WithLoss(work)
    schema = AdapterSchema.of(module.model).trainable
    install(module.model, schema, work.adapter(schema))
    watching = Watching(schema, done)
    users = itertools.chain.from_iterable(cohorts)
    people = FederatedDataset(
        lambda user: PyTorchTensorDataset(work.batch(user), user_id=str(user)), lambda: next(users)
    )
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=len(cohorts),
            evaluation_frequency=len(cohorts) + 1,
            train_cohort_size=len(cohorts[0]),  # all are equally large
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(people, people, postprocessors=[watching]),
        model=PyTorchModel(
            model=module,
            local_optimizer_create=torch.optim.SGD,
            central_optimizer=torch.optim.SGD(trained(module.model), lr=1.0),
        ),
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=RATE, local_batch_size=None
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=None),
        callbacks=[watching],
        send_metrics_to_platform=False,
    )
