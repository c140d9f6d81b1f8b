"""Enrolment at this deployment: media in, one person's template out, compared with everybody's.

Pictures show who; a video that answers a challenge also shows that they were there. Refused: what
`generator.enrolment` refuses, several files for one challenge, a face that matches two people who
are enrolled already, as a picture blended of both would, and one that is not the person's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.enrolment import Enrolled, check_morph, enrol_pictures, enrol_video
from generator.errors import OtherPerson
from generator.faces import FloatArray
from generator.sight import open_template
from pipelines.deployment import Deployment, Records
from pipelines.jobs import read_file
from policies.challenge import Challenge, ChallengeBook
from policies.consent import FINAL, ConsentBroken
from policies.consents import Consent
from policies.errors import Malformed
from provenance.media import DEFAULT_LIMITS, decode
from provenance.video import ENROLMENT_LIMITS
from provenance.video_sandbox import read_apart


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What somebody is enrolled from: pictures, or one video and the nonce it answers."""

    media: tuple[bytes, ...]
    nonce: str = ""

    def run(self, at: Deployment) -> Enrolled:
        """Return the template and what it rests on; a nonce is spent whatever comes of it.

        Raises FaceError, MediaError, VideoError, and for the nonce ChallengeUnknown,
        ChallengeSpent and ChallengeExpired.
        """
        if not self.nonce:
            frames = [decode(data, load=at.decoder).frame for data in self.media]
            return enrol_pictures(frames, at.analyser)
        if len(self.media) != 1:
            raise Malformed(
                f"{len(self.media)} files answer one challenge", mend="give exactly one video"
            )
        challenge = _challenges(at).spend(self.nonce)
        return enrol_video(read_apart(self.media[0]), challenge, at.analyser)


def read_enrolment(paths: Sequence[Path], nonce: str) -> Enrolment:
    """Return the enrolment of these files, a video with a nonce; raise FileUnreadable."""
    most = (ENROLMENT_LIMITS if nonce else DEFAULT_LIMITS).file_bytes
    return Enrolment(tuple(read_file(path, max_bytes=most) for path in paths), nonce)


def issue_challenge(at: Records) -> Challenge:
    """Return a new challenge, to be answered once within two minutes."""
    return _challenges(at).issue(os.urandom)


def compare_with_everybody(enrolled: Enrolled, *, pid: str, at: Deployment) -> tuple[str, ...]:
    """Return what a person should look at before the enrolment is believed; empty if nothing.

    `pid`: the person themselves where they are known; their earlier face has to match, and does not
    count among the others. Raises OtherPerson where it does not match or cannot be read, and
    MorphSuspected where the face matches two other people; StoreUnavailable, KeyUnavailable and
    ClockRollback where nobody can be compared with now.
    """
    people = dict(_templates(at))
    if pid:
        _require_own(enrolled.template, people.pop(pid, None), at)
    known = [(who, face) for who, face in people.items() if face is not None]
    reading = check_morph(enrolled.template, known, at.analyser.thresholds)
    if reading.answer == "refused":
        reading.require_clear()
    found = list(enrolled.warnings)
    if reading.answer == "review":
        found.append("the face looks like somebody who is enrolled already")
    if len(known) < len(people):
        found.append(f"{len(people) - len(known)} enrolled people could not be compared with")
    return tuple(found)


def _require_own(new: FloatArray, own: FloatArray | None, at: Deployment) -> None:
    """Raise OtherPerson unless the new face matches the one enrolled under the pseudonym."""
    matched = own is not None and any(
        near.distance <= at.analyser.thresholds.match
        for near in check_morph(new, [("own", own)], at.analyser.thresholds).near
    )
    if not matched:
        raise OtherPerson(
            "the face is not that of the person enrolled under this pseudonym, or cannot be told",
            mend="use pictures of that person; leave the pseudonym out for somebody new",
        )


def _templates(at: Deployment) -> Iterator[tuple[str, FloatArray | None]]:
    """Yield everybody who has a consent that stands, and a template that can be compared, if any.

    Those that can be compared come last, so that one of them is what a dictionary keeps.
    """
    found: list[tuple[str, FloatArray | None]] = []
    for record_id in at.consents.record_ids():
        consent = _read(record_id, at)
        if consent is not None and consent.state.status not in FINAL:
            template = open_template(record_id, at.consents, at.analyser)
            found.append((consent.record.subject.pid, template))
    yield from sorted(found, key=lambda one: one[1] is not None)


def _read(record_id: str, at: Deployment) -> Consent | None:
    """Return a consent, None for a broken one: it is nobody's, and nothing is done under it."""
    try:
        return at.consents.read(record_id)
    except (ConsentBroken, Malformed):
        return None


def _challenges(at: Records) -> ChallengeBook:
    return ChallengeBook(at.desk.database, at.clock)
