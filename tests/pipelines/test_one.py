from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs import FileUnreadable
from pipelines.one import require_output, require_writable, spec_of
from policies.errors import Malformed, StoreUnavailable

DEMO = Path(__file__).parents[2] / "docs" / "demo"
ID = "00000000-0000-7000-8000-00000000000"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(**changes: Any) -> Any:
    for name, data in (("a", b"a"), ("b", b"b"), ("c", b"c")):
        Path(f"{name}.webp").write_bytes(data)
    options = {
        "operator": "tester",
        "source": "a.webp",
        "target": "b.webp",
        "purpose": "personal",
        "audience": "internal",
        "territories": ["DE"],
    } | changes
    return spec_of([(ID + "1", "source_identity"), (ID + "2", "target_body")], **options)


def test_the_same_options_are_the_same_request() -> None:
    assert make().request_id == make().request_id
    assert make().request_id.startswith("run-")


@pytest.mark.parametrize(
    "changes",
    [{"source": "c.webp"}, {"purpose": "research"}, {"territories": ["FR"]}, {"operator": "x"}],
)
def test_other_options_are_another_request(changes: dict[str, object]) -> None:
    assert make(**changes).request_id != make().request_id


def test_the_pictures_and_not_their_places_name_the_request() -> None:
    name = make().request_id
    Path("copy.webp").write_bytes(b"a")
    assert make(source="copy.webp").request_id == name
    assert make(source="c.webp").request_id != name
    with pytest.raises(FileUnreadable):
        make(source="missing.webp")


def test_a_given_id_is_kept() -> None:
    assert make(request_id="mine").request_id == "mine"
    with pytest.raises(Malformed, match="request_id") as refused:
        make(request_id="Mine!")
    assert "small letters" in refused.value.mend


def test_an_option_that_no_job_has_is_refused() -> None:
    with pytest.raises(Malformed, match="skip_warrant"):
        make(skip_warrant=True)


def test_a_writable_place_is_left_as_it_was(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "out.webp")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old.webp").write_bytes(b"old")
    require_writable(tmp_path / "old.webp")
    assert (tmp_path / "old.webp").read_bytes() == b"old"


@pytest.mark.parametrize("where", ["file/out.webp", "file/deeper/out.webp", "folder"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot write") as refused:
        require_writable(tmp_path / where)
    assert refused.value.code == "STORE-UNAVAILABLE"
    assert "nothing has been done yet" in refused.value.mend


@pytest.mark.parametrize("name", ["x" * 300 + ".webp", "y" * 300 + "/out.webp"])
def test_a_name_that_is_too_long_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    picture = DEMO / "persona1_0.webp"
    with pytest.raises(StoreUnavailable, match="too long") as refused:
        require_output(tmp_path / name, source=picture, target=picture)
    assert "nothing has been done yet" in refused.value.mend
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    picture = tmp_path / "in.webp"
    picture.write_bytes((DEMO / "persona1_0.webp").read_bytes())
    other = DEMO / "persona2_0.webp"
    (tmp_path / "hard.webp").hardlink_to(picture)
    (tmp_path / "soft.webp").symlink_to(picture)
    for name in ("in.webp", "hard.webp", "soft.webp"):
        for source, target in ((picture, other), (other, picture)):
            with pytest.raises(Malformed, match="is an input") as refused:
                require_output(tmp_path / name, source=source, target=target)
            assert refused.value.mend


@pytest.mark.parametrize(
    ("data", "fits", "mend"),
    [
        (b"\xff\xd8\xff\xe0", ("a.jpg", "a.JPEG"), "x.jpg"),
        (b"\x89PNG\r\n\x1a\n", ("a.png",), "x.png"),
        ((DEMO / "persona1_0.webp").read_bytes(), ("a.webp",), "x.webp"),
        (b"\0\0\0\x18ftypisom", ("a.mp4", "a.MP4"), "x.mp4"),
        (b"\0\0\0\x14ftypqt  ", ("a.mp4",), "x.mp4"),
    ],
    ids=["jpeg", "png", "webp", "mp4", "quicktime"],
)
def test_the_ending_is_that_of_the_targets_content(
    tmp_path: Path, data: bytes, fits: tuple[str, ...], mend: str
) -> None:
    target = tmp_path / "misnamed.gif"
    target.write_bytes(data)
    for name in fits:
        require_output(tmp_path / name, source=target, target=target)
    for name in ("x.gif", "x"):
        with pytest.raises(Malformed, match="does not end in") as refused:
            require_output(tmp_path / name, source=target, target=target)
        assert mend in refused.value.mend


def test_a_target_that_is_no_picture_is_left_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("words")
    require_output(tmp_path / "a.webp", source=tmp_path / "words", target=tmp_path / "words")
