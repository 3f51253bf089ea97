"""When outcomes are not seen: for some patients, we know only that they lived longer than they were observed."""

# %% [markdown]
# # 5. When outcomes are not seen: survival
#
# How long do patients live after a heart transplant? Some are still alive when the study ends. Their survival time is
# *censored*: we know only that it is longer than the time of observation. If you leave these patients out, or treat
# their last day of observation as the day of death, the answer is wrong. The likelihood can use them correctly.

# %%
import numpy as np
import pandas as pd
import statsmodels.api as sm
import tf_keras
from matplotlib.figure import Figure
from scipy import stats

import nllfit
from nllfit import heads, plots

# %% [markdown]
# ## The data
#
# The data describe 69 patients who had a heart transplant at Stanford between 1968 and 1974. For each patient, the data
# contain the number of days under observation, whether death was observed on the last day, and the age at the
# transplant.

# %%
table = sm.datasets.heart.load_pandas().data
time, observed = table["survival"].to_numpy(), table["censors"].to_numpy() == 1
age = table["age"].to_numpy()
print(f"{len(time)} patients, {np.sum(~observed)} of them alive when last heard of")

# %%
# A line for each patient, from the transplant to death (a cross) or to the last day of observation (an arrow)
order, ranks = np.argsort(time), np.arange(len(time))
seen = observed[order]
figure = Figure(figsize=(8, 5), layout="constrained")
ax = figure.subplots()
ax.hlines(ranks, 0, time[order], color=np.where(seen, "0.7", "tab:blue"), linewidth=1.5)
ax.plot(time[order][seen], ranks[seen], "x", color="tab:red", markersize=5, label="death seen")
ax.plot(time[order][~seen], ranks[~seen], ">", color="tab:blue", markersize=5, label="alive when last heard of")
ax.set(xlabel="days after the transplant", ylabel="patients", yticks=[])
ax.legend(loc="lower right")
figure

# %% [markdown]
# The lines with arrows are long, because patients who live long are more likely to be alive at the end of the study. So
# the patients whose death was observed lived for a shorter time, on average, than all patients.
#
# ## Two wrong fits, and a curve without assumptions
#
# The *Kaplan-Meier curve* $S(t)$ estimates the share of patients who live longer than $t$ days. It is a product with
# one factor for each day with deaths, up to day $t$. The factor is the share of the patients *at risk* who survived
# that day. A patient is at risk until death or until the end of observation. With $d_i$ deaths among $n_i$ patients at
# risk at time $t_i$,
#
# $$ S(t) = P(T > t) = \prod_{t_i \le t} \left( 1 - \frac{d_i}{n_i} \right) $$
#
# The curve assumes nothing about the distribution of the times. We compare it with two wrong fits of a LogNormal: one
# to the observed deaths only, and one to all patients as if the last day of observation were the day of death.

# %%
wrong = {
    "only deaths": nllfit.maximum_likelihood("LogNormal", time[observed]),
    "last day as death": nllfit.maximum_likelihood("LogNormal", time),
}
days = np.linspace(1.0, time.max(), 400)


# %%
# The Kaplan-Meier curve and the two wrong curves, which fall far below it
def draw(ax, curves):
    """The Kaplan-Meier curve, with other curves over it."""
    plots.survival_curve(ax, time, observed)
    for name, distribution in curves.items():
        ax.plot(days, nllfit.survival(distribution, days), label=name)
    ax.set(xlabel="days after the transplant", ylabel="share alive", ylim=(0, 1))
    ax.legend(fontsize="small")


figure = Figure(figsize=(8, 4), layout="constrained")
draw(figure.subplots(), {name: estimate.distribution for name, estimate in wrong.items()})
figure

# %% [markdown]
# Both wrong curves underestimate survival.
#
# ## The likelihood of the observations
#
# The likelihood is the probability of what was observed. A death on day $t$ contributes the density $p(t)$. A patient
# who was alive on day $t$ contributes the probability of living longer, $S(t) = 1 - F(t)$, where $F$ is the
# distribution function. So the likelihood is
#
# $$ L = \prod_{\text{death seen}} p(t_i) \cdot \prod_{\text{alive}} S(t_i) $$
#
# `nllfit.right_censored` represents each outcome by a pair `[lower, upper]`: `[t, t]` for an observed death, and
# `[t, inf]` for "later than t". `nllfit.Censored` is the family of such pairs.

# %%
y = nllfit.right_censored(time, observed)
print(y[observed][0], y[~observed][0])
estimate = nllfit.maximum_likelihood(nllfit.Censored("LogNormal"), y)
print(estimate.summary())

# %% [markdown]
# SciPy can also fit one distribution to a censored sample, and finds the same parameters.

# %%
data = stats.CensoredData.right_censored(time, ~observed)
scale, _, median = stats.lognorm.fit(data, floc=0)
print(f"SciPy: loc {np.log(median):.4f}, scale {scale:.4f}")
np.testing.assert_allclose([np.log(median), scale], list(estimate.parameters.values()), rtol=1e-4)

# %% [markdown]
# Which family is best? We rank four families by AIC: twice the negative log-likelihood, plus twice the number of
# parameters.

# %%
families = ["Exponential", "Weibull", "LogNormal", "LogLogistic"]
ranked = nllfit.compare(y, [nllfit.Censored(name) for name in families])
print(ranked.summary())

# %%
# The Kaplan-Meier curve and three families. The Exponential has the lowest likelihood: it falls too late and too far
figure = Figure(figsize=(8, 4), layout="constrained")
chosen = [ranked.estimates[i] for i in (0, 2, -1)]
draw(figure.subplots(), {estimate.family.family.name: estimate.distribution for estimate in chosen})
figure

# %% [markdown]
# The Exponential assumes the same risk on every day. But many patients died in the first weeks, and the survivors of
# these weeks lived long. Families with a long tail can describe such survival times.

# %%
print(f"median of the censored fit: {float(nllfit.quantile(estimate.distribution, 0.5)):.0f} days")
for name, fit in wrong.items():
    print(f"{name:27}: {float(nllfit.quantile(fit.distribution, 0.5)):.0f} days")

# %% [markdown]
# ## Does age matter?
#
# A dense layer with a censored head is a regression of the times on age. The layer computes the `loc` of the LogNormal
# from the age. `loc` is the mean of $\log T$. All patients share one `scale`:
#
# $$ \log T = b + w \cdot \mathrm{age} + \mathrm{scale} \cdot z $$
#
# with $z$ from a standard Normal. Here, $\mathrm{age}$ is the number of decades above 45 years. So $e^b$ is the median
# survival time at age 45, and each further decade of age multiplies the median by $e^w$.

# %%
x = pd.DataFrame({"decades": (age - 45) / 10})
head = heads.Censored("LogNormal", shared="scale")
model = tf_keras.Sequential([tf_keras.layers.Dense(head.params_size(), dtype="float64"), head])
model.compile(loss=nllfit.negative_log_likelihood)
everyone = np.ones(len(y))
nllfit.fit_lbfgs(model, x, y, sample_weight=everyone, verbose=0)
coefficients = nllfit.standard_errors(model, x, y)
print(coefficients.summary())

# %% [markdown]
# Is the model with age significantly better than the model without age, in which $w = 0$? We compare the two models in
# two ways. First, the likelihood-ratio test: if age has no effect, twice the gain in log-likelihood has a chi-squared
# distribution with one degree of freedom. Second, cross-validation: each fifth of the patients is held out in turn and
# predicted by a fit to the others.

# %%
gain = coefficients.log_likelihood - estimate.log_likelihood
print(f"age gains {gain:.2f} nats, p = {stats.chi2(1).sf(2 * gain):.3f}")

folds = np.random.default_rng(0).permutation(len(y)) % 5
surprise = {"without age": np.zeros(len(y)), "with age": np.zeros(len(y))}
for fold in range(5):
    test, weights = folds == fold, np.float64(folds != fold)
    without_age = nllfit.maximum_likelihood(nllfit.Censored("LogNormal"), y, weights=weights)
    surprise["without age"][test] = -without_age.distribution.log_prob(y[test])
    nllfit.fit_lbfgs(model, x, y, sample_weight=weights, verbose=0)
    surprise["with age"][test] = nllfit.negative_log_likelihood(y, model(x.to_numpy()))[test]
nllfit.fit_lbfgs(model, x, y, sample_weight=everyone, verbose=0)
for name, rows in surprise.items():
    print(f"{name:13} {np.mean(rows):.3f} nats per held-out patient")

# %% [markdown]
# The test hints at an effect of age, but in the cross-validation the predictions with age are not better. This is no
# contradiction: with 69 patients the coefficient is only two standard errors from 0. For new patients, the error of the
# coefficient harms the predictions about as much as the age improves them.

# %%
# Days lived (logarithmic scale) against age: the predicted median falls with age, in a wide 50% band
grid = np.linspace(age.min(), age.max(), 100)
predicted = nllfit.predict_distribution(model, (grid[:, None] - 45) / 10)
low, high = (np.ravel(end) for end in nllfit.interval(predicted, 0.5))
figure = Figure(figsize=(8, 4.2), layout="constrained")
ax = figure.subplots()
ax.fill_between(grid, low, high, alpha=0.25, label="central 50%")
ax.plot(grid, np.ravel(nllfit.quantile(predicted, 0.5)), label="median")
ax.plot(age[observed], time[observed], "x", color="tab:red", markersize=5, label="death seen")
ax.plot(age[~observed], time[~observed], "^", color="tab:blue", markersize=5, label="alive when last heard of")
ax.set(xlabel="age at the transplant", ylabel="days", yscale="log")
ax.legend(fontsize="small", loc="lower left")
figure

# %% [markdown]
# Older patients seem to die sooner. But the band is wide, so the predicted median says little about one patient.
#
# ## Summary
#
# 1. A censored outcome contains information: it multiplies the likelihood by the probability of an outcome beyond the
#    censoring time.
# 2. Dropping censored rows, or treating them as events, biases the answer. More data do not reduce this bias.
# 3. A pair `[lower, upper]` can also represent an event between two visits, `[3, 6]`, or a measurement below a
#    detection limit, `[-inf, 0.1]`.
# 4. A censored head is like any other head: it can follow any network.
#
# ## Questions to try
#
# - The likelihood is correct only if censoring does not depend on the remaining time to live. Does this hold if the
#   study ends on a fixed day? Does it hold if patients leave the study because they feel ill?
# - Let the network also compute `scale`: leave out `shared`. Is the NLL of held-out patients smaller?
# - Compute the NLL of the observed deaths under the correct fit and under the fit to deaths only. Why does the wrong
#   fit have the smaller NLL?
