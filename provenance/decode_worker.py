"""The process that decodes, started by `provenance.sandbox` and by nobody else.

Decides nothing: it limits itself, loads the codecs, gives up files and network, then turns pictures
from its standard input into pixels on its standard output until the input ends. It writes no file,
opens none after its start, and holds no key, no setting and no picture but the one at hand.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from provenance.confinement import close_calls, leave_network, limit_next_job, limit_process
from provenance.errors import MediaError
from provenance.exchange import (
    REQUEST_BYTES,
    Coded,
    Shield,
    pack_form,
    pack_hello,
    pack_refusal,
    read_request,
)

if TYPE_CHECKING:
    from provenance.pixels import Pixels


Loaded = TypeVar("Loaded")


class Source(Protocol):
    """Where requests come from."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""


class Sink(Protocol):
    """Where answers go."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all bytes."""

    def flush(self) -> None:
        """Send what was taken."""


def serve(
    source: Source, sink: Sink, load: Callable[[Coded], Pixels], before_each: Callable[[], None]
) -> None:
    """Answer requests until the input ends or breaks off; a refused picture is an answer too."""
    while len(header := source.read(REQUEST_BYTES)) == REQUEST_BYTES:
        mime, width, height, picture, icc = read_request(header)
        coded = Coded(mime, width, height, source.read(picture), source.read(icc))
        before_each()
        try:
            pixels = load(coded)
        except MediaError as error:
            sink.write(pack_refusal(error))
        else:
            sink.write(pack_form(pixels.form))
            sink.write(pixels.frame.data)
            if pixels.alpha is not None:
                sink.write(memoryview(pixels.alpha.tobytes()))
        sink.flush()


def confine(memory_bytes: int) -> bool:
    """Take the limits and leave the network; return whether the latter was possible."""
    limit_process(memory_bytes)
    return leave_network()


def load_codecs() -> Callable[[Coded], Pixels]:
    """Return the decoder, after it has decoded one picture of each format.

    What Pillow opens and imports on first use is thereby open before files are out of reach. The
    import waits for the limits, so a fault in loading a codec is confined too.
    """
    from PIL import Image, ImageCms  # noqa: PLC0415

    from provenance.pixels import PIL_NAME, load  # noqa: PLC0415

    tiny = Image.new("RGB", (16, 16), (200, 40, 90))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mime, name in PIL_NAME.items():
        out = io.BytesIO()
        tiny.save(out, name)
        load(Coded(mime, 16, 16, out.getvalue(), icc))
    return load


def fall_silent() -> bool:
    """Send complaints nowhere from here on and close the calls; return whether that was possible.

    Until here a failure to start tells its cause on the standard error output; what libraries say
    about a file must never fill that pipe.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return close_calls()


def get_ready(
    arguments: Sequence[str],
    sink: Sink,
    load: Callable[[], Loaded],
    limit: Callable[[int], bool],
    close: Callable[[], bool],
) -> tuple[Loaded, int]:
    """Give up everything, greet, and return what `load` loaded and the processor seconds a job.

    `arguments`: memory in bytes and those seconds. The order is the point: limits before codecs,
    codecs before the calls are closed, and all of it before anything foreign is read.
    """
    memory, cpu = map(int, arguments)
    shields: set[Shield] = {"network"} if limit(memory) else set()
    loaded = load()
    if close():
        shields.add("calls")
    sink.write(pack_hello(frozenset(shields)))
    sink.flush()
    return loaded, cpu


def main(
    arguments: Sequence[str],
    source: Source,
    sink: Sink,
    limit: Callable[[int], bool] = confine,
    close: Callable[[], bool] = fall_silent,
) -> None:
    """Run one worker; `arguments`: memory in bytes and processor seconds a picture."""
    load, cpu = get_ready(arguments, sink, load_codecs, limit, close)
    serve(source, sink, load, lambda: limit_next_job(cpu))
