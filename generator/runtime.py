"""Where our own networks run: the device that was asked for, or a refusal, never a silent CPU.

`open_network` loads a carded graph that is fed with prepared arrays and checks every call against
the card's shapes. Refused: a device this machine or this onnxruntime does not have
(DeviceUnavailable), what `generator.weights` refuses (WeightRefused), wrong arrays (ShapeError).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime

from generator.errors import FaceError, ShapeError, WeightRefused
from generator.weights import CPU, MODELS_FOLDER, WeightCard, read_weight, start_session

Device = Literal["cpu", "cuda"]
Array = npt.NDArray[np.float32]

_PROVIDERS: Mapping[str, str] = {"cpu": CPU, "cuda": "CUDAExecutionProvider"}


class DeviceUnavailable(FaceError):
    """The device that was asked for is not there, or this onnxruntime cannot use it."""

    code: ClassVar[str] = "DEVICE-UNAVAILABLE"


class Network:
    """A loaded graph, its card, and the device on which it really runs."""

    def __init__(
        self, card: WeightCard, session: onnxruntime.InferenceSession, device: Device
    ) -> None:
        self.card, self.device = card, device
        self.models: Mapping[str, str] = {card.name: card.sha256}
        self._session = session

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Return output name -> float32 array; the first dimension of all is the batch.

        Raises ShapeError where an array is missing or has another shape than the card says.
        """
        wanted = self.card.tensors
        if set(arrays) != set(wanted):
            raise ShapeError(
                f"inputs of {self.card.name}", actual=sorted(arrays), expected=sorted(wanted)
            )
        batch = next(iter(arrays.values())).shape[:1]
        for name, value in arrays.items():
            shape = (*batch, *wanted[name].shape)
            if value.shape != shape or value.dtype != np.float32:
                actual = f"{value.dtype} {value.shape}"
                raise ShapeError(f"{self.card.name}: {name}", actual=actual, expected=shape)
        names = list(self.card.outputs)
        try:
            values = self._session.run(names, arrays)
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            raise WeightRefused(
                f"{self.card.name} could not run on a batch of {batch[0]}"
            ) from error
        return dict(zip(names, values, strict=True))


def open_network(
    name: str, *, device: Device = "cpu", threads: int = 1, folder: Path = MODELS_FOLDER
) -> Network:
    """Load a carded graph on `device`; raises DeviceUnavailable and WeightRefused."""
    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise DeviceUnavailable(
            f"onnxruntime has no {provider} here",
            mend="install onnxruntime-gpu beside a CUDA driver, or ask for the CPU",
        )
    card, content = read_weight(name, folder)
    if not card.tensors:
        raise WeightRefused(f"{name} takes a picture, not prepared arrays")
    session = start_session(card, content, threads=threads, provider=provider)
    if session.get_providers()[0] != provider:
        raise DeviceUnavailable(f"onnxruntime fell back from {provider}, which is not accepted")
    return Network(card, session, device)
