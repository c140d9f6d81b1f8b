"""What tests of verified videos share: the premiere as it was released, and who looks at it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import provenance.exhibit
from provenance.errors import Tampered, VerificationError
from provenance.evidence import Evidence
from provenance.verify import Verifier


class Around:
    """A part with some of its methods replaced; the rest is the part's own."""

    def __init__(self, part: object, **replaced: object) -> None:
        self._part = part
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def states(evidence: Sequence[Evidence]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in evidence:
        assert line.words
        found.setdefault(line.subject, set()).add(line.state)
    return found


def refused(verifier: Verifier, content: Any, kind: type[VerificationError], words: str) -> Any:
    """The states of the evidence with which a file is refused in these words."""
    with pytest.raises(VerificationError, match=words) as caught:
        verifier.verify(content)
    assert type(caught.value) is kind, (caught.value.code, caught.value.message)
    assert caught.value.mend or kind is Tampered
    return states(caught.value.evidence)


@pytest.fixture(scope="session", name="around")
def around_fixture() -> Any:
    """`around(part, method=...)`: a part with some of its methods replaced."""
    return Around


@pytest.fixture(scope="session", name="states")
def states_fixture() -> Any:
    """`states(evidence)`: the states of every subject; each line has words."""
    return states


@pytest.fixture(scope="session", name="refused")
def refused_fixture() -> Any:
    """`refused(verifier, content, kind, words)`: the states with which a file is refused."""
    return refused


@pytest.fixture
def verifier(premiere: Any) -> Verifier:
    # The first frame of every second: the same looks again.
    rng = Around(provenance.exhibit.UNFORESEEN, randrange=lambda _count: 1)
    made: Verifier = dataclasses.replace(premiere[0].verifier, rng=rng)
    return made


@pytest.fixture(scope="session")
def mark_id(premiere: Any) -> str:
    return str(premiere[2].mark_id)


@pytest.fixture(scope="session")
def file(premiere: Any) -> Path:
    """The premiere as it was released."""
    path: Path = premiere[1]
    return path


@pytest.fixture(scope="session")
def film(file: Path, films: Any) -> list[Any]:
    """Its frames."""
    return list(films.project(file))


@pytest.fixture(scope="session")
def worn(film: list[Any], films: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Its frames, coded so strongly that the mark is gone."""
    path = tmp_path_factory.mktemp("worn") / "w.mp4"
    return list(films.project(films.develop(path, film, options={"crf": "36"})))


@pytest.fixture(scope="session")
def worn_copy(worn: list[Any], films: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of them, only to be looked at."""
    path: Path = films.develop(tmp_path_factory.mktemp("worn") / "a.mp4", worn)
    return path
