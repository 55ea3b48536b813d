"""Settings searched: on data that costs no budget, or on people's own log under one budget.

Without a budget (the synthetic world, or a log that is public) Optuna chooses what is tried next,
from seeds; what was tried is in a folder that a search goes on from. Only validation items are
looked at. On people's log (`private`) what is tried is drawn before the first run, every trial is
a run with a ledger, and what all of them cost together is stated and can be verified.
"""

from simulations.tune.asked import Search, Tried
from simulations.tune.folder import TuneFolder
from simulations.tune.private import planned_trials, search_private
from simulations.tune.search import search
from simulations.tune.space import DEFAULT, Varied, space_of

__all__ = [
    "DEFAULT",
    "Search",
    "Tried",
    "TuneFolder",
    "Varied",
    "planned_trials",
    "search",
    "search_private",
    "space_of",
]
