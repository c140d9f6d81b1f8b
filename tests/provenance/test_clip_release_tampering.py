"""Somebody else writes into the work folder while a video is released: nothing comes out."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import provenance.clip_release
from provenance.clip import open_clip
from provenance.errors import NotReleased
from provenance.labels import write_video_labels
from provenance.pieces import Pieces
from provenance.press import sign_release, write_packet
from provenance.video_write import encode_segment

CHANGED = "a file was changed while the video was released"


class Around:
    """A part of the press with some of its methods replaced; the rest is the part's own."""

    def __init__(self, part: object, **replaced: object) -> None:
        self._part = part
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def refused(cinema: Any, words: str, draft: Any = None, **parts: Any) -> None:
    """Release; it must be refused with these words, and nothing may be left anywhere."""
    draft = draft or cinema.draft()
    with pytest.raises(NotReleased, match=words):
        cinema.release(draft, **parts)
    document = draft.warrant.document
    assert cinema.studio.kept() == []
    assert list(cinema.work.iterdir()) == []
    assert cinema.studio.office.desk.state(document.warrant_id) == "aborted"
    assert "release" not in cinema.studio.kinds()


def never_asked(cinema: Any) -> Any:
    return Around(cinema.press.signer, check=lambda: pytest.fail("was asked to sign"))


@pytest.fixture
def own_target(cinema: Any, tmp_path: Path) -> Any:
    """The cinema with a copy of the target that this test may change."""
    (tmp_path / "own").mkdir()
    cinema.clip = open_clip(cinema.clip.path, workspace=tmp_path / "own")
    return cinema


def test_a_file_that_is_swapped_after_it_was_read_back_is_not_released(cinema: Any) -> None:
    foreign, store = cinema.clip.path.read_bytes(), cinema.press.store

    def put_file(path: Path) -> str:
        path.write_bytes(foreign)
        return str(store.put_file(path))

    refused(cinema, CHANGED, store=Around(store, put_file=put_file))


def test_a_piece_that_is_swapped_after_its_note_is_not_joined(
    cinema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Pieces.keep

    def swap(pieces: Pieces, start: int, data: bytes) -> None:
        keep(pieces, start, data)
        pieces.path(start).write_bytes(encode_segment(iter(cinema.film), cinema.clip.form))

    monkeypatch.setattr(Pieces, "keep", swap)
    refused(cinema, "the piece from frame 0 on was changed", signer=never_asked(cinema))


def altered(film: Path, films: Any) -> Path:
    """The film with every frame changed in one place, at the same times."""
    shots = films.project(film)
    for shot in shots:
        shot[100:140, 100:140] = shot[140:180, 100:140]
    made: Path = films.develop(film.with_name("altered.mp4"), shots)
    return made


def test_other_pictures_under_our_labels_are_not_signed(
    cinema: Any, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(source: Any, out: Any, **said: Any) -> None:
        with altered(Path(source.name), films).open("rb") as other:
            write_video_labels(other, out, **said)

    monkeypatch.setattr(provenance.clip_release, "write_video_labels", write)
    refused(cinema, "other pictures or sound", signer=never_asked(cinema))


def test_other_pictures_that_were_signed_are_not_released(
    cinema: Any, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sign(made: Any, marked: Path, payload: Any, press: Any, **named: Any) -> Any:
        packet = write_packet(payload, press, aigc=False)
        said = {"xmp": packet, "provider": press.provider, "output_id": payload.mark_id}
        with altered(marked, films).open("rb") as other, marked.open("wb") as file:
            write_video_labels(other, file, **said)
        return sign_release(made, marked, payload, press, **named)

    monkeypatch.setattr(provenance.clip_release, "sign_release", sign)
    refused(cinema, "other pictures or sound")


def test_a_copy_that_is_changed_while_it_is_read_back_is_not_released(cinema: Any) -> None:
    detect = cinema.press.watermark.detect

    def change(frame: Any, **how: Any) -> Any:
        for copy in cinema.work.glob("*/*.mp4"):
            if len(copy.stem) == 64:
                with copy.open("ab") as file:
                    file.write(b"\x00\x00\x00\x08free")
        return detect(frame, **how)

    refused(cinema, CHANGED, watermark=Around(cinema.press.watermark, detect=change))


def change_target(cinema: Any) -> None:
    with cinema.clip.path.open("ab") as file:
        file.write(b"\x00\x00\x00\x08free")


def test_frames_of_a_target_that_was_changed_are_not_kept(
    own_target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(start: int, stop: int) -> Iterator[Any]:
        change_target(own_target)
        yield from own_target.film[start:stop]

    monkeypatch.setattr(Pieces, "keep", lambda *_: pytest.fail("was kept"))
    refused(own_target, CHANGED, own_target.draft(render=render))


def test_a_target_that_is_changed_before_the_signature_is_not_signed(
    own_target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*given: Any, **said: Any) -> None:
        write_video_labels(*given, **said)
        change_target(own_target)

    monkeypatch.setattr(provenance.clip_release, "write_video_labels", write)
    refused(own_target, CHANGED, signer=never_asked(own_target))


@pytest.fixture
def open_umask() -> Iterator[None]:
    """New files may be read by everybody unless they say otherwise."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_what_waits_for_its_signature_is_the_owners_alone(
    cinema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: dict[str, int] = {}

    def note(folder: Path) -> None:
        modes.update({one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()})

    def noting(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            [folder] = cinema.work.iterdir()
            note(folder)
            return step(*given, **named)

        return call

    for name in ("write_video_labels", "sign_release"):
        step = getattr(provenance.clip_release, name)
        monkeypatch.setattr(provenance.clip_release, name, noting(step))
    cinema.release()
    assert {"joined.mp4", "labelled.mp4", "0000000.mp4", "plan.json"} <= set(modes)
    assert set(modes.values()) == {0o600}
