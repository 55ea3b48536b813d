"""Settings searched on data that costs no budget: the synthetic world, or a log that is public.

Optuna chooses what is tried next, from seeds; what was tried is in a folder that a search goes on
from. Only validation items are looked at. There is no search on people's private data: see
`simulations.tune.asked.refuse_private`.
"""

from simulations.tune.asked import Search, Tried
from simulations.tune.folder import TuneFolder
from simulations.tune.search import search
from simulations.tune.space import DEFAULT, Varied, space_of

__all__ = ["DEFAULT", "Search", "Tried", "TuneFolder", "Varied", "search", "space_of"]
