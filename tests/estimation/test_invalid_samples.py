"""Invalid samples and weights raise errors that say what to do."""

import numpy as np
import pytest
from scipy import stats
from tensorflow_probability import distributions as tfd

from nllfit import Censored, Family, Truncated, compare, maximum_likelihood


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([1 + 2j, 2, 3]), "`y` is of dtype complex128"),
        (np.array(["2020-01-01", "2020-01-03", "2020-01-09"], "datetime64[D]"), r"`y` is of dtype datetime64\[D\]"),
        (np.array([1, 2, 4], "timedelta64[s]"), r"`y` is of dtype timedelta64\[s\]"),
        (["1", "2", "4"], "`y` is of dtype <U1"),
        (np.array([1.0, 2, 4, 7]) * 1e-310, "absolute values up to 7e-310, .* another unit"),
        (np.array([1.0, 2, 4, 7]) * 1e305, r"absolute values up to 7e\+305, .* another unit"),
    ],
)
def test_samples_that_are_not_ordinary_numbers_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        maximum_likelihood("Normal", y)
    with pytest.raises(ValueError, match=message):
        compare(y, ["Normal"])


@pytest.mark.parametrize("weights", [np.array([1 + 1j, 2, 3]), ["a", "b", "c"], np.array([1, 2, 3], "datetime64[D]")])
def test_weights_that_are_not_real_numbers_are_refused(weights):
    with pytest.raises(ValueError, match="`weights` is not an array of numbers"):
        maximum_likelihood("Normal", [1.0, 2.0, 4.0], weights=weights)


def test_masked_values_are_refused():
    masked = np.ma.array([1.0, 2.0, 30.0], mask=[0, 0, 1])
    with pytest.raises(ValueError, match="`y` has 1 masked values"):
        maximum_likelihood("Exponential", masked)
    with pytest.raises(ValueError, match="`weights` has 1 masked values"):
        maximum_likelihood("Exponential", [1.0, 2.0, 30.0], weights=masked)


def test_counts_beyond_32_bits_are_refused():
    with pytest.raises(ValueError, match="`y` holds 3000000000, but the outcomes of Zipf are int32 numbers"):
        maximum_likelihood("Zipf", [1.0, 2.0, 3e9])


def test_numbers_in_an_array_of_objects_are_numbers():
    assert maximum_likelihood("Normal", np.array([1, 2, 6], object)).parameters["loc"] == pytest.approx(3)


def test_a_parameter_for_each_row_is_refused_with_an_alternative():
    rng = np.random.default_rng(0)
    totals = rng.integers(5, 20, 30)
    y = rng.binomial(totals, 0.3)
    with pytest.raises(ValueError, match=r"`total_count` has a value for each of the 30 rows.*Bernoulli\", \[1, 0\]"):
        maximum_likelihood("Binomial", y, total_count=totals.astype(float))
    fit = maximum_likelihood("Bernoulli", [1, 0], weights=[y.sum(), (totals - y).sum()])  # the advice in the message
    assert fit.parameters["probs"] == pytest.approx(y.sum() / totals.sum(), rel=1e-9)
    with pytest.raises(ValueError, match="`scale` has a value for each of the 3 rows"):
        maximum_likelihood("Normal", [1.0, 2.0, 4.0], scale=np.ones(3))


def test_one_observation_is_enough_for_one_parameter():
    assert maximum_likelihood("Exponential", [2.0]).parameters["rate"] == pytest.approx(0.5, rel=1e-12)


@pytest.mark.thorough
def test_columns_of_very_different_spread_are_not_dependent():
    y = np.random.default_rng(0).normal(size=(60, 2)) * [1e-7, 1e7]
    fit = maximum_likelihood("MultivariateNormalTriL", y)
    np.testing.assert_allclose(np.diag(fit.parameters["scale_tril"])[0], y[:, 0].std(), rtol=1e-6)
    assert fit.converged


def test_one_interval_in_all_rows_has_no_maximum():
    with pytest.raises(ValueError, match=r"`y` has the same interval in all rows.* lies within \[1. 2.\]"):
        maximum_likelihood(Censored("Weibull"), np.tile([1.0, 2.0], [9, 1]))


@pytest.mark.thorough
def test_a_von_mises_fisher_with_a_held_direction_matches_the_formula():
    y = np.random.default_rng(0).normal([2, 0, 0], 1, (200, 3))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    fit = maximum_likelihood("VonMisesFisher", y, mean_direction=[1.0, 0.0, 0.0])
    k = fit.parameters["concentration"]
    assert 1 / np.tanh(k) - 1 / k == pytest.approx(y[:, 0].mean(), rel=1e-6)  # Mardia and Jupp, section 10.3
    with pytest.raises(ValueError, match="where the density of VonMisesFisher is zero"):
        maximum_likelihood("VonMisesFisher", 2 * y, mean_direction=[1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("family", "wrapped"),
    [
        ("Weibull", 'those of Weibull are numbers: wrap the family, `nllfit.Censored("Weibull")`'),
        (tfd.Weibull, "those of Weibull are numbers: wrap the family, `nllfit.Censored(Weibull)`"),
        (Family("Gamma", rate=1.0), "those of Gamma(rate=1.0) are numbers: wrap the family, `nllfit.Censored(family)`"),
        (Truncated("Gamma", low="row"), "are numbers: wrap the family, `nllfit.Censored(family)`"),
    ],
)
@pytest.mark.parametrize(
    "y",
    [
        stats.CensoredData.interval_censored([2.0, 3, 4, 6], [3.0, 4, 5, 7]),
        stats.CensoredData.right_censored([2.0, 3, 4, 6], [0, 0, 1, 0]),
    ],
)
def test_censored_data_is_not_two_columns_of_a_plain_family(y, family, wrapped):
    for call in (
        lambda: maximum_likelihood(family, y),
        lambda: compare(y, [family]),
        lambda: compare(y, [Censored("Weibull"), family]),
    ):
        with pytest.raises(ValueError, match="`y` is SciPy's `CensoredData`") as refused:
            call()
        assert wrapped in str(refused.value)
