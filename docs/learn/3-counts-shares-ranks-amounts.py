"""Counts, shares, ranks and amounts: a head for each kind of outcome, and tables of coefficients with errors."""

# %% [markdown]
# # 3. Counts, shares, ranks, amounts
#
# To choose a family of distributions, ask which values an outcome can have. A count cannot be -1 or 2.5. A share is
# between 0 and 1. Ranks have an order but no unit. There are families for each of these kinds of outcomes.
#
# A dense layer followed by a head is a regression. Its weights are the coefficients in a statistician's table. This
# lesson computes coefficients from real data and compares them with the coefficients from statsmodels.

# %%
import numpy as np
import statsmodels.api as sm
import tf_keras
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from statsmodels.miscmodels.ordinal_model import OrderedModel

import nllfit
from nllfit import heads, plots


def regression(head, x, y, use_bias=True):
    """Returns a dense layer followed by a head, fitted by maximum likelihood."""
    dense = tf_keras.layers.Dense(head.params_size(), use_bias=use_bias, input_shape=x.shape[1:], dtype="float64")
    model = tf_keras.Sequential([dense, head])
    model.compile(loss=nllfit.negative_log_likelihood)
    nllfit.fit_lbfgs(model, x, y)
    return model


def print_both(names, ours, theirs):
    """Prints two columns of coefficients, which must agree."""
    print(f"{'':16} {'nllfit':>10} {'statsmodels':>12}")
    for name, a, b in zip(names, ours, theirs, strict=True):
        print(f"{name:16} {a:10.4f} {b:12.4f}")
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


# %% [markdown]
# ## Counts, with an exposure
#
# The data are cases of breast cancer among women in 301 counties. A county with twice as many women has about twice
# as many cases. A number to which the expected count is proportional, here the number of women, is called an
# *exposure*. Is the number of cases *per woman* the same in large and small counties? We assume that the number of
# cases has a *Poisson* distribution. Its rate is the expected number of cases. A Poisson head takes the logarithm of
# the rate as its input. So we add the logarithm of the exposure to the output of the dense layer:
#
# $$ \log \mathrm{rate} = \log \mathrm{population} + b + w \, x $$
#
# where $x$ is the size of the county: the logarithm of its population, standardised. The weights of the dense layer
# are $w$ and $b$. If $w$ is 0, the number of cases per woman does not depend on the size.

# %%
table = sm.datasets.cancer.load_pandas().data
cases, population = table["cancer"].to_numpy(float), table["population"].to_numpy(float)
log_population = np.log(population)[:, None]
size = (log_population - log_population.mean()) / log_population.std()

inputs, log_exposure = tf_keras.Input([1], dtype="float64"), tf_keras.Input([1], dtype="float64")
dense = tf_keras.layers.Dense(1, dtype="float64", name="size")
log_rate = tf_keras.layers.Add(dtype="float64")([dense(inputs), log_exposure])
model = tf_keras.Model([inputs, log_exposure], heads.Poisson()(log_rate))
model.compile(loss=nllfit.negative_log_likelihood)
data = [size, log_population], cases[:, None]
dense.set_weights([np.zeros([1, 1]), np.log([cases.sum() / population.sum()])])  # start at the overall rate
nllfit.fit_lbfgs(model, *data)

kernel, bias = dense.get_weights()
theirs = sm.GLM(cases, sm.add_constant(size), sm.families.Poisson(), exposure=population).fit()
print_both(["constant", "size of county"], [bias[0], kernel[0, 0]], theirs.params)

# %% [markdown]
# How exact are these numbers? The curvature of the log-likelihood at its maximum gives their standard
# errors.

# %%
print(nllfit.standard_errors(model, *data).summary())

# %% [markdown]
# `kernel` is the coefficient of the size of a county. Its interval contains 0: the data show no significant difference
# between large and small counties.
#
# ## Overdispersed counts
#
# The variance of a Poisson is equal to its mean. Most real counts vary more, which is called overdispersion. A
# *negative binomial* has one more parameter, `total_count`, and its variance is larger than its mean. We model the
# number of doctor visits in a year, for 4000 people of the RAND experiment. The inputs describe their health and their
# insurance. In our model, `total_count` has the same value in all rows. Such a parameter is called *shared*, and is a
# weight of the head.

# %%
table = sm.datasets.randhie.load_pandas().data.sample(4000, random_state=0)
visits = table["mdvis"].to_numpy(float)[:, None]
columns = ["lncoins", "physlm", "disea", "hlthf"]
x = table[columns].to_numpy(float)
x = (x - x.mean(0)) / x.std(0)

choices = {"Poisson": heads.Poisson(), "NegativeBinomial": heads.NegativeBinomial(shared="total_count")}
fitted = {name: regression(head, x[:3000], visits[:3000]) for name, head in choices.items()}
scores = {name: nllfit.evaluate(model, x[3000:], visits[3000:]) for name, model in fitted.items()}
for name, score in scores.items():
    print(f"{name:17} NLL of 1000 people held out: {score.nll:.3f}")
assert scores["NegativeBinomial"].nll < scores["Poisson"].nll

# %%
theirs = sm.NegativeBinomial(visits[:3000, 0], sm.add_constant(x[:3000])).fit(disp=False)
print_both(columns, fitted["NegativeBinomial"].layers[0].get_weights()[0][:, 0], theirs.params[1:5])

# %%
# The share of people for each number of visits: observed, and predicted by the Poisson and the negative binomial
counts = np.arange(16.0)
figure = Figure(figsize=(7, 3.4), layout="constrained")
ax = figure.subplots()
ax.bar(counts, [np.mean(visits[3000:] == count) for count in counts], color="lightgray", label="observed")
for name, model in fitted.items():
    distribution = nllfit.predict_distribution(model, x[3000:])
    ax.plot(counts, [np.mean(np.exp(distribution.log_prob(np.full([1000, 1], c)))) for c in counts], "o-", label=name)
ax.set(xlabel="visits in a year", ylabel="share of people")
ax.legend()
figure

# %% [markdown]
# ## Shares
#
# A *Beta* has outcomes between 0 and 1. The data are from Engel (1857). The outcome is the share of income that a
# household spends on food, for 235 households.

# %%
table = sm.datasets.engel.load_pandas().data
share = (table["foodexp"] / table["income"]).to_numpy()[:, None]
log_income = np.log(table["income"].to_numpy())[:, None]
center = log_income.mean()
model = regression(heads.Beta(), log_income - center, share)

# %%
# The share of food against income: points, and the median and 90% interval of a Beta head
grid = np.linspace(log_income.min(), log_income.max(), 100)[:, None]
distribution = nllfit.predict_distribution(model, grid - center)
low, high = (np.ravel(end) for end in nllfit.interval(distribution, 0.9))
figure = Figure(figsize=(7, 3.6), layout="constrained")
ax = figure.subplots()
ax.plot(np.exp(log_income), share, ".", color="0.4", markersize=4, label="households")
ax.fill_between(np.exp(grid[:, 0]), low, high, alpha=0.3, label="90% interval")
ax.plot(np.exp(grid[:, 0]), np.ravel(nllfit.quantile(distribution, 0.5)), label="median")
ax.set(xlabel="income (Belgian francs)", ylabel="share of food", ylim=(0, 1), xscale="log")
ax.legend()
figure

# %% [markdown]
# The share falls as income rises: Engel's law. The intervals stay below 1, because a Beta has no larger outcomes.
#
# ## Ranks
#
# In 1996, American voters placed themselves on a scale of seven steps, from strong Democrat to strong Republican. The
# steps have an order but no unit. An *ordered logistic* cuts the line of real numbers into seven pieces, one for each
# step. A weighted sum of the inputs is the position of a voter on the line. Random noise is added to this position.
# The piece that contains the position plus the noise is the voter's step. The *cutpoints* between the pieces are the
# same for all voters.

# %%
table = sm.datasets.anes96.load_pandas().data
party = table["PID"].to_numpy().astype(int)
columns = ["selfLR", "age", "educ", "income"]
x = table[columns].to_numpy(float)
x = (x - x.mean(0)) / x.std(0)

head = heads.DistributionHead("OrderedLogistic", (), num_classes=7, shared="cutpoints")
model = regression(head, x, party, use_bias=False)
theirs = OrderedModel(party, x, distr="logit").fit(method="bfgs", disp=False)
print_both(columns, model.layers[0].get_weights()[0][:, 0], theirs.params[:4])

# %% [markdown]
# ## Amounts
#
# An amount is positive, and large amounts vary more than small ones. Several families have these properties.
# `nllfit.compare` ranks families by AIC: twice the negative log-likelihood, plus twice the number of parameters. The
# family with the lowest AIC is first. The sample has one outcome for each of 569 breast masses: the mean area of the
# cell nuclei in the image of the mass.

# %%
area = load_breast_cancer().data[:, 3]
comparison = nllfit.compare(area, ["InverseGamma", "LogNormal", "Gamma", "Normal"])
print(comparison.summary())

# %%
# Four fitted densities over the histogram of areas: the Normal misses both the peak and the tail
figure = Figure(figsize=(7, 3.6), layout="constrained")
ax = figure.subplots()
for family in ["InverseGamma", "LogNormal", "Gamma", "Normal"]:
    plots.fitted_density(ax, nllfit.maximum_likelihood(family, area), area)
ax.set_xlabel("mean area of the nuclei of a mass")
figure

# %% [markdown]
# ## Summary
#
# 1. The values that an outcome can have determine the family.
# 2. Add the logarithm of an exposure to the output of the dense layer.
# 3. A parameter that is the same for all rows is called shared: give its name as `shared=`.
# 4. A dense layer followed by a head is a regression. `nllfit.standard_errors` computes its standard errors.
