"""Saved models load in another process, in which `TF_USE_LEGACY_KERAS` selects the version of Keras."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import nllfit
from nllfit import Ensemble, Laplace, TemperatureScaled, predict_distribution
from nllfit.bayes.map_search import Posterior
from tests.families.test_user_functions import build, own_module
from tests.head_builders import all_heads, inputs, make_model, outcomes
from tests.head_cases import CASES
from tests.keras_versions import KITS


def run_python(program, *arguments, **environment):
    """The lines that a Python program prints in a new process with these environment variables."""
    environment = {name: value for name, value in (os.environ | environment).items() if value is not None}
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.splitlines()


IMPORTS = """
import sys, tensorflow as tf, tensorflow_probability as tfp, tf_keras
tfp.distributions
before = set(sys.modules)
import nllfit
print([name for name in set(sys.modules) - before if name.partition(".")[0] == "keras"], "nllfit.keras3" in sys.modules)
"""
FIT = """
model = {keras}.Sequential([{keras}.layers.Dense(1), {nllfit}.heads.Normal(shared=("scale",))])
model.compile("sgd", {nllfit}.{loss}, run_eagerly=True)
x = tf.ones([4, 1])
print(type(model).__module__.partition(".")[0], model.fit(x, x, verbose=0).history["loss"][0] > 0)
"""
FIT_TF_KERAS = FIT.format(keras="tf.keras", nllfit="nllfit", loss="negative_log_likelihood")
FIT_KERAS3 = "from nllfit import keras3" + FIT.replace("{nllfit}", "keras3").replace(
    "{loss}", "NegativeLogLikelihood()"
)


@pytest.mark.thorough
def test_the_environment_selects_tf_keras_2_for_tf_keras():
    program = IMPORTS + FIT_TF_KERAS + "import keras\n" + FIT_KERAS3.format(keras="keras")
    assert run_python(program, TF_USE_LEGACY_KERAS="1") == ["[] False", "tf_keras True", "keras True"]


LOAD = """
import numpy as np
folder = sys.argv[1] + "/" + keras.__name__
data = np.load(folder + "/data.npz")
for file in ("one.keras", "one.h5", "some.keras", "others.h5"):
    model, name = keras.models.load_model(f"{folder}/{file}", safe_mode=True), file.partition(".")[0]
    losses, outputs = (v if isinstance(v, dict) else {"head0": v} for v in (model.loss, model(data["x"])))
    for head, output in outputs.items():
        loss = losses[head]
        assert (getattr(loss, "name", None) or loss.__name__) == "negative_log_likelihood"
        log_prob = distribution(output).log_prob(data[f"outcomes {name} {head}"])
        # The numbers are equal up to rounding in float32, which depends on the alignment of arrays in memory.
        np.testing.assert_allclose(log_prob, data[f"{name} {head}"], rtol=1e-6, err_msg=f"{head} of {file}")
        print("loaded", head)
"""


def save_heads(kit, folder, some, others):
    """Saves three models, and the log-likelihood of each head. Returns the number of heads in all files.

    The first model has one head and is saved in both file formats. The second has all heads of `some` and is saved in
    the Keras format. The third has all heads of `others` and is saved in HDF5.
    """
    data, metric, x = {}, kit.metrics.NegativeLogLikelihood, inputs(CASES[0])
    folder.mkdir()
    for name, suffixes, cases in (
        ("one", ("keras", "h5"), some[:1]),
        ("some", ("keras",), some),
        ("others", ("h5",), others),
    ):
        y = outcomes(cases)
        if name == "one":
            model = make_model(kit, cases[0])
            model.compile("adam", kit.loss, metrics=[metric()], run_eagerly=True)
        else:
            model = all_heads(kit, cases)
            metrics = {head: metric() for head in y}
            model.compile("adam", dict.fromkeys(y, kit.loss), metrics=metrics, run_eagerly=True)
        if name == "one":
            model.train_on_batch(x, y["head0"])  # so that the optimizer has a state to save
        for suffix in suffixes:
            model.save(folder / f"{name}.{suffix}")
        for head, output in ({"head0": model(x)} if name == "one" else model(x)).items():
            data[f"{name} {head}"] = kit.distribution(output).log_prob(y[head]).numpy()
            data[f"outcomes {name} {head}"] = y[head]
    np.savez(folder / "data.npz", x=x, **data)
    return 2 + len(some) + len(others)


LOAD_CALIBRATED = """
for folder in sys.argv[2:]:
    it = getattr(nllfit, folder.rpartition("-")[2]).load(folder)
    d = nllfit.predict_distribution(it, np.load(sys.argv[1] + "/x.npy"))
    np.save(folder + ".npy", d.prob(np.zeros([1, 20, *d.event_shape])))
"""


KINDS = "Conformalized", "Recalibrated", "TemperatureScaled", "Ensemble", "Laplace"


def calibrated(kit, x, kind):
    """An object of the class `kind`, one of `KINDS`. It contains models, an ensemble or another calibrated model."""

    def model(head):
        size = head.params_size()
        return kit.keras.Sequential([kit.keras.layers.Input((3,)), kit.keras.layers.Dense(size), head])

    if kind == "Ensemble":
        return Ensemble([model(kit.heads.Mixture("Normal", 2, 2)) for _ in range(2)])
    if kind == "TemperatureScaled":
        return TemperatureScaled(Ensemble([model(kit.heads.Categorical(3)) for _ in range(2)]), 1.7)
    if kind == "Laplace":
        return Laplace(model(kit.heads.Poisson()), [0, 1], Posterior(np.arange(4) / 4, np.eye(4), 1.0, -9.0))
    y = np.random.default_rng(1).normal(size=[20, 2]).astype("float32")
    normal = nllfit.conformalize(model(kit.heads.Normal(2)), x, y, levels=(0.5, 0.9))
    return normal if kind == "Conformalized" else nllfit.recalibrate(normal, x, y)


LOAD_OWN = """
import sys
sys.path.insert(0, folder)
import mine_{keras}
for name in ("flow", "class"):
    model = keras.models.load_model(f"{{folder}}/{{name}}.keras")
    np.testing.assert_array_equal(distribution(model(data["x"])).log_prob(data["own outcomes"]), data[name])
    print("loaded", name)
"""


def save_own(kit, folder, monkeypatch):
    """Saves models whose head is a function or a class that a user's module registers; returns their number."""
    data, module = dict(np.load(folder / "data.npz")), own_module(kit, folder, monkeypatch)
    data["own outcomes"] = np.full([len(data["x"]), 1], 0.5, "float32")
    flow, rayleigh = kit.heads.DistributionLambda(module.flow, 3), kit.heads.DistributionHead(module.Rayleigh)
    for name, head in (("flow", flow), ("class", rayleigh)):
        model = build(kit, head)
        model.compile("adam", kit.loss, metrics=[kit.metrics.NegativeLogLikelihood()])
        json.dumps(head.get_config())
        model.save(folder / f"{name}.keras")
        data[name] = kit.distribution(model(data["x"])).log_prob(data["own outcomes"])
    np.savez(folder / "data.npz", **data)
    return 2


# The runs with `turn` 0 and 1 together save each case with each Keras version, in at least one file format.
@pytest.mark.thorough
@pytest.mark.parametrize("turn", range(2))
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_saved_models_load_in_another_process(turn, tmp_path, monkeypatch):
    count = 0
    for i, kit in enumerate(KITS):
        some, others = (CASES[(turn + i + j) % 4 :: 4] for j in (0, 2))
        folder = tmp_path / kit.keras.__name__
        count += save_heads(kit, folder, some, others) + save_own(kit, folder, monkeypatch)
    x = np.random.default_rng(0).normal(size=[20, 3]).astype("float32")
    np.save(tmp_path / "x.npy", x)
    models = {}
    for i, kit in enumerate(KITS):  # every second kind with tf_keras, the others with Keras 3
        for name in KINDS[(turn + i) % 2 :: 2]:
            models[tmp_path / f"{kit.keras.__name__}-{name}"] = calibrated(kit, x, name)
    for folder, it in models.items():
        it.save(folder)
    of_tf_keras, of_keras3 = (kit.imports + LOAD + LOAD_OWN.format(keras=kit.keras.__name__) for kit in KITS)
    # The program loads Keras 2 models before it imports Keras 3. Calibrated models need only `import nllfit`.
    program = IMPORTS + of_tf_keras + LOAD_CALIBRATED + FIT_KERAS3.format(keras="tf.keras") + of_keras3
    lines = run_python(program, str(tmp_path), *map(str, models), TF_USE_LEGACY_KERAS=None)
    loaded = [line for line in lines if line.startswith("loaded")]
    assert [line for line in lines if line not in loaded] == ["[] False", "keras True"]
    assert len(loaded) == count
    for folder, it in models.items():
        distribution = predict_distribution(it, x)
        expected = distribution.prob(np.zeros([1, 20, *distribution.event_shape]))
        np.testing.assert_array_equal(np.load(f"{folder}.npy"), expected, err_msg=folder.name)
