"""What a key draws stays what it is: marks of the past must be read by every later version."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.errors import MarkKeyRefused
from provenance.watermark.coding import encode_bits
from provenance.watermark.pattern import (
    CARRIERS,
    CODED_BITS,
    RINGS,
    TILE_PX,
    Pattern,
    _Draws,
)
from provenance.watermark.payload import VERSION, pack_bits

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
ID = "0123456789ab"
IDS = st.binary(min_size=6, max_size=6).map(bytes.hex)


@pytest.fixture(scope="module")
def pattern() -> Pattern:
    return Pattern(key=KEY)


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:32]


def steps(phases: np.ndarray) -> np.ndarray:
    """Phases in 64ths of a turn: no rounding of the last place shows in them."""
    return (np.rint(np.angle(phases) * 32 / np.pi) % 64).astype(np.uint8)


# Written down once, from the first release of version 2. A failure means that no mark released so
# far can be read: find the change in NumPy or cryptography, do not write new numbers here.
GOLDEN = {
    "rows": "da60d919f1960421a199ab3d6fd89e7f",
    "columns": "e9c4a3d87317c571c7ec2db59a96b4cf",
    "rings": "bccf1a23274151d58db74a2808d6c7c0",
    "groups": "891d3ed7cf93634806a5a1e173364fc0",
    "sync": "84a6c70ad8e43c5c6193f275de2556b3",
    "claim": "8c402f7dfcb7f47259489e21b71316f1",
    "carrier": "2843e5fdafa8d1ce4f46d42bd117f7f8",
    "spell": "9a29381e1d6712aa5d0a792fd7440bbc",
    "tile": "710846f46236d476993cd7b3e4c13376",
}


def seen(pattern: Pattern) -> dict[str, str]:
    return {
        "rows": digest(pattern.rows.astype("<i2")),
        "columns": digest(pattern.columns.astype("<i2")),
        "rings": digest(pattern.rings.astype("<i2")),
        "groups": digest(pattern.groups.astype("<i2")),
        "sync": digest(steps(pattern.sync)),
        "claim": digest(steps(pattern.claim)),
        "carrier": digest(steps(pattern.carrier(7))),
        "spell": digest(steps(pattern.spell(ID, VERSION))),
        "tile": digest(np.rint(pattern.tile(ID, VERSION) * 16).astype(np.int8)),
    }


def test_a_key_draws_what_it_drew_at_the_first_release(pattern: Pattern) -> None:
    assert seen(pattern) == GOLDEN
    assert pattern.carrier_of(ID) == 40


def test_another_key_draws_nothing_of_it() -> None:
    found = seen(Pattern(key=OTHER))
    assert all(found[part] != GOLDEN[part] for part in GOLDEN)


@pytest.mark.parametrize(
    "key",
    [b"", bytes(16), bytes(31), bytes(33), bytes(64), bytearray(32), "k" * 32, None, 7],
    ids=repr,
)
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(MarkKeyRefused, match="32 bytes"):
        Pattern(key=key)


def test_every_frequency_of_the_band_has_one_role(pattern: Pattern) -> None:
    y, x = pattern.waves.astype(int)
    assert ((y * y + x * x >= 7) & (y * y + x * x <= 680)).all()
    pairs = {(int(a), int(b)) for a, b in zip(y, x, strict=True)}
    assert len(pairs) == len(y)
    assert not pairs & {(-a, -b) for a, b in pairs}
    whole = {(a, b) for a in range(-27, 28) for b in range(-27, 28) if 7 <= a * a + b * b <= 680}
    assert pairs | {(-a, -b) for a, b in pairs} == whole
    assert np.array_equal(pattern.rows, y % TILE_PX)
    assert np.array_equal(pattern.columns, x % TILE_PX)


def test_roles_have_their_share_of_every_ring(pattern: Pattern) -> None:
    sync, pilots = pattern.sync_count, pattern.pilot_count
    assert pilots == sync + pattern.claim_count
    assert len(pattern.groups) == len(pattern.rows) - pilots
    for part, share in ((slice(0, sync), 0.16), (slice(sync, pilots), 0.12)):
        counts = np.bincount(pattern.rings[part], minlength=RINGS)
        whole = np.bincount(pattern.rings, minlength=RINGS)
        assert np.abs(counts / whole - share).max() < 0.04
    radius = np.hypot(*pattern.waves)
    edges = [radius[pattern.rings == ring] for ring in range(RINGS)]
    assert all(a.max() <= b.min() for a, b in pairwise(edges))


def test_every_coded_bit_has_nearly_as_many_frequencies(pattern: Pattern) -> None:
    counts = np.bincount(pattern.groups, minlength=CODED_BITS)
    assert len(counts) == CODED_BITS == 216
    assert counts.max() - counts.min() <= 1
    for run in range(len(pattern.groups) // CODED_BITS):
        part = pattern.groups[run * CODED_BITS : (run + 1) * CODED_BITS]
        assert len(set(part.tolist())) == CODED_BITS


@settings(derandomize=True, max_examples=30, deadline=None)
@given(IDS)
def test_the_carrier_follows_from_the_id(mark_id: str) -> None:
    one, again, other = Pattern(key=KEY), Pattern(key=KEY), Pattern(key=OTHER)
    number = one.carrier_of(mark_id)
    assert 0 <= number < CARRIERS
    assert number == again.carrier_of(mark_id)
    said = one.spell(mark_id, VERSION)[one.sync_count :]
    signs = said * one.carrier(number).conj()
    assert np.allclose(np.abs(signs.real), 1, atol=1e-5)
    assert np.allclose(signs.real[: one.claim_count], 1, atol=1e-5)
    assert not np.allclose(other.spell(mark_id, VERSION), one.spell(mark_id, VERSION))


def test_carriers_are_spread_over_the_ids_and_differ_between_keys(pattern: Pattern) -> None:
    ids = [f"{i:012x}" for i in range(4096)]
    counts = np.bincount([pattern.carrier_of(i) for i in ids], minlength=CARRIERS)
    # Poisson of mean 16 in 256 cells: beyond 3 and 38 with chance 1e-4.
    assert 3 <= counts.min() <= counts.max() <= 38
    other = Pattern(key=OTHER)
    same = sum(pattern.carrier_of(i) == other.carrier_of(i) for i in ids)
    assert same < 40


def test_carriers_share_nothing(pattern: Pattern) -> None:
    many = np.stack([pattern.carrier(number) for number in range(40)])
    along = np.abs(many @ many.conj().T) / many.shape[1]
    np.fill_diagonal(along, 0)
    assert along.max() < 0.12


@settings(derandomize=True, max_examples=20, deadline=None)
@given(IDS)
def test_a_word_is_understood_on_its_own_carrier_only(mark_id: str) -> None:
    pattern = Pattern(key=KEY)
    own = pattern.carrier_of(mark_id)
    # The keys of checksum and carrier are derived apart: bits that check on a wrong carrier fail.
    word = pack_bits(mark_id, VERSION, key=pattern._mac_key)
    bits = word ^ pattern._pad
    assert pattern.understand(bits, own) == (mark_id, VERSION)
    assert pattern.understand(word, own) is None
    for number in {0, 1, 128, 255, (own + 1) % CARRIERS} - {own}:
        assert pattern.understand(bits, number) is None
    assert pattern.understand(1 - bits, own) is None
    assert Pattern(key=OTHER).understand(bits, own) is None


def test_signs_turn_claim_never_and_data_by_their_bit(pattern: Pattern) -> None:
    coded = encode_bits(pack_bits(ID, VERSION, key=KEY))
    signs = pattern.signs(coded)
    assert (signs[: pattern.claim_count] == 1).all()
    assert np.array_equal(signs[pattern.claim_count :] < 0, coded[pattern.groups] == 1)


def test_the_tile_holds_what_is_spelt_and_nothing_else(pattern: Pattern) -> None:
    tile = pattern.tile(ID, VERSION)
    assert (tile.shape, tile.dtype) == ((TILE_PX, TILE_PX), np.float32)
    assert float(tile.std()) == pytest.approx(1, abs=1e-4)
    spectrum = np.fft.fft2(tile)
    mine = spectrum[pattern.rows, pattern.columns]
    assert np.allclose(mine / np.abs(mine), pattern.spell(ID, VERSION), atol=1e-3)
    inside = float((np.abs(mine) ** 2).sum()) * 2
    assert inside == pytest.approx(float((np.abs(spectrum) ** 2).sum()), rel=1e-5)
    # Low frequencies are louder, as codecs spare them.
    loud = np.abs(mine[pattern.rings == 0]).mean(), np.abs(mine[pattern.rings == RINGS - 1]).mean()
    assert loud[0] > 2 * loud[1]


def test_two_ids_of_a_key_share_the_sync_and_two_keys_share_nothing(pattern: Pattern) -> None:
    one, two = pattern.tile(ID, VERSION), pattern.tile("ba9876543210", VERSION)
    foreign = [Pattern(key=bytes([i]) * 32).tile(ID, VERSION) for i in range(8)]
    share = float(np.mean(one * two))
    assert 0.1 < share < 0.4
    assert np.abs([np.mean(one * tile) for tile in foreign]).max() < 0.12


def test_a_stream_goes_on_where_it_stopped_and_differs_by_number() -> None:
    whole, parts = _Draws(KEY, 3).words(20), _Draws(KEY, 3)
    assert np.array_equal(np.concatenate([parts.words(7), parts.words(13)]), whole)
    assert not np.array_equal(_Draws(KEY, 4).words(20), whole)
    assert sorted(_Draws(KEY, 3).permutation(50).tolist()) == list(range(50))
    assert np.allclose(np.abs(_Draws(KEY, 3).phases(100)), 1, atol=1e-6)
