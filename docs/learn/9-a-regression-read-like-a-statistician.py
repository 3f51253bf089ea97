"""A regression, read as a statistician reads it: a formula, its coefficient table, and checks of the model."""

# %% [markdown]
# # 9. A regression, read as a statistician reads it
#
# This lesson fits a regression from a formula, reads its table, and asks the four questions that a statistician asks:
# how large is an effect, how uncertain is its estimate, does the model fit, and which rows are influential? Before you
# run this lesson, run `pip install '.[regression]' statsmodels matplotlib` in a clone of the repository.
#
# The data are from the RAND health insurance experiment. The outcome `mdvis` is the number of a person's visits to a
# doctor in a year. The insured persons pay a share of the bill: if the share is $s$ percent, `lncoins` is $\log(1+s)$.
# `disea` is an index of chronic diseases, and `health` is the person's rating of their own health.

# %%
import numpy as np
import statsmodels.api as sm
from matplotlib.figure import Figure

import nllfit
from nllfit import plots

data = sm.datasets.randhie.load_pandas().data.iloc[::20].reset_index(drop=True)
data["health"] = np.select([data.hlthp == 1, data.hlthf == 1, data.hlthg == 1], ["poor", "fair", "good"], "excellent")
print(data[["mdvis", "lncoins", "disea", "health"]].describe().round(2))

# %% [markdown]
# ## A formula and its table
#
# `C(health)` makes a column for each level of `health` except the first, *excellent*. The coefficient of a column
# compares its level with *excellent*. The family determines how the counts scatter around their mean. The formula
# describes the logarithm of the mean, so a coefficient is a change in the logarithm of the mean.

# %%
poisson = nllfit.regression("mdvis ~ lncoins + disea + C(health)", data, family="Poisson")
print(poisson.summary())

# %% [markdown]
# ## How large is an effect?
#
# `exp` of a coefficient is a *rate ratio*: one more unit of `lncoins` multiplies the expected number of visits by the
# rate ratio of `lncoins`.

# %%
print(poisson.table(exponentiate=True).round(3))

# %% [markdown]
# ## Does the model fit?
#
# The standard errors in the table are valid if the counts have the distribution that the model assumes: a Poisson,
# whose variance is equal to its mean. *Quantile residuals* test this assumption. If the model is correct, the residuals
# are standard Normal for any family, and in at least 95% of samples all dots of the figure are within the band. In the
# left panel many dots are outside the band, because many people never go to a doctor, and some go very often.

# %%
# Quantile residuals of a Poisson and of a negative binomial regression against the quantiles of a standard Normal
negative_binomial = nllfit.regression("mdvis ~ lncoins + disea + C(health)", data, family="NegativeBinomial")
figure = Figure(figsize=(9, 4), layout="constrained")
fits = {"Poisson": poisson, "negative binomial": negative_binomial}
for ax, (title, fit) in zip(figure.subplots(1, 2, sharey=True), fits.items(), strict=True):
    plots.residual_qq(ax, fit.residuals()).set_title(title)
figure

# %% [markdown]
# The negative binomial has one more parameter, `alpha`, and its variance is `mean + alpha mean^2`. Its residuals are
# near the diagonal, and its AIC is far smaller than that of the Poisson. Its standard errors are larger, because the
# Poisson assumes a variance that is too small for these counts.

# %%
print(negative_binomial.summary())
print("AIC", round(poisson.aic, 1), "and", round(negative_binomial.aic, 1))
print((negative_binomial.bse / poisson.bse).dropna().round(2))
assert negative_binomial.aic < poisson.aic

# %% [markdown]
# ## What if the family is still wrong?
#
# The *sandwich* computes standard errors from the scatter of gradients: one gradient of the log-likelihood for each
# row. These standard errors are valid even if the family's variance is wrong. If rows depend on each other, for
# example because they are members of one household, use `cluster=` with the name of the column that identifies the
# household.

# %%
robust = nllfit.regression(
    "mdvis ~ lncoins + disea + C(health)", data, family="NegativeBinomial", covariance="sandwich"
)
print((robust.bse / negative_binomial.bse).round(2))

# %% [markdown]
# ## Tests of more than one coefficient
#
# Does health matter at all? The term `C(health)` of the formula has several coefficients. `test_terms` tests all
# coefficients of each term at once. `test` tests any linear equation of coefficients. `anova` compares two fits by the
# ratio of their likelihoods.

# %%
print(negative_binomial.test_terms().round(4))
print(negative_binomial.test("`C(health)[T.fair]` = `C(health)[T.good]`"))
smaller = nllfit.regression("mdvis ~ lncoins + disea", data, family="NegativeBinomial")
print(smaller.anova(negative_binomial).round(4).to_string())

# %% [markdown]
# ## Prediction
#
# There are two intervals. The interval of the mean shows how well the mean is known. With more rows, it becomes
# narrower. The interval of a new outcome shows how many visits one person may make. It stays wide with more rows,
# because persons differ.

# %%
# Visits against the index of diseases: the mean, the interval of the mean, and the interval of one person's visits
new = {"lncoins": np.zeros(30), "disea": np.linspace(0, 60, 30), "health": ["good"] * 30}
predicted = negative_binomial.predict_interval(new)
figure = Figure(figsize=(6, 3.6), layout="constrained")
ax = figure.subplots()
ax.fill_between(new["disea"], predicted.lower, predicted.upper, alpha=0.2, label="95% of persons")
ax.fill_between(new["disea"], predicted.mean_lower, predicted.mean_upper, alpha=0.5, label="95% interval of the mean")
ax.plot(new["disea"], predicted["mean"], label="mean")
ax.set(xlabel="index of chronic diseases", ylabel="visits in a year")
ax.legend()
figure

# %% [markdown]
# ## Which rows are influential?
#
# `influence` shows how much each row changes each coefficient. Check that the most influential rows contain no errors.

# %%
influence = negative_binomial.influence()
top = influence.sort_values("cooks_distance", ascending=False).head(3)
print(top[["leverage", "cooks_distance", "dfbeta: lncoins"]].round(4))
print(data.loc[top.index, ["mdvis", "lncoins", "disea", "health"]])

# %% [markdown]
# ## More than a mean
#
# Any parameter can have a formula: with `alpha="~ C(health)"`, the variance differs between the levels of health. The
# attribute `model` of the result is a Keras model, which you can save and serve.

# %%
scatter = nllfit.regression("mdvis ~ lncoins + disea + C(health)", data, "NegativeBinomial", alpha="~ C(health)")
print(negative_binomial.anova(scatter).round(4).to_string())
print(scatter.model.predict(scatter.inputs(data.iloc[:3]), verbose=0)[:, 0], scatter.predict(data.iloc[:3]).to_numpy())
