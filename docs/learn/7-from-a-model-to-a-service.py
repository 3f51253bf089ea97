"""From a trained model to a service: save it, serve a mean and an interval, and take it to a small device."""

# %% [markdown]
# # 7. From a trained model to a service
#
# A trained model must leave the program that trained it. Who calls it wants a number and how far it may be off, and
# knows nothing of distributions.

# %%
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
# A saved model loads in any process that has imported `nllfit`, in Keras's safe mode: the file holds names and
# numbers, and no code.

# %%
model.save(folder / "model.keras")
loaded = tf_keras.models.load_model(folder / "model.keras")
same = np.array_equal(loaded.predict(x[342:], verbose=0), model.predict(x[342:], verbose=0))
print("the loaded model predicts the same:", same)
assert same

# %% [markdown]
# ## A service
#
# A served model returns tensors. So write a function of the inputs that asks the distribution, and give its results
# names. `tf.saved_model.save` exports it, and TensorFlow Serving answers requests with it; it needs neither Keras nor
# `nllfit`. (A model of Keras 3 goes through `keras.export.ExportArchive` instead, to TensorFlow Lite as well: see
# [how to serve](../how-to.md#serve-a-mean-and-an-interval).)


# %%
class Service(tf.Module):
    """The mean and a 90% interval of each row."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 10], tf.float32, name="x")])
    def predict(self, x):
        """What is served, by name."""
        normal = self.model(x).distribution  # of one element
        return {"mean": normal.mean(), "low": normal.quantile(0.05), "high": normal.quantile(0.95)}


service = Service(loaded)
tf.saved_model.save(service, str(folder / "service" / "1"), signatures={"serving_default": service.predict})
served = tf.saved_model.load(str(folder / "service" / "1")).signatures["serving_default"]
answer = {name: np.ravel(value).round(1).tolist() for name, value in served(x=tf.constant(x[342:344])).items()}
print(json.dumps(answer, sort_keys=True))

# %% [markdown]
# With TensorFlow Serving installed, this puts it behind HTTP (`service` is the folder above), and asks for one person:
#
#     tensorflow_model_server --rest_api_port=8501 --model_name=diabetes --model_base_path=$PWD/service
#     curl -d '{"instances": [[0.8, 1.1, 1.3, 0.5, -0.9, -0.7, -0.9, -0.1, 0.4, -0.4]]}' \
#         localhost:8501/v1/models/diabetes:predict

# %%
# Served means and 90% intervals of 40 people, in the order of their means, with what happened
rows = served(x=tf.constant(x[342:382]))
mean, low, high = (np.ravel(rows[name]) for name in ("mean", "low", "high"))
order, happened = np.argsort(mean), y[342:382, 0]
figure = Figure(figsize=(8, 3.6), layout="constrained")
ax = figure.subplots()
ax.vlines(range(40), low[order], high[order], color="tab:blue", alpha=0.5, label="90% interval")
ax.plot(range(40), mean[order], ".", color="tab:blue", label="mean")
ax.plot(range(40), happened[order], "x", color="tab:red", label="what happened")
ax.set(xlabel="people, by their predicted mean", ylabel="progression of the disease")
ax.legend(fontsize="small")
figure

# %% [markdown]
# ## A small device
#
# TensorFlow Lite runs on a phone or a controller. The network and the formulas of the parameters go there; a quantile
# of a Normal is its mean and 1.645 scales.


# %%
@tf.function(input_signature=[tf.TensorSpec([1, 10], tf.float32)])
def small(x):
    """The mean and the 90% interval of one row."""
    normal = loaded(x).distribution
    return tf.concat([normal.loc - 1.6448536 * normal.scale, normal.loc, normal.loc + 1.6448536 * normal.scale], -1)


converter = tf.lite.TFLiteConverter.from_concrete_functions([small.get_concrete_function()], loaded)
content = converter.convert()
print(f"{len(content)} bytes")

interpreter = tf.lite.Interpreter(model_content=content)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[342:343])
interpreter.invoke()
found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
print("low, mean, high:", found.round(1))
np.testing.assert_allclose(found, [low[0], mean[0], high[0]], rtol=1e-4)

# %% [markdown]
# ## What to take with you
#
# 1. `model.save` for who has `nllfit`; `tf.saved_model.save` for who has not.
# 2. Serve what the caller can use: a mean and an interval, by name.
# 3. Every answer is deterministic: nothing in it is a sample.
