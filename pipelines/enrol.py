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
from generator.measure import open_template
from pipelines.deployment import Deployment, Records
from pipelines.jobs import read_file
from policies.challenge import Challenge, ChallengeBook
from policies.consents import Consent
from policies.errors import Error, Malformed
from provenance.media import DEFAULT_LIMITS, decode
from provenance.video import ENROLMENT_LIMITS, read_frames


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
            frames = [decode(data).frame for data in self.media]
            return enrol_pictures(frames, at.analyser)
        if len(self.media) != 1:
            raise Malformed(
                f"{len(self.media)} files answer one challenge", mend="give exactly one video"
            )
        challenge = _challenges(at).spend(self.nonce)
        return enrol_video(read_frames(self.media[0]), challenge, at.analyser)


def read_enrolment(paths: Sequence[Path], nonce: str) -> Enrolment:
    """Return the enrolment of these files, a video with a nonce; raise FileUnreadable."""
    most = (ENROLMENT_LIMITS if nonce else DEFAULT_LIMITS).file_bytes
    return Enrolment(tuple(read_file(path, max_bytes=most) for path in paths), nonce)


def issue_challenge(at: Records) -> Challenge:
    """Return a new challenge, to be answered once within two minutes."""
    return _challenges(at).issue(os.urandom)


def compare_with_everybody(enrolled: Enrolled, *, pid: str, at: Deployment) -> tuple[str, ...]:
    """Return what a person should look at before the enrolment is believed; empty if nothing.

    `pid`: the person themselves where they are known; their earlier face has to fit, and does not
    count among the others. Raises OtherPerson where it does not fit, and MorphSuspected where the
    face matches two other people.
    """
    people, found = dict(_templates(at)), list(enrolled.warnings)
    own = people.pop(pid, None)
    if own is not None:
        found += _compare_with_own(enrolled.template, own, at)
    reading = check_morph(enrolled.template, list(people.items()), at.analyser.thresholds)
    if reading.answer == "refused":
        reading.require_clear()
    if reading.answer == "review":
        found.append(f"the face is near {len(reading.near)} enrolled already")
    return tuple(found)


def _compare_with_own(new: FloatArray, own: FloatArray, at: Deployment) -> list[str]:
    reading = check_morph(new, [("own", own)], at.analyser.thresholds)
    if not reading.near:
        raise OtherPerson(
            "the face is not that of the person enrolled under this pseudonym",
            mend="use pictures of that person; leave the pseudonym out for somebody new",
        )
    # One match is for others what a morph could give; for oneself it is what has to be.
    return [] if reading.answer == "review" else ["the face is not clearly the one enrolled before"]


def _templates(at: Deployment) -> Iterator[tuple[str, FloatArray]]:
    """Yield one template of every person who has a consent that stands."""
    seen: set[str] = set()
    for record_id in at.consents.record_ids():
        consent = _read(record_id, at)
        if consent is None or consent.record.subject.pid in seen:
            continue
        template = open_template(record_id, at.consents, at.analyser)
        if template is not None:
            seen.add(consent.record.subject.pid)
            yield consent.record.subject.pid, template


def _read(record_id: str, at: Deployment) -> Consent | None:
    try:
        return at.consents.read(record_id)
    except Error as error:
        if error.code == "STORE-UNAVAILABLE":
            raise
        return None


def _challenges(at: Records) -> ChallengeBook:
    return ChallengeBook(at.desk.database, at.clock)
