"""Is everything here that is needed? Each check says what is missing and how to mend it.

Light on purpose: heavy libraries are tried one at a time, so that one that does not load (OpenCV
without libGL) is reported instead of ending the command.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.settings import Settings
from policies.errors import Error

if TYPE_CHECKING:
    from pipelines.deployment import Records

MIN_FREE_BYTES = 1_000_000_000
"""A batch of 64 pictures with their manifests takes some 100 MB; below 1 GB a day may not fit."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked thing: how it stands, in words, and how to mend it."""

    state: Literal["holds", "warns", "fails"]
    words: str
    mend: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Run every check; never raises."""
    checks = (_libraries, _models, _choices, _accelerator, _disk, _home, _certificates)
    return [finding for check in checks for finding in _guard(check, settings)]


def _guard(check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(settings))
    except Error as error:
        found.append(Finding("fails", f"{error.code}: {error.message}", error.mend))
    except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, not a crash
        name = check.__name__.strip("_")
        words = f"the check of {name} failed: {type(error).__name__}: {error}"
        found.append(Finding("fails", words))
    return found


def _libraries(_settings: Settings) -> Iterator[Finding]:
    mends = {
        "cv2": "apt-get install libgl1 libglib2.0-0 libxcb1 (Debian names)",
        "timm": "reinstall with constraints.txt; see 'torch' there",
    }
    from detector import torchvision_schemas

    torchvision_schemas.declare()
    for name in ("cv2", "numpy", "PIL", "onnxruntime", "insightface", "c2pa", "torch", "timm"):
        try:
            module = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever stops a library from loading
            mend = mends.get(name, "run 'make setup' again")
            yield Finding("fails", f"{name} does not load: {error}", mend)
        else:
            yield Finding("holds", f"{name} {getattr(module, '__version__', '')}".rstrip())


def _models(_settings: Settings) -> Iterator[Finding]:
    from generator.weights import read_weight, weight_names

    for name in weight_names():
        card, _ = read_weight(name)
        yield Finding("holds", f"model {name}: digest {card.sha256[:12]} as on its card")


def _choices(settings: Settings) -> Iterator[Finding]:
    from generator.swapper import open_swapper
    from pipelines.deployment import open_chosen_analyser

    yield Finding("holds", f"swapper {open_swapper(settings.swapper).name}")
    if settings.insightface_pack is not None:
        models = ", ".join(sorted(open_chosen_analyser(settings).models))
        yield Finding("holds", f"face models of the operator's own pack: {models}")


def _accelerator(_settings: Settings) -> Iterator[Finding]:
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    yield Finding("holds", f"face models and swapper run on the CPU; torch sees {gpu}")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    state: Literal["holds", "warns"] = "holds" if free >= MIN_FREE_BYTES else "warns"
    yield Finding(
        state,
        f"{free / 1e9:.1f} GB free where {settings.home} is",
        "free some space" if state == "warns" else "",
    )


def _home(settings: Settings) -> Iterator[Finding]:
    if not (settings.home / "keys").is_dir():
        yield Finding("warns", f"{settings.home} is not set up yet", "run 'facewarrant init'")
        return

    from pipelines.deployment import is_exposed, open_deployment, require_finished

    if is_exposed(settings.home):
        words = f"{settings.home} can be opened by others"
        yield Finding("fails", words, f"chmod 700 {settings.home}")
    require_finished(settings)
    with open_deployment(settings) as at:
        yield Finding("holds", f"home {settings.home}: keys private, certificate chain fit")
        head = at.archive.log.check()
        yield Finding("holds", f"log {head.origin}: {head.size} entries lead to its root")
        yield _mark_keys(settings)
        yield from _consents(at)
        yield from _policy(at)


def _mark_keys(settings: Settings) -> Finding:
    from pipelines.mark_keys import name_mark_key, read_mark_keys
    from provenance.watermark.spread import MOST_KEYS

    keys = read_mark_keys(settings)
    words = f"watermark key {name_mark_key(keys[0])} writes, {len(keys)} of {MOST_KEYS} are read"
    if len(keys) < MOST_KEYS:
        return Finding("holds", words)
    oldest = name_mark_key(keys[-1])
    return Finding(
        "warns",
        f"{words}: the next rotation is refused",
        f"when its marks may become unreadable: facewarrant keys destroy-watermark {oldest}",
    )


def _certificates(settings: Settings) -> Iterator[Finding]:
    if not (settings.home / "keys").is_dir():
        return
    from datetime import UTC, datetime

    from provenance.chains import EXPIRY_WARNING_DAYS, load_chain, remaining_days

    names = {"chain.pem": "signing certificate"}
    if settings.tsa_url:
        yield Finding("holds", f"time stamps by {settings.tsa_url}")
    else:
        names["tsa.pem"] = "certificate of the local time-stamping authority"
        yield Finding(
            "warns",
            "time stamps are this machine's own word, for development only",
            "set FACEWARRANT_TSA_URL to an RFC 3161 authority",
        )
    for file, name in names.items():
        days = remaining_days(load_chain(settings.home / "pki" / file), now=datetime.now(UTC))
        if days < EXPIRY_WARNING_DAYS:
            mend = "renew it: facewarrant certificates renew"
            yield Finding("warns", f"the {name} ends in {days} days", mend)
        else:
            yield Finding("holds", f"the {name} is good for {days} days")


def _policy(at: Records) -> Iterator[Finding]:
    from datetime import UTC, datetime

    from pipelines.notice import NOTICE_SHA256
    from policies.house_files import POLICY_FOLDER, load_house

    load_house(at.settings.home / POLICY_FOLDER, notices=[NOTICE_SHA256])  # says what is wrong
    house = at.desk.house
    added = len(house.purposes) + len(house.gate.house)
    yield Finding("holds", f"policy {house.sha256[:12]}: {added} purposes and forbids of the house")
    entries = len(at.optouts.entries())
    yield Finding("holds", f"{entries} people asked never to be swapped; the list can be read")
    if stale := house.law.stale(on=datetime.now(UTC).date()):
        words = f"{len(stale)} rules of law were looked at more than 180 days ago"
        yield Finding("warns", words, "look at their sources again: facewarrant law check")
    if not at.settings.dpia_ref:
        yield Finding(
            "warns",
            "no data protection impact assessment is named (GDPR Art. 35)",
            "set FACEWARRANT_DPIA_REF once there is one",
        )


def _consents(at: Records) -> Iterator[Finding]:
    from pipelines.people import BrokenConsent, list_consents

    consents = list_consents(at)
    broken = [consent for consent in consents if isinstance(consent, BrokenConsent)]
    for consent in broken:
        yield Finding(
            "fails",
            f"consent {consent.record_id} is broken: {consent.reason}",
            "nothing is done under it; restore the database from its backup",
        )
    yield Finding("holds", f"{len(consents) - len(broken)} of {len(consents)} consents verified")
