"""Ensembles: the mixture of the members' distributions, saving, and errors, with Keras 2 and Keras 3."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import nllfit
from nllfit import Ensemble, predict_distribution
from nllfit.families.law import law_of
from nllfit.families.mixture import mixture_of
from nllfit.families.support_checks import checked
from tests.keras_versions import KITS, each_keras, mainly

tfd = tfp.distributions


def rows(num=50):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[num, 3]).astype("float32")
    return x, (x[:, :1] + 0.3 * rng.normal(size=[num, 1])).astype("float32")


def member(kit, head, *args, **kwargs):
    """A small compiled model that ends in the head called `head`."""
    head = getattr(kit.heads, head)(*args, **kwargs)
    model = kit.keras.Sequential([kit.keras.layers.Dense(head.params_size()), head])
    model.compile(kit.keras.optimizers.Adam(0.01), kit.loss, jit_compile=False)
    return model


def ensemble_of(kit, num, head, *args, **kwargs):
    models = [member(kit, head, *args, **kwargs) for _ in range(num)]
    for i, model in enumerate(models):
        model(np.zeros([1, 3], "float32"))
        rng = np.random.default_rng(i)
        model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return Ensemble(models)


CASES = {
    "Normal": ((), rows()[1]),
    "Normal-shared": ((), rows()[1]),
    "Mixture": (("Normal", 2), rows()[1]),
    "Poisson": ((2,), np.arange(100).reshape(50, 2) % 5),
    "MultivariateNormalTriL": ((2,), np.random.default_rng(1).normal(size=[50, 2])),
    "Categorical": ((3,), np.arange(50) % 3),
    "OneHotCategorical": ((3,), np.eye(3)[np.arange(50) % 3]),
    "Bernoulli": ((), np.arange(50)[:, None] % 2),
}


@pytest.mark.thorough(but=("Categorical", "Mixture", "Normal"))
@pytest.mark.parametrize(("name", "kit"), [*zip(CASES, KITS * 4, strict=True)], ids=CASES)  # one Keras version for each
def test_an_ensemble_is_the_equal_mixture_of_its_members(kit, name):
    head, _, shared = name.partition("-")
    args, y = CASES[name]
    x = rows()[0]
    ensemble = ensemble_of(kit, 2, head, *args, **({"shared": ("scale",)} if shared else {}))
    members = [kit.distribution(model(x)) for model in ensemble.models]
    y = tf.cast(y, members[0].dtype)
    expected = tf.reduce_logsumexp([distribution.log_prob(y) for distribution in members], 0) - np.log(2)
    for distribution in (predict_distribution(ensemble, x), nllfit.head_outputs.distribution_of(ensemble(x))):
        assert isinstance(distribution, tfd.MixtureSameFamily)
        np.testing.assert_allclose(distribution.log_prob(y), expected, rtol=1e-5, atol=1e-5)  # rounding of float32
    prediction = np.mean([tf.convert_to_tensor(model(x)) for model in ensemble.models], 0)
    called = ensemble(x)
    called = law_of(called).central_value() if hasattr(called, "log_prob") else called
    np.testing.assert_allclose(called, prediction, rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
@mainly(tf_keras)
def test_quantiles_and_moments_of_an_ensemble_are_those_of_the_mixture(kit):
    x, y = rows()
    ensemble = ensemble_of(kit, 3, "Normal")
    distribution = predict_distribution(ensemble, x)
    members = [predict_distribution(model, x) for model in ensemble.models]
    median = nllfit.quantile(distribution, 0.5)
    np.testing.assert_allclose(np.mean([nllfit.cdf(m, median) for m in members], 0), 0.5, atol=1e-5)
    means, variances = (np.array([getattr(m, name)() for m in members]) for name in ("mean", "variance"))
    np.testing.assert_allclose(distribution.mean(), means.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(distribution.variance(), variances.mean(0) + means.var(0), rtol=1e-4, atol=1e-6)
    assert nllfit.negative_log_likelihood(y, distribution).shape == (50,)


@pytest.mark.thorough
def test_mixtures_become_one_mixture():
    distribution = predict_distribution(ensemble_of(KITS[0], 3, "Mixture", "Normal", 2), rows()[0])
    assert distribution.components_distribution.batch_shape == (50, 6)


@mainly(keras)
def test_a_shuffled_dataset_gives_all_members_the_same_rows(kit):
    x, _ = rows()
    ensemble = ensemble_of(kit, 2, "Normal", scale=1.0)
    data = tf.data.Dataset.from_tensor_slices(x).shuffle(50, seed=3).batch(8)
    locs = predict_distribution(ensemble, data).components_distribution.mean()[..., 0]
    in_order = predict_distribution(ensemble, x).components_distribution.mean()[..., 0]
    order = np.lexsort(np.transpose(locs))
    np.testing.assert_allclose(np.asarray(locs)[order], np.asarray(in_order)[np.lexsort(np.transpose(in_order))])


@pytest.mark.thorough
@pytest.mark.parametrize("kit", KITS[1:], ids=["keras"])  # a program of the guide trains an ensemble with tf_keras
def test_members_train_in_parallel_and_are_reproducible(kit):
    x, y = rows()

    def trained():
        stops = lambda: [kit.keras.callbacks.EarlyStopping("loss", patience=100)]  # noqa: E731
        build = lambda: member(kit, "Normal")  # noqa: E731
        return Ensemble.fit(build, 2, x, y, epochs=3, batch_size=10, seed=5, callbacks=stops, compile="graph")

    first, second = trained(), trained()
    weights = [[model.get_weights()[0] for model in ensemble.models] for ensemble in (first, second)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.allclose(weights[0][0], weights[0][1])
    assert [len(model.history.epoch) for model in first.models] == [3, 3]
    assert [*first.models[0].history.history] == ["loss"]  # the same keys as in the history of one model


@pytest.mark.parametrize(
    ("cores", "n", "expected"),
    [(1, 3, 3), *(pytest.param(*case, marks=pytest.mark.thorough) for case in ((2, 9, 6), (64, 40, 32)))],
)
def test_members_train_in_as_many_threads_as_the_docstring_says(cores, n, expected, monkeypatch):
    asked = []

    class Threads(ThreadPoolExecutor):
        def __init__(self, max_workers=None):
            asked.append(max_workers)
            super().__init__(1)

    x, y = rows(4)
    monkeypatch.setattr(nllfit.ensembles.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(nllfit.ensembles.concurrent.futures, "ThreadPoolExecutor", Threads)
    monkeypatch.setattr(nllfit.ensembles, "fit", lambda *args, **kwargs: None)
    Ensemble.fit(lambda: member(KITS[0], "Normal"), n, x, y)
    assert asked == [expected]
    said = " ".join(Ensemble.fit.__doc__.split())
    assert "in `min(n, cores + 4, 32)` threads" in said


# A warning of Keras 3, because these models were never trained.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@mainly(tf_keras)
def test_a_saved_ensemble_loads_with_the_same_predictions(
    kit, tmp_path
):  # `test_another_process.py` loads it in another process
    x, y = rows()
    ensemble = ensemble_of(kit, 2, "Mixture", "Normal", 2)
    ensemble.save(tmp_path)
    loaded = Ensemble.load(tmp_path)
    log_prob = (predict_distribution(model, x).log_prob(y) for model in (loaded, ensemble))
    np.testing.assert_array_equal(*log_prob)
    with pytest.raises(ValueError, match="holds something already"):
        ensemble.save(tmp_path)


def test_a_folder_without_members_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.keras file"):
        Ensemble.load(tmp_path)
    with pytest.raises(ValueError, match=r"holds no \.keras file"):
        Ensemble.load(tmp_path / "nowhere")
    (tmp_path / "member-000.keras").write_text("no archive")
    with pytest.raises(ValueError, match=r"member-000\.keras is not a complete \.keras file"):
        Ensemble.load(tmp_path)


@pytest.mark.parametrize("text", ['{"num_sam', "[2]", '{"samples": 2}'])
def test_a_damaged_number_of_samples_is_refused(text, tmp_path):
    ensemble_of(KITS[0], 1, "Normal").save(tmp_path)
    (tmp_path / "ensemble.json").write_text(text)
    with pytest.raises(ValueError, match=r"ensemble\.json is damaged: make it"):
        Ensemble.load(tmp_path)


@each_keras
def test_members_of_different_kinds_are_refused(kit):
    x = np.zeros([2, 3], "float32")
    normal = member(kit, "Normal")
    with pytest.raises(ValueError, match=r"Family\(Normal, \(1,\)\), another's Family\(Laplace, \(1,\)\)"):
        Ensemble([normal, member(kit, "Laplace")])
    with pytest.raises(ValueError, match=r"Family\(Normal, \(2,\)\)"):
        Ensemble([normal, member(kit, "Normal", 2)])
    with pytest.raises(TypeError, match="end the model in a head"):
        Ensemble([kit.keras.Sequential([kit.keras.layers.Dense(2)])] * 2)(x)
    (other,) = [other for other in KITS if other is not kit]
    with pytest.raises(ValueError, match="of keras and tf_keras"):
        Ensemble([normal, member(other, "Normal")])
    with pytest.raises(TypeError, match="not a Keras model"):
        Ensemble([normal, "model"])
    with pytest.raises(ValueError, match="`models` is empty"):
        Ensemble([])
    inputs = kit.keras.Input([3])
    outputs = [kit.heads.Normal(1)(kit.keras.layers.Dense(2)(inputs)) for _ in range(2)]
    with pytest.raises(ValueError, match="One member has 1 heads, another 2: give members with the same heads"):
        Ensemble([normal, kit.keras.Model(inputs, outputs)])
    layers = [kit.keras.layers.Dense(2, dtype="float64"), kit.heads.Normal(1, dtype="float64")]
    with pytest.raises(ValueError, match="`models` compute in float32 and float64: give models of one dtype"):
        Ensemble([normal, kit.keras.Sequential(layers)])


def test_arguments_of_fit_are_checked():
    x, y = rows()
    with pytest.raises(ValueError, match="`n` is 0"):
        Ensemble.fit(lambda: member(KITS[0], "Normal"), 0, x, y)
    with pytest.raises(ValueError, match="members cannot share a callback"):
        Ensemble.fit(lambda: member(KITS[0], "Normal"), 2, x, y, callbacks=[])
    batches = (batch for batch in [(x, y)])
    for name, data in (("x", (batches,)), ("validation_data", (x, y))):
        arguments = {"validation_data": batches} if name == "validation_data" else {}
        with pytest.raises(ValueError, match=f"`{name}` is a generator, which can be read only once, and each member"):
            Ensemble.fit(lambda: member(KITS[0], "Normal"), 2, *data, **arguments)
    assert next(batches)[0] is x
    with pytest.raises(ValueError, match="holds, at row 3"):
        Ensemble.fit(lambda: member(KITS[0], "Poisson"), 2, x, np.where(np.arange(50)[:, None] == 3, -1, 1), epochs=1)


@mainly(keras)
def test_a_nan_row_does_not_affect_other_rows(kit):
    x, _ = rows()
    ensemble = ensemble_of(kit, 2, "Normal")
    expected = predict_distribution(ensemble, x).mean().numpy()
    x[7] = expected[7] = np.nan
    np.testing.assert_allclose(predict_distribution(ensemble, x).mean(), expected, rtol=1e-5, atol=1e-6)  # float32


@pytest.mark.parametrize(
    ("family", "y"),
    [
        (nllfit.ZeroInflated("Uniform"), 0.5),
        (nllfit.Censored("Uniform"), [0.5, 0.5]),
        (nllfit.Truncated("Uniform", low="row"), [0.5, 0.1]),
    ],
    ids=["ZeroInflated", "Censored", "Truncated"],
)
def test_an_outcome_may_be_outside_the_support_of_a_member(family, y):
    ends = np.zeros([2, 1, family.params_size], "float32")
    ends[0, :, -2] = 0.6  # the first member is a Uniform on [0.6, 1.3], the second on [0, 0.7]
    mixture = mixture_of(family, list(tf.constant(ends)), [None, None])
    second = family.distribution(ends[1])
    losses = nllfit.negative_log_likelihood([y], mixture)
    np.testing.assert_allclose(losses, np.log(2) - second.log_prob([y]), rtol=1e-6)
    outside = np.where(np.equal(y, 0.5), 3.0, y)
    with pytest.raises(ValueError, match="outside the support"):
        nllfit.negative_log_likelihood([outside], mixture)


def test_components_of_an_integer_dtype_take_counts_in_floats():
    zipfs = [tfd.Zipf([2.0]), tfd.Zipf([3.0])]
    mixture = checked(tfd.Mixture(tfd.Categorical(probs=[[0.5, 0.5]]), zipfs))
    expected = np.mean([one.prob([3.0]) for one in zipfs])
    np.testing.assert_allclose(nllfit.negative_log_likelihood(tf.constant([3.0]), mixture), [-np.log(expected)], 1e-6)
