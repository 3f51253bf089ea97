"""The regression experiment finds the least-squares line and sigma.

If the noise grows with `x`, a predicted scale gives a lower loss than a shared scale.
"""

import json

import numpy as np
import pytest

from experiments import common, regression
from tests.experiments.samples import files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


BOTH = tuple(regression.NOISES)


@pytest.mark.thorough
@pytest.mark.parametrize(  # the experiment trains three models for each noise
    ("keras", "noises"),
    [
        ("2", ("growing",)),
        ("3", BOTH),
    ],
)
def test_the_regression_experiment_matches_least_squares(tmp_path, monkeypatch, keras, noises):
    monkeypatch.setattr(regression, "NOISES", {noise: regression.NOISES[noise] for noise in noises})
    pictures = {"calibration.png", "regression.png"} if keras == "3" else set()
    if not pictures:  # a figure takes seconds, and both versions of Keras draw the same ones
        for figure in ("plot", "plot_calibration"):
            monkeypatch.setattr(regression, figure, lambda *_: None)
    metrics = regression.main(["--keras", keras, "--out", str(tmp_path / "run")])
    for noise in noises:
        squares, fits = metrics[noise]["least_squares"], metrics[noise]
        for form in ("fixed", "shared"):  # Adam with a decaying rate stops a few 1e-8 from the optimum
            assert fits[form]["slope"] == pytest.approx(squares["slope"], abs=1e-6)
            assert fits[form]["intercept"] == pytest.approx(squares["intercept"], abs=1e-6)
        assert fits["shared"]["sigma"] == pytest.approx(squares["residual_sigma"], abs=1e-6)
    assert metrics["growing"]["network"]["mean_nll"] < metrics["growing"]["shared"]["mean_nll"] - 0.1
    found = metrics["evaluation"]
    for noise in noises:
        form = {"constant": "shared", "growing": "network"}[noise]
        assert found[noise][form]["calibration_error"] < 0.04 < found[noise]["fixed"]["calibration_error"]
    # The reference is statsmodels' least squares on the same data; the docstring of the experiment has these digits.
    assert metrics["diabetes"]["sigma"] == pytest.approx(53.476128764, abs=5e-4)
    assert metrics["diabetes"]["mean_nll"] == pytest.approx(5.3981738962, abs=5e-6)
    saved = {f"{noise}-{form}.keras" for noise in regression.NOISES for form in regression.FORMS}
    assert files(tmp_path / "run") == saved | pictures | {"diabetes.keras", "config.json", "metrics.json"}
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    tools = common.toolkit(int(keras))
    loaded = tools.keras.models.load_model(tmp_path / "run" / "growing-shared.keras")
    sigma = float(tools.distribution(loaded(np.zeros([1, 1]))).stddev()[0, 0])
    assert sigma == pytest.approx(metrics["growing"]["shared"]["sigma"], rel=1e-14)  # rounding in a mean over rows
