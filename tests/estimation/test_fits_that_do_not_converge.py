"""What an estimate reports: whether the fit converged, why a fit did not converge, and the number of parameters."""

import math
import re

import numpy as np
import pytest

from nllfit import MixtureFamily, maximum_likelihood


@pytest.mark.thorough(but="Poisson")
@pytest.mark.parametrize(
    ("family", "y", "limit"),
    [
        ("Bernoulli", [0, 0, 0, 0], "`probs` goes to 0"),
        ("Bernoulli", [1, 1, 1, 1], "`probs` goes to 1"),
        ("Poisson", [0, 0, 0, 0], "`rate` goes to 0"),
        ("Exponential", [0.0, 0.0, 0.0], "`rate` goes to infinity"),
        ("OneHotCategorical", np.eye(3)[[0, 0, 1, 1]], "`probs` goes to 0"),
        ("StudentT", np.random.default_rng(1).uniform(size=200), "`df` goes to infinity"),
    ],
)
def test_an_optimum_at_infinity_is_reported(family, y, limit):
    fit = maximum_likelihood(family, y)
    assert not fit.converged
    assert "no finite maximum" in fit.message
    assert limit in fit.message
    assert all(np.all(np.isnan(error)) for error in fit.standard_errors.values())
    assert "False" in fit.summary()
    with pytest.raises(ValueError, match="not a maximum"):
        fit.profile(next(iter(fit.parameters)), [0.5])


@pytest.mark.thorough  # a Poisson that is fitted to zeros, in the test above, also has no finite maximum
def test_underdispersed_counts_send_a_negative_binomial_to_infinity():
    fit = maximum_likelihood("NegativeBinomial", np.random.default_rng(0).binomial(100, 0.9, 50))
    assert fit.message == "no finite maximum: the log-likelihood goes on rising as `probs` goes to 0"


@pytest.mark.thorough
def test_an_exact_fit_has_no_bound():
    fit = maximum_likelihood("Normal", [5.0, 5.0, 5.0], loc=5.0)  # the scale goes to 0
    assert not fit.converged
    assert math.isnan(fit.standard_errors["scale"])


@pytest.mark.parametrize(
    ("family", "y", "errors"),
    [
        ("Normal", [2.0, 2.0, 2.0, 5.0], [np.sqrt(1.6875 / 4), np.sqrt(1.6875 / 8)]),
        ("Normal", [0.0, 1.0], [np.sqrt(1 / 8), 0.25]),
    ],
)
def test_few_distinct_values_do_not_lower_the_number_of_parameters(family, y, errors):
    estimate = maximum_likelihood(family, y)
    assert estimate.converged
    assert estimate.num_parameters == 2
    np.testing.assert_allclose([*estimate.standard_errors.values()], errors, rtol=1e-9)  # sigma/sqrt(n), sigma/sqrt(2n)


@pytest.mark.thorough
def test_binary_columns_do_not_lower_the_number_of_parameters():
    y = np.random.default_rng(3).integers(0, 2, [200, 2])
    estimate = maximum_likelihood("MultivariateNormalTriL", y)
    assert estimate.num_parameters == 5
    np.testing.assert_allclose(estimate.standard_errors["loc"], y.std(0) / np.sqrt(200), rtol=1e-6)


@pytest.mark.parametrize(
    ("family", "scale"), [("LogNormal", 1e9), pytest.param("InverseGamma", 1e8, marks=pytest.mark.thorough)]
)
def test_a_point_far_from_the_maximum_does_not_count_as_converged(family, scale):
    y = scale + np.random.default_rng(1).normal(size=300)
    estimate = maximum_likelihood(family, y)
    # The outcomes differ by at most about 1e-7 of their size, so the best distribution is nearly a Normal.
    assert not estimate.converged or abs(estimate.log_likelihood + 401.196) < 1e-2


@pytest.mark.parametrize(  # a location family, a family with many local maxima, and a family of bounded support
    "family",
    [
        "Normal",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("StudentT", "Triangular")),
    ],
)
def test_an_offset_of_1e9_changes_nothing(family):
    y = np.round(np.random.default_rng(0).logistic(size=200), 6)
    there = maximum_likelihood(family, 1e9 + y)
    here = maximum_likelihood(family, (1e9 + y) - 1e9)
    assert there.converged == here.converged
    assert there.log_likelihood == pytest.approx(here.log_likelihood, rel=1e-12)
    assert there.standard_errors == pytest.approx(here.standard_errors, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("family", "y", "reason"),
    [
        ("Gamma", 1e9 + np.random.default_rng(0).normal(size=300), "rounding errors of .* nats"),
        pytest.param(
            MixtureFamily("Laplace", 2, scale=1.0),
            np.random.default_rng(0).laplace(size=[2, 15]).T @ [1, 9],
            "not smooth",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_a_fit_that_did_not_converge_says_why(family, y, reason):
    fit = maximum_likelihood(family, y)
    assert not fit.converged
    assert re.search(reason, fit.message)


@pytest.mark.thorough
def test_a_held_location_far_from_0_does_not_lower_the_number_of_parameters():
    y = np.random.default_rng(3).normal(size=(60, 2)) @ [[2, 0.5], [0, 1]]
    loc = np.array([1e6, -3.0])
    fit = maximum_likelihood("MultivariateNormalTriL", y + loc, loc=loc)
    assert fit.num_parameters == 3
    np.testing.assert_allclose(fit.parameters["scale_tril"], np.linalg.cholesky(y.T @ y / 60), rtol=1e-6)


@pytest.mark.thorough
def test_a_parameter_at_the_end_of_its_domain_is_no_maximum():
    fit = maximum_likelihood("NoncentralChi2", np.random.default_rng(0).chisquare(5, 40))
    assert fit.message == "no finite maximum: the log-likelihood goes on rising as `noncentrality` goes to 0"


@pytest.mark.thorough
def test_the_peak_of_a_generalised_normal_may_be_an_observation():
    y = np.random.default_rng(3).laplace(size=50)
    fit = maximum_likelihood("GeneralizedNormal", y)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(-80.843115, abs=1e-5)  # from Nelder-Mead with many starts
    assert fit.parameters["loc"] in y
    assert "not smooth in `loc`" in fit.message
