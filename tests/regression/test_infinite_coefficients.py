"""The message of a regression without a finite maximum names the coefficients that go to infinity."""

import numpy as np
import pytest

import nllfit

RISES = "no finite maximum: the log-likelihood goes on rising as "


def rows(n=90):
    """Returns a table: numbers `x`, groups `g`, Poisson counts `count`, and outcomes `label` of three classes."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=n), np.repeat(["a", "b", "c"], n // 3)
    return {"x": x, "g": g, "count": rng.poisson(np.exp(0.5 + 0.3 * x)), "label": rng.choice(["p", "q", "r"], n)}


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

    But the axis with the smallest curvature does not lead to infinity. Along this axis, the logits of q and r in group
    b rise or fall together, and the logit of r changes more than the logit of q. So a long move in either direction
    lowers the likelihood. The next axis leads to infinity.
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


@pytest.mark.thorough
def test_times_that_are_all_censored_have_no_maximum():
    fit = nllfit.regression("Surv(x, seen) ~ 1", {"x": [1.0, 2.0, 3.0], "seen": [0, 0, 0]}, "Exponential")
    assert fit.message.startswith(RISES + "`Intercept` goes to infinity")
