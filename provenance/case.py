"""One verification: what a file's manifest, mark and labels mean together, line by line.

Decides the verdict: evidence that holds, or the error that ends it. Called by `verify`, which says
with what trust.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from policies.errors import Malformed
from provenance.asset import VIDEO, sniff_asset
from provenance.budget import Budget
from provenance.claim_signature import ClaimSignature, read_claim_signature
from provenance.clash import ManifestSays, MarkSays, compare_labels, compare_mark
from provenance.clip_recovery import compare_clip, kept_output, recover_clip, state_clip
from provenance.embedding import find_store
from provenance.errors import NeverReleased, Tampered, Unmarked, Unreadable, Untrusted
from provenance.evidence import Evidence, LabelMeaning, Meaning, Report, State, Subject
from provenance.exhibit import Exhibit, PictureExhibit
from provenance.fingerprints import MATCH_DISTANCE
from provenance.mark_words import state_mark, state_print, state_quote
from provenance.media import Picture
from provenance.reading import ManifestReading
from provenance.records import Archive, look_at_consents, look_at_log, look_at_release
from provenance.recovery import compare as compare_picture
from provenance.recovery import recover, state_copy, state_marked
from provenance.registry import ReleaseRow
from provenance.second_engine import compare
from provenance.signer_status import state_signer
from provenance.statements import (
    VERDICT_WORDS,
    content_of,
    is_ours,
    state_labels,
    state_lists,
    state_manifest,
)
from provenance.watermark import Detection

if TYPE_CHECKING:
    from provenance.verify import Verifier


@dataclass(slots=True)
class Case:
    """One verification: gathers evidence line by line, then reports or raises."""

    exhibit: Exhibit
    reading: ManifestReading
    verifier: Verifier
    store: bytes | None = None
    lines: list[Evidence] = field(default_factory=list)
    meaning: Meaning = "unchecked"
    label_meaning: LabelMeaning = "no labels"
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.verifier.seconds, self.verifier.stopwatch)

    @property
    def mark(self) -> Detection | None:
        """The mark of the whole file."""
        return self.exhibit.mark

    def conclude(self) -> Report:
        """Judge a file that carries a manifest; look for that of one that carries none."""
        if self.reading.verdict in ("no_manifest", "remote_manifest_not_fetched"):
            self._say("signature", "absent", VERDICT_WORDS[self.reading.verdict])
            self._look_beside()
            return self._recover()
        signer = self._look_at_signer(self.reading, self.store)
        self.lines += state_manifest(self.reading, self.exhibit.content, signer=signer)
        self._look_beside()
        return self._judge(signer)

    def _look_at_signer(
        self, reading: ManifestReading, store: bytes | None
    ) -> tuple[Evidence, ...]:
        """Return what stands against the signer; `store`: where it is kept outside the file."""
        signature: ClaimSignature | Malformed
        try:
            store = store or find_store(self.exhibit.content, self.exhibit.mime)
            signature = read_claim_signature(
                store, reading.manifest_id, serial=reading.signer_serial
            )
        except Malformed as error:
            signature = error
        return state_signer(
            reading,
            signature,
            anchors=self.verifier.anchors,
            lists=self.verifier.lists,
            now=self.verifier.now(),
        )

    def _require_unrevoked(self, signer: tuple[Evidence, ...]) -> None:
        if any(line.subject == "revocation" and line.state == "fails" for line in signer):
            raise Untrusted(
                VERDICT_WORDS["revoked"],
                mend="ask the signer for a file signed with a certificate that holds",
                evidence=tuple(self.lines),
            )

    def _judge(self, signer: tuple[Evidence, ...]) -> Report:
        reading = self.reading
        quotes = self._quotes()
        if not quotes:
            self._require_one_release()
        verdict = "ingredient_invalid" if reading.ingredient_failures else reading.verdict
        if verdict == "ingredient_invalid" or (verdict == "invalid" and not reading.intact):
            raise Tampered(VERDICT_WORDS[verdict], evidence=tuple(self.lines))
        if verdict == "unreadable":
            raise Unreadable(VERDICT_WORDS[verdict], evidence=tuple(self.lines))
        if self.mark is not None and not quotes and self._is_ours_under_another_manifest(self.mark):
            return self._recover_release(self.mark)
        self._require_agreement()
        if verdict != "trusted":
            ended = reading.signer_expired
            who = "its time-stamping authority" if ended else "the signer"
            raise Untrusted(
                VERDICT_WORDS["expired" if ended else verdict],
                mend=f"verify with the root certificate of {who}, if you trust them",
                evidence=tuple(self.lines),
            )
        self._require_unrevoked(signer)
        return self._report("authentic", reading, reading.bound_mark or "")

    def _quotes(self) -> bool:
        """Tell whether another maker's intact film shows parts of what was released here."""
        another = self.reading.intact and self.reading.warrant is None
        quote = state_quote(self.exhibit) if another else None
        self.lines += [quote] if quote else []
        return quote is not None

    def _require_one_release(self) -> None:
        if len(self.exhibit.ids) > 1:
            self._say("watermark", "fails", f"marks of {', '.join(self.exhibit.ids)}")
            raise Tampered(
                "parts of several releases were cut together", evidence=tuple(self.lines)
            )

    def _require_agreement(self) -> None:
        """Raise where the layers contradict each other; another maker's labels only warn."""
        denied = self.label_meaning == "labels deny AI" and is_ours(self.reading)
        if self.meaning == "clash" or denied or self._failed("watermark", "fingerprint", "lint"):
            why = [e.words for e in self.lines if e.subject == "agreement" and e.state == "fails"]
            raise Tampered(
                ": ".join(["the file's evidence contradicts itself", *why]),
                evidence=tuple(self.lines),
            )

    def _recover(self) -> Report:
        self._require_one_release()
        if self.mark is not None:
            return self._recover_release(self.mark)
        archive = self.verifier.archive
        row = self._recover_by_looks(archive) if archive else None
        if archive is None or row is None:
            raise Unmarked(
                "no manifest and no readable mark: nothing can be said about this file's origin",
                mend="ask for the file as it was released; absence of marks proves nothing",
                evidence=tuple(self.lines),
            )
        return self._report("recovered", self._read_kept(row, archive), row.mark_id)

    def _recover_by_looks(self, archive: Archive) -> ReleaseRow | None:
        """Return the release that a file without a mark is a copy of, None where none agrees."""
        registry, store = archive.registry, archive.store
        if isinstance(self.exhibit, PictureExhibit):
            copies = recover(self.exhibit.picture.frame, registry=registry, store=store)
            for nearest in copies[:1]:
                self.lines += state_copy(nearest)
                if nearest.agrees:
                    return nearest.row
        stills = not isinstance(self.exhibit, PictureExhibit)
        alike = recover_clip(
            self.exhibit.sight, registry=registry, store=store, budget=self.budget, stills=stills
        )
        for found in alike[:1]:
            self.lines += state_clip(found, self.exhibit.sight)
            if found.agrees:
                return found.row
        return None

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
        reading = self._read_kept(row, archive)
        # Not the registry's fingerprint: a row is not signed, the kept output is.
        if isinstance(self.exhibit, PictureExhibit) and row.mime != VIDEO:
            self._compare_pictures(row, self.exhibit.picture, archive)
        else:
            self._compare_looks(row, archive)
        return self._report("recovered", reading, row.mark_id)

    def _compare_looks(self, row: ReleaseRow, archive: Archive) -> None:
        """Look for every frame that was looked at in the kept output."""
        found = compare_clip(row, self.exhibit.sight, store=archive.store, budget=self.budget)
        self.lines += state_clip(found, self.exhibit.sight)
        if not found.agrees:
            raise Tampered(
                "the mark leads to a release, but not every frame is from it",
                mend="ask for the file as it was released",
                evidence=tuple(self.lines),
            )

    def _compare_pictures(self, row: ReleaseRow, copy: Picture, archive: Archive) -> None:
        """Look for another picture, then for a part that was changed, then for what lies around."""
        lies = None if self.mark is None else self.mark.geometry
        found = compare_picture(row, copy.frame, store=archive.store, geometry=lies)
        self.lines += state_marked(found)
        if not found.comparable:
            raise Unreadable(
                "the mark leads to a release, but this part of it cannot be told from others",
                mend="ask for the file as it was released",
                evidence=tuple(self.lines),
            )
        if found.bits > MATCH_DISTANCE:
            raise Tampered(
                "the mark is that of another picture: it was copied here, or the picture changed",
                evidence=tuple(self.lines),
            )
        # A hash of the whole does not see a pasted face.
        if not found.alike:
            raise Tampered(
                "the mark leads to a release, but a part of this picture was changed since",
                mend="ask for the file as it was released",
                evidence=tuple(self.lines),
            )
        if found.framed:
            raise Tampered(
                "this contains a picture that was released here, and other content around it",
                mend="ask for the file as it was released, or cut away what lies around",
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

    def _read_kept(self, row: ReleaseRow, archive: Archive) -> ManifestReading:
        """Verify the manifest we keep against the output it was made for, then trust it."""
        store = archive.store.get(row.manifest_sha256)
        with kept_output(row, archive.store) as output:
            reading = self.verifier.read(output, sniff_asset(output), store=store)
        state: State = "holds" if reading.verdict == "trusted" else "fails"
        self._say("trust", state, f"the kept manifest {row.manifest_id} is {reading.verdict}")
        named = (reading.manifest_id, reading.bound_mark)
        if reading.verdict != "trusted" or named != (row.manifest_id, row.mark_id):
            raise Tampered("the kept manifest does not verify", evidence=tuple(self.lines))
        signer = self._look_at_signer(reading, store)
        self.lines += signer
        self._require_unrevoked(signer)
        return reading

    def _look_beside(self) -> None:
        """Look at everything beside the manifest, and at what they all mean together."""
        verifier = self.verifier
        self.lines.append(state_lists(verifier.lists, verifier.anchors, now=verifier.now()))
        line, labels = state_labels(self.exhibit.labels)
        self.lines.append(line)
        bound = self.reading.bound_mark
        manifest = self._manifest_says(bound)
        mark = self._mark_says(manifest, bound)
        cell = compare_mark(manifest, mark)
        self.meaning = cell.meaning
        if self.verifier.watermark is None:
            self._say("watermark", "unchecked", "no watermark key was given")
        else:
            said = state_mark(self.exhibit, bound=bound, manifest=manifest, weight=cell.state)
            self.lines.append(said)
        look = state_print(self.exhibit, self.reading)
        self.lines += [look] if look else []
        self._say("agreement", cell.state, cell.words)
        marked = mark in ("same", "unplaced")
        label_cell = compare_labels(content_of(self.reading, marked=marked), labels)
        self.label_meaning = label_cell.meaning
        self._say("agreement", label_cell.state, label_cell.words)
        if self.verifier.second is not None:
            second = self.verifier.second.read(
                self.exhibit.content,
                self.exhibit.mime,
                anchors=self.verifier.anchors,
                lists=self.verifier.lists,
                store=self.store,
            )
            self.lines.append(compare(self.reading, second))

    def _manifest_says(self, bound: str | None) -> ManifestSays:
        reading = self.reading
        if reading.verdict in ("no_manifest", "remote_manifest_not_fetched"):
            return "none"
        if not reading.intact:
            return "broken"
        # Another deployment may have worked on what was released here, under its own mark.
        abroad = self.verifier.archive is not None and self._find_archive(reading) is None
        if abroad or (bound is None and reading.warrant is None):
            return "other"
        if bound is None:
            return "silent"
        return "bound" if "c2pa.watermarked.bound" in reading.actions else "named"

    def _mark_says(self, manifest: ManifestSays, bound: str | None) -> MarkSays:
        if self.verifier.watermark is None:
            return "unchecked"
        if self.mark is None:
            return "absent"
        if self.mark.mark_id is None:
            return "unreadable"
        if bound is not None and manifest != "other":
            return "same" if self.mark.mark_id == bound else "another"
        if self.verifier.archive is None:
            return "unplaced"
        known = self.verifier.archive.registry.by_mark(self.mark.mark_id)
        return "another" if known is None else "same"

    def _report(
        self, verdict: Literal["authentic", "recovered"], reading: ManifestReading, mark_id: str
    ) -> Report:
        archive = self._find_archive(reading)
        consent, lines = look_at_consents(reading.consent, archive, reading.withdrawal)
        self.lines += [*lines, look_at_log(reading.warrant, archive)]
        if self._failed("log"):
            raise Tampered("the log contradicts the manifest", evidence=tuple(self.lines))
        if reading.warrant is None or archive is None:
            self._say("release", "unchecked", "its register was not given")
        else:
            self.lines.append(look_at_release(reading, archive))
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
            meaning=self.meaning,
            label_meaning=self.label_meaning,
        )

    def _find_archive(self, reading: ManifestReading) -> Archive | None:
        """Return the archive if it is of the deployment that the manifest names by its log."""
        archive = self.verifier.archive
        if archive is None or reading.warrant is None:
            return archive
        return archive if reading.warrant["log"]["origin"] == archive.log.origin else None

    def _say(self, subject: Subject, state: State, words: str) -> None:
        self.lines.append(Evidence(subject, state, words))

    def _failed(self, *subjects: Subject) -> bool:
        return any(line.state == "fails" and line.subject in subjects for line in self.lines)
