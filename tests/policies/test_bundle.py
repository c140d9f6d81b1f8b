"""A bundle shows the log to a stranger, offline; whatever is changed in it is found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import policies.bundle
from policies.audit import AuditLog, LogTampered, Snapshot
from policies.bundle import (
    FILES,
    SUMS,
    BundleBroken,
    BundleExists,
    PolicyTexts,
    claimed_log,
    verify_bundle,
    write_bundle,
)
from policies.canonical import canonical, digest, parse
from policies.checkpoint import (
    Checkpoint,
    TooFewWitnesses,
    WitnessKey,
    add_cosignature,
    sign_checkpoint,
)
from policies.database import Database
from policies.digest import sha256_hex
from policies.errors import BadSignature, Error, Malformed, StoreUnavailable
from policies.keys import SigningKey
from policies.merkle import ProofInvalid, build_tree, leaf_hash, root_of

ORIGIN = "log.test/facewarrant"
KEY = SigningKey.from_seed(b"l" * 32)
WARRANT = SigningKey.from_seed(b"w" * 32)
NOW = 1_795_219_200
TEXTS = {"policy": "permit", "schema": "schema", "house": "forbid"}
GATE = digest({name: sha256_hex(text.encode()) for name, text in TEXTS.items()})
POLICY = PolicyTexts(TEXTS, {"gate": GATE, "law": "b" * 64})


def make_log(entries: int = 7) -> AuditLog:
    ticks = iter(range(NOW, NOW + 100))
    log = AuditLog(Database("sqlite://"), origin=ORIGIN, key=KEY, clock=lambda: next(ticks))
    for number in range(entries):
        if number % 3:
            policy = digest(POLICY.parts) if number % 3 == 1 else "c" * 64
            log.append("decision", {"policy": policy})
        else:
            log.append("abort", {"warrant": f"w{number}"})
    return log


def write(folder: Path, snapshot: Snapshot) -> Checkpoint:
    keys = {"log": KEY.public, "warrant": WARRANT.public}
    return write_bundle(folder, snapshot, origin=ORIGIN, keys=keys, policy=POLICY)  # type: ignore[arg-type]


def verify(folder: Path, **more: object) -> policies.bundle.BundleReport:
    return verify_bundle(folder, origin=ORIGIN, key=KEY.public, **more)  # type: ignore[arg-type]


def seal(folder: Path) -> None:
    """Write the sums anew, as whoever changed a file could."""
    sums = [f"{sha256_hex((folder / name).read_bytes())}  {name}\n" for name in sorted(FILES)]
    (folder / SUMS).write_text("".join(sums))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "bundle", make_log().snapshot())
    return tmp_path / "bundle"


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8])
def test_a_bundle_holds(tmp_path: Path, size: int) -> None:
    log = make_log(size)
    head = write(tmp_path / "deep" / "b", log.snapshot())
    report = verify(tmp_path / "deep" / "b")
    assert report.head == head == log.check()
    assert sum(report.kinds.values()) == size
    assert claimed_log(tmp_path / "deep" / "b") == (ORIGIN, KEY.public)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["b"]


def test_what_a_bundle_reports(folder: Path) -> None:
    report = verify(folder)
    assert report.kinds == {"abort": 3, "decision": 4}
    assert (report.first_at, report.last_at, report.foreign_policy) == (NOW, NOW + 6, 2)
    assert report.cosigned == {}
    keys = parse((folder / "keys.json").read_bytes())["keys"]
    assert [key["role"] for key in keys] == ["log", "warrant"]


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()  # an empty folder is used
    for name in ("one", "two"):
        write(tmp_path / name, make_log().snapshot())
    for name in (*FILES, SUMS):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_sums_are_what_coreutils_check(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count(b": OK") == len(FILES)


def test_a_stranger_needs_no_database(folder: Path, tmp_path: Path) -> None:
    code = (
        "import pathlib\n"
        "from policies.bundle import claimed_log, verify_bundle\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "origin, key = claimed_log(folder)\n"
        "print(verify_bundle(folder, origin=origin, key=key).head.size)\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "7\n"


def test_nothing_is_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for there in (folder, tmp_path / "file"):
        with pytest.raises(BundleExists) as caught:
            write(there, make_log().snapshot())
        assert caught.value.code == "BUNDLE-EXISTS"


def test_a_log_that_was_changed_is_not_exported(tmp_path: Path) -> None:
    whole = make_log().snapshot()
    for broken in (
        replace(whole, entries=whole.entries[:-1]),
        replace(whole, entries=(b"{}", *whole.entries[1:])),
    ):
        with pytest.raises(LogTampered):
            write(tmp_path / "b", broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["replace", "rename"])
def test_a_bundle_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StoreUnavailable, match="No space"):
        write(tmp_path / "b", make_log().snapshot())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable):
        write(tmp_path / "file" / "b", make_log().snapshot())


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_every_changed_byte_is_found(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    for at in (0, len(data) // 2, len(data) - 1):
        (folder / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(BundleBroken) as caught:
            verify(folder)
        assert caught.value.code == "BUNDLE-BROKEN"


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_every_missing_file_is_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleBroken, match=name):
        verify(folder)
    (folder / name).symlink_to(Path(__file__))
    with pytest.raises(BundleBroken, match="not a plain file"):
        verify(folder)


def test_a_file_too_many_or_no_folder(folder: Path) -> None:
    (folder / "more").touch()
    with pytest.raises(BundleBroken, match="more"):
        verify(folder)
    with pytest.raises(BundleBroken, match="cannot read"):
        verify(folder / "more")


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        old = (folder / name).read_bytes()
        assert change(old) != old
        (folder / name).write_bytes(change(old))

    return run


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda data: b"\n".join(change(data.split(b"\n")))


SEALED: dict[str, tuple[Callable[[Path], None], type[Error]]] = {
    "entry edited": (edit("entries.jsonl", lambda d: d.replace(b"w3", b"w4")), LogTampered),
    "entry cut": (edit("entries.jsonl", lines(lambda x: x[1:])), BundleBroken),
    "entries swapped": (
        edit("entries.jsonl", lines(lambda x: [x[1], x[0], *x[2:]])), LogTampered),
    "last newline cut": (edit("entries.jsonl", lambda d: d[:-1]), BundleBroken),
    "proofs swapped": (edit("proofs.jsonl", lines(lambda x: [x[1], x[0], *x[2:]])), BundleBroken),
    "proof cut": (edit("proofs.jsonl", lines(lambda x: x[1:])), BundleBroken),
    "proof newline cut": (edit("proofs.jsonl", lambda d: d[:-1]), BundleBroken),
    "proof of another": (
        edit("proofs.jsonl", lines(lambda x: [x[1].replace(b'"index":1', b'"index":0'), *x[1:]])),
        ProofInvalid),
    "proof no JSON": (edit("proofs.jsonl", lines(lambda x: [b"x", *x[1:]])), BundleBroken),
    "proof with more": (
        edit("proofs.jsonl", lambda d: d.replace(b'"path"', b'"more":1,"path"')), BundleBroken),
    "checkpoint forged": (
        edit("checkpoint", lambda d: d.replace(b"\n7\n", b"\n8\n")), BadSignature),
    "checkpoint no text": (edit("checkpoint", lambda d: d + b"\xff"), BundleBroken),
    "checkpoint no note": (edit("checkpoint", lambda _: b"x"), Malformed),
    "other key": (
        edit("keys.json", lambda d: d.replace(KEY.public.hex.encode(), b"ab" * 32)), BundleBroken),
    "other origin": (
        edit("keys.json", lambda d: d.replace(b'"log.test', b'"lag.test')), BundleBroken),
    "keys of no form": (edit("keys.json", lambda _: b"{}"), BundleBroken),
    "another policy's text": (edit("house.cedar", lambda _: b"permit"), BundleBroken),
    "another part of the policy": (
        edit("policy.json", lambda data: data.replace(b"b" * 64, b"d" * 64)), BundleBroken,
    ),
    "policy of no form": (edit("policy.json", lambda _: b"[]"), BundleBroken),
}  # fmt: skip


@pytest.mark.parametrize("name", SEALED)
def test_new_sums_hide_nothing(folder: Path, name: str) -> None:
    change, error = SEALED[name]
    change(folder)
    seal(folder)
    with pytest.raises(error):
        verify(folder)


def test_another_key_or_origin_is_not_the_log(folder: Path) -> None:
    with pytest.raises(BadSignature):
        verify_bundle(folder, origin=ORIGIN, key=WARRANT.public)
    with pytest.raises(Malformed):
        verify_bundle(folder, origin="other", key=KEY.public)


def forge(folder: Path, entries: list[bytes], key: SigningKey) -> None:
    """A whole bundle of other entries, signed by `key`."""
    tree = build_tree([leaf_hash(entry) for entry in entries])
    head = Checkpoint(ORIGIN, len(entries), root_of(tree, 0, len(entries)))
    snapshot = Snapshot(tuple(entries), sign_checkpoint(head, key=key))
    keys = {"log": key.public}
    write_bundle(folder, snapshot, origin=ORIGIN, keys=keys, policy=POLICY)  # type: ignore[arg-type]


def test_a_forged_bundle_holds_only_by_its_own_key(tmp_path: Path) -> None:
    forge(tmp_path / "b", [canonical({"v": 1, "kind": "abort", "at": 1})], WARRANT)
    origin, key = claimed_log(tmp_path / "b")
    assert verify_bundle(tmp_path / "b", origin=origin, key=key).head.size == 1
    with pytest.raises(BadSignature):
        verify(tmp_path / "b")


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([b"x"], Malformed),
        ([b"{}"], Malformed),
        ([canonical({"v": 1, "kind": "abort", "at": at}) for at in (2, 1)], LogTampered),
    ],
)
def test_what_a_log_key_cannot_make_good(
    tmp_path: Path, entries: list[bytes], error: type[Error]
) -> None:
    forge(tmp_path / "b", entries, KEY)
    with pytest.raises(error):
        verify(tmp_path / "b")


def test_kept_checkpoints_and_witnesses(tmp_path: Path) -> None:
    log, witness = make_log(4), WitnessKey("w.test", WARRANT.public)
    kept = add_cosignature(log.checkpoint(), name="w.test", key=WARRANT, at=NOW)
    log.append("abort", {})
    snapshot = log.snapshot()
    write(tmp_path / "plain", snapshot)
    assert verify(tmp_path / "plain", kept=[kept]).head.size == 5
    with pytest.raises(TooFewWitnesses):
        verify(tmp_path / "plain", kept=[kept], witnesses=[witness], quorum=1)
    cosigned = add_cosignature(snapshot.checkpoint, name="w.test", key=WARRANT, at=NOW + 9)
    write(tmp_path / "cosigned", replace(snapshot, checkpoint=cosigned))
    report = verify(tmp_path / "cosigned", kept=[kept], witnesses=[witness], quorum=1)
    assert report.cosigned == {witness: NOW + 9}
    with pytest.raises(TooFewWitnesses):
        verify(
            tmp_path / "cosigned", kept=[make_log(4).checkpoint()], witnesses=[witness], quorum=1
        )


def test_a_rewritten_or_cut_log_is_found_against_a_kept_checkpoint(tmp_path: Path) -> None:
    kept = make_log(6).checkpoint()
    write(tmp_path / "cut", make_log(5).snapshot())
    rewritten = [canonical({"v": 1, "kind": "abort", "at": n}) for n in range(8)]
    forge(tmp_path / "rewritten", rewritten, KEY)
    for name in ("cut", "rewritten"):
        verify(tmp_path / name)
        with pytest.raises(LogTampered, match="kept checkpoint of 6"):
            verify(tmp_path / name, kept=[kept])
