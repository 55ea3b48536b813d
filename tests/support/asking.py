"""Requests as a server makes them, and what engines answer to them in this process."""

from server.messages import messages
from shared.aggregation import rule_of
from shared.aggregation.travel import sent
from shared.config import settings_hash
from shared.request import Request


def asked(config, release="update", number=1, users=40, **fields):
    """A request under some settings; keyword arguments are fields of `Request`."""
    fields = {"settings": settings_hash(config), "round_number": number} | fields
    return Request(release, config, users, **fields)


def letters(nodes, request):
    """The messages that carry a request, numbered as Flower's link would."""
    made = messages(request, nodes)
    for number, message in enumerate(made):
        message.metadata.__dict__["_message_id"] = str(number)
    return made


def trained(engine, users, adapter, config, number=1, *, merge, state=None):
    """Members and updates of a cohort that was sent an adapter, float32 [dim]."""
    arrays = sent(rule_of(config), engine.schema.split(adapter.numpy()))
    people = len(engine.population)
    request = asked(config, number=number, users=people, merge=merge, arrays=arrays)
    return list(engine.answer(request, users, state))


def ranked(engine, users, adapter, phase, config, number=0, state=None):
    """Sampled and full ranks of a cohort that was sent an adapter, float32 [dim]."""
    arrays = sent(rule_of(config), engine.schema.split(adapter.numpy()))
    request = asked(config, "ranks", number, merge=True, arrays=arrays, phase=phase)
    found = [answer for _, answer in engine.answer(request, users, state)]
    return tuple([rank for ranks in found for rank in getattr(ranks, of)] for of in WAYS)


WAYS = ("sampled", "full")


def counted(engine, users, config):
    """Members and the sum of the histograms of a cohort."""
    found = list(engine.answer(asked(config, "histogram", 0, merge=True), users))
    total = found[0][1]
    for _, update in found[1:]:
        total = total + update
    return [user for members, _ in found for user in members], total
