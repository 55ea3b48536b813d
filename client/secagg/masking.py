"""One device in secure sums: a letter for each stage, and a mask over what it adds.

Its keys live as long as one sum does, in the memory of whoever runs the device: `kept` is handed on
from one message to the next, is never written to a disk and never sent. A device that restarts in
between has lost them, and drops out of that sum as one that went away does.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.secagg.identity import Trusted, anybody
from client.secagg.turns import InMemory, Turns
from shared.errors import ProtocolError
from shared.privacy.plan.summed import SummedForm, summed_form
from shared.request import Letter, Request
from shared.secagg.participant import Participant, Stage
from shared.secagg.session import Session
from shared.update import Update

Kept = MutableMapping[str, bytes]
_PARTICIPANT = "participant"
_ANY = InMemory()


class Masking:
    """What one device keeps of the secure sum it is in: one at a time.

    Parameters
    ----------
    node : int
        As whom the server addresses it.
    identity : Ed25519PrivateKey
    trusted : callable
        Whether a node may have a public key, see `client.secagg.identity`.
    kept : mutable mapping of str to bytes
        Lasts from message to message.
    turns : Turns
        Lets each stage be answered once.
    """

    def __init__(
        self,
        node: int,
        identity: Ed25519PrivateKey,
        kept: Kept,
        trusted: Trusted = anybody,
        turns: Turns = _ANY,
    ) -> None:
        self._node = node
        self._identity = identity
        self._trusted = trusted
        self._kept = kept
        self._turns = turns

    def letter(self, request: Request) -> Letter:
        """The answer to a stage.

        Raises
        ------
        ProtocolError
            If the stage is out of turn, of another sum, or breaks a rule of the protocol: the
            device has forgotten its keys then, and is in this sum no more.
        """
        participant = self._taken(request)
        answer = {
            "seeds": participant.share,
            "survivors": participant.agree,
            "unmask": participant.reveal,
        }
        if request.stage == "keys":
            letter = participant.advertise()
        else:
            letter = answer[request.stage](request.sealed)
        if request.stage == "seeds":
            most = _form(request).most
            if participant.cohort > most:
                raise ProtocolError(f"secure sum: more than {most} devices: not what was agreed")
        if request.stage != "unmask":
            self._kept[_PARTICIPANT] = participant.save()
        return Letter(letter)

    def examine(self, request: Request) -> None:
        """Refuse what `masked` would, before anything is computed or recorded for it.

        Raises
        ------
        ProtocolError
            As `letter`.
        """
        saved = self._kept.pop(_PARTICIPANT, None)
        self._restored(request, saved).examine(request.sealed)
        self._kept[_PARTICIPANT] = cast(bytes, saved)

    def masked(self, request: Request, update: Update) -> Update:
        """What is added to the sum: elements of a ring that alone say nothing.

        Parameters
        ----------
        request : Request
            With what the others sent to this device.
        update : Update
            In the ring of the sum.

        Raises
        ------
        ProtocolError
            As `letter`.
        """
        participant = self._taken(request)
        elements = participant.mask(request.sealed, update.vector)
        self._kept[_PARTICIPANT] = participant.save()
        return replace(update, vector=elements)

    def _taken(self, request: Request) -> Participant:
        """Whoever goes on with the sum; nothing is kept of it if that fails."""
        saved = self._kept.pop(_PARTICIPANT, None)
        if request.stage == "keys":
            session = Session.read(request.sealed)
            check(session, request)
            self._turns.take(session.digest.hex(), Stage.ADVERTISED)
            return Participant(session, self._node, self._identity, self._trusted)
        participant = self._restored(request, saved)
        self._turns.take(participant.session.digest.hex(), Stage(participant.stage + 1))
        return participant

    def _restored(self, request: Request, saved: bytes | None) -> Participant:
        if saved is None:
            raise ProtocolError(
                f"{request.stage or request.release}: this device is in no sum: it was restarted, "
                "or the sum went on without it"
            )
        participant = Participant.restore(saved, self._identity, self._trusted)
        if participant.session.context != request.about:
            raise ProtocolError(f"{request.stage or request.release}: of another sum")
        return participant


def _form(request: Request) -> SummedForm:
    return summed_form(request.config, request.users, request.release, request.clip)


def check(session: Session, request: Request) -> None:
    """Refuse a sum that is not the one which settings and policy make of a request.

    Raises
    ------
    ProtocolError
    """
    form = _form(request)
    asked = {
        "what it is of": (session.context, request.about),
        "bits": (session.bits, form.ring.bits),
        "fewest contributions": (session.fewest, form.fewest),
        "share in league with the server": (
            session.colluding,
            request.config.privacy.colluding,
        ),
    }
    for name, (given, expected) in asked.items():
        if given != expected:
            raise ProtocolError(f"secure sum: {name}: not what the settings say")
