"""In Keras's safe mode, loading a model runs no code from the file, even if the file contains a layer of TFP."""

import base64
import json
import os
import pickle
import zipfile

import pytest
import tensorflow_probability as tfp
import tf_keras
from tf_keras.src.saving.serialization_lib import SafeModeScope

import nllfit  # noqa: F401 - makes safe mode cover TFP's layers

SEQUENTIAL = {"module": "tf_keras", "class_name": "Sequential", "registered_name": None}
LAYERS = "tensorflow_probability.python.layers"


class Payload:
    """An object that runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def crafted(path, module, name, config):
    """Writes a `.keras` file with one layer, whose class and config are given."""
    layer = {"module": f"{LAYERS}.{module}", "class_name": name, "registered_name": name, "config": config}
    model = SEQUENTIAL | {"config": {"name": "model", "layers": [layer]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("metadata.json", json.dumps({"keras_version": tf_keras.__version__}))
        archive.writestr("model.weights.h5", b"")
    return path


def pickled(folder):
    """The config of a TFP layer whose pickled function runs a command."""
    layer = tfp.layers.DistributionLambda(tfp.distributions.Deterministic)
    code = base64.b64encode(pickle.dumps(Payload(folder / "ran"))).decode()
    harmless = {"function": "relu", "function_type": "raw", "module": None, "arguments": {}, "output_shape_type": "raw"}
    return dict.fromkeys(layer.get_config()) | harmless | {"make_distribution_fn": code, "name": "layer"}


def test_a_pickle_in_a_file_is_not_run_in_safe_mode(tmp_path):
    """`tests/test_wheel.py` tests the same in a process that imports `nllfit` and does not use it."""
    path = crafted(tmp_path / "model.keras", "distribution_layer", "DistributionLambda", pickled(tmp_path))
    with pytest.raises(ValueError, match=r"The file holds code.*`safe_mode=False`"):
        tf_keras.models.load_model(path)
    assert not (tmp_path / "ran").exists()
    with pytest.raises((TypeError, ValueError, OSError)):  # the command ran, and then loading failed
        tf_keras.models.load_model(path, safe_mode=False)
    assert (tmp_path / "ran").exists()


def test_marshalled_code_in_a_file_is_not_loaded_in_safe_mode(tmp_path):
    config = {"units": 2, "kernel_posterior_fn": "code", "kernel_posterior_fn_type": "lambda"}
    with SafeModeScope(safe_mode=True), pytest.raises(ValueError, match="The file holds code"):
        tfp.layers.DenseReparameterization.from_config(config)


def test_layers_of_tfp_can_still_be_copied():
    layer = tfp.layers.DistributionLambda(lambda t: tfp.distributions.Normal(t, 1.0))
    assert type(layer).from_config(layer.get_config())([[2.0]]).mean().numpy().tolist() == [[2.0]]
