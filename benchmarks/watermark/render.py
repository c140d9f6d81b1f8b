"""The report as Markdown: our mark beside the others, every target beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.watermark.attacks import ATTACKS, WORDS
from benchmarks.watermark.ours import NAME
from benchmarks.watermark.targets import (
    MAX_FALSE_PRESENCE,
    MEAN_PSNR_DB,
    MIN_HOSTS,
    MIN_PSNR_DB,
    MIN_SSIM,
    PLAIN_MS,
    SEARCH_MS,
    TARGETS,
    judge_least,
    judge_most,
    judge_row,
)

Report = dict[str, Any]
ABSENT = "-"


def render(report: Report) -> str:
    """Return the whole page; parts that were not measured are named as such."""
    parts = [*_head(report), *_survival(report), *_peers(report), *_fidelity(report)]
    parts += [*_classes(report), *_times(report), *_claims(report), *_video(report)]
    return "\n".join([*parts, ""])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def percent(share: float) -> str:
    """Return "100 %" for all and for nothing else."""
    return f"{100 * share:.0f} %" if share in {0, 1} else f"{100 * share:.1f} %"


def _head(report: Report) -> Iterator[str]:
    machine = report["machine"]
    rest = ", ".join(f"{k} {v}" for k, v in machine.items() if k not in {"processor", "cores"})
    classes = ", ".join(f"{n} {kind}" for kind, n in report["classes"].items())
    yield "# The watermark, measured"
    yield ""
    yield (
        "Written by `python -m benchmarks.watermark --docs`; nothing here is typed by hand. "
        f"Date: {report['date']}. Machine: {machine['processor']}, {machine['cores']} cores, one "
        f"used by each measurement. Versions: {rest}."
    )
    yield ""
    yield f"Pictures: {report['pictures']} ({classes})."
    yield (
        "Recovered means that the whole payload came back bit for bit; a wrong id counts apart. "
        "Intervals are Wilson's, 95 %. Attacks are defined in `benchmarks/watermark/attacks.py`."
    )
    yield ""
    for name, reason in report["left_out"].items():
        yield f"Not measured: {name} ({reason})."
        yield ""
    yield "![Exact recovery by attack and method](watermark.svg)"
    yield ""


def _survival(report: Report) -> Iterator[str]:
    ours = report["methods"].get(NAME)
    yield "## Our mark against its targets"
    yield ""
    if ours is None:
        yield "Not measured."
        yield ""
        return
    rows = []
    for attack in ATTACKS:
        row = ours["attacks"].get(attack)
        if row is None:
            rows.append([attack, WORDS[attack], _target(attack), *([ABSENT] * 6)])
            continue
        low, high = row["interval"]
        rows.append(
            [
                *(attack, WORDS[attack], _target(attack), percent(row["exact"])),
                *(f"{100 * low:.1f} to {100 * high:.1f}", str(row["n"])),
                *(percent(row["exact_of_all"]), str(row["wrong"]), _loud(judge_row(attack, row))),
            ]
        )
    head = ("attack", "", "target", "recovered", "95 %", "n", "of all pictures", "wrong ids", "")
    yield from table(head, rows)
    yield (
        f"{ours['refused']} of {ours['pictures']} pictures were refused before any pixel left "
        f"({'; '.join(ours['refusals']) or 'none'}); in the column of all pictures they count as "
        "not recovered."
    )
    yield ""


def _peers(report: Report) -> Iterator[str]:
    methods = report["methods"]
    if len(methods) < 2:
        return
    yield "## Beside other tools"
    yield ""
    yield (
        "Same pictures, same attacks. Recovered exactly, its 95 % interval in whole percent, then "
        "the share of right bits (ours: of ids that were read; the others return bits for every "
        "picture, so they are wrong whenever they are not right). The last rows give n; "
        f"{ABSENT}: not run for slow tools."
    )
    yield ""
    rows = []
    for attack in ATTACKS:
        cells = [methods[name]["attacks"].get(attack) for name in methods]
        if any(cells):
            rows.append([attack, *(_cell(cell) for cell in cells)])
    rows.append(["payload, bits", *(str(method["bits"]) for method in methods.values())])
    counts = [(method["pictures"], method["refused"]) for method in methods.values()]
    rows.append(["pictures marked: n", *(str(n - refused) for n, refused in counts)])
    rows.append(["pictures refused", *(str(refused) for _, refused in counts)])
    yield from table(["attack", *methods], rows)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ABSENT
    accuracy = ABSENT if row["accuracy"] is None else f"{row['accuracy']:.2f}"
    low, high = (100 * bound for bound in row["interval"])
    return f"{percent(row['exact'])} ({low:.0f}-{high:.0f}) / {accuracy}"


def _fidelity(report: Report) -> Iterator[str]:
    yield "## What it costs the picture"
    yield ""
    rows = []
    for name, method in report["methods"].items():
        psnr, ssim, unmarked = method["psnr"], method["ssim"], method["unmarked"]
        if psnr is None:
            rows.append([name, method["version"], *([ABSENT] * 4), str(method["refused"]), ABSENT])
            continue
        rows.append(
            [
                *(name, method["version"], f"{psnr['mean']:.2f}", f"{psnr['min']:.2f}"),
                *(f"{ssim['mean']:.4f}", f"{ssim['min']:.4f}", str(method["refused"])),
                f"{unmarked['claims']} of {unmarked['n']}",
            ]
        )
    psnr_head = ("method", "version", "PSNR mean, dB", "lowest", "SSIM mean", "lowest")
    yield from table((*psnr_head, "refused", "payload claimed on unmarked"), rows)
    ours = report["methods"].get(NAME)
    if ours is not None and ours["psnr"] is not None:
        judged = {
            f"mean PSNR at least {MEAN_PSNR_DB:g} dB": (ours["psnr"]["mean"], MEAN_PSNR_DB),
            f"every picture at least {MIN_PSNR_DB:g} dB": (ours["psnr"]["min"], MIN_PSNR_DB),
            f"mean SSIM at least {MIN_SSIM:g}": (ours["ssim"]["mean"], MIN_SSIM),
            f"every picture's SSIM at least {MIN_SSIM:g}": (ours["ssim"]["min"], MIN_SSIM),
        }
        yield "; ".join(f"{k}: {_loud(judge_least(*v))}" for k, v in judged.items()) + "."
        yield ""


def _classes(report: Report) -> Iterator[str]:
    ours = report["methods"].get(NAME)
    if ours is None:
        return
    classes = ours["classes"]
    yield "## Our mark by kind of picture"
    yield ""
    rows = []
    for attack in ours["attacks"]:
        found = [method["attacks"].get(attack) for method in classes.values()]
        rows.append([attack, *(percent(row["exact"]) if row else ABSENT for row in found)])
    rows.append(["pictures", *(str(method["pictures"]) for method in classes.values())])
    rows.append(["refused", *(str(method["refused"]) for method in classes.values())])
    for key, worst in (("psnr", "PSNR lowest, dB"), ("ssim", "SSIM lowest")):
        kept = [method[key] for method in classes.values()]
        rows.append([worst, *(f"{row['min']:.3f}" if row else ABSENT for row in kept)])
    yield from table(["attack", *classes], rows)


def _times(report: Report) -> Iterator[str]:
    yield "## Time"
    yield ""
    if not any(report["timing"].values()):
        yield "Not measured."
        yield ""
        return
    yield "Milliseconds on one core: median, and in brackets the interquartile range."
    yield ""
    sizes = list(dict.fromkeys(s for t in report["timing"].values() for step in t for s in t[step]))
    rows = [
        [name, step, *(_time(times.get(size)) for size in sizes)]
        for name, steps in report["timing"].items()
        for step, times in steps.items()
    ]
    yield from table(["method", "step", *sizes], rows)
    ours = report["timing"].get(NAME, {})
    judged = [
        f"{step} at 1080p in {most:g} ms: {_loud(judge_most(_median(ours, step), most))}"
        for step, most in (
            *(("embed", PLAIN_MS), ("decode", PLAIN_MS)),
            *(("decode, turned by 5 degrees", SEARCH_MS), ("decode, no mark", SEARCH_MS)),
        )
    ]
    yield "; ".join(judged) + "."
    yield ""
    rows_of = report["methods"].get(NAME, {}).get("attacks", {})
    if rows_of:
        worst = max(rows_of, key=lambda attack: rows_of[attack]["decode_ms"]["max"])
        yield (
            "Over all attacked copies of the survival table (mixed sizes, machine in use), the "
            f"slowest single decode took {rows_of[worst]['decode_ms']['max']:.0f} ms ({worst}); "
            "medians by attack are in the JSON."
        )
        yield ""


def _median(steps: dict[str, Any], step: str) -> float | None:
    measured = steps.get(step, {}).get("1080p")
    return measured["median"] if isinstance(measured, dict) else None


def _time(measured: dict[str, float] | str | None) -> str:
    if measured is None or isinstance(measured, str):
        return measured or ABSENT
    return f"{measured['median']:.0f} ({measured['iqr']:.0f})"


def _claims(report: Report) -> Iterator[str]:
    claims = report["claims"]
    yield "## False positives"
    yield ""
    if claims is None:
        yield "Not measured."
        yield ""
        return
    kinds = {**claims["kinds"], **claims["wrong_keys"]}
    rows = [
        [kind, str(row["n"]), str(row["claims"]), ABSENT if row["max"] is None else str(row["max"])]
        for kind, row in kinds.items()
    ]
    yield (
        "Each got the whole search, for an id (`detect`) and for the largest presence statistic z; "
        "an id may also be claimed by its keyed bits alone, so claims are counted, not inferred."
    )
    yield ""
    yield from table(("pictures without a mark of the key", "n", "claims", "largest z"), rows)
    enough = f"at least {MIN_HOSTS} hosts: {_loud(judge_least(claims['n'], MIN_HOSTS))}"
    none = f"no claim: {_loud(judge_most(sum(row['claims'] for row in kinds.values()), 0))}"
    yield (
        f"{claims['claims']} claims on {claims['n']} pictures; largest z {claims['max']}, "
        f"threshold {claims['threshold']:.2f} for a bound of {MAX_FALSE_PRESENCE:g} over "
        f"{claims['searched']:,} searched positions. No claim in {claims['n']} pictures by itself "
        f"bounds the rate only at {3 / max(1, claims['n']):.1e}. {enough}; {none}."
    )
    yield ""


def _video(report: Report) -> Iterator[str]:
    yield "## Video"
    yield ""
    if report["video"] is None:
        yield "Not measured."
        yield ""
        return
    for name, clip in report["video"].items():
        if "refused" in clip:
            yield f"{name}: refused ({clip['refused']})."
            yield ""
            continue
        yield (
            f"{name}, {clip['frames']} frames: PSNR {clip['psnr']:.2f} dB, residual changes from "
            f"frame to frame by {100 * clip['flicker']:.1f} % of itself."
        )
        yield ""
        rows = [
            [copy, f"{row['frames_read']} of {row['n']}", str(row["wrong"]), _loud(row["clip"])]
            for copy, row in clip["copies"].items()
        ]
        yield from table(("copy", "single frames read", "wrong ids", "whole clip"), rows)


def _target(attack: str) -> str:
    return f"{100 * TARGETS[attack]:.0f} %" if attack in TARGETS else ABSENT


def _loud(verdict: str) -> str:
    quiet = {"met", "read", "no target"}
    return verdict if verdict in quiet else f"**{verdict}**"
