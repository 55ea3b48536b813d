"""The stages around a secure sum, for which a device needs neither its model nor its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from client.secagg.masking import Masking
from shared.errors import ProtocolError
from shared.privacy.contribution.units import sums_securely
from shared.request import SUMMED, Letter, Request

if TYPE_CHECKING:
    from client.device.agreement import Agreement


class Stages:
    """A device as far as secure sums are about its keys.

    Parameters
    ----------
    masking : Masking
    agreement : Agreement, optional
        Asked before the device begins: what it would not answer it takes no part in.
    simulated : bool
        Whether it is a virtual person's.
    """

    def __init__(
        self, masking: Masking, agreement: Agreement | None = None, *, simulated: bool = False
    ) -> None:
        self._masking = masking
        self._agreement = agreement
        self._simulated = simulated

    def answer(self, request: Request) -> Letter:
        """The letter of a stage.

        Raises
        ------
        Declined
            If the release would be declined.
        ProtocolError
            If nothing of the kind is summed securely, or as `Masking.letter`.
        """
        securely = sums_securely(request.config, simulated=self._simulated)
        if not securely or request.release not in SUMMED:
            raise ProtocolError(f"{request.stage}: {request.release} is not summed securely here")
        if request.stage == "keys" and self._agreement is not None:
            self._agreement.foresee(request)
        return self._masking.letter(request)
