"""Job files: a request in JSON, with the places of its pictures.

Refused: unknown fields, paths that cannot be read, files over the media decoder's cap (before they
are read whole).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Annotated, Literal

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
    Purpose,
    RequestId,
    Territory,
    Text,
)
from provenance.media import DEFAULT_LIMITS


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
    """Read the pictures of a job (relative paths start at `folder`); raise FileUnreadable."""
    source, target = read_file(folder / spec.source), read_file(folder / spec.target)
    fields = spec.model_dump(mode="json", exclude={"schema_", "source", "target"})
    request = make_request(
        **fields, medium="image", source_sha256=sha256_hex(source), target_sha256=sha256_hex(target)
    )
    return Job(request, source, target)


def read_file(path: Path, *, max_bytes: int = DEFAULT_LIMITS.file_bytes) -> bytes:
    """Read a plain file up to a decoder's byte cap plus one; raise FileUnreadable.

    A named pipe would wait for a writer for ever; it is no plain file.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no plain file")
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        # ValueError: a path with a zero byte, which JSON can hold and no file name can.
        why = error.strerror if isinstance(error, OSError) else "this is no path"
        raise FileUnreadable(
            f"cannot read {path}: {why}", mend="check the path and its permissions"
        ) from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
