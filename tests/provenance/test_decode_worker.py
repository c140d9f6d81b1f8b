"""The worker limits itself before it loads a codec, then answers one request after another."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from provenance import decode_worker
from provenance.containers import open_container
from provenance.decode_worker import confine, fall_silent, load_codecs, main, serve
from provenance.errors import MediaError
from provenance.exchange import (
    ANSWER_BYTES,
    HELLO_BYTES,
    Coded,
    pack_request,
    read_answer,
    read_hello,
)
from provenance.pixels import load

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "media"


def coded(name: str) -> Coded:
    box = open_container((VECTORS / name).read_bytes())
    return Coded(box.mime, box.width, box.height, box.picture, box.icc)


def requests(*names: str) -> io.BytesIO:
    asked = [coded(name) for name in names]
    return io.BytesIO(b"".join(pack_request(one) + one.picture + one.icc for one in asked))


def test_answers_follow_one_another_and_a_refusal_is_one() -> None:
    names = ("display_p3.jpg", "bad_crc.png", "soft_alpha.png")
    out, jobs = io.BytesIO(), []
    serve(requests(*names), out, load, lambda: jobs.append("job"))
    assert len(jobs) == 3
    out.seek(0)
    form = read_answer(out.read(ANSWER_BYTES), coded(names[0]))
    assert form.profile == "converted"
    assert out.read(48 * 32 * 3) == load(coded(names[0])).frame.tobytes()
    with pytest.raises(MediaError) as caught:
        read_answer(out.read(ANSWER_BYTES), coded(names[1]))
    assert caught.value.code == "MEDIA-UNDECODABLE"
    pixels = load(coded(names[2]))
    assert read_answer(out.read(ANSWER_BYTES), coded(names[2])).alpha
    assert pixels.alpha is not None
    assert out.read() == pixels.frame.tobytes() + pixels.alpha.tobytes()


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_an_input_that_ends_ends_the_worker(cut: int) -> None:
    out = io.BytesIO()
    serve(io.BytesIO(requests("plain.png").getvalue()[:cut]), out, load, lambda: None)
    assert out.getvalue() == b""


def test_limits_come_first_and_shields_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[object] = []
    monkeypatch.setattr(decode_worker, "load_codecs", lambda: (order.append("codecs"), load)[1])
    monkeypatch.setattr(decode_worker, "limit_next_job", order.append)
    for network, calls in ((True, True), (False, False), (True, False)):
        order.clear()
        out = io.BytesIO()
        main(
            ["1000", "15"],
            requests("plain.png"),
            out,
            lambda memory, left=network: (order.append(memory), left)[1],
            lambda shut=calls: (order.append("close"), shut)[1],
        )
        assert order == [1000, "codecs", "close", 15]
        shields = read_hello(out.getvalue()[:HELLO_BYTES])
        assert ("network" in shields, "calls" in shields) == (network, calls)
        assert len(out.getvalue()) == HELLO_BYTES + ANSWER_BYTES + 48 * 32 * 3


def test_confining_takes_limits_then_leaves_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[object] = []
    monkeypatch.setattr(decode_worker, "limit_process", order.append)
    monkeypatch.setattr(decode_worker, "leave_network", lambda: (order.append("net"), True)[1])
    assert confine(5)
    assert order == [5, "net"]


def test_codecs_are_warm_before_they_are_given_out() -> None:
    assert load_codecs() is load


def test_complaints_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[tuple[str, int]] = []
    monkeypatch.setattr(
        os, "dup2", lambda one, two: moved.append((os.readlink(f"/proc/self/fd/{one}"), two))
    )
    monkeypatch.setattr(decode_worker, "close_calls", lambda: True)
    assert fall_silent()
    assert moved == [("/dev/null", 2)]


def test_importing_the_worker_loads_no_codec() -> None:
    words = "import sys; sys.path.insert(0, sys.argv[1]); import provenance.decode_worker;"
    words += "print(sorted({'PIL', 'numpy', 'cv2', 'av', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", words, str(ROOT)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_request_is_as_long_as_it_says() -> None:
    header = pack_request(Coded("image/webp", 5, 6, b"12345678", b"9"))
    assert struct.unpack(">4sBIIII", header) == (b"FWQ1", 2, 5, 6, 8, 1)
