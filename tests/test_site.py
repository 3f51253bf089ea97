"""The generated pages of the site: public names, formulas, families and tutorials."""

import importlib
import pathlib
import pkgutil
import re
import types

import pytest
import tensorflow_probability as tfp

import nllfit
from docs.pages import benchmarks, family_tables_and_pictures, formulas, home, reference, tutorials
from experiments.benchmarks import speed
from nllfit.families import compound_heads, named_heads

ROOT = pathlib.Path(__file__).parents[1]
FORMULAS = {
    "-log p(y) = |y - loc| / scale + log(2 scale)": (
        r"- \log p\left( y \right) = \frac{\left| y - \text{loc} \right|}{\text{scale}}"
        r" + \log \left( 2\,\text{scale} \right)"
    ),
    "((y - loc) / scale)^2 / 2": (r"\frac{{\left( \frac{y - \text{loc}}{\text{scale}} \right)}^{2}}{2}"),
    "logsumexp(u) - sum_k y_k u_k": r"\text{logsumexp}\left( u \right) - \sum_{k} y_{k}\,u_{k}",
    "E|X - X'| / 2": r"\frac{E\left| X - X' \right|}{2}",
    "sum_{t_j <= t} S(t_{j-1})": r"\sum_{t_{j} \le t} S\left( t_{j - 1} \right)",
    "0.5 chi2_(k-1)": r"0.5\,\text{chi2}_{k - 1}",
    "Phi^-1(F)": r"{\Phi }^{-1}\,\left( F \right)",
    "y in": r"y\,\text{in}",
}


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


def test_the_reference_has_a_page_for_every_public_module():
    packages = {module.rpartition(".")[0] for module in reference.PAGES} | {"nllfit"}
    inside = {f"nllfit.{name}" for name in nllfit.__all__ if isinstance(getattr(nllfit, name), types.ModuleType)}
    assert inside | {"nllfit.keras3", "nllfit.plots"} <= set(reference.PAGES)
    assert {"nllfit.keras3"} <= packages
    for info in pkgutil.iter_modules(importlib.import_module("nllfit.keras3").__path__, "nllfit.keras3."):
        assert info.name in reference.PAGES


@pytest.mark.parametrize("module", reference.PAGES)
def test_the_reference_has_every_public_name(module, pages):
    page = pages[f"reference/{module}.md"]
    for name in reference.public_names(module):
        assert f"## {name} {{ #{module}.{name} }}" in page
        entry = page.partition(f"## {name} {{")[2].partition("\n## ")[0]
        assert len(re.sub(r"```.*?```", "", entry, flags=re.DOTALL)) > 60, f"{module}.{name} has no docstring"


def test_the_overview_lists_every_name_once_in_its_area():
    table = reference.by_area()
    for name in reference.public_names("nllfit"):
        assert table.count(f"| `nllfit.{name}` |") == 1
    training = table.partition("### Training\n")[2].partition("### ")[0]
    assert "| `nllfit.fit` | " in training
    assert "| `nllfit.crps` | " not in training
    assert "{{ names by area }}" in ROOT.joinpath("docs/overview.md").read_text()


@pytest.mark.parametrize(("text", "tex"), FORMULAS.items())
def test_formulas_are_converted_to_latex(text, tex):
    assert formulas.as_tex(text) == tex


@pytest.mark.parametrize("text", ["a + (b", "see: this", "a / ", ""])
def test_invalid_formulas_are_errors(text):
    with pytest.raises(ValueError, match=r"formula|lacks|number or a name"):
        formulas.as_tex(text)


def test_an_example_that_is_not_a_session_is_prose_and_code():
    shown = reference.rendered("One.\n\nExample:\n  A file of rows:\n\n      model.fit_batches(rows)\n")
    assert shown == "One.\n\n**Example**: A file of rows:\n\n    model.fit_batches(rows)\n"


def test_the_formula_of_every_named_head_is_rendered(pages):
    page = pages["reference/nllfit.heads.md"]
    for name in named_heads.__all__:
        entry = page.partition(f"## {name} {{")[2].partition("\n## ")[0]
        assert re.search(r"Formula:\s+\$- \\log p.+?\$", entry), name


def test_a_public_name_in_code_is_a_link():
    address = {"nllfit.fit": "nllfit.md#nllfit.fit"}.get
    text = "`nllfit.fit(model)` and `nllfit.none`\n\n```python\n`nllfit.fit`\n```\n# `nllfit.fit`"
    found = reference.linked(text, address)
    assert found.startswith("[`nllfit.fit(model)`](nllfit.md#nllfit.fit) and `nllfit.none`\n")
    assert found.endswith("```python\n`nllfit.fit`\n```\n# `nllfit.fit`")


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # the test builds all families, and TFP warns of its own deprecations
def test_the_families_table_matches_the_code():
    found = family_tables_and_pictures.families()
    words = " ".join(ROOT.joinpath("README.md").read_text().split())
    assert f"from one of {len(found)} [TensorFlow Probability]" in words
    assert set(named_heads.__all__) - {"Mixture"} <= found.keys()
    assert set(family_tables_and_pictures.PICTURES) == set(nllfit.heads.__all__) - {
        "MultivariateNormalTriL",
        "DistributionHead",
    }
    made = {line[0].strip("`").partition("(")[0]: line[1:] for line in family_tables_and_pictures.made_rows()}
    assert set(made) == {*compound_heads.__all__, "DistributionLambda"}
    assert made["ZeroInflated"] == [
        "`zero_logits`, `log_rate`",
        "`zero_logits = u`; `log_rate = u`",
        "{0, 1, ...}",
        "mean",
        "yes",
        "sum",
        "yes",
    ]
    assert made["Censored"][3:] == ["mean", "yes", "closed form", "no"]
    of = {
        name: family_tables_and_pictures.row(name, *found[name])
        for name in ("Normal", "Poisson", "Beta", "MultivariateNormalTriL")
    }
    assert of["Normal"][1:] == [
        "`loc`, `scale`",
        "`loc = u`; `scale = softplus(u) + eps`",
        "real numbers",
        "mean",
        "yes",
        "closed form",
        "yes",
    ]
    assert of["Poisson"][3:] == ["{0, 1, ...}", "mean", "yes", "closed form", "yes"]
    assert of["Beta"][3] == "0 to 1"
    assert of["MultivariateNormalTriL"][3:] == ["vectors", "mean", "of each element", "energy score, by draws", "no"]


def test_links_to_tutorials_lead_to_files_in_a_clone_and_to_pages_on_the_site():
    assert (
        tutorials.linked("[a](learn/1-x-y.py) [b](2-z.py) [c](other.py)")
        == "[a](learn/1-x-y.md) [b](2-z.md) [c](other.py)"
    )
    pages = [*ROOT.glob("docs/*.md"), ROOT / "docs" / "learn" / "index.md"]
    linked = [
        page.parent / link for page in pages for link in re.findall(r"\]\(((?:learn/)?\d+-[^)#]+)", page.read_text())
    ]
    assert {path.resolve() for path in linked} == set(tutorials.tutorials())


def test_the_home_page_is_the_readme_and_its_links_are_pages():
    links = set(re.findall(r"\]\((?!https?:)([^)#]+)", home.page()))
    made = {"benchmarks.md", *(f"learn/{path.stem}.md" for path in tutorials.tutorials())}
    assert not {link for link in links - made if not ROOT.joinpath("docs", link).is_file()}
    assert {"figures/quickstart.png", "contributing.md", "benchmarks.md"} <= links


def test_benchmarks_name_their_commands():
    page = benchmarks.page()
    assert "python -m experiments.benchmarks.speed" in page
    assert "python -m experiments.benchmarks.uci" in page


def test_benchmarks_show_what_the_experiment_writes(tmp_path, monkeypatch):
    def worker(arguments, kind, *names):
        model = {"us_per_step": 20.0, "all_us": [20.0], "first_seconds": 1.5, "peak_mib": 900.0}
        return dict.fromkeys(speed.JOBS[names[1]], 0.25) if kind == "job" else model

    monkeypatch.setattr(speed, "worker", worker)
    monkeypatch.setattr(benchmarks, "FOLDER", tmp_path)
    arguments = ["--contenders", "nllfit", "tf_keras", "--models", "small", "--jobs", "members"]
    speed.main([*arguments, "--out", str(tmp_path / "run")])
    (tmp_path / "run" / "metrics.json").rename(tmp_path / "speed.json")
    page = benchmarks.page()
    assert "| tf_keras | 20 | 1.00 | 1.50 |" in page
    assert "| 5 members in threads, 200 epochs | seconds | ratio to nllfit |" in page
    assert "| tf_keras | 0.25 | 1.00 |" in page
    assert benchmarks._bar(3.0, [6.0, 3.0]) == '<span class="bar" style="width: 4.50rem"></span>'


@pytest.mark.parametrize("path", tutorials.tutorials(), ids=lambda path: path.stem)
def test_tutorials_have_text_and_code_cells(path):
    kinds = [kind for kind, *_ in tutorials.cells(path.read_text())]
    assert kinds[0] == "text"
    assert kinds.count("code") >= 5
    assert f"learn/{path.stem}.md" in ROOT.joinpath("mkdocs.yml").read_text()
    assert f"({path.name})" in ROOT.joinpath("docs/learn/index.md").read_text()


def test_cells_record_their_first_line():
    source = '"""A lesson."""\n\n# %% [markdown]\n# # Title\n\n\n# %%\n\nx = 1\n'
    assert tutorials.cells(source) == [("text", "# Title", 4), ("code", "x = 1", 9)]


def test_a_tutorial_shows_what_it_prints_and_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(tutorials, "CACHE", tmp_path)
    path = tmp_path / "lesson.py"
    path.write_text(
        '"""A lesson."""\n\n# %% [markdown]\n# # Title\n\n# %%\nfrom matplotlib.figure import Figure\n\nprint(1)\n'
        "\n# %%\n# An empty figure\nFigure()\n"
    )
    for _ in range(2):  # the second page comes from the cache
        page, figures = tutorials.page(path)
        assert page.startswith("# Title\n")
        assert '```text title="prints"\n1\n```' in page
        assert "![An empty figure](lesson-1.png)" in page
        assert figures["lesson-1.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("path", tutorials.tutorials(), ids=lambda path: path.stem)
def test_a_tutorial_is_a_program(path):
    """This test only compiles the tutorials, because the site's build runs them."""
    compile(path.read_text(), path.name, "exec")


@pytest.mark.thorough
def test_the_examples_for_users_of_other_tools_run(capsys):
    """The examples contain assertions that compare with SciPy and statsmodels."""
    text = ROOT.joinpath("docs/from-other-tools.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(programs) >= 3
    found: dict = {}
    exec("\n".join(programs), found)
    assert "calibration error" in capsys.readouterr().out
    assert found["scores"].nll < 5.68  # the NLL of the marginal distribution, which the page quotes


def test_every_replacement_of_a_layer_is_a_head():
    text = ROOT.joinpath("docs/from-other-tools.md").read_text()
    named = set(re.findall(r"`heads\.(\w+)", text))
    assert named <= set(nllfit.heads.__all__)
    section = text.partition("## TensorFlow Probability's layers")[2].partition("\n## ")[0]
    layers = {name for name in dir(tfp.layers) if isinstance(getattr(tfp.layers, name), type)}
    missing = {name for name in layers if not any(re.match(known, name) for known in _layers_of(section))}
    assert not missing


def _layers_of(section):
    """The names of layers in the first column of a section's table, as patterns in which `*` is any suffix."""
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name.replace("*", r"\w*") + "$" for cell in cells for name in re.findall(r"`(\w+\*?)", cell)]
