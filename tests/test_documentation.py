"""Examples in docstrings print the documented results.

The README's example and the guide's programs run without errors.
"""

import ast
import doctest
import importlib
import json
import pathlib
import pkgutil
import re
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from matplotlib.figure import Figure

import nllfit
from docs.pages import figures
from nllfit import heads
from nllfit.families import compound_heads, named_heads

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT.joinpath("README.md").read_text()
# The pages of the guide.
NAMES = (
    "distributed",
    "estimation",
    "from-lifelines",
    "from-statsmodels-and-scikit-learn",
    "heads",
    "how-to",
    "latent-variables",
    "scores",
    "serving",
    "training",
    "which-keras",
)
MODULES = [info.name for info in pkgutil.walk_packages(nllfit.__path__, "nllfit.")]


def namespace(examples):
    """The names that examples may use without importing them."""
    named = {name: getattr(heads, name) for name in heads.__all__}
    ax = Figure().add_subplot()
    data = {"x": np.zeros([4, 3], "float32"), "y": np.ones([4, 1], "float32")}
    return (
        vars(nllfit)
        | named
        | data
        | {
            "nllfit": nllfit,
            "np": np,
            "tf": tf,
            "tf_keras": tf_keras,
            "tfd": tfp.distributions,
            "ax": ax,
        }
        | ({"model": model()} if any("model" in example.source for example in examples) else {})
    )


def model():
    initializer = tf_keras.initializers.GlorotUniform(seed=0)  # other seeds may predict means 40 sigma away
    dense = tf_keras.layers.Dense(2, input_shape=(3,), kernel_initializer=initializer)
    return tf_keras.Sequential([dense, heads.Normal()])


# If the path of a module contains one of these names, the test of its examples is marked `thorough`, because the
# examples take seconds.
LONG = {"bayes", "by_mean", "calibration", "censored", "ensembles", "fits", "inflated", "initialization", "models"}
LONG |= {"regression", "laplace_posterior", "standard_errors", "tabular", "truncated"}
LONG |= {"comparison", "estimates", "fit", "keras3", "layers", "lbfgs", "likelihood_ratio", "plots"}
EACH_MODULE = [
    pytest.param(name, marks=() if LONG.isdisjoint(name.split(".")) else pytest.mark.thorough) for name in MODULES
]


@pytest.mark.parametrize("module", EACH_MODULE)
def test_docstring_examples_run(module):
    module = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        if test.examples:
            test.globs |= namespace(test.examples)
            runner.run(test)
    assert runner.summarize().failed == 0


def test_every_named_head_is_documented_as_domain_link_and_formula():
    for name in (*named_heads.__all__, *compound_heads.__all__):
        text = getattr(heads, name).__doc__
        assert all(re.search(word, text) for word in ("Domain", "[Ll]ink", "Formula: -log p", "Source:")), name


def test_the_readme_example_prints_and_draws_what_the_readme_shows(capsys):
    found = figures.content(figures.drawn())
    low, high = map(float, re.findall(r"\d+\.\d+", capsys.readouterr().out))
    assert low < 0.2 < 0.4 < high  # the true values are 0.03 and 0.57
    shown = figures.recorded()
    assert [re.sub(r"\d", "#", label) for label in found["labels"]] == [
        re.sub(r"\d", "#", label) for label in shown["labels"]
    ], "draw it again: python -m docs.pages.figures"
    np.testing.assert_array_equal(found["lines"]["outcomes"], shown["lines"]["outcomes"])
    # On another machine, rounding errors change the median by less than 0.15. At x = 0, the true sigma is 0.3.
    np.testing.assert_allclose(found["lines"]["median"], shown["lines"]["median"], atol=0.15)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 100


def test_the_readme_quotes_the_benchmarks_that_are_recorded():
    speed, uci = (json.loads(ROOT.joinpath(f"docs/benchmarks/{name}.json").read_text()) for name in ("speed", "uci"))
    quoted = re.search(
        r"([\d.]+) s with `nllfit.fit`, ([\d.]+) s in `tf_keras`, ([\d.]+) s in Keras 3, ([\d.]+) s in\s+PyTorch and "
        r"([\d.]+) s in JAX",
        README,
    )
    for text, name in zip(quoted.groups(), ("nllfit", "tf_keras", "keras", "torch", "jax"), strict=True):
        assert text == f"{speed['jobs']['twenty'][name]:.{len(text.partition('.')[2])}f}", name
    assert "--repeats 1" in speed["note"]
    for name, key in (("protein", "protein-tertiary-structure"), ("energy", "energy")):
        assert re.search(rf"{name},( our NLL is)? {uci[key]['nll']:.2f} ", README)


def test_every_file_that_the_design_names_exists():
    for name in ("design", "contributing"):
        text = ROOT.joinpath(f"docs/{name}.md").read_text()
        paths = [path for path in re.findall(r"`([\w/.]+/[\w.]+\.py)`", text)]
        missing = {path for path in paths if not (ROOT / path).exists() and not (ROOT / "nllfit" / path).exists()}
        assert not missing, name


def test_the_citation_is_of_this_version():
    assert f"\nversion: {nllfit.__version__}\n" in ROOT.joinpath("CITATION.cff").read_text()


GUIDE = {name: ROOT.joinpath(f"docs/{name}.md").read_text() for name in NAMES}
EXAMPLES = re.findall(
    r"^#+ ([^\n]*)\n(?:(?!^#+ ).)*?^```python\n(.*?)^```", "\n".join(GUIDE.values()), re.DOTALL | re.MULTILINE
)
PRINTED = {"How good is it?": "calibration error", "Likelihood and maximum likelihood": "Gamma"}


def names_of_nllfit(program):
    """The pairs of a module and a name, such as `(nllfit, fit)`, that a program uses. Imports count, too."""
    nodes = list(ast.walk(ast.parse(program)))
    imported = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module.startswith("nllfit")]
    pairs = {(node.module, alias.name) for node in imported for alias in node.names}
    modules = {"nllfit": nllfit} | {
        name: getattr(importlib.import_module(module), name, None) for module, name in pairs
    }
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            pairs |= {(module.__name__, node.attr)} if isinstance(module, types.ModuleType) else set()
    return pairs


def test_the_programs_of_the_guide_and_of_the_lessons_use_names_that_exist():
    pages = [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
    programs = [
        text for page in pages for text in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.M)
    ]
    programs += [path.read_text() for path in ROOT.glob("docs/learn/*.py")]
    used = set().union(*map(names_of_nllfit, programs))
    assert len(used) > 40
    for module, name in used:
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # one example builds all families, and TFP warns of its own deprecations
@pytest.mark.parametrize(("title", "program"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_the_programs_of_the_guide_run(title, program, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(nllfit.fit.__kwdefaults__, "compile", "graph")  # XLA compiles longer than a program trains
    exec(program, {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert printed
    assert "nan" not in printed
    assert PRINTED.get(title, "") in printed
    if "families" in title:
        assert int(printed.split()[0]) >= 60


def test_every_head_is_in_the_guide():
    for name in heads.__all__:
        assert f"`{name}" in GUIDE["heads"]


def test_every_link_of_the_readme_leads_to_a_file():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert ROOT.joinpath(link).is_file(), link
