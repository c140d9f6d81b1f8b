"""T31: secrets, faces and people in the log, in outputs, in what is printed and in tracebacks.

A whole use with marked bytes: a template, seeds of keys and the names of requests that are found
nowhere but where they belong. `repr` of whatever holds a secret shows none.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from generator.enrolment import Enrolled, LivenessRecord
from generator.faces import Face
from pipelines.outcome import Job
from policies.canonical import canonical
from policies.consent import ConsentBroken
from policies.decide import Refused
from policies.keys import CommitmentKey, SigningKey
from policies.optout import OptOutBook
from policies.subjectkeys import TemplateUnreadable
from provenance.media import decode, encode
from provenance.release import release

MARKED = b"canary: the numbers of a face"
SEED = b"canary: 32 bytes of signing keys"


def logged(office: Any) -> bytes:
    return b"\n".join(canonical(entry) for entry in office.log.entries())


def personal(office: Any, record_id: str) -> list[bytes]:
    """What names a person: their record, their pseudonym, their key."""
    record = office.book.read(record_id).record
    return [text.encode() for text in (record_id, record.subject.pid, record.subject.key)]


def test_a_whole_use_leaves_no_trace_of_people_in_log_output_or_terminal(
    studio: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    office = studio.office
    draft = studio.draft()
    document = draft.warrant.document
    released = release(draft, press=studio.press)
    canaries = [text for person in document.people for text in personal(office, person.record_id)]
    canaries += [document.request_id.encode(), document.source_sha256.encode()]
    canaries += [document.target_sha256.encode(), b"Test Controller"]
    printed = "".join(capfd.readouterr()) + caplog.text
    for canary in canaries:
        assert canary not in logged(office)
        assert canary not in released.data
        assert canary not in printed.encode()


def test_a_consent_and_its_template_are_in_no_entry_and_on_no_terminal(
    office: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    record_id = office.enrol(face=MARKED)
    canaries = [*personal(office, record_id), MARKED]
    request = office.request([(record_id, "source_identity"), (office.enrol(), "target_body")])
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, office.measured(request, source_faces=2))
    office.withdraw(record_id)
    printed = "".join(capfd.readouterr()) + caplog.text
    for canary in canaries:
        assert canary not in logged(office)
        assert canary not in printed.encode()
    assert canaries[1] not in str(caught.value).encode(), "a refusal names no pseudonym"


def test_a_traceback_quotes_no_template_and_no_key(office: Any) -> None:
    record_id = office.enrol(face=MARKED)
    record = office.book.read(record_id).record
    with office.database.transaction() as connection:
        connection.exec_driver_sql("update template set ciphertext = x'00' where true")
    with pytest.raises(ConsentBroken, match="template") as caught:
        office.book.template(record)
    told = "".join(traceback.format_exception(caught.value))
    assert "canary" not in told
    assert record.subject.pid not in told


def test_what_does_not_open_is_not_quoted(office: Any) -> None:
    record_id = office.enrol(face=MARKED)
    pid = office.book.read(record_id).record.subject.pid
    with pytest.raises(TemplateUnreadable) as caught:
        office.subject_keys.open(b"0" * 12 + MARKED, pid=pid, bound={})
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def make_opt_out(office: Any) -> object:
    book = OptOutBook(office.database, office.log, office.subject_keys, office.clock)
    book.add(MARKED, model_sha256="a" * 64, pid="ps_" + "a" * 26)
    return book.entries()


def make_subject_key(office: Any) -> object:
    office.subject_keys.seal(MARKED, pid="ps_" + "a" * 26, bound={})
    return office.subject_keys.find("ps_" + "a" * 26)


CANARY = np.frombuffer(b"canary: ", np.float32)  # as numbers of a face; printed as themselves
FACE = np.resize(CANARY, (468, 3)), np.resize(CANARY, (2, 5, 2)), np.resize(CANARY, 128)


def make_face(_office: Any) -> object:
    mesh, iris, vector = FACE
    return Face((1.0, 2.0, 3.0, 4.0), 0.9, mesh, iris, (0.0, 0.0, 0.0), vector)


def make_picture(_office: Any) -> object:
    frame = np.resize(np.frombuffer(MARKED, np.uint8), (48, 48, 3))
    return decode(encode(frame, "image/png"))


def make_enrolled(_office: Any) -> object:
    return Enrolled(FACE[2], 2, 0.0, LivenessRecord("none"), None, ())


MAKERS: dict[str, Callable[[Any], object]] = {
    "signing key": lambda office: SigningKey.from_seed(SEED),
    "commitment key": lambda office: CommitmentKey(SEED),
    "opt-outs": make_opt_out,
    "subject key": make_subject_key,
    "job": lambda office: Job(office.swap_request(), MARKED, MARKED),
    "face": make_face,
    "picture": make_picture,
    "enrolled": make_enrolled,
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_holds_a_secret_or_a_picture_does_not_show_it(office: Any, name: str) -> None:
    made = MAKERS[name](office)
    shown = repr(made)
    assert "canary" not in shown
    assert "array" not in shown
    assert not any(f"{number:.4}"[:6] in shown for number in CANARY.tolist())
    if name == "subject key":
        assert made.wrapped is not None  # type: ignore[attr-defined]
        assert repr(made.wrapped) not in shown  # type: ignore[attr-defined]
        assert repr(made.salt) not in shown  # type: ignore[attr-defined]


def test_a_draft_and_a_release_show_no_pixels(studio: Any) -> None:
    draft = studio.draft()
    assert len(repr(draft)) < 500
    assert repr(release(draft, press=studio.press).data) not in repr(draft)
    assert len(repr(studio.release("persona3_0"))) < 500
