"""MLflow: its own default store, or that of `$MLFLOW_TRACKING_URI`."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, Param
from mlflow.utils.time import get_current_time_millis

from shared.run_files import RunFolder
from simulations.trackers.tracker import Figures, Settings, flat

_LONGEST = 6000  # letters of a parameter


class MLflow:
    """One MLflow run for the whole, and below it one for each point; see `Tracker`."""

    def __init__(self, run: RunFolder) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of its tables
        logging.getLogger("alembic").setLevel(logging.WARNING)
        address = urlsplit(get_tracking_uri())
        here = address.scheme in ("", "file", "sqlite")
        self.elsewhere = "" if here else address.hostname or address.scheme
        self._name, self._whole = run.path.resolve().name, ""
        self._client = MlflowClient()
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "starling"
        there = self._client.get_experiment_by_name(named)
        self._experiment = there.experiment_id if there else self._client.create_experiment(named)

    def open(self, name: str, settings: Settings) -> _Run:
        """See `Tracker`."""
        tags = {"mlflow.parentRunId": self._whole} if name and self._whole else {}
        run = self._client.create_run(self._experiment, run_name=name or self._name, tags=tags)
        made = _Run(self._client, run.info.run_id)
        if not name:
            self._whole = made.key
        params = [Param(key, str(value)[:_LONGEST]) for key, value in flat(settings).items()]
        for at in range(0, len(params), 100):
            self._client.log_batch(made.key, params=params[at : at + 100])
        return made


class _Run:
    def __init__(self, client: MlflowClient, key: str) -> None:
        self._client, self.key = client, key

    def figures(self, figures: Figures, step: int) -> None:
        now = get_current_time_millis()
        told = [
            Metric(name.replace("@", "_at_"), value, now, step) for name, value in figures.items()
        ]
        self._client.log_batch(self.key, metrics=told)

    def file(self, path: Path) -> None:
        self._client.log_artifact(self.key, str(path))

    def close(self, finished: bool) -> None:
        self._client.set_terminated(self.key, "FINISHED" if finished else "KILLED")


TRACKER = MLflow
