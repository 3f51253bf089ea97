"""How sure is the network? Ensembles, recalibration and conformal intervals."""

# %% [markdown]
# # 4. How sure is the network?
#
# A head describes how outcomes scatter around the prediction. It does not describe how wrong the prediction itself may
# be. This lesson shows three methods for different parts of this problem: an *ensemble*, *recalibration* and
# *conformal* intervals. A table at the end says when to use each method.

# %%
import numpy as np
import tf_keras
from matplotlib.figure import Figure

import nllfit
from nllfit import heads, plots

rng = np.random.default_rng(0)


def outcomes(x):
    """A wave with noise."""
    return np.sin(3 * x) + 0.2 * rng.normal(size=x.shape)


x = rng.uniform(-1, 1, [80, 1])
y = outcomes(x)


def build():
    """A network with random weights."""
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Dense(64, "relu", input_shape=(1,), dtype="float64"),
            tf_keras.layers.Dense(64, "relu", dtype="float64"),
            tf_keras.layers.Dense(1, dtype="float64"),
            heads.Normal(shared="scale"),  # the noise is the same everywhere
        ]
    )
    model.compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
    return model


# %% [markdown]
# ## An ensemble
#
# Train five networks from five random starts. Near the training rows their predictions agree. Far from the training
# rows they disagree, because no row determines the prediction. So the mixture of the five predicted densities $p_1,
# \ldots, p_5$ is wide far from the training rows:
#
# $$ p(y) = \frac{1}{5} \sum_{k=1}^5 p_k(y) $$

# %%
ensemble = nllfit.Ensemble.fit(build, 5, x, y, epochs=300, seed=0)

# %%
# One network and the ensemble of five, with the training rows: beyond these rows the ensemble's interval is wider
grid = np.linspace(-2.5, 2.5, 200)[:, None]
figure = Figure(figsize=(11, 3.8), layout="constrained")
for ax, (title, model) in zip(
    figure.subplots(1, 2, sharey=True), {"one network": ensemble.models[0], "five": ensemble}.items(), strict=True
):
    distribution = nllfit.predict_distribution(model, grid)
    low, high = (np.ravel(end) for end in nllfit.interval(distribution, 0.9))
    ax.fill_between(grid[:, 0], low, high, alpha=0.3, label="90% interval")
    ax.plot(grid[:, 0], np.ravel(nllfit.quantile(distribution, 0.5)), label="median")
    ax.plot(x, y, ".", color="0.3", markersize=3)
    ax.set(title=title, xlabel="x", ylim=(-4, 4))
    ax.legend(loc="lower right", fontsize="small")
figure

# %%
wider = rng.uniform(-1.5, 1.5, [1000, 1])  # a third of these rows are outside the range of the training rows
wider_y = outcomes(wider)
for title, model in {"one network": ensemble.models[0], "five": ensemble}.items():
    result = nllfit.evaluate(model, wider, wider_y)
    print(f"{title:12} NLL {result.nll:7.3f}   a 90% interval holds {100 * result.coverage[0.9]:.0f}%")

# %% [markdown]
# ## Recalibration
#
# Held-out rows show how often outcomes fall below each predicted quantile. From these rows, `nllfit.recalibrate` learns
# a map from predicted to observed probabilities. The recalibrated model applies this map to the distribution of every
# row.
#
# We recalibrate one of the five networks. It was trained for a long time on only 80 rows, so the scale that it predicts
# is too small even near the training rows.

# %%
held_out = rng.uniform(-1, 1, [300, 1])
held_out_y = outcomes(held_out)
fresh = rng.uniform(-1, 1, [1000, 1])
fresh_y = outcomes(fresh)
network = ensemble.models[0]
recalibrated = nllfit.recalibrate(network, held_out, held_out_y)
results = {"as trained": nllfit.evaluate(network, fresh, fresh_y)}
results["recalibrated"] = nllfit.evaluate(recalibrated, fresh, fresh_y)
for title, result in results.items():
    print(f"{title:12} NLL {result.nll:7.3f}   calibration error {result.calibration_error:.3f}")

# %%
# PIT histograms before and after recalibration
figure = Figure(figsize=(8.4, 3.4), layout="constrained")
for ax, (title, result) in zip(figure.subplots(1, 2, sharey=True), results.items(), strict=True):
    plots.pit_histogram(ax, result.pit).set_title(title)
figure

# %% [markdown]
# ## A conformal interval
#
# If you need only an interval, `nllfit.conformalize` guarantees the *coverage* of the interval: the probability that a
# new outcome is inside. The function measures how far each held-out outcome is outside its predicted interval. This
# distance is negative if the outcome is inside. For 90% intervals, the function moves both ends of all intervals
# outward by about the 90% quantile of these distances. Then the coverage is at least 90%, however bad the network is.
# There is one condition: new rows come from the same distribution as the held-out rows.

# %%
conformal = nllfit.conformalize(network, held_out, held_out_y, levels=(0.9,))
low, high = nllfit.interval(nllfit.predict_distribution(conformal, fresh), 0.9)
inside = np.mean((np.ravel(low) <= fresh_y[:, 0]) & (fresh_y[:, 0] <= np.ravel(high)))
print(f"holds {100 * inside:.1f}% of 1000 new outcomes; mean width {np.mean(np.ravel(high) - np.ravel(low)):.2f}")
assert 0.86 < inside < 0.95

# %% [markdown]
# ## Which method for which problem?
#
# We compare the methods on new rows in the range of the training rows, and on new rows beyond this range, where
# $1 < |x| < 1.5$. The held-out rows, from which recalibration and conformal intervals learn, are all in the range.

# %%
beyond = rng.choice([-1, 1], [1000, 1]) * rng.uniform(1, 1.5, [1000, 1])
beyond_y = outcomes(beyond)
models = {
    "one network": network,
    "one, recalibrated": recalibrated,
    "one, conformal": conformal,
    "five networks": ensemble,
    "five, conformal": nllfit.conformalize(ensemble, held_out, held_out_y, levels=(0.9,)),
}
places = {"like the training rows": (fresh, fresh_y), "beyond them": (beyond, beyond_y)}


def share_inside(model, x, y):
    """The share of rows whose outcome is in the 90% interval."""
    low, high = nllfit.interval(nllfit.predict_distribution(model, x), 0.9)
    return np.mean((low <= y) & (y <= high))


coverage = {place: [share_inside(model, *rows) for model in models.values()] for place, rows in places.items()}
for name, shares in zip(models, np.transpose(list(coverage.values())), strict=True):
    print(f"{name:18} holds {100 * shares[0]:3.0f}% of the rows like the training rows, {100 * shares[1]:3.0f}% beyond")
assert min(coverage["like the training rows"][i] for i in (1, 2, 4)) > 0.86
assert 0.9 > coverage["beyond them"][3] > coverage["beyond them"][1]

# %%
# In the training range, recalibrated and conformal intervals contain about 90% of outcomes. Outside, ensembles are best
figure = Figure(figsize=(9, 3.4), layout="constrained")
ax = figure.subplots()
for offset, (place, shares) in zip((-0.2, 0.2), coverage.items(), strict=True):
    ax.bar(np.arange(len(models)) + offset, shares, 0.4, label=place)
ax.axhline(0.9, color="0.3", linestyle="--", label="90%")
ax.set(xticks=range(len(models)), xticklabels=models, ylabel="share of outcomes inside", ylim=(0, 1.05))
ax.legend(loc="lower right", fontsize="small")
figure

# %% [markdown]
# | the problem | use | it gives | it needs |
# | --- | --- | --- | --- |
# | few training rows, so random starts predict differently | `nllfit.Ensemble` | a distribution | no held-out rows |
# | predicted probabilities that are wrong on average | `nllfit.recalibrate` | a distribution | held-out rows |
# | a coverage that must be guaranteed | `nllfit.conformalize` | an interval | held-out rows |
#
# Recalibration and conformal intervals learn from held-out rows. So they are correct for new rows that are like the
# held-out rows. They guarantee nothing for other rows. The intervals of an ensemble become wider beyond the training
# rows, but they may still be too narrow, as in the figure. You can combine the methods: recalibrate or conformalize an
# ensemble.
