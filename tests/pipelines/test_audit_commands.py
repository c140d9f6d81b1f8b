"""The log from the command line: ours to prove from, everybody's to check."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.deployment import create, open_records
from pipelines.settings import read_settings
from policies.checkpoint import WitnessKey, cosignatures, open_checkpoint, verifier_key
from policies.keys import PublicKey, SigningKey
from policies.proofs import read_consistency, read_inclusion

ORIGIN = "facewarrant.localhost/log"
Cli = Callable[..., Any]


class Desk:
    """A home with a log in it, and a witness elsewhere."""

    def __init__(self, folder: Path, cli: Cli) -> None:
        self.folder = folder
        self.cli = cli
        create(read_settings())
        self.grow(3)
        with open_records(read_settings()) as at:
            self.key = at.archive.log.public
        self.log_key = folder / "log.key"
        self.log_key.write_text(self.key.hex + "\n")
        self.witness = SigningKey.from_seed(b"w" * 32)
        self.witness_key = folder / "witness.pem"
        self.witness_key.write_bytes(self.witness.to_pem())
        self.witness_key.chmod(0o600)
        line = verifier_key("w.test/1", self.witness.public, "cosignature")
        (folder / "witness.key").write_text(line + "\n")

    def grow(self, count: int) -> None:
        with open_records(read_settings()) as at:
            for number in range(count):
                at.archive.log.append("abort", {"warrant": f"w{number}", "reason": "test"})

    def note(self, name: str) -> Path:
        path = self.folder / name
        assert self.cli("audit", "checkpoint", "--out", path).code == 0
        return path

    def cosign(self, note: Path, *words: object) -> Any:
        key = ("--key", self.witness_key, "--name", "w.test/1", "--state", self.folder / "state")
        log = ("--origin", ORIGIN, "--log-key", self.log_key)
        return self.cli("audit", "cosign", note, *key, *log, *words)

    @property
    def trust(self) -> tuple[object, ...]:
        return ("--witness", f"w.test/1={self.folder / 'witness.key'}", "--quorum", 1)


@pytest.fixture
def desk(tmp_path: Path, cli: Cli) -> Desk:
    return Desk(tmp_path, cli)


def tamper(desk: Desk, *statements: str) -> None:
    with open_records(read_settings()) as at, at.desk.database.transaction() as connection:
        for name in list(
            connection.exec_driver_sql(
                "select name from sqlite_master where type = 'trigger'"
            ).scalars()
        ):
            connection.exec_driver_sql(f"drop trigger {name}")
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_check_says_what_it_does_not_show(desk: Desk) -> None:
    plain = desk.cli("audit", "verify")
    assert (plain.code, plain.err) == (0, "")
    assert "not shown:" in plain.out
    assert "--kept" in plain.out
    found = desk.cli("audit", "verify", "--json").json
    assert (found["size"], found["origin"], found["kept"]) == (3, ORIGIN, [])
    assert any("that an entry is true" in line for line in found["does_not_show"])
    assert any("rewritten as a whole" in line for line in found["does_not_show"])


def test_a_kept_checkpoint_shows_more(desk: Desk) -> None:
    kept = desk.note("kept")
    desk.grow(2)
    found = desk.cli("audit", "verify", "--kept", kept, "--json").json
    assert (found["size"], found["kept"]) == (5, [3])
    assert not any("rewritten as a whole" in line for line in found["does_not_show"])
    assert any("first 3 entries" in line for line in found["shows"])


def test_tampering_ends_with_5(desk: Desk) -> None:
    kept = desk.note("kept")
    tamper(desk, "update log_entry set at = at - 1 where i = 1")
    broken = desk.cli("audit", "verify", "--json")
    assert (broken.code, broken.json["error"]["code"]) == (5, "LOG-TAMPERED")
    tamper(desk, "delete from log_entry", "delete from log_node")
    assert desk.cli("audit", "verify").code == 0
    cut = desk.cli("audit", "verify", "--kept", kept)
    assert (cut.code, cut.out) == (5, "")
    assert "LOG-TAMPERED" in cut.err


def test_a_forged_checkpoint_ends_with_5(desk: Desk) -> None:
    kept = desk.note("kept")
    kept.write_text(kept.read_text().replace("\n3\n", "\n2\n"))
    assert desk.cli("audit", "verify", "--kept", kept, "--json").json["error"]["code"] == (
        "BAD-SIGNATURE"
    )


def test_a_proof_stands_for_itself(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "proof.json"
    made = desk.cli("audit", "prove", 1, "--out", out)
    assert (made.code, made.err) == (0, "")
    assert f"Proof written to {out}" in made.out.replace("\n", "") or str(out) in made.out
    assert desk.cli("audit", "prove", 1).out.encode() == out.read_bytes()
    assert desk.cli("audit", "prove", 1, "--json").json["index"] == 1
    assert desk.cli("audit", "prove", 1, "--out", out, "--json").json["out"] == str(out)
    monkeypatch.setenv("FACEWARRANT_HOME", str(tmp_path / "nowhere"))
    words = ("--origin", ORIGIN, "--key", desk.log_key)
    checked = desk.cli("audit", "check-proof", out, *words)
    assert (checked.code, "entry 1 of 3" in checked.out) == (0, True)
    found = desk.cli("audit", "check-proof", out, *words, "--json").json
    assert (found["entry"]["kind"], found["size"], found["out"]) == ("abort", 3, None)
    proof = read_inclusion(out.read_bytes())
    assert (proof.index, len(proof.path)) == (1, 2)


def test_a_proof_that_does_not_hold(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "proof.json"
    desk.cli("audit", "prove", 1, "--out", out)
    words = ("--origin", ORIGIN, "--key", desk.log_key, "--json")
    whole = out.read_text()
    out.write_text(whole.replace('"w1"', '"w2"'))
    edited = desk.cli("audit", "check-proof", out, *words)
    assert (edited.code, edited.json["error"]["code"]) == (5, "PROOF-INVALID")
    out.write_text(whole)
    other = tmp_path / "other.key"
    other.write_text(desk.witness.public.hex)
    foreign = desk.cli("audit", "check-proof", out, "--origin", ORIGIN, "--key", other, "--json")
    assert (foreign.code, foreign.json["error"]["code"]) == (5, "BAD-SIGNATURE")
    lonely = desk.cli("audit", "check-proof", out, *words, *desk.trust)
    assert (lonely.code, lonely.json["error"]["code"]) == (5, "WITNESS-QUORUM")
    out.write_text("{}")
    assert desk.cli("audit", "check-proof", out, *words).code == 4


def test_an_entry_that_is_not_there(desk: Desk) -> None:
    assert desk.cli("audit", "prove", 3).code == 5
    assert desk.cli("audit", "prove", -1).code == 2


def test_a_checkpoint_is_written_to_every_place(desk: Desk, tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    made = desk.cli("audit", "checkpoint", "--out", places[0], "--out", places[1], "--json")
    assert (made.code, made.err) == (0, "")
    assert {place.read_text() for place in places} == {made.json["checkpoint"]}
    head = open_checkpoint(places[0].read_text(), origin=ORIGIN, key=desk.key)
    assert (head.size, made.json["root"]) == (3, head.root.hex())
    assert made.json["verifier"] == verifier_key(ORIGIN, desk.key, "checkpoint")
    printed = desk.cli("audit", "checkpoint")
    assert printed.out == places[0].read_text()
    assert "at least two places" in " ".join(printed.err.split())
    assert "verified with" in desk.cli("audit", "checkpoint", "--out", places[0]).out


def test_one_place_that_fails_stops_no_other(desk: Desk, tmp_path: Path) -> None:
    last = tmp_path / "b"
    lost = desk.cli("audit", "checkpoint", "--out", tmp_path / "no" / "a", "--out", last, "--json")
    assert (lost.code, lost.json["error"]["code"]) == (1, "STORE-UNAVAILABLE")
    assert open_checkpoint(last.read_text(), origin=ORIGIN, key=desk.key).size == 3


def test_a_witness_follows_the_log(desk: Desk, tmp_path: Path) -> None:
    first = desk.cosign(desk.note("one"), "--first", "--out", tmp_path / "cosigned")
    assert (first.code, "+BMhT" in first.out) == (0, True)
    desk.grow(4)
    two = desk.note("two")
    desk.grow(1)
    proof = tmp_path / "proof"
    words = ("audit", "consistency", tmp_path / "cosigned", "--to", two)
    made = desk.cli(*words, "--out", proof)
    assert (made.code, "7 entries extend 3" in made.out) == (0, True)
    assert desk.cli(*words).out == proof.read_text()
    assert desk.cli(*words, "--json").json["old"] == 3
    cosigned = desk.cosign(two, "--proof", proof, "--json")
    assert (cosigned.code, cosigned.json["size"]) == (0, 7)
    note = cosigned.json["checkpoint"]
    assert set(cosignatures(note, witnesses=[WitnessKey("w.test/1", desk.witness.public)]))
    (tmp_path / "two.cosigned").write_text(note)
    kept = ("--kept", tmp_path / "two.cosigned")
    found = desk.cli("audit", "verify", *kept, *desk.trust, "--json").json
    assert (found["kept"], list(found["witnesses"])) == ([7], ["w.test/1"])
    plain = desk.cli("audit", "verify", "--kept", two, *desk.trust, "--json")
    assert (plain.code, plain.json["error"]["code"]) == (5, "WITNESS-QUORUM")


def test_a_witness_refuses_what_was_cut(desk: Desk, tmp_path: Path) -> None:
    early = desk.note("early")
    desk.grow(2)
    desk.cosign(desk.note("late"), "--first")
    proof = tmp_path / "proof"
    desk.cli("audit", "consistency", early, "--to", early, "--out", proof)
    cut = desk.cosign(early, "--proof", proof, "--json")
    assert (cut.code, cut.json["error"]["code"]) == (5, "WITNESS-ROLLBACK")
    again = desk.cosign(early, "--first", "--json")
    assert (again.code, again.json["error"]["code"]) == (4, "WITNESS-STATE")


def test_consistency_from_an_empty_log(desk: Desk, tmp_path: Path) -> None:
    tamper(desk, "delete from log_entry", "delete from log_node")
    empty, out = desk.note("empty"), tmp_path / "proof"
    desk.grow(2)
    assert desk.cli("audit", "consistency", empty, "--out", out).code == 0
    assert read_consistency(out.read_text()).path == ()


def test_consistency_with_a_history_that_was_rewritten(desk: Desk) -> None:
    kept = desk.note("kept")
    tamper(desk, "delete from log_entry", "delete from log_node")
    cut = desk.cli("audit", "consistency", kept, "--json")
    assert (cut.code, cut.json["error"]["code"]) == (5, "LOG-TAMPERED")
    with open_records(read_settings()) as at:
        at.archive.log.append_many([("warrant", {"decision": n}) for n in range(5)])
    other = desk.cli("audit", "consistency", kept, "--json")
    assert (other.code, other.json["error"]["code"]) == (5, "PROOF-INVALID")


def test_a_bundle_for_a_stranger(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, folder = desk.note("kept"), tmp_path / "bundle"
    made = desk.cli("audit", "export", folder)
    assert (made.code, made.err) == (0, "")
    again = desk.cli("audit", "export", folder, "--json")
    assert (again.code, again.json["error"]["code"]) == (4, "BUNDLE-EXISTS")
    assert desk.cli("audit", "export", tmp_path / "two", "--json").json["size"] == 3
    roles = [key["role"] for key in json.loads((folder / "keys.json").read_text())["keys"]]
    assert roles == ["controller", "log", "warrant"]
    assert b"permit" in (folder / "gate.cedar").read_bytes()
    monkeypatch.setenv("FACEWARRANT_HOME", str(tmp_path / "nowhere"))
    alone = ("audit", "verify", "--bundle", folder)
    own = desk.cli(*alone, "--json").json
    assert any("key came with the bundle" in line for line in own["does_not_show"])
    assert own["kinds"] == {"abort": 3}
    words = ("--origin", ORIGIN, "--key", desk.log_key)
    whole = desk.cli(*alone, *words, "--kept", kept)
    assert (whole.code, "decisions under other policy: 0" in whole.out) == (0, True)
    assert "key came with" not in whole.out
    lonely = desk.cli(*alone, *words, *desk.trust, "--json")
    assert (lonely.code, lonely.json["error"]["code"]) == (5, "WITNESS-QUORUM")
    (folder / "gate.cedar").write_text("permit(principal, action, resource);")
    broken = desk.cli(*alone, *words, "--json")
    assert (broken.code, broken.json["error"]["code"]) == (5, "BUNDLE-BROKEN")


def test_the_newest_entries(desk: Desk) -> None:
    with open_records(read_settings()) as at:
        at.archive.log.append("decision", {"subjects": ["a" * 64], "allow": False})
    shown = desk.cli("audit", "log")
    assert (shown.code, shown.err) == (0, "")
    assert "aaaaaaaaaaaa..." in shown.out
    entries = desk.cli("audit", "log", "--limit", 2, "--json").json
    assert [entry["index"] for entry in entries] == [3, 2]
    assert [e["index"] for e in desk.cli("audit", "log", "--kind", "abort", "--json").json] == [
        2, 1, 0,
    ]  # fmt: skip
    assert [e["index"] for e in desk.cli("audit", "log", "--about", "w1", "--json").json] == [1]
    assert desk.cli("audit", "log", "--kind", "gossip").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "--origin", ORIGIN),
        ("verify", "--bundle", "b", "--origin", ORIGIN),
        ("verify", "--bundle", "b", "--key", "{log}"),
        ("verify", "--witness", "w.test/1={witness}"),
        ("verify", "--witness", "w.test/1"),
        ("verify", "--quorum", "-1"),
        ("cosign", "n", "--state", "s", "--key", "k", "--name", "n", "--origin", "o",
         "--log-key", "{log}"),
        ("cosign", "n", "--state", "s", "--key", "k", "--name", "n", "--origin", "o",
         "--log-key", "{log}", "--first", "--proof", "p"),
    ],
)  # fmt: skip
def test_wrong_use_ends_with_2(desk: Desk, words: tuple[str, ...], tmp_path: Path) -> None:
    files = {"log": desk.log_key, "witness": tmp_path / "witness.key"}
    assert desk.cli("audit", *(word.format(**files) for word in words)).code == 2


@pytest.mark.parametrize("content", [b"\xff", b"x", b"0" * 64, b"w.test/2+00000000+AAAA"])
def test_a_key_file_that_holds_none(desk: Desk, content: bytes, tmp_path: Path) -> None:
    out = tmp_path / "proof.json"
    desk.cli("audit", "prove", 1, "--out", out)
    desk.log_key.write_bytes(content)
    words = ("--origin", ORIGIN, "--key", desk.log_key)
    assert desk.cli("audit", "check-proof", out, *words).code == 4


def test_a_key_of_another_name(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "log.vkey").write_text(verifier_key("other.test", desk.key, "checkpoint"))
    out = tmp_path / "proof.json"
    desk.cli("audit", "prove", 1, "--out", out)
    words = ("--origin", ORIGIN, "--key", tmp_path / "log.vkey", "--json")
    wrong = desk.cli("audit", "check-proof", out, *words)
    assert (wrong.code, "is the key of other.test" in wrong.json["error"]["message"]) == (4, True)
    (tmp_path / "log.vkey").write_text(verifier_key(ORIGIN, desk.key, "checkpoint"))
    assert desk.cli("audit", "check-proof", out, *words).code == 0


def test_a_witness_key_that_others_can_read(desk: Desk) -> None:
    os.chmod(desk.witness_key, 0o644)
    refused = desk.cosign(desk.note("one"), "--first", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (4, "KEY-FILE-REFUSED")


def test_a_file_that_is_not_there(desk: Desk, tmp_path: Path) -> None:
    assert desk.cli("audit", "verify", "--kept", tmp_path / "no").code == 4
    assert isinstance(desk.key, PublicKey)
