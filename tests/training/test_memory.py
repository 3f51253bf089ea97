"""Models that are made, fitted and dropped leave nothing in memory."""

import ctypes
import gc
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import nllfit
from nllfit.inference.likelihood_derivatives import Likelihood
from nllfit.training import loss_surface, run_state, tensorflow_memory
from tests.keras_versions import KITS, each_keras, mainly, set_precision

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def mebibytes():
    """The memory in use, in MiB, after a garbage collection, without the free memory that the C library keeps."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def fit_and_drop(kit):
    layers = kit.keras.layers
    model = kit.keras.Sequential([layers.Input((3,)), layers.Dense(8), layers.Dense(2), kit.heads.Normal()])
    model.compile(kit.keras.optimizers.Adam(0.01), kit.loss)
    nllfit.fit(model, X, X[:, :1], verbose=0, compile="graph")


@pytest.mark.thorough
def test_variables_with_new_names_do_not_leak(monkeypatch):
    def make(name, count):
        for i in range(count):
            tf.Variable(tf.zeros([3]), name=f"{name}_{i}")
            tensorflow_memory.drop_kernels(1)

    monkeypatch.setattr(tensorflow_memory, "_MAX_VARIABLES", 50)
    make("warm", 60)
    before = mebibytes()
    make("new", 250)
    assert mebibytes() - before < 5  # MiB; it would grow by 9 MiB if `fit` kept kernels


@pytest.mark.thorough
def test_traces_keep_no_data():
    def fit(rows):
        x = np.ones((rows, 100), "float32")
        model = keras.Sequential([keras.layers.Input((100,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        nllfit.fit(model, x, x[:, :1], batch_size=rows // 4, verbose=0, compile="graph")

    rows = 200_000  # 76 MiB
    fit(rows)
    before = mebibytes()
    fit(rows + 4)  # another batch layout needs another trace
    assert mebibytes() - before < 60  # MiB; a trace takes 13 to 40 MiB, and a copy of the data would take 76 MiB


@mainly(keras, "k")
def test_fit_counts_the_variables_of_each_model_once(k, monkeypatch):
    counted = []
    monkeypatch.setattr(run_state, "drop_kernels", counted.append)
    for times in (2, 1):
        model = k.Sequential([k.layers.Input((3,)), k.layers.Dense(1)])
        model.compile(k.optimizers.SGD(0.01, momentum=0.9), "mse")
        for _ in range(times):
            nllfit.fit(model, X, X[:, :1], verbose=0, compile="graph")
    assert len(counted) == 2
    assert counted[0] == counted[1] >= 6  # two weights, their momenta, and counters of the optimizer and the metric


@pytest.mark.thorough
def test_fit_lbfgs_also_counts_the_variables_of_its_copy(monkeypatch):
    counted = []
    monkeypatch.setattr(loss_surface, "drop_kernels", counted.append)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    nllfit.fit_lbfgs(model, X, X[:, :1])
    assert counted == [4]  # kernel and bias of the model, kernel and bias of its copy


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "floatx"), [(KITS[0], "float64"), (KITS[1], "float32")], ids=["float64", "float32"])
def test_models_of_one_architecture_share_the_traces_of_fit_lbfgs(kit, floatx, monkeypatch):
    set_precision(floatx)
    traced = []
    for kind in (loss_surface.Surface, Likelihood):

        def objective(self, *arguments, original=kind.objective):
            traced.append(self)
            return original(self, *arguments)

        monkeypatch.setattr(kind, "objective", objective)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = x @ [[2.0], [0.0], [1.0]] + rng.normal(size=(60, 1))
    counts = []
    for rows in (60, 50, 45):
        design = np.column_stack([x[:rows], np.ones(rows)])
        model = kit.keras.Sequential(
            [kit.keras.layers.Input((3,)), kit.keras.layers.Dense(1), kit.heads.Normal(scale=1.0)]
        )
        model.compile("sgd", kit.loss)
        assert nllfit.fit_lbfgs(model, x[:rows], y[:rows]).converged
        errors = nllfit.standard_errors(model, x[:rows], y[:rows], covariance="sandwich")
        expected, covariance = np.linalg.lstsq(design, y[:rows], rcond=None)[0], np.linalg.inv(design.T @ design)
        meat = design.T @ (design * (y[:rows] - design @ expected) ** 2)
        np.testing.assert_allclose(errors.estimates, expected[:, 0], rtol=1e-5)
        np.testing.assert_allclose(errors.covariance, covariance @ meat @ covariance, rtol=1e-5)
        counts.append(len(traced))
    set_precision("float32")
    assert counts == counts[:1] * 3


@pytest.mark.thorough
@each_keras
def test_fifty_models_do_not_leak(kit, monkeypatch):
    monkeypatch.setattr(tensorflow_memory, "_MAX_VARIABLES", tensorflow_memory._MAX_VARIABLES // 2)
    for _ in range(3):
        fit_and_drop(kit)
    before = mebibytes()
    for _ in range(50):
        fit_and_drop(kit)
    assert mebibytes() - before < 20  # MiB; a full cache of 256 variables takes 9 MiB, an unlimited one 42 MiB
