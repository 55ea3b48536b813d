"""How a slate is chosen where what is shown is also how one learns: exploration policies.

`layer` is what is believed of rewards (Bayesian last layer), `policies` what is shown given that,
`slates` how places are filled and with which chance, `device` all of it for one person. A policy is
how a slate is chosen, never a promise: that word is the signed one.
"""

from client.serving.exploration.layer import BayesianLayer, Posterior
from client.serving.exploration.policies import NAMES, Beliefs, chances_of
from client.serving.exploration.slates import draw, examination, propensities

__all__ = [
    "NAMES",
    "BayesianLayer",
    "Beliefs",
    "Posterior",
    "chances_of",
    "draw",
    "examination",
    "propensities",
]
