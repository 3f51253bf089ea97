"""All named heads in Keras 2 and Keras 3: likelihoods against SciPy, shapes, errors, copies."""

import copy
import inspect
import pathlib
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import nllfit
from nllfit import heads
from nllfit.families import compound_heads, named_heads
from nllfit.families.law import law_of
from tests.head_builders import make_head, numbers, one_keras_each, params_size
from tests.head_cases import CASES
from tests.keras_versions import KITS, each_keras, in_turn

tfd = tfp.distributions


case_in_turn = pytest.mark.parametrize(("kit", "case"), in_turn(CASES))  # `test_keras3.py` compares both Keras versions


each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def test_every_named_head_has_a_row():
    named = {*named_heads.__all__, *compound_heads.__all__}
    assert {case.name for case in CASES} == named
    for kit in KITS:
        assert set(kit.heads.__all__) == {*named, "DistributionHead", "DistributionLambda"}


@case_in_turn
@each_dtype
def test_log_prob_matches_the_reference(kit, case, dtype):
    u = numbers(case, dtype)
    y = case.outcomes.astype(dtype)
    log_prob = kit.distribution(make_head(kit, case, dtype=dtype)(u)).log_prob(y).numpy()
    expected = case.log_prob(u.astype("float64"), y.astype("float64"), np.finfo(dtype).eps)
    assert log_prob.dtype == dtype
    assert log_prob.shape == (len(y),)
    # The tolerance is a few rounding errors. The terms of log p are at most about as large as 1 + |log p|.
    tolerance = {"float32": 3e-6, "float64": 1e-12}[dtype]
    np.testing.assert_array_less(np.abs(log_prob - expected), tolerance * (1 + np.abs(expected)))


@one_keras_each
def test_loss_is_minus_log_prob_and_its_gradient_is_the_difference_quotient(kit, case):
    head, u, y = make_head(kit, case, dtype="float64"), tf.constant(numbers(case)), case.outcomes
    with tf.GradientTape() as tape:
        tape.watch(u)
        loss = kit.losses(y, head(u))
    # The loss and `log_prob` run the same operations, but their rounding depends on the alignment in memory.
    np.testing.assert_array_max_ulp(loss.numpy(), -kit.distribution(head(u)).log_prob(y).numpy(), maxulp=4)
    gradient, step, size = tape.gradient(loss, u).numpy(), 1e-6, u.shape[1]
    shifted = [u + sign * shift for sign in (1, -1) for shift in step * np.eye(size)]  # evaluated in one call
    shifted_losses = kit.losses(np.concatenate([y] * 2 * size), head(tf.concat(shifted, 0))).numpy()
    for slopes, up, down in zip(gradient.T, *shifted_losses.reshape(2, size, len(y)), strict=True):
        # Central differences: rounding 1e-16 |loss| / step, truncation of order step^2.
        np.testing.assert_allclose(slopes, (up - down) / (2 * step), rtol=1e-6, atol=1e-8 * (1 + np.abs(up).max()))


@case_in_turn
def test_wrong_shapes_are_refused_with_both_shapes(kit, case):
    output = make_head(kit, case)(numbers(case, "float32"))
    y = case.outcomes
    for wrong in (y[..., None, None], np.concatenate([y, y]), y[0] if y.ndim > 1 else y[None]):
        with pytest.raises(ValueError, match="has shape") as error:
            kit.losses(wrong, output)
        assert str(wrong.shape) in str(error.value)
        assert str(y.shape) in str(error.value)


@case_in_turn
def test_outcomes_out_of_support_are_refused(kit, case):
    output = make_head(kit, case)(numbers(case, "float32"))
    if case.invalid is None:
        assert np.isfinite(kit.losses(case.outcomes, output)).all()
        return
    outcomes = np.array(case.outcomes)
    outcomes[1] = case.invalid
    with pytest.raises(ValueError, match="`y_true` holds an outcome that"):
        kit.losses(outcomes, output)


@case_in_turn
def test_a_wrong_number_of_units_is_refused(kit, case):
    for given in (tf.zeros([4, params_size(case) + 1]), kit.keras.Input((params_size(case) + 1,))):
        with pytest.raises(ValueError, match=f"takes {params_size(case)} floating-point numbers"):
            make_head(kit, case)(given)


@each_keras
def test_an_unknown_number_of_units_is_refused(kit):
    with pytest.raises(ValueError, match="takes 2 floating-point numbers"):
        kit.heads.Normal()(kit.keras.Input((None,)))


@each_keras
def test_distribution_head_equals_the_named_head(kit):
    u, y = tf.random.stateless_normal([5, 2], (1, 2)), tf.ones([5, 1])
    generic = kit.heads.DistributionHead(tfd.Gamma, 1)
    np.testing.assert_array_equal(kit.losses(y, generic(u)), kit.losses(y, kit.heads.Gamma(1)(u)))
    assert kit.heads.DistributionHead.from_config(generic.get_config()).family.name == "Gamma"
    assert kit.heads.DistributionHead.params_size("JohnsonSU", 2) == 8


@each_keras
@pytest.mark.parametrize(("df", "loc"), [(0.3, 5.0), (1.0, -2.0), (5.0, 7.0)])
def test_prediction_is_never_nan(kit, df, loc):
    head = kit.heads.DistributionHead("StudentT", df=df)
    np.testing.assert_array_equal(tf.convert_to_tensor(head(tf.constant([[loc, 0.0]]))), [[loc]])
    cauchy = kit.heads.DistributionHead("Cauchy")
    np.testing.assert_allclose(tf.convert_to_tensor(cauchy(tf.constant([[loc, 0.0]]))), [[loc]], rtol=1e-6)


@each_keras
def test_labels_may_have_a_column_axis_or_not(kit):
    output = kit.heads.Categorical(3)(tf.random.stateless_normal([4, 3], (1, 2)))
    labels = np.array([0, 1, 2, 1])
    for given in (labels, labels[:, None], labels.astype("float32"), tf.constant(labels, tf.int64)):
        np.testing.assert_array_equal(kit.losses(given, output), -kit.distribution(output).log_prob(labels))
    with pytest.raises(ValueError, match="cannot have"):
        kit.losses(labels + 0.5, output)


@each_keras
def test_bad_arguments_are_refused_at_construction(kit):
    for arguments, text in [
        ({"scal": 1.0}, "no parameter `scal`"),
        ({"scale": -1.0}, "`scale` must be positive"),
        ({"scale": 0.0}, "`scale` must be positive"),
        ({"event_shape": 0}, "`event_shape` is 0"),
        ({"event_shape": -1}, "`event_shape` is -1"),
        ({"event_shape": 1.5}, "`event_shape` is 1.5"),
        ({"loc": 0.0, "scale": 1.0}, "Every parameter of Normal is fixed"),
        ({"shared": ("loc", "scale")}, "Every free parameter of Normal is shared"),
    ]:
        with pytest.raises(ValueError, match=text):
            kit.heads.Normal(**arguments)
    for head in (kit.heads.Categorical, kit.heads.OneHotCategorical):
        for wrong in (1, 0, True, "3", (3,), 2.5):
            with pytest.raises(ValueError, match=r"`num_classes` is .*: give an int >= 2"):
                head(wrong)


def test_a_subclass_of_a_named_head_keeps_its_family():
    class Temperature(heads.Normal):
        pass

    assert Temperature().family.name == "Normal"


def test_families_and_heads_can_be_copied():
    for original in (nllfit.Family("Normal", 2, scale=0.5), heads.Normal(2).family):
        for copied in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
            params = tf.ones([3, original.params_size])
            np.testing.assert_array_equal(
                copied.distribution(params).log_prob([[0.0, 1.0]] * 3),
                original.distribution(params).log_prob([[0.0, 1.0]] * 3),
            )


@pytest.mark.parametrize("name", ["Beta", "Gamma", "Weibull"])
def test_a_family_that_checks_outcomes_by_a_subclass_can_be_pickled(name):
    family = nllfit.Family(name, 2)
    family.distribution(tf.ones([3, 4]))
    assert pickle.loads(pickle.dumps(family)) == family


@case_in_turn
def test_a_head_has_a_repr_and_a_params_size(kit, case):
    head = make_head(kit, case, name="last")
    assert str(head) == repr(head) == f"{head}" == f"<{case.name} name=last: {head.family!r}>"
    assert head.params_size() == head.family.params_size == params_size(case)


@each_keras
def test_heads_are_classes_that_an_editor_finds(kit):
    stub = pathlib.Path(kit.heads.__file__).with_suffix(".pyi").read_text()
    for name in kit.heads.__all__:
        head = getattr(kit.heads, name)
        assert f"class {name}(" in stub
        assert f"class {name}(" in inspect.getsource(head.__mro__[1])
        assert head.__doc__
        first = next(iter(inspect.signature(head).parameters))
        assert first in ("event_shape", "num_classes", "component", "distribution", "family", "make_distribution"), name


@pytest.mark.thorough
def test_a_mean_has_a_gradient_but_a_median_that_replaces_it_has_none():
    concentration = tf.Variable([0.5, 3.0])  # an InverseGamma of concentration 0.5 has no mean
    with tf.GradientTape() as tape:
        center = tf.function(lambda: law_of(tfd.InverseGamma(concentration, 4.0)).central_value())()
    np.testing.assert_allclose(center[1], 2.0)
    np.testing.assert_allclose(center[0], stats.invgamma(0.5, scale=4.0).median(), rtol=1e-5)  # rounding of float32
    np.testing.assert_allclose(tape.gradient(center, concentration)[1], -1.0)  # the derivative of 4 / (a - 1)


@each_keras
def test_a_family_without_a_class_is_named_with_advice(kit):
    with pytest.raises(AttributeError, match=r"has no attribute 'Weibull': give `DistributionHead\('Weibull'\)`"):
        kit.heads.Weibull()
    with pytest.raises(AttributeError, match=r"has no attribute 'Nothing'$"):
        kit.heads.Nothing()
