"""Takes a control away and shows that a test notices: `python tests/mutations.py [NAME ...]`.

Copies the packages and tests to a temporary folder, where it changes one line of one file and runs
the one test that must fail then (`mutations.toml`). "killed": the test passed before and failed
with the change. Anything else ends the script with 1: a test that still passes, one that fails
without the change, a run that never got to the test. The checkout is only read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "mutations.toml"
PACKAGES = ("policies", "provenance", "generator", "detector", "pipelines")
COPIED = (*PACKAGES, "tests", "docs", "pyproject.toml")

PASSED, FAILED = 0, 1  # what pytest ends with; anything above is no verdict about a test


def load_mutations() -> list[dict[str, str]]:
    """Return the table, in its order."""
    mutations: list[dict[str, str]] = tomllib.loads(TABLE.read_text("utf-8"))["mutation"]
    return mutations


def copy_repository(into: Path) -> None:
    """Copy what a test run needs; a mutation must never touch the checkout itself."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, into / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, into / name)


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, whose packages come before the installed ones."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    # Coverage of the run around this one would count the copy's lines.
    environment.pop("COV_CORE_SOURCE", None)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def require_copy(folder: Path) -> None:
    """Stop unless it is the copy that is imported, not what is installed."""
    look = f"from importlib.util import find_spec as f\nfor p in {PACKAGES}: print(f(p).origin)"
    found = run_python(folder, "-c", look)
    expected = [str(folder / name / "__init__.py") for name in PACKAGES]
    if found.stdout.split() != expected:
        sys.exit(f"another copy is imported:\n{found.stdout}{found.stderr}")


def run_tests(folder: Path, *nodes: str) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy."""
    plugins = ("-p", "no:randomly", "-p", "no:cacheprovider")
    return run_python(folder, "-m", "pytest", "-q", *plugins, *nodes)


def mutate(folder: Path, mutation: dict[str, str]) -> str:
    """Change one line of the copy; return the file's text before."""
    path = folder / mutation["file"]
    before = path.read_text("utf-8")
    if before.count(mutation["source"]) != 1:
        sys.exit(f"{mutation['name']}: its text stands not exactly once in {mutation['file']}")
    path.write_text(before.replace(mutation["source"], mutation["replacement"]), "utf-8")
    return before


def require_passing(folder: Path, mutations: Sequence[dict[str, str]]) -> None:
    """Stop unless every test passes as long as nothing is taken away."""
    ended = run_tests(folder, *sorted({mutation["test"] for mutation in mutations}))
    if ended.returncode != PASSED:
        sys.exit(f"tests fail without any mutation:\n{ended.stdout}{ended.stderr}")


def verdict(folder: Path, mutation: dict[str, str]) -> str:
    """Return what became of a mutation in the copy, which is left as it was."""
    before = mutate(folder, mutation)
    try:
        ended = run_tests(folder, mutation["test"])
    finally:
        (folder / mutation["file"]).write_text(before, "utf-8")
    if ended.returncode == FAILED and " error" not in ended.stdout.splitlines()[-1]:
        return "killed"
    return "SURVIVED" if ended.returncode == PASSED else "NO VERDICT"


def main(arguments: Sequence[str]) -> int:
    """Try the named mutations, or all; print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    named: Any = parser.parse_args(arguments).names
    table = {mutation["name"]: mutation for mutation in load_mutations()}
    if unknown := [name for name in named if name not in table]:
        parser.error(f"no mutation is called {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="fw-mutations-") as place:
        folder = Path(place).resolve()
        copy_repository(folder)
        require_copy(folder)
        chosen = [table[name] for name in named] or list(table.values())
        require_passing(folder, chosen)
        found = []
        for mutation in chosen:
            found.append(verdict(folder, mutation))
            test = mutation["test"].removeprefix("tests/")
            print(f"{found[-1]:12} {mutation['threat']:4} {mutation['name']:28} {test}", flush=True)
    killed = found.count("killed")
    print(f"{killed} of {len(found)} killed")
    return 0 if killed == len(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
