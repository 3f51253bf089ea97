"""All named heads in Keras 2 and Keras 3: likelihoods against SciPy, shapes, errors, saving, cloning, predictions."""

import copy
import inspect
import json
import pathlib
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import stats

import nllfit
from nllfit import heads
from nllfit.families import catalogue, compound
from nllfit.families.law import law_of
from tests.cases import CASES
from tests.keras_versions import KITS, each_keras, in_turn, mainly

tfd = tfp.distributions

# One row per head. The second row of a head only differs in a constant, or in a feature that another head covers.
ONCE = [case for case in CASES if not case.kwargs or case.id in ("Normal-shared=('scale',)", "Truncated-low=0.0")]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
case_in_turn = pytest.mark.parametrize(("kit", "case"), in_turn(CASES))  # `test_keras3.py` compares both Keras versions
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def make_head(kit, case, **kwargs):
    return getattr(kit.heads, case.name)(*case.args, **case.kwargs, **kwargs)


def params_size(case):
    return getattr(heads, case.name).params_size(*case.args, **case.kwargs)


def numbers(case, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=[len(case.outcomes), params_size(case)]).astype(dtype)


def make_model(kit, case, dtype="float32"):
    kit.keras.utils.set_random_seed(1)
    layers = kit.keras.layers
    return kit.keras.Sequential(
        [
            kit.keras.Input((3,), dtype=dtype),
            layers.Dense(8, "tanh", dtype=dtype),
            layers.Dense(params_size(case), dtype=dtype),
            make_head(kit, case, dtype=dtype),
        ]
    )


def inputs(case, dtype="float32"):
    return np.random.default_rng(2).normal(size=[len(case.outcomes), 3]).astype(dtype)


def test_every_named_head_has_a_row():
    named = {*catalogue.__all__, *compound.__all__}
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
    # A few roundings in each of a few terms: 1 + |log p| bounds the size of the terms.
    tolerance = {"float32": 3e-6, "float64": 1e-12}[dtype]
    np.testing.assert_array_less(np.abs(log_prob - expected), tolerance * (1 + np.abs(expected)))


@case_in_turn
def test_loss_is_minus_log_prob_and_its_gradient_is_the_difference_quotient(kit, case):
    head, u, y = make_head(kit, case, dtype="float64"), tf.constant(numbers(case)), case.outcomes
    with tf.GradientTape() as tape:
        tape.watch(u)
        loss = kit.losses(y, head(u))
    # The same operations, but rounding in TensorFlow's kernels depends on the memory alignment.
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


def all_heads(kit, cases=CASES):
    """A model with one output for each case."""
    kit.keras.utils.set_random_seed(1)
    x = kit.keras.Input((3,))
    hidden = kit.keras.layers.Dense(8, "tanh")(x)
    outputs = {}
    for i, case in enumerate(cases):
        head = make_head(kit, case, name=f"head{i}")
        outputs[head.name] = head(kit.keras.layers.Dense(params_size(case))(hidden))
    return kit.keras.Model(x, outputs)


def outcomes(cases):
    """Four outcomes for each output of `all_heads`."""
    return {f"head{i}": case.outcomes for i, case in enumerate(cases)}


# One head for each kind of outcome and prediction.
KINDS = [
    case
    for case in CASES
    if case.id in ("Categorical", "Censored", "Mixture", "Normal-scale=2.5", "Normal-shared=('scale',)")
]


def runs():
    """Each kind eagerly with one Keras; marked `thorough`, all heads in every way.

    `test_keras3.py` traces all heads, exports them and compares their predictions.
    """
    for i, kit in enumerate(KITS):
        yield pytest.param(kit, KINDS[i::2], True, id=kit.keras.__name__)
        for eagerly in (True, False):
            name = f"{kit.keras.__name__}-{'eager' if eagerly else 'graph'}"
            for j in range(4):
                yield pytest.param(kit, CASES[j::4], eagerly, id=f"{name}-all-{j}", marks=pytest.mark.thorough)


@pytest.mark.parametrize(("kit", "cases", "eagerly"), list(runs()))
def test_fit_evaluate_and_predict(kit, cases, eagerly):
    model, x, y = all_heads(kit, cases), inputs(CASES[0]), outcomes(cases)
    metrics, built_in = {name: [kit.metrics.NegativeLogLikelihood()] for name in y}, {}
    for name, case in zip(y, cases, strict=True):
        if case.prediction:  # Keras's metrics cannot compare a number with an interval
            built_in[name] = "mse" if y[name].shape[1:] == case.prediction else "sparse_categorical_accuracy"
            metrics[name].append(built_in[name])
    model.compile("adam", dict.fromkeys(y, kit.loss), metrics=metrics, run_eagerly=eagerly, jit_compile=False)
    weights = np.array([1.0, 0.0, 0.5, 2.0])
    given = dict.fromkeys(y, weights)
    # The last validation loss is that of the trained model.
    batches = {"batch_size": 3, "validation_batch_size": 4}
    history = model.fit(x, y, sample_weight=given, validation_data=(x, y, given), verbose=0, **batches).history
    outputs, predictions, again = model(x), *(model.predict(x, verbose=0) for _ in range(2))
    joined = nllfit.predict_distribution(model, x, batch_size=3)
    symbolic = dict(zip(model.output_names, model.outputs, strict=True))
    for case, name in zip(cases, y, strict=True):

        def assert_near(value, expected, atol=0.0, case=case):  # float32, compiled or not, with different batch sizes
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=atol, err_msg=case.id)

        losses = kit.losses(y[name], outputs[name]).numpy()
        assert np.isfinite(history[f"{name}_loss"]).all()
        assert_near(history[f"val_{name}_loss"], [(weights * losses).mean()])
        assert_near(history[f"val_{name}_nll"], [losses.mean()])
        distribution = kit.distribution(outputs[name])
        # Eagerly, `predict` of tf_keras returns the distribution of a single batch unchanged.
        prediction = tf.convert_to_tensor(predictions[name]).numpy()
        assert tuple(symbolic[name].shape) == (None, *case.prediction)
        assert prediction.shape == (len(x), *case.prediction)
        assert np.isfinite(prediction).all()
        np.testing.assert_array_equal(prediction, tf.convert_to_tensor(again[name]))
        assert_near(prediction, law_of(distribution).central_value(), atol=1e-6)
        if name in built_in:
            seen = np.square(prediction - y[name]) if built_in[name] == "mse" else prediction.argmax(-1) == y[name]
            assert_near(history[f"val_{name}_{built_in[name]}"], [seen.mean()])
        assert_near(joined[name].log_prob(y[name]), distribution.log_prob(y[name]))


@each_keras
def test_a_clone_and_a_copy_predict_the_same(kit):  # `test_another_process.py` loads every head from its config
    cases = KINDS[KITS.index(kit) :: 2]
    model, x = all_heads(kit, cases), inputs(CASES[0])
    clone = kit.keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    outputs = [m(x) for m in (model, clone)]
    for name, y in outcomes(cases).items():
        log_prob = [kit.distribution(output[name]).log_prob(y) for output in outputs]
        np.testing.assert_array_equal(*log_prob, err_msg=name)
        json.dumps(model.get_layer(name).get_config())


@each_keras
def test_distribution_head_equals_the_named_head(kit):
    u, y = tf.random.stateless_normal([5, 2], (1, 2)), tf.ones([5, 1])
    generic = kit.heads.DistributionHead(tfd.Gamma, 1)
    np.testing.assert_array_equal(kit.losses(y, generic(u)), kit.losses(y, kit.heads.Gamma(1)(u)))
    assert kit.heads.DistributionHead.from_config(generic.get_config()).family.name == "Gamma"
    assert kit.heads.DistributionHead.params_size("JohnsonSU", 2) == 8


@each_keras
def test_shared_scale_is_the_root_mean_squared_residual(kit):
    residuals = np.random.default_rng(0).normal(scale=2.0, size=[50, 1])
    head = kit.heads.Normal(shared=("scale",), dtype="float64")
    head(tf.zeros([50, 1], tf.float64))
    sigma = np.sqrt((residuals**2).mean())
    head.set_weights([tfp.math.softplus_inverse(tf.constant([sigma - np.finfo(float).eps], tf.float64))])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(kit.losses(residuals, head(tf.zeros([50, 1], tf.float64))))
    assert head.weights[0].name.endswith(("shared", "shared:0"))
    assert abs(tape.gradient(loss, head.trainable_weights)[0][0]) < 1e-14  # rounding errors of a mean of order 1


@pytest.mark.parametrize(("kit", "policy"), in_turn(["mixed_float16", "mixed_bfloat16"]))
def test_heads_compute_in_float32_under_a_mixed_policy(kit, policy):
    kit.keras.mixed_precision.set_global_policy(policy)
    try:
        layers = [kit.keras.Input((3,)), kit.keras.layers.Dense(1), kit.heads.Normal(shared=("scale",))]
        model = kit.keras.Sequential(layers)
        model.layers[-1].set_weights([np.array([-50.0])])  # softplus(-50) is 0 in 16 bits
        distribution = kit.distribution(model(np.zeros([1, 3])))
        assert distribution.dtype == tf.float32
        assert np.isfinite(distribution.log_prob([[0.0]])).all()
        model.layers[-1].set_weights([np.array([0.1])])  # 16 bits would round it
        for output in (model(np.zeros([1, 3])), model.layers[-1](tf.zeros([1, 1]))):
            scale = kit.distribution(output).stddev()
            np.testing.assert_allclose(scale, [[np.log1p(np.exp(0.1))]], rtol=1e-6)  # float32
        model.compile("sgd", kit.loss, metrics=["mse"], jit_compile=False)
        model.fit(np.zeros([4, 3]), np.ones([4, 1]), verbose=0)
        assert np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()
        assert model.predict(np.zeros([1, 3]), verbose=0).dtype == np.float32
    finally:
        kit.keras.mixed_precision.set_global_policy("float32")


@each_keras
def test_a_float64_model_keeps_its_digits(kit):
    third = 1 / 3
    model = kit.keras.Sequential([kit.keras.layers.Dense(1, dtype="float64"), kit.heads.Normal(scale=0.37)])
    model(np.ones([1, 1]))
    model.layers[0].set_weights([np.array([[third]]), np.zeros(1)])
    loss = kit.losses(np.array([[0.1]]), model(np.ones([1, 1])))
    np.testing.assert_allclose(loss[0], -stats.norm(third, 0.37).logpdf(0.1), rtol=1e-15)


@each_keras
@pytest.mark.parametrize(("df", "loc"), [(0.3, 5.0), (1.0, -2.0), (5.0, 7.0)])
def test_prediction_is_never_nan(kit, df, loc):
    head = kit.heads.DistributionHead("StudentT", df=df)
    np.testing.assert_array_equal(tf.convert_to_tensor(head(tf.constant([[loc, 0.0]]))), [[loc]])
    cauchy = kit.heads.DistributionHead("Cauchy")
    np.testing.assert_allclose(tf.convert_to_tensor(cauchy(tf.constant([[loc, 0.0]]))), [[loc]], rtol=1e-6)


@each_keras
@pytest.mark.parametrize("steps", [6, pytest.param(5, marks=pytest.mark.thorough)])
def test_a_weight_of_a_row_applies_to_all_its_steps(kit, steps):
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Normal(scale=1.0)])
    nll = [kit.metrics.NegativeLogLikelihood()]
    model.compile("sgd", kit.loss, weighted_metrics=nll, jit_compile=False)
    x = (
        np.random.default_rng(0).normal(size=[6, steps, 2]).astype("float32")
    )  # 6 steps could be confused with the 6 rows
    weights = np.arange(6.0)
    losses = kit.losses(x[..., :1], model(x)).numpy() * weights[:, None]
    expected = [losses.mean(), losses.mean() / weights.mean()]
    result = model.evaluate(x, x[..., :1], sample_weight=weights, verbose=0)
    np.testing.assert_allclose(result, expected, rtol=1e-5)  # float32


@each_keras
def test_two_heads_train_with_a_dictionary_of_losses(kit, tmp_path):
    inputs = kit.keras.Input((3,))
    outputs = {
        "price": kit.heads.Normal(name="price")(kit.keras.layers.Dense(2)(inputs)),
        "sold": kit.heads.Bernoulli(name="sold")(kit.keras.layers.Dense(1)(inputs)),
    }
    model = kit.keras.Model(inputs, outputs)
    model.compile("adam", {name: kit.loss for name in outputs}, metrics={"price": "mae"}, run_eagerly=True)
    x = np.random.default_rng(0).normal(size=[20, 3])
    y = {"price": x[:, :1], "sold": x[:, 1:2] > 0}
    model.fit(x, y, verbose=0)
    total = sum(kit.losses(y[name], model(x)[name]).numpy().mean() for name in outputs)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[0], total, rtol=1e-5)  # float32
    model.save(tmp_path / "two.keras")
    loaded = kit.keras.models.load_model(tmp_path / "two.keras")
    np.testing.assert_array_equal(*(kit.losses(y["price"], m(x)["price"]) for m in (loaded, model)))
    joined = nllfit.predict_distribution(model, x, batch_size=7)
    sold = tf.convert_to_tensor(model.predict(x, verbose=0)["sold"])
    np.testing.assert_allclose(joined["sold"].mean(), sold, rtol=1e-6)  # float32
    model = kit.keras.Model(inputs, list(outputs.values()))
    model.compile("adam", [kit.loss, kit.loss], loss_weights=[1.0, 0.5], run_eagerly=True)
    losses = model.evaluate(x, list(y.values()), verbose=0)
    np.testing.assert_allclose(losses[0], losses[1] + losses[2] / 2, rtol=1e-6)  # float32


@mainly(tf_keras)
def test_a_subclassed_model_with_a_head_trains_and_predicts(kit):
    class Model(kit.keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = kit.keras.layers.Dense(1)
            self.head = kit.heads.Normal(shared=("scale",))

        def call(self, inputs, training=False):
            return self.head(self.dense(inputs))

    model = Model()
    model.compile("sgd", kit.loss, metrics=[kit.metrics.NegativeLogLikelihood(), "mae"], jit_compile=False)
    x = np.random.default_rng(0).normal(size=[20, 3])
    model.fit(x, x[:, :1], verbose=0)
    assert len(model.trainable_weights) == 3
    assert model.head.get_weights()[0] != 0
    nll = kit.losses(x[:, :1], model(x)).numpy().mean()
    np.testing.assert_allclose(model.evaluate(x, x[:, :1], verbose=0)[:2], [nll, nll], rtol=1e-6)  # float32
    distribution = nllfit.predict_distribution(model, x, batch_size=7)
    np.testing.assert_allclose(distribution.mean(), model.predict(x, verbose=0), rtol=1e-6)


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


@each_keras
def test_a_family_whose_mean_needs_the_batch_size_is_a_head(kit):
    model = kit.keras.Sequential(
        [kit.keras.Input((2,)), kit.keras.layers.Dense(3), kit.heads.DistributionHead("LambertWNormal")]
    )
    loc = kit.distribution(model(np.ones([4, 2]))).distribution.loc
    np.testing.assert_array_equal(tf.convert_to_tensor(model(np.ones([4, 2]))), loc)


UNDER_SHARED = [("Gamma", "concentration"), ("Beta", "concentration1"), ("InverseGamma", "concentration")]


@pytest.mark.parametrize(("kit", "case"), in_turn(UNDER_SHARED, left_out=UNDER_SHARED[::2]))
def test_a_family_whose_quantile_has_no_gradient_in_a_branch_trains_under_a_shared_parameter(kit, case):
    name, shared = case
    head = kit.heads.DistributionHead(name, shared=(shared,))
    model = kit.keras.Sequential([kit.keras.Input((2,)), kit.keras.layers.Dense(head.params_size()), head])
    model.compile("sgd", kit.loss, jit_compile=False)
    x, y = np.ones([8, 2], "float32"), np.full([8, 1], 0.5, "float32")
    before = head.get_weights()[0]
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
    assert head.get_weights()[0] != before


def test_a_mean_has_a_gradient_but_a_median_that_replaces_it_has_none():
    concentration = tf.Variable([0.5, 3.0])  # the first has no mean
    with tf.GradientTape() as tape:
        center = tf.function(lambda: law_of(tfd.InverseGamma(concentration, 4.0)).central_value())()
    np.testing.assert_allclose(center[1], 2.0)
    np.testing.assert_allclose(center[0], stats.invgamma(0.5, scale=4.0).median(), rtol=1e-5)  # float32
    np.testing.assert_allclose(tape.gradient(center, concentration)[1], -1.0)  # the derivative of 4 / (a - 1)
