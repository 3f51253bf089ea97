"""Censored outcomes: the short formula for each kind of observation equals the general formula."""

import numpy as np
import pytest
import tensorflow as tf

import nllfit

FAMILIES = {
    "Weibull": nllfit.Censored("Weibull", link={"scale": "exp"}),
    "LogLogistic": nllfit.Censored("LogLogistic"),
    "Gamma": nllfit.Censored("Gamma"),
    "Poisson": nllfit.Censored("Poisson"),
    "a mixture": nllfit.Censored(nllfit.MixtureFamily("Normal", 2, event_shape=())),
    "a window": nllfit.Censored(nllfit.Truncated("Normal", low=0.5)),
}
KINDS = {
    "exact": [[1.0, 1.0], [3.0, 3.0]],
    "above": [[1.0, np.inf], [0.0, np.inf], [40.0, np.inf]],
    "below": [[-np.inf, 2.0], [-np.inf, 5.0]],
    "between": [[1.0, 3.0], [2.0, 7.0]],
}
OUTCOMES = np.array([pair for pairs in KINDS.values() for pair in pairs])


@pytest.mark.thorough(but=("Weibull", "a mixture"))
@pytest.mark.parametrize("name", FAMILIES)
def test_each_kind_has_the_general_log_likelihood_and_gradient(name):
    family = FAMILIES[name].holding({"validate_args": False})
    order = np.random.default_rng(0).permutation(len(OUTCOMES))
    y = OUTCOMES[order]
    numbers = tf.constant(np.random.default_rng(1).normal(size=[len(y), family.params_size]) / 3)

    def with_gradient(family, rows):
        at = tf.gather(numbers, rows)
        with tf.GradientTape() as tape:
            tape.watch(at)
            log_prob = family.distribution(at).log_prob(tf.constant(y[rows]))
        return log_prob.numpy(), tape.gradient(log_prob, at).numpy()

    whole = with_gradient(family, np.arange(len(y)))
    parts = family.by_kind(y)
    assert sorted(part.kind for part, _ in parts) == sorted(KINDS)
    assert sorted(np.concatenate([rows for _, rows in parts])) == list(range(len(y)))
    for part, rows in parts:
        expected = [[list(pair) in KINDS[part.kind] for pair in y[rows].tolist()]]
        assert np.all(expected)
        for found, all_rows in zip(with_gradient(part, rows), whole, strict=True):
            np.testing.assert_allclose(found, all_rows[rows], rtol=1e-12, atol=1e-14)
        assert part != family
        assert part == part.by_kind(y[rows])[0][0]


def test_outcomes_of_several_elements_are_of_one_kind():
    family = nllfit.Censored("Normal", event_shape=2)
    ((same, rows),) = family.by_kind(np.zeros([5, 2, 2]))
    assert same is family
    assert list(rows) == list(range(5))
