# SPDX-License-Identifier: Apache-2.0
"""docs/security.md names tests: they are there, and no advisory stands there twice."""
import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "security.md"
NAMED = re.compile(r"`((?:[\w-]+/)+[\w-]+\.(?:py|c))(?:::(\w+))?`")


def rows():
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.split("|")]
        if line.startswith("|") and len(cells) == 5 and cells[1] != "Id" and not cells[1].startswith("---"):
            yield cells[1], cells[2], cells[3]


def functions(path):
    return {n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)}


ROWS = list(rows())


def test_every_line_has_its_protection_and_its_test():
    assert len(ROWS) > 100
    for ident, protects, tests in ROWS:
        assert protects, ident
        assert ", ".join(m.group() for m in NAMED.finditer(tests)) == tests != "", f"{ident}: {tests!r} is not a list of tests"


def test_no_id_twice():
    ids = [r[0] for r in ROWS]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("name", sorted({m[1] for r in ROWS for m in NAMED.finditer(r[2])}))
def test_named_tests_exist(name):
    path = TESTS / name
    assert path.is_file()
    wanted = {m[2] for r in ROWS for m in NAMED.finditer(r[2]) if m[1] == name}
    if path.suffix == ".py":
        assert None not in wanted, f"{name} is named without a test"
        assert wanted <= functions(path), wanted - functions(path)
        assert all(w.startswith("test_") for w in wanted)


def test_tests_named_after_an_advisory_are_in_the_table():
    ids = {r[0] for r in ROWS}
    for path in TESTS.glob("*/test_*.py"):
        for name in functions(path):
            m = re.match(r"test_cve_(\d+)_(\d+)", name)
            assert not m or f"CVE-{m[1]}-{m[2]}" in ids, f"{path.name}::{name}"
