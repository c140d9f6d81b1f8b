"""No test changes how the kernel schedules the tests after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

Keep = Callable[[], AbstractContextManager[None]]


def encode_av1(path: Path) -> None:
    """One AV1 frame; as root, the encoder makes the thread that calls it real-time."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libsvtav1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="bgr24")
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def test_the_av1_encoder_leaves_the_scheduler_as_it_was(
    scheduler_kept: Keep, tmp_path: Path
) -> None:
    before = os.sched_getscheduler(0)
    with scheduler_kept():
        encode_av1(tmp_path / "a.mp4")
    assert os.sched_getscheduler(0) == before


def test_a_changed_scheduler_is_put_back_after_a_failure_too(scheduler_kept: Keep) -> None:
    before = os.sched_getscheduler(0)
    other = os.SCHED_BATCH if before == os.SCHED_OTHER else os.SCHED_OTHER

    def change() -> None:
        with scheduler_kept():
            os.sched_setscheduler(0, other, os.sched_param(0))
            assert os.sched_getscheduler(0) == other
            raise InterruptedError

    with pytest.raises(InterruptedError):
        change()
    assert os.sched_getscheduler(0) == before
