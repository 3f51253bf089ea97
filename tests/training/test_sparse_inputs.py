"""`fit_lbfgs` on sparse inputs against scikit-learn, in both Keras versions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse
from sklearn.linear_model import LogisticRegression

import nllfit
from nllfit.training.loss_surface import Surface
from tests.keras_versions import KITS, mainly

N, COLUMNS = 1500, 20_000


@pytest.fixture(scope="module")
def texts():
    """The word counts of texts, the labels of the texts, and scikit-learn's fit to them."""
    rng = np.random.default_rng(0)
    x = sparse.random(N, COLUMNS, density=2e-3, format="csr", random_state=0)
    x.data = np.ceil(3 * x.data)
    y = (rng.random(N) < 1 / (1 + np.exp(-(x @ rng.normal(size=COLUMNS)) / 4))).astype(int)
    return x, y, LogisticRegression(solver="newton-cg", tol=1e-10).fit(x, y)


def logistic_regression(kit, penalty):
    keras = kit.keras
    dense = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(penalty), kernel_initializer="zeros")
    model = keras.Sequential([keras.layers.Input((COLUMNS,), sparse=True), dense, kit.heads.Bernoulli()])
    model.compile(loss=kit.loss)
    return model


@pytest.mark.thorough
@pytest.mark.parametrize("kit", KITS, ids=["tf_keras", "keras3"])
def test_a_penalised_logistic_regression_on_words_is_that_of_scikit_learn(kit, texts, monkeypatch):
    x, y, reference = texts
    programs = []
    program = Surface._program
    monkeypatch.setattr(Surface, "_program", lambda self: programs.append(program(self)) or programs[-1])
    model = logistic_regression(kit, 1 / (2 * N))  # scikit-learn's C is 1
    history = nllfit.fit_lbfgs(model, x, y[:, None], verbose=0)
    assert history.converged, history.message
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel[:, 0], reference.coef_[0], atol=1e-6)
    np.testing.assert_allclose(bias, reference.intercept_, atol=1e-6)
    graph = programs[0].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert "SparseToDense" not in {node.op for node in nodes}  # a dense matrix would take 240 MB
    initial = model.get_weights()
    tensor = tf.sparse.from_dense(x[:50].toarray())
    nllfit.fit_lbfgs(model, tensor, y[:50, None], max_iterations=3, verbose=0)
    model.set_weights(initial)
    nllfit.fit_lbfgs(model, x[:50].tocoo(), y[:50, None], max_iterations=3, verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.thorough
def test_bad_sparse_inputs_are_refused(texts):
    x, y, _ = texts
    model = logistic_regression(KITS[0], 0.1)
    broken = x.copy()
    broken.data[broken.indptr[7]] = np.nan
    for bad, message in ((broken, "`x` has nan at row 7: drop"), (x[:9], "`y` has 1500 rows, but `x` has 9")):
        with pytest.raises(ValueError, match=message):
            nllfit.fit_lbfgs(model, bad, y[:, None])
    with pytest.raises(ValueError, match=r"`y` is a sparse csr_matrix"):
        nllfit.fit_lbfgs(model, x, sparse.csr_matrix(y[:, None]))


@mainly(keras)
def test_repeated_entries_of_a_sparse_matrix_are_added(kit):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=[40, 2]), rng.normal(size=[40, 1])
    rows, columns = np.indices(x.shape).reshape(2, -1)
    twice = np.tile([rows, columns], 2)
    matrix = sparse.coo_matrix((np.tile(x.ravel() / 2, 2), twice), x.shape)
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), kit.keras.layers.Dense(1)])
    model.compile(loss="mse")
    nllfit.fit_lbfgs(model, matrix, y, verbose=0)
    expected = np.linalg.lstsq(np.c_[x, np.ones(40)], y, rcond=None)[0]
    kernel, bias = model.get_weights()
    np.testing.assert_allclose([*kernel[:, 0], *bias], expected[:, 0], rtol=1e-4)
    assert matrix.nnz == 160  # the user's matrix is not changed


@pytest.mark.thorough
@pytest.mark.parametrize("first", ["Normalization", "BatchNormalization", "Reshape"])
def test_layers_that_take_no_sparse_rows_are_named(first):
    kit = KITS[0]
    layers, x, y = kit.keras.layers, sparse.csr_matrix(np.eye(4)), np.ones([4, 1])
    layer = {"Normalization": layers.Normalization(mean=0.0, variance=1.0), "Reshape": layers.Reshape([4])}.get(
        first, layers.BatchNormalization()
    )
    model = kit.keras.Sequential([layer, layers.Dense(1), kit.heads.Poisson()])
    model.compile(loss=kit.loss)
    for call in (nllfit.fit_lbfgs, nllfit.initialize):
        with pytest.raises(ValueError, match=r"`x` is sparse, but the first layers .* give `x.toarray"):
            call(model, x, y)
    nllfit.fit_lbfgs(model, x.toarray(), y, max_iterations=1, verbose=0)


@pytest.mark.thorough
def test_the_search_begins_at_the_marginal_distribution(texts):
    """The outcomes are about 5e6, so random weights predict worse than the marginal distribution.

    From random weights, the search would not leave the flat part of the scale's link.
    """
    x, _, _ = texts
    rng = np.random.default_rng(0)
    kit = KITS[0]
    keras = kit.keras
    model = keras.Sequential([keras.layers.Dense(2), kit.heads.Normal()])
    model.compile(loss=kit.loss)
    amounts = rng.normal(5e6, 1e6, size=(N, 1))
    history = nllfit.fit_lbfgs(model, x, amounts, max_iterations=1, verbose=0)
    marginal = 0.5 * np.log(2 * np.pi * amounts.var()) + 0.5
    np.testing.assert_allclose(history.history["loss"][0], marginal, rtol=1e-3)
