"""Compares the standard errors of dense layers before a head with those of statsmodels.

Also tests models for which standard errors do not exist: the result is NaN, or an error is raised.
"""

import functools
import json
import pathlib

import keras
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.othermod.tests
import tensorflow as tf
import tf_keras
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.miscmodels.tests.results.results_ordinal_model import data_store
from statsmodels.othermod.betareg import BetaModel

import nllfit
from nllfit import heads
from tests.keras_versions import KITS, mainly

KIT = KITS[0]


def at_optimum(kit, layers, x, y, **data):
    """A model of these layers, fitted to its optimum."""
    model = kit.keras.Sequential(layers)
    model.compile(loss=kit.loss)
    assert nllfit.fit_lbfgs(model, x, y, **data).converged
    return model


def known(kit, layers, x, *weights):
    """A model of these layers whose weights are set to a known optimum."""
    model = kit.keras.Sequential(layers)
    model.compile(loss=kit.loss)
    model(x)
    model.set_weights([np.reshape(value, weight.shape) for value, weight in zip(weights, model.weights, strict=True)])
    return model


def by_name(coefficients):
    return dict(
        zip(coefficients.names, np.stack([coefficients.estimates, coefficients.standard_errors], 1), strict=True)
    )


def assert_agree(coefficients, result, names, rtol=1e-5):
    """Asserts that estimates and standard errors equal those of statsmodels.

    `names` maps our names of coefficients to the names, or the positions, in statsmodels.
    """
    ours = by_name(coefficients)
    for name, theirs in names.items():
        place = result.model.exog_names.index(theirs) if theirs in result.model.exog_names else theirs
        expected = np.asarray(result.params)[place], np.asarray(result.bse)[place]
        np.testing.assert_allclose(ours[name], expected, rtol=rtol, err_msg=name)


SPECTOR = sm.datasets.spector.load_pandas()
COLUMNS = ["GPA", "TUCE", "PSI"]
LOGIT = {f"kernel[{name}]": name for name in COLUMNS} | {"bias": "const"}


@functools.cache
def logistic():
    """A logistic regression at its optimum; the tests do not change its weights."""
    layers = [tf_keras.layers.Dense(1), heads.Bernoulli()]
    return at_optimum(KIT, layers, SPECTOR.exog[COLUMNS], SPECTOR.endog)


@pytest.mark.thorough
def test_logistic_regression_matches_statsmodels_logit():
    x, y = SPECTOR.exog[COLUMNS], SPECTOR.endog
    model = logistic()
    logit = sm.Logit(y, sm.add_constant(x))
    plain, robust = logit.fit(disp=0), logit.fit(disp=0, cov_type="HC0")
    ours = nllfit.standard_errors(model, x, y)
    assert_agree(ours, plain, LOGIT, 1e-6)
    assert_agree(nllfit.standard_errors(model, x, y, covariance="sandwich"), robust, LOGIT, 1e-6)
    groups = np.arange(len(y)) // 4
    clusters = logit.fit(disp=0, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    assert_agree(nllfit.standard_errors(model, x, y, covariance="sandwich", groups=groups), clusters, LOGIT, 1e-6)
    order = [*COLUMNS, "const"]
    np.testing.assert_allclose(ours.covariance, plain.cov_params().loc[order, order], rtol=1e-5)
    np.testing.assert_allclose(ours.z_values, plain.tvalues[order], rtol=1e-6)
    np.testing.assert_allclose(ours.p_values, plain.pvalues[order], rtol=1e-5)
    np.testing.assert_allclose(ours.confidence_intervals(0.9), plain.conf_int(0.1).loc[order], rtol=1e-5)
    np.testing.assert_allclose([ours.log_likelihood, ours.aic, ours.bic], [plain.llf, plain.aic, plain.bic], rtol=1e-6)
    assert (ours.num_observations, ours.num_parameters, ours.converged) == (32, 4, True)
    table = ours.summary()
    assert all(text in table for text in ("Bernoulli", "kernel[GPA]", "2.8261      1.263    2.238  0.025", "[0.025"))
    assert json.loads(json.dumps(ours.to_dict()))["coefficients"]["bias"]["z"] == pytest.approx(plain.tvalues["const"])


@pytest.mark.thorough
def test_weights_equal_repeated_rows_in_the_errors():
    x, y = SPECTOR.exog[COLUMNS].to_numpy(), SPECTOR.endog.to_numpy()[:, None]
    times = np.random.default_rng(0).integers(0, 4, len(y))
    best = sm.GLM(y, sm.add_constant(x), sm.families.Binomial(), freq_weights=times).fit(tol=1e-12).params
    model = known(KIT, [tf_keras.layers.Dense(1), heads.Bernoulli()], x, best[1:], best[:1])
    many = np.repeat(x, times, 0), np.repeat(y, times, 0)
    for kind in ("information", "sandwich"):
        one = nllfit.standard_errors(model, x, y, sample_weight=times, covariance=kind)
        other = nllfit.standard_errors(model, *many, covariance=kind)
        assert one.converged
        assert other.converged
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-5)
        assert one.num_observations == other.num_observations == times.sum()
        assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-6)


def counts():
    data = sm.datasets.randhie.load_pandas()
    return data.exog[["lncoins", "idp", "physlm", "hlthg"]][::20], data.endog[::20]


@pytest.mark.thorough  # `tests/regression/test_generalized_linear.py` also fits such a regression
def test_poisson_regression_with_an_exposure_matches_statsmodels_glm():
    x, y = counts()
    exposure = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    inputs, log_exposure = tf_keras.Input([x.shape[1]]), tf_keras.Input([1])
    log_rate = tf_keras.layers.Add()([tf_keras.layers.Dense(1)(inputs), log_exposure])
    model = tf_keras.Model([inputs, log_exposure], heads.Poisson()(log_rate))
    model.compile(loss=nllfit.negative_log_likelihood)
    data = [x.to_numpy(), np.log(exposure)[:, None]], y
    assert nllfit.fit_lbfgs(model, *data).converged
    glm = sm.GLM(y, sm.add_constant(x), sm.families.Poisson(), offset=np.log(exposure))
    names = {f"kernel[{i}]": name for i, name in enumerate(x)} | {"bias": "const"}
    assert_agree(nllfit.standard_errors(model, *data), glm.fit(tol=1e-12), names)
    assert_agree(nllfit.standard_errors(model, *data, covariance="sandwich"), glm.fit(tol=1e-12, cov_type="HC0"), names)


@pytest.mark.thorough  # the test of a linear regression also has a shared parameter
def test_negative_binomial_regression_matches_statsmodels():
    x, y = counts()
    model = at_optimum(KIT, [tf_keras.layers.Dense(1), heads.NegativeBinomial(shared=("total_count",))], x, y)
    ours = nllfit.standard_errors(model, x, y)
    theirs = sm.NegativeBinomial(y, sm.add_constant(x)).fit(disp=0, method="newton", maxiter=200)
    assert_agree(ours, theirs, {f"kernel[{name}]": name for name in x})
    count, error = by_name(ours)["total_count"]  # statsmodels' `alpha` is `1 / total_count`
    np.testing.assert_allclose([1 / count, error / count**2], [theirs.params["alpha"], theirs.bse["alpha"]], rtol=1e-5)
    # statsmodels' constant is the intercept of log(mean), and log(mean) = log(total_count) + logits. So the constant is
    # our bias plus log(total_count).
    to_mean = np.array([name == "bias" for name in ours.names]) + np.array(ours.names == "total_count") / count
    slopes = np.where(np.array(ours.names) == "total_count", 1 / count, to_mean)
    assert np.sqrt(slopes @ ours.covariance @ slopes) == pytest.approx(theirs.bse["const"], rel=1e-5)


@pytest.mark.thorough
def test_beta_regression_matches_statsmodels():
    data = pd.read_csv(pathlib.Path(statsmodels.othermod.tests.__file__).parent / "results" / "foodexpenditure.csv")
    x, y = data[["income", "persons"]], data["food"] / data["income"]

    def log_concentrations(predictors):  # `predictors` are logit(mean) and log(precision)
        logit, log_precision = predictors[:, :1], predictors[:, 1:]
        return tf.concat([log_precision + tf.math.log_sigmoid(logit), log_precision + tf.math.log_sigmoid(-logit)], 1)

    link = {"concentration1": "exp", "concentration0": "exp"}
    layers = [
        tf_keras.layers.Dense(2, kernel_initializer="zeros"),
        tf_keras.layers.Lambda(log_concentrations),
        heads.Beta(link=link),
    ]
    model = at_optimum(KIT, layers, x, y)
    theirs = BetaModel(y, sm.add_constant(x), exog_precision=sm.add_constant(x)).fit(disp=0, method="newton", tol=1e-12)
    order = ["bias[0]", "kernel[income, 0]", "kernel[persons, 0]", "bias[1]", "kernel[income, 1]", "kernel[persons, 1]"]
    assert_agree(nllfit.standard_errors(model, x, y), theirs, {name: place for place, name in enumerate(order)})


@pytest.mark.thorough
def test_ordinal_regression_matches_statsmodels():
    x, y = data_store.df[["pared", "public", "gpa"]].astype(float), data_store.df["apply"].cat.codes.to_numpy()
    head = heads.DistributionHead("OrderedLogistic", (), num_classes=3, shared=("cutpoints",))
    model = at_optimum(KIT, [tf_keras.layers.Dense(1, use_bias=False), head], x, y)
    ours = nllfit.standard_errors(model, x, y)
    theirs = OrderedModel(y, x, distr="logit").fit(method="newton", disp=0)
    assert_agree(ours, theirs, {f"kernel[{name}]": name for name in x})
    # statsmodels estimates the first cutpoint, and the logarithm of the distance from the first to the second.
    between = theirs.params.iloc[-1]
    slopes = np.array([[0, 0, 0, 1, 0], [0, 0, 0, 1, np.exp(between)]])
    errors = np.sqrt(np.diag(slopes @ theirs.cov_params().to_numpy() @ slopes.T))
    cutpoints = np.stack([by_name(ours)[f"cutpoints[{place}]"] for place in (0, 1)])
    first = theirs.params.iloc[-2]
    np.testing.assert_allclose(cutpoints, np.stack([[first, first + np.exp(between)], errors], 1), rtol=1e-5)


@pytest.mark.parametrize("family", ["OrderedLogistic", "StoppingRatioLogistic"])
def test_separable_ordered_classes_have_no_standard_errors(family):
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = np.digitize(x[:, :1], [-0.5, 0.5])
    head = heads.DistributionHead(family, num_classes=3, shared=("cutpoints",), dtype="float64")
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False, dtype="float64"), head])
    model.compile(loss=nllfit.negative_log_likelihood)
    assert not nllfit.fit_lbfgs(model, x, y, verbose=0).converged
    found = nllfit.standard_errors(model, x, y)
    assert not found.converged
    assert np.isnan(found.standard_errors).all()
    assert "at infinity" in found.message


@mainly(keras)
def test_linear_regression_has_the_maximum_likelihood_errors(kit):
    data = sm.datasets.stackloss.load_pandas()
    x, y = data.exog, data.endog
    ols, n = sm.OLS(y, sm.add_constant(x)).fit(), len(y)
    scale = np.sqrt(ols.ssr / n)
    layers = [kit.keras.layers.Dense(1), kit.heads.Normal(shared=("scale",))]
    model = known(kit, layers, x.to_numpy(), ols.params[x.columns], ols.params["const"], np.log(np.expm1(scale)))
    ours = nllfit.standard_errors(model, x, y)
    assert ours.converged
    errors = np.append(ols.bse.to_numpy() * np.sqrt(ols.df_resid / n), scale / np.sqrt(2 * n))
    expected = dict(zip(["bias", *(f"kernel[{name}]" for name in x), "scale"], errors, strict=True))
    np.testing.assert_allclose([by_name(ours)[name][1] for name in expected], [*expected.values()], rtol=1e-5)
    robust = nllfit.standard_errors(model, x, y, covariance="sandwich")
    hc0 = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC0").bse
    np.testing.assert_allclose([by_name(robust)[f"kernel[{name}]"][1] for name in x], hc0[x.columns], rtol=1e-5)


@pytest.mark.thorough
def test_coefficients_of_two_parameters_have_their_names():
    x, y = pd.DataFrame({"dose": np.linspace(-1, 1, 50)}), np.tanh(np.linspace(-5, 5, 50)) + np.resize([0.1, -0.1], 50)
    model = tf_keras.Sequential([tf_keras.layers.Dense(2), heads.Normal()])  # `loc` and `scale`
    model.compile(loss=nllfit.negative_log_likelihood)
    names = nllfit.standard_errors(model, x, y).names
    assert names == ["kernel[dose, loc]", "kernel[dose, scale]", "bias[loc]", "bias[scale]"]
    deep = [tf_keras.layers.Dense(2, "tanh", name="a"), tf_keras.layers.Dense(1, name="b"), heads.Normal(scale=1.0)]
    model = tf_keras.Sequential(deep)
    model.compile(loss=nllfit.negative_log_likelihood)
    names = nllfit.standard_errors(model, x, y).names
    expected = [
        "a/kernel[dose, 0]",
        "a/kernel[dose, 1]",
        "a/bias[0]",
        "a/bias[1]",
        "b/kernel[0]",
        "b/kernel[1]",
        "b/bias",
    ]
    assert names == expected


@pytest.mark.thorough
@mainly(tf_keras)
def test_steps_of_a_row_form_a_cluster_and_masked_steps_do_not_count(kit):
    rng = np.random.default_rng(0)
    x, y, padding = rng.normal(size=[30, 4, 2]), rng.normal(size=[30, 4, 1]), np.arange(4) == 3
    x[:, padding], y[:, padding] = 0.0, np.nan
    flat = x[:, ~padding].reshape(90, 2), y[:, ~padding].reshape(90, 1)
    ols = sm.OLS(flat[1], sm.add_constant(flat[0])).fit()
    best = ols.params[1:], ols.params[:1], np.log(np.expm1(np.sqrt(ols.ssr / 90)))
    layers = [kit.keras.layers.Dense(1), kit.heads.Normal(shared="scale")]
    masked = nllfit.standard_errors(
        known(kit, [kit.keras.layers.Masking(), *layers], x, *best), x, y, covariance="sandwich"
    )
    assert masked.converged
    layers = [kit.keras.layers.Dense(1), kit.heads.Normal(shared="scale")]
    model = known(kit, layers, flat[0], *best)
    plain = nllfit.standard_errors(model, *flat, covariance="sandwich", groups=np.repeat(np.arange(30), 3))
    assert plain.converged
    np.testing.assert_allclose(masked.covariance, plain.covariance, rtol=1e-4, atol=1e-9)
    assert masked.log_likelihood == pytest.approx(plain.log_likelihood, rel=1e-6)


def test_unidentified_coefficients_are_named():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=[100, 2]), columns=["a", "b"]).assign(twice=lambda x: 2 * x["a"])
    y = rng.binomial(1, 0.5, 100)
    logit = sm.Logit(y, sm.add_constant(x[["a", "b"]])).fit(disp=0)
    kernel = logit.params["a"], logit.params["b"], 0.0
    model = known(KIT, [tf_keras.layers.Dense(1), heads.Bernoulli()], x.to_numpy(), kernel, logit.params["const"])
    ours = nllfit.standard_errors(model, x, y)
    assert ours.converged
    assert np.isinf(ours.standard_errors).tolist() == [True, False, True, False]
    assert "`kernel[a]`, `kernel[twice]` can change together" in ours.message
    assert ours.num_parameters == 3
    np.testing.assert_allclose(ours.standard_errors[[1, 3]], logit.bse[["b", "const"]], rtol=1e-5)
    assert ours.to_dict()["coefficients"]["kernel[a]"]["standard_error"] is None


@pytest.mark.thorough
def test_the_scale_of_a_hidden_unit_is_not_identified():
    rng = np.random.default_rng(0)
    x = rng.normal(size=[200, 1])
    y = np.maximum(x, 0) + 0.1 * rng.normal(size=[200, 1])
    hidden, out = tf_keras.layers.Dense(1, "relu", name="hidden"), tf_keras.layers.Dense(1, name="out")
    model = tf_keras.Sequential([hidden, out, heads.Normal(shared="scale")])
    model.compile(loss=nllfit.negative_log_likelihood)
    model(x)
    model.set_weights([np.array([[2.0]]), np.array([0.1]), np.array([[1.0]]), np.zeros(1), np.zeros(1)])
    assert nllfit.fit_lbfgs(model, x, y).converged
    ours = nllfit.standard_errors(model, x, y)
    infinite = [name for name, error in zip(ours.names, ours.standard_errors, strict=True) if np.isinf(error)]
    assert infinite == ["hidden/kernel", "hidden/bias", "out/kernel"]
    assert ours.num_parameters == 4


@pytest.mark.thorough
def test_weights_that_are_not_a_maximum_have_no_errors():
    x, y = SPECTOR.exog[COLUMNS], SPECTOR.endog
    model = logistic()
    best = model.get_weights()
    model.set_weights([1.1 * weight for weight in best])
    ours, weights = nllfit.standard_errors(model, x, y), model.get_weights()
    model.set_weights(best)
    assert not ours.converged
    assert np.all(np.isnan(ours.standard_errors))
    assert "standard errors away: continue with `fit_lbfgs`" in ours.summary()
    np.testing.assert_array_equal(weights[0], 1.1 * best[0])
    separable = [[-2.0], [-1.0], [1.0], [2.0]], [[0], [0], [1], [1]]
    model = tf_keras.Sequential([tf_keras.layers.Dense(1), heads.Bernoulli()])
    model.compile(loss=nllfit.negative_log_likelihood)
    nllfit.fit_lbfgs(model, *map(np.array, separable))
    ours = nllfit.standard_errors(model, *map(np.array, separable))
    assert not ours.converged
    assert "infinity, as when classes are separable" in ours.message


class Subclass(tf_keras.Model):
    """A model that Keras cannot clone in float64, so its likelihood is computed in float32."""

    def __init__(self, *layers):
        super().__init__()
        self.parts = layers

    def call(self, x, training=False):
        for part in self.parts:
            x = part(x)
        return x


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("make", "head", "outcome", "kernel"),
    [
        # With a kernel of 7.69, the Hessian would give a standard error of 33.
        (
            lambda *layers: tf_keras.Sequential(layers),
            heads.Bernoulli,
            1,
            7.69,
        ),
        (lambda *layers: tf_keras.Sequential(layers), heads.Poisson, 0, -9.3),
        (Subclass, heads.Bernoulli, 1, 12.0),
    ],
)
def test_a_group_of_equal_outcomes_has_no_finite_maximum(make, head, outcome, kernel):
    group = np.r_[np.ones(10), np.zeros(30)][:, None]
    y = np.where(group == 1, outcome, np.arange(40)[:, None] % 3 == 0)
    bias = np.log(y[10:].mean()) - (head is heads.Bernoulli) * np.log(1 - y[10:].mean())
    model = make(tf_keras.layers.Dense(1), head())
    model.compile(loss=nllfit.negative_log_likelihood)
    model(group)
    model.set_weights([np.array([[kernel]]), np.array([bias])])
    ours = nllfit.standard_errors(model, group, y)
    assert not ours.converged
    assert np.all(np.isnan(ours.standard_errors))
    assert "infinity, as when classes are separable" in ours.message


@pytest.mark.thorough
def test_unsuitable_models_have_no_standard_errors():
    x, y = SPECTOR.exog[COLUMNS].to_numpy(), SPECTOR.endog.to_numpy()[:, None]
    dense, loss = tf_keras.layers.Dense, nllfit.negative_log_likelihood

    def compiled(*layers, loss=loss):
        model = tf_keras.Sequential(layers)
        model.compile(loss=loss)
        return model

    model = logistic()
    with pytest.raises(ValueError, match=r"`covariance` is 'HC0': give \"information\" or \"sandwich\""):
        nllfit.standard_errors(model, x, y, covariance="HC0")
    with pytest.raises(ValueError, match=r"`covariance` is \['sandwich'\]: give"):
        nllfit.standard_errors(model, x, y, covariance=["sandwich"])
    with pytest.raises(ValueError, match='give `covariance="sandwich"` as well'):
        nllfit.standard_errors(model, x, y, groups=np.arange(32))
    with pytest.raises(ValueError, match=r"`groups` has shape \(3,\), but there are 32 rows"):
        nllfit.standard_errors(model, x, y, groups=[1, 2, 3], covariance="sandwich")
    with pytest.raises(ValueError, match="`groups` has one label for all rows: give labels of at least two groups"):
        nllfit.standard_errors(model, x, y, groups=np.ones(32), covariance="sandwich")
    with pytest.raises(ValueError, match=r"`y` holds, at row 4, \[2\], which .* cannot have"):
        nllfit.standard_errors(model, x, np.where(y > 0, 2, 0))
    with pytest.raises(ValueError, match="does not end in a head"):
        nllfit.standard_errors(compiled(dense(1), loss="mse"), x, y)
    with pytest.raises(ValueError, match=r"`x` is a _BatchDataset, .*: give arrays"):
        nllfit.standard_errors(model, tf.data.Dataset.from_tensor_slices((x, y)).batch(4), None)
    with pytest.raises(
        ValueError, match="has 10601 trainable weights, but standard errors are computed for at most 2000"
    ):
        nllfit.standard_errors(compiled(dense(100), dense(100), dense(1), heads.Bernoulli()), x, y)
    with pytest.raises(ValueError, match="`level` is 95"):
        nllfit.standard_errors(model, x, y).confidence_intervals(95)
    diverged = compiled(
        dense(1, name="last", bias_initializer=tf_keras.initializers.Constant(np.nan)), heads.Bernoulli()
    )
    diverged.build(x.shape)
    with pytest.raises(ValueError, match="The layer `last` has a weight that is not finite: train the model again"):
        nllfit.standard_errors(diverged, x, y)
    frozen = compiled(dense(1, trainable=False), heads.Bernoulli())
    with pytest.raises(ValueError, match="no trainable weights"):
        nllfit.standard_errors(frozen, x, y)


@pytest.mark.thorough
def test_the_columns_of_one_input_among_several_name_its_weights():
    rng = np.random.default_rng(0)
    x, exposure = pd.DataFrame(rng.normal(size=[40, 2]), columns=["age", "dose"]), np.ones([40, 1])
    y = rng.poisson(2.0, size=[40, 1])
    columns, offset = (tf_keras.Input([size], name=name, dtype="float64") for size, name in ((2, "x"), (1, "offset")))
    numbers = tf_keras.layers.Dense(1, dtype="float64")(columns)
    output = heads.Poisson()(tf_keras.layers.Add(dtype="float64")([numbers, offset]))
    for inputs, given in (
        ([columns, offset], [x, exposure]),
        ({"x": columns, "offset": offset}, {"x": x, "offset": exposure}),
    ):
        model = tf_keras.Model(inputs, output)
        model.compile(loss=nllfit.negative_log_likelihood)
        assert nllfit.standard_errors(model, given, y).names == ["kernel[age]", "kernel[dose]", "bias"]


@pytest.mark.thorough
@mainly(keras)
def test_a_dict_of_tables_names_the_weights_of_each_input(kit):
    rng = np.random.default_rng(0)
    layers, of_a, of_b = kit.keras.layers, ["a1", "a2"], ["b1", "b2", "b3"]
    x = {name: pd.DataFrame(rng.normal(size=[40, len(of)]), columns=of) for name, of in (("b", of_b), ("a", of_a))}
    slopes = {"a": np.array([[1.0], [2.0]]), "b": np.array([[10.0], [20.0], [30.0]])}
    expected = x["a"].to_numpy() @ slopes["a"] + x["b"].to_numpy() @ slopes["b"]
    for as_dict in (False, True):
        a, b = kit.keras.Input((2,), name="a"), kit.keras.Input((3,), name="b")
        dense = {name: layers.Dense(1, use_bias=False, name=f"of_{name}") for name in "ab"}
        output = kit.heads.Normal(scale=1.0)(layers.Add()([dense["b"](b), dense["a"](a)]))
        model = kit.keras.Model({"b": b, "a": a} if as_dict else [b, a], output)
        model.compile(loss=kit.loss)
        for name, values in slopes.items():
            dense[name].set_weights([values])
        names = nllfit.standard_errors(model, x, expected).names
        assert set(names) == {f"of_a/kernel[{name}]" for name in of_a} | {f"of_b/kernel[{name}]" for name in of_b}
        found = nllfit.predict_distribution(model, x).mean()  # `predict_distribution` checks the width of each table
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.thorough
@mainly(keras)
def test_no_two_coefficients_have_one_name(kit):
    layers = kit.keras.layers
    table = pd.DataFrame(np.random.default_rng(0).normal(size=[30, 2]), columns=["age", "age"])
    inputs = kit.keras.Input((2,))
    parts = [kit.keras.Sequential([layers.Dense(1, name="dense")], name=name) for name in ("left", "right")]
    model = kit.keras.Model(inputs, kit.heads.Normal(scale=1.0)(layers.Add()([part(inputs) for part in parts])))
    model.compile(loss=kit.loss)
    found = nllfit.standard_errors(model, table, np.zeros([30, 1]))
    assert len(found.to_dict()["coefficients"]) == len(found.names) == 6
    model = known(kit, [layers.Dense(1), kit.heads.Normal(scale=1.0)], table.to_numpy(), [1.0, 2.0], 3.0)
    found = nllfit.standard_errors(model, table, table.to_numpy() @ [[1.0], [2.0]] + 3)
    assert found.names == ["kernel[age]", "kernel[age] (2)", "bias"]
    coefficients = found.to_dict()["coefficients"]
    assert [coefficients[name]["estimate"] for name in found.names] == [1, 2, 3]


def test_labels_of_groups_are_neither_merged_nor_missing():
    x, y = SPECTOR.exog[COLUMNS], SPECTOR.endog
    labels = [0, "0", 1, "b"] * 8
    robust = sm.Logit(y, sm.add_constant(x)).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": np.arange(32) % 4, "use_correction": False}
    )
    ours = nllfit.standard_errors(logistic(), x, y, covariance="sandwich", groups=labels)
    assert_agree(ours, robust, LOGIT, 1e-5)
    assert ours.kind == "sandwich, 4 groups"
    for missing in (None, np.nan, pd.NA, pd.NaT):
        gaps = [*labels[:5], missing, *labels[6:]]
        for groups in (gaps, pd.Series(gaps)):
            with pytest.raises(ValueError, match="`groups` has no label at row 5: give each row a label, or drop such"):
                nllfit.standard_errors(logistic(), x, y, covariance="sandwich", groups=groups)
    with pytest.raises(ValueError, match=r"`groups` has no label at row 0: .* 2 labels are missing"):
        nllfit.standard_errors(logistic(), x, y, covariance="sandwich", groups=[np.nan, *np.arange(30.0), np.nan])


@pytest.mark.thorough
@mainly(keras)
def test_a_layer_with_an_attribute_family_is_no_head(kit):
    class Named(kit.keras.layers.Dense):
        family = "dense"
        layers = ()

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=[40, 2]), rng.normal(size=[40, 1])
    best = np.linalg.lstsq(np.column_stack([x, np.ones(40)]), y, rcond=None)[0]
    model = known(kit, [kit.keras.layers.Input([2]), Named(1), kit.heads.Normal(scale=1.0)], x, best[:2], best[2:])
    assert nllfit.standard_errors(model, x, y).converged
    assert nllfit.laplace(model, x, y).mean.shape == (3,)


@pytest.mark.thorough
def test_a_group_of_weight_0_is_no_group():
    x, y = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), np.array([[0.5], [1.0], [2.5], [2.0], [9.0]])
    weights, design = np.array([1.0, 1.0, 1.0, 1.0, 0.0]), np.column_stack([x[:4], np.ones(4)])
    best = np.linalg.lstsq(design, y[:4], rcond=None)[0]
    model = known(KIT, [tf_keras.layers.Dense(1), heads.Normal(scale=1.0)], x, *best)
    with pytest.raises(ValueError, match="`groups` has one label for all rows"):
        nllfit.standard_errors(model, x, y, sample_weight=weights, covariance="sandwich", groups=list("aaaab"))
    groups = np.array([0.0, 0.0, 1.0, 1.0, np.nan])
    found = nllfit.standard_errors(model, x, y, sample_weight=weights, covariance="sandwich", groups=groups)
    assert found.kind == "sandwich, 2 groups"
    scores = design * (y[:4] - design @ best)
    sums = np.stack([scores[:2].sum(0), scores[2:].sum(0)])
    bread = np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(found.covariance, bread @ sums.T @ sums @ bread, rtol=1e-5)
