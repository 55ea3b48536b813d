"""A tiny federation that attacks are tried on: a letter backbone, some dozens of people."""

import math

from scipy.optimize import brentq

from shared.config import at_epsilon, from_dict
from simulations.audit.attacks.halves import audited, memberships, released_without
from simulations.audit.evidence import gaussian_delta
from simulations.engine.simulation import Simulation


def simulated(backbone, users, **federation):
    """A simulation on `world`, each person's whole history one window."""
    tree = {
        "data": {"spec": "world", "users": users, "world_items": 120},
        "model": {
            "backbone": str(backbone),
            "layers": 0,
            "max_length": 60,
            "lora_rank": 1,
            "projection_rank": 24,
        },
        "train": {"max_windows": 1},
        "federation": {"rounds": 2, "cohort": 1.0, "server_optimizer": "fedavgm"} | federation,
        "privacy": {"clipping_norm": 0.5},
    }
    return Simulation(from_dict(tree))


def at(simulation, epsilon=math.inf, seed=0):
    """The settings of a point, without what an evaluator sees."""
    return audited(at_epsilon(simulation.config, epsilon, seed))


def trained(simulation, epsilon, models, folder, seed=0):
    """Runs on halves of the people, and who was in."""
    keys = list(simulation.users)
    bits = memberships(models, len(keys), seed)
    released = []
    for number, row in enumerate(bits):
        out = [key for key, within in zip(keys, row, strict=True) if not within]
        point = at(simulation, epsilon, number)
        released.append(released_without(simulation, point, out, folder / str(number)))
    return released, bits


def shift_of(epsilon, delta):
    """How far apart, in standard deviations, a Gaussian's two worlds are at (epsilon, delta)."""
    return brentq(lambda shift: gaussian_delta(epsilon, shift) - delta, 1e-9, 50)
