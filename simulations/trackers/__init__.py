"""Experiment trackers: what a run tells TensorBoard, Weights & Biases or MLflow as it goes.

`tracker` is the small interface that each of them is behind, `tracking` what is told to all that
were asked for. Only what `shared.leaves` names is: of a real run nothing that is the evaluator's.
"""

from simulations.trackers.tracking import Tracking, track_run

__all__ = ["Tracking", "track_run"]
