"""A short run of the experiment on latent variables."""

import json
import types

import numpy as np
import pytest

from experiments import common, vae
from tests.experiments.samples import write_idx


@pytest.mark.thorough
def test_a_short_run(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--epochs", "12", "--batch-size", "128", "--samples", "40", "--keras", "3"]
    metrics = vae.main([*arguments, "--out", str(out)])
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics["elbo"] < metrics["log_likelihood"] < metrics["elbo"] + 3
    assert metrics["independent_pixels"] < metrics["elbo"]
    for name in ("plane.png", "images.png"):
        assert (out / name).stat().st_size > 10_000
    assert "log_likelihood" in capsys.readouterr().out


@pytest.mark.thorough
@pytest.mark.parametrize(("keras", "weight"), [("2", "0"), ("3", "9")])
def test_the_bound_does_not_depend_on_the_weight_of_the_divergence(tmp_path, monkeypatch, keras, weight):
    """With `r = p(x, z) / q(z | x)`, the bound `mean(log(r))` is below the log-likelihood `log(mean(r))`."""
    write_idx(tmp_path / "idx", side=8, num_test=5)
    if keras == "3":  # the tf_keras case draws the figures, and `test_a_short_run` draws them with Keras 3
        for figure in ("plot_plane", "plot_images"):
            monkeypatch.setattr(vae, figure, lambda *_: None)
    arguments = [
        "--data",
        str(tmp_path / "idx"),
        "--epochs",
        "4",
        "--latent",
        "1",
        "--weight",
        weight,
        "--keras",
        keras,
    ]
    metrics = vae.main([*arguments, "--samples", "200", "--out", str(tmp_path / "run")])
    model = common.toolkit(int(keras)).keras.models.load_model(tmp_path / "run" / "vae.keras")
    _, x, _ = vae.load(types.SimpleNamespace(data=tmp_path / "idx", seed=0))
    rows = np.tile(x, [30, 1, 1])  # 30 draws of each latent number
    loss = model.evaluate(rows, rows, batch_size=len(rows), verbose=0)
    output = x
    for layer in model.layers[:3]:
        output = layer(output)
    loc, scale = np.split(np.asarray(output, "float64"), 2, 1)
    scale = np.log1p(np.exp(scale))
    divergence = np.mean((loc**2 + scale**2 - 1) / 2 - np.log(scale))
    assert metrics["elbo"] == pytest.approx(-loss + (float(weight) - 1) * divergence, abs=0.5)
    assert metrics["elbo"] < metrics["log_likelihood"]


def test_a_flag_that_is_no_number_of_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--latent is 0: give at least 1"):
        vae.main(["--latent", "0", "--out", str(tmp_path / "run")])


def test_idx_files_are_read_as_black_and_white(tmp_path):
    write_idx(tmp_path / "idx", side=8)
    x, x_test, y_test = vae.load(types.SimpleNamespace(data=tmp_path / "idx", seed=0))
    assert x.shape[1:] == x_test.shape[1:] == (8, 8)
    assert len(x_test) == len(y_test)
    assert set(np.unique(x)) == {0.0, 1.0}
