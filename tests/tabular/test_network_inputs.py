"""The inputs of networks: bins, and out-of-bag predictions of a forest."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from nllfit.tabular import forest, network_architectures, network_inputs


def test_bins_are_a_piecewise_linear_encoding():
    bins = network_inputs.Bins(np.arange(101.0)[:, None])
    np.testing.assert_allclose(bins(np.array([[12.5]]))[0], [1, 1, 0.5] + 17 * [0])
    constant = network_inputs.Bins(np.ones([9, 1]))
    np.testing.assert_array_equal(constant(np.array([[0.0], [1.0]])), [20 * [0], 20 * [1]])


def test_inputs_are_standardised_and_stay_in_the_range_of_the_training_set(rng):
    x = rng.normal(5, 3, [50, 2])
    seen, of_training_set = network_inputs.Inputs.fit(network_inputs.Network((4,)), x, x[:, :1], None, seed=0)
    np.testing.assert_allclose(of_training_set, (x - x.mean(0)) / x.std(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(seen([[1e9, -1e9]]), [[of_training_set[:, 0].max(), of_training_set[:, 1].min()]])


def test_a_wide_table_is_not_binned():
    x = np.zeros([3, 1001])
    _, inputs = network_inputs.Inputs.fit(network_architectures.NETWORKS["steep"], x, x[:, :1], None, seed=0)
    assert inputs.shape == (3, 1001)


def test_the_forest_matches_scikit_learn(rng):
    """Outcomes are 0, 1 and 2. So the trees predict the standardised `y` and the indicators `y <= 0` and `y <= 1`."""
    x, y = rng.normal(size=[80, 3]), rng.integers(0, 3, [80, 1]).astype(float)
    # We give scikit-learn exactly these targets, because rounding errors decide between splits of equal gain.
    targets = forest._targets(y[:, 0])
    np.testing.assert_allclose(targets, np.column_stack([(y - y.mean()) / y.std(), y <= 0, y <= 1]), rtol=1e-12)
    theirs = ExtraTreesRegressor(100, bootstrap=True, max_samples=1.0, oob_score=True, random_state=3).fit(x, targets)
    ours, of_training_set = forest.ForestInputs.fit(x, y, None, seed=3)
    new = rng.normal(size=[20, 3])
    for found, expected in ((ours(new), theirs.predict(new)), (of_training_set, theirs.oob_prediction_)):
        np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-5, atol=1e-6)
        odds = np.clip(expected[:, 1:], 0.01, 0.99)
        np.testing.assert_allclose(found[:, 1:], np.log(odds / (1 - odds)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"units": ()}, r"`units` is \(\)"),
        ({"units": (8, 0)}, r"`units` is \(8, 0\)"),
        ({"units": 64}, r"`units` is 64: give the size of each hidden layer, such as \(50, 50\)"),
        ({"inputs": ("trees",)}, "`inputs` is"),
        ({"inputs": "bins"}, "`inputs` is 'bins'"),
        ({"inputs": None}, "`inputs` is None: give a tuple"),
    ],
)
def test_an_invalid_network_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        network_inputs.Network(**arguments)


@pytest.mark.parametrize("unit", [1e-170, 1e170])
def test_inputs_do_not_depend_on_the_unit_of_a_column(unit, rng):
    x = rng.normal(size=[50, 2])
    (_, known), (_, found) = (
        network_inputs.Inputs.fit(network_inputs.Network((4,)), x * u, x, None, seed=0) for u in (1, unit)
    )
    np.testing.assert_allclose(found, known, rtol=1e-5, atol=1e-6)
