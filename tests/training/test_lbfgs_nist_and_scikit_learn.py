"""`fit_lbfgs` reaches known optima: of scikit-learn, statsmodels, NIST and least squares."""

import builtins
import json

import keras
import numpy as np
import pytest
import statsmodels.api as sm
import tf_keras
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression

import nllfit
from nllfit import heads
from nllfit.initialization import initial_biases
from nllfit.model_caches import shared_by
from nllfit.optimum.corners import lowest_at_corners
from nllfit.training import lbfgs
from nllfit.training.architecture import architecture_of
from nllfit.training.loss_surface import Surface
from tests.files import data_file
from tests.keras_versions import KITS, alternately, mainly, set_precision


@pytest.fixture(autouse=True)
def _float64():
    set_precision("float64")
    yield
    set_precision("float32")


def linear(num_inputs, units, head, penalty=0.0):
    tf_keras.utils.set_random_seed(0)
    layer = tf_keras.layers.Dense(units, kernel_regularizer=tf_keras.regularizers.L2(penalty))
    model = tf_keras.Sequential([tf_keras.layers.Input((num_inputs,)), layer, head])
    model.compile("sgd", nllfit.negative_log_likelihood)
    return model


def breast_cancer():
    data = load_breast_cancer()
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    return x, data.target[:, None], 1, heads.Bernoulli


@pytest.mark.thorough  # penalties are covered by `test_a_loss_by_name_and_a_penalty_are_minimised_in_float64`
def test_a_penalised_regression_matches_scikit_learn_also_after_an_interruption():
    # `objective` is `nll` plus the penalty term, whose factor is `penalty`. scikit-learn 1.9's LogisticRegression
    # computed both numbers with a tolerance of 1e-12 (tests/data/oracles.json). Two tests below fit the same data with
    # the factor 1e-2.
    penalty, objective, nll = 1e-3, 0.0680828231, 0.0543921760
    x, y, units, head = breast_cancer()
    model = linear(x.shape[1], units, head(), penalty)
    start = model.get_weights()
    history = nllfit.fit_lbfgs(model, x, y, max_iterations=3)
    assert not history.converged
    assert "raise `max_iterations`" in history.message
    assert history.num_iterations == 3
    model.set_weights(start)
    first = nllfit.fit_lbfgs(model, x, y)
    model.set_weights(start)
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.history["loss"] == first.history["loss"]
    architecture = architecture_of(model, y)
    surface = shared_by((Surface, architecture), lambda: None)
    assert surface._curved.experimental_get_tracing_count() == 1
    assert history.converged, history.message
    assert history.history["loss"][-1] == pytest.approx(objective, abs=1e-8)
    model.run_eagerly = True  # otherwise Keras traces `evaluate`
    assert history.history["loss"][-1] == pytest.approx(model.evaluate(x, y, len(x), verbose=0), abs=1e-12)
    # `objective` is at its minimum, so an error `e` of the weights changes it by about `e^2`. `nll` is not at its
    # minimum, so the error changes `nll` by about `e`. Therefore `nll` has half as many correct digits as `objective`.
    assert float(np.mean(nllfit.negative_log_likelihood(y, model(x)))) == pytest.approx(nll, abs=1e-6)


@pytest.mark.thorough
def test_a_model_with_many_weights_matches_scikit_learn():
    data = load_digits()
    x, y = data.data[:200, 18:30] / 16, data.target[:200]  # a model with 130 weights
    expected = LogisticRegression(C=1 / (2 * 1e-2 * len(x)), tol=1e-10, solver="newton-cholesky").fit(x, y)
    model = linear(12, 10, heads.Categorical(10), 1e-2)
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    np.testing.assert_allclose(model.get_weights()[0], expected.coef_.T, atol=1e-6)  # scikit-learn's own error


def test_the_spector_logit_matches_statsmodels_to_nine_digits():
    data = sm.datasets.spector.load_pandas()
    x, y = data.exog.values, data.endog.values[:, None]
    expected = sm.Logit(y[:, 0], sm.add_constant(x)).fit(disp=0)
    model = linear(3, 1, heads.Bernoulli())
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert -history.history["loss"][-1] * len(y) == pytest.approx(-12.889634222131413, rel=1e-9)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose([*bias, *kernel[:, 0]], expected.params, rtol=1e-6)


OTHERS = [
    pytest.param(name, marks=pytest.mark.thorough)
    for name in ("energy", "naval-propulsion-plant", "protein-tertiary-structure")
]


@pytest.mark.parametrize("name", OTHERS)
def test_splits_of_the_uci_benchmark_match_least_squares(name):
    oracle = json.loads(data_file("uci/linear_gaussian_oracle.json").read_text())
    columns, expected = oracle["columns"], oracle["per_split"][name]
    data = np.loadtxt(data_file(f"uci/{name}.txt"))
    model = linear(data.shape[1] - 1, 1, heads.Normal(shared=("scale",)))
    rs = np.random.RandomState(1)
    for row in expected[:1]:
        order = rs.choice(range(len(data)), len(data), replace=False)
        train, test = np.split(data[order], [round(len(data) * 0.9)])
        mean, scale = train.mean(0), np.where(train.std(0) > 0, train.std(0), 1.0)
        train, test = (train - mean) / scale, (test - mean) / scale
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        history = nllfit.fit_lbfgs(model, train[:, :-1], train[:, -1:])
        assert history.converged, history.message
        test_nll = float(np.mean(nllfit.negative_log_likelihood(test[:, -1:], model(test[:, :-1]))))
        units = np.log(scale[-1])
        design = np.column_stack([train[:, :-1], np.ones(len(train))])
        residuals = train[:, -1] - design @ np.linalg.lstsq(design, train[:, -1], rcond=None)[0]
        train_nll = np.log(2 * np.pi * np.e * residuals.var()) / 2
        assert history.history["loss"][-1] == pytest.approx(train_nll, abs=1e-8)
        if name == "naval-propulsion-plant":  # the published value, -3.72, is worse than least squares, -4.92
            assert train_nll + units < row[columns.index("train_nll")]
            continue
        assert history.history["loss"][-1] + units == pytest.approx(row[columns.index("train_nll")], abs=1e-8)
        # At the optimum of the training rows, the gradient of the test NLL is not 0, so an error of the weights
        # changes the test NLL more than it changes the training loss.
        assert test_nll + units == pytest.approx(row[columns.index("test_nll")], abs=1e-5)


@pytest.mark.thorough
def test_keras_3_models_with_keras_losses_are_solved():
    x, y, _, _ = breast_cancer()
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1e-2))
    model = keras.Sequential([keras.layers.Input((30,)), layer])
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert history.history["loss"][-1] == pytest.approx(0.1208816468, abs=1e-8)
    assert history is model.history


@pytest.mark.thorough
def test_float32_converges_to_its_own_precision():
    set_precision("float32")
    x, y, units, head = breast_cancer()
    history = nllfit.fit_lbfgs(linear(30, units, head(), 1e-2), x, y)
    assert history.converged, history.message
    assert history.history["loss"][-1] == pytest.approx(0.1208816468, abs=1e-8)


def regression(name):
    """A regression data set of NIST: the design without its constant column, and the outcomes."""
    if name == "Filip":
        y, x = np.loadtxt(data_file("nist/Filip.csv"), delimiter=",", skiprows=1).T
        x = x[:, None] ** np.arange(1, 11)
        return x / np.abs(x).max(0), y[:, None]
    if name == "Longley":
        data = np.loadtxt(data_file("nist/Longley.dat"), skiprows=60)
        return data[:, 1:], data[:, :1]
    x = np.arange(21.0)[:, None] ** np.arange(1, 6)
    noise = np.array([759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048])
    size = {"Wampler1": 0, "Wampler2": 0, "Wampler3": 1, "Wampler4": 100, "Wampler5": 10000}[name]
    ratio = 0.1 if name == "Wampler2" else 1.0
    return x, 1 + x @ ratio ** np.arange(1.0, 6)[:, None] + size * np.append(noise, noise[9::-1])[:, None]


def least_squares(x, y):
    """Returns the coefficients (the constant is last) and the mean squared residual."""
    design = np.column_stack([x, np.ones(len(x))])
    sizes = np.abs(design).max(0)
    coefficients = np.linalg.lstsq(design / sizes, y[:, 0], rcond=None)[0] / sizes
    return coefficients, np.mean((y[:, 0] - design @ coefficients) ** 2)


# `lstsq` itself is accurate to 6e-8 for Filip, whose condition number is 5e9, and to 1e-6 for Wampler5.
@pytest.mark.thorough  # `test_a_model_can_be_solved_again_with_another_number_of_rows` also tests least squares
@pytest.mark.parametrize(
    "names",
    [
        "Filip",
        "Wampler1 Wampler2 Wampler3 Wampler4 Wampler5",
    ],
)
def test_nist_regressions_are_as_accurate_as_least_squares(names):
    model = start = None
    for name in names.split():
        x, y = regression(name)
        coefficients, _ = least_squares(x, y)
        model = model or linear(x.shape[1], 1, heads.Normal(scale=1.0))
        start = start or model.get_weights()
        model.set_weights(start)
        history = nllfit.fit_lbfgs(model, x, y)
        assert history.converged, (name, history.message)
        kernel, bias = model.get_weights()
        np.testing.assert_allclose([*kernel[:, 0], *bias], coefficients, rtol=1e-5, err_msg=name)


@pytest.mark.thorough
def test_a_start_at_a_saddle_point_is_left():
    # The prediction is the product of two weights and `x`. At two weights of 0, the gradient is 0, but the loss has no
    # minimum there.
    x, noise = np.random.default_rng(0).normal(size=(2, 50, 1))
    y = noise - 3 * x
    layers = [tf_keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros") for _ in range(2)]
    model = tf_keras.Sequential([tf_keras.layers.Input((1,)), *layers])
    model.compile("sgd", "mse")
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert history.history["loss"][-1] == pytest.approx(np.linalg.lstsq(x, y, rcond=None)[1][0] / 50, abs=1e-12)


def test_a_penalty_that_makes_all_weights_zero_is_solved():
    """At the optimum 0 of `w' H w / 2 - b' w + 9 sum |w|`, no weight is left for Newton's method."""
    hessian, linear_part = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, -2.0])

    def value_and_gradient(w):
        gradient = hessian @ w - linear_part + 9 * np.sign(w)
        return w @ hessian @ w / 2 - linear_part @ w + 9 * np.abs(w).sum(), gradient

    def curvature(w, directions):
        return np.stack([hessian @ direction for direction in directions.T], 1)

    w, held, value, gain = lowest_at_corners(value_and_gradient, curvature, np.array([1e-5, -1e-4]))
    assert held.all()
    assert not w.any()
    assert value == gain == 0


@pytest.mark.thorough
def test_a_start_is_kept_if_the_loss_of_the_marginal_distribution_is_nan(monkeypatch):
    def to_marginal(model, data):
        model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
        return True

    monkeypatch.setattr(lbfgs, "_went_to_marginal", to_marginal)
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    x = np.arange(4.0)
    assert nllfit.fit_lbfgs(model, x[:, None], x[:, None] ** 2).converged


@pytest.mark.thorough
def test_a_loss_with_corners_is_solved_approximately():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 1))
    y = 100 * (x + 1) + rng.laplace(size=(100, 1))
    expected = sm.QuantReg(y[:, 0], sm.add_constant(x)).fit(q=0.5, p_tol=1e-3)
    optimum = 1 + np.log(2 * np.abs(expected.resid).mean())
    history = nllfit.fit_lbfgs(linear(1, 1, heads.Laplace(shared=("scale",))), x, y, max_iterations=60)
    assert history.history["loss"][-1] == pytest.approx(optimum, abs=1e-3)


@pytest.mark.thorough
def test_a_loss_of_straight_pieces_is_solved_approximately():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 1))
    y = x + 3 + rng.standard_t(3, size=(50, 1))
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mae")
    history = nllfit.fit_lbfgs(model, x, y)
    expected = sm.QuantReg(y[:, 0], sm.add_constant(x)).fit(q=0.5, p_tol=1e-8)
    assert history.history["loss"][-1] == pytest.approx(np.abs(expected.resid).mean(), abs=1e-6)
    assert not history.converged
    assert "has no curvature, so its distance from the optimum is unknown" in history.message


@pytest.mark.thorough
@mainly(keras)
def test_a_model_with_a_while_loop_is_solved(kit):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4, 1))
    kit.keras.utils.set_random_seed(0)
    layers = [kit.keras.layers.SimpleRNN(1, activation="linear"), kit.keras.layers.Dense(1, use_bias=False)]
    model = kit.keras.Sequential([*layers, kit.heads.Normal(scale=1.0)])
    model.compile("sgd", kit.loss)
    y = x[:, :, 0] @ 0.5 ** np.arange(4)[::-1, None] + 1
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert history.history["loss"][-1] == pytest.approx(np.log(2 * np.pi) / 2, abs=1e-9)  # the fit is exact


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kit", "case"),
    [
        pytest.param(KITS[0], ("Longley", "float32"), id="Longley"),
        pytest.param(KITS[1], ("Wampler3", "float64"), id="Wampler3"),
        pytest.param(KITS[0], ("concrete", "float64"), id="concrete"),
        pytest.param(KITS[1], ("diabetes", "float32"), id="diabetes"),
    ],
)
def test_outcomes_and_inputs_may_have_any_unit(kit, case):
    name, dtype = case
    set_precision(dtype)
    if name == "diabetes":
        x, y = load_diabetes(return_X_y=True)
    elif name == "concrete":
        x, y = np.split(1e4 * np.loadtxt(data_file("uci/concrete.txt")), [-1], 1)
    else:
        x, y = regression(name)
    x, y = (part.astype(dtype).astype(float) for part in (x, y.reshape(-1, 1)))
    optimum = np.log(2 * np.pi * np.e * least_squares(x, y)[1]) / 2
    kit.keras.utils.set_random_seed(0)
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Normal(shared=("scale",))])
    model.compile("sgd", kit.loss)
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert history.history["loss"][-1] == pytest.approx(optimum, abs=1e-9 if dtype == "float64" else 1e-5)
    model.run_eagerly = True  # otherwise Keras traces `evaluate`
    assert model.evaluate(x, y, len(x), verbose=0) == pytest.approx(optimum, rel=1e-9 if dtype == "float64" else 1e-4)


@pytest.mark.thorough
def test_large_counts_are_solved():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    y = rng.negative_binomial(20, 20 / (20 + 1e6 * np.exp(0.3 * x)))
    expected = sm.NegativeBinomial(y[:, 0], sm.add_constant(x)).fit(disp=0, method="nm", maxiter=5000)
    model = linear(1, 1, heads.NegativeBinomial(shared=("total_count",)))
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert history.history["loss"][-1] <= -expected.llf / 200 + 1e-9


def separable(x):
    return heads.Bernoulli(), 1, x, x[:, :1] > 0


def separable_classes(x):
    return heads.Categorical(3), 3, x, np.argmax(x, 1)


def partly_separable(x):
    marked = np.arange(len(x)) % 5 == 0  # the marked rows are all in class 1, the other rows in both classes
    y = np.where(marked, 1, np.random.default_rng(1).uniform(size=len(x)) < 0.5)
    return heads.Bernoulli(), 1, np.column_stack([x, marked]), y[:, None]


def without_counts(x):
    return heads.Poisson(), 1, x, np.zeros([len(x), 1])


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        (separable, "float32"),
        pytest.param(separable_classes, "float64", marks=pytest.mark.thorough),
        pytest.param(partly_separable, "float64", marks=pytest.mark.thorough),
        # `test_a_penalty_makes_the_optimum_finite_except_in_an_unpenalised_bias` has this case with a penalty.
        pytest.param(without_counts, "float64", marks=pytest.mark.thorough),
    ],
)
def test_an_optimum_at_infinity_does_not_converge(case, dtype):
    set_precision(dtype)
    head, units, x, y = case(np.random.default_rng(0).normal(size=(200, 3)))
    history = nllfit.fit_lbfgs(linear(x.shape[1], units, head), x, y)
    assert not history.converged
    assert "the optimum is at infinity" in history.message


@pytest.mark.thorough  # penalties are covered by `test_a_loss_by_name_and_a_penalty_are_minimised_in_float64`
@pytest.mark.parametrize(("case", "bounded"), [(separable, True), (without_counts, False)])
def test_a_penalty_makes_the_optimum_finite_except_in_an_unpenalised_bias(case, bounded):
    head, units, x, y = case(np.random.default_rng(0).normal(size=(200, 3)))
    history = nllfit.fit_lbfgs(linear(x.shape[1], units, head, 1e-2), x, y)
    assert history.converged == bounded
    assert bounded or "the optimum is at infinity" in history.message


@pytest.mark.thorough
@pytest.mark.parametrize(
    "arguments", [pytest.param({"scale": 1.0}, marks=pytest.mark.thorough), {"shared": ("scale",)}]
)
def test_float32_converges_or_reports_that_it_did_not(arguments):
    set_precision("float32")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ [[0.5], [-0.2], [0.1]] + 0.3 * rng.normal(size=(400, 1))
    design = np.column_stack([x, np.ones(400)])
    variance = np.mean((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2)
    learned = "shared" in arguments
    optimum = np.log(2 * np.pi * np.e * variance) / 2 if learned else (np.log(2 * np.pi) + variance) / 2
    model = linear(3, 1, heads.Normal(**arguments))
    start = model.get_weights()
    for size, offset in ((1, 1000), (1e3, 1e5)):
        model.set_weights(start)
        history = nllfit.fit_lbfgs(model, size * x + offset, y)
        found = abs(history.history["loss"][-1] - optimum) < 2e-5
        assert found or not history.converged
        # Newton's method with a fixed scale fails only for the offset that is 1000 times as large as the spread of `x`.
        assert found or learned or offset / size == 1000
    model.set_weights(start)
    # An exact fit: a learned scale goes to 0 and has no optimum.
    history = nllfit.fit_lbfgs(model, x, x @ [[1.0], [2.0], [3.0]] + 0.5)
    assert history.converged != learned
    assert not learned or "the fit is exact" in history.message


@pytest.mark.thorough
def test_a_shared_scale_is_solved_and_an_exact_fit_does_not_converge():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    line = x @ [[1.0], [2.0], [3.0]] + 0.5
    y = line + rng.normal(size=(200, 1))
    design = np.column_stack([x, np.ones(200)])
    variance = np.mean((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2)
    model = linear(3, 1, heads.Normal(shared=("scale",)))
    start = model.get_weights()
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert history.history["loss"][-1] == pytest.approx(np.log(2 * np.pi * np.e * variance) / 2, rel=1e-12)
    model.set_weights(start)
    history = nllfit.fit_lbfgs(model, x, line)
    assert not history.converged
    assert "the fit is exact" in history.message


@pytest.mark.thorough
def test_a_weighted_poisson_regression_matches_statsmodels_even_from_an_infinite_loss():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(300, 2)), rng.uniform(0.5, 2.0, 300)
    y = rng.poisson(np.exp(0.5 + x @ [0.3, -0.2]))[:, None]
    expected = sm.GLM(y[:, 0], sm.add_constant(x), sm.families.Poisson(), freq_weights=weights).fit(tol=1e-13)
    model = linear(2, 1, heads.Poisson())
    history = nllfit.fit_lbfgs(model, x, y, sample_weight=weights)
    assert -history.history["loss"][-1] * 300 == pytest.approx(expected.llf, rel=1e-12)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose([*bias, *kernel[:, 0]], expected.params, rtol=1e-7)
    model.set_weights([np.ones([2, 1]), np.zeros([1])])
    far = 2 * x + 5e3  # with a kernel of 1, the initial rate is about exp(10000)
    history = nllfit.fit_lbfgs(model, far, y, sample_weight=weights)
    assert history.converged, history.message
    assert -history.history["loss"][-1] * 300 == pytest.approx(expected.llf, rel=1e-9)


@pytest.mark.thorough
def test_unscaled_inputs_are_solved():
    # The incomes are about exp(10). With random weights, such inputs bring the links of a Beta to their flat part. For
    # separable classes, such inputs make the loss vanish after some steps.
    rng = np.random.default_rng(0)
    income = rng.lognormal(10, 1, [300, 1])
    share = rng.beta(2.0, 3.0, [300, 1])
    model = linear(1, 2, heads.Beta())
    start, losses = model.get_weights(), []
    for x in (income, income / 1e4 - 1):
        model.set_weights(start)
        losses.append(nllfit.fit_lbfgs(model, x, share))
    assert losses[0].converged
    assert losses[0].history["loss"][-1] == pytest.approx(losses[1].history["loss"][-1], abs=1e-9)
    age = rng.normal(50, 10, [300, 1])
    history = nllfit.fit_lbfgs(linear(2, 1, heads.Bernoulli()), np.hstack([age, income]), age > 50)
    assert not history.converged
    assert "at infinity" in history.message


def test_a_model_can_be_solved_again_with_another_number_of_rows():
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    for count in (4, 6):
        x = np.arange(float(count))
        assert nllfit.fit_lbfgs(model, x[:, None], x[:, None] ** 2).converged
        kernel, bias = model.get_weights()
        np.testing.assert_allclose([*kernel[0], *bias], np.polyfit(x, x**2, 1), rtol=1e-6)


def test_a_model_that_cannot_be_solved_is_refused():
    x, y, units, head = breast_cancer()
    model = linear(x.shape[1], units, head())
    before = model.get_weights()
    model.set_weights([np.full_like(w, np.nan) for w in before])
    with pytest.raises(ValueError, match="loss at the start is nan"):
        nllfit.fit_lbfgs(model, x, y)
    model.set_weights(before)
    model.trainable = False
    model.compile("adam", nllfit.negative_log_likelihood)
    with pytest.raises(ValueError, match="no trainable weights"):
        nllfit.fit_lbfgs(model, x, y)


@pytest.mark.thorough
@mainly(keras)
def test_a_float64_layer_in_a_float32_model_is_solved(kit):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[60, 3]) * [1.0, 100.0, 0.01] + [0.0, 5e3, 1.0]
    y = (x[:, :1] + rng.logistic(size=[60, 1]) > 0.3).astype(float)
    layers = kit.keras.layers
    model = kit.keras.Sequential([layers.Input((3,)), layers.Dense(1, dtype="float64"), kit.heads.Bernoulli()])
    model.compile("adam", kit.loss)
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    expected = sm.Logit(y, sm.add_constant(x)).fit(disp=0, maxiter=100)
    assert history.history["loss"][-1] == pytest.approx(-expected.llf / 60, rel=1e-5)


ENDS = [("KeyboardInterrupt", "float32"), ("MemoryError", "float64")]


@pytest.mark.thorough  # `test_an_interrupted_initialization_keeps_the_weights` also interrupts `fit_lbfgs`
@pytest.mark.parametrize(("kit", "case"), alternately(ENDS))
def test_an_interrupted_search_keeps_the_best_weights(kit, case, monkeypatch):
    end, dtype = getattr(builtins, case[0]), case[1]
    set_precision(dtype)
    rng = np.random.default_rng(0)
    x = rng.normal(size=[60, 3])
    y = x[:, :1] + rng.normal(size=[60, 1])
    model = kit.keras.Sequential([kit.keras.layers.Input((3,)), kit.keras.layers.Dense(2), kit.heads.Normal()])
    model.compile("sgd", kit.loss)
    # These weights predict better than the marginal distribution, so the search begins here.
    model.set_weights([np.eye(3, 2) * [0.7, 0.0], np.array([0.0, 0.5])])
    start = model.get_weights()

    def loss():
        return float(np.mean(kit.losses(y, model(x))))

    before, curvature, calls = loss(), Surface.curvature, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == most:
            raise end
        return curvature(self, *arguments)

    monkeypatch.setattr(Surface, "curvature", interrupted)
    for most in (1, 3):
        calls.clear()
        with pytest.raises(end):
            nllfit.fit_lbfgs(model, x, y)
        if most == 1:
            assert all(map(np.array_equal, model.get_weights(), start))
    assert loss() < before


def test_an_interrupted_initialization_keeps_the_weights(monkeypatch):
    x, y, units, head = breast_cancer()
    model = linear(x.shape[1], units, head())
    before = model.get_weights()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(initial_biases, "_check", interrupted)
    for call in (nllfit.initialize, nllfit.fit_lbfgs):
        with pytest.raises(KeyboardInterrupt):
            call(model, x, y)
        assert all(map(np.array_equal, model.get_weights(), before))
