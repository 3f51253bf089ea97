"""A loss is a choice of distribution: one data set, five heads, and who wins on rows held out."""

# %% [markdown]
# # 2. A loss is a choice of distribution
#
# One data set, one network, five losses. Each loss is a belief about how outcomes scatter, and we will say which. Then
# rows that no model has seen decide which belief was best, and whether its probabilities are true.

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
# 442 people with diabetes. The inputs are age, sex, body mass index, blood pressure and six blood values. The outcome
# is how far the disease has gone after a year, a number from 25 to 346. We keep three parts apart: to *train*, to
# *calibrate* later, and to *test*.

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
# ## Five beliefs
#
# | head | what it believes of an outcome, given the inputs | its loss |
# | --- | --- | --- |
# | `heads.Normal(scale=55.0)` | scatters evenly, everywhere as much | squared error |
# | `heads.Laplace(scale=45.0)` | the same, with more surprises | absolute error |
# | `heads.Normal()` | scatters evenly, here more and there less | $(y - \mu)^2 / 2 \sigma^2 + \log \sigma$ |
# | `heads.StudentT(df=5)` | as that, and may lie far out | grows with $\log$ of the distance |
# | `heads.Gamma()` | is positive, and scatters with its size | $\mathrm{rate}\, y - (a - 1) \log y + \ldots$ |
#
# The network before the head is the same each time. `nllfit.initialize` starts it where the outcomes are.

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
# ## Who wins?
#
# Squared errors and absolute errors cannot be compared with each other. Negative log-likelihoods can: each says how
# surprising the test rows were, in the same unit. Lower is better. The CRPS judges the same in the unit of the outcome.

# %%
evaluations = {name: nllfit.evaluate(model, x[test], y[test]) for name, model in models.items()}
print(f"{'110 people of the test':24} {'NLL':>7} {'CRPS':>7} {'90% holds':>11}")
for name, result in evaluations.items():
    print(f"{name:24} {result.nll:7.3f} {result.crps:7.2f} {100 * result.coverage[0.9]:10.0f}%")

# %% [markdown]
# Is the difference more than chance? The test rows are the same for all, so compare them row by row.

# %%
best = min(evaluations, key=lambda name: evaluations[name].nll)
print("lowest:", best)
print(nllfit.compare_scores(evaluations["Laplace, fixed scale"], evaluations[best]).summary())

# %% [markdown]
# With 110 people the differences among good heads are small; a table without standard errors would have hidden that.
#
# ## What each of them says of one person
#
# The five models agree on the middle more than on the rest.

# %%
# Five predicted densities for one person, with the outcome as a line
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
# ## Are the probabilities true?
#
# A model that says "90%" should be right nine times in ten. The *PIT* of an outcome is the predicted probability of a
# value below it. If the predicted distributions are true, the PITs are spread evenly between 0 and 1. A U says that
# the model is too sure of itself, a hump that it is too shy.

# %%
# PIT histograms of the five heads on the test rows, with the band that chance allows
figure = Figure(figsize=(12, 3.2), layout="constrained")
for ax, (name, result) in zip(figure.subplots(1, 5, sharey=True), evaluations.items(), strict=True):
    plots.pit_histogram(ax, result.pit, num_bins=8).set_title(name, fontsize="medium")
    ax.get_legend().remove()
    ax.label_outer()
    ax.set_xlabel("PIT")
figure

# %% [markdown]
# ## Putting them right
#
# Rows that were held out of training show how far the probabilities are off, and `nllfit.recalibrate` bends them back.
# It needs no knowledge of the model. Take a model that is too sure of itself: a larger network, trained longer.

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
# Coverage curves before and after recalibration: the second is nearer to the diagonal
figure = Figure(figsize=(8.4, 4.2), layout="constrained")
for ax, (title, result) in zip(figure.subplots(1, 2), {"before": before, "after": after}.items(), strict=True):
    plots.coverage_curve(ax, result.pit).set_title(title)
figure

# %% [markdown]
# Recalibration mends the probabilities: intervals hold more nearly what they say. By the CRPS this model is no worse
# than those above. By the likelihood it is ruined, and recalibration, which bends all rows alike, cannot save it:

# %%
rows = nllfit.negative_log_likelihood(y[test], nllfit.predict_distribution(overfit, x[test]))
print(f"trained too long: median row {np.median(rows):.1f} nats, mean {np.mean(rows):.1f}, worst {np.max(rows):.0f}")

# %% [markdown]
# For one person the model predicted a density as narrow as a needle, beside what happened. The CRPS asks how far off a
# prediction is. The likelihood asks how sure it was as well, and does not forgive a needle.
#
# ## What to take with you
#
# 1. A loss says what you believe of the scatter. Say it on purpose.
# 2. The negative log-likelihood on rows held out compares beliefs that squared and absolute error cannot.
# 3. A low loss does not make probabilities true. Look at the PIT, and recalibrate on rows held out.
