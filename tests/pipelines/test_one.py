from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.one import require_writable, spec_of
from policies.errors import Malformed, StoreUnavailable

ID = "00000000-0000-7000-8000-00000000000"


def make(**changes: Any) -> Any:
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
    assert list((tmp_path / "new").iterdir()) == []
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
