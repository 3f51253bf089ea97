"""Tests `fit_lbfgs` on networks with hidden layers: progress bar, time limit, number of Hessians, and exact fits."""

import numpy as np
import pytest

import nllfit
from nllfit.training.loss_surface import Surface
from tests.keras_versions import KITS


def network(kit, head, units, hidden=6, num_inputs=4):
    keras = kit.keras
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((num_inputs,)), keras.layers.Dense(hidden, "tanh"), keras.layers.Dense(units), head]
    model = keras.Sequential(layers)
    model.compile(loss=kit.loss)
    return model


@pytest.mark.thorough
@pytest.mark.parametrize("kit", KITS, ids=["tf_keras", "keras3"])
def test_the_bar_shows_steps_and_loss_and_the_time_is_limited(kit, capsys):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 1))
    model = network(kit, kit.heads.Normal(scale=1.0), 1)
    silent = nllfit.fit_lbfgs(model, x, y, max_seconds=0.0, verbose=0)
    assert capsys.readouterr().out == ""
    assert not silent.converged
    assert silent.message.endswith("and still falls: raise `max_seconds`")
    assert silent.num_iterations == 0
    shown = nllfit.fit_lbfgs(model, x, y, max_iterations=4, verbose=1)
    assert "raise `max_iterations`" in shown.message
    text = capsys.readouterr().out
    assert "4/4" in text
    assert f"loss: {shown.history['loss'][-1]:.4f}" in text
    for wrong in ({"max_seconds": -1}, {"max_seconds": "1"}, {"verbose": 3}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"`{name}` is "):
            nllfit.fit_lbfgs(model, x, y, **wrong)


@pytest.mark.thorough
def test_a_network_needs_few_hessians(monkeypatch):
    """The loss of a network is not convex: Newton steps gain little, and each needs a Hessian. So L-BFGS takes over."""
    hessians = []
    curvature = Surface.curvature
    monkeypatch.setattr(Surface, "curvature", lambda self, *args: hessians.append(1) or curvature(self, *args))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4))
    model = network(KITS[0], KITS[0].heads.Normal(), 2, hidden=12)
    history = nllfit.fit_lbfgs(model, x, x[:, :1] + rng.normal(size=(40, 1)), max_iterations=200, verbose=0)
    assert len(hessians) < history.num_iterations / 4


@pytest.mark.thorough
def test_an_exact_fit_ends():
    """The loss falls to 0 as the weights grow. The message must not say that the search found no lower loss."""
    x = np.random.default_rng(0).normal(size=(40, 4))
    labels = (np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] > 0) * 1
    model = network(KITS[0], KITS[0].heads.Bernoulli(), 1)
    history = nllfit.fit_lbfgs(model, x, labels, verbose=0)
    assert not history.converged
    # The message is one of two. Rounding errors decide which one, and these errors depend on NumPy's version.
    is_exact = "the fit is exact" in history.message
    assert is_exact or "the optimum is at infinity" in history.message
    assert history.history["loss"][-1] < (1e-14 if is_exact else 1e-9)


def test_a_step_to_weights_without_a_finite_hessian_is_kept(monkeypatch):
    """The search must not undo this step, nor say that the weights have too few digits."""
    curvature, points = Surface.curvature, []

    def finite_at_the_start(self, w, directions):
        points.append(w)
        at_the_start = np.array_equal(w, points[0])
        return curvature(self, w, directions) if at_the_start else np.full(directions.shape, np.nan)

    monkeypatch.setattr(Surface, "curvature", finite_at_the_start)
    x = np.random.default_rng(0).normal(size=(40, 4))
    model = network(KITS[0], KITS[0].heads.Bernoulli(), 1, hidden=1)
    history = nllfit.fit_lbfgs(model, x, x[:, :1] > 0.5, max_iterations=1, verbose=0)
    before, after = history.history["loss"]
    assert after < before
    assert history.message.startswith(f"after 1 steps the loss is {after:.6g}")
