"""A loss is a choice of distribution: one data set, five heads, compared on held-out rows."""

# %% [markdown]
# # 2. A loss is a choice of distribution
#
# This lesson trains one network on one data set with five losses. Each loss is an assumption about how outcomes
# scatter. Rows that no model has seen then show which assumption is best, and whether its probabilities are right.

# %%
import numpy as np
import tf_keras
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes

import nllfit
from nllfit import heads, plots

# %% [markdown]
# ## The data
#
# The data describe 442 people with diabetes. The inputs are age, sex, body mass index, blood pressure and six blood
# values. The outcome is the progression of the disease after a year, a number from 25 to 346. We split the rows into
# three parts: one for *training*, one for *recalibration* later, and one for *testing*.

# %%
x, y = load_diabetes(return_X_y=True)
x, y = (x / x.std(0)).astype("float32"), y[:, None].astype("float32")
order = np.random.default_rng(0).permutation(len(x))
train, held_out, test = np.split(order, [222, 332])

# %%
# Histogram of the outcome: positive, and with a longer tail to the right
figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
ax.hist(y[:, 0], bins=30, color="tab:blue", alpha=0.7)
ax.set(xlabel="progression of the disease", ylabel="people")
ax.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# ## Five assumptions
#
# | head | its assumption about an outcome, given the inputs | its loss |
# | --- | --- | --- |
# | `heads.Normal(scale=55.0)` | symmetric noise, of the same size everywhere | squared error |
# | `heads.Laplace(scale=45.0)` | symmetric noise of the same size everywhere, with more outliers | absolute error |
# | `heads.Normal()` | symmetric noise, whose size depends on the inputs | $(y - \mu)^2 / 2 \sigma^2 + \log \sigma$ |
# | `heads.StudentT(df=5)` | like `heads.Normal()`, with more outliers | grows like $\log$ of the distance from $\mu$ |
# | `heads.Gamma()` | positive, with noise that grows with the mean | $\beta y - (\alpha - 1) \log y + \ldots$ |
#
# In the last row, $\alpha$ is the concentration of the Gamma and $\beta$ is its rate.
#
# In all models, the network before the head is the same, except for the number of its outputs. `nllfit.initialize`
# sets the weights of its last layer so that training starts at the *marginal distribution* of the outcomes: one
# distribution for all people, fitted without the inputs.

# %%
choices = {
    "Normal, fixed scale": heads.Normal(scale=55.0),
    "Laplace, fixed scale": heads.Laplace(scale=45.0),
    "Normal": heads.Normal(),
    "StudentT(df=5)": heads.StudentT(df=5.0),
    "Gamma": heads.Gamma(),
}
models = {}
for name, head in choices.items():
    tf_keras.utils.set_random_seed(0)
    models[name] = tf_keras.Sequential(
        [tf_keras.layers.Dense(8, "tanh", kernel_regularizer="l2"), tf_keras.layers.Dense(head.params_size()), head]
    )
    models[name].compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
    nllfit.initialize(models[name], x[train], y[train])
    nllfit.fit(models[name], x[train], y[train], epochs=60, seed=0, verbose=0)

# %% [markdown]
# ## Which head is best?
#
# A squared error cannot be compared with an absolute error. Negative log-likelihoods of different heads can be
# compared: each is the mean surprise at the test rows, in nats. Lower is better. The CRPS (continuous ranked
# probability score) is a second score. It measures the distance between a predicted distribution and the outcome, in
# the unit of the outcome. A lower CRPS is better.

# %%
evaluations = {name: nllfit.evaluate(model, x[test], y[test]) for name, model in models.items()}
print(f"{'110 people of the test':24} {'NLL':>7} {'CRPS':>7} {'90% holds':>11}")
for name, result in evaluations.items():
    print(f"{name:24} {result.nll:7.3f} {result.crps:7.2f} {100 * result.coverage[0.9]:10.0f}%")

# %% [markdown]
# Are the differences significant? All models have the same test rows, so we compare their negative log-likelihoods row
# by row.

# %%
best = min(evaluations, key=lambda name: evaluations[name].nll)
print("lowest:", best)
print(nllfit.compare_scores(evaluations["Laplace, fixed scale"], evaluations[best]).summary())

# %% [markdown]
# With 110 people, a small difference between two heads can be due to chance. The standard error of the difference shows
# how large such a chance difference usually is.
#
# ## What each model predicts for one person
#
# The figure shows that the five models agree more about the middle of the distribution than about the tails.

# %%
# Five predicted densities for one person; the dashed line is the outcome
person = test[:1]
grid = np.linspace(1.0, 400.0, 100, dtype="float32")
figure = Figure(figsize=(8, 3.6), layout="constrained")
ax = figure.subplots()
for name, model in models.items():
    one = nllfit.predict_distribution(model, x[person])
    density = [np.exp(-nllfit.negative_log_likelihood(np.full([1, 1], value, "float32"), one)[0]) for value in grid]
    ax.plot(grid, density, label=name)
ax.axvline(y[person][0, 0], color="0.2", linestyle="--", label="what happened")
ax.set(xlabel="progression of the disease", ylabel="density", ylim=(0, None))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize="small")
figure

# %% [markdown]
# ## Are the probabilities right?
#
# A 90% interval should contain nine of ten outcomes. The *PIT* (probability integral transform) of an outcome is the
# predicted probability of a smaller value. If the predicted distributions are correct, the PITs are uniform between 0
# and 1. If the histogram has the shape of a U, the distributions are too narrow. If the histogram has a hump in the
# middle, the distributions are too wide.

# %%
# PIT histograms of the five heads on the test rows, with the 95% band of a correct model
figure = Figure(figsize=(12, 3.2), layout="constrained")
for ax, (name, result) in zip(figure.subplots(1, 5, sharey=True), evaluations.items(), strict=True):
    plots.pit_histogram(ax, result.pit, num_bins=8).set_title(name, fontsize="medium")
    ax.get_legend().remove()
    ax.label_outer()
    ax.set_xlabel("PIT")
figure

# %% [markdown]
# ## Recalibration
#
# Held-out rows show how wrong the probabilities of a model are. From these rows, `nllfit.recalibrate` learns to correct
# the probabilities. As an example we train a larger network for longer, so that its distributions are too narrow.

# %%
tf_keras.utils.set_random_seed(0)
overfit = tf_keras.Sequential([tf_keras.layers.Dense(64, "relu"), tf_keras.layers.Dense(2), heads.Normal()])
overfit.compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
nllfit.initialize(overfit, x[train], y[train])
nllfit.fit(overfit, x[train], y[train], epochs=200, seed=0, verbose=0)
recalibrated = nllfit.recalibrate(overfit, x[held_out], y[held_out])
before, after = (nllfit.evaluate(model, x[test], y[test]) for model in (overfit, recalibrated))
for title, result in {"before": before, "after": after}.items():
    print(f"{title:7} a 90% interval holds {100 * result.coverage[0.9]:.0f}%, CRPS {result.crps:.2f}")
assert abs(after.coverage[0.9] - 0.9) < abs(before.coverage[0.9] - 0.9)

# %%
# Coverage curves before and after recalibration: the second curve is nearer to the diagonal
figure = Figure(figsize=(8.4, 4.2), layout="constrained")
for ax, (title, result) in zip(figure.subplots(1, 2), {"before": before, "after": after}.items(), strict=True):
    plots.coverage_curve(ax, result.pit).set_title(title)
figure

# %% [markdown]
# Recalibration improves the coverage of the intervals. The CRPS of the recalibrated model is no worse than the CRPS
# of any of the five models above. But the negative log-likelihood of the larger network is very high before
# recalibration, and equally high after it, because the surprise at a few rows is very large. Recalibration cannot
# repair single rows, because it uses the same map for all rows. The next lines compare the median row and the worst
# row of the larger network:

# %%
rows = nllfit.negative_log_likelihood(y[test], nllfit.predict_distribution(overfit, x[test]))
print(f"trained too long: median row {np.median(rows):.1f} nats, mean {np.mean(rows):.1f}, worst {np.max(rows):.0f}")

# %% [markdown]
# For one person the larger network predicted a very narrow density, and the outcome was far outside. The CRPS of
# such an outcome grows only with its distance from the prediction. Its negative log-likelihood also grows if the
# density becomes narrower.
#
# ## Summary
#
# 1. A loss is an assumption about the noise.
# 2. To compare different assumptions, use the negative log-likelihood of held-out rows. A squared error and an absolute
#    error cannot be compared.
# 3. A model with a low loss may have wrong probabilities. Look at the PIT histogram, and recalibrate on held-out rows.
