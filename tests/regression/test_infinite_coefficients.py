"""The message of a regression without a finite maximum names the coefficients that go to infinity."""

import numpy as np
import pytest
from scipy import optimize

import nllfit

RISES = "no finite maximum: the log-likelihood goes on rising as "


def rows():
    """Returns a table: numbers `x`, groups `g`, Poisson counts `count`, and outcomes `label` of three classes."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=90), np.repeat(["a", "b", "c"], 30)
    return {"x": x, "g": g, "count": rng.poisson(np.exp(0.5 + 0.3 * x)), "label": rng.choice(["p", "q", "r"], 90)}


def test_a_column_that_separates_the_classes_is_named():
    data = {"y": [0, 0, 0, 1, 1, 1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "z": [2.0, 1.0, 2.0, 1.0, 2.0, 1.0]}
    fit = nllfit.regression("y ~ x + z", data, "Bernoulli")
    assert fit.message.startswith(RISES + "`Intercept` goes to -infinity and `x` goes to infinity")
    assert fit.message.endswith("drop the columns, or merge their levels")


def test_a_group_of_zeros_is_named():
    data = rows()
    data["count"][data["g"] == "b"] = 0
    fit = nllfit.regression("count ~ x + C(g)", data, "Poisson")
    assert not fit.converged
    assert fit.message.startswith(RISES + "`C(g)[T.b]` goes to -infinity: these columns separate rows")
    assert fit.predict_interval()[["mean_se", "mean_lower", "mean_upper"]].isna().all(axis=None)


@pytest.mark.thorough
def test_the_contrasts_to_a_group_of_zeros_are_named():
    data = rows()
    data["count"][data["g"] == "a"] = 0
    fit = nllfit.regression("count ~ C(g)", data, "Poisson")
    assert fit.message.startswith(
        RISES + "`Intercept` goes to -infinity and `C(g)[T.b]` goes to infinity and `C(g)[T.c]` goes to infinity: these"
    )


@pytest.mark.thorough
def test_a_group_of_one_class_is_named():
    """All rows of group b have class q, so its logit goes to infinity in this group.

    But the eigenvector of the smallest curvature does not lead to infinity. Along it, the logits of q and r in group b
    rise or fall together, and the logit of r changes more than the logit of q. So a long move in either direction
    lowers the likelihood. The eigenvector of the next curvature leads to infinity.
    """
    data = rows()
    data["label"][data["g"] == "b"] = "q"
    fit = nllfit.regression("label ~ C(g)", data, "Categorical")
    assert RISES in fit.message
    assert "`q: C(g)[T.b]` goes to infinity" in fit.message


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("family", "name", "limit"),
    [(nllfit.ZeroInflated("Poisson"), "zero_probs", "0"), ("NegativeBinomial", "alpha", "0")],
)
def test_a_parameter_without_a_formula_is_named_with_its_limit(family, name, limit):
    data = rows()
    data["count"] = np.where(data["x"] > 0, 3, 2)  # the counts vary less than Poisson counts
    fit = nllfit.regression("count ~ x", data, family)
    assert fit.message == (
        f"{RISES}`{name}` goes to {limit}: hold the parameter at a value, or choose a family without it"
    )


@pytest.mark.parametrize("unit", [1.0, 1e3])
def test_a_parameter_that_goes_to_infinity_is_named_whatever_the_unit_of_the_outcome(unit):
    """Uniform noise has lighter tails than any StudentT, so the best `df` is infinite."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    fit = nllfit.regression("y ~ x", {"x": x, "y": unit * (x + rng.uniform(-1, 1, 60))}, "StudentT")
    assert fit.message.startswith(RISES + "`df` goes to infinity: hold the parameter at a value")


@pytest.mark.thorough
def test_times_that_are_all_censored_have_no_maximum():
    fit = nllfit.regression("Surv(x, seen) ~ 1", {"x": [1.0, 2.0, 3.0], "seen": [0, 0, 0]}, "Exponential")
    assert fit.message.startswith(RISES + "`Intercept` goes to infinity")


@pytest.mark.thorough(but="Poisson")
@pytest.mark.parametrize(
    ("family", "outcome"), [("Poisson", "zeros"), ("Bernoulli", "zeros"), ("LogNormal", "censored")]
)
def test_if_all_outcomes_are_at_one_end_only_the_intercept_is_named(family, outcome, rng):
    data = {"x": rng.normal(size=40), "t": rng.exponential(size=40), "zero": np.zeros(40)}
    fit = nllfit.regression(f"{'zero' if outcome == 'zeros' else 'Surv(t, zero)'} ~ x", data, family)
    sign = "-" if outcome == "zeros" else ""
    assert fit.message.startswith(f"{RISES}`Intercept` goes to {sign}infinity: all outcomes are at the same end (0,")


def test_a_column_that_separates_all_but_two_equal_rows_is_named():
    """The two equal rows have `x = 0`, and each class contains one of them.

    At the end of the search, the losses of all other rows are exactly 0. So the slope along `x` is a rounding error.
    """
    x = [*np.linspace(-2, -0.1, 20), 0, 0, *np.linspace(0.1, 2, 20)]
    fit = nllfit.regression("y ~ x", {"x": x, "y": [0] * 20 + [0, 1] + [1] * 20}, "Bernoulli")
    assert fit.message.startswith(RISES + "`x` goes to infinity: these columns")
    assert np.isnan(fit.bse).all()


@pytest.mark.parametrize("seed", [51, pytest.param(90, marks=pytest.mark.thorough)])
def test_newtons_step_leads_to_infinity_between_directions_of_very_different_curvature(seed):
    """No eigenvector of the information separates the classes. Directions between two eigenvectors do."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(0, 3, 60), np.round(rng.normal(size=60), 1)])
    predictor = x @ rng.normal(size=2) * 80
    y = np.unique(np.digitize(predictor + rng.logistic(size=60), [-1, 1]), return_inverse=True)[1]
    fit = nllfit.regression("y ~ a + b", {"y": y, "a": x[:, 0], "b": x[:, 1]}, "OrderedLogistic")
    assert not has_maximum(x, y)
    assert not fit.converged
    assert fit.message.startswith(RISES)


def has_maximum(x, y):
    """Returns whether the likelihood has a finite maximum: whether no direction separates the classes 0, 1, ...

    A direction is a change of the coefficients and of the cutpoints between the ordered classes. A direction separates
    the classes if it moves no row closer to a cutpoint next to the row's class, and moves at least one row away from
    such a cutpoint. A linear program searches for such a direction. For two classes, the only cutpoint is minus the
    intercept.

    Source: Albert and Anderson, On the existence of maximum likelihood estimates in logistic regression models, 1984.
    """
    cutpoints = np.eye(y.max() + 1)[:, :-1]
    above = np.column_stack([x, -cutpoints[y - 1]])[y > 0]
    below = np.column_stack([-x, cutpoints[y]])[y < y.max()]
    margins = np.concatenate([above, below])
    found = optimize.linprog(-margins.sum(0), A_ub=-margins, b_ub=np.zeros(len(margins)), bounds=(-1, 1))
    return -found.fun < 1e-7


@pytest.mark.parametrize("family", ["Bernoulli", "OrderedLogistic"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 20))])
def test_a_fit_converges_if_and_only_if_no_direction_separates_the_classes(seed, family):
    rng = np.random.default_rng(seed)
    cutpoints = [0.0] if family == "Bernoulli" else [-1.5, 1.5]
    found, expected = [], []
    for _ in range(10):
        columns = [rng.normal(size=20), rng.integers(0, 2, 20), rng.integers(-2, 3, 20)]
        x = np.column_stack(columns[: rng.integers(1, 4)]).astype(float)
        labels = np.digitize(3 * x.sum(1) + rng.logistic(size=20), cutpoints)
        y = np.unique(labels, return_inverse=True)[1]  # a class may have no rows
        data = {"y": y} | {f"x{i}": column for i, column in enumerate(x.T)}
        found.append(nllfit.regression("y ~ " + " + ".join([*data][1:]), data, family).converged)
        expected.append(has_maximum(x, y))
    assert found == expected
