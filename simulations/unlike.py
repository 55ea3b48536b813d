"""What, besides noise, sets points and references without noise apart from those with it."""

from __future__ import annotations

import math

from shared.config import at_epsilon
from shared.errors import ConfigError
from shared.privacy.contribution.units import update_clip
from simulations.compare import SAME_MODEL, settings_apart
from simulations.results import Point, Results, Stated

_MOMENTS = "exact moments"


def what_differs(results: Results, *, settings: bool = True) -> list[str]:
    """Sentences on it: of the points without noise, and of the reference `same_model`.

    Without `settings` only trained numbers and rounds are named.
    """
    noised = [point for point in results.points if point.private]
    open_ = [point for point in results.points if not point.private]
    told = []
    if noised and open_ and settings_apart(results.config):
        told.append(
            "The points without noise (inf) are not the noised points' model: "
            f"{_apart(results, open_[0], noised[0], settings=settings)}."
        )
    elif noised and open_:
        told.append(
            "The points without noise (inf) have the noised points' settings without noise "
            f"({', '.join(_besides(results, _clip_without_noise(results)))})."
        )
    if SAME_MODEL in results.references:
        same = results.references[SAME_MODEL]
        besides = [
            f"seed {same.get('seed')} alone",
            *_besides(results, same.number("clipping_norm")),
        ]
        told.append(
            "The reference same model has the noised points' settings without noise "
            f"({', '.join(besides)})."
        )
    return told


def _apart(results: Results, open_: Point, noised: Point, *, settings: bool) -> str:
    words = []
    for name, word in {"trained_parameters": "trained numbers", "rounds": "rounds"}.items():
        one, two = open_.number(name), noised.number(name)
        words += [f"{one:,.0f} {word} instead of {two:,.0f}"] * (abs(one - two) > 0)
    words += [
        f"{name} {usual} instead of {own}"
        for name, (own, usual) in settings_apart(results.config).items()
        if settings and name != "federation.rounds"
    ]
    told = _moments(results)
    words += [told] * (settings and told != _MOMENTS and _has_moments(results, private=False))
    more = "" if settings else f"{', and' if words else ''} other settings"
    return f"{', '.join(words)}{more}"


def _clip_without_noise(results: Results) -> float:
    """What the points at infinity clip updates at; NaN for nothing, or where settings are none."""
    try:
        clip = update_clip(at_epsilon(results.experiment(), math.inf, 0))
    except (ConfigError, KeyError, TypeError, ValueError):
        return math.nan
    return math.nan if clip is None else clip.norm


def _besides(results: Results, norm: float) -> list[str]:
    """What is otherwise without noise under the noised points' settings, updates clipped so."""
    config = Stated(results.config)
    privacy = Stated(config.table("privacy"))
    private = Stated(config.table("private")).table("federation")
    federation = Stated({**config.table("federation"), **private})
    unit = privacy.get("unit")
    if math.isnan(norm):
        of = {"example": "example's gradient", "both": "update or example's gradient"}
        told = [f"no {of.get(str(unit), 'update')} clipped"]
    else:
        adapts = privacy.number("adaptive_clipping") > 0
        told = [f"updates clipped at {norm:g} {'where those adapt' if adapts else 'as there'}"]
        told += ["no example's gradient clipped"] * (unit == "both")
    if privacy.get("mechanism") == "dp_ftrl":
        told.append("cohorts drawn independently")
    if federation.number("evaluate_every") > 0:
        told.append("the round that validates best kept")
    elif federation.get("select") == "private_metric":
        told.append("no round chosen by its metrics")
    if federation.get("popularity_start") is not False:
        told.append("exact histogram")
    if _has_moments(results, private=True):
        told.append(_moments(results))
    return told


def _has_moments(results: Results, *, private: bool) -> bool:
    config = Stated(results.config)
    model = config.table("model")
    if private:
        model = {**model, **Stated(config.table("private")).table("model")}
    return Stated(model).number("moments_rank") > 0


def _moments(results: Results) -> str:
    """Without noise they are exact; a budget may be too small for any, or their sum not opened."""
    noised = [point for point in results.points if point.private]
    without = [
        point
        for point in noised
        if "moments" not in point.table("releases") or point.table("opened").get("moments") is False
    ]
    if not without:
        return _MOMENTS
    at = ", ".join(f"{epsilon:g}" for epsilon in sorted({point.target for point in without}))
    which = "the noised" if len(without) == len(noised) else f"those at epsilon {at}"
    return f"{_MOMENTS}, which {which} have not"
