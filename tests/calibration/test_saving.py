"""Calibrated models and ensembles are saved with all that is in them, and are the same in another process."""

import json
import subprocess
import sys

import numpy as np
import pytest

import nllfit
from nllfit import Conformalized, Ensemble, Recalibrated, TemperatureScaled, predict_distribution
from tests.kerases import KITS, each_keras

X = np.random.default_rng(0).normal(size=[20, 3]).astype("float32")
Y = np.random.default_rng(1).normal(size=[20, 2]).astype("float32")


def model(kit, head):
    size = head.params_size()
    return kit.keras.Sequential([kit.keras.layers.Input((3,)), kit.keras.layers.Dense(size), head])


def made(kit):
    """One of each kind by name, on a model, an ensemble and another calibrated model."""
    normal = nllfit.conformalize(model(kit, kit.heads.Normal(2)), X, Y, levels=(0.5, 0.9))
    scaled = TemperatureScaled(Ensemble([model(kit, kit.heads.Categorical(3)) for _ in range(2)]), 1.7)
    mixtures = Ensemble([model(kit, kit.heads.Mixture("Normal", 2, 2)) for _ in range(2)])
    return {type(it).__name__: it for it in (normal, nllfit.recalibrate(normal, X, Y), scaled, mixtures)}


def test_what_is_saved_is_loaded_in_another_process(tmp_path):
    program = (
        "import sys, numpy as np, nllfit\n"
        "for folder in sys.argv[2:]:\n"
        "    it = getattr(nllfit, folder.rpartition('-')[2]).load(folder)\n"
        "    d = nllfit.predict_distribution(it, np.load(sys.argv[1]))\n"
        "    np.save(folder + '.npy', d.prob(np.zeros([1, 20, *d.event_shape])))\n"
    )
    np.save(tmp_path / "x.npy", X)
    models = {tmp_path / f"{kit.keras.__name__}-{n}": it for kit in KITS for n, it in made(kit).items()}
    for folder, it in models.items():
        it.save(folder)
    command = [sys.executable, "-c", program, str(tmp_path / "x.npy"), *map(str, models)]
    subprocess.run(command, check=True, capture_output=True)
    for folder, it in models.items():
        distribution = predict_distribution(it, X)
        expected = distribution.prob(np.zeros([1, 20, *distribution.event_shape]))
        np.testing.assert_array_equal(np.load(f"{folder}.npy"), expected, err_msg=folder.name)


@each_keras
def test_what_is_no_such_folder_is_refused(kit, tmp_path):
    made = TemperatureScaled(model(kit, kit.heads.Bernoulli()), 2.0)
    made.save(tmp_path / "a")
    with pytest.raises(ValueError, match="holds something already: name a new folder"):
        made.save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"holds a TemperatureScaled: load it by `TemperatureScaled.load`"):
        Recalibrated.load(tmp_path / "a")
    for text in ("", "[]", "{}"):
        (tmp_path / "a" / "calibration.json").write_text(text)
        with pytest.raises(ValueError, match=r"holds no whole calibration.json: name one that `save` wrote"):
            TemperatureScaled.load(tmp_path / "a")
    with pytest.raises(ValueError, match=r"holds no whole calibration.json"):
        Conformalized.load(tmp_path / "nowhere")
    (tmp_path / "a" / "calibration.json").write_text(json.dumps({"class": "TemperatureScaled", "temperature": -1.0}))
    with pytest.raises(ValueError, match=r"`temperature` is -1.0: give a number above 0"):
        TemperatureScaled.load(tmp_path / "a")
