"""The listing is the architecture: what a module of `nllfit` may import, and how large it may be."""

import ast
import graphlib
import pathlib

import pytest

import nllfit

ROOT = pathlib.Path(nllfit.__file__).parent

# A module or folder imports from lower lines alone: not from its own line, nor from one above.
LAYERS = [
    {"curvature", "families", "fits", "versions"},
    {"data"},
    {"kerases", "safety"},
    {"quantiles", "scores", "survival_scores"},
    {"losses"},
    {"estimation", "prediction"},
    {"initialization"},
    {"training"},
    {"heads", "inference", "metrics"},
    {"equivalence", "keras3", "regression"},
    {"ensembles"},
    {"evaluation"},
    {"calibration"},
    {"plots"},
]
MOST_LINES = 300

MODULES = {}  # by dotted name; a folder's `__init__` has the folder's
for path in sorted(ROOT.rglob("*.py")):
    parts = path.relative_to(ROOT).with_suffix("").parts
    MODULES[".".join(("nllfit", *parts)).removesuffix(".__init__")] = path


def imported(name):
    """The modules of `nllfit` that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {member if member in MODULES else node.module for member in members}
    return {module for module in found if module.partition(".")[0] == "nllfit"} - {name}


def unit(name):
    """What stands in `LAYERS` for a module: its folder, or itself."""
    return name.split(".")[1]


def layer(name):
    """The line of `LAYERS` on which a module stands; the package itself stands above all."""
    if name == "nllfit":
        return len(LAYERS)
    found = [index for index, units in enumerate(LAYERS) if unit(name) in units]
    assert found, f"{name} has no line in LAYERS: give it the one above all that it imports."
    return found[0]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_downwards(name):
    for other in imported(name):
        assert layer(other) < layer(name) or unit(other) == unit(name), f"{name} imports {other}"


def test_imports_make_no_circle():
    tuple(graphlib.TopologicalSorter({name: imported(name) for name in MODULES}).static_order())


def test_nobody_imports_the_figures():
    assert not [name for name in MODULES if "nllfit.plots" in imported(name)]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_holds_one_idea(name):
    lines = len(MODULES[name].read_text().splitlines())
    assert lines <= MOST_LINES, f"{name} has {lines} lines: split it by idea"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_only_forwards(name):
    body = ast.parse(MODULES[name].read_text()).body
    forwards = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    assert MODULES[name].name == "__init__.py" or len(body) > 1 + len(forwards) + len(names)
