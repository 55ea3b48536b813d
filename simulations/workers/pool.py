"""A pool of workers over Ray: questions go to whoever is free, and survive the worker they went to.

One thread of this process stands for each worker. It hires the worker (a Ray actor, wherever Ray
finds room), opens its data and puts one question after the other to it. A worker that dies is
replaced, and its question goes back to the front of the queue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, PriorityQueue
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayError, RayTaskError

from shared.config import ExperimentConfig
from shared.data.salted import SaltedDigest
from shared.errors import EngineError, StarlingError
from simulations.engine.placement import choose_device
from simulations.workers.factory import WorkerFactory, check_folder, kill, reason
from simulations.workers.ray_session import RaySession, join, start_here

_LOOK = 0.5  # seconds between looks whether anything has changed
_PATIENCE = 600.0  # seconds that a pool without any worker waits: imports may take minutes
_ATTEMPTS = 3  # workers that one question, or one start, may end


class Stopped(EngineError):
    """The pool was closed while an answer was waited for."""


@dataclass(order=True)
class _Question:
    place: tuple[int, int]  # whose, and the how many-th: the smallest goes first
    method: str = field(compare=False)
    arguments: tuple[Any, ...] = field(compare=False)
    answer: Future[Any] = field(compare=False, default_factory=Future)
    ended: int = field(compare=False, default=0)  # workers that it was put to in vain


class WorkerPool:
    """Workers from the first point of a sweep to the last.

    Parameters
    ----------
    session : RaySession
        Closed with the pool.
    config : ExperimentConfig
        What every worker opens, and how it computes.
    vectors : float32 [items, d]
        Of the catalogue.
    data : SaltedDigest, optional
        Of the people that every worker must open.

    Attributes
    ----------
    tell : callable
        Told, in a line, of workers that were lost.
    """

    def __init__(
        self,
        session: RaySession,
        config: ExperimentConfig,
        vectors: npt.NDArray[np.float32],
        data: SaltedDigest | None = None,
    ) -> None:
        self.session = session
        self.tell: Callable[[str], None] = lambda line: None
        self._factory = WorkerFactory(session.share, config, vectors, data)
        self._folder: Path | None = None
        self._questions: PriorityQueue[_Question] = PriorityQueue()
        self._ranks, self._numbers = itertools.count(), itertools.count()
        self._changed = threading.Condition()
        self._working = 0
        self._idle_since = time.monotonic()
        self._failure: StarlingError | None = None
        self._actors: dict[int, Any] = {}
        self._threads = [
            threading.Thread(target=self._stand_for, args=(place,), name=f"worker-{place}")
            for place in range(session.share.workers)
        ]

    @property
    def size(self) -> int:
        """Workers, >= 1."""
        return len(self._threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def start(self) -> None:
        """Hire all workers; returns when every one has opened its data.

        Where some have and the others found no room for some minutes, these begin without them.

        Raises
        ------
        ConfigError
            If one has other software, data, items or weights.
        EngineError
            If they do not start.
        """
        for thread in self._threads:
            thread.start()
        with self._changed:
            while self._failure is None and self._working < self.size:
                self._changed.wait(_LOOK)
                if self._working and time.monotonic() - self._idle_since > _PATIENCE:
                    break
        if self._failure is not None:
            raise self._failure

    def keep_in(self, folder: Path) -> None:
        """Devices will keep ledgers below a folder, so every worker must have it in common with us.

        Checked for each worker before its next question.
        """
        self._folder = folder.resolve()

    def rank(self) -> int:
        """A place in the queue: questions of an earlier one go first."""
        return next(self._ranks)

    def ask(self, rank: int, method: str, *arguments: Any) -> Future[Any]:
        """Put a question to whoever is free.

        Parameters
        ----------
        rank : int
            See `rank`.
        method : str
            Of `Worker`.
        arguments
            For it; references into Ray's store are resolved.

        Returns
        -------
        Future
            Of the answer; of what the worker raised; or `EngineError`.
        """
        question = _Question((rank, next(self._numbers)), method, arguments)
        self._questions.put(question)
        if self._failure is not None:
            self._refuse_all()
        return question.answer

    def stop(self) -> None:
        """Answer nothing more: whoever waits gets `Stopped`."""
        self._fail(Stopped("stopped"))

    def close(self) -> None:
        """End the workers, and leave Ray."""
        self.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self.session.close()

    def _fail(self, error: StarlingError) -> None:
        with self._changed:
            self._failure = self._failure or error
            actors = list(self._actors.values())
            self._changed.notify_all()
        for actor in actors:
            kill(actor)  # ends the waiting of its thread
        self._refuse_all()

    def _refuse_all(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._settle(self._questions.get_nowait(), self._failure)

    def _settle(self, question: _Question, error: BaseException | None) -> None:
        if error is not None:
            # Who asked may cancel at this very moment, or may have.
            with contextlib.suppress(InvalidStateError):
                question.answer.set_exception(error)

    def _stand_for(self, place: int) -> None:
        """The life of one worker's thread."""
        while self._failure is None:
            try:
                actor = self._hire(place)
                self._serve(place, actor)
            except StarlingError as error:
                self._fail(error)
            except Exception as error:  # nobody would hear of it
                self._fail(EngineError(f"workers: {type(error).__name__}: {error}"))
            finally:
                kill(self._actors.pop(place, None))

    def _hire(self, place: int) -> Any:
        """A worker with its data open."""
        for left in reversed(range(_ATTEMPTS)):
            actor = self._actors[place] = self._factory.place()
            try:
                self._factory.introduce(actor, self._go_on_waiting)
                return actor
            except RayError as error:
                kill(actor)
                self._raise_failure()
                if not left:
                    raise EngineError(f"a worker does not start: {reason(error)}") from error
        raise EngineError("a worker does not start")

    def _go_on_waiting(self) -> None:
        """Where others work a replacement may take its time; where nobody does, nothing moves."""
        self._raise_failure()
        with self._changed:
            waited = 0.0 if self._working else time.monotonic() - self._idle_since
        if waited > _PATIENCE:
            share = self.session.share
            raise EngineError(
                f"no worker started within {_PATIENCE:.0f} s: the cluster has no room for one of "
                f"{share.cpus} core(s) and {share.gpus:g} GPU; free or add nodes"
            )

    def _serve(self, place: int, actor: Any) -> None:
        """Put questions to a worker until it is lost."""
        reached: Path | None = None
        self._count(1)
        try:
            while self._failure is None:
                try:
                    question = self._questions.get(timeout=_LOOK)
                except Empty:
                    continue
                if question.ended == 0 and not question.answer.set_running_or_notify_cancel():
                    continue
                if not self._put(question, place, actor, reached):
                    return
                reached = self._folder
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._changed:
            self._working += more
            self._idle_since = time.monotonic()
            self._changed.notify_all()

    def _put(self, question: _Question, place: int, actor: Any, reached: Path | None) -> bool:
        """Have a question answered; false if that ended the worker."""
        try:
            if self._folder is not None and self._folder != reached:
                check_folder(self._folder, actor, f".probe-{place}")
            answer = ray.get(getattr(actor, question.method).remote(*question.arguments))
        except RayTaskError as error:
            self._settle(question, _own(error))
        except RayError as error:
            self._give_back(question, error)
            return False
        except BaseException as error:  # whoever waits for an answer gets one
            self._settle(question, error)
            raise
        else:
            with contextlib.suppress(InvalidStateError):  # as in `_settle`
                question.answer.set_result(answer)
        return True

    def _give_back(self, question: _Question, error: RayError) -> None:
        """A worker was lost: its question is put to another, unless it was what ended it."""
        question.ended += 1
        if self._failure is not None:
            self._settle(question, self._failure)
        elif question.ended == _ATTEMPTS:
            self._settle(
                question,
                EngineError(
                    f"{_ATTEMPTS} workers ended while they answered the same question "
                    f"({question.method}): {reason(error)}; give fewer --workers, "
                    "or start anew with a smaller --micro-batch"
                ),
            )
        else:
            self._questions.put(question)
            self.tell(f"a worker was lost; its work is done again ({reason(error)})")
            if self._failure is not None:
                self._refuse_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def open_pool(
    config: ExperimentConfig, vectors: npt.NDArray[np.float32], data: SaltedDigest
) -> WorkerPool:
    """The pool that settings ask for, not started: on this machine or on the cluster they name.

    Parameters
    ----------
    config : ExperimentConfig
        With the digests of items and weights.
    vectors : float32 [items, d]
        Of the catalogue.
    data : SaltedDigest
        Of the people that every worker must open.

    Raises
    ------
    ConfigError
        If Ray is not installed, or machine or cluster are too small for the settings.
    EngineError
        If Ray does not start, or nobody answers at the address.
    """
    device = choose_device(config.engine.device)
    if config.engine.address:
        session = join(config.engine, device)
    else:
        session = start_here(config.engine, device, vectors.nbytes)
    # A worker is one process of the cohort engine, and hires nobody.
    engine = dataclasses.replace(
        config.engine,
        device=cast(Any, session.device),
        threads=session.share.cpus,
        gpus_per_client=session.share.gpus,
        workers=0,
        address="",
    )
    return WorkerPool(session, dataclasses.replace(config, engine=engine), vectors, data)


def _own(error: RayTaskError) -> BaseException:
    """What the worker raised, as this process would have raised it."""
    cause = error.cause
    return cause if isinstance(cause, Exception) else EngineError(reason(error))
