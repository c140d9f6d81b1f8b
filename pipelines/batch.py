"""The whole system on one screen: a batch of requests in, one outcome each out.

consent -> facts -> decision -> warrant -> swap -> mark, label, sign, read back, log -> released.
A refusal is a result, and so is a picture that cannot be used; only faults raise. Running a batch
again is safe: what was released is delivered again, what was interrupted is ended and redone; a
video (`clips`) is gone on with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from generator.measure import measure, require_nobody_opted_out
from generator.swap import swap
from pipelines.clips import Step, make_clip
from pipelines.deployment import Deployment
from pipelines.outcome import Job, Outcome, refused, rejected, released
from policies.decide import Refused
from policies.errors import Error, StoreUnavailable
from provenance.clip_release import ReleasedClip
from provenance.media import decode
from provenance.release import Released, redeliver, release

Observer: TypeAlias = Callable[[str, str, float], None]
"""Told (request id, step, seconds) after every step."""


def run_batch(
    jobs: Sequence[Job], *, deployment: Deployment, observe: Observer = lambda *_: None
) -> list[Outcome]:
    """Run every job and return one outcome each, in order.

    Raises StoreUnavailable, and any fault of code or device, after aborting the job's warrant: the
    batch is then run again, and what it had released is delivered.
    """
    return [_run(job, deployment, observe) for job in jobs]


def _run(job: Job, deployment: Deployment, observe: Observer) -> Outcome:
    step = partial(_step, observe, job.request.request_id)
    try:
        return released(job, _make(job, deployment, step))
    except Refused as error:
        return refused(job, error)
    except StoreUnavailable:
        raise
    except Error as error:
        if isinstance(cause := error.__cause__, StoreUnavailable):
            # A disk that filled up says nothing about the request: it must be run again.
            raise StoreUnavailable(cause.message, mend=cause.mend) from error
        return rejected(job.request.request_id, error)


def _make(job: Job, at: Deployment, step: Step) -> Released | ReleasedClip:
    request, desk, analyser = job.request, at.desk, at.analyser
    if isinstance(job.target, Path):
        return make_clip(request, job.source, job.target, at=at, step=step)
    identity = analyser.models[analyser.id_model]
    if row := at.archive.registry.by_request(request.request_id):
        again = redeliver(row, request, press=at.press, identity=identity)
        with step("ask the opt-outs again"):
            require_nobody_opted_out(request, book=at.consents, analyser=analyser, gates=at.gates)
        return again
    for warrant in desk.abandoned(request.request_id):
        desk.abort(warrant, "interrupted")
    with step("precheck consents"):
        desk.precheck(request, identity_model_sha256=identity)
    with step("decode pictures"):
        source, target = (decode(d, load=at.decoder) for d in (job.source, job.target))
    with step("measure faces, age, nudity, opt-outs"):
        measured = measure(
            request,
            source,
            target,
            book=at.consents,
            analyser=analyser,
            gates=at.gates,
            swapper_models=at.swapper.models,
        )
    with step("decide, issue warrant"):
        warrant = desk.admit(request, measured)
    try:
        active = desk.start(warrant)
        with step("swap"):
            draft = swap(
                source,
                target,
                warrant=active,
                analyser=analyser,
                swapper=at.swapper,
                gates=at.gates,
            )
        with step("mark, label, sign, read back, log"):
            return release(draft, press=at.press)
    except BaseException as error:
        # Also on Ctrl-C: the warrant ends here and its uses are given back.
        desk.abort(warrant, type(error).__name__)
        raise


@contextmanager
def _step(observe: Observer, request_id: str, name: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    observe(request_id, name, time.perf_counter() - begun)
