from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.jobs import (
    FileUnreadable,
    JobSpec,
    digest_file,
    load_job,
    read_file,
    read_spec,
    sniff_file,
)
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from provenance.media import DEFAULT_LIMITS

ID = "00000000-0000-7000-8000-00000000000"
JOB: dict[str, Any] = {
    "schema": "facewarrant/job/1",
    "request_id": "r-1",
    "operator": "tester",
    "source": "source.webp",
    "target": "target.webp",
    "people": [
        {"record_id": ID + "1", "role": "source_identity"},
        {"record_id": ID + "2", "role": "target_body"},
    ],
    "purpose": "personal",
    "audience": "internal",
    "territories": ["DE"],
}


def spec(**changes: object) -> JobSpec:
    return read_spec(json.dumps(JOB | changes).encode())


def refused_spec(data: bytes) -> Malformed:
    with pytest.raises(Malformed) as refused:
        read_spec(data)
    assert refused.value.code == "MALFORMED"
    return refused.value


def test_a_job_is_read() -> None:
    read = spec()
    assert (read.request_id, read.territories, read.categories) == ("r-1", ("DE",), ())
    assert read.people[1].role == "target_body"
    assert read.bystanders == "refuse", "nobody is let pass unasked"
    assert spec(purpose="house:word").purpose == "house:word", "policy knows it or denies it"


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"skip_consent": True}, "skip_consent"),
        ({"schema": "facewarrant/job/2"}, "schema"),
        ({"request_id": "../r"}, "request_id"),
        ({"request_id": 7}, "request_id"),
        ({"operator": ""}, "operator"),
        ({"source": None}, "source"),
        ({"purpose": "No word"}, "purpose"),
        ({"bystanders": "allow"}, "bystanders"),
        ({"audience": "everyone"}, "audience"),
        ({"territories": []}, "territories"),
        ({"territories": ["Germany"]}, "territories.0"),
        ({"categories": ["dull"]}, "categories.0"),
        ({"people": [{"record_id": "x", "role": "bystander"}]}, "people.0.record_id"),
        ({"people": [{"record_id": ID + "1", "role": "king"}]}, "people.0.role"),
        ({"people": [{"record_id": ID + "1", "role": "bystander", "x": 1}]}, "people.0.x"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, object], about: str) -> None:
    error = refused_spec(json.dumps(JOB | changes).encode())
    assert error.message.startswith(f"job: {about}: ")
    assert error.mend


@pytest.mark.parametrize("name", [name for name in JOB if name != "categories"])
def test_a_missing_field_is_named(name: str) -> None:
    error = refused_spec(json.dumps({k: v for k, v in JOB.items() if k != name}).encode())
    assert error.message == f"job: {name}: Field required"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'"job"',
        b"\xff\xfe",
        json.dumps(JOB).encode()[:-1] + b', "purpose": "research"}',
        json.dumps(JOB | {"operator": float("nan")}).encode(),
    ],
    ids=["empty", "cut", "list", "text", "not utf-8", "duplicate key", "nan"],
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    refused_spec(data)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.dictionaries(st.text(), st.integers()).map(json.dumps))
def test_nothing_but_our_own_error_comes_out(data: bytes | str) -> None:
    refused_spec(data if isinstance(data, bytes) else data.encode())


def test_a_job_names_its_pictures_by_digest(tmp_path: Path) -> None:
    (tmp_path / "source.webp").write_bytes(b"one")
    (tmp_path / "absolute").write_bytes(b"two")
    job = load_job(spec(target=str(tmp_path / "absolute")), folder=tmp_path)
    assert (job.source, job.target) == (b"one", b"two")
    assert job.request.source_sha256 == sha256_hex(b"one")
    assert job.request.target_sha256 == sha256_hex(b"two")
    assert job.request.medium == "image"
    assert "one" not in repr(job), "pictures are not printed"


MP4 = b"\0\0\0\x18ftypisom" + bytes(100)


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"qt  "])
def test_a_video_by_its_content_stays_where_it_is(tmp_path: Path, brand: bytes) -> None:
    data = MP4.replace(b"isom", brand)
    (tmp_path / "source.webp").write_bytes(b"one")
    (tmp_path / "target.webp").write_bytes(data)  # whatever its name says
    job = load_job(spec(), folder=tmp_path)
    assert (job.request.medium, job.target) == ("video", tmp_path / "target.webp")
    assert job.request.target_sha256 == sha256_hex(data)


@pytest.mark.parametrize("brand", [b"heic", b"avif"])
def test_a_picture_in_a_videos_container_is_a_picture(tmp_path: Path, brand: bytes) -> None:
    data = MP4.replace(b"isom", brand)
    (tmp_path / "source.webp").write_bytes(b"one")
    (tmp_path / "target.webp").write_bytes(data)
    job = load_job(spec(), folder=tmp_path)
    assert (job.request.medium, job.target) == ("image", data)


def test_a_source_is_a_picture_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / "source.webp").write_bytes(MP4)
    (tmp_path / "target.webp").write_bytes(b"two")
    job = load_job(spec(), folder=tmp_path)
    assert (job.request.medium, job.source) == ("image", MP4)


def test_a_large_file_is_digested_in_pieces_up_to_one_byte_over_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "large"
    for size in (0, 1, 3 << 20, (3 << 20) + 5):
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        path.write_bytes(data)
        assert digest_file(path) == sha256_hex(data)
        for cap in (1, 1 << 20, 1 << 23):
            assert digest_file(path, max_bytes=cap) == sha256_hex(data[: cap + 1])


def test_what_a_file_is_its_first_bytes_say(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data, mime in (
        (MP4, "video/mp4"),
        (b"\x89PNG\r\n\x1a\n" + bytes(9), "image/png"),
        (b"words", None),
        (b"", None),
    ):
        path.write_bytes(data)
        assert sniff_file(path) == mime
    with pytest.raises(FileUnreadable):
        sniff_file(tmp_path / "missing")


@pytest.mark.parametrize("source", ["missing.webp", ".", "no\x00path", "x" * 300])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, source: str) -> None:
    (tmp_path / "target.webp").write_bytes(b"two")
    with pytest.raises(FileUnreadable, match="cannot read") as refused:
        load_job(spec(source=source), folder=tmp_path)
    assert refused.value.code == "FILE-UNREADABLE"
    assert refused.value.mend


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody writes to it: whoever waited for it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileUnreadable, match="no plain file") as refused:
        read_file(tmp_path / "pipe")
    assert refused.value.code == "FILE-UNREADABLE"
    (tmp_path / "target.webp").write_bytes(b"two")
    with pytest.raises(FileUnreadable):
        load_job(spec(source="pipe"), folder=tmp_path)


def test_people_that_make_no_swap_are_refused(tmp_path: Path) -> None:
    for name in ("source.webp", "target.webp"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(Malformed, match="people"):
        load_job(spec(people=JOB["people"][:1]), folder=tmp_path)
    with pytest.raises(Malformed, match="one source_identity and one target_body"):
        load_job(spec(people=[JOB["people"][0]] * 2), folder=tmp_path)


def test_a_file_is_read_up_to_one_byte_over_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        os.truncate(file.fileno(), DEFAULT_LIMITS.file_bytes * 3)
    assert len(read_file(path)) == DEFAULT_LIMITS.file_bytes + 1


def test_every_refusal_is_one_of_ours() -> None:
    assert issubclass(FileUnreadable, Error)


def test_the_documented_job_file_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
    spec = read_spec(page.split("```json\n")[1].split("```")[0].encode())
    assert spec.request_id == "film-scene-12"
    assert all(f"`{name}`" in page for name in type(spec).model_fields if name != "schema_")
