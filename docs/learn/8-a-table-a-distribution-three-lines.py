"""A table, a distribution, three lines: scikit-learn's conventions around an ensemble that chooses its own settings."""

# %% [markdown]
# # 8. A table, a distribution, three lines
#
# The lessons before this one built networks by hand. For a table of data, `nllfit.tabular` has estimators that choose
# the network and the number of epochs for you. They follow scikit-learn's conventions, so they work in its pipelines,
# searches and cross-validation.
#
# The table is scikit-learn's diabetes data: ten measurements of 442 patients, and the progression of the disease after
# a year. Real tables often have categories and missing values, so we add both: the sex becomes text, and 30 blood
# pressures are removed. (This table has no dates. If your table has dates, convert them to numbers, such as the days
# since a first date.)

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
# `fit` holds out a fifth of the training rows to compare models: two kinds of network and a forest, each with Normal
# distributions. If the better network predicts distributions that are too narrow, `fit` tries this network again with
# stronger regularization. `fit` does the same for the forest. Then `fit` tries a forest that predicts histograms.
# Finally, `fit` trains the best model on all training rows. If this model is a network, `fit` trains an ensemble of
# five such networks.
#
# A model is usually too confident about rows that it was not trained on. So `fit` also finds a factor for the width of
# the predicted distributions. On a small table like this one, the factor comes from cross-validation.

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
# The coverage holds for new rows that are like the training rows. In a new row, the median of the column replaces a
# missing number, and an unknown category counts as missing. Two kinds of new rows may get intervals that are too
# narrow. A new row may lack a value of a column that was complete in training: then the estimator warns. The values of
# a new row may be far from those of all training rows: then there is no warning. Copies of one row in the table also
# make intervals too narrow, because `fit` may train on one copy and hold out another copy.
#
# ## What it chose
#
# `trials_` lists the compared models, the best model first. The networks are called `smooth` and `steep`, and the
# forest is called `trees`. `nll` is the mean negative log-likelihood of the held-out rows, in nats, and `spread` is the
# factor for the width of the distributions. Only the spread of the best model comes from cross-validation. The
# spreads of the other models come from the held-out rows.

# %%
for trial in model.trials_:
    print(trial.network, trial.regularization, trial.distribution, round(trial.nll, 3), round(trial.spread, 2))

# %% [markdown]
# ## Another distribution
#
# A progression is a positive number. A Gamma has only positive outcomes, so no predicted quantile is below 0. You can
# also give a list of distributions, or `"auto"`: `fit` then compares several distributions on the held-out rows.
# `"auto"` tries the common families whose support contains the outcomes. A Normal is one of them, also for positive
# outcomes. If outcomes are positive and skewed, a list such as `["LogNormal", "Gamma"]` is often better. `fit` tries
# the first distribution with all networks, and each other distribution only with the best of these networks.

# %%
positive = DistributionRegressor("Gamma", network="smooth", random_state=0).fit(X_train, y_train)
low = positive.predict_quantile(X_test, 0.001)
print("the lowest 0.1% quantile:", low.min().round(1))
assert low.min() > 0
print(f"mean log-likelihood: {model.score(X_test, y_test):.3f} and {positive.score(X_test, y_test):.3f}")

# %% [markdown]
# Another way to predict only positive outcomes is to train on their logarithms, with scikit-learn's
# `TransformedTargetRegressor`. The regressor inside it then predicts a density of the logarithm.
# `transformed_log_density` returns log-densities of the outcomes themselves. You can compare the mean of these
# log-densities with the two mean log-likelihoods above.

# %%
regressor = DistributionRegressor("Normal", network="smooth", random_state=0)
logarithm = TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp).fit(X_train, y_train)
print(f"mean log-likelihood: {transformed_log_density(logarithm, X_test, y_test).mean():.3f}")

# %% [markdown]
# ## A file
#
# `save` writes a folder with JSON and arrays. Unlike a pickle, these files cannot run code when they are read.

# %%
folder = pathlib.Path(tempfile.mkdtemp()) / "model"
model.save(folder)
assert np.array_equal(DistributionRegressor.load(folder).predict(X_test), model.predict(X_test))
print(sorted(path.name for path in folder.iterdir()))
