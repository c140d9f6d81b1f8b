from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import policies
from policies.errors import BadSignature, Error, Malformed, StoreUnavailable


def every_error() -> list[type[Error]]:
    for module in pkgutil.iter_modules(policies.__path__):
        importlib.import_module(f"policies.{module.name}")
    found, queue = [], [Error]
    while queue:
        found.append(queue.pop())
        queue += [e for e in found[-1].__subclasses__() if e.__module__.startswith("policies.")]
    return found


def test_the_mend_is_part_of_the_diagnostics() -> None:
    error = Malformed("the key is missing", mend="add it")
    assert error.diagnostics() == "the key is missing\nTo mend: add it"
    assert str(error) == error.message == "the key is missing"


def test_without_a_mend_only_the_message_is_said() -> None:
    assert BadSignature("wrong").diagnostics() == "wrong"


def test_codes_are_upper_kebab_and_distinct() -> None:
    codes = [error.code for error in every_error()]
    assert len(codes) >= 10
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[A-Z]+(-[A-Z]+)*", code) for code in codes)


@pytest.mark.parametrize("error", [Malformed, BadSignature, StoreUnavailable])
def test_one_family(error: type[Error]) -> None:
    with pytest.raises(Error) as caught:
        raise error("x")
    assert caught.value.code == error.code
