"""`Facts` of families: all names in them exist in TFP, and every entry is necessary."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit import Family, MixtureFamily
from nllfit.families.facts import FACTS, Facts
from nllfit.families.links import default_link
from nllfit.families.search_policy import SearchPolicy

tfd = tfp.distributions


@pytest.mark.parametrize("cls", FACTS)
def test_facts_name_existing_families_and_parameters(cls):
    known, facts, policy = set(cls.parameter_properties()), FACTS[cls], FACTS[cls].search
    assert facts != Facts()
    corner = [policy.corner] if policy.corner else []
    named = {*facts.links, *facts.twins, *facts.endless, *policy.statistics, *corner}
    # The default policy names parameters of many families, so its names are not checked.
    for field in ("locations", "scales", "rates"):
        named |= set(getattr(policy, field)) - set(getattr(SearchPolicy(), field))
    assert named <= known


@pytest.mark.parametrize("cls", [cls for cls in FACTS if FACTS[cls].links])
def test_facts_add_links_only_where_tfp_has_none(cls):
    for parameter in FACTS[cls].links:
        with pytest.raises(NotImplementedError):
            cls.parameter_properties()[parameter].default_constraining_bijector_fn()


@pytest.mark.parametrize(
    ("family", "positive"),
    [
        (Family("Gamma"), ("concentration",)),
        (Family("StudentT"), ("df", "scale")),
        (Family("Normal", floor={"scale": 0.5}), ()),
        (Family("Normal", floor={"scale": 0.0}), ("scale",)),
        (Family("Zipf"), ()),  # its power is larger than 1, so it has no logarithmic coordinate
        (Family("Triangular"), ()),
        (Family("Triangular", low=0.0), ("high",)),
        (Family("Triangular", low=1.0), ()),
        (MixtureFamily("Gamma", 2), ("concentration",)),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_the_link_says_which_parameters_are_positive(family, positive):
    assert family.positive == positive
    logarithmic = family.logarithmic()
    w = np.random.default_rng(0).standard_normal([3, family.params_size])
    parameters = logarithmic.parameters(tf.constant(w))
    places = np.flatnonzero(logarithmic.logarithms)
    given = [name for name in parameters if name.startswith("log_")]  # TFP's parameter is itself a logarithm
    logs = [np.log(parameters[name]) for name in positive] + [parameters[name] for name in given]
    logs = [np.reshape(log, [3, -1]) for log in logs]
    np.testing.assert_allclose(np.sort(np.hstack([np.zeros([3, 0]), *logs])), np.sort(w[:, places]), rtol=1e-12)
    np.testing.assert_allclose(logarithmic.unconstrained(parameters), w, rtol=1e-10, atol=1e-12)
    assert family.logarithms.any() == bool(given)
    assert (logarithmic == family) == (not positive)


def test_a_mixture_keeps_the_kinks_of_its_components_and_not_their_maxima():
    policy = MixtureFamily("Laplace", 2).search
    assert (policy.statistics, policy.kinks) == ({}, ("loc",))
    assert MixtureFamily("Triangular", 2).search.kinks == ("peak",)
    assert MixtureFamily("MultivariateNormalTriL", 2, 3).search.free_covariance


@pytest.mark.parametrize(
    "given", [{"shared": "inflated_loc_logits"}, {"inflated_loc_logits": 0.0}, {"inflated_loc_probs": 0.5}], ids=str
)
@pytest.mark.parametrize("batch", [[], [2, 5]], ids=str)
def test_a_share_of_zeros_is_the_same_for_all_rows(given, batch):
    family, free = Family("ZeroInflatedNegativeBinomial", 2, **given), Family("ZeroInflatedNegativeBinomial", 2)
    params = tf.random.stateless_normal([*batch, family.params_size], (1, 2), dtype=tf.float64)
    y = tf.ones([*batch, 2], tf.float64)
    log_prob = family.distribution(params, tf.zeros([family.shared_size], tf.float64)).log_prob(y)
    expected = free.distribution(tf.concat([tf.zeros([*batch, 2], tf.float64), params], -1)).log_prob(y)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-14)  # both run the same operations


@pytest.mark.parametrize("name", ["Inflated", "TransformedDistribution", "Independent", "Sample"])
def test_errors_do_not_advise_impossible_arguments(name):
    with pytest.raises(ValueError, match=r"`distribution`: it is a distribution.* choose another") as error:
        Family(name, 1)
    assert "distribution=" not in str(error.value)


def test_a_large_scale_has_a_finite_second_derivative():
    u = tf.constant([-30.0, 0.0, 60.0, 800.0], tf.float64)  # the second derivative of TFP's softplus is NaN above 709
    link = default_link(tfd.Normal, "scale", tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(u)
        with tf.GradientTape() as inner:
            inner.watch(u)
            scale = link.forward(u)
        slope = inner.gradient(scale, u)
    sigmoid = 1 / (1 + np.exp(-u.numpy()))
    np.testing.assert_allclose(slope, sigmoid, rtol=1e-12)
    np.testing.assert_allclose(outer.gradient(slope, u), sigmoid * (1 - sigmoid), rtol=1e-12, atol=1e-20)
