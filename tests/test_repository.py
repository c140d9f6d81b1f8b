"""What holds for the repository as a whole: names, sizes, files, and what the README must say."""

from __future__ import annotations

import ast
import csv
import hashlib
import importlib
import pkgutil
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from pipelines import console
from pipelines.cli import app
from pipelines.settings import Settings
from policies.errors import Error

ROOT = Path(__file__).parent.parent
PACKAGES = ("policies", "provenance", "generator", "detector", "pipelines")
MODULES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))

PICTURES = {
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".jxl"),
    *(".mp4", ".mov", ".avi", ".mkv", ".webm"),
}
PICTURE_STARTS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*"),
    *(b"\xff\x0a", b"\x00\x00\x00\x0cJXL ", b"\x1aE\xdf\xa3", b"RIFF"),
)
PICTURE_FOLDERS = (
    "docs/demo/", "docs/benchmarks/", "tests/vectors/", "generator/personas/", "generator/styles/",
)  # fmt: skip
WEIGHTS = {".npy", ".npz", ".pkl", ".pt", ".pth", ".onnx", ".safetensors"}
ID_LENGTHS = {128, 512}
"""Of the identity vectors in use; one of a real person is biometric data."""

# Joined here, so that this file does not hold what it looks for.
PLACES = tuple(
    "".join(parts)
    for parts in (
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/tm", "p/w/"),
        ("pypi", ".org"),
        ("python", "hosted"),
        ("registry", ".npmjs"),
        ("deb", ".debian"),
    )
)


def own_files() -> list[Path]:
    """Every file that is, or is about to be, part of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: its files cannot be told from others")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()]


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_imported_is_this_repository(name: str) -> None:
    package = importlib.import_module(name)
    assert Path(package.__file__ or "").parent == ROOT / name


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_owns_our_import_names(name: str) -> None:
    # Top-level names are not reserved by anyone; a dependency that brought one would shadow ours.
    assert set(packages_distributions().get(name, ["facewarrant"])) == {"facewarrant"}


def is_picture(path: Path) -> bool:
    """Whether a file is a picture or a video, by its name or by its first bytes."""
    with path.open("rb") as file:
        start = file.read(16)
    return (
        path.suffix.lower() in PICTURES or start.startswith(PICTURE_STARTS) or start[4:8] == b"ftyp"
    )


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hold_id_vectors(path: Path) -> bool:
    """Whether an array file holds vectors as long as those of a person's identity."""
    with np.load(path, allow_pickle=False) as arrays:
        return any(arrays[name].shape[-1:] in {(n,) for n in ID_LENGTHS} for name in arrays)


def test_pictures_lie_only_where_they_are_documented() -> None:
    strays = [
        name
        for path in own_files()
        if is_picture(path)
        and not (name := str(path.relative_to(ROOT))).startswith(PICTURE_FOLDERS)
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("name", "content", "seen"),
    [
        ("a.JPG", b"", True),
        ("a.webm", b"anything", True),
        ("a.txt", b"\xff\xd8\xff\xe0", True),
        ("a", b"RIFF\x00\x00\x00\x00WEBPVP8 ", True),
        ("a.bin", b"\x00\x00\x00\x18ftypisom", True),
        ("a.txt", b"a text", False),
        ("a.txt", b"", False),
    ],
)
def test_a_picture_is_seen_by_its_name_or_its_content(
    tmp_path: Path, name: str, content: bytes, seen: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_picture(tmp_path / name) is seen


def test_weights_lie_only_beside_their_cards() -> None:
    strays = [
        name
        for path in own_files()
        if path.suffix.lower() in WEIGHTS
        and not (name := str(path.relative_to(ROOT))).startswith("generator/")
    ]
    assert strays == []


def test_no_file_holds_vectors_of_faces() -> None:
    arrays = [path for path in own_files() if path.suffix.lower() in {".npy", ".npz"}]
    assert [path for path in arrays if path.suffix == ".npy" or hold_id_vectors(path)] == []


def test_vectors_of_faces_are_seen(tmp_path: Path) -> None:
    for shape, seen in (((3, 128), True), ((512,), True), ((2, 1, 512), True), ((128, 3), False)):
        np.savez(tmp_path / "a.npz", plain=np.zeros(2), vectors=np.zeros(shape, np.float32))
        assert hold_id_vectors(tmp_path / "a.npz") is seen


@pytest.mark.shared
def test_no_file_is_a_photograph_of_the_research_set(shared_data: Path) -> None:
    lines = (shared_data / "london" / "index.csv").read_text(encoding="utf-8").splitlines()
    photographs = {row["sha256"] for row in csv.DictReader(lines)}
    assert len(photographs) == 144
    clips = {digest_of(path) for path in (shared_data / "clips").iterdir() if is_picture(path)}
    assert clips
    kept = photographs | clips
    assert [path for path in own_files() if digest_of(path) in kept] == []


def test_no_file_names_a_place_of_a_build_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in own_files()
        for place in PLACES
        if place.encode() in path.read_bytes()
    ]
    assert found == []


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_modules_fit_a_reader() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in MODULES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Where a function begins; a command's options are its help text, its body is the function."""
    return node.body[0].lineno if node.decorator_list else node.lineno


def test_functions_fit_a_screen() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.name}": lines
        for path in MODULES
        for node in functions(path)
        if (lines := (node.end_lineno or 0) - first_line(node) + 1) > 45
    }
    assert long == {}


def test_modules_are_named_by_what_they_do() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "core", "misc", "base"}
    assert [p for p in MODULES if vague & set(p.relative_to(ROOT).with_suffix("").parts)] == []


def test_no_assert_guards_anything_outside_tests() -> None:
    # python -O removes them.
    guilty = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_bytes())))
    ]
    assert guilty == []


def test_only_the_settings_read_the_environment() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    ]
    assert guilty == ["pipelines/settings.py"]


def all_errors() -> list[type[Error]]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)

    def below(parent: type[Error]) -> Iterator[type[Error]]:
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    return [Error, *(e for e in below(Error) if e.__module__.split(".")[0] in PACKAGES)]


def test_every_code_belongs_to_one_error_or_is_shared_with_its_parent() -> None:
    owners: dict[str, list[type[Error]]] = defaultdict(list)
    for error in all_errors():
        if "code" in vars(error):
            owners[error.code].append(error)
    shared = {code: names for code, names in owners.items() if len(names) > 1}
    assert shared == {}


def test_errors_without_a_code_of_their_own_are_known() -> None:
    # A child that shares its parent's code tells more to Python and no more to machines.
    assert {e.__name__ for e in all_errors() if "code" not in vars(e)} == {"ChainRefused"}


def test_every_code_is_upper_kebab() -> None:
    odd = [e.code for e in all_errors() if not re.fullmatch(r"[A-Z]+(-[A-Z]+)*", e.code)]
    assert odd == []


def test_error_names_that_occur_twice_are_known() -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for error in all_errors():
        names[error.__name__].add(error.code)
    assert {name: codes for name, codes in names.items() if len(codes) > 1} == {
        "ShapeError": {"SHAPE", "SHAPE-ERROR"}
    }


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def commands(command: Any, words: tuple[str, ...] = ("facewarrant",)) -> Iterator[str]:
    inner = getattr(command, "commands", {})
    if not inner:
        yield " ".join(words)
    for name, child in inner.items():
        yield from commands(child, (*words, name))


def test_the_readme_names_every_command(readme: str) -> None:
    names = list(commands(typer.main.get_command(app)))
    assert len(names) >= 9
    # `make demo` is how a newcomer runs the demo.
    # A command of a group is named as `group command`, with or without the program's name.
    short = [name.removeprefix("facewarrant ") for name in names if name != "facewarrant demo"]
    named = {
        n for n in short if re.search(rf"`(facewarrant )?{n}\b|^facewarrant {n}\b", readme, re.M)
    }
    missing = sorted(set(short) - named)
    assert missing == []
    assert "make demo" in readme


def test_the_readme_names_every_setting(readme: str) -> None:
    missing = [n for n in Settings.model_fields if f"`FACEWARRANT_{n.upper()}`" not in readme]
    assert missing == []
    named = set(re.findall(r"FACEWARRANT_([A-Z0-9_]+)", readme))
    assert {n.lower() for n in named} == set(Settings.model_fields), "none that does not exist"


def test_the_readme_names_every_exit_code(readme: str) -> None:
    codes = {0, *(value for name, value in vars(console).items() if name.startswith("EXIT_"))}
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)}
    assert rows == codes
    for code in codes:
        assert f"{code} " in (app.info.epilog or "")


def test_every_link_of_the_readme_leads_somewhere(readme: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", readme)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
