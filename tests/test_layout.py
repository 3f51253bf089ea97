"""The architecture of `nllfit`: which modules may import which, the size of modules, and the use of private names."""

import ast
import collections
import functools
import graphlib
import inspect
import itertools
import pathlib
import re

import pytest
import tensorflow_probability as tfp

import nllfit
from nllfit import keras3
from nllfit.families.head_classes import HEADS
from tests.adapters.test_canaries import CANARIES

ROOT = pathlib.Path(nllfit.__file__).parent

# A module may import only from its own folder, and from folders and modules on lines above its own.
LAYERS = [
    {"adapters", "versions"},
    {"families", "information_criteria", "optimum"},
    {"data_checks", "head_outputs", "model_caches", "model_inputs", "safety"},
    {"cdf_and_quantiles", "scores", "survival_scores"},
    {"outcome_losses"},
    {"shared_classes", "shared_losses", "shared_metrics"},
    {"losses"},
    {"estimation", "prediction", "output_masks"},
    {"initialization"},
    {"training"},
    {"heads", "inference", "metrics"},
    {"bayes"},
    {"equivalence", "keras3", "layers", "regression"},
    {"saved_models"},
    {"ensembles", "laplace_posterior"},
    {"evaluation"},
    {"calibration"},
    {"tabular"},
    {"plots"},
]
MOST_LINES = 300

MODULES = {}  # paths by dotted name; `__init__.py` has the name of its folder
for path in sorted(ROOT.rglob("*.py")):
    parts = path.relative_to(ROOT).with_suffix("").parts
    MODULES[".".join(("nllfit", *parts)).removesuffix(".__init__")] = path


@functools.cache
def parsed(name):
    return ast.parse(MODULES[name].read_text())


@functools.cache
def imported(name):
    """The modules of `nllfit` that a module imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {member if member in MODULES else node.module for member in members}
    return {module for module in found if module.partition(".")[0] == "nllfit"} - {name}


def unit(name):
    """The entry of `LAYERS` for a module: its folder, or the module itself."""
    return name.split(".")[1]


def layer(name):
    """The index of a module in `LAYERS`. The package itself comes after all modules."""
    if name == "nllfit":
        return len(LAYERS)
    found = [index for index, units in enumerate(LAYERS) if unit(name) in units]
    assert found, f"{name} has no line in LAYERS: give it a line below all that it imports."
    return found[0]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_import_only_from_layers_above(name):
    for other in imported(name):
        assert layer(other) < layer(name) or unit(other) == unit(name), f"{name} imports {other}"


def test_imports_have_no_cycle():
    tuple(graphlib.TopologicalSorter({name: imported(name) for name in MODULES}).static_order())


def test_no_two_modules_share_a_name():
    """The only exceptions are the modules of `nllfit.keras3`, which have the names of their twins for tf_keras."""
    names = [name.rpartition(".")[2] for name, path in MODULES.items() if path.stem != "__init__"]
    twins = {name.rpartition(".")[2] for name in MODULES if name.startswith("nllfit.keras3.")}
    assert sorted(name for name, times in collections.Counter(names).items() if times > 1) == sorted(twins)


def test_no_module_imports_plots():
    assert not [name for name in MODULES if "nllfit.plots" in imported(name)]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_are_short(name):
    lines = len(MODULES[name].read_text().splitlines())
    assert lines <= MOST_LINES, f"{name} has {lines} lines: split it by idea"


MOST_LINES_OF_A_FUNCTION = 40  # without its signature and docstring
LONG = {"nllfit.inference.standard_errors", "nllfit.estimation.goodness_of_fit", "nllfit.families.quantile_search"}


@pytest.mark.parametrize("name", sorted(MODULES.keys() - LONG))
def test_a_function_is_short(name):
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[bool(ast.get_docstring(node)) :]
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines: split it"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_only_forwards(name):
    body = parsed(name).body
    forwards = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    assert MODULES[name].name == "__init__.py" or len(body) > 1 + len(forwards) + len(names)


# The code in these folders must not use the keys of `PROBES`, which probe attributes, change objects or read frames.
CLEAN = ("families", "scores")
PROBES = {
    "hasattr": "ask the class: `law_of`, `isinstance` or `tfp_classes.defines`",
    "__class__": "make an object of the right class",
    "_getframe": "pass what is needed as an argument",
    "copy.copy": "make a copy with other attributes in one step, as `ParametricFamily._replaced` does",
}
LEFT = {  # the uses that are allowed, as pairs of a module and a key of `PROBES`
    ("nllfit.families.broadcast_checks", "__class__"),  # tf_keras may have wrapped a head's distribution
    ("nllfit.families.head_base", "_getframe"),  # to explain why a model of the other Keras version refuses a head
    ("nllfit.families.configs", "hasattr"),  # recognises arrays
    ("nllfit.families.arguments", "hasattr"),  # recognises arrays
    ("nllfit.families.masked_and_sparse_arrays", "hasattr"),  # recognises sparse matrices
    ("nllfit.families.registered_names", "hasattr"),  # recognises modules
}


def probes(name):
    """The keys of `PROBES` that a module uses."""
    found = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr":
            found.add("hasattr")
        if isinstance(node, ast.Attribute):
            assigned = node.attr == "__class__" and isinstance(node.ctx, ast.Store)
            found |= {node.attr} if assigned or node.attr == "_getframe" else set()
            found |= {"copy.copy"} if ast.unparse(node) == "copy.copy" else set()
    return found


@pytest.mark.parametrize("name", [name for name in sorted(MODULES) if name.split(".")[1:2] and unit(name) in CLEAN])
def test_code_neither_probes_attributes_nor_changes_objects(name):
    found = {(name, probe) for probe in probes(name)} - LEFT
    assert not found, [f"{module}: {probe}: {PROBES[probe]}" for module, probe in found]


LIBRARY = re.compile(r"(tensorflow|tensorflow_probability|tf_keras|keras)\.(\w+\.)*(python|src)(\.|$)")
PUBLIC = {"_replace", "_asdict", "_fields", "_getframe"}  # documented by Python in spite of the underscore


def own_names(trees):
    """The names that classes, functions and modules of the package define, private or not."""
    found = set()
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
        if isinstance(node, ast.keyword):  # such as `vars(self).update(_name=...)`
            found.add(node.arg)
    return found


def private_uses(tree, own, adapted=frozenset()):
    """The private names of other packages that a module uses.

    Args:
      tree: the syntax tree of the module.
      own: names that the package defines.
      adapted: names that adapters use. Other modules may use such a name only on `self`, `cls` or `super()`, and only
        if it is also in `own`.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found |= {module for module in modules if LIBRARY.match(module)}
        is_private = isinstance(node, ast.Attribute) and (node.attr in adapted or re.match(r"_[a-z]", node.attr))
        if is_private and node.attr not in PUBLIC:
            is_self = ast.unparse(node.value) in ("self", "cls", "super()")
            found |= {node.attr} - own if is_self else {node.attr} - (own - adapted)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} & adapted
    return found


TREES = {name: parsed(name) for name in MODULES if "adapters" not in name}
OWN = own_names(TREES.values())
ADAPTED = {name for _, name in CANARIES}
OF_OTHERS = {
    "nllfit.families.scipy_censored_data": {"_interval", "_left", "_right", "_uncensored"}
}  # attributes of SciPy's `CensoredData`


@pytest.mark.parametrize("name", sorted(TREES))
def test_only_adapters_use_private_names(name):
    found = private_uses(TREES[name], OWN, ADAPTED) - OF_OTHERS.get(name, set())
    assert not found, f"{name} uses {sorted(found)}: use a public name, or ask an adapter"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("model._flatten_layers()", {"_flatten_layers"}),
        ("self._get_reduction()", {"_get_reduction"}),
        ("distribution._dtype = tf.float32", {"_dtype"}),
        ("getattr(tensor, '_keras_mask', None)", {"_keras_mask"}),
        ("output.tensor_distribution", {"tensor_distribution"}),
        ("from tensorflow.python.eager import context", {"tensorflow.python.eager"}),
        ("import tf_keras.src.backend", {"tf_keras.src.backend"}),
        ("self._dtype = bounds._replace(first=sys._getframe(1))", set()),
    ],
)
def test_uses_of_private_names_are_detected(source, found):
    assert private_uses(ast.parse(source), {"_dtype"}, ADAPTED) == found


@pytest.mark.parametrize("name", sorted(TREES))
def test_all_traces_are_made_one_at_a_time(name):
    uses = [n for n in ast.walk(TREES[name]) if isinstance(n, ast.Attribute) and n.attr == "get_concrete_function"]
    assert not uses, f"{name} traces a function: use `nllfit.adapters.tensorflow.trace`"


FAMILIES = {
    name
    for name, found in vars(tfp.distributions).items()
    if inspect.isclass(found) and issubclass(found, tfp.distributions.Distribution)
}
NAMED = {
    "by_mean",
    "distribution_names",
    "inflated",
    "named_heads",
}  # these modules contain names of families, because they define public heads and families


@pytest.mark.parametrize("name", [name for name in sorted(MODULES) if name.split(".")[1:2] and unit(name) in CLEAN])
def test_no_family_is_known_by_its_name(name):
    if name.rpartition(".")[2] in NAMED:
        return
    texts = {node.value for node in ast.walk(parsed(name)) if isinstance(node, ast.Constant)}
    known = {text for text in texts if isinstance(text, str)} & FAMILIES
    assert not known, f"{name} names {sorted(known)}: put what it knows of them into their rows of `laws`"


STUBS = [ROOT / "heads.pyi", ROOT / "keras3" / "heads.pyi"]


@pytest.mark.parametrize("stub", STUBS, ids=str)
def test_the_stubs_name_every_head(stub):
    """Code makes the heads from a table. Editors and type checkers do not run this code, so they need the stubs."""
    classes = {node.name: node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ClassDef)}
    known = {name: ast.unparse(node.bases[0]) for name, node in classes.items() if node.bases}
    assert known == {mixin.__name__: f"{mixin.__module__.rpartition('.')[2]}.{mixin.__name__}" for mixin in HEADS}


@pytest.mark.parametrize("module", [nllfit.layers, keras3.layers], ids=["tf_keras", "keras3"])
def test_the_stubs_name_every_variational_layer(module):
    stub = ast.parse(pathlib.Path(module.__file__).with_suffix(".pyi").read_text())
    names = [node.name for node in stub.body if isinstance(node, ast.ClassDef) and node.bases]
    assert names == module.__all__
    assert all(getattr(module, name).__module__ == module.__name__ for name in names)


@pytest.mark.parametrize("module", [nllfit.heads, keras3.heads], ids=["tf_keras", "keras3"])
def test_every_row_of_the_table_is_a_head(module):
    assert {name: getattr(module, name).__module__ for name in module.__all__} == {
        mixin.__name__: module.__name__ for mixin in HEADS
    }
    for mixin in HEADS:
        head = getattr(module, mixin.__name__)
        assert issubclass(head, mixin)
        assert head.__doc__ == inspect.getdoc(mixin)
