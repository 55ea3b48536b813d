"""Settings on which mistakes are planted, what an auditor calls each, and what it says."""

from shared.config import from_dict
from simulations.audit.checks import devices, neighbours, noise, people, record
from simulations.audit.static import cause, examined, of_one
from tests.support.auditing import planted

PEOPLE, CANARIES = 90, 80


def settings(backbone, **sections):
    """A point with every kind of sum but moments, of 696 trained numbers."""
    tree = {
        "data": {"spec": "world", "users": PEOPLE, "world_items": 120, "evaluated_users": 2},
        "model": {
            "backbone": str(backbone),
            "layers": 0,
            "max_length": 8,
            "lora_rank": 2,
            "projection_rank": 8,
            "moments_rank": 0,
        },
        "train": {"max_windows": 1, "local_lr": 0.5},
        "federation": {
            "rounds": 5,
            "cohort": 0.5,
            "server_optimizer": "fedavgm",
            "server_lr": 0.3,
            "metrics_cohort": 0.2,
        },
        "privacy": {"clipping_norm": 0.5, "metrics_share": 0.1, "histogram_share": 0.1},
    }
    tree["data"]["negatives"] = 20
    for section, more in sections.items():
        tree[section] = tree.get(section, {}) | more
    return from_dict(tree)


CROWD = 500


def sharp(backbone, kind="user"):
    """Everyone in every round of two; of "once" in the histogram, and in nothing else."""
    unit, windows = ("example", 2) if kind == "example" else ("user", 1)
    once = {"rounds": 0} if kind == "once" else {"rounds": 2, "popularity_start": False}
    return settings(
        backbone,
        data={"users": CROWD, "world_items": CROWD},
        train={"max_windows": windows},
        federation={"cohort": 1.0, "metrics_cohort": 1.0, **once},
        privacy={"delta": 1e-5, "unit": unit, "metrics_share": 0.0, "histogram_share": None},
    )


WHOLE = {"federation": {"cohort": 1.0, "metrics_cohort": 1.0}}
SHARED = {
    "federation": {"cohort": 1.0, "rounds": 3, "popularity_start": False, "metrics_cohort": 1.0},
    "privacy": {
        "trust": "distributed",
        "min_survivors": 0.5,
        "colluding": 0.0,
        "metrics_share": 0.0,
        "histogram_share": 0.0,
    },
}
LOCAL = {
    "federation": {"cohort": 0.2, "rounds": 3, "popularity_start": False},
    "privacy": {
        "unit": "example",
        "trust": "local",
        "metrics_share": 0.0,
        "histogram_share": 0.0,
    },
}
TURNS = {
    "federation": {"cohort": 0.5, "server_optimizer": "fedavgm"},
    "privacy": {"mechanism": "dp_ftrl", "min_separation": 2, "metrics_share": 0.0},
}
OF_A_PERSON = {"": {}, "whole": WHOLE, "shared": SHARED, "local": LOCAL, "turns": TURNS}


def named(replay, kind):
    """What the auditor says is the cause; None: all is well."""
    if kind == "neighbours":
        return cause(examined(replay, replay.canaries(CANARIES))[1])
    if kind == "shared":
        return cause(of_one(replay.run(replay.canaries(PEOPLE), lost=0.45)))
    if kind == "local":
        return cause(of_one(replay.run()))
    return cause(of_one(replay.run(replay.canaries(CANARIES))))


BUGS = {
    planted.half_the_noise: ("", noise.SCALE),
    planted.noise_for_the_mean: ("", noise.MEAN),
    planted.clip_after_the_sum: ("", people.CLIP),
    planted.clip_of_each_layer: ("", people.LAYERS),
    planted.a_round_with_twice_the_clip: ("", people.CLIP),
    planted.weights_by_interactions: ("", people.WEIGHTS),
    planted.the_same_noise_every_round: ("", noise.FRESH),
    planted.a_round_off_the_ledger: ("", record.LEDGER),
    planted.a_cohort_of_fixed_size: ("", people.SAMPLING),
    planted.a_metric_as_it_is: ("", record.RAW),
    planted.half_the_sensitivity: ("whole", record.EPSILON),
    planted.the_same_noise_on_every_device: ("local", devices.SAME),
    planted.shares_for_all_who_were_asked: ("shared", noise.DROPOUTS),
    planted.half_the_correlated_noise: ("turns", noise.SCALE),
    planted.noise_of_each_round_alone: ("turns", noise.FRESH),
    planted.turns_that_nobody_counts: ("turns", people.TURNS),
    planted.a_draw_by_place_in_the_log: ("neighbours", neighbours.PLACE),
    planted.a_hash_of_what_was_summed: ("neighbours", neighbours.PUBLIC),
}
KINDS = ("", "whole", "shared", "local", "turns", "neighbours")
