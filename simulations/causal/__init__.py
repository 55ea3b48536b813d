"""Ratings that people chose to give, and what a model makes of them once that is corrected for.

`ratings` reads them, `propensities` says how likely each was to be given, `factors` is the model,
`learning` trains it naively, weighted (IPS) and doubly robustly, and tries it on ratings of items
that were assigned at random.
"""

from simulations.causal.learning import Found, compared
from simulations.causal.propensities import PROPENSITIES
from simulations.causal.ratings import Ratings, open_ratings

__all__ = ["PROPENSITIES", "Found", "Ratings", "compared", "open_ratings"]
