"""A table, a distribution, three lines: scikit-learn's conventions around an ensemble that chooses its own settings."""

# %% [markdown]
# # 8. A table, a distribution, three lines
#
# The lessons before this one built networks. Often there is only a table, and no time to choose layers, epochs and a
# spread. `nllfit.tabular` has estimators for that. They follow scikit-learn's conventions, so they work in its
# pipelines, searches and cross-validation.
#
# The table is scikit-learn's diabetes data: ten measurements of 442 patients, and the progression of the disease after
# a year. Tables from a clinic have categories and gaps, so we add some: the sex is text, and 30 blood pressures are
# missing.

# %%
import pathlib
import tempfile

import numpy as np
from matplotlib.figure import Figure
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from nllfit.tabular import DistributionRegressor, transformed_log_density

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X["sex"] = np.where(X["sex"] == 1, "female", "male")
X.loc[np.random.default_rng(0).choice(len(X), 30, replace=False), "bp"] = np.nan
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

# %% [markdown]
# ## Three lines
#
# `fit` holds out a fifth of the training rows. On them it compares two networks and a forest, weak and strong
# regularization, and Normal distributions with histograms. Then it trains five networks of the better kind, or the
# forest, on all training rows. A network is too confident about rows that it has not seen, so a factor widens the
# predicted distributions. On a small table like this one, the factor comes from cross-validation.

# %%
model = DistributionRegressor(random_state=0).fit(X_train, y_train)
intervals = model.predict_interval(X_test, 0.9)
print(model.evaluate(X_test, y_test).summary())

# %% [markdown]
# The coverage of the 90% intervals should be near 0.9. It is a share of 111 patients, so its standard error is 0.03.

# %%
inside = np.mean((intervals[:, 0] <= y_test) & (y_test <= intervals[:, 1]))
print(f"{inside:.2f} of the test patients are inside their 90% interval")
assert 0.8 < inside < 0.99

order = np.argsort(model.predict(X_test))
figure = Figure(figsize=(7, 4), layout="constrained")
ax = figure.subplots()
ax.fill_between(range(len(order)), *intervals[order].T, alpha=0.3, label="90% interval")
ax.plot(model.predict(X_test)[order], label="mean")
ax.plot(y_test.to_numpy()[order], ".", label="observed")
ax.set(xlabel="test patients, in the order of the prediction", ylabel="progression after a year")
ax.legend()
figure

# %% [markdown]
# ## What it chose
#
# `trials_` lists the compared models, the best first. `nll` is the mean negative log-likelihood of the held-out rows,
# in nats, and `spread` is the factor on the width. The spread of the first model comes from cross-validation.

# %%
for trial in model.trials_:
    print(trial.network, trial.regularization, trial.distribution, round(trial.nll, 3), round(trial.spread, 2))

# %% [markdown]
# ## Another distribution
#
# A progression is a positive number. `distribution="Gamma"` has only positive outcomes, so no quantile is below 0. A
# list compares several, and `"auto"` compares all that have the outcomes in their support: counts, shares, amounts, and
# outcomes that repeat a few values.

# %%
positive = DistributionRegressor("Gamma", network="smooth", random_state=0).fit(X_train, y_train)
low = positive.predict_quantile(X_test, 0.001)
print("the lowest 0.1% quantile:", low.min().round(1))
assert low.min() > 0
print(f"mean log-likelihood: {model.score(X_test, y_test):.3f} and {positive.score(X_test, y_test):.3f}")

# %% [markdown]
# A `TransformedTargetRegressor` of scikit-learn trains on the logarithm of the outcomes. Its `score` is an R2, and the
# `score` of the regressor inside is the mean log-likelihood of the logarithms. `transformed_log_density` adds the
# logarithm of the derivative, so the mean of its result can be compared with the two scores above.

# %%
regressor = DistributionRegressor("Normal", network="smooth", random_state=0)
logarithm = TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp).fit(X_train, y_train)
print(f"mean log-likelihood: {transformed_log_density(logarithm, X_test, y_test).mean():.3f}")

# %% [markdown]
# ## A file
#
# `save` writes JSON and arrays. Unlike a pickle, such files run no code when they are read.

# %%
folder = pathlib.Path(tempfile.mkdtemp()) / "model"
model.save(folder)
assert np.array_equal(DistributionRegressor.load(folder).predict(X_test), model.predict(X_test))
print(sorted(path.name for path in folder.iterdir()))
