"""Job files: a request in JSON, with the places of its inputs.

Whether it is about a picture or a video the target's content decides, never its name; a picture is
read, a video stays where it is. Refused: unknown fields, paths that cannot be read, files over the
media decoders' caps (before they are read whole).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

from pydantic import Field, ValidationError

from pipelines.outcome import Job
from policies.canonical import canonical, parse_object
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.request import Person, make_request
from policies.terms import (
    Audience,
    BystanderPolicy,
    Category,
    Document,
    Medium,
    Purpose,
    RequestId,
    Territory,
    Text,
)
from provenance.asset import VIDEO, AssetMime, Content, sniff_asset
from provenance.errors import MediaError
from provenance.media import DEFAULT_LIMITS
from provenance.video import RELEASE_LIMITS

_HEAD_BYTES: Final = 4096
_PIECE_BYTES: Final = 1 << 20


class FileUnreadable(Error):
    """A file the command names cannot be read."""

    code = "FILE-UNREADABLE"


class JobSpec(Document):
    """One job as it is written down: the request, with paths instead of digests."""

    schema_: Literal["facewarrant/job/1"] = Field(alias="schema")
    request_id: RequestId
    operator: Text
    source: Text
    target: Text
    people: Annotated[tuple[Person, ...], Field(strict=False)]
    purpose: Purpose
    audience: Audience
    territories: Annotated[tuple[Territory, ...], Field(min_length=1, strict=False)]
    categories: Annotated[tuple[Category, ...], Field(strict=False)] = ()
    bystanders: BystanderPolicy = "refuse"


_FORMS = {
    "record_id": "name a consent as 'facewarrant consent show' lists it",
    "request_id": "use up to 64 small letters, digits, '-' and '_'",
    "territories": "use ISO 3166 codes such as DE or US-IL",
}


def read_spec(data: bytes) -> JobSpec:
    """Parse one job file; raise Malformed naming the first wrong field."""
    try:
        return JobSpec.model_validate_json(canonical(parse_object(data)))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        what = _FORMS.get(str(detail["loc"][-1]) if detail["loc"] else "", "")
        raise Malformed(
            f"job: {where or 'document'}: {detail['msg']}",
            mend=what or "write the job as the schema facewarrant/job/1 says",
        ) from error


def load_job(spec: JobSpec, *, folder: Path = Path()) -> Job:
    """Read the inputs of a job (relative paths start at `folder`); raise FileUnreadable."""
    place = folder / spec.target
    is_video = sniff_file(place) == VIDEO
    medium: Medium = "video" if is_video else "image"
    source = read_file(folder / spec.source)
    target: Content = place if is_video else read_file(place)
    fields = spec.model_dump(mode="json", exclude={"schema_", "source", "target"})
    request = make_request(
        **fields,
        medium=medium,
        source_sha256=sha256_hex(source),
        target_sha256=digest_file(place) if isinstance(target, Path) else sha256_hex(target),
    )
    return Job(request, source, target)


def sniff_file(path: Path) -> AssetMime | None:
    """Return what a file's first bytes say it is; None for nothing we know. Raise FileUnreadable.

    What is wrong with a file says the decoder that it is handed to.
    """
    with _opened(path) as file:
        head = file.read(_HEAD_BYTES)
    try:
        return sniff_asset(head)
    except MediaError:
        return None


def read_file(path: Path, *, max_bytes: int = DEFAULT_LIMITS.file_bytes) -> bytes:
    """Read a plain file up to a decoder's byte cap plus one; raise FileUnreadable.

    A named pipe would wait for a writer for ever; it is no plain file.
    """
    with _opened(path) as file:
        return file.read(max_bytes + 1)


def digest_file(path: Path, *, max_bytes: int = RELEASE_LIMITS.file_bytes) -> str:
    """Return the SHA-256 (hex) of what `read_file` would give, a piece at a time."""
    hasher, left = hashlib.sha256(), max_bytes + 1
    with _opened(path) as file:
        while piece := file.read(min(_PIECE_BYTES, left)):
            hasher.update(piece)
            left -= len(piece)
    return hasher.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no plain file")
            yield file
    except (OSError, ValueError) as error:
        # ValueError: a path with a zero byte, which JSON can hold and no file name can.
        why = error.strerror if isinstance(error, OSError) else "this is no path"
        raise FileUnreadable(
            f"cannot read {path}: {why}", mend="check the path and its permissions"
        ) from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
