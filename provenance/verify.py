"""What may be said about a file: evidence that holds, or an error that says which does not.

Manifest, watermark, labels, registry, log and consent are looked at apart and never averaged; where
they contradict each other the answer is Tampered. A manifest that was stripped is found again
through the watermark, and counts only when the perceptual fingerprint agrees, since a mark can be
copied. Silence is never "authentic".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from policies.audit import AuditLog, LogTampered, verify_entry
from policies.consents import ConsentBook
from policies.errors import BadSignature, Malformed
from policies.keys import PublicKey
from policies.merkle import ProofInvalid
from provenance.c2pa import ManifestReading, read_manifest
from provenance.chains import TrustAnchors
from provenance.errors import (
    LabelRefused,
    MediaError,
    NeverReleased,
    Tampered,
    Unmarked,
    Unreadable,
    Untrusted,
)
from provenance.evidence import Consent, Evidence, Report, State, Subject
from provenance.fingerprints import MATCH_DISTANCE, distance, fingerprint
from provenance.labels import read_labels
from provenance.likeness import MAX_BLOCK_DIFFERENCE, worst_block
from provenance.manifest import GENERATOR, MARK_ALG_PREFIX
from provenance.media import Picture, decode
from provenance.registry import Registry, ReleaseRow
from provenance.standing import consent_today, is_logged, worst_of
from provenance.store import Store
from provenance.watermark import Detection, Watermark


@dataclass(frozen=True, slots=True)
class Archive:
    """What only the releasing deployment has: registry, manifests, log and consents."""

    registry: Registry
    store: Store
    log: AuditLog
    log_key: PublicKey
    consents: ConsentBook


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies with the trust it was given.

    `anchors` alone make a manifest trusted; without `watermark` no mark is looked for, without
    `archive` neither recovery, log nor consent are checked, and the report says so.
    """

    anchors: TrustAnchors
    watermark: Watermark | None = None
    archive: Archive | None = None

    def verify(self, data: bytes) -> Report:
        """Return what holds about a file.

        Raises MediaError when it is no picture we read; Tampered when it was changed or its
        evidence contradicts itself; NeverReleased when it was signed here and not released;
        Untrusted when an intact manifest leads to no anchor; Unreadable when a manifest or mark is
        there but cannot be read; Unmarked when there is nothing. Each carries the evidence found.
        """
        picture = decode(data)
        reading = read_manifest(data, picture.mime, anchors=self.anchors)
        mark = self.watermark.detect(picture.frame) if self.watermark else None
        case = _Case(picture, reading, mark, self)
        if reading.verdict in ("no_manifest", "remote_manifest_not_fetched"):
            return case.recover()
        return case.judge()


@dataclass(slots=True)
class _Case:
    """One verification: gathers evidence line by line, then reports or raises."""

    picture: Picture
    reading: ManifestReading
    mark: Detection | None
    verifier: Verifier
    lines: list[Evidence] = field(default_factory=list)

    def judge(self) -> Report:
        """Judge a file that carries a manifest."""
        self._look_at_manifest()
        self._look_at_labels()
        bound = _bound_id(self.reading)
        self._look_at_mark(bound)
        verdict, words = self.reading.verdict, _VERDICT_WORDS[self.reading.verdict]
        if verdict in ("invalid", "ingredient_invalid"):
            raise Tampered(words, evidence=tuple(self.lines))
        if verdict == "unreadable":
            raise Unreadable(words, evidence=tuple(self.lines))
        if self.mark is not None and self._is_ours_under_another_manifest(self.mark):
            return self._recover_release(self.mark)
        if self._failed("watermark", "lint"):
            raise Tampered("the file's evidence contradicts itself", evidence=tuple(self.lines))
        if verdict == "intact_untrusted":
            raise Untrusted(
                words,
                mend="verify with the root certificate of the signer, if you trust them",
                evidence=tuple(self.lines),
            )
        return self._report("authentic", self.reading, bound or "")

    def recover(self) -> Report:
        """Look for the manifest of a file that carries none, by way of its watermark."""
        self._say("signature", "absent", _VERDICT_WORDS[self.reading.verdict])
        self._look_at_labels()
        self._look_at_mark(None)
        if self.mark is None:
            raise Unmarked(
                "no manifest and no readable mark: nothing can be said about this file's origin",
                mend="ask for the file as it was released; absence of marks proves nothing",
                evidence=tuple(self.lines),
            )
        return self._recover_release(self.mark)

    def _is_ours_under_another_manifest(self, mark: Detection) -> bool:
        """Tell whether the pixels are marked as released here while the manifest is a stranger's.

        Anyone can strip a release and sign it anew, as a camera picture for instance.
        """
        archive = self.verifier.archive
        if self.reading.warrant is not None or archive is None:
            return False
        return mark.mark_id is not None and archive.registry.by_mark(mark.mark_id) is not None

    def _recover_release(self, mark: Detection) -> Report:
        row, archive = self._find_release(mark)
        original = decode(archive.store.get(row.output_sha256))
        reading = self._read_kept(row, original, archive)
        # Not the registry's fingerprint: a row is not signed, the kept output is.
        bits = distance(fingerprint(original.frame), fingerprint(self.picture.frame))
        self._say(
            "fingerprint",
            "holds" if bits <= MATCH_DISTANCE else "fails",
            f"{bits} of 256 bits differ from the released picture, {MATCH_DISTANCE} may",
        )
        if bits > MATCH_DISTANCE:
            raise Tampered(
                "the mark is that of another picture: it was copied here, or the picture changed",
                evidence=tuple(self.lines),
            )
        self._compare(original)
        return self._report("recovered", reading, row.mark_id)

    def _compare(self, original: Picture) -> None:
        """Look for a part that was changed; a hash of the whole does not see a pasted face."""
        levels = worst_block(original.frame, self.picture.frame)
        alike = levels <= MAX_BLOCK_DIFFERENCE
        self._say(
            "likeness",
            "holds" if alike else "fails",
            f"the block that differs most does so by {levels:.1f} of 255 levels, "
            f"{MAX_BLOCK_DIFFERENCE:g} may; finer changes are not seen",
        )
        if not alike:
            raise Tampered(
                "the mark leads to a release, but a part of this picture was changed since",
                mend="ask for the file as it was released",
                evidence=tuple(self.lines),
            )

    def _find_release(self, mark: Detection) -> tuple[ReleaseRow, Archive]:
        archive = self.verifier.archive
        if mark.mark_id is None or archive is None:
            raise Unreadable(
                "a mark is present, but it does not lead to a release here",
                mend="ask the deployment that holds the registry",
                evidence=tuple(self.lines),
            )
        row = archive.registry.by_mark(mark.mark_id)
        if row is None:
            raise Tampered(
                "the mark names a release that never happened", evidence=tuple(self.lines)
            )
        return row, archive

    def _read_kept(self, row: ReleaseRow, original: Picture, archive: Archive) -> ManifestReading:
        """Verify the manifest we keep against the output it was made for, then trust it."""
        store = archive.store.get(row.manifest_sha256)
        reading = read_manifest(
            original.data, original.mime, anchors=self.verifier.anchors, store=store
        )
        state: State = "holds" if reading.verdict == "trusted" else "fails"
        self._say("trust", state, f"the kept manifest {row.manifest_id} is {reading.verdict}")
        named = (reading.manifest_id, _bound_id(reading))
        if reading.verdict != "trusted" or named != (row.manifest_id, row.mark_id):
            raise Tampered("the kept manifest does not verify", evidence=tuple(self.lines))
        return reading

    def _look_at_manifest(self) -> None:
        reading = self.reading
        intact = reading.verdict in ("trusted", "intact_untrusted", "ingredient_invalid")
        codes = ", ".join(reading.failures)
        self._say(
            "signature",
            "holds" if intact else "fails",
            f"the manifest {reading.manifest_id} fits this file"
            if intact
            else f"the file is not as it was signed: {codes or reading.detail}",
        )
        self._say(
            "trust",
            "holds" if reading.signer_trusted else "fails",
            f"signed by {reading.issuer or 'an unknown signer'}"
            + ("" if reading.signer_trusted else ", who leads to none of the given anchors"),
        )
        self._say(
            "time stamp",
            "holds" if reading.time_stamped else "absent",
            f"stamped {reading.signed_at}"
            if reading.time_stamped
            else "no trusted time stamp: the signature ends with its certificate",
        )
        bad = "; ".join(
            f"{i.relationship}: {', '.join(i.codes)}" for i in reading.ingredient_failures
        )
        self._say("ingredients", "fails" if bad else "holds", bad or "no ingredient fails")
        lint = "; ".join(f"{f.code}: {f.words}" for f in reading.findings)
        # Another maker's habits are not ours to judge; our own output keeps every rule.
        ours = reading.warrant is not None or reading.claim_generator == GENERATOR["name"]
        broken: State = "fails" if ours else "warns"
        self._say("lint", broken if lint else "holds", lint or "the manifest keeps every rule")

    def _look_at_mark(self, bound: str | None) -> None:
        """Set watermark against manifest: a mark other than the one it names is a clash.

        A mark under a manifest that names none may be an honest edit of a release: a warning.
        """
        if self.verifier.watermark is None:
            self._say("watermark", "unchecked", "no watermark key was given")
            return
        if self.mark is None:
            state: State = "warns" if bound else "absent"
            words = "the mark the manifest names is not there" if bound else "no mark of this key"
            self._say("watermark", state, words)
            return
        chance = f"by chance at most {self.mark.p_value:.0e}"
        if self.mark.mark_id is None:
            self._say("watermark", "warns", f"a mark is present ({chance}), its id is unreadable")
            return
        words = f"carries {self.mark.mark_id} ({chance})"
        if not self.reading.manifest_id or self.mark.mark_id == bound:
            self._say("watermark", "holds", words)
        else:
            # Another deployment may have worked on what was released here, under its own mark.
            foreign = self.verifier.archive and self._find_archive(self.reading) is None
            clash = not foreign and (bound is not None or self.reading.warrant is not None)
            named = f"{words}, but the manifest names {bound or 'none'}"
            self._say("watermark", "fails" if clash else "warns", named)

    def _look_at_labels(self) -> None:
        try:
            labels = read_labels(self.picture.data, self.picture.mime)
        except (LabelRefused, MediaError) as error:
            self._say("labels", "warns", error.message)
            return
        if labels is None:
            self._say("labels", "absent", "no label says that the picture is AI-made")
        elif labels.problems:
            self._say("labels", "warns", "; ".join(labels.problems))
        else:
            says = "AI-made" if labels.claims_ai else "no AI"
            self._say("labels", "holds", f"{says}, by {labels.provider or 'no provider'}")

    def _report(
        self, verdict: Literal["authentic", "recovered"], reading: ManifestReading, mark_id: str
    ) -> Report:
        archive = self._find_archive(reading)
        consent = self._look_at_consents(reading.consent, archive)
        self._look_at_log(reading.warrant, archive)
        if self._failed("log"):
            raise Tampered("the log contradicts the manifest", evidence=tuple(self.lines))
        self._look_at_release(reading, archive)
        if self._failed("release"):
            raise NeverReleased(
                "the file was signed here but never released: its release was broken off",
                mend="do not publish it; ask for the same request again",
                evidence=tuple(self.lines),
            )
        return Report(
            verdict=verdict,
            origin="facewarrant" if reading.warrant else "other",
            consent=consent,
            manifest_id=reading.manifest_id,
            issuer=reading.issuer,
            mark_id=mark_id,
            evidence=tuple(self.lines),
        )

    def _find_archive(self, reading: ManifestReading) -> Archive | None:
        """Return the archive if it is of the deployment that the manifest names by its log."""
        archive = self.verifier.archive
        if archive is None or reading.warrant is None:
            return archive
        return archive if reading.warrant["log"]["origin"] == archive.log.origin else None

    def _look_at_consents(
        self, assertion: Mapping[str, Any] | None, archive: Archive | None
    ) -> Consent:
        if assertion is None or archive is None:
            why = "the manifest names no consent" if archive else "its register was not given"
            self._say("consent", "unchecked", why)
            return "unchecked"
        results = [consent_today(archive.consents, entry) for entry in assertion["consents"]]
        for found in results:
            self._say("consent", found.state, found.words)
        return worst_of(results)

    def _look_at_log(self, assertion: Mapping[str, Any] | None, archive: Archive | None) -> None:
        if assertion is None or archive is None:
            why = "the manifest names no log entry" if archive else "its log was not given"
            self._say("log", "unchecked", why)
            return
        place = assertion["log"]
        try:
            proof = archive.log.prove(place["index"])
            head = verify_entry(proof, origin=place["origin"], key=archive.log_key)
        except (LogTampered, ProofInvalid, BadSignature, Malformed) as error:
            self._say("log", "fails", error.message)
            return
        same = proof.entry.get("decision") == assertion["decision_hash"]
        self._say(
            "log",
            "holds" if same and proof.entry.get("allow") is True else "fails",
            f"entry {proof.index} of {head.size} is the decision that allowed this"
            if same
            else f"entry {proof.index} is another decision",
        )

    def _look_at_release(self, reading: ManifestReading, archive: Archive | None) -> None:
        if reading.warrant is None or archive is None:
            self._say("release", "unchecked", "its register was not given")
            return
        row = archive.registry.by_manifest(reading.manifest_id)
        if row is not None and is_logged(
            archive.log, row.log_index, reading.manifest_id, key=archive.log_key
        ):
            at = datetime.fromtimestamp(row.released_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            self._say("release", "holds", f"released {at}, log entry {row.log_index}")
            return
        # Rare: only then is the whole log read. The register can be edited, the log cannot.
        named = [
            index
            for index, entry in enumerate(archive.log.entries())
            if entry.get("manifest") == reading.manifest_id
        ]
        logged = any(
            is_logged(archive.log, index, reading.manifest_id, key=archive.log_key)
            for index in named
        )
        words = "the log has this release" if logged else "the log has no release of this"
        state: State = "warns" if logged else "fails"
        self._say("release", state, f"not rightly in the register of releases; {words}")

    def _say(self, subject: Subject, state: State, words: str) -> None:
        self.lines.append(Evidence(subject, state, words))

    def _failed(self, *subjects: Subject) -> bool:
        return any(line.state == "fails" and line.subject in subjects for line in self.lines)


_VERDICT_WORDS = {
    "trusted": "the manifest is intact and its signer trusted",
    "intact_untrusted": "the manifest is intact, but its signer leads to none of the given anchors",
    "invalid": "the file or its manifest was changed after signing",
    "ingredient_invalid": "the manifest builds on an ingredient that does not hold",
    "no_manifest": "the file carries no manifest",
    "remote_manifest_not_fetched": "the manifest is on a server; nothing is fetched",
    "unreadable": "the file carries a manifest that cannot be read",
}


def _bound_id(reading: ManifestReading) -> str | None:
    """Return the id of our kind of mark that a manifest names; another maker's is not ours."""
    ids = [b.value.hex() for b in reading.soft_bindings if b.alg.startswith(MARK_ALG_PREFIX)]
    return ids[0] if len(ids) == 1 else None
