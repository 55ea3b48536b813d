"""Off-policy evaluation: what another policy would have earned, from a log of what one showed.

`feedback` reads the log, `policies` are what is to be valued, `estimators` the formulas, `value`
the answer with its intervals and what they rest on; `effects` asks it of every item.
"""

from simulations.offpolicy.effects import Effects, item_effects
from simulations.offpolicy.feedback import LoggedFeedback
from simulations.offpolicy.policies import named_policy
from simulations.offpolicy.reading import read_feedback
from simulations.offpolicy.value import Valued, value_of

__all__ = [
    "Effects",
    "LoggedFeedback",
    "Valued",
    "item_effects",
    "named_policy",
    "read_feedback",
    "value_of",
]
