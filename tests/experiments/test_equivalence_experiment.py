"""The equivalence experiment: twin models stay equal in training, unless the factor between their losses is wrong."""

import dataclasses

import pytest

from experiments import common, equivalence
from tests.experiments.samples import files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


@pytest.mark.thorough  # in every run, `tests/test_equivalence.py` compares the losses of all pairs
@pytest.mark.parametrize("keras", ["2", "3"])
def test_twin_models_stay_equal_during_training(tmp_path, keras):
    # The first layer sets the global dtype policy of Keras 3 to float32. The twins must be in float64 in spite of this.
    common.toolkit(int(keras)).keras.layers.Dense(1)
    metrics = equivalence.main(["--keras", keras, "--out", str(tmp_path / "run")])
    assert len(metrics) == 6
    for row in metrics.values():
        assert row["loss_difference"] <= 1e-12
        assert row["gradient_difference"] <= 1e-12
        assert row["weight_difference"] <= 1e-9
    assert files(tmp_path / "run") == {"config.json", "metrics.json"}


@pytest.mark.thorough
def test_twin_models_with_a_wrong_factor_differ():
    tools = common.toolkit(2)
    with equivalence.double_precision(tools.keras):
        *_, twins = equivalence.all_twins(tools.keras)
        wrong = dataclasses.replace(twins.row, scale=lambda size, s: 2 + 1e-6)
        row = equivalence.compare(tools, dataclasses.replace(twins, row=wrong), epochs=2, seed=0)
    assert row["loss_difference"] > 1e-12
    assert row["gradient_difference"] > 1e-12
    assert row["weight_difference"] > 1e-9
