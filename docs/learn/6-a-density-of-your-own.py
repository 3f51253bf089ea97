"""A density of your own: a normalizing flow as a head, compared with a Normal and a mixture."""

# %% [markdown]
# # 6. A density of your own
#
# Every head so far was a family with a name. But a distribution can have a shape that no named family has, and the
# shape can change with the inputs. Then you can write the density yourself: any function that maps the outputs of a
# network to a distribution can be a head. In this lesson the distribution is a *normalizing flow*, which bends a Normal
# into the shape of the data.

# %%
import pathlib
import tempfile

import numpy as np
import statsmodels.api as sm
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from matplotlib.figure import Figure

import nllfit
from nllfit import heads

tfd, tfb = tfp.distributions, tfp.bijectors

# %% [markdown]
# ## The data
#
# The data are monthly temperatures of the sea off Peru from 1950 to 2010, as *anomalies*: degrees above or below the
# mean temperature of that month of the year. In most years the water is a little cooler than the mean. In an El Niño
# year it is up to 4.5 degrees warmer. The input of the network is the month, as a point on a circle, so that December
# is next to January. Every third year is held out.

# %%
table = sm.datasets.elnino.load_pandas().data
temperature = table.drop(columns="YEAR").to_numpy(float)  # [61 years, 12 months]
years, months = np.indices(temperature.shape)
held_out = years % 3 == 2
usual = temperature[~held_out[:, 0]].mean(0)  # the mean over the training years
angle = 2 * np.pi * months / 12
x, y = np.stack([np.cos(angle), np.sin(angle)], -1), (temperature - usual)[..., None]
train, test = (x[~held_out], y[~held_out]), (x[held_out], y[held_out])
print(len(train[0]), "months to learn from,", len(test[0]), "held out")

# %%
# The anomalies by month: a dense cloud a little below 0, and far above it the warm months of El Niño
jitter = np.random.default_rng(0).uniform(-0.25, 0.25, months.shape)
figure = Figure(figsize=(8, 3.8), layout="constrained")
ax = figure.subplots()
ax.axhline(0, color="tab:red", linewidth=1)
ax.plot(months + jitter, y[..., 0], ".", color="0.3", markersize=3)
ax.set(xlabel="month", ylabel="degrees from the usual", xticks=range(12), xticklabels=list(table.columns[1:]))
figure

# %% [markdown]
# A Normal is symmetric around its mean. The anomalies are not.
#
# ## A flow
#
# Take a number $z$ from a standard Normal and apply an increasing function $g$. The density of the result $y = g(z)$
# follows from the rule for a change of variables:
#
# $$ -\log p(y) = -\log \phi(z) + \log g'(z), \quad z = g^{-1}(y) $$
#
# where $\phi$ is the density of the standard Normal. Where $g$ is steep, outcomes are far apart and the density is low.
# Where $g$ is flat, outcomes are close together and the density is high. If $g$ is a straight line, $\mu + \sigma z$,
# the result is a Normal.
#
# To get another shape, we bend the line. `tfb.SinhArcsinh` is an increasing function with two parameters: one for the
# skewness of the result, and one for the weight of the tails. The inverse and the slope of `tfb.SinhArcsinh` have
# formulas. Our *flow* is a sequence of two layers. Each layer applies a bend and then a line:
#
# $$ g = \mathrm{line}_1 \circ \mathrm{bend}_1 \circ \mathrm{line}_2 \circ \mathrm{bend}_2 $$
#
# The network computes four numbers for each layer: the line's $\mu$ and $\log \sigma$, the skewness, and the logarithm
# of the weight of the tails. If all of these numbers are 0, $g(z) = z$.

# %%
LAYERS = 2


@tf_keras.saving.register_keras_serializable(package="lesson")
def bent_normal(params):
    """A standard Normal, transformed by layers of bends and lines: a distribution for each row of `params`."""
    layers = []
    for numbers in tf.split(params, LAYERS, axis=-1):
        shift, log_scale, skewness, log_tail = tf.split(numbers, 4, axis=-1)
        layers += [tfb.Shift(shift), tfb.Scale(log_scale=log_scale), tfb.SinhArcsinh(skewness, tf.exp(log_tail))]
    normal = tfd.Normal(tf.zeros_like(shift), tf.ones_like(shift))
    return tfd.Independent(tfd.TransformedDistribution(normal, tfb.Chain(layers)), 1)


# %% [markdown]
# `heads.DistributionLambda` turns `bent_normal` into a head. The decorator registers the function's name with Keras,
# because the file of a saved model contains the name of the function and not its code.
#
# ## Three heads
#
# We train one network for each head. Each network has its own hidden layer of 16 units. `nllfit.initialize` sets
# the weights so that training starts at the marginal distribution of the anomalies.

# %%
choices = {
    "Normal": heads.Normal(dtype="float64"),
    "mixture of 2": heads.Mixture("Normal", 2, dtype="float64"),
    "flow": heads.DistributionLambda(bent_normal, 4 * LAYERS, dtype="float64"),
}
models = {}
for name, head in choices.items():
    tf_keras.utils.set_random_seed(0)
    hidden = tf_keras.layers.Dense(16, "tanh", input_shape=(2,), dtype="float64")
    last = tf_keras.layers.Dense(head.params_size(), dtype="float64")
    models[name] = tf_keras.Sequential([hidden, last, head])
    models[name].compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
    nllfit.initialize(models[name], *train)
    nllfit.fit(models[name], *train, epochs=60, seed=0, verbose=0)

# %% [markdown]
# Which head is best for the held-out years?

# %%
evaluations = {name: nllfit.evaluate(model, *test) for name, model in models.items()}
for name, result in evaluations.items():
    print(f"{name:13} NLL {result.nll:.3f}   CRPS {result.crps:.3f} degrees   90% holds {result.coverage[0.9]:.0%}")
assert min(evaluations, key=lambda name: evaluations[name].nll) == "flow"
for name in ("Normal", "mixture of 2"):
    print(f"\nflow against {name}:")
    print(nllfit.compare_scores(evaluations["flow"], evaluations[name]).summary())

# %% [markdown]
# The flow has the smallest negative log-likelihood, and the difference is significant. In the CRPS, the mixture is as
# good as the flow, because this score depends less on the tails.

# %%
# The held-out months with the bands of Normal and flow: the flow's band is narrow below the median and wide above it
circle = np.linspace(0, 12, 145)
seasons = np.stack([np.cos(2 * np.pi * circle / 12), np.sin(2 * np.pi * circle / 12)], -1)
figure = Figure(figsize=(11, 4), layout="constrained")
for ax, name in zip(figure.subplots(1, 2, sharey=True), ("Normal", "flow"), strict=True):
    distribution = nllfit.predict_distribution(models[name], seasons)
    levels = np.asarray(nllfit.quantile(distribution, [0.025, 0.25, 0.5, 0.75, 0.975]))[..., 0]
    ax.fill_between(circle, levels[0], levels[4], color="tab:blue", alpha=0.15, label="central 95%")
    ax.fill_between(circle, levels[1], levels[3], color="tab:blue", alpha=0.3, label="central 50%")
    ax.plot(circle, levels[2], color="tab:blue", label="median")
    ax.plot((months + jitter)[held_out], y[held_out], ".", color="0.3", markersize=3, label="held out")
    ax.set(
        title=name,
        xlabel="month",
        xticks=range(12),
        xticklabels=list(table.columns[1:]),
        xlim=(-0.5, 11.5),
        ylim=(-3.2, 5.2),
    )
    ax.legend(fontsize="small")
    ax.set_ylabel("degrees from the usual")
    ax.label_outer()
figure

# %%
# Left: predicted densities for January over the histogram. Right: the flow's function y = g(z) for each of four months
figure = Figure(figsize=(11, 3.8), layout="constrained")
left, right = figure.subplots(1, 2)
degrees = np.linspace(-2.5, 4.5, 300)
left.hist(y[:, 0, 0], bins=np.arange(-2.5, 4.6, 0.5), density=True, color="lightgray", label="61 Januaries")
for name, model in models.items():
    january = nllfit.predict_distribution(model, np.tile(x[0, :1], [len(degrees), 1]))
    left.plot(degrees, np.exp(january.log_prob(degrees[:, None])), label=name)
left.set(xlabel="degrees from the usual, in January", ylabel="density")
z = np.linspace(-3, 3, 121)
for month in (0, 3, 6, 9):
    flow = nllfit.predict_distribution(models["flow"], x[0, month : month + 1])
    bent = nllfit.quantile(flow, tfd.Normal(np.float64(0), 1.0).cdf(z))
    right.plot(z, np.ravel(bent), label=table.columns[1 + month])
right.set(xlabel="z, of a standard Normal", ylabel="y = g(z), degrees")
for ax in (left, right):
    ax.legend(fontsize="small")
figure

# %% [markdown]
# In the right panel, a Normal would be a straight line. The curves of the flow rise slowly at first and then more and
# more steeply: outcomes below the median are close together, and outcomes above the median are spread out. The curves
# of the four months differ.
#
# ## A file
#
# You save a model with your own density like any other model. A program that loads the model must first import the
# module that defines and registers the function.

# %%
path = pathlib.Path(tempfile.mkdtemp()) / "model.keras"
models["flow"].save(path)
loaded = tf_keras.models.load_model(path)
here, there = (nllfit.evaluate(model, *test).nll for model in (models["flow"], loaded))
print(f"NLL before and after: {here:.6f}, {there:.6f}")
assert here == there

# %% [markdown]
# ## Summary
#
# 1. To use a density of your own, write a function that maps numbers to a `tfd.Distribution`.
#    `heads.DistributionLambda` turns this function into a head.
# 2. A flow bends a Normal with an increasing function. Its density at $g(z)$ is the density of the Normal at $z$,
#    divided by the slope of the function at $z$.
# 3. A flexible density needs more data. Compare it on held-out rows with simpler heads, such as a mixture.
# 4. A flow has quantiles, intervals and a CRPS like every other head. The CRPS of a flow needs float64.
#
# ## Questions to try
#
# - Is the flow worse with `LAYERS = 1`? Is it better with 4?
# - Write the density of a mixture of a Normal and a Gamma with `tfd.Mixture`. For which data would this mixture be a
#   good assumption?
# - Give the network last month's temperature as a third input. Which heads gain most, and why?
