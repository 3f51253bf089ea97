"""Why squared error? From five coin flips to a network that knows its own noise."""

# %% [markdown]
# # 1. Why squared error?
#
# A *regression* predicts a number, and is trained with squared error: make $(y - \text{prediction})^2$ small. A
# *classifier* predicts which of several classes a thing belongs to, and is trained with cross-entropy. Why these two
# losses, of all possible ones? This lesson starts with five numbers and one question: *which explanation makes the
# observations least surprising?* You need to know what a probability and a derivative are. The text explains the few
# lines of Python about layers and optimizers.

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
# Somebody tries something five times. It fails, fails, fails, works, and fails: 0, 0, 0, 1, 0. We believe that each try
# works with the same probability $\theta$, and that the tries do not influence each other. A distribution that says "1
# with probability $\theta$, else 0" is called a *Bernoulli* distribution. One formula covers both cases, because a
# number to the power of 0 is 1:
#
# $$ p(y; \theta) = \theta^y (1 - \theta)^{1 - y} $$
#
# Read $p(y; \theta)$ as "the probability of the outcome $y$, if the parameter is $\theta$". How probable is our sample?
# The tries are independent, so their probabilities multiply:
#
# $$ L(\theta) = (1 - \theta)^3 \, \theta \, (1 - \theta) = \theta (1 - \theta)^4 $$
#
# This probability, as a function of $\theta$ for the given sample, is called the **likelihood**.

# %%
sample = [0, 0, 0, 1, 0]
for theta in (0.1, 0.2, 0.5):
    print(f"theta = {theta}: likelihood {nllfit.likelihood(tfd.Bernoulli(probs=theta), sample):.4f}")

# %% [markdown]
# With $\theta = 0.5$, as for a fair coin, the sample is less probable than with $\theta = 0.2$. The figure shows the
# likelihood of every $\theta$.

# %%
# The likelihood of theta for the sample 0, 0, 0, 1, 0: a curve with its maximum at 0.2
theta = np.linspace(0.0, 1.0, 401)
figure = Figure(figsize=(7, 3.6), layout="constrained")
plots.likelihood_curve(figure.subplots(), tfd.Bernoulli(probs=theta), sample, theta, name="theta", estimate=0.2)
figure

# %% [markdown]
# The likelihood is not a distribution of $\theta$. The area under the curve of a distribution is 1, but the area
# under the likelihood is $\int_0^1 \theta (1 - \theta)^4 \, d\theta = \frac{1}{5} - \frac{1}{6} = \frac{1}{30}$
# (substitute $u = 1 - \theta$). The curve answers the question "how probable is this sample for a given $\theta$?" and
# not "how probable is this $\theta$?"
#
# ## The maximum
#
# The curve is highest at 0.2, which is 1/5: the share of ones. The same is true for every sample. With $k$ ones among
# $n$ tries the likelihood is $\theta^k (1 - \theta)^{n - k}$, and its derivative, by the product rule, is
#
# $$ \theta^{k - 1} (1 - \theta)^{n - k - 1} \left( k (1 - \theta) - (n - k)\,\theta \right) $$
#
# The bracket is $k - n \theta$.
#
# If the sample has zeros and ones, the likelihood is 0 at $\theta = 0$ and at $\theta = 1$. Between these ends the
# derivative is 0 only at $\theta = k / n$, so the maximum is there. (If the sample has only ones, the likelihood rises
# up to $\theta = 1$, which is also $k / n$.) Choosing the parameter with the largest likelihood is called **maximum
# likelihood**.

# %%
estimate = nllfit.maximum_likelihood("Bernoulli", sample)
print(estimate.parameters)

# %% [markdown]
# ## The logarithm
#
# A product of many small numbers is too small for a computer. The likelihood of 2000 tries like these is rounded to 0
# for every parameter, so the computer cannot compare parameters. The logarithm (here always the natural one) turns
# the product into a sum:
#
# $$ \log L(\theta) = \sum_i \log p(y_i; \theta) $$
#
# The logarithm is an increasing function, so $L$ and $\log L$ have their maximum at the same $\theta$.

# %%
many = np.tile(sample, 400)  # our five outcomes, 400 times
print("likelihood:    ", float(nllfit.likelihood(tfd.Bernoulli(probs=0.2), many)))
print("log-likelihood:", float(nllfit.log_likelihood(tfd.Bernoulli(probs=0.2), many)))

# %%
# The likelihood and its logarithm, one above the other: both are highest at the same theta
inside = theta[1:-1]  # without 0 and 1, where the likelihood is 0 and has no logarithm
figure = Figure(figsize=(7, 4.6), layout="constrained")
upper, lower = figure.subplots(2, sharex=True)
upper.plot(inside, nllfit.likelihood(tfd.Bernoulli(probs=inside), sample))
lower.plot(inside, nllfit.log_likelihood(tfd.Bernoulli(probs=inside), sample), color="tab:green")
upper.set(ylabel="likelihood")
lower.set(ylabel="log-likelihood", xlabel="theta", ylim=(-15, 0))
for ax in (upper, lower):
    ax.axvline(0.2, linestyle="--", color="tab:red")
figure

# %% [markdown]
# Now we change the sign, because $-\log p$ measures *surprise*. A certain outcome ($p = 1$) has a surprise of 0, an
# improbable outcome has a large surprise, and the surprises of independent outcomes add up. Their sum is the **negative
# log-likelihood**:
#
# $$ -\log L(\theta) = -\sum_i \log p(y_i; \theta) $$
#
# So the sample is least surprising for the parameter with the largest likelihood. The unit of surprise is the *nat*:
# an outcome of probability $1 / e$ has a surprise of one nat.
#
# Programs that train networks minimise a number, the *loss*. From here on, the loss is the negative log-likelihood. The
# programs minimise the mean of the surprises instead of their sum. The mean and the sum have their minimum at the same
# parameters.
#
# For a Bernoulli, take the negative logarithm of $\theta^y (1 - \theta)^{1 - y}$:
#
# $$ -\log p(y; \theta) = -y \log \theta - (1 - y) \log(1 - \theta) $$
#
# Keras, PyTorch and textbooks call this formula **binary cross-entropy**.
#
# ## Real numbers instead of yes and no
#
# Now the outcomes are real numbers. There are so many real numbers that each has probability 0, so a distribution of
# real numbers has a *density* $p(y)$: not the probability of $y$, but the probability near $y$ per unit of length. The
# density is high where outcomes are likely, and the area under its curve is 1. The density of the *Normal* distribution
# is a bell with a centre $\mu$ and a width $\sigma$:
#
# $$ p(y; \mu, \sigma) = \frac{1}{\sigma \sqrt{2 \pi}} \, e^{-\frac{(y - \mu)^2}{2 \sigma^2}} $$

# %%
# Two bells, one twice as wide and half as high: at a distance of sigma from the centre, 61% of the height is left
y = np.linspace(-4.0, 4.0, 401)
figure = Figure(figsize=(7, 3.2), layout="constrained")
ax = figure.subplots()
for width, color in ((0.8, "tab:blue"), (1.6, "tab:orange")):
    ax.plot(y, tfd.Normal(0.0, width).prob(y.astype("float32")), color=color, label=f"mu = 0, sigma = {width}")
    height = float(tfd.Normal(0.0, width).prob(width))
    ax.annotate(
        "", (0, height), (width, height), arrowprops={"arrowstyle": "<->", "color": color, "shrinkA": 0, "shrinkB": 0}
    )
    ax.text(width / 2, height, "sigma", color=color, ha="center", va="bottom")
ax.set(xlabel="y", ylabel="density", ylim=(0, None))
ax.legend()
figure

# %% [markdown]
# The density at the outcome replaces the probability, and nothing else changes. Let the sample be -1, 0, 1. The
# likelihood is the product of three heights of the bell. It is a function of two numbers, $\mu$ and $\sigma$:
#
# $$ L(\mu, \sigma) = p(-1; \mu, \sigma)\, p(0; \mu, \sigma)\, p(1; \mu, \sigma) $$
#
# The figure shows the likelihood as a map, with $\mu$ from left to right and $\sigma$ from bottom to top. Brighter is
# more likely.

# %%
# A map of the likelihood of mu and sigma for the sample -1, 0, 1: one hill with its top at mu = 0, sigma = 0.816
numbers = [-1.0, 0.0, 1.0]
mu, sigma = np.linspace(-2.0, 2.0, 241), np.linspace(0.3, 2.4, 221)
figure = Figure(figsize=(7, 4.2), layout="constrained")
top = (0.0, np.sqrt(2 / 3))
surface = tfd.Normal(mu[None, :], sigma[:, None])  # a Normal for each pair: 221 rows of 241
plots.likelihood_surface(figure.subplots(), surface, numbers, mu, sigma, names=("mu", "sigma"), estimate=top)
figure

# %%
estimate = nllfit.maximum_likelihood("Normal", numbers)
print(estimate.parameters, "and sqrt(2/3) is", np.sqrt(2 / 3))

# %% [markdown]
# Why is the maximum at the mean of the sample and at $\sigma = \sqrt{2/3}$? Take the negative logarithm of the bell:
#
# $$ -\log p(y; \mu, \sigma) = \frac{(y - \mu)^2}{2 \sigma^2} + \log \sigma + \frac{1}{2} \log 2 \pi $$
#
# For our sample the sum of the squares, $(-1 - \mu)^2 + \mu^2 + (1 - \mu)^2$, is $2 + 3 \mu^2$. So the loss is
#
# $$ -\log L(\mu, \sigma) = \frac{2 + 3 \mu^2}{2 \sigma^2} + 3 \log \sigma + \frac{3}{2} \log 2 \pi $$
#
# For every $\sigma$, the loss is smallest at $\mu = 0$, the mean of the sample. At $\mu = 0$, the derivative of the
# loss with respect to $\sigma$ is $-2 / \sigma^3 + 3 / \sigma$. It is 0 at $\sigma^2 = 2 / 3$, which is the mean of the
# squared distances from the mean. (Some books divide the sum of the squared distances by $n - 1$, here 2, and not by
# $n$. Their $\sigma^2$ is right on average over many samples, but it does not maximise the likelihood.)
#
# Now fix $\sigma$ at 1. Then only the term $(y - \mu)^2 / 2$ of the loss depends on $\mu$. This term is half the
# **squared error**. This answers the question in the title:
#
# > Minimising squared error means maximising the likelihood of a Normal whose width is the same for every outcome.
#
# ## A network instead of the number
#
# So far all outcomes had the same parameter $\theta$ (for a Normal, the same $\mu$ and $\sigma$). Now each outcome has
# an input $x$, such as a picture or a measurement, and $\theta$ depends on $x$. A *network* is a function with many
# adjustable numbers, called *weights*. It computes $\theta(x)$. The likelihood is still a product over the outcomes,
# and the loss is still its negative logarithm. Training searches for the weights with the smallest loss.
#
# The last layer of a network computes arbitrary real numbers, but many parameters have bounds. So the numbers go
# through a *head*, a function that turns them into a distribution with valid parameters. In this lesson, only the
# head comes from the library. Everything else is plain Keras.
#
# ### A classifier
#
# Here are small pictures, 8 by 8 pixels, of handwritten threes and eights. (Photographs of cats and dogs are the same
# problem with more pixels.) The outcome is 1 for an eight and 0 for a three. The network gives one number $u$, called a
# *logit*, and the head maps it to the range from 0 to 1, by $\theta = 1 / (1 + e^{-u})$: a very negative $u$ gives
# nearly 0, $u = 0$ gives 1/2, and a large $u$ gives nearly 1.

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
        tf_keras.layers.Dense(16, "relu"),  # 16 weighted sums of the pixels; negative sums become 0
        tf_keras.layers.Dense(heads.Bernoulli.params_size()),  # one weighted sum of these 16 numbers: u
        heads.Bernoulli(),
    ]
)
classifier.compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)  # Adam chooses the steps
nllfit.fit(classifier, x[train], y[train], epochs=30, seed=0, verbose=0)  # 30 passes over the pictures

# %% [markdown]
# If you call the model with pictures, it returns a distribution for each picture. How good are these distributions
# for pictures that the model was not trained on? The next lines print the loss, which is the mean surprise at the
# true classes, and the share of pictures for which the more probable class is the true one.

# %%
result = nllfit.evaluate(classifier, x[test], y[test])
print(f"{len(test)} pictures: {result.nll:.4f} nats each, {100 * result.accuracy:.0f}% right")

# %% [markdown]
# The mean of a Bernoulli is $0 \cdot (1 - \theta) + 1 \cdot \theta = \theta$. So `mean()` of the returned distribution
# is the predicted probability of an eight.

# %%
# Test pictures: two with the largest probability of an eight, two with a probability near 1/2, two with the smallest
probability = nllfit.predict_distribution(classifier, x[test]).mean().numpy()[:, 0]
ranked = np.argsort(-probability)
unsure = [i for i in ranked if i in np.argsort(np.abs(probability - 0.5))[:2]]
figure = Figure(figsize=(9, 2.1), layout="constrained")
for ax, i in zip(figure.subplots(1, 6), [*ranked[:2], *unsure, *ranked[-2:]], strict=True):
    ax.imshow(x[test][i].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"eight: {probability[i]:.3f}\nit is {'an eight' if y[test][i, 0] else 'a three'}", fontsize=9)
    ax.axis("off")
figure

# %% [markdown]
# Is our loss really the cross-entropy of Keras? We compute both for the same $u$, which Keras calls logits.

# %%
logits = classifier.layers[1](classifier.layers[0](x[test]))  # u, the input of the head
keras = float(tf_keras.losses.BinaryCrossentropy(from_logits=True)(y[test], logits))
ours = float(np.mean(nllfit.negative_log_likelihood(y[test], classifier(x[test]))))
print(f"Keras's cross-entropy {keras:.6f}, negative log-likelihood {ours:.6f}")
assert abs(keras - ours) < 1e-5

# %% [markdown]
# ### A noisy line
#
# Now the outcome is a real number. We simulate a straight line, $2 x - 1$, with noise that grows with $x$. The smallest
# network is sufficient: a weighted sum $w x + b$ for each number that the head takes. We compare three models:
#
# - the network computes $\mu(x)$, and $\sigma$ is fixed at 1. So the loss is squared error, and the line with the
#   smallest squared error is called the line of *least squares*;
# - the network computes $\mu(x)$, and one $\sigma$ is learned for all inputs;
# - the network computes both $\mu(x)$ and $\sigma(x)$. The head makes $\sigma$ positive: $\sigma = \log(1 + e^v)$,
#   where $v$ is the second number from the network.

# %%
rng = np.random.default_rng(1)


def outcomes(x):
    """The line, and noise around it."""
    return 2 * x - 1 + 0.4 * np.exp(1.3 * x) * rng.normal(size=x.shape)


x = rng.uniform(-1, 1, [300, 1])
y = outcomes(x)

forms = {
    "sigma held at 1": {"scale": 1.0},  # the library calls sigma the scale, as TFP does
    "one sigma": {"shared": ("scale",)},  # the same for all rows
    "sigma(x)": {},  # the network computes both parameters
}
models = {}
for name, form in forms.items():
    units = heads.Normal.params_size(**form)  # 1, 1 and 2
    models[name] = tf_keras.Sequential([tf_keras.layers.Dense(units, dtype="float64"), heads.Normal(**form)])
    models[name].compile(loss=nllfit.negative_log_likelihood)
    nllfit.fit_lbfgs(models[name], x, y)  # finds the optimum of a small network

# %%
# Data, line and bands of the three models: only the bands of sigma(x) are wider where the noise is larger
fresh = rng.uniform(-1, 1, [1000, 1])  # rows that no model has seen
fresh_y = outcomes(fresh)
surprise = {name: np.mean(nllfit.negative_log_likelihood(fresh_y, model(fresh))) for name, model in models.items()}
figure = Figure(figsize=(11, 3.8), layout="constrained")
for ax, (name, model) in zip(figure.subplots(1, 3, sharey=True), models.items(), strict=True):
    plots.predictive_band(ax, x, y, model(x))
    ax.set_title(f"{name}: {surprise[name]:.3f} nats a fresh row", fontsize="medium")
    ax.label_outer()
figure

# %% [markdown]
# In each panel, the line is the centre of the predicted bell. The dark band contains the central 50% of the bell. The
# light band contains the central 90%: it ends 1.64 $\sigma$ above and below the line. The legend shows the share of
# outcomes in each band.
#
# With $\sigma$ held at 1 the line is good, but the bands have no meaning. With one $\sigma$ the bands are right on
# average, but too wide on the left and too narrow on the right. With $\sigma(x)$ the bands follow the noise, and the
# mean surprise at a thousand new outcomes is smallest.
#
# Do the lines also differ? We compare them with the least-squares line that NumPy computes.

# %%
assert min(surprise, key=surprise.get) == "sigma(x)"
design = np.hstack([x, np.ones_like(x)])
(slope, intercept), *_ = np.linalg.lstsq(design, y[:, 0], rcond=None)
print(f"{'the truth':15}: 2.0000 x -1.0000")
print(f"{'least squares':15}: {slope:.4f} x {intercept:+.4f}")
lines = {}
for name, model in models.items():
    low, high = model(np.array([[0.0], [1.0]])).mean().numpy()[:, 0]
    lines[name] = np.array([high - low, low])
    print(f"{name:15}: {high - low:.4f} x {low:+.4f}")
    assert name == "sigma(x)" or abs(high - low - slope) < 1e-4
assert np.abs(lines["sigma(x)"] - [2, -1]).max() < np.abs(lines["one sigma"] - [2, -1]).max()

# %% [markdown]
# The models "sigma held at 1" and "one sigma" find the line of least squares. The line of "sigma(x)" differs, because
# the loss of this model divides each squared distance by $2 \sigma(x)^2$. So the points on the left, where $\sigma$ is
# small, count more than the noisy points on the right. In this sample the line of "sigma(x)" is a little nearer to the
# truth.
#
# Squared error treats all outcomes as equally noisy, so it misleads if the noise depends on $x$. It also misleads in
# two other cases. If a few outcomes are far from the others, their squared errors dominate the sum. If the outcomes are
# counts or shares, their distribution is not a bell.
#
# ## Summary
#
# 1. The likelihood is the probability (for real numbers the density) of the sample, as a function of the parameters.
# 2. The parameter with the largest likelihood is the one with the smallest sum of surprises, $-\log p(y)$.
# 3. For a Bernoulli this sum is cross-entropy. For a Normal of constant width it is squared error, up to constants.
#    Every other distribution has its own loss.
# 4. With a network, the parameters depend on the input. The loss is still the negative log-likelihood.
#
# **So choosing a loss means choosing a distribution.** The [next lesson](2-a-loss-is-a-distribution.md) compares five
# such choices on real data.
#
# ## Questions to try
#
# - The sample is 1, 1, 1. Where is the maximum? Would you believe this $\theta$ after three tries?
# - Why does the area under the likelihood not have to be 1?
# - What happens to the best $\mu$ and to the best $\sigma$ of the sample -1, 0, 1 if we add an outcome at 10?
# - The *Laplace* distribution has the density $e^{-|y - \mu| / s} / (2 s)$. With $s$ fixed at 1, which loss is its
#   negative logarithm?
