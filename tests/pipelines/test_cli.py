from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import pipelines.demo
import pipelines.deployment
import pipelines.doctor
import pipelines.one
from pipelines.cli import app
from pipelines.demo import Demo, tamper
from pipelines.deployment import open_records
from pipelines.doctor import Finding
from policies.errors import StoreUnavailable
from provenance.media import decode, encode

DEMO = Path(__file__).parents[2] / "docs" / "demo"
UNKNOWN = "00000000-0000-7000-8000-000000000000"
SCOPE = ("--purpose", "personal", "--territory", "DE")
RENDERED = ("--age-assurance", "rendered", "--age-evidence", "docs/demo/README.md")
Cli = Callable[..., Any]


def grant_words(person: str, role: str, *more: str) -> list[str]:
    pictures = [str(DEMO / f"{person}_{view}.webp") for view in (1, 2)]
    return ["consent", "grant", *pictures, "--role", role, *SCOPE, *RENDERED, *more]


def test_a_whole_walk_from_init_to_a_withdrawn_consent(cli: Cli, tmp_path: Path) -> None:
    assert cli("init").code == 0
    source = cli(*grant_words("persona1", "source_identity", "--adult", "--yes", "--json"))
    assert (source.code, source.json["status"]) == (0, "confirmed")
    granted = cli(*grant_words("persona2", "target_body"), answers="y\ny\ny\n")
    assert granted.code == 0
    assert "target_body" in granted.out
    assert "withdraw at any time" in " ".join(granted.err.split())
    assert "withdraw at any time" in " ".join(source.err.split()), "also with --yes"
    assert "365 days, at most 100 pictures" in " ".join(source.err.split())
    consents = cli("consent", "show", "--json").json
    assert {consent["status"] for consent in consents} == {"confirmed"}
    source_id = source.json["record"]["record_id"]
    [target_id] = {c["record"]["record_id"] for c in consents} - {source_id}

    out = tmp_path / "out" / "released.webp"
    run = [
        *("run", "--source", DEMO / "persona1_0.webp", "--source-consent", source_id),
        *("--target", DEMO / "persona2_0.webp", "--target-consent", target_id),
        *(*SCOPE, "--out", out),
    ]
    swapped = cli(*run)
    assert (swapped.code, swapped.err) == (0, "")
    assert f"released {out}" in swapped.out
    assert "mark, label, sign, read back, log" in swapped.out
    assert out.stat().st_mode & 0o777 == 0o644

    verified = cli("verify", out)
    assert (verified.code, verified.out.splitlines()[0]) == (
        0,
        f"authentic, consent current: {out}",
    )
    assert cli("scan", out, "--json").json[0]["outcome"] == "declared_synthetic"

    withdrawn = cli("consent", "withdraw", source_id, "--reason", "changed my mind")
    assert (withdrawn.code, "withdrawn since" in withdrawn.out) == (0, True)
    again = cli(*run)
    assert (again.code, again.out) == (3, "")
    assert "CONSENT-STATUS  source_identity  [FLOOR, GDPR-6-7-9]" in again.err
    assert "To mend:" in again.err
    assert cli("verify", out).code == 6
    assert cli("verify", out, "--json").json["consent"] == "withdrawn"


@pytest.mark.parametrize("answers", ["n\n", "y\nn\n", "y\ny\nn\n"])
def test_a_person_who_does_not_confirm_twice_is_not_enrolled(
    cli: Cli, tmp_path: Path, answers: str
) -> None:
    cli("init")
    ended = cli(*grant_words("persona1", "source_identity", "--json"), answers=answers)
    assert (ended.code, ended.out.strip()) == (1, "")
    assert "nothing was signed and nothing was kept" in ended.err
    assert not (tmp_path / "home" / "subjects").exists()
    assert cli("consent", "show").out == (
        "No consent yet. To add one: facewarrant consent grant --help\n"
    )


def test_an_answer_that_never_comes_is_no_consent(cli: Cli) -> None:
    cli("init")
    assert cli(*grant_words("persona1", "source_identity"), answers="y\n").code == 1
    assert cli("consent", "show", "--json").json == []


def test_granting_with_json_keeps_the_questions_out_of_the_document(cli: Cli, home: Any) -> None:
    words = grant_words("persona3", "bystander", "--json", "--days", "7", "--max-uses", "2")
    ended = cli(*words, answers="y\ny\ny\n")
    assert ended.json["record"]["roles"] == ["bystander"]
    assert ended.json["record"]["limits"]["max_uses"] == 2
    assert "7 days, at most 2 pictures" in ended.err
    assert ended.err.count("7 days, at most 2 pictures") == 1


def test_granting_says_where_the_persons_key_is(cli: Cli, home: Any) -> None:
    ended = cli(*grant_words("persona3", "bystander", "--adult", "--yes"))
    pid = home.pid(ended.out.split()[1])
    assert (home.path / "subjects" / f"{pid}.pem").stat().st_mode & 0o777 == 0o600
    assert str(home.path / "subjects") in ended.out.replace("\n", "")


def test_two_people_in_one_enrolment_are_refused(cli: Cli, home: Any) -> None:
    words = grant_words("persona3", "bystander", "--adult", "--yes", "--json")
    words.insert(3, str(DEMO / "persona4_1.webp"))
    ended = cli(*words)
    assert (ended.code, ended.json["error"]["code"]) == (4, "ENROLMENT-REFUSED")
    assert ended.json["error"]["mend"]


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["nope"], "No such command"),
        (["verify"], "Missing argument"),
        (["scan"], "Missing argument"),
        (["run"], "Missing option"),
        (["consent", "grant", "a.jpg"], "Missing option"),
        (["consent", "nope"], "No such command"),
        (grant_words("persona1", "bystander", "--yes"), "--yes needs --adult"),
        (["init", "--force"], "No such option"),
        (grant_words("persona1", "king"), "'king' is not one of source_identity, target_body"),
        (grant_words("persona1", "bystander", "--territory", "germany"), "ISO 3166"),
        (grant_words("persona1", "bystander", "--audience", "all"), "'all' is not one of internal"),
        (grant_words("persona1", "bystander", "--days", "0"), "--days"),
    ],
)
def test_wrong_use_ends_with_2_before_any_work(cli: Cli, words: list[str], about: str) -> None:
    ended = cli(*words)
    assert (ended.code, ended.out) == (2, "")
    assert about in ended.err


@pytest.mark.parametrize(
    ("option", "value"), [("category", "dull"), ("territory", "Germany"), ("audience", "all")]
)
def test_wrong_words_of_a_run_end_with_2(
    cli: Cli, home: Any, tmp_path: Path, option: str, value: str
) -> None:
    ended = cli(*home.run_words(tmp_path / "out.webp", **{option: value}))
    assert ended.code == 2
    assert repr(value) in ended.err


def test_no_command_shows_the_help_with_the_exit_codes(cli: Cli) -> None:
    ended = cli()
    assert ended.code == 2
    shown = " ".join((ended.out + ended.err).split())
    assert "Usage: facewarrant" in shown
    assert "Exit codes: 0 done; 1 fault; 2 wrong use; 3 refused" in shown


def test_every_command_fits_its_summary_on_one_line() -> None:
    for group in ([], ["consent"], ["keys"], ["subject"]):
        shown = CliRunner().invoke(app, [*group, "--help"], terminal_width=80).output
        assert "Commands:" in shown
        assert "..." not in shown.split("Commands:")[1], "a cut summary says nothing"


def test_commands_that_need_a_home_name_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out.webp")]
    nobody = ["--source-consent", UNKNOWN, "--target-consent", UNKNOWN]
    for words in (
        grant_words("persona1", "bystander", "--adult", "--yes"),
        ["consent", "withdraw", "anything"],
        ["consent", "show"],
        ["consent", "show", "anything"],
        ["run", "--source", "a", "--target", "b", *nobody, *SCOPE, *out],
    ):
        ended = cli(*words)
        assert ended.code == 4
        assert "KEY-FILE-REFUSED" in ended.err
        assert "To mend: run 'facewarrant init'" in ended.err
        assert cli(*words, "--json").json["error"]["code"] == "KEY-FILE-REFUSED"


def test_init_twice_is_refused_and_changes_no_key(cli: Cli, tmp_path: Path) -> None:
    assert cli("init", "--json").json["home"] == str(tmp_path / "home")
    keys = {path: path.read_bytes() for path in (tmp_path / "home").rglob("*.pem")}
    again = cli("init", "--json")
    assert (again.code, again.json["error"]["code"]) == (4, "KEY-FILE-REFUSED")
    assert "already set up" in again.json["error"]["message"]
    assert {path: path.read_bytes() for path in (tmp_path / "home").rglob("*.pem")} == keys


def test_a_consent_nobody_gave_is_refused_with_its_rule(
    cli: Cli, home: Any, tmp_path: Path
) -> None:
    ended = cli(*home.run_words(tmp_path / "out.webp", source_consent=UNKNOWN), "--json")
    assert (ended.code, ended.json["status"]) == (3, "refused")
    assert "CONSENT-STATUS" in ended.json["codes"]
    assert ended.json["out"] is None
    assert not (tmp_path / "out.webp").exists()


def test_a_purpose_that_nobody_knows_is_no_consent_and_no_release(
    cli: Cli, home: Any, tmp_path: Path
) -> None:
    """Purposes are words of the policy, not of the program: a house may have added its own."""
    words = grant_words("persona3", "bystander", "--purpose", "fun", "--adult", "--yes", "--json")
    granted = cli(*words)
    assert (granted.code, granted.json["error"]["code"]) == (4, "MALFORMED")
    assert "'fun'" in granted.json["error"]["message"]
    ended = cli(*home.run_words(tmp_path / "out.webp", purpose="fun"), "--json")
    assert (ended.code, ended.json["status"]) == (3, "refused")
    assert "PURPOSE-UNKNOWN" in ended.json["codes"]
    assert not (tmp_path / "out.webp").exists()


def test_a_purpose_nobody_agreed_to_names_both_people_once(
    cli: Cli, home: Any, tmp_path: Path
) -> None:
    ended = cli(*home.run_words(tmp_path / "out.webp", purpose="advertising"))
    assert ended.code == 3
    assert ended.err.count("They agreed to personal, not to advertising.") == 1
    assert "PURPOSE-SCOPE  source_identity, target_body  [GDPR-6-7-9]" in ended.err


def test_whoever_opted_out_is_refused_with_3_and_a_way_out(
    cli: Cli, home: Any, tmp_path: Path
) -> None:
    views = [DEMO / f"persona1_{view}.webp" for view in (1, 2)]
    entry = cli("optout", "add", *views, "--json").json["entry_id"]
    words = home.run_words(tmp_path / "out.webp")
    ended = cli(*words)
    assert (ended.code, ended.out.count("released")) == (3, 0)
    assert "DO-NOT-SWAP  source_identity" in ended.err
    assert "To mend:" in ended.err
    assert entry not in ended.err + ended.out
    found = cli(*words, "--json")
    assert (found.code, found.json["codes"]) == (3, ["DO-NOT-SWAP"])
    assert not re.search(r"0\.\d{2,}", found.out), "no score, no distance"
    assert not (tmp_path / "out.webp").exists()


def test_strangers_are_refused_or_blurred_as_was_asked(cli: Cli, home: Any, tmp_path: Path) -> None:
    two = [decode((DEMO / f"persona{n}_0.webp").read_bytes()).frame for n in (2, 3)]
    target, out = tmp_path / "two.png", tmp_path / "out.png"
    target.write_bytes(encode(np.hstack(two), "image/png"))
    words = home.run_words(out, target=str(target))
    refused = cli(*words, "--json")
    assert (refused.code, refused.json["codes"]) == (3, ["BYSTANDER"])
    assert not out.exists()
    assert cli(*words, "--others", "ignore").code == 2, "no other word is taken"
    assert cli(*words, "--others", "blur").code == 0
    changed = np.abs(decode(out.read_bytes()).frame.astype(int) - np.hstack(two).astype(int))
    assert changed[150:350, 650:850].mean() > 10, "where the stranger's face was"
    assert cli("verify", out).code == 0


def test_sensitive_content_is_declared_and_refused_without_an_opt_in(
    cli: Cli, home: Any, tmp_path: Path
) -> None:
    ended = cli(*home.run_words(tmp_path / "out.webp", category="alcohol"), "--json")
    assert (ended.code, ended.json["codes"]) == (3, ["SENSITIVE-CATEGORY"])


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("source", "missing.webp", "FILE-UNREADABLE"),
        ("target", str(DEMO), "FILE-UNREADABLE"),
        ("request_id", "With Capitals", "MALFORMED"),
        ("source_consent", "not-an-id", "MALFORMED"),
        ("operator", "", "MALFORMED"),
    ],
)
def test_inputs_that_cannot_be_used_end_with_4(
    cli: Cli, home: Any, tmp_path: Path, option: str, value: str, code: str
) -> None:
    ended = cli(*home.run_words(tmp_path / "out.webp", **{option: value}), "--json")
    assert (ended.code, ended.json["error"]["code"]) == (4, code)
    assert ended.json["error"]["mend"]


def test_a_file_that_is_no_picture_is_rejected(cli: Cli, home: Any, tmp_path: Path) -> None:
    (tmp_path / "words.webp").write_text("words")
    words = home.run_words(tmp_path / "out.webp", source=str(tmp_path / "words.webp"))
    ended = cli(*words)
    assert (ended.code, ended.out) == (4, "  precheck consents" + ended.out[19:])
    assert "rejected MEDIA-UNSUPPORTED" in ended.err
    assert "To mend:" in ended.err
    assert cli(*words, "--json").json["codes"] == ["MEDIA-UNSUPPORTED"]


@pytest.mark.parametrize("out", ["a-file/out.webp", "a-folder"])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    cli: Cli, home: Any, tmp_path: Path, out: str
) -> None:
    (tmp_path / "a-file").write_text("not a folder")
    (tmp_path / "a-folder").mkdir()
    before = home.log_size()
    ended = cli(*home.run_words(tmp_path / out), "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "STORE-UNAVAILABLE")
    assert "nothing has been done yet" in ended.json["error"]["mend"]
    assert home.log_size() == before
    assert (tmp_path / "a-file").read_text() == "not a folder"


def test_a_release_that_cannot_be_written_out_is_delivered_by_the_next_run(
    cli: Cli, home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: object) -> None:
        raise StoreUnavailable("no space left on device")

    out = tmp_path / "out.webp"
    with monkeypatch.context() as full:
        full.setattr(pipelines.one, "write_whole", disk_full)
        failed = cli(*home.run_words(out), "--json")
    assert (failed.code, failed.json["error"]["code"]) == (1, "STORE-UNAVAILABLE")
    assert "nothing is lost" in failed.json["error"]["mend"]
    assert not out.exists()
    size = home.log_size()
    first = cli(*home.run_words(out), "--json").json
    assert first["status"] == "released"
    assert cli(*home.run_words(tmp_path / "b.webp"), "--json").json["release"] == first["release"]
    assert home.log_size() == size, "delivering again makes nothing new"
    assert out.read_bytes() == (tmp_path / "b.webp").read_bytes()


def test_withdrawing_twice_is_no_error_and_logs_once(cli: Cli, home: Any) -> None:
    first = cli("consent", "withdraw", home.source, "--json")
    size = home.log_size()
    again = cli("consent", "withdraw", home.source, "--json")
    assert (again.code, again.json) == (0, first.json)
    assert home.log_size() == size


def test_withdrawing_an_unknown_consent_says_how_to_find_it(cli: Cli, home: Any) -> None:
    ended = cli("consent", "withdraw", "../keys/controller", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (4, "CONSENT-UNKNOWN")
    assert "facewarrant consent show" in ended.json["error"]["mend"]


def test_show_lists_whole_ids_in_80_columns(cli: Cli, home: Any) -> None:
    listed = cli("consent", "show").out
    assert home.source in listed
    assert max(len(line) for line in listed.splitlines()) <= 80
    one = cli("consent", "show", home.target).out
    assert f"facewarrant consent withdraw {home.target}" in one


def test_verify_without_the_home_needs_an_anchor(
    cli: Cli, released_home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWARRANT_HOME", str(tmp_path / "elsewhere"))
    alone = cli("verify", released_home.released, "--json")
    assert (alone.code, alone.json["error"]["code"]) == (5, "UNTRUSTED")
    anchored = cli(
        "verify", released_home.released, "--anchors", released_home.path / "pki" / "root.pem"
    )
    assert anchored.code == 0
    assert "authentic, consent unchecked" in anchored.out
    assert "unchecked  log" in anchored.out
    wrong = cli("verify", released_home.released, "--anchors", DEMO / "README.md", "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (4, "CERTIFICATE-REFUSED")


def test_verify_names_what_does_not_hold(cli: Cli, released_home: Any, tmp_path: Path) -> None:
    forged = tmp_path / "forged.webp"
    forged.write_bytes(tamper(released_home.released.read_bytes()))
    ended = cli("verify", forged)
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith("TAMPERED: ")
    found = cli("verify", forged, "--json").json
    assert found["error"]["code"] == "TAMPERED"
    assert {"signature", "labels"} <= {line["subject"] for line in found["evidence"]}
    assert "fails" in {line["state"] for line in found["evidence"]}


def test_verify_writes_a_page_also_for_what_does_not_hold(
    cli: Cli, released_home: Any, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    ended = cli("verify", released_home.released, "--second-engine", "--report", page)
    assert ended.code == 0
    assert "holds      second engine" in ended.out
    assert "The evidence holds" in page.read_text(encoding="utf-8")
    forged = tmp_path / "forged.webp"
    forged.write_bytes(tamper(released_home.released.read_bytes()))
    told = cli("verify", forged, "--report", page, "--json")
    assert (told.code, told.json["verdict"]) == (5, "tampered")
    assert "TAMPERED" in page.read_text(encoding="utf-8")


def test_verify_takes_hosts_to_fetch_from(cli: Cli, released_home: Any) -> None:
    asked = ("verify", released_home.released, "--remote-host", "a.test", "--remote-host")
    assert cli(*asked, "b.test:8443").code == 0
    refused = cli(*asked, "https://b.test/")
    assert refused.code != 0
    assert "is no host that a manifest can be fetched from" in refused.err


def test_verify_says_nothing_about_an_unmarked_picture(cli: Cli, released_home: Any) -> None:
    ended = cli("verify", DEMO / "persona1_0.webp", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (5, "UNMARKED")
    assert cli("verify", DEMO / "README.md").code == 4
    assert cli("verify", DEMO / "missing.webp").code == 4


def test_scan_answers_for_every_file_and_never_says_real(cli: Cli, released_home: Any) -> None:
    files = [released_home.released, DEMO / "persona1_0.webp", DEMO / "README.md"]
    ended = cli("scan", *files)
    assert ended.code == 0
    outcomes = [v["outcome"] for v in cli("scan", *files, "--json").json]
    assert outcomes == ["declared_synthetic", "no_evidence_found", "not_applicable"]
    assert all(outcome in ended.out for outcome in outcomes)
    assert ended.out.count("not_available") == 3
    assert " real" not in ended.out.lower()
    some = cli("scan", "missing.webp", files[0], "--json")
    assert some.code == 4
    assert [v["outcome"] for v in some.json] == ["not_applicable", "declared_synthetic"]
    assert some.json[0]["reason"].startswith("FILE-UNREADABLE: ")


def test_an_expired_certificate_stops_releases_but_no_withdrawal_and_no_verification(
    cli: Cli, released_home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = grant_words("persona3", "bystander", "--adult", "--yes", "--json", "--days", "800")
    record_id = cli(*words).json["record"]["record_id"]
    a_year_on = pipelines.deployment.system_clock() + 366 * 86_400
    for opener in (pipelines.deployment.open_deployment, open_records):
        monkeypatch.setitem(opener.__kwdefaults__, "clock", lambda: a_year_on)
    ended = cli(*released_home.run_words(tmp_path / "out.webp"), "--json")
    assert (ended.code, ended.json["error"]["code"]) == (4, "CERTIFICATE-REFUSED")
    assert ended.json["error"]["mend"]
    assert cli("consent", "withdraw", record_id, "--json").json["status"] == "withdrawn"
    # Read on the machine's own clock, by which the certificate is still good.
    verified = cli("verify", released_home.released, "--json")
    assert (verified.code, verified.json["verdict"]) == (6, "authentic")


def test_demo_prints_its_steps_and_its_page(
    cli: Cli, demo: Demo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Path] = []

    def run_before(out: Path, *, progress: Callable[[str], None]) -> Demo:
        seen.append(out)
        progress("a step ...")
        return demo

    monkeypatch.setattr(pipelines.demo, "run_demo", run_before)
    ended = cli("demo", "--out", tmp_path)
    assert (ended.code, seen) == (0, [tmp_path])
    assert ended.out.startswith("a step ...\n")
    assert f"Page: {demo.page}" in ended.out
    found = cli("demo", "--json").json
    assert found["page"] == str(demo.page)
    assert found["release"]["manifest_id"].startswith("urn:c2pa:")


def test_a_broken_demo_is_a_fault(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(out: Path, *, progress: object) -> Demo:
        raise pipelines.demo.DemoFailed("a step did not end as it must")

    monkeypatch.setattr(pipelines.demo, "run_demo", fail)
    ended = cli("demo", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "DEMO-FAILED")


def test_doctor_ends_with_1_only_when_something_fails(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("holds", "one thing"), Finding("warns", "another", "look at it")]
    monkeypatch.setattr(pipelines.doctor, "examine", lambda _settings: found)
    ended = cli("doctor")
    assert (ended.code, ended.out) == (
        0,
        " holds  one thing\n warns  another\n        To mend: look at it\n",
    )
    found.append(Finding("fails", "a third", "mend it"))
    assert cli("doctor").code == 1
    assert cli("doctor", "--json").json[2] == {
        "state": "fails",
        "words": "a third",
        "mend": "mend it",
    }


def test_a_wrong_setting_ends_every_command_with_4(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWARRANT_THREADS", "many")
    for words in (["init"], ["doctor"], ["consent", "show"], ["scan", "a"], ["verify", "a"]):
        ended = cli(*words)
        assert ended.code == 4
        assert "FACEWARRANT_THREADS" in ended.err


def test_a_database_that_does_not_open_is_a_fault(
    cli: Cli, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.path / "facewarrant.db").write_bytes(b"this is no database" * 100)
    ended = cli("consent", "show", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "STORE-UNAVAILABLE")


def test_a_fault_nobody_foresaw_is_not_dressed_up(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(pipelines.deployment, "create", break_down)
    with pytest.raises(RuntimeError, match="unforeseen"):
        cli("init")


def test_every_command_takes_json() -> None:
    def leaves(command: Any) -> list[Any]:
        inner = getattr(command, "commands", None)
        return [leaf for c in inner.values() for leaf in leaves(c)] if inner else [command]

    commands = leaves(typer.main.get_command(app))
    assert len(commands) == 49
    for command in commands:
        assert any("--json" in option.opts for option in command.params), command.name


def test_json_is_ascii_so_that_hostile_text_stays_text(cli: Cli, home: Any) -> None:
    ended = cli("consent", "show", "\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}", "--json")
    assert ended.out.isascii()
    assert "\x1b" not in ended.out
    assert json.loads(ended.out)["error"]["code"] == "CONSENT-UNKNOWN"


def test_a_broken_consent_is_listed_with_the_others(cli: Cli, home: Any) -> None:
    connection = sqlite3.connect(home.path / "facewarrant.db")
    connection.execute("drop trigger consent_event_delete")
    connection.execute("delete from consent_event where seq = 1 and record_id = ?", (home.source,))
    connection.commit()
    connection.close()
    listed = cli("consent", "show")
    assert listed.code == 5
    assert f"{home.source}  broken" in listed.out
    assert f"{home.target}  confirmed" in listed.out
    shown = cli("consent", "show", "--json")
    assert shown.code == 5
    [broken] = [row for row in shown.json if row["status"] == "broken"]
    assert (broken["record_id"], bool(broken["reason"])) == (home.source, True)


@pytest.mark.parametrize("out", ["new/out.png", "in.webp"])
def test_an_output_that_does_not_fit_is_refused_and_leaves_nothing(
    cli: Cli, home: Any, tmp_path: Path, out: str
) -> None:
    source = tmp_path / "in.webp"
    source.write_bytes((DEMO / "persona1_0.webp").read_bytes())
    before = home.log_size()
    ended = cli(*home.run_words(tmp_path / out, source=str(source)), "--json")
    assert (ended.code, ended.json["error"]["code"]) == (4, "MALFORMED")
    assert "--out" in ended.json["error"]["mend"]
    assert home.log_size() == before
    assert not (tmp_path / "new").exists()
    assert source.read_bytes() == (DEMO / "persona1_0.webp").read_bytes()


ENDED = """
import sys, tempfile
from pipelines import cli

def work():
    with tempfile.TemporaryDirectory() as folder:
        print(folder, flush=True)
        sys.stdin.read()

cli.app = work
cli.main()
"""


def test_an_end_from_outside_leaves_nothing_behind() -> None:
    """Uploads lie in temporary folders, which only go where the program ends in order."""
    words = [sys.executable, "-c", ENDED]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        assert folder.is_dir()
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not folder.exists()
