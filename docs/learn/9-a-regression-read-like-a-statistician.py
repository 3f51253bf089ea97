"""A regression, read like a statistician: a formula, its table, and what to doubt."""

# %% [markdown]
# # 9. A regression, read like a statistician
#
# A dense layer under a head is a regression. This lesson fits one from a formula, reads its table, and asks the four
# questions that a statistician asks: how large is an effect, how uncertain is its estimate, does the model fit, and
# which rows are influential? You need `pip install '.[regression]'` in a clone.
#
# The data are from the RAND health insurance experiment: how often people went to a doctor in a year (`mdvis`). Their
# insurance pays the whole bill, or leaves a share of it to them: `lncoins` is the logarithm of this share in percent
# plus 1.

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
# `C(health)` makes a column for each level except the first, *excellent*, with which the others are compared. The
# family determines how counts scatter around their mean. The link is the logarithm, so a coefficient is a change in the
# logarithm of the mean.

# %%
poisson = nllfit.regression("mdvis ~ lncoins + disea + C(health)", data, family="Poisson")
print(poisson.summary())

# %% [markdown]
# ## How large is an effect?
#
# `exp` of a coefficient is a *rate ratio*: one more unit of `lncoins` multiplies the expected visits by that number.

# %%
print(poisson.table(exponentiate=True).round(3))

# %% [markdown]
# ## Does the model fit?
#
# The standard errors in the table are valid if the counts scatter like those of a Poisson, with a variance equal to the
# mean. *Quantile residuals* show whether the counts do. If the model is correct, the residuals are standard Normal,
# whatever the family, and all dots are within the band. Here they are not: many people never go, and some go very
# often.

# %%
# Quantile residuals of a Poisson and of a negative binomial regression against the quantiles of a standard Normal
negative_binomial = nllfit.regression("mdvis ~ lncoins + disea + C(health)", data, family="NegativeBinomial")
figure = Figure(figsize=(9, 4), layout="constrained")
fits = {"Poisson": poisson, "negative binomial": negative_binomial}
for ax, (title, fit) in zip(figure.subplots(1, 2, sharey=True), fits.items(), strict=True):
    plots.residual_qq(ax, fit.residuals()).set_title(title)
figure

# %% [markdown]
# The negative binomial has one more parameter, `alpha`, with the variance `mean + alpha mean^2`. Its residuals are near
# the diagonal, its AIC is far smaller, and its standard errors are larger: the Poisson's were too small.

# %%
print(negative_binomial.summary())
print("AIC", round(poisson.aic, 1), "and", round(negative_binomial.aic, 1))
print((negative_binomial.bse / poisson.bse).dropna().round(2))
assert negative_binomial.aic < poisson.aic

# %% [markdown]
# ## What if the family is still wrong?
#
# The *sandwich* does not rely on the variance of the family: it uses the scatter of the rows' gradients. If rows depend
# on each other, for example the members of a household, give `cluster=` the column with the household.

# %%
robust = nllfit.regression(
    "mdvis ~ lncoins + disea + C(health)", data, family="NegativeBinomial", covariance="sandwich"
)
print((robust.bse / negative_binomial.bse).round(2))

# %% [markdown]
# ## Tests of more than one coefficient
#
# Does health matter at all? A term with several columns needs one test of all of them. `test` accepts any linear
# constraint; `anova` compares two fits by the ratio of their likelihoods.

# %%
print(negative_binomial.test_terms().round(4))
print(negative_binomial.test("`C(health)[T.fair]` = `C(health)[T.good]`"))
smaller = nllfit.regression("mdvis ~ lncoins + disea", data, family="NegativeBinomial")
print(smaller.anova(negative_binomial).round(4).to_string())

# %% [markdown]
# ## Prediction
#
# Two intervals answer two questions. The interval of the mean shows how well the mean is known; it narrows as rows are
# added. The interval of a new outcome shows how many visits one person will make, and does not narrow.

# %%
# The mean number of visits by diseases with its interval, and the interval of a single person's visits
new = {"lncoins": np.zeros(30), "disea": np.linspace(0, 60, 30), "health": ["good"] * 30}
predicted = negative_binomial.predict_interval(new)
figure = Figure(figsize=(6, 3.6), layout="constrained")
ax = figure.subplots()
ax.fill_between(new["disea"], predicted.lower, predicted.upper, alpha=0.2, label="95% of persons")
ax.fill_between(new["disea"], predicted.mean_lower, predicted.mean_upper, alpha=0.5, label="95% interval of the mean")
ax.plot(new["disea"], predicted["mean"], label="mean")
ax.set(xlabel="diseases", ylabel="visits in a year")
ax.legend()
figure

# %% [markdown]
# ## Which rows are influential?
#
# `influence` shows how much each row changes each coefficient. Look at the most influential rows before you trust a
# table.

# %%
influence = negative_binomial.influence()
top = influence.sort_values("cooks_distance", ascending=False).head(3)
print(top[["leverage", "cooks_distance", "dfbeta: lncoins"]].round(4))
print(data.loc[top.index, ["mdvis", "lncoins", "disea", "health"]])

# %% [markdown]
# ## More than a mean
#
# Any parameter can have a formula: `alpha="~ C(health)"` lets the scatter differ between groups. And the model inside
# is a Keras model, which can be saved, served, or be the first layer of something larger.

# %%
scatter = nllfit.regression("mdvis ~ lncoins + disea + C(health)", data, "NegativeBinomial", alpha="~ C(health)")
print(negative_binomial.anova(scatter).round(4).to_string())
print(scatter.model.predict(scatter.inputs(data.iloc[:3]), verbose=0)[:, 0], scatter.predict(data.iloc[:3]).to_numpy())
