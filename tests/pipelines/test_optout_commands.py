"""`facewarrant optout`: entries go on and off the list; nothing tells who is on it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from generator.errors import EnrolmentRefused, ManyFaces
from pipelines.deployment import create, open_records
from pipelines.jobs import FileUnreadable
from pipelines.optout_commands import optout_app
from pipelines.settings import Settings, read_settings
from policies.optout import OptOutUnknown
from provenance.errors import MediaError

DEMO = Path(__file__).parents[2] / "docs" / "demo"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("optout") / "home"
    create(Settings(home=home, threads=1))
    return home


@pytest.fixture(autouse=True)
def home(_made: Path, tmp_path: Path) -> Path:
    """A deployment of this test's own, where FACEWARRANT_HOME says."""
    return Path(shutil.copytree(_made, tmp_path / "home"))


def optout(*words: object) -> Result:
    result = CliRunner().invoke(optout_app, [str(word) for word in words], prog_name="optout")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def as_json(*words: object) -> Any:
    result = optout(*words, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def log_kinds() -> list[str]:
    with open_records(read_settings()) as at:
        return [entry["kind"] for entry in at.archive.log.entries()]


def test_a_person_is_added_listed_and_removed() -> None:
    views = [DEMO / f"persona1_{view}.webp" for view in (1, 2)]
    entry_id = as_json("add", *views)["entry_id"]
    assert UUID.fullmatch(entry_id)
    (listed,) = as_json("list")
    assert listed.keys() == {"entry_id", "model_sha256", "added_at"}
    assert listed["entry_id"] == entry_id
    assert as_json("remove", entry_id) == {"removed": entry_id}
    assert as_json("list") == []
    assert log_kinds().count("opt_out") == 2


def test_the_words_for_people_say_the_same() -> None:
    assert optout("list").stdout == "Nobody is on the list.\n"
    said = optout("add", DEMO / "persona2_0.webp").stdout
    [entry_id] = UUID.findall(said)
    listing = " ".join(optout("list").stdout.split())
    assert entry_id in listing
    assert "UTC" in listing
    assert entry_id in optout("remove", entry_id).stdout
    assert optout("list").stdout == "Nobody is on the list.\n"


def test_pictures_of_two_people_are_no_opt_out() -> None:
    with pytest.raises(EnrolmentRefused):
        optout("add", DEMO / "persona1_0.webp", DEMO / "persona2_0.webp")
    assert as_json("list") == []
    assert "opt_out" not in log_kinds()


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable):
        optout("add", tmp_path / "missing.webp")
    (tmp_path / "text.webp").write_text("no picture")
    with pytest.raises(MediaError):
        optout("add", tmp_path / "text.webp")


def test_a_group_picture_names_nobody(tmp_path: Path) -> None:
    import cv2  # noqa: PLC0415 - only this test composes a picture
    import numpy as np  # noqa: PLC0415

    two = [cv2.imread(str(DEMO / f"persona{n}_0.webp"), cv2.IMREAD_COLOR) for n in (1, 2)]
    cv2.imwrite(str(tmp_path / "two.png"), np.hstack(two))
    with pytest.raises(ManyFaces):
        optout("add", tmp_path / "two.png")


def test_removing_what_is_not_there_is_refused() -> None:
    with pytest.raises(OptOutUnknown) as caught:
        optout("remove", "00000000-0000-4000-8000-000000000000")
    assert caught.value.code == "OPT-OUT-UNKNOWN"


def test_nothing_asks_who_is_on_the_list() -> None:
    """T26: no command compares a face with the list."""
    names = {command.name for command in optout_app.registered_commands}
    assert names == {"add", "list", "remove"}
