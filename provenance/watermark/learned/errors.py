"""What the learned mark can refuse, under `policies.errors.Error`."""

from __future__ import annotations

from typing import ClassVar

from policies.errors import Error
from provenance.errors import MarkError


class MarkWeightsRefused(MarkError):
    """The weights or their card are missing, altered, incomplete or not runnable."""

    code: ClassVar[str] = "MARK-WEIGHTS-REFUSED"


class TrainingRefused(Error):
    """A training run may not start: no pictures, no device, or a checkpoint that is not its own."""

    code: ClassVar[str] = "TRAINING-REFUSED"


class TrainingStopped(Error):
    """A training run ended early because going on would waste its time: it diverged or stalled."""

    code: ClassVar[str] = "TRAINING-STOPPED"
