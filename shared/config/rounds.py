"""How many rounds a point has where its settings leave that open: a function of what is public.

`federation.rounds = "auto"`, as in the preset `default`:

without privacy   rounds in which each person takes part PASSES times, from 60 to 600: the best
                  iterate is kept, and what costs nothing but time is worth more with more people
with a budget     none below a promise of epsilon n = 50,000 to n people, the work of a few rounds
                  (8) from there on

What a round over n people says is told from its noise as n epsilon grows. At epsilon 8 and 943
people 8 rounds on almost half of the budget brought .010 [-.005, .024] HR@10 (docs/results.md): not
told from none, while what is released once gets better with all that it is given, and needs a
minute where rounds need an hour. Rounds stay where nothing else would be released, or where the
settings ask for something that only rounds have.
"""

from __future__ import annotations

import math
from typing import Any

AUTO = "auto"
TRAINED = 50_000.0  # epsilon times people, from which on rounds are trained under noise
PRIVATE = 8
PASSES = 4.0  # of each person, on average, without privacy
FEWEST, MOST = 60, 600


def settled_rounds(tree: dict[str, Any], people: int) -> int:
    """The rounds of a point.

    Parameters
    ----------
    tree : dict
        Its settings, all of them, nested.
    people : int
        >= 1.

    Returns
    -------
    int
        >= 0.

    Examples
    --------
    >>> federation = {"cohort": 64.0, "popularity_start": True}
    >>> without = {"federation": federation, "privacy": {"epsilon": math.inf}}
    >>> [settled_rounds(without, people) for people in (600, 6_038, 20_000)]
    [60, 378, 600]
    >>> noised = {"federation": federation, "privacy": {"epsilon": 8.0}}
    >>> [settled_rounds(noised, people) for people in (943, 6_038, 20_000)]
    [0, 0, 8]
    """
    federation, privacy = tree["federation"], tree["privacy"]
    epsilon, cohort = privacy["epsilon"], federation["cohort"]
    if math.isinf(epsilon):
        expected = float(cohort * people if cohort <= 1 else cohort)
        return min(max(math.ceil(PASSES * people / expected), FEWEST), MOST)
    rich = epsilon * people / privacy.get("group_size", 1) >= TRAINED
    return PRIVATE if rich or _needs_rounds(federation, privacy) else 0


def _needs_rounds(federation: dict[str, Any], privacy: dict[str, Any]) -> bool:
    """Whether without rounds nothing would be released, or something asked for would be missing."""
    return (
        not federation["popularity_start"]
        or privacy.get("histogram_share") == 0
        or privacy.get("unit", "user") != "user"
        or privacy.get("trust") == "local"
        or privacy.get("mechanism") == "dp_ftrl"
        or bool(privacy.get("adaptive_clipping") or federation.get("metrics_every"))
    )
