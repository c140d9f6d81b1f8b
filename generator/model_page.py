"""The page of all weight files, docs/models.md: made from their cards alone."""

from __future__ import annotations

from pathlib import Path

from generator.weights import MODELS_FOLDER, InputContract, WeightCard, load_card, weight_names


def describe_models(folder: Path = MODELS_FOLDER) -> str:
    """Return the Markdown page of all weight files, made from their cards alone."""
    cards = [load_card(name, folder) for name in weight_names(folder)]
    lines = [
        "# Face models",
        "",
        "Made from the cards in `generator/models` (`python -m generator.convert --page`);",
        "a test compares this page with them. Figures on renders are not figures on people.",
        "",
        "| name | task | file | MB | licence | sha256 |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.name} | {c.task} | `{c.file}` | {c.bytes / 1e6:.2f} | {c.licence.declared} "
        f"([text](../generator/models/{c.licence.text_file})) | `{c.sha256[:16]}` |"
        for c in cards
    ]
    for card in cards:
        lines += _describe_card(card)
    return "\n".join(lines) + "\n"


def _describe_card(card: WeightCard) -> list[str]:
    lines = [
        f"\n## {card.name}\n",
        f"* **Allowed use:** {card.allowed_use}.",
        f"* **Origin:** {card.origin.package} {card.origin.version}, `{card.origin.graph}`.",
        f"* **Upstream:** {card.licence.upstream}.",
        f"* **Training data:** {card.training.data}.",
        f"* **Consent of the people in it:** {card.training.consent_basis}.",
        *_describe_inputs(card),
    ]
    lines += [f"* **Output `{name}`:** {out.meaning}." for name, out in card.outputs.items()]
    if card.thresholds is not None:
        limits = card.thresholds
        lines.append(
            f"* **Thresholds:** match <= {limits.match:g}, mismatch > {limits.mismatch:g}. "
            f"{limits.basis}."
        )
    lines += [f"* **Known failure:** {text}." for text in card.known_failures]
    lines += ["", "| measured | value | n | protocol | date |", "|---|---|---|---|---|"]
    lines += [f"| {m.what} | {m.value} | {m.n} | {m.protocol} | {m.date} |" for m in card.measured]
    return lines


def _describe_inputs(card: WeightCard) -> list[str]:
    lines = []
    if (picture := card.input) is not None:
        lines.append(
            f"* **Input:** {picture.side_px} px, {picture.fit}; {_describe_scale(picture)}."
        )
    lines += [f"* **Input `{n}` {t.shape}:** {t.meaning}." for n, t in card.tensors.items()]
    if card.run is not None:
        run = card.run
        lines.append(
            f"* **Trained by us:** {run.steps} steps, seed {run.seed}, {run.pictures} pictures "
            f"(ledger `{run.ledger_sha256[:16]}`), for {run.purpose.replace('_', ' ')}, "
            f"code `{run.code}`."
        )
    if card.twin is not None:
        lines.append(f"* **For training on:** `{card.twin.file}`, `{card.twin.sha256[:16]}`.")
    return lines


def _describe_scale(contract: InputContract) -> str:
    scale = f"pixel * {contract.scale:.6f} + {contract.offset:g}"
    if any(contract.mean):
        numbers = ", ".join(f"{value:g}" for value in contract.mean)
        scale += f" - ({numbers})"
    return f"{scale}, {contract.layout.upper()}"
