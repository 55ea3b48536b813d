"""Starling from Python: simulate, and everything that can be asked of a run that is there.

`import starling` hands these on, and the commands print what they give: `options` is what a
simulation takes, under one name on the command line and as an argument; `settings` makes an
experiment of it; `experiment` runs one; `run` and `adapter` are what is left of it.
"""

import warnings

with warnings.catch_warnings():  # in a notebook: that its own bars could be nicer
    warnings.simplefilter("ignore")
    import tqdm.auto  # noqa: F401

from simulations.api.adapter import Adapter
from simulations.api.experiment import simulate
from simulations.api.run import Run, load_run

__all__ = ["Adapter", "Run", "load_run", "simulate"]
