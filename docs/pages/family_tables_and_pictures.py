"""The page of families: a table that the code generates, and a picture of the density of each named head."""

import io
import warnings

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit import heads
from nllfit.families.discreteness import is_discrete
from nllfit.families.law import elements_of, law_of
from nllfit.families.links import default_link
from nllfit.families.tfp_classes import INDEPENDENT

__all__ = ["PICTURES", "families", "made_rows", "page", "picture", "row"]

# Event shapes and arguments to try for each family. The table shows the first pair with which the family can be built.
_FORMS = [
    ((), {}),
    (3, {}),
    ((), {"num_classes": 3}),
    ((), {"total_count": 10.0}),
    (3, {"total_count": 10.0}),
    ((), {"low": 0.0, "high": 1.0}),
    (3, {"df": 5.0}),
    ((3, 3), {"df": 5.0}),
    ((3, 3), {}),
]
# The shaded areas in the picture of `Censored`: the label, and the lower and upper end.
_CENSORED_AREAS = {"P(0.5 < y <= 1)": (0.5, 1.0), "P(y > 3)": (3.0, np.inf)}
_LINKS = {
    tfb.Identity: "{0} = u",
    tfb.Softplus: "{0} = softplus(u) + eps",
    tfb.Exp: "{0} = exp(u)",
    tfb.Sigmoid: "{0} = sigmoid(u)",
    tfb.Tanh: "{0} = tanh(u)",
}


def _sinh_arcsinh_normal(params):
    """Maps numbers `[..., 3]` to a small flow: a transformed Normal with batch shape `[...]`."""
    loc, skewness, tail = tf.unstack(params, axis=-1)
    bend = tfb.Chain([tfb.Shift(loc), tfb.SinhArcsinh(skewness, tf.exp(tail))])
    return tfd.TransformedDistribution(tfd.Normal(tf.zeros_like(loc), 1.0), bend)


# For each family that modifies another one: the arguments as text, an example, and the support as text. If the support
# is None, `_support` determines it.
_MODIFIERS = {
    "Censored": ('"Weibull"', nllfit.Censored("Weibull"), "[lower, upper], numbers or an infinity each"),
    "Hurdle": ('"LogNormal"', nllfit.Hurdle("LogNormal"), "0, and y > 0"),
    "Truncated": ('"Poisson", low=0', nllfit.Truncated("Poisson", low=0), "{1, 2, ...}"),
    "ZeroInflated": ('"Poisson"', nllfit.ZeroInflated("Poisson"), None),
}


def _modified_poisson(name, **parameters):
    """The distribution of a head that modifies a Poisson, at the given parameters."""
    family = nllfit.Truncated("Poisson", low=0) if name == "Truncated" else getattr(nllfit, name)("Poisson")
    return family.holding({"validate_args": False}).build(parameters, tf.float32)


# The pictures of the named heads: the distributions to draw, with their legends.
PICTURES = {
    "Bernoulli": [(f"p = {p}", tfd.Bernoulli(probs=p)) for p in (0.2, 0.5, 0.9)],
    "Beta": [(f"a = {a}, b = {b}", tfd.Beta(a, b)) for a, b in ((0.7, 0.7), (2.0, 5.0), (8.0, 3.0))],
    "Categorical": [("logits 1, 0, 2", tfd.Categorical([1.0, 0.0, 2.0]))],
    "Censored": [(f"P({known})", tfd.Weibull(1.5, 2.0)) for known in ("0.5 < y <= 1", "y > 3")],
    "DistributionLambda": [
        (f"skewness {skewness:g}, tail {tail:g}", _sinh_arcsinh_normal([0.0, skewness, np.log(tail)]))
        for skewness, tail in ((0.0, 1.0), (0.7, 1.0), (0.0, 0.5))
    ],
    "Gamma": [(f"a = {a}, rate = {r}", tfd.Gamma(a, r)) for a, r in ((1.0, 1.0), (3.0, 1.0), (9.0, 2.0))],
    "Hurdle": [
        (f"pi = {pi}, rate = {r:g}", _modified_poisson("Hurdle", zero_logits=np.log(pi / (1 - pi)), rate=r))
        for pi, r in ((0.4, 4.0), (0.1, 9.0))
    ],
    "Laplace": [(f"scale = {s}", tfd.Laplace(0.0, s)) for s in (0.5, 1.0, 2.0)],
    "LogNormal": [(f"loc = {m}, scale = {s}", tfd.LogNormal(m, s)) for m, s in ((0.0, 0.25), (0.0, 1.0), (1.0, 0.5))],
    "Mixture": [
        (
            f"weights {w:g}, {1 - w:g}",
            tfd.MixtureSameFamily(tfd.Categorical(probs=[w, 1 - w]), tfd.Normal([-2.0, 2.0], [0.7, 1.2])),
        )
        for w in (0.5, 0.8)
    ],
    "NegativeBinomial": [
        (f"r = {r:g}, mean 4", tfd.NegativeBinomial(r, probs=4.0 / (r + 4.0))) for r in (1.0, 3.0, 30.0)
    ],
    "Normal": [(f"loc = {m}, scale = {s}", tfd.Normal(m, s)) for m, s in ((0.0, 0.5), (0.0, 1.0), (2.0, 1.5))],
    "OneHotCategorical": [("logits 1, 0, 2", tfd.Categorical([1.0, 0.0, 2.0]))],
    "Poisson": [(f"rate = {r:g}", tfd.Poisson(r)) for r in (1.0, 4.0, 9.0)],
    "StudentT": [(f"df = {df:g}", tfd.StudentT(df, 0.0, 1.0)) for df in (1.0, 3.0, 30.0)],
    "Truncated": [(f"rate = {r:g}, low = 0", _modified_poisson("Truncated", rate=r)) for r in (0.5, 2.0, 6.0)],
    "ZeroInflated": [
        (f"pi = {pi}, rate = {r:g}", _modified_poisson("ZeroInflated", zero_logits=np.log(pi / (1 - pi)), rate=r))
        for pi, r in ((0.3, 4.0), (0.1, 9.0))
    ],
}


def families() -> dict[str, tuple[nllfit.Family, str]]:
    """All TFP families that heads support: a dict from the name to the family and its arguments as text."""
    found = {}
    for name in sorted(dir(tfd)):
        for event_shape, arguments in _FORMS:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # deprecations inside TFP
                    family = nllfit.Family(name, event_shape, **arguments)
            except ValueError:
                continue
            texts = [str(event_shape)] * (event_shape != ()) + [f"{key}={value:g}" for key, value in arguments.items()]
            found[name] = family, ", ".join(texts)
            break
    return found


def row(name: str, family: nllfit.Family, given: str) -> list[str]:
    """Returns a family's row of the table.

    The support may depend on the parameters. So the supports of two distributions of the family are compared.
    """
    examples = [_example(family, number) for number in (0.0, 2.0)]
    named = name in heads.__all__
    supports = [_support(family, distribution) for distribution in examples]
    return [
        f"`{name}{f'({given})' * (name in _MODIFIERS)}`"
        if named
        else f'`DistributionHead("{name}"{", " + given if given else ""})`',
        ", ".join(f"`{parameter}`" for parameter in family.parameter_names),
        "; ".join(_link(family, parameter) for parameter in family.parameter_names),
        supports[0] if supports[0] == supports[1] else "ends set by the parameters",
        _center(examples),
        *_probabilities(examples[0]),
        _censored(family),
    ]


def _example(family, number):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside TFP
        params = tf.fill([1, family.params_size], number)
        distribution = law_of(family.holding({"validate_args": False}).distribution(params)).latent()
    while isinstance(distribution, INDEPENDENT):
        distribution = distribution.distribution
    return distribution


def made_rows() -> list[list[str]]:
    """The rows of the heads that modify another family, or call a user's function."""
    lines = []
    for name, (given, family, support) in _MODIFIERS.items():
        line = row(name, family, given)
        lines.append([*line[:3], support or line[3], *line[4:]])
    of_function = ["its own", "its own", "that of its distribution", "mean, median or mode", "in float64", "in float64"]
    return [*lines, ["`DistributionLambda(make_distribution, params_size)`", *of_function, "no"]]


def _link(family, name):
    if name == "zero_logits":  # `ZeroInflated` and `Hurdle` have this parameter
        return "`zero_logits = u`"
    family = getattr(family, "family", family)
    if name in family.facts.links:
        return f"{name}: between its bounds"
    link = default_link(family.distribution_class, name, tf.float64)
    kind = next((text for kind, text in _LINKS.items() if isinstance(link, kind)), None)
    return f"`{kind.format(name)}`" if kind else f"{name}: {type(link).__name__ if link else 'between its bounds'}"


def _support(family, distribution):
    if distribution.event_shape.rank:
        return f"arrays of shape {tuple(distribution.event_shape)}" if distribution.event_shape.rank > 1 else "vectors"
    if law_of(distribution).has_class_labels:
        return "{0, ..., num_classes - 1}"
    try:
        low, high = (float(np.ravel(end)[0]) for end in law_of(distribution).ends())
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return "one number"
    if is_discrete(distribution):
        if family.name in ("Bernoulli", "ProbitBernoulli"):
            return "{0, 1}"
        low = max(low, family.facts.lowest) if np.isfinite(low) else low
        if np.isfinite(high):
            return f"{{{low:.0f}, ..., {high:.0f}}}"
        return f"{{{low:.0f}, {low + 1:.0f}, ...}}" if np.isfinite(low) else "whole numbers"
    if not np.isfinite([low, high]).any():
        return "real numbers"
    if not np.isfinite(high):
        return f"y > {low:.3g}"
    return f"{low:.3g} to {high:.3g}" if np.isfinite(low) else f"y < {high:.3g}"


def _center(examples):
    if law_of(examples[0]).has_class_labels:
        return "probabilities"
    for name in ("mean", "mode"):
        for distribution in examples:  # the mean of some families exists only for some parameters
            try:
                if np.all(np.isfinite(np.asarray(getattr(distribution, name)(), np.float64))):
                    return name
            except (NotImplementedError, ValueError, TypeError):
                break
    return "median"


def _probabilities(distribution):
    """Two cells of the table: whether there is a CDF, and how the CRPS is computed."""
    vectors = distribution.event_shape.rank > 0
    energy = "energy score, by draws" if vectors and not is_discrete(distribution) else None
    try:
        elements = elements_of(distribution)
    except NotImplementedError:
        return "no", energy or "none"
    try:
        nllfit.cdf(distribution, 1.0)
        cdf = "of each element" if vectors else "yes"
    except (NotImplementedError, ValueError, TypeError):  # some CDFs of TFP fail for some dtypes, or with a newer NumPy
        cdf = "no"
    if energy or elements.facts.crps is not None:
        return cdf, energy or "closed form"
    if cdf == "no":
        return cdf, "none"
    return cdf, "sum" if is_discrete(distribution) else "quadrature"


def _censored(family):
    try:
        nllfit.Censored(family)
    except ValueError:
        return "no"
    return "yes"


def picture(name: str) -> bytes:
    """The densities or probabilities of a named head for a few values of its parameters, as an SVG."""
    figure = Figure(figsize=(3.4, 2.3), layout="constrained")
    ax = figure.subplots()
    drawn = PICTURES[name]
    if is_discrete(getattr(drawn[0][1], "components_distribution", drawn[0][1])):
        labels = name in ("Bernoulli", "Categorical", "OneHotCategorical")
        points = np.arange(2.0 if name == "Bernoulli" else 3.0) if labels else np.arange(17.0)
        for i, (label, distribution) in enumerate(drawn):
            shift = 0.22 * (i - (len(drawn) - 1) / 2) if labels else 0.0
            heights = np.exp(distribution.log_prob(points.astype(distribution.dtype.as_numpy_dtype)))
            if labels:
                ax.bar(points + shift, heights, 0.2, label=label)
            else:
                ax.plot(points, heights, "o-", markersize=3, linewidth=1, label=label)
        ax.set_xticks(points if labels else points[::4])
        ax.set_ylabel("probability")
    else:
        ranges = {"Beta": (0.004, 0.996), "Censored": (0.01, 6.0), "Gamma": (0.01, 9.0), "LogNormal": (0.01, 7.0)}
        points = np.linspace(*ranges.get(name, (-5.0, 5.0)), 401, dtype=np.float32)
        for label, distribution in drawn:
            heights = np.exp(distribution.log_prob(points))
            if name == "Censored":
                low, high = _CENSORED_AREAS[label]
                ax.fill_between(points, heights, where=(low < points) & (points <= high), alpha=0.4, label=label)
            ax.plot(points, heights, **({"color": "0.3"} if name == "Censored" else {"label": label}))
        ax.set_ylabel("density")
    ax.set(xlabel="y", ylim=(0, 1.3 * ax.get_ylim()[1]))  # leaves room for the legend
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize="x-small", frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def page() -> tuple[str, dict[str, bytes]]:
    """The page's Markdown and its pictures by name."""
    rows = [*made_rows(), *(row(name, family, given) for name, (family, given) in families().items())]
    pictures = {f"{name}.svg": picture(name) for name in PICTURES}
    cards = "\n\n".join(
        f"-   ![The density of {name} over a few parameters](families/{name}.svg)\n\n    `heads.{name}`: "
        + (getattr(heads, name).__doc__ or "").partition("\n")[0]
        for name in PICTURES
    )
    columns = ["head", "parameters", "links", "support", "as a tensor", "CDF", "CRPS", "censored"]
    table = [columns, ["---"] * len(columns), *rows]
    text = f"""# Families

A family maps real numbers, the outputs of a network, to a distribution. This page lists all families that a head can
have. To choose one, ask which values an outcome can have: the *support* must contain all of them, and little else.

## The named heads

<div class="grid cards" markdown>

{cards}

</div>

`heads.MultivariateNormalTriL` is for vectors whose elements depend on each other, and `heads.DistributionHead` for all
other families.

## All {len(rows)} families

The first rows show heads that modify another family, with an example of that family, and `DistributionLambda`, the head
of a user's function. `nllfit.Censored`, `nllfit.Truncated`, `nllfit.ZeroInflated` and `nllfit.Hurdle` say which
families they accept.

This table is generated from the code. *u* is the output of the layer before the head, and *eps* the resolution of the
dtype. *As a tensor* is the result of `predict`; if the mean of a row is undefined, `predict` returns the median or the
mode. The CRPS is computed by a closed form, by quadrature of the CDF, by a sum over counts, or as the energy score of
vectors. The head of a scalar family has an independent distribution for each element of its `event_shape`. *Censored*
says whether `nllfit.Censored` accepts the family.

<div class="wide" markdown>

{chr(10).join("| " + " | ".join(line) + " |" for line in table)}

</div>
"""
    return text, {f"families/{name}": content for name, content in pictures.items()}
