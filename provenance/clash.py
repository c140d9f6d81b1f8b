"""What it means when manifest, watermark and labels agree or disagree, as two closed tables.

Each layer alone can be in order while together they contradict each other: a manifest moved to
another picture's pixels verifies, and so does the mark under it. Decides only the meaning of a pair
of findings; what is found is for others. Silence of a layer is never taken for consent.

Source: the rows and columns of the C2PA manifest against a bound watermark (arXiv 2603.02378), with
rows for manifests of other makers, for broken ones, and a table of our own for labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from provenance.evidence import LabelMeaning, Meaning, State

ManifestSays = Literal["bound", "named", "silent", "other", "broken", "none"]
"""What the manifest says of a watermark of our kind: it was bound (action and id); only an id; ours
and no id; another maker's or another deployment's; a manifest that does not hold; no manifest."""

MarkSays = Literal["same", "another", "unplaced", "absent", "unreadable", "unchecked"]
"""What the pixels say: the id that the manifest names or, where it names none, that of a release we
know; another id, or one no release has; an id nobody here can place; nothing; a mark without a
readable id; or nobody looked."""

ContentSays = Literal["ai", "not ai", "none"]
"""What manifest or mark say of the picture: AI had a part; it had none; nothing to go by."""

LabelSays = Literal["ai", "not ai", "none", "disagreeing"]
"""What the labels say; "none" also where they say nothing of AI, "disagreeing" also where they
cannot be read."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a pair of findings of manifest and watermark means, and how much it weighs."""

    meaning: Meaning
    state: State
    words: str


@dataclass(frozen=True, slots=True)
class LabelCell:
    """What the labels mean beside manifest and watermark."""

    meaning: LabelMeaning
    state: State
    words: str


_UNCHECKED = Cell("unchecked", "unchecked", "no watermark key was given: nothing to compare")
_ODD = Cell(
    "consistent, odd",
    "holds",
    "manifest and mark name the same id, though the manifest does not say that it was put there",
)
_MOVED = Cell(
    "clash",
    "fails",
    "manifest and mark name different outputs: one of them was moved here from another picture",
)
_LOST = Cell(
    "mark lost",
    "warns",
    "the mark that the manifest names is not there: it was lost, or the manifest was moved here",
)
_HARMED = Cell(
    "mark unreadable", "warns", "a mark is there, but its id cannot be compared with the manifest"
)
_OVER_OURS = Cell(
    "other manifest over our mark",
    "warns",
    "the pixels carry our mark under a manifest that does not name it: a release was edited or "
    "signed anew",
)

MARKS: Final[Mapping[tuple[ManifestSays, MarkSays], Cell]] = MappingProxyType(
    {
        ("bound", "same"): Cell("consistent", "holds", "manifest and mark name the same output"),
        ("bound", "another"): _MOVED,
        ("bound", "absent"): _LOST,
        ("bound", "unreadable"): _HARMED,
        ("bound", "unchecked"): _UNCHECKED,
        ("named", "same"): _ODD,
        ("named", "another"): _MOVED,
        ("named", "absent"): _LOST,
        ("named", "unreadable"): _HARMED,
        ("named", "unchecked"): _UNCHECKED,
        ("silent", "same"): Cell(
            "clash", "fails", "our manifest names no mark, and the pixels are those of a release"
        ),
        ("silent", "another"): Cell(
            "clash", "fails", "our manifest names no mark, and the pixels carry one of no release"
        ),
        ("silent", "unplaced"): Cell(
            "clash", "fails", "our manifest names no mark, and the pixels carry one"
        ),
        ("silent", "absent"): Cell(
            "manifest only",
            "warns",
            "our manifest stands alone: it names no mark, and none is there",
        ),
        ("silent", "unreadable"): _HARMED,
        ("silent", "unchecked"): _UNCHECKED,
        ("other", "same"): _OVER_OURS,
        ("other", "another"): _OVER_OURS,
        ("other", "unplaced"): _OVER_OURS,
        ("other", "absent"): Cell(
            "manifest only", "absent", "another maker's manifest stands alone: no mark of this key"
        ),
        ("other", "unreadable"): Cell(
            "mark unreadable", "warns", "damaged traces of our mark under another maker's manifest"
        ),
        ("other", "unchecked"): _UNCHECKED,
        ("broken", "same"): Cell(
            "changed after release",
            "holds",
            "the pixels carry the mark of a release, but the manifest here does not hold: file or "
            "manifest was changed after release",
        ),
        ("broken", "another"): Cell(
            "clash",
            "fails",
            "a manifest that does not hold, over pixels with the mark of another output: it was "
            "moved here",
        ),
        ("broken", "unplaced"): Cell(
            "mark unplaced", "holds", "our mark is there under a manifest that does not hold"
        ),
        ("broken", "absent"): Cell(
            "manifest broken",
            "warns",
            "the manifest does not hold, and no mark of this key is there",
        ),
        ("broken", "unreadable"): Cell(
            "mark unreadable", "warns", "the manifest does not hold, and the mark cannot be read"
        ),
        ("broken", "unchecked"): _UNCHECKED,
        ("none", "same"): Cell(
            "recoverable",
            "holds",
            "the manifest was stripped; the mark leads to a release, whose picture must now agree",
        ),
        ("none", "another"): Cell(
            "unknown release", "fails", "the mark is of this key, but names no release"
        ),
        ("none", "unplaced"): Cell(
            "mark unplaced",
            "warns",
            "a mark without a manifest; only the deployment with the register can place it",
        ),
        ("none", "absent"): Cell(
            "nothing found", "absent", "neither manifest nor mark: that says nothing either way"
        ),
        ("none", "unreadable"): Cell(
            "mark unreadable", "warns", "no manifest, and a mark whose id cannot be read"
        ),
        ("none", "unchecked"): _UNCHECKED,
    }
)
"""Every pair that can occur; a manifest that names an id leaves no mark unplaced."""

LABELS: Final[Mapping[tuple[ContentSays, LabelSays], LabelCell]] = MappingProxyType(
    {
        ("ai", "ai"): LabelCell("labels agree", "holds", "labels and evidence both say AI-made"),
        ("ai", "not ai"): LabelCell(
            "labels deny AI", "fails", "a label says that no AI took part; the evidence says it did"
        ),
        ("ai", "none"): LabelCell(
            "labels missing", "warns", "the picture is AI-made and no label says so any more"
        ),
        ("ai", "disagreeing"): LabelCell(
            "labels disagree",
            "warns",
            "the labels contradict each other; the evidence says AI-made",
        ),
        ("not ai", "ai"): LabelCell(
            "labels claim AI", "warns", "a label says AI-made; the manifest names no AI step"
        ),
        ("not ai", "not ai"): LabelCell(
            "labels agree", "holds", "labels and manifest both name no AI step"
        ),
        ("not ai", "none"): LabelCell(
            "no labels", "absent", "no label, and the manifest names no AI step"
        ),
        ("not ai", "disagreeing"): LabelCell(
            "labels disagree", "warns", "the labels contradict each other; the manifest names no AI"
        ),
        ("none", "ai"): LabelCell(
            "label alone", "warns", "only a label says AI-made: anyone can write one"
        ),
        ("none", "not ai"): LabelCell(
            "label alone", "absent", "only a label speaks, and says no AI: anyone can write one"
        ),
        ("none", "none"): LabelCell(
            "no labels", "absent", "no label: that says nothing either way"
        ),
        ("none", "disagreeing"): LabelCell(
            "labels disagree", "warns", "labels alone, and they contradict each other"
        ),
    }
)


def compare_mark(manifest: ManifestSays, mark: MarkSays) -> Cell:
    """Return what manifest and watermark mean together; raises KeyError for an impossible pair."""
    return MARKS[manifest, mark]


def compare_labels(content: ContentSays, labels: LabelSays) -> LabelCell:
    """Return what the labels mean beside manifest and watermark."""
    return LABELS[content, labels]
