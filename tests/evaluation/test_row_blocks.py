"""Blocks of rows limit the memory of an evaluation."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import nllfit
from nllfit import evaluate
from nllfit.adapters.tensorflow import with_mask
from nllfit.evaluation import row_blocks

tfd = tfp.distributions


@pytest.mark.parametrize(
    ("distribution", "numbers"),
    [
        (tfd.Normal(tf.zeros([500, 100]), 1.0), 100),
        (nllfit.heads.Mixture("Normal", 20).family.distribution(tf.zeros([500, 60])), 20),
        (nllfit.heads.Normal(100).family.distribution(tf.zeros([500, 200])), 100),
    ],
    ids=["batch", "mixture", "event"],
)
def test_blocks_are_consecutive_and_their_largest_tensor_is_bounded(distribution, numbers, monkeypatch):
    monkeypatch.setattr(row_blocks, "_MOST_NUMBERS", 4000)
    blocks = list(row_blocks.row_blocks(distribution, 500, 8))
    rows = [row for block in blocks for row in range(500)[block]]
    assert rows == list(range(500))
    assert {len(range(500)[block]) for block in blocks[:-1]} == {4000 // (8 * numbers)}


def test_a_row_that_is_larger_than_a_block_is_a_block(monkeypatch):
    monkeypatch.setattr(row_blocks, "_MOST_NUMBERS", 10)
    assert len(list(row_blocks.row_blocks(tfd.Normal(tf.zeros([3, 100]), 1.0), 3))) == 3


def test_steps_of_a_sequence_are_masked_in_each_block(monkeypatch):
    distribution = tfd.Independent(tfd.Normal(tf.zeros([6, 4, 1]), tf.ones([6, 4, 1])), 1)
    y = np.random.default_rng(0).normal(size=[6, 4, 1]).astype("float32")
    mask = np.arange(24).reshape(6, 4) % 5 < 2
    mask[2:4] = False  # all steps of the second block are masked
    masked = with_mask(distribution, tf.constant(mask))
    monkeypatch.setattr(row_blocks, "_MOST_NUMBERS", 8 * 4 * 2)
    found, expected = evaluate(masked, y=y).to_dict(), evaluate(tfd.Normal([0.0] * mask.sum(), 1.0), y=y[mask][:, 0])
    assert found["num_rows"] == mask.sum()
    for name in ("nll", "crps", "rmse"):
        assert found[name] == pytest.approx(getattr(expected, name), rel=1e-6)


PROGRAM = """
import pathlib
import numpy as np, tensorflow as tf, tensorflow_probability as tfp
import nllfit
from nllfit.evaluation import row_blocks

row_blocks._MOST_NUMBERS //= 2  # smaller blocks, so that smaller data suffice

def evaluated(rows, elements=5_000):
    y = np.random.default_rng(0).normal(size=[rows, elements]).astype("float32")
    normal = tfp.distributions.Normal(tf.zeros([rows, elements]), tf.ones([rows, elements]))
    nllfit.evaluate(tfp.distributions.Independent(normal, 1), y=y)
    (peak,) = (line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024

few = evaluated(100)
print((evaluated(300) - few) / (200 * 5_000))
"""


@pytest.mark.thorough
def test_memory_for_another_row_is_a_few_times_that_of_its_data():
    """`PROGRAM` prints by how much each additional row raises the peak memory, in bytes per element of its outcome.

    In float32, one element, its two parameters and its PIT take 16 bytes.
    """
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0 < float(done.stdout.splitlines()[-1]) < 100  # with all rows in one block, the number would be 860
