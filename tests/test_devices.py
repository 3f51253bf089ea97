"""Heads compute and train on another device than the first CPU: a GPU (`pytest -m gpu`), or a second logical CPU.

The second logical CPU replaces an accelerator on a machine that has none. TensorFlow can create it only before its
first operation, so the tests of this CPU run in another process.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import nllfit
from tests.head_builders import ONCE, inputs, make_model
from tests.keras_versions import each_keras

ROOT = pathlib.Path(__file__).parents[1]

ON_A_LOGICAL_CPU = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
from tests import head_builders, keras_versions, test_devices
for i, case in enumerate(head_builders.ONCE):
    if case.id in sys.argv[1:]:
        test_devices.check(keras_versions.KITS[i // 4 % 2], case, "CPU:1")  # half of the heads with each version
"""


def on_device(kit, case, device):
    """The loss of each row, the gradient of its mean, and the losses of two epochs of `fit`, all on one device."""
    x, y = inputs(case), case.outcomes
    with tf.device(device):
        model = make_model(kit, case)
        with tf.GradientTape() as tape:
            losses = kit.losses(y, model(x))
            mean = tf.reduce_mean(losses)
        gradient = tape.gradient(mean, tape.watched_variables())
        assert losses.device.endswith(device)
        model.compile(kit.keras.optimizers.SGD(1e-6), kit.loss)
        history = nllfit.fit(model, x, y, epochs=2, batch_size=len(x), compile="graph", verbose=0, seed=0).history
    return [losses.numpy(), *(part.numpy() for part in gradient), np.array(history["loss"])]


def check(kit, case, device):
    """Checks that a device and the first CPU give the same numbers, apart from rounding errors of float32."""
    for found, expected in zip(on_device(kit, case, device), on_device(kit, case, "CPU:0"), strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.gpu
@each_keras
@pytest.mark.parametrize("case", ONCE, ids=lambda case: case.id)
def test_a_head_computes_and_trains_on_a_gpu(kit, case):
    if not tf.config.list_physical_devices("GPU"):
        pytest.fail("TensorFlow sees no GPU here: run `pytest -m gpu` on a machine where it does.", pytrace=False)
    check(kit, case, "GPU:0")


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(4))
def test_a_head_computes_and_trains_on_a_logical_cpu(part):
    names = [case.id for case in ONCE[part::4]]
    command = [sys.executable, "-c", ON_A_LOGICAL_CPU, *names]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
