"""What a video is coded as: a digest of every stream's packets, whatever file they lie in.

Decides whether two files hold the same pictures and sound, bit by bit, without decoding them.
Labels, manifests and places in the file do not count; set-up and packets of every stream do.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from provenance.clip_exchange import MAX_SOUNDS, PACKET, Request
from provenance.clip_sandbox import DEFAULT_SANDBOX, Sandbox, ask
from provenance.exchange import DecodeCrashed
from provenance.video import RELEASE_LIMITS, VideoLimits


class Coded:
    """The digest of one stream, taken while its packets pass."""

    def __init__(self) -> None:
        self._hasher = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Take in the stream's set-up, and then every packet in the order it is stored."""
        self.add_digest(hashlib.sha256(data).digest())

    def add_digest(self, digest: bytes) -> None:
        """Take in the SHA-256 of what `add` would have been given."""
        self._hasher.update(digest)

    def hexdigest(self) -> str:
        """Return the SHA-256 of all digests so far, hex."""
        return self._hasher.hexdigest()


def read_coded(
    path: Path, *, limits: VideoLimits = RELEASE_LIMITS, sandbox: Sandbox = DEFAULT_SANDBOX
) -> tuple[str, ...]:
    """Return the digest of every stream of an MP4, hex, in the file's order; a worker reads it.

    Raises DecodeCrashed for answers that make no sense, and what `clip_sandbox.ask` raises.
    """
    streams: list[Coded] = []
    for answer in ask(path, Request("coded", 0), limits, sandbox):
        digest = bytes(answer.content)
        if answer.status != PACKET or len(digest) != hashlib.sha256().digest_size:
            raise DecodeCrashed("the worker answers what it was not asked")
        # The set-ups come first, one a stream.
        if answer.pts == len(streams) <= MAX_SOUNDS:
            streams.append(Coded())
        if not 0 <= answer.pts < len(streams):
            raise DecodeCrashed("the worker names a stream that it did not begin")
        streams[answer.pts].add_digest(digest)
    return tuple(stream.hexdigest() for stream in streams)
