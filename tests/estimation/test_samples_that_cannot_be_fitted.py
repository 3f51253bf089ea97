"""Samples and arguments that cannot be fitted raise an error before any optimisation."""

import numpy as np
import pytest

from nllfit import Family, MixtureFamily, maximum_likelihood


@pytest.mark.parametrize(
    ("family", "y", "arguments", "message"),
    [
        ("Normal", [], {}, "at least one observation"),
        ("Normal", 3.0, {}, "at least one observation"),
        ("Normal", ["a", "b"], {}, "not an array of numbers"),
        ("Normal", [1.0, np.nan, 2.0], {}, "1 NaN"),
        ("Normal", [1.0, np.inf, 2.0], {}, "infinite"),
        ("Normal", [[2.0, 1.0], [np.inf, 3.0]], {}, "holds 1 NaN or infinite values: remove them"),
        ("Normal", [2.0, 2.0, 2.0], {}, "all values equal"),
        ("MultivariateNormalTriL", [[1.0, 2.0], [3.0, 2.0], [4.0, 2.0]], {}, "equal in a column"),
        ("Normal", [2.0], {}, "fewer than the 2 parameters"),
        ("JohnsonSU", [1.0, 2.0, 3.0], {}, "fewer than the 4 parameters"),
        ("Gamma", [1.0, -2.0, 3.0], {}, r"holds -2.0, which Gamma cannot have"),
        ("Gamma", [0.0, 2.0, 3.0], {}, r"holds 0.0, where the density of Gamma is zero or infinite"),
        ("Beta", [0.5, 1.5, 0.2], {}, r"holds 1.5, which Beta cannot have"),
        (MixtureFamily("Exponential", 2), [1.0, 2.0, -2.0, 3.0, 4.0], {}, r"holds -2.0, which Mixture of 2"),
        ("Poisson", [1, 2.5, 3], {}, r"holds 2.5, which Poisson cannot have"),
        ("Bernoulli", [0, 1, 2], {}, r"holds 2.0, which Bernoulli cannot have"),
        ("Bernoulli", [0, 1, 0.5], {}, r"holds 0.5, which Bernoulli cannot have"),
        ("Zipf", [1, 1.5, 3], {}, r"holds 1.5, which Zipf cannot have"),
        ("Categorical", [0, 1.5, 2], {"num_classes": 3}, r"holds 1.5, which Categorical cannot have"),
        ("Categorical", [0, 1, 3], {"num_classes": 3}, r"holds 3.0, which Categorical cannot have"),
        ("Exponential", [1.0, -1.0], {}, r"holds -1.0, which Exponential cannot have"),
        ("Normal", [1.0, 2.0], {"weights": [1.0]}, r"`weights` has shape \(1,\), but `y` has 2"),
        ("Normal", [1.0, 2.0], {"weights": [1.0, -1.0]}, "negative"),
        ("Normal", [1.0, 2.0], {"weights": [0.0, 0.0]}, "all zero"),
        ("Normal", [1.0, 2.0], {"loc": 0.0, "scale": 1.0}, "nothing to learn"),
        ("Normal", [1.0, 2.0], {"rate": 1.0}, "no parameter `rate`"),
        ("Nonsense", [1.0, 2.0], {}, "'Nonsense'"),
        (Family("Normal"), [1.0, 2.0], {"loc": 0.0}, "together with a family object"),
        (Family("Normal", 2), [1.0, 2.0], {}, r"has shape \('n', 2\)"),
        (Family("Normal", shared=("scale",)), [1.0, 2.0], {}, "shares"),
        ("Uniform", [0.5, 1.5, 2.5], {"low": 1.0}, "`y` holds 0.5, which Uniform cannot have"),
        ("BetaQuotient", [0.2, 0.5, 0.7, 0.9], {}, "BetaQuotient cannot be fitted: .* on a grid"),
        ("Normal", [1.0, 2.0, 3.0], {"loc": np.nan}, "`loc` is held at nan: give a finite value"),
        ("Normal", [1.0, 2.0, 3.0], {"loc": np.inf}, "`loc` is held at inf: give a finite value"),
        ("MultivariateNormalTriL", [1.0, 2.0, 3.0], {}, r"give vectors as rows, `\[n, d\]`"),
        ("Normal", np.ma.array([1.0, 2.0, 99.0], mask=[0, 0, 1]), {}, "`y` has 1 masked values"),
    ],
)
def test_bad_input_is_refused_before_any_optimisation(family, y, arguments, message, monkeypatch):
    monkeypatch.setattr("nllfit.estimation.search.maximize", lambda *_: pytest.fail("it was optimised"))
    with pytest.raises(ValueError, match=message):
        maximum_likelihood(family, y, **arguments)


@pytest.mark.parametrize("label", [3, -1])
def test_an_invalid_label_is_refused_without_tensorflows_log(label, capfd):
    with pytest.raises(ValueError, match="its 3 classes are labelled 0 to 2"):
        maximum_likelihood("Categorical", [0, 1, 2, label], num_classes=3)
    assert "INVALID_ARGUMENT" not in capfd.readouterr().err


def test_dependent_columns_are_refused():
    x = np.random.default_rng(0).normal(size=100)
    with pytest.raises(ValueError, match=r"The columns of `y`, .* are dependent"):
        maximum_likelihood("MultivariateNormalTriL", np.stack([x, 2 * x], 1))
