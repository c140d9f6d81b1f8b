"""Enrolment at this deployment: media in, one person's template out, compared with everybody's.

Pictures show who; a video that answers a challenge also shows that they were there. Refused: what
`generator.enrolment` refuses, several files for one challenge, and a face that matches two people
who are enrolled already, as a picture blended of both would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from generator.enrolment import Enrolled, check_morph, enrol_pictures, enrol_video
from generator.faces import FloatArray
from generator.measure import open_template
from pipelines.deployment import Deployment, Records
from policies.challenge import Challenge, ChallengeBook
from policies.consents import Consent
from policies.errors import Error, Malformed
from provenance.media import decode
from provenance.video import read_frames


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


def issue_challenge(at: Records) -> Challenge:
    """Return a new challenge, to be answered once within two minutes."""
    return _challenges(at).issue(os.urandom)


def compare_with_everybody(enrolled: Enrolled, *, pid: str, at: Deployment) -> tuple[str, ...]:
    """Return what a person should look at before the enrolment is believed; empty if nothing.

    `pid`: the person themselves, whose other consents do not count. Raises MorphSuspected where
    the face matches two other people.
    """
    reading = check_morph(enrolled.template, list(_templates(pid, at)), at.analyser.thresholds)
    if reading.answer == "refused":
        reading.require_clear()
    if reading.answer == "clear":
        return enrolled.warnings
    return (*enrolled.warnings, f"the face is near {len(reading.near)} enrolled already")


def _templates(pid: str, at: Deployment) -> Iterator[tuple[str, FloatArray]]:
    """Yield one template of every other person who has a consent that stands."""
    seen = {pid}
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
