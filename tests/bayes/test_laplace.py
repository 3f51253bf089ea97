"""The Laplace approximation against closed-form posteriors, other formulas, and samples of the weights."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import tensorflow as tf
import tf_keras

import nllfit
from nllfit import predict_distribution
from nllfit.bayes import quadrature_mixtures
from tests.keras_versions import KITS, mainly

SCALE, PRIOR = 0.7, 1.5  # the standard deviations of the noise, and of the Normal prior of each weight


def line(seed=0, rows=40):
    """Inputs `[n, 3]`, outcomes `[n, 1]` of a linear model, and the inputs with a column of ones."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=[rows, 3])
    y = x @ [[1.0], [-2.0], [0.5]] + 0.3 + SCALE * rng.normal(size=[rows, 1])
    return x, y, np.c_[x, np.ones(rows)]


def closed_form(design, y, prior=PRIOR):
    """The posterior's mean and covariance, and the log evidence, of a linear model with known noise."""
    covariance = np.linalg.inv(design.T @ design / SCALE**2 + np.eye(design.shape[1]) / prior**2)
    marginal = SCALE**2 * np.eye(len(y)) + prior**2 * design @ design.T
    evidence = scipy.stats.multivariate_normal(np.zeros(len(y)), marginal).logpdf(y[:, 0])
    return covariance @ design.T @ y[:, 0] / SCALE**2, covariance, evidence


def compiled(kit, *layers):
    model = kit.keras.Sequential(layers)
    model.compile(kit.keras.optimizers.Adam(0.01), kit.loss)
    return model


def dense(kit, units, penalty=0.0, **kwargs):
    regularizers = {f"{part}_regularizer": kit.keras.regularizers.L2(penalty) for part in ("kernel", "bias")}
    return kit.keras.layers.Dense(units, **regularizers, **kwargs)


def linear_model(kit, num_rows, dtype="float64"):
    penalty = 1 / (2 * num_rows * PRIOR**2)
    return compiled(kit, dense(kit, 1, penalty, dtype=dtype), kit.heads.Normal(scale=SCALE, dtype=dtype))


@pytest.mark.thorough(but="keras3")
@pytest.mark.parametrize(
    ("kit", "dtype"), list(zip(KITS, ["float64", "float32"], strict=True)), ids=["tf_keras", "keras3"]
)
def test_the_posterior_of_a_linear_model_matches_the_closed_form(kit, dtype):
    tolerance = {"float64": 1e-9, "float32": 2e-6}[dtype]  # rounding of the weights and the data
    x, y, design = line()
    model = linear_model(kit, len(x), dtype)
    assert nllfit.fit_lbfgs(model, x, y).converged
    posterior = nllfit.laplace(model, x, y, prior_scale=PRIOR)
    mean, covariance, evidence = closed_form(design, y)
    np.testing.assert_allclose(posterior.mean, mean, atol=tolerance)
    np.testing.assert_allclose(posterior.mean, np.concatenate([np.ravel(w) for w in model.get_weights()]), atol=1e-6)
    np.testing.assert_allclose(posterior.covariance, covariance, atol=tolerance)
    np.testing.assert_allclose(posterior.log_evidence, evidence, rtol=tolerance)
    new, _, new_design = line(1, 5)
    new, new_design = 3 * new, np.c_[3 * new, np.ones(5)]
    spread = np.sqrt(SCALE**2 + np.sum(new_design @ covariance * new_design, axis=1))
    exact = scipy.stats.norm(new_design @ mean, spread)
    distribution = predict_distribution(posterior, new, batch_size=2)
    for outcomes in exact.ppf([[0.001], [0.3], [0.999]]):
        log_prob = distribution.log_prob(outcomes[:, None].astype(dtype))
        np.testing.assert_allclose(log_prob, exact.logpdf(outcomes), atol=max(1e-6, 3 * tolerance))
    called = nllfit.head_outputs.distribution_of(posterior(new))
    np.testing.assert_allclose(called.stddev()[:, 0], spread, rtol=tolerance)


@pytest.mark.thorough
def test_the_evidence_is_largest_at_the_estimated_scale():
    kit = KITS[0]
    x, y, design = line()
    model = linear_model(kit, len(x))
    model(x[:1])  # no training needed: the loss is quadratic, so its expansion is exact everywhere
    posterior = nllfit.laplace(model, x, y, prior_scale="marginal likelihood")
    mean, _, evidence = closed_form(design, y, posterior.prior_scale)
    np.testing.assert_allclose(posterior.log_evidence, evidence, rtol=1e-9)
    np.testing.assert_allclose(posterior.mean, mean, atol=1e-9)
    for factor in (0.99, 1.01):
        assert closed_form(design, y, factor * posterior.prior_scale)[2] < evidence - 1e-4


@pytest.mark.thorough
def test_the_scale_of_most_evidence_is_found_where_the_curvature_changes_with_the_weights():
    rng = np.random.default_rng(3)
    x = rng.normal(size=[50, 2])
    y = (x @ [[1.0], [-1.0]] + rng.logistic(size=[50, 1]) > 0).astype(float)
    design = np.c_[x, np.ones(50)]

    def lost(log_scale):
        """The negative log evidence of Laplace's approximation. SciPy finds the posterior's maximum."""

        def energy(w):
            u = design @ w
            return np.sum(np.logaddexp(0, u) - y[:, 0] * u) + w @ w / (2 * np.exp(2 * log_scale))

        best = scipy.optimize.minimize(energy, np.zeros(3), options={"gtol": 1e-9})
        p = scipy.special.expit(design @ best.x)
        precision = (design.T * (p * (1 - p))) @ design + np.eye(3) / np.exp(2 * log_scale)
        return best.fun + 3 * log_scale + np.linalg.slogdet(precision)[1] / 2

    expected = scipy.optimize.minimize_scalar(lost, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6})
    layer = KITS[0].keras.layers.Dense(1, dtype="float64")
    model = compiled(KITS[0], layer, KITS[0].heads.Bernoulli(dtype="float64"))
    posterior = nllfit.laplace(model, x, y, prior_scale="marginal likelihood")
    np.testing.assert_allclose(np.log(posterior.prior_scale), expected.x, atol=1e-3)
    np.testing.assert_allclose(posterior.log_evidence, -expected.fun, atol=1e-6)


@pytest.mark.thorough
def test_a_wide_prior_gives_the_covariance_of_the_standard_errors():
    x, _, _ = line(rows=80)
    y = (x[:, :1] + np.random.default_rng(1).logistic(size=[80, 1]) > 0).astype(float)
    model = compiled(KITS[0], KITS[0].keras.layers.Dense(1), KITS[0].heads.Bernoulli())
    nllfit.fit_lbfgs(model, x, y)
    posterior = nllfit.laplace(model, x, y, prior_scale=1e4)
    np.testing.assert_allclose(posterior.covariance, nllfit.standard_errors(model, x, y).covariance, rtol=1e-5)


def hidden(kit, units, head, penalty=0.0):
    """A compiled network with one hidden layer. All its weights are random numbers from a fixed seed."""
    model = compiled(kit, dense(kit, 4, penalty, activation="tanh"), dense(kit, units, penalty), head)
    model(np.zeros([1, 3], "float32"))
    rng = np.random.default_rng(5)
    model.set_weights([0.7 * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.thorough
def test_the_last_layer_is_at_the_maximum_of_the_posterior():
    """From the same weights, `fit_lbfgs` finds this maximum, too. The loss is not convex: it has a learned scale."""
    kit = KITS[1]
    x, y, _ = line()
    model = hidden(kit, 2, kit.heads.Normal(), 1 / (2 * len(x) * PRIOR**2))
    before = model.get_weights()
    posterior = nllfit.laplace(model, x, y, prior_scale=PRIOR)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.layers[0].trainable = False
    model.compile(loss=kit.loss)
    assert nllfit.fit_lbfgs(model, x, y).converged
    optimum = np.concatenate([np.ravel(w) for w in model.get_weights()[2:]])
    np.testing.assert_allclose(posterior.mean, optimum, atol=1e-5)


@pytest.mark.thorough
# A prediction averages over the points of a Gauss-Hermite grid for 2 classes, and over 100 random points for 6 classes.
@pytest.mark.parametrize("num_classes", [2, 6])
def test_predictions_are_means_over_the_weights(num_classes):
    kit = KITS[1]
    x, _, _ = line()
    model = hidden(kit, num_classes, kit.heads.Categorical(num_classes))
    posterior = nllfit.laplace(model, x, np.arange(40) % num_classes, prior_scale=PRIOR)
    new = line(1, 3)[0].astype("float32")
    probs = predict_distribution(posterior, new).prob(np.repeat(np.arange(num_classes)[:, None], 3, axis=1))
    features = np.c_[model.layers[0](new), np.ones(3)]
    draws = np.random.default_rng(0).multivariate_normal(posterior.mean, posterior.covariance, 20000)
    logits = features @ draws.reshape(-1, 5, num_classes)
    sampled = np.asarray(tf.nn.softmax(logits))
    error = sampled.std(0) * np.sqrt(1 / 20000 + (1 / 100 if num_classes == 6 else 0))
    assert np.all(np.abs(np.transpose(probs) - sampled.mean(0)) < 4 * error)


@pytest.mark.thorough
def test_the_information_of_all_weights_matches_the_linearised_network():
    kit = KITS[0]
    x, y, _ = line()
    model = hidden(kit, 1, kit.heads.Normal(scale=SCALE))
    posterior = nllfit.laplace(model, x, y, layers="all", prior_scale=PRIOR)
    with tf.GradientTape() as tape:
        means = kit.distribution(model(x.astype("float32"))).mean()[:, 0]
    lines = np.concatenate([np.reshape(j, [40, -1]) for j in tape.jacobian(means, model.trainable_variables)], axis=1)
    precision = lines.T @ lines / SCALE**2 + np.eye(lines.shape[1]) / PRIOR**2
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(precision), atol=1e-4)
    weights = np.concatenate([np.ravel(w) for w in model.get_weights()])
    np.testing.assert_array_equal(posterior.mean, weights)
    np.testing.assert_allclose(predict_distribution(posterior, x).mean(), model.predict(x, verbose=0), atol=1e-5)
    # laplace-torch 0.3: Laplace(..., "regression", "all", "full", sigma_noise=SCALE, prior_precision=1 / PRIOR**2)
    expected = [0.7247339920397375, 0.7300199267598174, 0.8759340065273693]
    np.testing.assert_allclose(predict_distribution(posterior, x[:3]).stddev()[:, 0], expected, rtol=1e-5)


@pytest.mark.thorough
def test_a_density_with_a_corner_has_information_at_the_corner():
    """The second derivative of a Laplace's log-density with respect to `loc` is 0 except at the corner."""
    kit = KITS[0]
    x, y, design = line()
    model = compiled(kit, dense(kit, 1), kit.heads.Laplace(scale=SCALE))
    posterior = nllfit.laplace(model, x, y, layers="all", prior_scale=PRIOR)
    precision = design.T @ design / SCALE**2 + np.eye(4) / PRIOR**2
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(precision), rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
def test_a_laplace_posterior_can_be_evaluated_and_calibrated():
    kit = KITS[1]
    x, y, _ = line()
    model = hidden(kit, 2, kit.heads.Normal())
    twice = nllfit.laplace(model, x, y, sample_weight=np.full(40, 2.0))
    posterior = nllfit.laplace(model, np.concatenate([x, x]), np.concatenate([y, y]))
    np.testing.assert_allclose(posterior.covariance, twice.covariance, rtol=1e-5, atol=1e-9)
    rows = tf.data.Dataset.from_tensor_slices((x.astype("float32"), y)).batch(7)
    in_batches = predict_distribution(posterior, rows)
    np.testing.assert_allclose(in_batches.mean(), predict_distribution(posterior, x).mean(), rtol=1e-5)
    evaluation = nllfit.evaluate(posterior, x, y)
    losses = nllfit.negative_log_likelihood(y, in_batches)
    np.testing.assert_allclose(evaluation.nll, np.mean(losses), rtol=1e-4)
    conformalized = nllfit.conformalize(posterior, x[:20], y[:20])
    assert predict_distribution(conformalized, x).event_shape == [1]


@pytest.mark.thorough
@mainly(tf_keras)
def test_a_laplace_posterior_is_saved_within_a_calibrated_model(kit, tmp_path):
    x, y, _ = line()
    posterior = nllfit.laplace(hidden(kit, 2, kit.heads.Normal()), x, y)
    nllfit.conformalize(posterior, x[:20], y[:20]).save(tmp_path / "a")
    loaded = nllfit.Conformalized.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.model.covariance, posterior.covariance)
    assert (loaded.model.prior_scale, loaded.model.log_evidence) == (1.0, posterior.log_evidence)
    predicted, again = (predict_distribution(p, x).stddev() for p in (posterior, loaded.model))
    np.testing.assert_array_equal(again, predicted)
    inner = tmp_path / "a" / "model"
    with pytest.raises(ValueError, match="holds something already"):
        posterior.save(inner)
    assert nllfit.Laplace.load(inner).model.count_params() == posterior.model.count_params()
    (inner / "laplace.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"has no complete laplace.npz: name a folder that `save` wrote"):
        nllfit.Laplace.load(inner)
    with pytest.raises(ValueError, match=r"has no complete laplace.npz"):
        nllfit.Laplace.load(tmp_path / "nowhere")


@pytest.mark.thorough
@mainly(tf_keras)
def test_the_last_weights_include_all_layers_before_the_head(kit):
    layers = kit.keras.layers
    inputs = kit.keras.Input([3])
    inner = layers.Dense(4, "tanh")(inputs)
    both = layers.Concatenate()([layers.Dense(1, name="loc")(inner), layers.Dense(1, name="scale")(inner)])
    model = kit.keras.Model(inputs, kit.heads.Normal()(layers.Activation("linear")(both)))
    model.compile(loss=kit.loss)
    assert len(nllfit.laplace(model, *line()[:2]).mean) == 2 * 5


@pytest.mark.thorough
@mainly(tf_keras)
def test_a_layer_at_the_end_of_two_paths_has_its_weights_once(kit):
    layers = kit.keras.layers
    inputs = kit.keras.Input([3])
    line_of_x = layers.Dense(1)(inputs)
    both = layers.Concatenate()([line_of_x, layers.Activation("tanh")(line_of_x)])
    model = kit.keras.Model(inputs, kit.heads.Normal()(both))
    model.compile(loss=kit.loss)
    last, every = (nllfit.laplace(model, *line()[:2], layers=which, prior_scale=0.1) for which in ("last", "all"))
    assert last.covariance.shape == every.covariance.shape == (4, 4)


@pytest.mark.thorough  # covered by the test of a linear model, which has the same closed form
def test_an_offset_has_no_weights():
    kit = KITS[0]
    x, y, design = line()
    layers = kit.keras.layers
    inputs, offset = kit.keras.Input([3]), kit.keras.Input([1])
    mean = layers.Add()([layers.Dense(1)(inputs), offset])
    model = kit.keras.Model([inputs, offset], kit.heads.Normal(scale=SCALE)(mean))
    model.compile(loss=kit.loss)
    posterior = nllfit.laplace(model, [x, y / 2], y, prior_scale=PRIOR)
    mean, covariance, evidence = closed_form(design, y / 2)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-5, atol=1e-6)  # the data are in float32
    np.testing.assert_allclose(posterior.covariance, covariance, rtol=1e-5, atol=1e-7)
    assert posterior.log_evidence == pytest.approx(evidence, rel=1e-5)


@pytest.mark.thorough
def test_a_nan_row_does_not_affect_other_rows():
    """The head has two parameters, so each row has a 2 x 2 covariance. `tf.linalg.eigh` of NaN raises an error."""
    kit = KITS[1]
    x, y, _ = line(rows=9)
    model = compiled(kit, kit.keras.Input([3]), kit.keras.layers.Dense(2), kit.heads.Normal())
    posterior = nllfit.laplace(model, x, y)
    expected = predict_distribution(posterior, x).stddev().numpy()
    x[7, 1] = expected[7] = np.nan
    np.testing.assert_allclose(predict_distribution(posterior, x).stddev(), expected, rtol=1e-5)  # rounding of float32
    np.testing.assert_allclose(nllfit.head_outputs.distribution_of(posterior(x)).stddev(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"`x` has rows of shape \(5,\), but the model takes rows of shape \(3,\)"):
        predict_distribution(posterior, np.zeros([4, 5]))
    with pytest.raises(ValueError, match="`x` holds strings, and the model takes numbers"):
        predict_distribution(posterior, np.array([["a", "b", "c"]]))


@pytest.mark.thorough
@mainly(tf_keras)
def test_batches_without_rows_are_skipped_and_batches_of_two_lengths_are_refused(kit):
    x = np.zeros([4, 3, 2], "float32")
    model = compiled(kit, kit.keras.layers.Dense(1), kit.heads.Normal(scale=SCALE))
    posterior = nllfit.laplace(model, x, np.ones([4, 3, 1]), layers="all")

    def of(*batches):
        return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=tf.TensorSpec([None, None, 2]))

    assert predict_distribution(posterior, of(x, x[:0])).batch_shape == [4, 3]
    with pytest.raises(ValueError, match="because their sequences differ in length"):
        predict_distribution(posterior, of(x, x[:, :2]))


@pytest.mark.thorough
def test_masked_outcomes_do_not_count_in_the_posterior():
    kit = KITS[1]
    x, y, design = line()
    sequence = np.zeros([20, 3, 3])
    sequence[:, :2] = x.reshape(20, 2, 3)
    outcomes = np.full([20, 3, 1], 99.0)
    outcomes[:, :2] = y.reshape(20, 2, 1)
    layers = kit.keras.layers.Masking(), kit.keras.layers.Dense(1), kit.heads.Normal(scale=SCALE)
    posterior = nllfit.laplace(compiled(kit, *layers), sequence, outcomes, prior_scale=PRIOR)
    np.testing.assert_allclose(posterior.covariance, closed_form(design, y)[1], rtol=1e-5)


BAD = {
    "layers": (dict(layers="first"), '`layers` is \'first\': give "last" or "all"'),
    "zero": (dict(prior_scale=0), '`prior_scale` is 0: give a positive number, or "marginal likelihood"'),
    "text": (dict(prior_scale="evidence"), "`prior_scale` is 'evidence'"),
    "bool": (dict(prior_scale=True), "`prior_scale` is True"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_a_wrong_argument_is_named(arguments, message):
    x, y, _ = line()
    with pytest.raises(ValueError, match=message):
        nllfit.laplace(linear_model(KITS[0], 40), x, y, **arguments)


@pytest.mark.thorough
def test_models_without_a_posterior_are_refused():
    x, y, _ = line()
    kit = KITS[0]
    with pytest.raises(ValueError, match="not compiled"):
        nllfit.laplace(kit.keras.Sequential([kit.heads.Normal()]), x, y)
    with pytest.raises(ValueError, match="does not end in a head"):
        nllfit.laplace(compiled(kit, kit.keras.layers.Dense(1)), x, y)
    large = compiled(kit, kit.keras.layers.Dense(700), kit.keras.layers.Dense(1), kit.heads.Normal(scale=1.0))
    with pytest.raises(ValueError, match=r'3501 trainable weights, .* or give `layers="last"`'):
        nllfit.laplace(large, x, y, layers="all")
    with pytest.raises(ValueError, match=r"The last layer has 2001 trainable .*: give the layer before it fewer units"):
        nllfit.laplace(compiled(kit, *map(kit.keras.layers.Dense, (2000, 1)), kit.heads.Normal(scale=1.0)), x, y)
    frozen = compiled(kit, kit.keras.layers.Dense(1, trainable=False), kit.heads.Normal(scale=1.0))
    with pytest.raises(ValueError, match="has no trainable weights"):
        nllfit.laplace(frozen, x, y)
    inputs = kit.keras.Input([3])
    named = kit.keras.Model(inputs, {"y": kit.heads.Normal()(kit.keras.layers.Dense(2)(inputs))})
    named.compile(loss=kit.loss)
    with pytest.raises(ValueError, match="returns its output in a dict: give a model whose output is that of one head"):
        nllfit.laplace(named, x, y)
    with pytest.raises(ValueError, match="the weights are all best at 0"):
        nllfit.laplace(linear_model(kit, 40), x, 0 * y, prior_scale="marginal likelihood")
    times = nllfit.right_censored(np.exp(y), np.exp(y) < 1)
    with pytest.raises(ValueError, match=r"whose outcomes are intervals .* Use `nllfit.standard_errors`"):
        nllfit.laplace(compiled(kit, kit.keras.layers.Dense(2), kit.heads.Censored("Weibull", 1)), x, times)


@pytest.mark.parametrize("size", [1, 4, 5, 50])
def test_the_points_of_a_mixture_have_the_moments_of_a_standard_normal(size):
    points, weights = quadrature_mixtures._points(size)
    np.testing.assert_allclose(weights @ points, np.zeros(size), atol=1e-14)
    np.testing.assert_allclose((points.T * weights) @ points, np.eye(size), atol=1e-13)
