"""The notes of C2SP: checkpoints, cosignatures and verifier keys, byte for byte."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.checkpoint import (
    MAX_NOTE_CHARACTERS,
    Checkpoint,
    KeyUse,
    TooFewWitnesses,
    WitnessKey,
    add_cosignature,
    cosignatures,
    open_checkpoint,
    read_verifier_key,
    sign_checkpoint,
    verifier_key,
)
from policies.errors import BadSignature, Error, Malformed
from policies.keys import PublicKey, SigningKey

ORIGIN = "log.test/facewarrant"
KEY = SigningKey.from_seed(b"l" * 32)
OTHER = SigningKey.from_seed(b"o" * 32)
HEAD = Checkpoint(ORIGIN, 20_000, b"r" * 32)
NOTE = sign_checkpoint(HEAD, key=KEY)


def opened(note: str) -> Checkpoint:
    return open_checkpoint(note, origin=ORIGIN, key=KEY.public)


def test_the_form_of_the_c2sp_specification() -> None:
    origin, size, root, empty, signature, end = NOTE.split("\n")
    assert (origin, size, empty, end) == (ORIGIN, "20000", "", "")
    assert base64.b64decode(root) == HEAD.root
    dash, name, blob = signature.split(" ")
    assert (dash, name, len(base64.b64decode(blob))) == ("\N{EM DASH}", ORIGIN, 4 + 64)


def test_round_trip() -> None:
    assert opened(NOTE) == HEAD


def test_lines_of_unknown_signers_are_ignored() -> None:
    witness = sign_checkpoint(Checkpoint("witness", 20_000, HEAD.root), key=OTHER).split("\n\n")[1]
    same_name = sign_checkpoint(HEAD, key=OTHER).split("\n\n")[1]
    text, ours = NOTE.split("\n\n")
    assert opened(f"{text}\n\n{witness}{same_name}{ours}{witness}") == HEAD


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(0, len(NOTE) - 2), st.characters(exclude_categories=["Cs"]))
def test_any_changed_character_is_refused(at: int, character: str) -> None:
    edited = NOTE[:at] + character + NOTE[at + 1 :]
    if edited == NOTE:
        assert opened(edited) == HEAD
        return
    with pytest.raises(Error):
        opened(edited)


@pytest.mark.parametrize(
    "size",
    ["", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 19, "x"],
)
def test_sizes_that_are_not_plain_numbers(size: str) -> None:
    with pytest.raises(Malformed) as caught:
        opened(NOTE.replace("20000", size, 1))
    assert caught.value.code == "MALFORMED"


@pytest.mark.parametrize("root", ["", "AAAA", "*" * 44, base64.b64encode(b"r" * 33).decode()])
def test_roots_that_are_not_32_bytes(root: str) -> None:
    with pytest.raises(Malformed):
        opened(NOTE.replace(base64.b64encode(HEAD.root).decode(), root, 1))


@pytest.mark.parametrize(
    "note",
    ["", "\n\n", NOTE.split("\n\n")[0], "\n".join(NOTE.split("\n")[:2]) + "\n\n", "x" + NOTE],
)
def test_what_is_no_checkpoint(note: str) -> None:
    with pytest.raises(Malformed):
        opened(note)


def test_another_origin_or_key() -> None:
    with pytest.raises(Malformed):
        open_checkpoint(NOTE, origin="other", key=KEY.public)
    with pytest.raises(BadSignature) as caught:
        open_checkpoint(NOTE, origin=ORIGIN, key=OTHER.public)
    assert caught.value.code == "BAD-SIGNATURE"


def test_no_signature_at_all() -> None:
    with pytest.raises(BadSignature):
        opened(NOTE.split("\n\n")[0] + "\n\n")


def test_a_signature_over_another_head_is_not_moved() -> None:
    other = sign_checkpoint(Checkpoint(ORIGIN, 20_001, HEAD.root), key=KEY)
    with pytest.raises(BadSignature):
        opened(NOTE.split("\n\n")[0] + "\n\n" + other.split("\n\n")[1])


def test_unread_bits_of_the_base64_are_not_free() -> None:
    assert NOTE.endswith("=\n")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = digits[digits.index(NOTE[-3]) ^ 1]
    with pytest.raises(Malformed, match="canonical"):
        opened(NOTE[:-3] + twin + NOTE[-2:])


AT = 1_679_315_147
WITNESS = SigningKey.from_seed(b"w" * 32)
W1 = WitnessKey("witness.test/w1", WITNESS.public)
W2 = WitnessKey("witness.test/w2", OTHER.public)
COSIGNED = add_cosignature(NOTE, name=W1.name, key=WITNESS, at=AT)


def test_a_cosignature_byte_for_byte() -> None:
    """C2SP tlog-cosignature, computed without our code; the line itself is pinned too."""
    key = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    text = f"{ORIGIN}\n20000\n{base64.b64encode(HEAD.root).decode()}\n"
    signed = b"cosignature/v1\ntime 1679315147\n" + text.encode()
    raw = key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"witness.test/w1" + b"\n" + b"\x04" + raw).digest()[:4]
    time = bytes.fromhex("000000006418 50cb")
    blob = base64.b64encode(key_id + time + key.sign(signed)).decode()
    assert COSIGNED == f"{NOTE}\N{EM DASH} witness.test/w1 {blob}\n"
    assert blob == (
        "ALhXGAAAAABkGFDLQ8KeBbo0oCZa3Up56msgd/6Z/Ck6mBesO8b6Vm/oKqHrWl+TlpFdKnYhUTuWjiPnuJALHV91"
        "+UCE8y+TEBqNCg=="
    )


@pytest.mark.parametrize(
    ("line", "use"),
    [  # published keys of others: a witness, and the example of Go's note package
        ("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", "cosignature"),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "checkpoint"),
    ],
)
def test_verifier_keys_of_others(line: str, use: KeyUse) -> None:
    name, key = read_verifier_key(line, use)
    assert name == line.partition("+")[0]
    assert verifier_key(name, key, use) == line
    other: KeyUse = "checkpoint" if use == "cosignature" else "cosignature"
    with pytest.raises(Malformed, match=f"not the verifier key of a {other}"):
        read_verifier_key(line, other)


LINE = verifier_key(W1.name, W1.key, "cosignature")


@pytest.mark.parametrize(
    "line",
    ["", "w", "w+", "w+00000000", "w+00000000+BBBB", "w+00000000+*", LINE + "=",
     LINE.replace("w1+", "w2+"), LINE.replace("+00b85718+", "+00b85719+"),
     LINE.replace("+00b85718+", "+00B85718+"), LINE.replace("witness", " witness")],
)  # fmt: skip
def test_what_is_no_verifier_key(line: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_verifier_key(line, "cosignature")
    assert caught.value.code == "MALFORMED"


def test_a_verifier_key_of_small_order() -> None:
    blob = base64.b64encode(b"\x04" + bytes(32)).decode()
    with pytest.raises(BadSignature):
        read_verifier_key(f"w+00000000+{blob}", "cosignature")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\u2028b", "a\x7f"])
def test_names_that_no_line_can_carry(name: str) -> None:
    with pytest.raises(Malformed):
        WitnessKey(name, WITNESS.public)
    with pytest.raises(Malformed):
        add_cosignature(NOTE, name=name, key=WITNESS, at=AT)
    with pytest.raises(Malformed):
        sign_checkpoint(Checkpoint(name, 1, HEAD.root), key=KEY)


@pytest.mark.parametrize("at", [-1, 2**63])
def test_times_that_cannot_be(at: int) -> None:
    with pytest.raises(Malformed):
        add_cosignature(NOTE, name=W1.name, key=WITNESS, at=at)


def opened_by(note: str, *witnesses: WitnessKey, quorum: int) -> Checkpoint:
    return open_checkpoint(note, origin=ORIGIN, key=KEY.public, witnesses=witnesses, quorum=quorum)


def test_a_quorum_of_witnesses() -> None:
    both = add_cosignature(COSIGNED, name=W2.name, key=OTHER, at=AT + 5)
    assert opened(both) == HEAD
    assert opened_by(COSIGNED, W1, W2, quorum=1) == HEAD
    assert opened_by(both, W1, W2, quorum=2) == HEAD
    for note, quorum in ((COSIGNED, 2), (NOTE, 1)):
        with pytest.raises(TooFewWitnesses) as caught:
            opened_by(note, W1, W2, quorum=quorum)
        assert caught.value.code == "WITNESS-QUORUM"


def test_one_witness_counts_once() -> None:
    again = add_cosignature(COSIGNED, name=W1.name, key=WITNESS, at=AT + 60)
    assert cosignatures(again, witnesses=[W1]) == {W1: AT + 60}
    with pytest.raises(TooFewWitnesses):
        opened_by(again, W1, W2, quorum=2)


def test_one_key_under_two_names_is_one_witness() -> None:
    twin = WitnessKey("witness.test/twin", WITNESS.public)
    note = add_cosignature(COSIGNED, name=twin.name, key=WITNESS, at=AT)
    with pytest.raises(TooFewWitnesses):
        opened_by(note, W1, twin, W2, quorum=2)
    with pytest.raises(Malformed, match="never be a quorum of 2"):
        opened_by(note, W1, twin, quorum=2)


def test_two_keys_under_one_name_are_two_witnesses() -> None:
    same_name = WitnessKey(W1.name, OTHER.public)
    with pytest.raises(TooFewWitnesses):
        opened_by(COSIGNED, W1, same_name, quorum=2)
    both = add_cosignature(COSIGNED, name=W1.name, key=OTHER, at=AT)
    assert opened_by(both, W1, same_name, quorum=2) == HEAD


@pytest.mark.parametrize("quorum", [-1, 2])
def test_a_quorum_that_cannot_be_reached(quorum: int) -> None:
    with pytest.raises(Malformed):
        opened_by(COSIGNED, W1, quorum=quorum)


def test_the_log_is_no_witness_of_itself() -> None:
    note = add_cosignature(NOTE, name="other.test", key=KEY, at=AT)
    with pytest.raises(Malformed, match="can never be"):
        opened_by(note, WitnessKey("other.test", KEY.public), quorum=1)


def test_a_forged_line_of_a_known_witness_spoils_the_note() -> None:
    good = COSIGNED.removeprefix(NOTE)
    raw = bytearray(base64.b64decode(good.split(" ")[2]))
    for at in range(4, len(raw)):
        forged = bytes(raw[:at]) + bytes([raw[at] ^ 1]) + bytes(raw[at + 1 :])
        line = f"\N{EM DASH} {W1.name} {base64.b64encode(forged).decode()}\n"
        with pytest.raises(BadSignature):
            opened_by(NOTE + line + good, W1, W2, quorum=1)
        assert opened_by(NOTE + line, W2, quorum=0) == HEAD  # of an unknown key: ignored
    for cut in (4, 12, 75):
        line = f"\N{EM DASH} {W1.name} {base64.b64encode(bytes(raw[:cut])).decode()}\n"
        with pytest.raises(BadSignature):
            opened_by(NOTE + line, W1, quorum=0)


def test_a_cosignature_beyond_the_end_of_time() -> None:
    raw = base64.b64decode(COSIGNED.split(" ")[-1])
    blob = base64.b64encode(raw[:4] + b"\xff" * 8 + raw[12:]).decode()
    with pytest.raises(BadSignature, match="time that cannot be"):
        opened_by(f"{NOTE}\N{EM DASH} {W1.name} {blob}\n", W1, quorum=1)


def test_a_cosignature_is_not_moved_to_another_checkpoint() -> None:
    other = sign_checkpoint(Checkpoint(ORIGIN, 20_001, HEAD.root), key=KEY)
    with pytest.raises(BadSignature):
        opened_by(other + COSIGNED.removeprefix(NOTE), W1, quorum=1)


def test_a_checkpoint_line_is_no_cosignature() -> None:
    line = sign_checkpoint(Checkpoint(W1.name, 20_000, HEAD.root), key=WITNESS).split("\n\n")[1]
    with pytest.raises(TooFewWitnesses):
        opened_by(NOTE + line, W1, quorum=1)


def test_a_second_line_of_the_log_must_verify_too() -> None:
    ours = NOTE.split("\n\n")[1]
    assert opened(NOTE + ours) == HEAD
    other = sign_checkpoint(Checkpoint(ORIGIN, 20_001, HEAD.root), key=KEY).split("\n\n")[1]
    with pytest.raises(BadSignature):
        opened(NOTE + other)


def test_extension_lines_are_signed_too() -> None:
    text = NOTE.split("\n\n")[0] + "\nmore\n"
    blob = base64.b64decode(NOTE.split(" ")[-1])[:4] + bytes.fromhex(KEY.sign_bytes(text.encode()))
    line = f"\N{EM DASH} {ORIGIN} {base64.b64encode(blob).decode()}\n"
    note = add_cosignature(f"{text}\n{line}", name=W1.name, key=WITNESS, at=AT)
    assert opened_by(note, W1, quorum=1) == HEAD
    with pytest.raises(BadSignature):
        opened_by(note.replace("more", "most"), W1, quorum=1)


@pytest.mark.parametrize(
    "note",
    [
        NOTE[:-1],
        NOTE + "\n",
        NOTE + "x\n",
        NOTE.replace("\N{EM DASH} ", "- "),
        NOTE.replace("\N{EM DASH} ", "\N{EM DASH}  "),
        NOTE + f"\N{EM DASH} {W1.name}\n",
        NOTE + f"\N{EM DASH} {W1.name} ***\n",
        NOTE.replace("\n\n", "\n\n\n"),
        NOTE.replace("20000", "20000\r"),
        NOTE + "\x00\n",
        NOTE + "\N{EM DASH} \ud800 AAAA\n",
        NOTE
        + "\N{EM DASH} w.test AAAAAAAA\n" * (MAX_NOTE_CHARACTERS // 18),  # each a line by itself
    ],
)
def test_what_is_no_note(note: str) -> None:
    with pytest.raises(Malformed) as caught:
        opened(note)
    assert caught.value.code == "MALFORMED"
    with pytest.raises(Malformed):
        add_cosignature(note, name=W1.name, key=WITNESS, at=AT)


def test_a_note_may_have_many_lines_of_others() -> None:
    note = NOTE
    for number in range(20):
        key = SigningKey.from_seed(bytes([number]) * 32)
        note = add_cosignature(note, name=f"w{number}.test", key=key, at=AT)
    assert opened_by(note, WitnessKey("w19.test", PublicKey(key.public.raw)), quorum=1) == HEAD
