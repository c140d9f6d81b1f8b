"""`facewarrant consent`: options become what is signed, and every refusal has its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies.digest import sha256_hex

DEMO = Path(__file__).parents[2] / "docs" / "demo"
Cli = Callable[..., Any]
RENDERED = ("--age-assurance", "rendered", "--age-evidence", "docs/demo/README.md")
YES = ("--adult", "--yes", "--json")


def flat(text: str) -> str:
    return " ".join(text.split())


UNKNOWN = "00000000-0000-7000-8000-000000000000"


def words(person: str = "persona3", *more: object, age: tuple[str, ...] = RENDERED) -> list[str]:
    pictures = [str(DEMO / f"{person}_{view}.webp") for view in (1, 2)]
    scope = ("--role", "bystander", "--purpose", "personal", "--territory", "DE")
    return ["consent", "grant", *pictures, *scope, *age, *map(str, more)]


def test_every_option_is_part_of_what_is_signed(cli: Cli, home: Any, tmp_path: Path) -> None:
    (tmp_path / "release.pdf").write_bytes(b"a written release")
    (tmp_path / "separate.pdf").write_bytes(b"a separate consent")
    target = DEMO / "persona4_0.webp"
    options: tuple[object, ...] = (
        *("--medium", "image", "--medium", "video", "--audience", "public"),
        *("--opt-in", "alcohol", "--prohibit", "tobacco"),
        *("--only-with", home.pid(home.source), "--only-in", target),
        *("--project", "a film", "--compensation", "contract 7", "--in-person"),
        *("--us-il-release", tmp_path / "release.pdf"),
        *("--cn-separate", tmp_path / "separate.pdf", "--us-tx-origin", "provided_by_subject"),
    )
    age = ("--age-assurance", "document", "--age-evidence", "check 7")
    ended = cli(*words("persona3", *options, *YES, age=age))
    assert (ended.code, ended.json["warnings"]) == (0, [])
    record = ended.json["record"]
    assert (record["media"], record["audiences"]) == (["image", "video"], ["public"])
    assert [o["category"] for o in record["opted_in"]] == ["alcohol"]
    assert record["prohibited"] == ["tobacco"]
    assert record["counterparties"] == {"mode": "listed", "pids": [home.pid(home.source)]}
    assert record["assets"] == {
        "mode": "listed",
        "sha256": [sha256_hex(target.read_bytes())],
        "project": "a film",
    }
    assert record["compensation_ref"] == "contract 7"
    assert record["subject"]["age_assurance"]["evidence"] == "check 7"
    assert record["binding"]["liveness"]["method"] == "in_person"
    release, separate, origin = record["addenda"]
    assert release["written_release_sha256"] == sha256_hex(b"a written release")
    assert release["purpose_and_term"] == "personal; 365 days"
    assert separate["separate_consent_sha256"] == sha256_hex(b"a separate consent")
    assert origin == {"form": "US-TX-ORIGIN", "origin": "provided_by_subject"}


def test_the_forms_are_shown_before_anybody_says_yes(cli: Cli, home: Any, tmp_path: Path) -> None:
    (tmp_path / "release.pdf").write_bytes(b"a written release")
    more = ("--us-il-release", tmp_path / "release.pdf", "--us-tx-origin", "provided_by_subject")
    for asked, answers in ((("--adult", "--yes"), ""), ((), "n\n")):
        told = flat(cli(*words("persona3", *more, *asked), answers=answers).err)
        assert "withdraw at any time" in told
        assert "US-IL-RELEASE, US-TX-ORIGIN" in told


def test_an_opt_in_is_asked_by_itself_and_a_no_keeps_nothing(cli: Cli, home: Any) -> None:
    size = home.log_size()
    refused = cli(*words("persona3", "--opt-in", "alcohol"), answers="y\nn\n")
    assert refused.code == 1
    assert "'alcohol'" in refused.err
    assert home.log_size() == size
    granted = cli(*words("persona3", "--opt-in", "alcohol", "--json"), answers="y\n" * 4)
    assert [o["category"] for o in granted.json["record"]["opted_in"]] == ["alcohol"]


def test_a_warning_is_shown_beside_the_consent(cli: Cli, home: Any) -> None:
    ended = cli(*words("persona1", "--adult", "--yes"))
    assert ended.code == 0
    assert "To look at: the face looks like somebody who is enrolled already" in flat(ended.out)
    again = cli(*words("persona1", *YES))
    assert (again.code, again.json["error"]["code"]) == (4, "MORPH-SUSPECTED")


def test_a_known_person_is_named_by_their_pseudonym(cli: Cli, home: Any) -> None:
    pid = home.pid(home.source)
    ended = cli(*words("persona1", "--subject", pid, *YES))
    assert (ended.code, ended.json["warnings"]) == (0, [])
    assert ended.json["record"]["subject"]["pid"] == pid
    other = cli(*words("persona3", "--subject", pid, *YES))
    assert (other.code, other.json["error"]["code"]) == (4, "OTHER-PERSON")
    nobody = cli(*words("persona3", "--subject", "ps_" + "a" * 26, *YES))
    assert (nobody.code, nobody.json["error"]["code"]) == (4, "KEY-FILE-REFUSED")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--only-in", "missing.webp"), "FILE-UNREADABLE"),
        (("--us-il-release", "missing.pdf"), "FILE-UNREADABLE"),
        (("--cn-separate", "missing.pdf"), "FILE-UNREADABLE"),
        (("--only-with", "somebody"), "MALFORMED"),
        (("--opt-in", "minors_context"), "MALFORMED"),
        (("--opt-in", "alcohol", "--prohibit", "alcohol"), "MALFORMED"),
        (("--challenge", "ab" * 32), "MALFORMED"),
        (("--subject", "persona3"), "MALFORMED"),
        (("--age-assurance", "document", "--age-evidence", ""), "MALFORMED"),
    ],
)
def test_what_cannot_be_signed_ends_with_4_and_keeps_nothing(
    cli: Cli, home: Any, more: tuple[str, ...], code: str
) -> None:
    size = home.log_size()
    ended = cli(*words("persona3", *more, *YES))
    assert (ended.code, ended.json["error"]["code"]) == (4, code)
    assert ended.json["error"]["mend"] or code == "MALFORMED"
    assert home.log_size() - size <= 1, "the policy in force, and no consent"
    assert len(cli("consent", "show", "--json").json) == 2


@pytest.mark.parametrize(
    "more",
    [
        ("--medium", "sound"),
        ("--opt-in", "dull"),
        ("--prohibit", "dull"),
        ("--age-assurance", "oracle"),
        ("--us-tx-origin", "found"),
    ],
)
def test_words_that_are_none_end_with_2(cli: Cli, more: tuple[str, ...]) -> None:
    ended = cli(*words("persona3", *more, *YES))
    assert (ended.code, ended.out) == (2, "")


def test_a_challenge_is_asked_for_and_answered_once(cli: Cli, home: Any, tmp_path: Path) -> None:
    asked = cli("consent", "challenge", "--json").json
    assert len(asked["steps"]) == 5
    (tmp_path / "no-video.mp4").write_bytes(b"no video")
    grant = [
        *("consent", "grant", tmp_path / "no-video.mp4", "--challenge", asked["nonce"]),
        *("--role", "bystander", "--purpose", "personal", "--territory", "DE", *YES),
    ]
    first = cli(*grant)
    assert first.code == 4
    assert first.json["error"]["code"].startswith(("VIDEO", "MEDIA"))
    again = cli(*grant)
    assert (again.code, again.json["error"]["code"]) == (4, "CHALLENGE-SPENT")
    assert asked["nonce"] not in again.out
    told = cli("consent", "challenge").out
    assert "Film the person" in told
    assert "--challenge " in told


def test_a_lost_key_needs_a_reason(cli: Cli, home: Any) -> None:
    (home.path / "subjects" / f"{home.pid(home.source)}.pem").unlink()
    own = cli("consent", "withdraw", home.source, "--json")
    assert (own.code, own.json["error"]["code"]) == (4, "KEY-FILE-REFUSED")
    silent = cli("consent", "withdraw", home.source, "--lost-key", "--json")
    assert (silent.code, silent.json["error"]["code"]) == (4, "CONSENT-STEP-REFUSED")
    ended = cli("consent", "withdraw", home.source, "--lost-key", "--reason", "phone lost")
    assert ended.code == 0
    assert "withdrawn since" in ended.out
    assert "Nothing was released under it." in ended.out


def test_a_withdrawal_lists_what_was_released(cli: Cli, released_home: Any) -> None:
    ended = cli("consent", "withdraw", released_home.source, "--json")
    [released] = ended.json["released"]
    assert released["sha256"] == sha256_hex(released_home.released.read_bytes())
    told = cli("consent", "withdraw", released_home.source).out
    assert "1 released before; each says 'withdrawn' when it is verified" in told
    assert "urn:c2pa:" in told


@pytest.mark.parametrize("form", ["text", "html", "json"])
def test_a_receipt_is_printed_or_written(cli: Cli, home: Any, tmp_path: Path, form: str) -> None:
    shown = cli("consent", "receipt", home.source, "--form", form)
    assert (shown.code, home.source in shown.out) == (0, True)
    out = tmp_path / "receipt"
    written = cli("consent", "receipt", home.source, "--form", form, "--out", out)
    assert written.code == 0
    assert out.read_text() == shown.out[:-1]
    again = cli("consent", "receipt", home.source, "--form", form, "--out", out)
    assert (again.code, "STORE-UNAVAILABLE" in again.err) == (1, True)


def test_a_receipt_with_json_is_the_machines_and_nobodys_is_refused(cli: Cli, home: Any) -> None:
    shown = cli("consent", "receipt", home.source, "--json")
    assert json.loads(shown.out) == json.loads(
        cli("consent", "receipt", home.source, "--form", "json").out
    )
    unknown = cli("consent", "receipt", UNKNOWN, "--json")
    assert (unknown.code, unknown.json["error"]["code"]) == (4, "CONSENT-UNKNOWN")
    assert cli("consent", "receipt", home.source, "--form", "pdf").code == 2
