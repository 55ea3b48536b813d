"""What a device keeps from one request to the next: its gate, its model, the keys of a sum.

Of a device's folder one of these is made, by the process that its owner started. What a request
brings is asked of the agreement before a model is built; the history is read as it is then.
"""

from __future__ import annotations

import time
from functools import lru_cache, partial

from client.device.agreement import LEDGER, Agreement
from client.device.clock import Days
from client.device.conditions import Machine
from client.device.device import Device
from client.device.folder import DeviceFolder
from client.device.personal import TENSORS
from client.device.staged import Stages
from client.secagg.identity import anybody, identity_of, roster
from client.secagg.masking import Masking
from client.secagg.turns import OnDisk
from shared.config import ExperimentConfig, ModelConfig
from shared.data.catalogue import Catalogue
from shared.data.population import person_key
from shared.errors import Declined, ModelError
from shared.model.recommender import Recommender
from shared.model.sources.choice import build, find
from shared.model.start import refuse_on_devices
from shared.privacy.contribution.units import sums_securely
from shared.request import STAGES, Answer, Request

SUM_SECONDS = 3600.0
"""How long a sum that began while its owner's conditions held is carried on without them: others
would have to be unmasked, or the whole sum be given up, for a lid that is closed in the middle."""


class Resident:
    """A device that stays.

    Parameters
    ----------
    folder : DeviceFolder
    days : Days, optional
        The clock.
    machine : Machine, optional
        What the owner's conditions are about.

    Raises
    ------
    ConfigError, DataError
        If the folder holds no device, or anything in it cannot be used.
    """

    def __init__(
        self, folder: DeviceFolder, days: Days | None = None, machine: Machine | None = None
    ) -> None:
        self.folder = folder
        self._machine, self._carried_on = machine or Machine(), 0.0
        owned = folder.owned
        self._key, self._roster = person_key(owned.user), owned.roster
        self._agreement = Agreement(folder.path, owned.operator, days)
        self._identity = identity_of(folder.path)
        self._kept: dict[str, bytes] = {}
        self._masking(0)
        if folder.forgotten:
            folder.forget()  # what work in hand may have kept since, where it was killed
        else:
            folder.store.history(folder.catalogue)

    def answer(self, request: Request, node: int) -> Answer:
        """What a device answers to a request, or to a stage of a secure sum.

        Parameters
        ----------
        request : Request
        node : int
            As whom the server addresses it.

        Raises
        ------
        Declined, ProtocolError
            If the owner's conditions do not hold; and as `client.device.device.Device.answer` and
            `client.device.staged.Stages.answer`.
        ConfigError, DataError, ModelError
            If the folder cannot be used, or the settings' model is not here.
        """
        self._check_forgotten(request)
        self._check_conditions(request)
        masking = self._masking(node)
        if request.stage:
            letter = Stages(masking, self._agreement).answer(request)
            if request.stage == STAGES[0]:  # what was asked for and declined begins nothing
                self._carried_on = _awake_or_not() + SUM_SECONDS
            return letter
        catalogue = self.folder.catalogue
        device = Device(
            self.folder.store.history(catalogue),
            self._key,
            partial(_built, catalogue, request.config),
            self.folder.path / LEDGER,
            agreement=self._agreement,
            personal=self.folder.path / TENSORS,
            masking=masking,
        )
        answer = device.answer(request)
        self._check_forgotten(request)  # while it was at work
        return answer

    def in_sum(self) -> bool:
        """Whether it holds the keys of a secure sum that has begun."""
        return bool(self._kept)

    def _check_forgotten(self, request: Request) -> None:
        if not self.folder.forgotten:
            return
        self.folder.forget()  # what work in hand may have kept since
        self._kept.clear()
        raise Declined(
            f"declined round {request.round_number}: this device has forgotten its person"
        )

    def _check_conditions(self, request: Request) -> None:
        """Whether it may begin; what has begun is carried on. Nothing is computed or recorded."""
        later = request.stage in STAGES[1:] or bool(request.sealed and not request.stage)
        summed = later and self.in_sum() and sums_securely(request.config, simulated=False)
        if summed and _awake_or_not() < self._carried_on:
            return
        why = self.folder.owned.conditions.objection(self._machine)
        if why:
            raise Declined(f"declined round {request.round_number}: {why}")

    def _masking(self, node: int) -> Masking:
        """Its part in secure sums; an edited roster counts at once."""
        trusted = roster(self.folder.path / self._roster) if self._roster else anybody
        return Masking(node, self._identity, self._kept, trusted, OnDisk(self.folder.path))


def _awake_or_not() -> float:
    """Seconds that pass while the machine sleeps, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _built(catalogue: Catalogue, config: ExperimentConfig) -> Recommender:
    """The model, or one kind of error: which kind would tell what lies on this disk."""
    asked, model = config.data.catalogue, config.model
    if asked not in (None, catalogue.digest):
        raise Declined(
            f"declined: it is about other items ({str(asked)[:12]}) than this device's "
            f"({catalogue.digest[:12]}): install the operator's last release",
            "policy",
        )
    try:
        refuse_on_devices(config)
        return _recommender(catalogue, model)
    except Exception as error:
        raise ModelError(f"model.backbone = {model.backbone}: no model here: {error}") from None


@lru_cache(maxsize=1)
def _recommender(catalogue: Catalogue, model: ModelConfig) -> Recommender:
    sources = find(model)
    for name, here, stated in sources.digests(model):
        if stated not in (None, here):
            raise ModelError(
                f"model.{name} = {getattr(model, name)}: the weights here are {here[:12]}, the "
                f"server's {str(stated)[:12]}; install the same"
            )
    return build(catalogue, sources, model)
