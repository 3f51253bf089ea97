"""Why squared error? From five coin flips to a network that knows its own noise."""

# %% [markdown]
# # 1. Why squared error?
#
# A regression is trained with squared error. A classifier is trained with cross-entropy. Why these two, and not
# others? This lesson finds the answer by starting with five numbers, and one question: *which explanation makes what
# we saw least surprising?* You need to know what a probability is, and what a derivative is. No more.

# %%
import numpy as np
import tensorflow_probability as tfp
import tf_keras
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import nllfit
from nllfit import heads, plots

tfd = tfp.distributions

# %% [markdown]
# ## Five outcomes
#
# Somebody tries something five times. It fails, fails, fails, works, and fails: 0, 0, 0, 1, 0. We believe that each
# try works with the same probability $\theta$, and that the tries do not influence each other. A distribution that
# says "1 with probability $\theta$, else 0" is called a *Bernoulli* distribution.
#
# If $\theta$ were known, how probable is exactly this sample? The tries are independent, so probabilities multiply:
#
# $$ L(\theta) = (1 - \theta)(1 - \theta)(1 - \theta)\,\theta\,(1 - \theta) = \theta (1 - \theta)^4 $$
#
# Read as a function of $\theta$, with the sample fixed, this is the **likelihood**.

# %%
sample = [0, 0, 0, 1, 0]
for theta in (0.1, 0.2, 0.5):
    print(f"theta = {theta}: likelihood {nllfit.likelihood(tfd.Bernoulli(probs=theta), sample):.4f}")

# %% [markdown]
# A fair coin, $\theta = 0.5$, explains the sample worse than $\theta = 0.2$. So draw the whole curve.

# %%
# The likelihood of theta for the sample 0, 0, 0, 1, 0: a curve with its maximum at 0.2
theta = np.linspace(0.0, 1.0, 401)
figure = Figure(figsize=(7, 3.6), layout="constrained")
plots.likelihood_curve(figure.subplots(), tfd.Bernoulli(probs=theta), sample, theta, name="theta", estimate=0.2)
figure

# %% [markdown]
# The likelihood is not a distribution of $\theta$. The area under the curve is 1/30, not 1. It answers "how probable
# is this sample, if $\theta$ is such?", and not "how probable is this $\theta$?"
#
# ## The maximum
#
# The curve is highest at 0.2, which is 1/5: the share of ones. That is no accident. With $k$ ones among $n$ tries the
# likelihood is $\theta^k (1 - \theta)^{n - k}$, and it is highest where its derivative is 0, at $\theta = k / n$. To
# choose the parameter with the greatest likelihood is called **maximum likelihood**.

# %%
estimate = nllfit.maximum_likelihood("Bernoulli", sample)
print(estimate.parameters)

# %% [markdown]
# ## The logarithm
#
# A product of many small numbers is too small for a computer. Two thousand tries have a likelihood that is stored as
# 0, and at 0 there is nothing left to climb. The logarithm turns the product into a sum:
#
# $$ \log L(\theta) = \sum_i \log p(y_i; \theta) $$
#
# The logarithm rises wherever its argument rises. So the maximum stays where it was.

# %%
many = np.tile(sample, 400)
print("likelihood:    ", float(nllfit.likelihood(tfd.Bernoulli(probs=0.2), many)))
print("log-likelihood:", float(nllfit.log_likelihood(tfd.Bernoulli(probs=0.2), many)))

# %%
# The likelihood and its logarithm, one above the other: both are highest at the same theta
inside = theta[1:-1]
figure = Figure(figsize=(7, 4.6), layout="constrained")
upper, lower = figure.subplots(2, sharex=True)
upper.plot(inside, nllfit.likelihood(tfd.Bernoulli(probs=inside), sample))
lower.plot(inside, nllfit.log_likelihood(tfd.Bernoulli(probs=inside), sample), color="tab:green")
upper.set(ylabel="likelihood")
lower.set(ylabel="log-likelihood (nats)", xlabel="theta", ylim=(-15, 0))
for ax in (upper, lower):
    ax.axvline(0.2, linestyle="--", color="tab:red")
figure

# %% [markdown]
# One more habit: programs that train networks make a *loss* small. So we change the sign. The **negative
# log-likelihood** is the loss of everything that follows, in *nats*, the unit of a natural logarithm:
#
# $$ -\log L(\theta) = -\sum_i \log p(y_i; \theta) $$
#
# For a Bernoulli, one outcome has $-y \log \theta - (1 - y) \log(1 - \theta)$. You may have met it under another name.
# It is **binary cross-entropy**.
#
# ## Numbers in place of yes and no
#
# Now the outcomes are real numbers: -1, 0, 1. The *Normal* distribution has a centre $\mu$ and a width $\sigma$, so the
# likelihood is a landscape over two numbers.

# %%
# The likelihood of mu and sigma for the sample -1, 0, 1: a hill with its top at mu = 0, sigma = 0.816
numbers = [-1.0, 0.0, 1.0]
mu, sigma = np.linspace(-2.0, 2.0, 241), np.linspace(0.3, 2.4, 221)
figure = Figure(figsize=(7, 4.2), layout="constrained")
top = (0.0, np.sqrt(2 / 3))
surface = tfd.Normal(mu[None, :], sigma[:, None])
plots.likelihood_surface(figure.subplots(), surface, numbers, mu, sigma, names=("mu", "sigma"), estimate=top)
figure

# %%
estimate = nllfit.maximum_likelihood("Normal", numbers)
print(estimate.parameters, "and sqrt(2/3) is", np.sqrt(2 / 3))

# %% [markdown]
# The top is at $\mu = 0$, the mean, and at $\sigma = \sqrt{2/3}$, the root of the mean squared distance from the mean.
# The squares come from the formula of the Normal density. Take the negative logarithm of it:
#
# $$ -\log p(y) = \frac{(y - \mu)^2}{2 \sigma^2} + \log \sigma + \frac{1}{2} \log 2 \pi $$
#
# Hold $\sigma$ at 1. Then only the first term depends on $\mu$, and it is half the **squared error**. That is the
# answer to the question of the title:
#
# > Who minimises squared error maximises the likelihood of a Normal whose width is the same everywhere.
#
# ## A network in place of the number
#
# So far one $\theta$ served all outcomes. Let it depend on an input $x$ instead: a network takes $x$ and gives
# $\theta(x)$. Nothing else changes. The likelihood is still a product over the outcomes, and the loss is still the
# negative logarithm of it. The parameters that we climb in are now the network's weights.
#
# ### A classifier
#
# Here are small pictures, 8 by 8 pixels, of handwritten threes and eights. (Photographs of cats and dogs are the same
# problem with more pixels.) The outcome is 1 for an eight. The last layer gives one number $u$, any real number, and
# the *head* turns it into a Bernoulli with $\theta = 1 / (1 + e^{-u})$.

# %%
digits = load_digits()
chosen = np.isin(digits.target, (3, 8))
x = digits.data[chosen].astype("float32") / 16
y = (digits.target[chosen] == 8).astype("float32")[:, None]
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:250], order[250:]

tf_keras.utils.set_random_seed(0)
classifier = tf_keras.Sequential(
    [
        tf_keras.layers.Dense(16, "relu"),
        tf_keras.layers.Dense(heads.Bernoulli.params_size()),
        heads.Bernoulli(),
    ]
)
classifier.compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
nllfit.fit(classifier, x[train], y[train], epochs=30, seed=0, verbose=0)
print(nllfit.evaluate(classifier, x[test], y[test]).summary())

# %%
# Six digits of the test, from the surest eight to the surest three, each with its predicted probability
probability = nllfit.predict_distribution(classifier, x[test]).mean().numpy()[:, 0]
ranked = np.argsort(-probability)
figure = Figure(figsize=(9, 2.1), layout="constrained")
middle = np.argsort(np.abs(probability - 0.5))[:2]
for ax, i in zip(figure.subplots(1, 6), [*ranked[:2], *middle, *ranked[-2:]], strict=True):
    ax.imshow(x[test][i].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"eight: {probability[i]:.3f}\nit is {'an eight' if y[test][i, 0] else 'a three'}", fontsize=9)
    ax.axis("off")
figure

# %% [markdown]
# Is this really the cross-entropy that Keras has? Compare the two on the same predictions.

# %%
logits = classifier.layers[1](classifier.layers[0](x[test]))
keras = float(tf_keras.losses.BinaryCrossentropy(from_logits=True)(y[test], logits))
ours = float(np.mean(nllfit.negative_log_likelihood(y[test], classifier(x[test]))))
print(f"Keras's cross-entropy {keras:.6f}, negative log-likelihood {ours:.6f}")
assert abs(keras - ours) < 1e-5

# %% [markdown]
# ### A noisy line
#
# Now a real outcome: a straight line with noise. And we are free in what the network gives. Three choices:
#
# - the network gives $\mu(x)$, and $\sigma$ is held at 1. This is least squares.
# - the network gives $\mu(x)$, and one $\sigma$ is learned for all.
# - the network gives both $\mu(x)$ and $\sigma(x)$.

# %%
rng = np.random.default_rng(1)
x = rng.uniform(-1, 1, [300, 1])
y = 2 * x - 1 + 0.4 * np.exp(1.3 * x) * rng.normal(size=x.shape)  # the noise grows with x

forms = {"sigma held at 1": {"scale": 1.0}, "one sigma": {"shared": ("scale",)}, "sigma(x)": {}}
models = {}
for name, form in forms.items():
    units = heads.Normal.params_size(**form)
    models[name] = tf_keras.Sequential([tf_keras.layers.Dense(units, dtype="float64"), heads.Normal(**form)])
    models[name].compile(loss=nllfit.negative_log_likelihood)
    nllfit.fit_lbfgs(models[name], x, y)

# %%
# Data, line and band of the three models: only the last band widens where the noise does
figure = Figure(figsize=(11, 3.8), layout="constrained")
for ax, (name, model) in zip(figure.subplots(1, 3, sharey=True), models.items(), strict=True):
    plots.predictive_band(ax, x, y, model(x))
    nll = np.mean(nllfit.negative_log_likelihood(y, model(x)))
    ax.set_title(f"{name}: {nll:.3f} nats a row", fontsize="medium")
    ax.label_outer()
figure

# %% [markdown]
# With $\sigma$ held at 1 we get a good line and a band that means nothing. With one $\sigma$ the band is right on
# average, too wide on the left and too narrow on the right. With $\sigma(x)$ the band follows the noise, and the
# negative log-likelihood is the lowest.

# %%
design = np.hstack([x, np.ones_like(x)])
(slope, intercept), *_ = np.linalg.lstsq(design, y[:, 0], rcond=None)
print(f"least squares: {slope:.4f} x {intercept:+.4f}")
for name, model in models.items():
    low, high = model(np.array([[0.0], [1.0]])).mean().numpy()[:, 0]
    print(f"{name:15}: {high - low:.4f} x {low:+.4f}")
    assert name == "sigma(x)" or abs(high - low - slope) < 1e-4

# %% [markdown]
# The first two lines are that of least squares. The third is another line: it trusts the quiet points on the left
# more, and here it is nearer to the truth, $2x - 1$.
#
# ## What to take with you
#
# 1. The likelihood is the probability of what was seen, as a function of the parameters.
# 2. To maximise it is to minimise the sum of $-\log p(y)$.
# 3. For a Bernoulli that is cross-entropy. For a Normal of constant width it is squared error. For others it is others.
# 4. A network does not change this. It only makes the parameters depend on the input.
#
# **So to choose a loss is to choose a distribution.** The [next lesson](2-a-loss-is-a-distribution.md) makes that
# choice on real data, five times.
#
# ## Questions to try
#
# - The sample is 1, 1, 1. Where is the maximum? Is that a sensible belief after three tries?
# - Why is the area under the likelihood not 1?
# - What happens to the best $\sigma$ of the sample -1, 0, 1 if we add an outcome at 10? And to the best $\mu$?
# - Which distribution makes the absolute error $|y - \mu|$ the right loss? (`heads.Laplace` tells.)
