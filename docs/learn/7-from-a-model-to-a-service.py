"""From a trained model to a service: save it, serve a mean and an interval, and take it to a small device."""

# %% [markdown]
# # 7. From a trained model to a service
#
# Programs that use a trained model usually want a number and an interval around it, not a distribution. This lesson
# saves a model, serves its mean and interval, and converts it for a small device.

# %%
import contextlib
import io
import json
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
import tf_keras
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes

import nllfit
from nllfit import heads

folder = pathlib.Path(tempfile.mkdtemp())
x, y = load_diabetes(return_X_y=True)
x, y = (x / x.std(0)).astype("float32"), y[:, None].astype("float32")

tf_keras.utils.set_random_seed(0)
model = tf_keras.Sequential(
    [tf_keras.layers.Dense(16, "tanh", input_shape=(10,)), tf_keras.layers.Dense(2), heads.Normal()]
)
model.compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
nllfit.initialize(model, x[:342], y[:342])
nllfit.fit(model, x[:342], y[:342], epochs=30, seed=0, verbose=0)

# %% [markdown]
# ## A file
#
# A saved model loads in any process that has imported `nllfit` (`nllfit.keras3` for a Keras 3 model). It loads in
# Keras's safe mode, because the file contains names and numbers but no code.

# %%
model.save(folder / "model.keras")
loaded = tf_keras.models.load_model(folder / "model.keras")
same = np.array_equal(loaded.predict(x[342:], verbose=0), model.predict(x[342:], verbose=0))
print("the loaded model predicts the same:", same)
assert same

# %% [markdown]
# ## A service
#
# A served model can return only tensors, not a distribution. So write a function that maps inputs to named tensors, and
# export it with Keras's `ExportArchive`. The result is a folder that TensorFlow Serving can serve without Keras and
# without `nllfit`. The function searches for the ends of an interval, which TensorFlow Lite cannot do. So for small
# devices, we also export a second function, which computes the ends with the formula for a Normal.


# %%
def serve(x):
    """The mean and the 90% interval of each row, for a head that has both."""
    output = loaded(x)
    low, high = nllfit.interval(output, 0.9)
    return {"mean": tf.convert_to_tensor(output), "low": low, "high": high}


def serve_on_device(x):
    """The mean and the 90% interval by the Normal's formula, which TensorFlow Lite can convert."""
    normal = loaded(x).distribution
    half = 1.6448536 * normal.stddev()
    return {"mean": normal.mean(), "low": normal.mean() - half, "high": normal.mean() + half}


archive = tf_keras.export.ExportArchive()  # for a Keras 3 model `keras.export.ExportArchive()`; the rest is the same
archive.track(loaded)
for endpoint in (serve, serve_on_device):
    archive.add_endpoint(endpoint.__name__, endpoint, [tf.TensorSpec([None, 10], tf.float32, name="x")])
with contextlib.redirect_stdout(io.StringIO()):  # hides a long description of the endpoints
    archive.write_out(str(folder / "service" / "1"))

served = tf.saved_model.load(str(folder / "service" / "1")).signatures["serving_default"]
answer = {name: np.ravel(value).round(1).tolist() for name, value in served(x=tf.constant(x[342:344])).items()}
print(json.dumps(answer, sort_keys=True))

# %% [markdown]
# If TensorFlow Serving is installed, the first command starts a server. Run it in the folder that contains `service`.
# The second command, in another terminal, asks the server about one person:
#
#     tensorflow_model_server --rest_api_port=8501 --model_name=diabetes --model_base_path=$PWD/service
#     curl -d '{"instances": [[0.8, 1.1, 1.3, 0.5, -0.9, -0.7, -0.9, -0.1, 0.4, -0.4]]}' \
#         localhost:8501/v1/models/diabetes:predict

# %%
# The exported model's means and 90% intervals for 40 people, in the order of the means, with the outcomes
rows = served(x=tf.constant(x[342:382]))
mean, low, high = (np.ravel(rows[name]) for name in ("mean", "low", "high"))
order, happened = np.argsort(mean), y[342:382, 0]
figure = Figure(figsize=(8, 3.6), layout="constrained")
ax = figure.subplots()
ax.vlines(range(40), low[order], high[order], color="tab:blue", alpha=0.5, label="90% interval")
ax.plot(range(40), mean[order], ".", color="tab:blue", label="mean")
ax.plot(range(40), happened[order], "x", color="tab:red", label="outcome")
ax.set(xlabel="people, by their predicted mean", ylabel="progression of the disease")
ax.legend(fontsize="small")
figure

# %% [markdown]
# ## A small device
#
# TensorFlow Lite runs on a phone or a microcontroller. We convert the second function, `serve_on_device`:

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "service" / "1"), signature_keys=["serve_on_device"])
content = converter.convert()
print(f"{len(content)} bytes")

run = tf.lite.Interpreter(model_content=content).get_signature_runner("serve_on_device")
found = {name: values[0, 0] for name, values in run(x=x[342:343]).items()}
print({name: round(float(value), 1) for name, value in found.items()})
np.testing.assert_allclose([found["low"], found["mean"], found["high"]], [low[0], mean[0], high[0]], rtol=1e-4)

# %% [markdown]
# ## What to remember
#
# 1. Use `model.save` for programs that have `nllfit`, and an `ExportArchive` for all others.
# 2. An exported function returns named tensors, such as a mean and the ends of an interval.
# 3. The same inputs always get the same answer, because the functions draw no random sample.
