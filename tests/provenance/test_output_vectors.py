"""Released files and their bad twins: `verify` says what their README says, and calls nobody."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import os
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import provenance.pki
from policies.errors import Error
from provenance.chains import load_anchors
from provenance.errors import Tampered, Unreadable, VerificationError
from provenance.evidence import Report
from provenance.labels import read_labels
from provenance.media import decode, encode
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.second_engine import open_second_engine
from provenance.verify import Verifier
from provenance.watermark import DEFAULT_WATERMARK, open_watermark

FOLDER = Path(__file__).parents[1] / "vectors" / "outputs"
Found = TypeVar("Found")
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def load_regenerate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("regenerate_outputs", FOLDER / "regenerate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


regenerate = load_regenerate()
JPEG, WEBP = ((FOLDER / f"released.{kind}").read_bytes() for kind in ("jpg", "webp"))


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: a file, and what is said about it."""

    file: str
    how: str
    code: str
    failing: dict[str, str]
    engine: str | None


def read_table() -> dict[str, Row]:
    rows = {}
    for line in README.splitlines():
        if match := re.fullmatch(r"\| `([^`]+)` \| (.+) \| `([^`]+)`(.*) \| (?:`(\w+)` )?\|", line):
            file, how, code, rest, engine = match.groups()
            rows[file] = Row(
                file, how, code, dict(re.findall(r", ([a-z ]+): `([^`]+)`", rest)), engine
            )
    return rows


ROWS = read_table()


def verifier_for(path: Path) -> Verifier:
    """A verifier as an auditor has it: the root beside the file or that of this folder, the key."""
    own = path.parent / "root.pem"
    root = own if own.exists() else FOLDER / "root.pem"
    return Verifier(
        load_anchors([root], time_stamping=[root]),
        open_watermark(DEFAULT_WATERMARK, keys=(regenerate.WATERMARK_KEY,)),
        second=open_second_engine(),
    )


def attempt(ask: Callable[[bytes], Found], data: bytes) -> Found | Error:
    """What is found, or our error; any other is a fault of ours and ends the test."""
    try:
        return ask(data)
    except Error as error:
        return error


VERIFIER = verifier_for(FOLDER / "released.jpg")


# ------------------------------------------------------------------------------ the table


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    kept = {path.name for path in FOLDER.iterdir() if path.is_file()}
    here = {name for name in ROWS if "/" not in name}
    assert kept == here | {"README.md", "regenerate.py", "root.pem"}
    assert all((FOLDER / name).is_file() for name in ROWS)
    assert len(ROWS) == README.count("\n| `")


@pytest.mark.parametrize("name", ROWS)
def test_verify_says_what_the_table_says(name: str) -> None:
    row, path = ROWS[name], FOLDER / name
    found = attempt(verifier_for(path).examine, path.read_bytes())
    if isinstance(found, Error):
        assert (found.code, row.failing, row.engine) == (row.code, {}, None)
        return
    outcome = found.outcome
    said = outcome.verdict if isinstance(outcome, Report) else outcome.code
    assert said == row.code
    fails: dict[str, str] = {}
    for line in found.evidence:
        if line.state == "fails":
            fails[line.subject] = f"{fails.get(line.subject, '')}; {line.words}"
    # Where no stamp holds, trust ends with the certificate: that may not change the verdict.
    assert fails.keys() - {"trust"} == row.failing.keys() - {"trust"}
    for subject, words in row.failing.items():
        assert words in fails[subject]
    [second] = [line.words for line in found.evidence if line.subject == "second engine"]
    assert f"encypher-c2pa says {row.engine}" in second


def test_good_files_are_authentic_with_nothing_odd() -> None:
    for data in (JPEG, WEBP):
        report = VERIFIER.verify(data)
        assert (report.verdict, report.origin) == ("authentic", "facewarrant")
        assert (report.meaning, report.label_meaning) == ("consistent", "labels agree")
        assert {line.state for line in report.evidence} <= {"holds", "unchecked", "absent"}


def test_twins_that_need_no_key_are_made_as_the_table_says() -> None:
    made = regenerate.damaged(JPEG, WEBP)
    assert made.keys() == {name for name, row in ROWS.items() if row.how.startswith(r"\*")}
    for name, data in made.items():
        assert (FOLDER / name).read_bytes() == data


def test_twins_decode_to_a_picture() -> None:
    """The attack is in the evidence: no twin is refused for being a broken picture."""
    frames = {name: decode((FOLDER / name).read_bytes()).frame for name in ROWS if "/" not in name}
    same = {name for name, frame in frames.items() if np.array_equal(frame, frames["released.jpg"])}
    other = {"swapped_media.jpg", "watermark_of_another.jpg", "bit_flipped_pixels.jpg"}
    assert frames.keys() - same == other | {"released.webp"}


def test_signed_lies_are_found_by_us_alone() -> None:
    """What both engines call trusted is caught by ingredients, labels, marks and looks."""
    trusted = {n for n, row in ROWS.items() if row.engine == "Trusted" and row.code != "authentic"}
    lies = {"tampered_parent.jpg", "label_denies_ai.jpg", "watermark_of_another.jpg"}
    assert trusted == lies | {"../fingerprints/print_of_another.jpg"}


def test_a_named_fingerprint_holds_and_where_none_is_named_nothing_is_said() -> None:
    for data in (JPEG, WEBP):
        report = VERIFIER.verify(data)
        [line] = [line for line in report.evidence if line.subject == "fingerprint"]
        assert (line.state, line.words[:16]) == ("holds", "0 of 256 bits di")
    other = FOLDER / "../expired/stamped.jpg"
    report = verifier_for(other).verify(other.read_bytes())
    assert "fingerprint" not in {line.subject for line in report.evidence}


# ------------------------------------------------------------------------------ any change at all


def store_and_content() -> tuple[range, set[int]]:
    """Where the store lies in `released.jpg`, and its bytes that say something: what is hashed.

    Without the descriptions of boxes: the library lets spare bits in them pass (measured, 0.91).
    """
    [segment] = [part for part in regenerate.segments(JPEG) if regenerate.is_manifest(part)]
    start = JPEG.index(segment)
    boxes = [box[int.from_bytes(box[:4], "big") :] for box in regenerate.assertion_boxes(JPEG)]
    parts = [*boxes, regenerate.claim_box(JPEG)]
    held = {at for p in parts for at in range(JPEG.index(p), JPEG.index(p) + len(p))}
    return range(start, start + len(segment)), held


STORE, HELD = store_and_content()
FLIPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, len(JPEG) - 1), st.sampled_from(STORE)), st.integers(1, 255)
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda flip: flip[0],
)


def check(changed: bytes, *, places: set[int]) -> None:
    """Verify a changed `released.jpg`: it says what the good one says, or one of our errors."""
    good, report = VERIFIER.verify(JPEG), attempt(VERIFIER.verify, changed)
    if isinstance(report, Error):
        assert report.code
        assert not isinstance(report, VerificationError) or report.evidence
        return
    # Paddings, box types and the time stamp are outside every hash; nothing said by them counts.
    assert places <= set(STORE)
    assert not places & HELD
    assert np.array_equal(decode(changed).frame, decode(JPEG).frame)
    for name in ("verdict", "origin", "manifest_id", "issuer", "mark_id", "meaning"):
        assert getattr(report, name) == getattr(good, name)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(FLIPS)
@example([(len(JPEG) - 9_000, 1)])
@example([(STORE[-100], 1)])
def test_flipped_bytes_are_never_authentic_where_anything_is_signed(
    flips: list[tuple[int, int]],
) -> None:
    changed = bytearray(JPEG)
    for at, mask in flips:
        changed[at] ^= mask
    check(bytes(changed), places={at for at, _ in flips})


def test_every_kind_of_unsigned_byte_was_tried() -> None:
    """The guard above is not empty: some bytes are outside every hash, and they stay authentic."""
    padding = bytearray(JPEG)
    padding[STORE[-100]] ^= 1
    assert VERIFIER.verify(bytes(padding)).verdict == "authentic"
    assert 0 < len(HELD) < len(STORE)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(JPEG)), st.binary(max_size=40), st.integers(0, 3_000))
def test_bytes_put_in_or_cut_out_are_never_authentic(at: int, more: bytes, cut: int) -> None:
    changed = JPEG[:at] + more + JPEG[at + cut :]
    assume(len(changed) != len(JPEG))  # other bytes in the same places are the test above
    with pytest.raises(Error):
        VERIFIER.verify(changed)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, len(JPEG) - 1), st.integers(1, len(WEBP) - 1))
def test_halves_of_two_releases_are_never_authentic(at: int, from_: int) -> None:
    for changed in (JPEG[:at] + WEBP[from_:], WEBP[:from_] + JPEG[at:]):
        with pytest.raises(Error):
            VERIFIER.verify(changed)


# ------------------------------------------------------------------------------ names of files


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def test_a_name_that_climbs_out_touches_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, climbs = (FOLDER / "path_traversal.jpg").read_bytes(), regenerate.TRAVERSAL.decode()
    assert data.count(regenerate.TRAVERSAL) >= 3  # box, ingredient and claim
    folder = tmp_path / "a" / "b" / "c" / "d" / "e"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    canary = Path(climbs).resolve()
    assert canary == tmp_path / "canary.jpg"
    canary.write_bytes(JPEG)
    before = tree(tmp_path)
    os.utime(canary, ns=(0, 10**18))  # a file system that notes readings at all notes the next one
    found = VERIFIER.examine(data)
    read_at = canary.stat().st_atime_ns
    assert isinstance(found.outcome, VerificationError)
    assert read_at == 0
    assert climbs not in repr(found)
    assert tree(tmp_path) == before


# ------------------------------------------------------------------------------ network


class Door(socketserver.TCPServer):
    """A listening socket on this machine that counts who comes, and answers nobody."""

    def __init__(self) -> None:
        self.calls = self.knocks = 0
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def verify_request(self, request: object, client_address: object) -> bool:
        self.calls += 1
        return False

    def visitors(self) -> int:
        """How many came: our own knock is answered after all of theirs."""
        with socket.create_connection(self.server_address) as own:
            assert own.recv(1) == b""
        self.knocks += 1
        return self.calls - self.knocks

    @property
    def port(self) -> bytes:
        """The port in five digits, as many as the stored bait has."""
        return b"%05d" % self.server_address[1]


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def call_with_defaults(data: bytes, mime: str) -> None:
    """Read a file with the library's own settings, which do fetch what they are sent to."""
    with c2pa.Context.from_dict({}) as context, pytest.raises(c2pa.C2paError):
        c2pa.Reader(mime, io.BytesIO(data), None, context=context)


def test_stored_bait_is_not_taken(door: Door) -> None:
    stored = (FOLDER / "remote_bait.jpg").read_bytes()
    port = b":" + regenerate.PORT + b"/"
    data = stored.replace(port, b":" + door.port + b"/")
    assert (stored.count(port), len(data)) == (1, len(stored))
    with pytest.raises(Unreadable) as caught:
        VERIFIER.verify(data)
    assert "nothing is fetched" in caught.value.evidence[0].words
    assert door.visitors() == 0
    call_with_defaults(data, "image/jpeg")
    assert door.visitors() > 0  # the bait works, and the door counts


@pytest.mark.parametrize("mime", ["image/jpeg", "image/png", "image/webp"])
def test_bait_in_any_format_is_not_taken(door: Door, mime: str) -> None:
    frame = decode(JPEG).frame
    data = encode(frame, mime, xmp=regenerate.bait(door.port))  # type: ignore[arg-type]
    with pytest.raises(Unreadable) as caught:
        VERIFIER.verify(data)
    assert "nothing is fetched" in caught.value.evidence[0].words
    assert door.visitors() == 0


def test_bait_beside_a_manifest_is_not_taken(door: Door) -> None:
    with pytest.raises(Tampered):
        VERIFIER.verify(regenerate.with_xmp(JPEG, regenerate.bait(door.port)))
    assert door.visitors() == 0


def test_bait_in_an_extended_packet_is_not_taken(door: Door) -> None:
    packet = regenerate.bait(door.port)
    head = b"http://ns.adobe.com/xmp/extension/\x00" + b"0" * 32
    body = head + len(packet).to_bytes(4, "big") + bytes(4) + packet
    bare = regenerate.strip(JPEG)
    with pytest.raises(VerificationError):
        VERIFIER.verify(bare[:2] + regenerate.segment(0xE1, body) + bare[2:])
    assert door.visitors() == 0


def test_links_inside_a_signed_manifest_are_not_followed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted signer's manifest: its certificate names an OCSP server, its content others."""
    url = f"http://127.0.0.1:{door.port.decode()}/"
    access = x509.AccessDescription

    def ask_here(method: x509.ObjectIdentifier, _place: x509.GeneralName) -> object:
        return access(method, x509.UniformResourceIdentifier(url))

    monkeypatch.setattr(provenance.pki.x509, "AccessDescription", ask_here)
    pki = make_development_chain(organisation="Camera", now=regenerate.now())
    names = pki.leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [(n.access_method, n.access_location.value) for n in names] == [
        (AuthorityInformationAccessOID.OCSP, url)
    ]
    link = {"url": url, "alg": "sha256", "hash": "AAAA"}
    definition = regenerate.photograph()
    definition["assertions"] += [
        {"label": "c2pa.external-reference", "data": {"location": link}},
        {
            "label": "c2pa.cloud-data",
            "data": {"label": "c2pa.x", "size": 10, "location": link, "content_type": "a/b"},
        },
    ]
    data = regenerate.sign(pki, encode(decode(JPEG).frame, "image/jpeg"), definition)
    assert data.count(url.encode()) == 3
    found = Verifier(pki.anchors, second=open_second_engine()).verify(data)
    assert found.origin == "other"
    assert [e.state for e in found.evidence if e.subject == "revocation"] == ["unchecked"]
    assert door.visitors() == 0


# ------------------------------------------------------------------------------ other makers


def opened(*parents: str) -> dict[str, object]:
    """A manifest as another maker's editor writes it, on top of one parent."""
    first = {"action": "c2pa.opened", "parameters": {"ingredientIds": [parents[0]]}}
    data = {"actions": [first], "allActionsIncluded": True}
    return {
        "claim_generator_info": [{"name": "Other Editor", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": data}],
    }


def test_two_parents_of_another_maker_are_not_authentic(pki: DevelopmentChain) -> None:
    """C2PA 2.2 calls it manifest.multipleParents; one engine says so, the other nothing."""
    picture = encode(decode(JPEG).frame, "image/jpeg")
    one, two = (regenerate.Ingredient(label, picture) for label in ("one", "two"))
    verifier = Verifier(pki.anchors)
    assert verifier.verify(regenerate.sign(pki, picture, opened("one"), one)).origin == "other"
    with pytest.raises(Tampered) as caught:
        verifier.verify(regenerate.sign(pki, picture, opened("one"), one, two))
    assert [e.words[:12] for e in caught.value.evidence if e.state == "fails"] == ["MANY-PARENTS"]


def test_a_name_that_climbs_out_is_not_authentic(pki: DevelopmentChain) -> None:
    picture = encode(decode(JPEG).frame, "image/jpeg")
    one = regenerate.Ingredient("one", picture)
    with pytest.raises(Tampered) as caught:
        Verifier(pki.anchors).verify(
            regenerate.sign_path_traversal(pki, picture, opened("one"), one)
        )
    assert [e.words[:13] for e in caught.value.evidence if e.state == "fails"] == ["RESOURCE-NAME"]


def test_a_camera_label_beside_an_aigc_label_is_a_contradiction() -> None:
    packet = regenerate.xmp_of(JPEG)
    source = regenerate.SOURCE_TYPE.encode()
    labels = read_labels(
        regenerate.with_xmp(JPEG, packet.replace(source, regenerate.CAPTURE.encode())), "image/jpeg"
    )
    assert labels is not None
    assert labels.claims_ai
    assert labels.problems == ('AIGC says AI-made, DigitalSourceType "digitalCapture"',)
