"""Ruff and mypy report nothing (`pyproject.toml` has their settings), and no two tests share a random generator."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize("tool", ["ruff check", "ruff format --check", "mypy"])
def test_the_tool_reports_nothing(tool):
    command = [sys.executable, "-m", *tool.split()]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def functions_with_shared_generators(source):
    """Returns the functions that use a random generator that the module made when it was imported."""
    tree = ast.parse(source)
    calls = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)]
    generators = {ast.unparse(n.targets[0]) for n in calls if ast.unparse(n.value.func).endswith("default_rng")}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    names = {f.name: {n.id for part in f.body for n in ast.walk(part) if isinstance(n, ast.Name)} for f in functions}
    return [function for function, used in names.items() if used & generators]


def test_each_test_draws_from_its_own_generator():
    """If two tests drew from one generator, the data of a test would depend on the tests that ran before it."""
    sources = {path.relative_to(ROOT): path.read_text() for path in ROOT.glob("tests/**/*.py")}
    found = {
        str(path): names for path, source in sources.items() if (names := functions_with_shared_generators(source))
    }
    assert not found, "these functions must take the fixture `rng`"
