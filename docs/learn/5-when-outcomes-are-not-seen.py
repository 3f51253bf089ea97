"""When outcomes are not seen: survival times of which some are known only to be longer than the study."""

# %% [markdown]
# # 5. When outcomes are not seen: survival
#
# How long do patients live after a heart transplant? When the study ends some are alive, and nobody knows how long they
# will be. Such a time is *censored*: all that is known of it is that it is longer than what was watched. Leave those
# patients out, or take the last day seen for the day of death, and the answer is wrong. The likelihood has a place for
# them.

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
# 69 patients who had a heart transplanted at Stanford between 1968 and 1974: the days that each was followed, whether
# death was seen on the last of them, and the age at the transplant.

# %%
table = sm.datasets.heart.load_pandas().data
time, observed = table["survival"].to_numpy(), table["censors"].to_numpy() == 1
age = table["age"].to_numpy()
print(f"{len(time)} patients, {np.sum(~observed)} of them alive when last heard of")

# %%
# A line for each patient, from the transplant to death (a cross) or to the last news (an arrow onwards)
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
# The arrows are long lines: who lives long is more likely to be alive at the end of the study. So the patients whose
# death was seen are no fair sample of all.
#
# ## Two wrong ways, and one that assumes nothing
#
# Kaplan and Meier's curve uses a censored patient as long as he was watched, and then no more. On each day of a death
# it asks what share of those *still at risk* survived it. With $d_i$ deaths among $n_i$ at risk at time $t_i$,
#
# $$ S(t) = P(T > t) = \prod_{t_i \le t} \left( 1 - \frac{d_i}{n_i} \right) $$
#
# Nothing is assumed of the distribution. Beside it, two curves of a LogNormal fitted wrongly: to the deaths alone, and
# to all, as if the last day seen were the day of death.

# %%
wrong = {
    "deaths alone": nllfit.maximum_likelihood("LogNormal", time[observed]),
    "last day as death": nllfit.maximum_likelihood("LogNormal", time),
}
days = np.linspace(1.0, time.max(), 400)


# %%
# Kaplan and Meier's curve and the two wrong ones, which fall far below it
def draw(ax, curves):
    """Kaplan and Meier's curve, with others over it."""
    plots.survival_curve(ax, time, observed)
    for name, distribution in curves.items():
        ax.plot(days, nllfit.survival(distribution, days), label=name)
    ax.set(xlabel="days after the transplant", ylabel="share alive", ylim=(0, 1))
    ax.legend(fontsize="small")


figure = Figure(figsize=(8, 4), layout="constrained")
draw(figure.subplots(), {name: estimate.distribution for name, estimate in wrong.items()})
figure

# %% [markdown]
# Both make the patients' lives shorter than they were.
#
# ## The likelihood of what was seen
#
# Ask what lesson 1 asked: how probable is what we saw? Of a death on day $t$ it is the density there. Of a patient who
# was alive on day $t$ it is the probability to live longer, $S(t) = 1 - F(t)$. So
#
# $$ L = \prod_{\text{death seen}} p(t_i) \cdot \prod_{\text{alive}} S(t_i) $$
#
# That is all. `nllfit.right_censored` writes each outcome as what is known of it, a pair `[lower, upper]`: `[t, t]` for
# a death seen, and `[t, inf]` for "later than t". `nllfit.Censored` is the family that scores such pairs.

# %%
y = nllfit.right_censored(time, observed)
print(y[observed][0], y[~observed][0])
estimate = nllfit.maximum_likelihood(nllfit.Censored("LogNormal"), y)
print(estimate.summary())

# %% [markdown]
# SciPy knows censored samples of a single distribution, too, and says the same.

# %%
data = stats.CensoredData.right_censored(time, ~observed)
scale, _, median = stats.lognorm.fit(data, floc=0)
print(f"SciPy: loc {np.log(median):.4f}, scale {scale:.4f}")
np.testing.assert_allclose([np.log(median), scale], list(estimate.parameters.values()), rtol=1e-4)

# %% [markdown]
# Which family? Rank them by AIC, twice the negative log-likelihood plus twice the number of parameters.

# %%
families = ["Exponential", "Weibull", "LogNormal", "LogLogistic"]
ranked = nllfit.compare(y, [nllfit.Censored(name) for name in families])
print(ranked.summary())

# %%
# Kaplan and Meier's curve with the best, the third and the last family: the Exponential falls too late and too far
figure = Figure(figsize=(8, 4), layout="constrained")
chosen = [ranked.estimates[i] for i in (0, 2, -1)]
draw(figure.subplots(), {estimate.family.family.name: estimate.distribution for estimate in chosen})
figure

# %% [markdown]
# The Exponential believes that the danger is the same on every day. It was not: many died in the first weeks, and who
# outlived them lived long. The families with a long tail say so.

# %%
print(f"median of the censored fit: {float(nllfit.quantile(estimate.distribution, 0.5)):.0f} days")
for name, fit in wrong.items():
    print(f"{name:27}: {float(nllfit.quantile(fit.distribution, 0.5)):.0f} days")

# %% [markdown]
# ## Does age matter?
#
# A censored head makes a regression of it. A dense layer gives the `loc` of the LogNormal, the mean of $\log T$, for
# each age, and one `scale` is shared by all:
#
# $$ \log T = b + w \cdot \mathrm{age} + \mathrm{scale} \cdot z $$
#
# Age is in decades from 45, so $e^b$ is the median at 45 years, and $e^w$ the factor that ten years more put on it.

# %%
x = pd.DataFrame({"decades": (age - 45) / 10})
head = heads.Censored("LogNormal", shared="scale")
model = tf_keras.Sequential([tf_keras.layers.Dense(head.params_size(), dtype="float64"), head])
model.compile(loss=nllfit.negative_log_likelihood)


def solve(weights=None):
    """Takes the model to the maximum of the likelihood, of all patients or of those with a weight of 1."""
    nllfit.initialize(model, x.to_numpy(), y, weights)
    nllfit.fit_lbfgs(model, x, y, sample_weight=weights)


solve()
coefficients = nllfit.standard_errors(model, x, y)
print(coefficients.summary())

# %% [markdown]
# Is the model with age better than the family alone by more than chance? The family alone is the case $w = 0$. If age
# did not matter, twice the log-likelihood that it gains would be a chi-squared number of one degree of freedom. And the
# test that needs no theory: predict patients that were held out of the fit, a fifth of them in turn.

# %%
gain = coefficients.log_likelihood - estimate.log_likelihood
print(f"age gains {gain:.2f} nats, p = {stats.chi2(1).sf(2 * gain):.3f}")

folds = np.random.default_rng(0).permutation(len(y)) % 5
surprise = {"family alone": np.zeros(len(y)), "with age": np.zeros(len(y))}
for fold in range(5):
    test, weights = folds == fold, np.float64(folds != fold)
    alone = nllfit.maximum_likelihood(nllfit.Censored("LogNormal"), y, weights=weights)
    surprise["family alone"][test] = -alone.distribution.log_prob(y[test])
    solve(weights)
    surprise["with age"][test] = nllfit.negative_log_likelihood(y, model(x.to_numpy()))[test]
solve()
for name, rows in surprise.items():
    print(f"{name:13} {np.mean(rows):.3f} nats a patient held out")

# %% [markdown]
# The two disagree, and both are right. On 69 patients the coefficient of age is two standard errors from 0: a hint. But
# a coefficient that is so unsure costs about as much as it gains where it is used for others.

# %%
# Days lived against age on a logarithmic scale: the predicted median falls with age, in a wide 50% band
grid = np.linspace(age.min(), age.max(), 100)
predicted = nllfit.predict_distribution(model, (grid[:, None] - 45) / 10)
low, high = (np.ravel(end) for end in nllfit.interval(predicted, 0.5))
figure = Figure(figsize=(8, 4.2), layout="constrained")
ax = figure.subplots()
ax.fill_between(grid, low, high, alpha=0.25, label="central 50%")
ax.plot(grid, np.ravel(nllfit.quantile(predicted, 0.5)), label="median")
ax.plot(age[observed], time[observed], "x", color="tab:red", markersize=5, label="death seen")
ax.plot(age[~observed], time[~observed], "^", color="tab:blue", markersize=5, label="alive: the arrow points on")
ax.set(xlabel="age at the transplant", ylabel="days", yscale="log")
ax.legend(fontsize="small", loc="lower left")
figure

# %% [markdown]
# The older, the shorter, it seems: but look at the band before you tell a patient a number.
#
# ## What to take with you
#
# 1. An outcome that was not seen still says something: put its probability into the likelihood, and not a number in
#    its place.
# 2. Dropping censored rows, and taking them for events, both bias the answer, and more data do not help.
# 3. The same pair `[lower, upper]` holds times between two visits, `[3, 6]`, and what is under the limit of a
#    detector, `[-inf, 0.1]`.
# 4. A censored head is a head like others: any network may stand before it.
#
# ## Questions to try
#
# - Censoring must tell nothing of the time to come beyond "later". Why is that so where the study just ends, and why
#   not where patients leave because they feel ill?
# - Give the network both `loc` and `scale`: leave out `shared`. Is it better on patients held out?
# - Measure the deaths alone by their NLL under the two models. Why is the wrong model the better there?
