"""The bundle of one output: openssl, sha256sum and the standard library find it whole or broken."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from policies.audit import AuditLog, LogTampered
from policies.bundle import BundleExists, PolicyTexts
from policies.canonical import canonical
from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from policies.keys import SigningKey
from policies.tables import DECISION, RELEASE, WARRANT
from policies.warrant import WarrantInvalid
from provenance import output_check
from provenance.output_bundle import (
    OutputUnknown,
    Sources,
    find_release,
    write_output_bundle,
)
from provenance.output_readme import write_readme

KINDS = ["image/jpeg", "image/png", "image/webp"]


def sources_of(studio: Any) -> Sources:
    house = studio.office.house
    policy = PolicyTexts(house.gate.texts, house.parts)
    return Sources(studio.archive, studio.pki.anchors, studio.office.desk_key.public, policy)


@pytest.fixture(scope="session")
def bundled(gallery: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    studio, released = gallery
    folder = tmp_path_factory.mktemp("bundles") / "png"
    write_output_bundle(folder, released["image/png"].manifest_id, sources=sources_of(studio))
    return folder


@pytest.fixture
def bundle(bundled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundled, tmp_path / "bundle"))


def commands(folder: Path) -> list[str]:
    return re.findall(r"^\$ (.+)$", (folder / "README.txt").read_text(), re.MULTILINE)


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the README, with nothing of ours in reach."""
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("python3 ", f"{sys.executable} -I -S ")],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_auditor_checks_everything_with_what_is_on_any_machine(
    gallery: Any, tmp_path: Path, kind: str
) -> None:
    studio, released = gallery
    one = released[kind]
    done = write_output_bundle(tmp_path / "b", one.manifest_id, sources=sources_of(studio))
    assert (done.row.manifest_id, done.missing) == (one.manifest_id, ())
    assert done.entries["release"] == one.log_index
    ending = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}[kind]
    assert (tmp_path / "b" / f"output.{ending}").read_bytes() == one.data
    listed = commands(tmp_path / "b")
    assert [line.split()[0] for line in listed].count("openssl") == 8
    for line in listed:
        # The studio's clock stands at midnight, before its certificates were made.
        ended = run(tmp_path / "b", re.sub(r" -attime \d+", "", line))
        assert ended.returncode == 0, (line, ended.stdout, ended.stderr)
    assert "import policies" not in (tmp_path / "b" / "check.py").read_text()


def test_decision_and_facts_are_the_ones_the_log_names(bundled: Path) -> None:
    decision = json.loads((bundled / "decision.json").read_bytes())
    facts = (bundled / "facts.json").read_bytes()
    entry = json.loads((bundled / "proof-decision.json").read_bytes())["entry"]
    assert sha256_hex(canonical(decision)) == entry["decision"]
    assert sha256_hex(facts) == entry["facts"] == decision["facts_sha256"]
    assert decision["allow"] is True
    steps = sorted(path.name for path in bundled.glob("proof-consent-*.json"))
    assert steps == [f"proof-consent-{person}-{step}.json" for person in (1, 2) for step in (0, 1)]


# --- what is changed is found -------------------------------------------------------------------


def rewrite(folder: Path, name: str, change: Callable[[Any], None]) -> None:
    value = json.loads((folder / name).read_bytes())
    change(value)
    (folder / name).write_bytes(canonical(value))


def flip(folder: Path, name: str, place: int) -> None:
    data = bytearray((folder / name).read_bytes())
    data[place] ^= 1
    (folder / name).write_bytes(bytes(data))


def flip_in_output(folder: Path) -> None:
    flip(folder, "output.png", -30)


def other_root(folder: Path) -> None:
    text = (folder / "checkpoint").read_text().split("\n")
    text[2] = "A" * 43 + "="
    (folder / "checkpoint").write_text("\n".join(text))


def flip_assertion(folder: Path) -> None:
    data = (folder / "manifest.c2pa").read_bytes()
    flip(folder, "manifest.c2pa", data.rindex(b"facewarrant.consent") + 120)


HASHED: dict[str, tuple[Callable[[Path], None], str]] = {
    "output": (flip_in_output, "the manifest is about this output"),
    "assertion": (flip_assertion, "the signed claim names this"),
    "root": (other_root, "is in the log"),
    "entry": (
        lambda f: rewrite(f, "proof-release.json", lambda p: p["entry"].update(at=1)),
        "is in the log",
    ),
    "place": (
        lambda f: rewrite(f, "proof-release.json", lambda p: p.update(index=p["index"] - 1)),
        "is in the log",
    ),
    "path": (
        lambda f: rewrite(f, "proof-decision.json", lambda p: p["path"].pop()),
        "is in the log",
    ),
    "warrant": (
        lambda f: rewrite(f, "warrant.json", lambda w: w.update(decision_index=0)),
        "the log names this warrant",
    ),
    "layout": (
        lambda f: (f / "warrant.json").write_bytes((f / "warrant.json").read_bytes() + b" "),
        "the warrant is in canonical form",
    ),
    "decision": (
        lambda f: rewrite(f, "decision.json", lambda d: d.update(allow=False)),
        "the log names this decision.json",
    ),
    "facts": (
        lambda f: rewrite(f, "facts.json", lambda d: d.update(now=1)),
        "the log names this facts.json",
    ),
    "policy parts": (
        lambda f: rewrite(f, "policy.json", lambda d: d["parts"].update(law="0" * 64)),
        "the warrant names this policy",
    ),
    "policy text": (lambda f: flip(f, "gate.cedar", 0), "the policy has these texts"),
    "boxes": (
        lambda f: (f / "manifest.c2pa").write_bytes((f / "manifest.c2pa").read_bytes()[:-9]),
        "the manifest's boxes are whole",
    ),
}


@pytest.mark.parametrize("what", HASHED)
def test_every_change_of_what_is_hashed_is_found(bundle: Path, what: str) -> None:
    change, words = HASHED[what]
    change(bundle)
    assert run(bundle, "sha256sum -c SHA256SUMS").returncode != 0
    with pytest.raises(SystemExit) as caught:
        output_check.main(bundle)
    assert f"DOES NOT HOLD: {words}"[:40] in str(caught.value) or words in str(caught.value)
    ended = run(bundle, "python3 check.py")
    assert (ended.returncode, ended.stderr.strip()) == (1, str(caught.value))


@pytest.mark.parametrize("name", ["checkpoint", "warrant", "claim"])
@pytest.mark.parametrize("part", ["msg", "sig"])
def test_every_change_of_what_is_signed_is_found(bundle: Path, name: str, part: str) -> None:
    output_check.main(bundle)
    command = next(line for line in commands(bundle) if f"signed/{name}.sig" in line)
    if name == "claim":
        assert run(bundle, next(c for c in commands(bundle) if "-pubkey" in c)).returncode == 0
    assert run(bundle, command).returncode == 0
    flip(bundle, f"signed/{name}.{part}", -1)
    assert run(bundle, command).returncode != 0


def test_another_root_is_found(bundle: Path, other_pki: Any) -> None:
    output_check.main(bundle)
    (bundle / "root.pem").write_text(other_pki.anchors.pem)
    command = next(line for line in commands(bundle) if line.startswith("openssl verify"))
    assert run(bundle, re.sub(r" -attime \d+", "", command)).returncode != 0


def test_a_consent_that_was_not_confirmed_before_is_found(bundle: Path) -> None:
    (bundle / "proof-consent-2-1.json").unlink()
    with pytest.raises(SystemExit, match="was confirmed before the decision"):
        output_check.main(bundle)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("decision.json", "decision.json is not in the bundle"),
        ("facts.json", "facts.json is not in the bundle"),
        ("policy.json", "the policy is not in the bundle"),
    ],
)
def test_what_is_not_there_is_said_and_not_held_against_it(
    bundle: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    (bundle / name).unlink()
    output_check.main(bundle)
    assert f"NOT CHECKED: {words}" in capsys.readouterr().out


# --- what is written ----------------------------------------------------------------------------


def test_a_release_is_named_in_three_ways(gallery: Any) -> None:
    studio, released = gallery
    one = released["image/png"]
    row = find_release(studio.registry, one.manifest_id)
    assert find_release(studio.registry, row.request_id) == row
    assert find_release(studio.registry, row.mark_id) == row
    assert find_release(studio.registry, one.sha256) == row
    for name in ("urn:c2pa:none", "0" * 64, ""):
        with pytest.raises(OutputUnknown) as caught:
            find_release(studio.registry, name)
        assert caught.value.code == "OUTPUT-UNKNOWN"


def test_a_bundle_is_not_written_over_something(gallery: Any, bundle: Path) -> None:
    studio, released = gallery
    with pytest.raises(BundleExists):
        write_output_bundle(bundle, released["image/png"].manifest_id, sources=sources_of(studio))


def test_another_policy_in_force_is_said(gallery: Any, tmp_path: Path) -> None:
    studio, released = gallery
    sources = sources_of(studio)
    later = replace(sources, policy=replace(sources.policy, parts={"gate": "0" * 64}))
    name = released["image/png"].manifest_id
    done = write_output_bundle(tmp_path / "b", name, sources=later)
    assert len(done.missing) == 1
    warrant = json.loads((tmp_path / "b" / "warrant.json").read_bytes())
    assert warrant["policy_sha256"] in (tmp_path / "b" / "README.txt").read_text()
    assert not (tmp_path / "b" / "policy.json").exists()
    assert run(tmp_path / "b", "sha256sum -c SHA256SUMS").returncode == 0
    output_check.main(tmp_path / "b")


def edit(studio: Any, *statements: Any) -> None:
    """Change rows as somebody would who has the database's file."""
    with studio.office.database.transaction() as connection:
        for table in ("release", "warrant", "decision"):
            for what in ("update", "delete"):
                connection.exec_driver_sql(f"drop trigger if exists {table}_{what}")
        for statement in statements:
            connection.execute(statement)


def test_a_decision_from_before_decisions_were_kept_is_said(studio: Any, tmp_path: Path) -> None:
    one = studio.release()
    edit(studio, sa.delete(DECISION))
    done = write_output_bundle(tmp_path / "b", one.manifest_id, sources=sources_of(studio))
    assert "facts.json" in done.missing[0]
    assert "only their digests" in " ".join((tmp_path / "b" / "README.txt").read_text().split())
    output_check.main(tmp_path / "b")


def test_a_register_or_log_that_says_something_else_is_refused(studio: Any, tmp_path: Path) -> None:
    one, other = studio.release(), studio.release("persona3_0")
    row = studio.registry.by_mark(other.mark_id)
    here = RELEASE.c.mark_id == one.mark_id
    for change in (
        {"log_index": row.log_index},
        {"log_index": one.log_index, "manifest_id": "urn:c2pa:forged"},
        {"manifest_id": one.manifest_id, "warrant_id": "00000000-0000-4000-8000-000000000000"},
    ):
        edit(studio, sa.update(RELEASE).where(here).values(**change))
        name = change.get("manifest_id", one.manifest_id)
        with pytest.raises(LogTampered) as caught:
            write_output_bundle(tmp_path / "b", str(name), sources=sources_of(studio))
        assert caught.value.code == "LOG-TAMPERED"
    assert not (tmp_path / "b").exists()


def test_a_warrant_of_another_desk_is_refused(studio: Any, tmp_path: Path) -> None:
    one = studio.release()
    stranger = SigningKey.from_seed(b"x" * 32).public
    with pytest.raises(WarrantInvalid) as caught:
        write_output_bundle(
            tmp_path / "b", one.manifest_id, sources=replace(sources_of(studio), warrant=stranger)
        )
    assert caught.value.code == "WARRANT-FORGED"


def test_a_log_that_grows_between_the_proofs_is_read_again(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = studio.release()
    real, growing = AuditLog.prove, [3]

    def prove(self: AuditLog, index: int) -> Any:
        if growing[0]:
            growing[0] -= 1
            self.append("abort", {"warrant": "w", "reason": "meanwhile"})
        return real(self, index)

    monkeypatch.setattr(AuditLog, "prove", prove)
    write_output_bundle(tmp_path / "b", one.manifest_id, sources=sources_of(studio))
    output_check.main(tmp_path / "b")
    growing[0] = 10**6
    with pytest.raises(StoreUnavailable) as caught:
        write_output_bundle(tmp_path / "c", one.manifest_id, sources=sources_of(studio))
    assert "grows" in caught.value.message


def test_a_withdrawal_shows_in_the_bundle(studio: Any, tmp_path: Path) -> None:
    draft = studio.draft()
    from provenance.release import release  # noqa: PLC0415

    one = release(draft, press=studio.press)
    studio.office.withdraw(draft.warrant.document.people[0].record_id)
    write_output_bundle(tmp_path / "b", one.manifest_id, sources=sources_of(studio))
    events = [
        json.loads(path.read_bytes())["entry"]["event"]
        for path in (tmp_path / "b").glob("proof-consent-*.json")
    ]
    assert sorted(events) == ["confirmed", "confirmed", "given", "given", "withdrawn"]
    output_check.main(tmp_path / "b")


def test_every_file_is_described(bundled: Path, gallery: Any) -> None:
    text = (bundled / "README.txt").read_text()
    for path in bundled.iterdir():
        assert f"\n  {path.name:<26}" in text
    studio, released = gallery
    row = find_release(studio.registry, released["image/png"].manifest_id)
    with studio.office.database.transaction() as connection:
        document = connection.scalar(
            sa.select(WARRANT.c.document).where(WARRANT.c.warrant_id == row.warrant_id)
        )
    from policies.warrant import read_warrant  # noqa: PLC0415

    with pytest.raises(KeyError):
        write_readme(row, read_warrant(document), ["surprise.bin"], [])


# --- the script's own parts ---------------------------------------------------------------------


def test_cbor_is_read_and_written() -> None:
    for data, value in (
        (b"\x00", 0),
        (b"\x18\x64", 100),
        (b"\x39\x01\x00", -257),
        (b"\xf4", False),
        (b"\xf5", True),
        (b"\xf6", None),
        (b"\xe0", 0),
        (b"\xd2\x82\x01\x61a", [1, "a"]),
        (b"\xa1\x61a\x42\x01\x02", {"a": b"\x01\x02"}),
        (b"\x1b" + bytes(7) + b"\x05", 5),
        (b"\x1a" + bytes(3) + b"\x05", 5),
    ):
        assert output_check.read_cbor(data, 0) == (value, len(data))
    for size in (0, 23, 24, 255, 256, 65_535, 65_536):
        data = output_check.write_cbor(2, b"x" * size)
        assert output_check.read_cbor(data, 0) == (b"x" * size, len(data))


def test_the_script_checks_the_folder_it_is_run_in(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bundle)
    runpy.run_path(output_check.__file__, run_name="__main__")
    assert capsys.readouterr().out.endswith("Now run the openssl commands of README.txt.\n")


@pytest.mark.parametrize("size", range(1, 20))
def test_proofs_of_logs_of_every_size_lead_to_the_root(size: int) -> None:
    from policies.merkle import build_tree, inclusion_ranges, leaf_hash, root_of  # noqa: PLC0415

    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    tree = build_tree(leaves)
    for index in range(size):
        path = [root_of(tree, *ends).hex() for ends in inclusion_ranges(index, size)]
        root = root_of(tree, 0, size)
        assert output_check.root_of_path(leaves[index], index, size, path) == root
        longer = [*path, "00" * 32]
        assert output_check.root_of_path(leaves[index], index, size, longer) != root


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


@pytest.mark.parametrize("alg", [-8, -35, -37])
def test_other_algorithms_are_written_for_openssl(tmp_path: Path, alg: int) -> None:
    number = bytes([0x38, -1 - alg]) if alg < -24 else bytes([0x20 - 1 - alg])
    protected = b"\xa1\x01" + number
    raw = b"\xff" * (96 if alg == -35 else 64)
    structure = (
        b"\xd2\x84"
        + output_check.write_cbor(2, protected)
        + b"\xa1\x18\x21\x41\x30"  # x5chain: one certificate of one byte
        + b"\xf6"
        + output_check.write_cbor(2, raw)
    )
    superbox = box(b"jumd", b"") + box(b"cbor", structure)
    output_check.write_claim(tmp_path, superbox, b"claim")
    signature = (tmp_path / "claim.sig").read_bytes()
    if alg == -35:
        assert signature == b"\x30\x66" + 2 * (b"\x02\x31\x00" + b"\xff" * 48)
    else:
        assert signature == raw
    assert (tmp_path / "signer.pem").read_text() == (tmp_path / "chain.pem").read_text()
