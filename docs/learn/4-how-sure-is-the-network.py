"""How sure is the network? Ensembles, recalibration and conformal intervals."""

# %% [markdown]
# # 4. How sure is the network?
#
# A head says how outcomes scatter. It does not say that the network itself may be wrong, as it is where it has seen
# few data. Three remedies, each for another ailment: an *ensemble*, *recalibration*, and *conformal* intervals.

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
    """One network; its first weights are random."""
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
# Train five networks from five random starts. Where there are data they agree. Where there are none nothing makes them
# agree, and their mixture is wide:
#
# $$ p(y) = \frac{1}{5} \sum_{k=1}^5 p_k(y) $$

# %%
ensemble = nllfit.Ensemble.fit(build, 5, x, y, epochs=300, seed=0)

# %%
# One network and the ensemble of five, on the data and beyond them: there the ensemble is wider
grid = np.linspace(-2.5, 2.5, 200)[:, None]
figure = Figure(figsize=(11, 3.8), layout="constrained")
for ax, (title, model) in zip(
    figure.subplots(1, 2, sharey=True), {"one network": ensemble.models[0], "five": ensemble}.items(), strict=True
):
    distribution = nllfit.predict_distribution(model, grid)
    low, high = (np.ravel(end) for end in nllfit.interval(distribution, 0.9))
    ax.fill_between(grid[:, 0], low, high, alpha=0.3, label="90 % interval")
    ax.plot(grid[:, 0], np.ravel(nllfit.quantile(distribution, 0.5)), label="median")
    ax.plot(x, y, ".", color="0.3", markersize=3)
    ax.set(title=title, xlabel="x", ylim=(-4, 4))
    ax.legend(loc="lower right", fontsize="small")
figure

# %%
beyond = rng.uniform(-1.5, 1.5, [1000, 1])  # a third of them where no network has seen data
beyond_y = outcomes(beyond)
for title, model in {"one network": ensemble.models[0], "five": ensemble}.items():
    result = nllfit.evaluate(model, beyond, beyond_y)
    print(f"{title:12} NLL {result.nll:7.3f}   a 90 % interval holds {100 * result.coverage[0.9]:.0f} %")

# %% [markdown]
# ## Recalibration
#
# Rows held out of training show how often outcomes fall below each predicted quantile. `nllfit.recalibrate` learns the
# map from the predicted probability to the observed one, and applies it. It changes a whole distribution. Take one
# network, which was trained long on 80 rows and is too sure of itself even where it has seen data.

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
# If an interval is all you need, there is a guarantee. Take the held-out rows, see by how much each outcome misses the
# interval, and move the ends by the right quantile of these misses. A new outcome is inside with a probability of at
# least 90 %, whatever the network is, as long as new rows come from where the held-out rows came from.

# %%
conformal = nllfit.conformalize(network, held_out, held_out_y, levels=(0.9,))
low, high = nllfit.interval(nllfit.predict_distribution(conformal, fresh), 0.9)
inside = np.mean((np.ravel(low) <= fresh_y[:, 0]) & (fresh_y[:, 0] <= np.ravel(high)))
print(f"holds {100 * inside:.1f} % of 1000 new outcomes; mean width {np.mean(np.ravel(high) - np.ravel(low)):.2f}")
assert 0.86 < inside < 0.95

# %% [markdown]
# ## Which one?
#
# | you fear | use | it gives |
# | --- | --- | --- |
# | few data, or inputs unlike those of training | `nllfit.Ensemble` | a distribution |
# | probabilities that are not true on average | `nllfit.recalibrate` | a distribution |
# | that, and need a guarantee | `nllfit.conformalize` | an interval |
#
# They go together: recalibrate, or conformalize, an ensemble. None of them helps where new rows are unlike the
# held-out ones.
