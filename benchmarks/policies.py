"""What deciding, warranting, logging, searching and erasing cost, against a baseline in one run.

    python -m benchmarks.policies                # table: 100,000 templates, 10,000 people
    python -m benchmarks.policies --json --full  # JSON: 1,000,000 templates, 100,000 people

Method: one thread, a quiet machine, median of repeated calls after a warm-up; wall time unless it
says CPU. Decisions are for two people; their baseline is the plain-Python statement of the same
policy. The search over the do-not-swap list plants one hit among vectors drawn around 64 centres;
its baseline is faiss's exact flat index, also one thread. Databases are SQLite files with full
fsync. Ratios below 1 mean faster than the baseline.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from generator.donotswap import Registry
from generator.faces import IdThresholds
from policies import merkle
from policies.audit import AuditLog
from policies.canonical import canonical
from policies.cedar import ENGINE
from policies.database import Database
from policies.decide import decide
from policies.erasure import Eraser
from policies.facts import read_facts
from policies.gather import gather_facts
from policies.keyfile import FileKeys
from policies.keys import SigningKey
from policies.rules import RULES
from policies.subjectkeys import SubjectKeys
from policies.warrant import verify_warrant

ROOT = Path(__file__).parent.parent
THRESHOLDS = IdThresholds(match=0.5, mismatch=0.8)


def time_us(call: Callable[[], object], repeats: int = 200) -> float:
    """Median microseconds of a call, after a tenth as many warm-up calls."""
    for _ in range(repeats // 10):
        call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - start) / 1000)
    return statistics.median(taken)


def open_office(database: Database) -> Any:
    """The office that the tests use, over a database."""
    spec = importlib.util.spec_from_file_location("office", ROOT / "tests" / "conftest.py")
    if spec is None or spec.loader is None:
        raise SystemExit("tests/conftest.py is missing")
    module = sys.modules["office"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Office(database=database)


def measure_decisions() -> dict[str, float]:
    """Deciding from facts: both statements of the policy, and each alone."""
    office = open_office(Database("sqlite://"))
    request = office.swap_request()
    with office.database.transaction() as connection:
        raw = gather_facts(
            request,
            office.measured(request),
            book=office.book,
            house=office.house,
            now=office.clock(),
            within=connection,
        )
    facts = read_facts(raw)
    whole = time_us(
        lambda: decide(
            raw, request_sha256=request.sha256, decision_id=office.desk.new_id(),
            now=office.clock(), house=office.house,
        )
    )  # fmt: skip
    gate = time_us(lambda: office.house.gate.judge(facts))
    oracle = time_us(lambda: [rule.findings(facts) for rule in RULES])
    return {
        "decision_us": whole,
        "decisions_per_second": 1e6 / whole,
        "gate_alone_us": gate,
        "oracle_alone_us": oracle,
        "gate_to_oracle_ratio": gate / oracle,
    }


def measure_warrants(folder: Path) -> dict[str, float]:
    """From request to warrant on a file: facts, decision, log, reservation, signature, commit."""
    office = open_office(Database(f"sqlite:///{folder / 'desk.db'}"))
    people = [
        (office.enrol(max_uses=10_000), "source_identity"),
        (office.enrol(max_uses=10_000), "target_body"),
    ]
    request = office.request(people)
    measured = office.measured(request)
    issue = time_us(lambda: office.desk.admit(request, measured), repeats=60)
    warrant = office.desk.admit(request, measured)
    verify = time_us(
        lambda: verify_warrant(
            warrant,
            key=office.desk_key.public,
            policy_sha256=office.house.sha256,
            now=office.clock(),
        )
    )
    check = time_us(lambda: office.desk.check(warrant, state="issued"))
    return {"issue_us": issue, "verify_us": verify, "check_us": check}


def measure_log(folder: Path, entries: int) -> dict[str, float]:
    """Appending one by one and in batches of 500, each batch one fsync; proofs at the end."""
    database = Database(f"sqlite:///{folder / 'log.db'}")
    key = SigningKey.from_seed(b"l" * 32)
    log = AuditLog(database, origin="bench/log", key=key, clock=lambda: 1_795_219_200)
    content = {"warrant": "0" * 64, "decision": 1}
    single = time_us(lambda: log.append("warrant", content), repeats=200)
    batch: list[Any] = [("warrant", content)] * 500
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for _ in range(entries // 500):
        log.append_many(batch)
    wall, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    count = entries // 500 * 500
    proof = log.prove(count // 3)
    head = log.check()
    leaf = merkle.leaf_hash(entry_bytes(proof.entry))
    begun = time.perf_counter()
    log.check()
    return {
        "entries": count,
        "append_one_fsync_us": single,
        "append_batched_wall_us": wall / count * 1e6,
        "append_batched_cpu_us": cpu / count * 1e6,
        "prove_inclusion_us": time_us(lambda: log.prove(count // 3)),
        "prove_consistency_us": time_us(lambda: log.prove_consistency(count // 3)),
        "verify_inclusion_us": time_us(
            lambda: merkle.verify_inclusion(
                leaf, index=proof.index, size=head.size, path=proof.path, root=head.root
            )
        ),
        "recompute_all_seconds": time.perf_counter() - begun,
    }


def entry_bytes(entry: Any) -> bytes:
    """The canonical bytes of a log entry."""
    return canonical(entry)


def measure_search(count: int, width: int = 128) -> dict[str, float]:
    """Exact 1:N search with a planted hit, and faiss's flat index over the same vectors."""
    rng = np.random.default_rng(3)
    centres = rng.normal(0, 0.07, (64, width))
    vectors = np.empty((count, width), np.float32)
    for start in range(0, count, 100_000):
        rows = vectors[start : start + 100_000]
        rows[:] = centres[rng.integers(0, 64, len(rows))] + rng.normal(0, 0.09, rows.shape)
    ids = [f"e{number}" for number in range(count)]
    registry = Registry.open(vectors, ids, model_sha256="0" * 64)
    queries = [vectors[i] + rng.normal(0, 0.01, width).astype(np.float32) for i in range(9)]
    for i, query in enumerate(queries):
        found = registry.search(query, thresholds=THRESHOLDS, model_sha256="0" * 64)
        if found.near[0].entry_id != f"e{i}":
            raise SystemExit("the planted entry was not found")
    turn = iter(range(10**9))

    def search() -> object:
        query = queries[next(turn) % len(queries)]
        return registry.search(query, thresholds=THRESHOLDS, model_sha256="0" * 64)

    ours = time_us(search, repeats=27)
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(width)
    index.add(vectors)
    theirs = time_us(lambda: index.search(queries[next(turn) % len(queries)][None], 1), repeats=27)
    return {
        "templates": count,
        "search_ms": ours / 1000,
        "faiss_flat_ms": theirs / 1000,
        "ratio_to_faiss_flat": ours / theirs,
    }


def measure_erasure(folder: Path, people: int) -> dict[str, float]:
    """Erasing one person among many: withdraw, shred, search the files, sign and log a receipt."""
    private = folder / "keys"
    private.mkdir(mode=0o700)
    clock: Callable[[], int] = lambda: 1_795_219_200  # noqa: E731
    provider = FileKeys.create(private / "kek.json", clock=clock)
    keys = SubjectKeys(f"sqlite:///{private / 'people.db'}", provider, clock=clock)
    # Filling is not what is measured: without this every person costs two fsyncs.
    keys._connection.execute("pragma synchronous=off")
    for number in range(people):
        keys.seal(b"template", pid=pseudonym(number), bound={"kind": "bench"})
    keys._connection.execute("pragma synchronous=full")
    whole = []
    office = open_office(Database(f"sqlite:///{folder / 'erasure.db'}"))
    office.book = replace(office.book, keys=keys)
    eraser = Eraser(office.book, office.controller)
    for _ in range(5):
        record = office.book.read(office.enrol()).record
        begun = time.perf_counter()
        receipt = eraser.erase(record.subject.pid)
        whole.append(time.perf_counter() - begun)
        if receipt["checks"]["copies_found"]:
            raise SystemExit("a destroyed key is still in its file")
    keys.close()
    return {
        "people": people,
        "erase_ms": statistics.median(whole) * 1000,
        "file_mb": (private / "people.db").stat().st_size / 1e6,
    }


def pseudonym(number: int) -> str:
    """A pseudonym in its form, by number."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    digits = [letters[number >> 5 * place & 31] for place in range(26)]
    return "ps_" + "".join(digits)


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--full", action="store_true", help="1 M templates, 100,000 people")
    options = parser.parse_args()
    templates, people = (1_000_000, 100_000) if options.full else (100_000, 10_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict[str, Any] = {
            "decisions": measure_decisions(),
            "warrants": measure_warrants(folder),
            "log": measure_log(folder, 20_000),
            "search": measure_search(templates),
            "erasure": measure_erasure(folder, people),
        }
    result["machine"] = {"processor": platform.machine(), "cores": os.cpu_count()}
    result["versions"] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "faiss": faiss.__version__,
        "engine": ENGINE,
    }
    print(json.dumps(result, indent=1) if options.json else render_table(result))


def render_table(result: dict[str, Any]) -> str:
    """The same figures as a Markdown table."""
    lines = ["| part | figure | value |", "|---|---|---|"]
    for part, figures in result.items():
        for name, value in figures.items():
            shown = f"{value:,.3g}" if isinstance(value, float) else str(value)
            lines.append(f"| {part} | {name} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
