"""Temperature scaling: the optimum against SciPy, invariants, extreme temperatures, all heads for class labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import optimize, special

import nllfit
from nllfit import Ensemble, TemperatureScaled, evaluate, predict_distribution, scale_temperature
from tests.keras_versions import KITS, in_turn, mainly

tfd = tfp.distributions

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=[300, 3]).astype("float32")
LABELS = np.array([RNG.choice(3, p=p) for p in special.softmax(LOGITS, -1)])
EVENTS = RNG.uniform(size=LOGITS.shape) < special.expit(LOGITS)


def classifier(kit, head, *args):
    """A model that uses its inputs as logits."""
    return kit.keras.Sequential([kit.keras.layers.Activation("linear"), getattr(kit.heads, head)(*args)])


@pytest.mark.parametrize(("kit", "factor"), in_turn([0.4, 3.0]))
def test_the_temperature_matches_scipys_optimum(kit, factor):
    x = (factor * LOGITS).astype("float32")
    model = classifier(kit, "Categorical", 3)
    scaled = scale_temperature(model, x, LABELS)
    log_probs = special.log_softmax(x.astype(float), -1)

    def nll(inverse):
        return -np.mean(special.log_softmax(inverse * log_probs, -1)[np.arange(300), LABELS])

    best = optimize.minimize_scalar(nll, bounds=(0.01, 20), method="bounded", options={"xatol": 1e-10})
    assert scaled.temperature == pytest.approx(1 / best.x, rel=1e-6)  # SciPy's minimum of the same loss in float64
    assert scaled.temperature == pytest.approx(factor, rel=0.3)  # three standard errors
    before, after = evaluate(model, x, LABELS), evaluate(scaled, x, LABELS)
    assert after.nll == pytest.approx(best.fun, rel=1e-6)  # rounding of float32
    assert after.nll < before.nll
    assert after.accuracy == before.accuracy
    assert after.calibration_error < before.calibration_error
    called = scaled(x)
    if kit.keras.__name__ == "keras":
        np.testing.assert_allclose(called, special.softmax(log_probs / scaled.temperature, -1), rtol=1e-5)
        assert called.dtype == tf.float32
    called = nllfit.head_outputs.distribution_of(called)
    np.testing.assert_allclose(called.log_prob(LABELS), predict_distribution(scaled, x).log_prob(LABELS), rtol=1e-6)


@pytest.mark.thorough(but=("0", "1"))
@pytest.mark.parametrize("seed", range(5))
def test_scaling_never_lowers_the_likelihood_nor_changes_the_order_of_classes(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=10.0 ** rng.uniform(-3, 3), size=[20, 4]).astype("float32")
    x[0] = [1.0, np.nextafter(np.float32(1), np.float32(2)), 0.0, 0.0]  # the second logit exceeds the first by one bit
    labels = rng.integers(0, 4, 20)
    model = classifier(KITS[0], "Categorical", 4)
    scaled = scale_temperature(model, x, labels)
    before, after = evaluate(model, x, labels), evaluate(scaled, x, labels)
    assert after.nll <= before.nll * (1 + 1e-6)  # rounding of float32
    np.testing.assert_array_equal(after.scores["zero_one_loss"], before.scores["zero_one_loss"])


def test_at_an_end_of_the_search_the_likelihood_does_not_fall():
    model = classifier(KITS[0], "Categorical", 3)
    right, wrong = LOGITS.argmax(-1), LOGITS.argmin(-1)
    for labels, temperature in ((right, 1 / 20), (wrong, 20.0)):
        scaled = scale_temperature(model, LOGITS, labels)
        assert scaled.temperature == pytest.approx(temperature)
        before, after = evaluate(model, LOGITS, labels), evaluate(scaled, LOGITS, labels)
        assert after.nll < before.nll
        assert after.accuracy == before.accuracy == float(labels is right)
    # If all logits are 0, the likelihood does not depend on the temperature.
    same = scale_temperature(model, np.zeros([4, 3], "float32"), [0, 1, 2, 0])
    assert np.isfinite(same.temperature)


@mainly(keras)
def test_all_heads_of_classes_can_be_scaled(kit):
    cases = {
        "Bernoulli": ((), LOGITS[:, :1], EVENTS[:, :1]),
        "Bernoulli of two": ((2,), LOGITS[:, :2], EVENTS[:, :2]),
        "OneHotCategorical": ((3,), LOGITS, np.eye(3)[LABELS]),
        "Categorical": ((3,), LOGITS, LABELS),
        "sequence": ((3,), LOGITS.reshape(60, 5, 3), LABELS.reshape(60, 5)),
    }
    for name, (args, x, y) in cases.items():
        model = classifier(kit, "Categorical" if name == "sequence" else name.split()[0], *args)
        calibrated = predict_distribution(TemperatureScaled(model, 2.0), x)
        halved = predict_distribution(model, x / 2)
        y = tf.cast(y, halved.dtype)
        np.testing.assert_allclose(calibrated.log_prob(y), halved.log_prob(y), rtol=1e-5, atol=1e-6)  # float32 rounding
        assert calibrated.event_shape == halved.event_shape
        assert scale_temperature(model, x, y).temperature == pytest.approx(1, rel=0.3)  # three standard errors


def test_several_one_hot_rows_can_be_scaled_if_they_are_independent():
    rows = tfd.OneHotCategorical(LOGITS[:4].reshape(2, 2, 3), dtype=tf.float32)
    scaled = TemperatureScaled(None, 1.0).calibrate(tfd.Independent(rows, 1))
    assert (scaled.batch_shape, scaled.event_shape) == ([2], [2, 3])
    mixture = tfd.MixtureSameFamily(tfd.Categorical([0.0, 0.0]), tfd.Independent(rows, 1))
    with pytest.raises(ValueError, match="whose elements depend on each other"):
        TemperatureScaled(None, 1.0).calibrate(mixture)


def test_ordered_labels_can_be_scaled():
    cutpoints, loc = np.arange(3.0)[None] + np.zeros([20, 1]), LOGITS[:20, 0].astype(float)
    ordered = tfd.OrderedLogistic(cutpoints, loc)
    labels = np.arange(20) % 4
    same = TemperatureScaled(None, 1.0).calibrate(ordered)
    np.testing.assert_allclose(same.log_prob(labels), ordered.log_prob(labels), rtol=1e-12)


@pytest.mark.thorough
@mainly(tf_keras)
def test_scaling_an_ensemble_scales_its_mixture(kit):
    models = []
    for seed in range(3):
        model = kit.keras.Sequential([kit.keras.layers.Dense(3), kit.heads.OneHotCategorical(3)])
        model(LOGITS[:1])
        noise = np.random.default_rng(seed).normal(scale=0.5, size=[3, 3])
        model.set_weights([2 * np.eye(3) + noise, np.zeros(3)])
        models.append(model)
    ensemble, y = Ensemble(models), np.eye(3)[LABELS]
    scaled = scale_temperature(ensemble, LOGITS, y)
    before, after = evaluate(ensemble, LOGITS, y), evaluate(scaled, LOGITS, y)
    assert after.nll < before.nll
    assert after.accuracy == before.accuracy
    probs = np.mean([predict_distribution(model, LOGITS).probs_parameter() for model in models], 0) ** (
        1 / scaled.temperature
    )
    found = nllfit.head_outputs.distribution_of(scaled(LOGITS)).probs_parameter()
    np.testing.assert_allclose(found, probs / probs.sum(-1, keepdims=True), rtol=1e-4)  # powers of rounded numbers
    twice = scale_temperature(scaled, tf.data.Dataset.from_tensor_slices((LOGITS, y)).shuffle(300).batch(50))
    assert twice.temperature == pytest.approx(1, abs=1e-5)


def test_scaled_models_work_in_a_graph_and_check_labels():
    scaled = TemperatureScaled(classifier(KITS[0], "Categorical", 3), 2.0)
    in_graph = tf.function(lambda x, y: scaled(x).log_prob(y), autograph=False, jit_compile=True)
    labels = LABELS.astype("int32")
    np.testing.assert_allclose(in_graph(LOGITS, labels), scaled(LOGITS).log_prob(labels), rtol=1e-12)
    with pytest.raises(ValueError, match="at row 1, 3, which Categorical cannot have"):
        evaluate(scaled, LOGITS[:2], [0, 3])


@mainly(keras)
def test_unsuitable_models_cannot_be_scaled(kit):
    x, y = LOGITS, LOGITS[:, :1]
    with pytest.raises(ValueError, match="predicts a Normal, whose outcomes are not classes"):
        scale_temperature(kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()]), x, y)
    with pytest.raises(TypeError, match="end the model in a head"):
        scale_temperature(kit.keras.Sequential([kit.keras.layers.Dense(2)]), x, y)
    with pytest.raises(TypeError, match="`model` is a distribution"):
        scale_temperature(tfd.Categorical(x), x, LABELS)
    model = classifier(kit, "Categorical", 3)
    with pytest.raises(ValueError, match=r"`y` has shape \(2,\)"):
        scale_temperature(model, x, LABELS[:2])
    with pytest.raises(ValueError, match="`y` has 1 rows: give at least two"):
        scale_temperature(model, x[:1], LABELS[:1])
    with pytest.raises(ValueError, match="`y` is missing"):
        scale_temperature(model, x)
    for temperature in (0, -1, np.inf, np.nan, [1.0]):
        with pytest.raises(ValueError, match="`temperature` is"):
            TemperatureScaled(model, temperature)
    pair = Ensemble([classifier(kit, "Bernoulli", 3)] * 2)
    with pytest.raises(ValueError, match="elements depend on each other"):
        scale_temperature(pair, x, x > 0)


@mainly(keras)
def test_one_of_several_outputs_can_be_calibrated(kit):
    inputs = kit.keras.Input([3])
    heads = kit.heads.Categorical(3), kit.heads.OneHotCategorical(3)
    model = kit.keras.Model(inputs, [head(inputs) for head in heads])
    with pytest.raises(ValueError, match=r"give its model, `keras\.Model\(model\.inputs, model\.outputs\[0\]\)`"):
        scale_temperature(model, LOGITS, LABELS)
    first = kit.keras.Model(model.inputs, model.outputs[0])
    alone = scale_temperature(classifier(kit, "Categorical", 3), LOGITS, LABELS)
    assert scale_temperature(first, LOGITS, LABELS).temperature == pytest.approx(alone.temperature)
