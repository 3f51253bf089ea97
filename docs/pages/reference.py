"""The reference: a page for each public module, generated from docstrings.

We read the docstrings from the imported objects and not from the source files, because the classes of heads are not in
the source files. They are created when the module is imported.
"""

import importlib
import inspect
import re
import textwrap
import types

from docs.pages.formulas import as_tex
from nllfit.families.head_base import Head

__all__ = ["AREAS", "PAGES", "anchors", "by_area", "linked", "pages", "public_names"]

PAGES = {
    "nllfit": "Everything that most programs need: estimation, training, prediction, scores and calibration.",
    "nllfit.heads": "The last layer of a tf_keras model, whose output is a distribution.",
    "nllfit.layers": "Layers with uncertain weights, for tf_keras.",
    "nllfit.losses": "Losses to train with, for tf_keras.",
    "nllfit.metrics": "Metrics to report after each epoch, for tf_keras.",
    "nllfit.keras3": "Heads, layers, losses and metrics for Keras 3 models.",
    "nllfit.keras3.heads": "The same heads as layers of Keras 3.",
    "nllfit.keras3.layers": "The same layers for Keras 3.",
    "nllfit.keras3.losses": "The same losses for Keras 3.",
    "nllfit.keras3.metrics": "The same metrics for Keras 3.",
    "nllfit.calibration": "Models whose probabilities are corrected on held-out rows.",
    "nllfit.tabular": "Estimators with scikit-learn's conventions: a predicted distribution for every row of a table.",
    "nllfit.equivalence": "Which Keras loss is which head's negative log-likelihood.",
    "nllfit.survival_scores": "Scores of risks and survival probabilities for censored times.",
    "nllfit.plots": "Figures; each function draws on the given `ax`.",
}
AREAS = {  # maps the module or folder that defines a name of `nllfit` to the heading under which the name is listed
    "losses": "Training",
    "initialization": "Training",
    "training": "Training",
    "prediction": "Prediction",
    "quantiles": "Prediction",
    "scores": "Evaluation",
    "evaluation": "Evaluation",
    "bayes": "Latent variables and uncertain weights",
    "laplace_posterior": "Latent variables and uncertain weights",
    "ensembles": "Calibration and ensembles",
    "calibration": "Calibration and ensembles",
    "inference": "Regression",
    "regression": "Regression",
    "estimation": "A sample and no network",
    "families": "Families; censored, truncated and inflated outcomes",
}
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Source)s?:[ \n]", re.MULTILINE)
_FORMULA = re.compile(r"(Formula:\s)(.+?)(?=\.(?:\s+[A-Z]|\s*$)|, with\s)", re.DOTALL | re.MULTILINE)
_LINKS = re.compile(r"(Links?:\s)(.+?)(?=\.\s|\.$)", re.DOTALL)
_WITH = re.compile(r"(, with\s+)(z = .+?)(?=\.$)", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]*(?:\^|E\||\bsum_)[^`]*)`")
_NAME = re.compile(r"(?<![\[`])`([A-Za-z][\w.]*)(\([^`]*\))?`(?!`)")


def public_names(module: str) -> dict[str, object]:
    """The public objects of a module by name, without its submodules."""
    found = importlib.import_module(module)
    objects = {name: getattr(found, name) for name in found.__all__}
    return {name: value for name, value in objects.items() if not isinstance(value, types.ModuleType)}


def by_area() -> str:
    """Tables of the names of `nllfit`, one for each area. Each name has the first line of its docstring."""
    areas: dict[str, list[str]] = dict.fromkeys(AREAS.values(), ())
    for name, value in public_names("nllfit").items():
        part = value.__module__.split(".")[1]
        area = AREAS.get(part, part.replace("_", " ").capitalize())
        first = inspect.getdoc(value).partition("\n")[0]
        areas[area] = [*areas.get(area, ()), f"| `nllfit.{name}` | {first} |"]
    return "\n".join(
        f"### {area}\n\n| name | description |\n| --- | --- |\n" + "\n".join(rows) + "\n"
        for area, rows in areas.items()
    )


def anchors() -> dict[str, str]:
    """The page and anchor of each public name.

    The keys are full names, such as `nllfit.heads.Normal`, and names without `nllfit.`, such as `heads.Normal`.
    A name without a dot, such as `fit`, is not a key.
    """
    found = {}
    for module in PAGES:
        for name in public_names(module):
            full = f"{module}.{name}"
            found[full] = found[full.removeprefix("nllfit.")] = f"reference/{module}.md#{full}"
    return {name: place for name, place in found.items() if "." in name}


def linked(markdown: str, address) -> str:
    """Returns a page in which each public name in inline code links to `address(name)`."""
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)

    def link(match):
        place = address(match[1])
        return f"[{match[0]}]({place})" if place else match[0]

    for i in range(0, len(parts), 2):
        lines = parts[i].split("\n")
        parts[i] = "\n".join(line if line.startswith("#") else _NAME.sub(link, line) for line in lines)
    return "".join(parts)


def pages() -> dict[str, str]:
    """The Markdown of every page of the reference, by its path."""
    documented: dict[str, str] = {}
    found = {f"reference/{module}.md": _page(module, documented) for module in PAGES}
    rows = []
    for module, text in PAGES.items():
        names = " ".join(f"[`{name}`]({module}.md#{module}.{name})" for name in public_names(module))
        rows.append(f"## [{module}]({module}.md)\n\n{text}\n\n{names}\n")
    index = "# Reference\n\nThe docstring of every public name. The tests run each example.\n\n"
    return {"reference/index.md": index + "\n".join(rows)} | found


def _page(module, documented):
    text = inspect.getdoc(importlib.import_module(module))
    entries = [_entry(module, name, value, documented) for name, value in public_names(module).items()]
    return f"# {module}\n\n{_prose(text)}\n\n" + "\n".join(entries)


def _entry(module, name, value, documented):
    full, text = f"{module}.{name}", inspect.getdoc(value) or ""
    if not callable(value):
        classes = " and ".join(sorted({f"`{type(item).__name__}`" for item in value}))
        return f"## {name} {{ #{full} }}\n\nA constant with {len(value)} elements of the class {classes}.\n"
    heading = f"## {name} {{ #{full} }}\n\n```python\n{_signature(full, value)}\n```\n\n"
    if text in documented:
        first = text.partition("\n")[0]
        return f"{heading}{first} As [`{documented[text]}`]({_module(documented[text])}.md#{documented[text]}).\n"
    documented[text] = full
    return heading + rendered(text) + _members(full, value)


def _module(full):
    return full.rpartition(".")[0]


def _signature(full, value):
    name = full.removeprefix("nllfit.") if full.count(".") > 1 else full
    try:
        signature = inspect.signature(value)
    except ValueError:  # for a subclass of dict, which users do not construct
        return name
    parameters = [
        _bare(parameter) for parameter in signature.parameters.values() if parameter.name not in ("self", "cls")
    ]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    if len(name + text) <= 100:
        return name + text
    shown = [str(parameter) for parameter in parameters]
    starred = [i for i, parameter in enumerate(parameters) if parameter.kind is parameter.KEYWORD_ONLY]
    if starred and not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        shown.insert(starred[0], "*")
    return f"{name}(\n" + "".join(f"    {one},\n" for one in shown) + ")"


def _bare(parameter):
    plain = isinstance(parameter.default, (int, float, str, tuple, type(None))) or parameter.default is parameter.empty
    return parameter.replace(
        annotation=parameter.empty, default=parameter.default if plain else _Omitted(parameter.default)
    )


class _Omitted:
    """A default value whose `repr` is not readable. The page shows the name of the value instead."""

    def __init__(self, value):
        self.name = getattr(value, "__name__", "...")

    def __repr__(self):
        return self.name


def _members(full, value):
    """Returns the docstrings of the public methods and properties that nllfit defines for a class, as Markdown.

    For a head, and for a function, the result is an empty string.
    """
    if not inspect.isclass(value) or issubclass(value, Head):  # Keras documents the methods of layers
        return ""
    entries, names = [], set()
    for owner in value.__mro__:
        if not owner.__module__.startswith("nllfit"):
            continue
        for name, member in vars(owner).items():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if name.startswith("_") or name in names or not getattr(function, "__doc__", None):
                continue
            if not (inspect.isfunction(function) or isinstance(member, property)):
                continue
            names.add(name)
            shown = f"{name}" if isinstance(member, property) else _signature(name, function)
            text = textwrap.indent(rendered(inspect.getdoc(function)), "    ")
            entries.append(f"- `.{' '.join(shown.split())}`\n\n{text}\n")
    return "\n".join(["\n### Members of " + full.rpartition(".")[2] + "\n", *entries]) if entries else ""


def rendered(docstring: str) -> str:
    """A docstring as Markdown, with lists for its sections, a code block for its example, and TeX for its formulas."""
    parts = _SECTION.split(docstring)
    found = [_prose(parts[0].strip())]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        body = textwrap.dedent(body).strip("\n")
        if title == "Example" and body.startswith(">>>"):
            found.append(f"```pycon\n{body}\n```")
        elif title in ("Args", "Attributes", "Raises"):
            names = {"Args": "Arguments"}.get(title, title)
            found.append(f"**{names}**\n\n{_entries(body)}")
        else:
            found.append(f"**{title}**: " + re.sub(r"\n(?=- )", "\n\n", _prose(body.strip()), count=1))
    return "\n\n".join(part for part in found if part) + "\n"


def _entries(body):
    entries = re.split(r"\n(?=\S)", body)
    shown = []
    for entry in entries:
        name, separator, text = entry.partition(":")
        text = _prose(textwrap.dedent(text.lstrip()) if "\n" not in text else _rejoined(text))
        shown.append(f"- `{name}`: {text}" if separator else f"- {_prose(entry)}")
    return "\n".join(shown)


def _rejoined(text):
    first, _, rest = text.partition("\n")
    return textwrap.indent(f"{first.strip()}\n{textwrap.dedent(rest)}", "  ").strip()


def _prose(text):
    text = _FORMULA.sub(lambda match: match[1] + _maths(match[2], match[2]), text)
    text = _WITH.sub(lambda match: match[1] + _maths(match[2], match[2]), text)
    text = _LINKS.sub(lambda match: match[1] + ", ".join(map(_link, re.split(r",\s", match[2]))), text)
    return _CODE.sub(lambda match: _maths(match[1], match[0]), text)


def _link(text):
    return _maths(text, text) if re.match(r"[\w()]+ = ", text) else text


def _maths(text, otherwise):
    """Returns a formula as TeX between dollars, or `otherwise` if the formula cannot be parsed."""
    try:
        return f"${as_tex(' '.join(text.split()))}$"
    except ValueError:
        return otherwise
