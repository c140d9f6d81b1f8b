"""What several tests here share: a certificate authority they hold the keys of, and short films."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policies.digest import sha256_hex
from provenance.chains import Chain
from provenance.clip import Clip, frames, open_clip
from provenance.clip_draft import ClipDraft
from provenance.clip_release import ReleasedClip, redeliver_clip, release_clip
from provenance.draft import Maker
from provenance.media import decode
from provenance.watermark.payload import require_payload

DAY = timedelta(days=1)
DEMO = Path(__file__).parents[2] / "docs" / "demo"
_PRODUCT = (
    x509.ObjectIdentifier("1.3.6.1.4.1.62558.3"),
    x509.ObjectIdentifier("1.3.6.1.4.1.62558.4"),
)


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Keyholder"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


@dataclass(frozen=True)
class Authority:
    """A root that issues leaves by itself; everything is dated around `now`."""

    now: datetime
    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate
    leaf_key: ec.EllipticCurvePrivateKey
    leaf: x509.Certificate
    like: x509.Certificate

    @property
    def chain(self) -> Chain:
        """The leaf and its CA."""
        return Chain((self.leaf, self.root))

    def issue(
        self,
        name: str = "Leaf",
        *,
        key: Any = None,
        extensions: Sequence[x509.ExtensionType] = (),
        life: tuple[timedelta, timedelta] = (-DAY, 30 * DAY),
    ) -> x509.Certificate:
        """A certificate under the root with just these extensions."""
        builder = _base(_named(name), self.root.subject, (key or self.leaf_key).public_key())
        builder = builder.not_valid_before(self.now + life[0]).not_valid_after(self.now + life[1])
        for one in extensions:
            builder = builder.add_extension(one, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def product_leaf(self, record: bytes | None, level: bytes | None) -> x509.Certificate:
        """A leaf that names a product record and a level, as raw extension values."""
        values = ((_PRODUCT[1], record), (_PRODUCT[0], level))
        found = [x509.UnrecognizedExtension(oid, raw) for oid, raw in values if raw is not None]
        return self.issue(extensions=found)

    def crl(
        self,
        *revoked: x509.Certificate,
        on: datetime | None = None,
        invalid: datetime | None = None,
        issued: datetime | None = None,
        due: datetime | None = None,
        key: Any = None,
        issuer: x509.Name | None = None,
        partial: bool = False,
    ) -> bytes:
        """A revocation list (DER) of the root; `key`: of whoever signs it in its name."""
        issued = issued or self.now - DAY
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer or self.root.subject)
            .last_update(issued)
            .next_update(due or issued + 7 * DAY)
        )
        for certificate in revoked:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(on or self.now - 2 * DAY)
            )
            if invalid:
                entry = entry.add_extension(x509.InvalidityDate(invalid), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        if partial:
            builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
        made = builder.sign(key or self.key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.DER)

    def answer(
        self,
        certificate: x509.Certificate | None = None,
        *,
        made: datetime | None = None,
        until: datetime | None = None,
        revoked: datetime | None = None,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        signer: tuple[x509.Certificate, Any] | None = None,
        brings: Sequence[x509.Certificate] = (),
        digest: Any = None,
    ) -> bytes:
        """An OCSP answer (DER) of the root, or of `signer`, certificate and key."""
        who, key = signer or (self.root, self.key)
        if revoked is not None:
            status = ocsp.OCSPCertStatus.REVOKED
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=certificate or self.leaf,
                issuer=self.root,
                algorithm=hashes.SHA1(),  # noqa: S303 - what responders name a certificate by
                cert_status=status,
                this_update=made or self.now - timedelta(hours=1),
                next_update=until,
                revocation_time=revoked,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, who)
        )
        if brings:
            builder = builder.certificates(list(brings))
        made_answer = builder.sign(key, hashes.SHA256() if digest is None else digest or None)
        return made_answer.public_bytes(serialization.Encoding.DER)

    def responder(self, **fields: Any) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A certificate for signing OCSP answers, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
        fields = {"extensions": [usage]} | fields
        return self.issue("Responder", key=key, **fields), key


def _base(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
    )


def make_authority(like: x509.Certificate, now: datetime) -> Authority:
    """A root, and a leaf of the profile that `like` has."""
    key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = _named("Root")
    usage = {
        each: each in ("key_cert_sign", "crl_sign")
        for each in (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        )
    }
    identifier = x509.SubjectKeyIdentifier.from_public_key
    root = (
        _base(name, name, key.public_key())
        .not_valid_before(now - 10 * DAY)
        .not_valid_after(now + 900 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(identifier(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    builder = (
        _base(_named("Signer"), name, leaf_key.public_key())
        .not_valid_before(now - 5 * DAY)
        .not_valid_after(now + 200 * DAY)
        .add_extension(identifier(leaf_key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    for one in like.extensions:
        if not isinstance(one.value, x509.SubjectKeyIdentifier | x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(one.value, critical=one.critical)
    return Authority(now, key, root, leaf_key, builder.sign(key, hashes.SHA256()), like)


@pytest.fixture(scope="session")
def authority(pki: Any) -> Authority:
    """A CA of the tests' own, with a leaf that is valid now."""
    return make_authority(pki.leaf, datetime.now(UTC).replace(microsecond=0))


@pytest.fixture(scope="session")
def impostor(pki: Any) -> Authority:
    """Another CA of the same name, with keys of its own."""
    return make_authority(pki.leaf, datetime.now(UTC).replace(microsecond=0))


def encode_cbor(item: Any) -> bytes:
    """The CBOR of an item, for tests alone."""
    if item is None or isinstance(item, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[item]
    if isinstance(item, int):
        return _head(0, item) if item >= 0 else _head(1, -1 - item)
    if isinstance(item, bytes):
        return _head(2, len(item)) + item
    if isinstance(item, str):
        return _head(3, len(item.encode())) + item.encode()
    if isinstance(item, list):
        return _head(4, len(item)) + b"".join(encode_cbor(each) for each in item)
    pairs = (encode_cbor(key) + encode_cbor(value) for key, value in item.items())
    return _head(5, len(item)) + b"".join(pairs)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = next(power for power in range(4) if number < 1 << (8 << power))
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size, "big")


@pytest.fixture(scope="session", name="encode_cbor")
def encode_cbor_fixture() -> Any:
    """`encode_cbor(item)`: the CBOR of an item."""
    return encode_cbor


# --- short films of rendered people --------------------------------------------------------------

Film = list[npt.NDArray[np.uint8]]
SIDE, RATE = 320, 3
MODELS = {"idnet": sha256_hex(b"identity model")}


def shoot(picture: bytes, count: int = 2 * RATE, *, side: int = SIDE) -> Film:
    """Frames of a person who moves a little, two seconds long."""
    face = cv2.resize(decode(picture).frame, (side, side), interpolation=cv2.INTER_AREA)
    moves = [np.array([[1, 0, 3 * n], [0, 1, 2 * n]], np.float32) for n in range(count)]
    edge = cv2.BORDER_REPLICATE
    return [np.asarray(cv2.warpAffine(face, m, (side, side), borderMode=edge)) for m in moves]


def develop(
    path: Path,
    film: Sequence[npt.NDArray[np.uint8]],
    *,
    rate: int = RATE,
    times: Sequence[int] = (),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames of one size as what the suffix of the path says.

    `times`: when each is shown, in 1/rate s; one after the other unless given.
    """
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=rate)
        stream.pix_fmt, stream.options = "yuv420p", options or {"crf": "16"}
        stream.height, stream.width = film[0].shape[:2]
        for pts, frame in zip(times or range(len(film)), film, strict=True):
            made = av.VideoFrame.from_ndarray(frame, format="bgr24").reformat(format="yuv420p")
            made.pts, made.time_base = pts, Fraction(1, rate)
            out.mux(stream.encode(made))
        out.mux(stream.encode(None))
    return path


def project(path: Path) -> Film:
    """Every frame of a video."""
    with av.open(str(path)) as film:
        return [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in film.decode(video=0)]


class Remembering:
    """A watermark that marks the same pixels once for a whole run of the tests."""

    known: dict[tuple[Any, ...], Any] = {}  # noqa: RUF012

    def __init__(self, watermark: Any) -> None:
        self._watermark = watermark

    def embed(self, image: Any, payload: Any) -> Any:
        require_payload(payload)
        key = (sha256_hex(image.tobytes()), image.shape, payload.mark_id)
        if key not in self.known:
            self.known[key] = self._watermark.embed(image, payload)
        return self.known[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watermark, name)


@dataclass
class Cinema:
    """A studio for videos: `clip` is the target of every draft, `film` the frames it shows."""

    studio: Any
    folder: Path
    clip: Clip
    film: list[tuple[int, npt.NDArray[np.uint8]]]

    def __post_init__(self) -> None:
        watermark = Remembering(self.studio.watermark)
        self.press = replace(self.studio.press, watermark=watermark)
        self.verifier = replace(self.studio.verifier, watermark=watermark)
        self.work = self.folder / "work"
        self.work.mkdir()

    def render(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """What a swapper would give, were it to change nothing."""
        yield from self.film[start:stop]

    def warrant(self, **changes: Any) -> Any:
        """A started warrant for the clip."""
        source = self.studio.picture("persona1_0")
        consent = {"media": ["image", "video"]}
        return self.studio.warrant_under(
            source, self.clip, consent, **{"medium": "video"} | changes
        )

    def draft(self, **changes: Any) -> ClipDraft:
        """A draft whose frames are the target's own."""
        fields: dict[str, Any] = {
            "render": self.render,
            "source": self.studio.picture("persona1_0"),
            "target": self.clip,
            "faces": (),
            "maker": Maker("geo", "1", MODELS),
        } | changes
        if "warrant" not in fields:
            fields["warrant"] = self.warrant()
        return ClipDraft(fields.pop("render"), **fields)

    def release(self, draft: ClipDraft | None = None, **changes: Any) -> ReleasedClip:
        """Release a draft through the press; `changes` replace parts of it."""
        press = replace(self.press, **changes)
        return release_clip(draft or self.draft(), press=press, folder=self.work)

    def redeliver(self, draft: ClipDraft) -> ReleasedClip:
        """What asking again for a released draft gives."""
        request = self.studio.asked[draft.warrant.document.request_id]
        row = self.studio.registry.by_request(request.request_id)
        return redeliver_clip(
            row, request, press=self.press, identity=MODELS["idnet"], folder=self.work
        )

    def kept(self, out: ReleasedClip) -> Path:
        """A released file, taken out of the store."""
        path = self.folder / f"{out.sha256}.mp4"
        self.studio.store.get_file(out.sha256, path)
        return path


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A clip that was taken in, and its frames with their times."""
    folder = tmp_path_factory.mktemp("footage")
    film = shoot((DEMO / "persona2_0.webp").read_bytes())
    clip = open_clip(develop(folder / "film.mp4", film), workspace=folder)
    return clip, list(frames(clip))


@pytest.fixture
def cinema(studio: Any, footage: Any, tmp_path: Path) -> Cinema:
    """A cinema of this test's own."""
    return Cinema(studio, tmp_path, *footage)


@pytest.fixture(scope="session")
def premiere(
    gallery: Any, footage: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Cinema, Path, ReleasedClip]:
    """A cinema beside the gallery's pictures, and one released clip; only to be looked at."""
    cinema = Cinema(gallery[0], tmp_path_factory.mktemp("premiere"), *footage)
    out = cinema.release()
    return cinema, cinema.kept(out), out


@pytest.fixture(scope="session")
def sequel(premiere: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReleasedClip]:
    """Another release of the premiere's cinema: the first second is of the same target."""
    folder = tmp_path_factory.mktemp("sequel")
    shots = [shoot((DEMO / f"{name}.webp").read_bytes()) for name in ("persona2_0", "persona4_0")]
    film = develop(folder / "film.mp4", shots[0][:RATE] + shots[1][:RATE])
    clip = open_clip(film, workspace=folder)
    cinema = Cinema(premiere[0].studio, folder, clip, list(frames(clip)))
    out = cinema.release()
    return cinema.kept(out), out


@pytest.fixture(scope="session", name="films")
def films_fixture() -> Any:
    """`films.shoot`, `films.develop`, `films.project`: frames, from and to a file."""
    return SimpleNamespace(shoot=shoot, develop=develop, project=project)
