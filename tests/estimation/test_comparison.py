"""`compare`: which families can be compared, their ranking and its table, and the errors raised before any fit."""

import dataclasses

import numpy as np
import pytest
import tensorflow_probability as tfp
from scipy import stats

from nllfit import (
    Censored,
    Comparison,
    Family,
    Hurdle,
    MixtureFamily,
    Truncated,
    ZeroInflated,
    compare,
    maximum_likelihood,
    right_censored,
)
from nllfit.estimation import comparison

tfd = tfp.distributions

COUNTS = np.random.default_rng(0).poisson(3.0, 60)
POLAR = Family("VonMisesFisher", 3, mean_direction=[0.0, 0.0, 1.0])
AMOUNTS = np.random.default_rng(1).gamma(2.0, 3.0, 80)


@pytest.mark.thorough
def test_families_may_be_names_classes_or_objects():
    ranking = compare(AMOUNTS, ["Exponential", tfd.LogNormal, Family("Normal")])
    names = sorted(estimate.family.name for estimate in ranking.estimates)
    assert names == ["Exponential", "LogNormal", "Normal"]


def test_a_categorical_family_fits_class_labels():
    y = [0, 0, 1, 2, 2, 2]
    (estimate,) = compare(y, [Family("Categorical", num_classes=3)]).estimates
    np.testing.assert_allclose(estimate.parameters["probs"], [1 / 3, 1 / 6, 1 / 2], rtol=1e-9)


@pytest.mark.thorough
def test_families_of_one_name_are_told_apart():
    families = [Family("Gamma", concentration=c) for c in (1.0, 2.0)]
    ranking = compare(AMOUNTS, [*families, "Gamma", Family("Beta", concentration0=np.array(2.0))])
    lines = ranking.summary().splitlines()
    labels = {"Gamma(concentration=1.0)", "Gamma(concentration=2.0)", "Gamma"}
    assert {line.split()[0] for line in lines[1:4]} == labels
    assert list(ranking.refused) == ["Beta(concentration0=2.0)"]
    for estimate in ranking.estimates:  # each log-likelihood is that of its own family
        a = (estimate.family.fixed | estimate.parameters)["concentration"]
        expected = stats.gamma(a, scale=1 / estimate.parameters["rate"]).logpdf(AMOUNTS).sum()
        assert estimate.log_likelihood == pytest.approx(expected, rel=1e-9)


def test_differences_are_from_the_best_fit_that_converged():
    good, better = maximum_likelihood("Exponential", AMOUNTS), maximum_likelihood("Gamma", AMOUNTS)
    failed = dataclasses.replace(maximum_likelihood("Normal", AMOUNTS), converged=False)
    table = Comparison([better, good, failed], {}).summary().splitlines()
    assert [float(line.split()[4]) for line in table[1:3]] == pytest.approx([0, good.aic - better.aic], abs=1e-4)
    assert table[3].endswith(failed.message)
    # There is no converged fit to compare with.
    assert Comparison([failed], {}).summary().splitlines()[1].split()[4] == "nan"


@pytest.mark.parametrize(
    ("distributions", "message"),
    [
        (["Poisson", "Gamma", "Geometric"], r"discrete families \(Poisson, Geometric\).*continuous ones \(Gamma\)"),
        ([MixtureFamily("Normal", 2), Family("Bernoulli")], r"\(Bernoulli\).*\(Mixture of 2 Normal\).*each kind"),
        (["Normal", Hurdle("LogNormal")], r"\(Normal\).*densities and a probability of 0"),
        ([MixtureFamily("Normal", 2), ZeroInflated("Normal")], r"Normal\), which .*\(ZeroInflated\(Normal\)\), which"),
        ([ZeroInflated("Gamma"), ZeroInflated("Poisson")], r"\(ZeroInflated\(Poisson\)\), which give probabilities"),
        ([], "empty"),
        ("Poisson", "'Poisson': give a list"),
        (tfd.Poisson, "give a list"),
        (Family("Poisson"), r"Family\(Poisson, \(\)\): give a list"),
        (None, "None: give a list"),
        (["Poisson", "Possion"], "Close to it: Poisson"),
        (["Poisson", 3], "`distribution` is 3: give a class"),
        (["Poisson", tfd.Poisson(1.0)], "give a class of tfp.distributions or its name"),
        (["Binomial"], r"total_count.*`Family\(\"Binomial\", total_count=10\)`"),
        (["Poisson", "Categorical"], r"needs `num_classes`.*`Family\(\"Categorical\", num_classes=3\)`"),
        (["OneHotCategorical"], "`logits` must have rank at least 1"),
    ],
)
def test_incomparable_families_are_refused_before_any_fit(distributions, message, monkeypatch):
    monkeypatch.setattr(comparison, "maximum_likelihood", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(ValueError, match=message):
        compare(COUNTS, distributions)


@pytest.mark.parametrize(
    ("y", "distributions", "message"),
    [
        (
            [[1.0, 9.0], [2.0, 9.0], [4.0, 9.0]],
            [Censored("Weibull"), Truncated("Weibull", high="row"), "Normal"],
            r"densities of `\[lower, upper\]`, and .* densities of `\[y, high\]`",
        ),
        (np.full([4, 3], 1 / 3), ["Dirichlet", "MultivariateNormalDiag"], "densities on the simplex"),
        (np.full([4, 3], 3**-0.5), [POLAR, "Normal"], "densities on the sphere"),
    ],
)
def test_densities_of_other_columns_or_on_a_surface_are_not_compared(y, distributions, message, monkeypatch):
    monkeypatch.setattr(comparison, "maximum_likelihood", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(ValueError, match=message):
        compare(y, distributions)


@pytest.mark.thorough
def test_a_share_of_zero_counts_is_compared_with_counts():
    y = COUNTS * (np.arange(60) % 3 > 0)
    # The tails of a Geometric have a closed form, so TensorFlow traces them much faster than the tails of a Poisson.
    ranking = compare(y, ["Poisson", ZeroInflated("Geometric"), Hurdle("Geometric"), Truncated("Geometric", high=20)])
    assert len(ranking.estimates) == 4
    amounts = compare(AMOUNTS * (np.arange(80) % 3 > 0), [Hurdle("Exponential"), ZeroInflated("LogNormal")])
    assert not amounts.refused


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ([], {}, "at least one observation"),
        ([1.0, np.inf], {}, "1 NaN or infinite values: remove them"),
        ([[1.0, np.inf], [2.0, 2.0]], {}, r"1 infinite values. If its rows are pairs .* `nllfit.Censored\("),
        (["a", "b"], {}, "not an array of numbers"),
        ([1.0, 2.0], {"weights": [1.0]}, r"`weights` has shape \(1,\)"),
        ([1.0, 2.0], {"weights": [1.0, -1.0]}, "negative"),
    ],
)
def test_an_invalid_sample_is_refused_before_any_fit(y, options, message):
    with pytest.raises(ValueError, match=message):
        compare(y, ["Normal"], **options)


def test_a_family_that_does_not_fit_the_sample_is_listed_and_all_of_them_are_an_error():
    ranking = compare([-1.0, 2.0, 3.0], ["Normal", "Gamma", Family("Normal", 2)])
    assert [e.family.name for e in ranking.estimates] == ["Normal"]
    assert "cannot have" in ranking.refused["Gamma"]
    assert r"`y` has shape (3,)" in ranking.refused["Normal"]
    with pytest.raises(ValueError, match=r"None of the `distributions`.*Gamma: .*Beta: "):
        compare([-1.0, 2.0, 3.0], ["Gamma", "Beta"])


@pytest.mark.thorough
@pytest.mark.parametrize("observed", [[1, 1, 0, 1], [1, 1, 1, 1]])
def test_a_family_of_numbers_is_listed_as_refused_for_pairs(observed):
    ranking = compare(right_censored([1.0, 2.0, 4.0, 3.0], observed), ["Normal", Censored("Exponential")])
    assert [estimate.family.label for estimate in ranking.estimates] == ["Censored(Exponential)"]
    assert ranking.estimates[0].parameters["rate"] == pytest.approx(sum(observed) / 10, rel=1e-9)
    assert "wrap it in the same way, such as `nllfit.Censored(family)`" in ranking.refused["Normal"]
