"""Small data sets for the experiments (photographs, arrays, IDX files), and a stand-in for a regressor."""

import gzip

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.tabular.trials_and_spread import Trial


def files(folder):
    return {path.name for path in folder.iterdir()}


def write_photographs(folder, count=8):
    rng = np.random.default_rng(0)
    for name, shade in (("cats", 60), ("dogs", 180)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(shade - 50, shade + 50, [20 + i, 30, 3]).astype("uint8")
            data = tf.io.encode_jpeg(image) if i % 2 else tf.io.encode_png(image)
            (folder / name / f"{i}.{'jpg' if i % 2 else 'png'}").write_bytes(data.numpy())


def npz_arrays(rows=40):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, [rows, 8, 8, 3]).astype("uint8"), np.arange(rows) % 2
    return {"x_train": x, "y_train": y, "x_test": x[:10], "y_test": y[:10]}


def write_idx(folder, rows=60, compress=True, side=28, num_test=20):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", rows), ("t10k", num_test)):
        labels = (np.arange(count) % 10).astype("uint8")
        images = rng.integers(0, 255, [count, side, side]).astype("uint8")
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            content = header + array.tobytes()
            (folder / (name + ".gz" if compress else name)).write_bytes(gzip.compress(content) if compress else content)


class Marginal:
    """A stand-in for `DistributionRegressor` that predicts one Normal for all rows."""

    trials_ = (Trial("marginal", "weak", "Normal", nll=0.0, spread=1.0),)

    def __init__(self, **arguments):
        del arguments

    def set_params(self, **arguments):
        del arguments
        return self

    def fit(self, x, y):
        del x
        self.loc, self.scale = y.mean(), y.std()
        return self

    def predict_distribution(self, x):
        return tfd.Independent(tfd.Normal(np.full([len(x), 1], self.loc), self.scale), 1)

    def evaluate(self, x, y):
        return nllfit.evaluate(self.predict_distribution(x), y=y)
