"""How sure are the weights? Four methods compared: the best weights, Laplace, variational layers, an ensemble."""

# %% [markdown]
# # 11. How sure are the weights?
#
# Training gives one set of weights, but other sets of weights explain the data nearly as well. Far from the data, the
# predictions of these sets differ. Three methods average over several sets of weights: *Laplace's approximation*,
# *variational layers* and the *ensemble* of lesson 4. This lesson compares the methods on data with a gap.

# %%
import numpy as np
import tf_keras
from matplotlib.figure import Figure

import nllfit
from nllfit import heads, layers

rng = np.random.default_rng(0)
NOISE, N = 0.1, 100


def outcomes(x):
    """A wave with noise."""
    return np.sin(7 * x) + NOISE * rng.normal(size=x.shape)


x = np.concatenate([rng.uniform(-1, -0.4, [N // 2, 1]), rng.uniform(0.4, 1, [N // 2, 1])])
y = outcomes(x)

# %% [markdown]
# ## The most probable weights
#
# Give each weight the prior $\text{Normal}(0, s)$. The *posterior* is the distribution of the weights after seeing the
# data. It is proportional to likelihood times prior. So, for $n$ rows, the most probable weights $w$ minimise
#
# $$ -\frac{1}{n} \sum_i \log p(y_i \mid x_i, w) + \sum_j \frac{w_j^2}{2 n s^2} $$
#
# This is the loss of a network with the regularizer `L2(1 / (2 n s**2))`. So a regularizer is a prior.
# `nllfit.equivalence.PRIORS` lists the regularizers and their priors.

# %%
PRIOR = 1.0


def build():
    """A network with random weights, a prior for each weight, and a known scale of the noise."""

    def dense(units, activation=None):
        penalty = tf_keras.regularizers.L2(1 / (2 * N * PRIOR**2))
        return tf_keras.layers.Dense(units, activation, kernel_regularizer=penalty, bias_regularizer=penalty)

    model = tf_keras.Sequential([dense(30, "tanh"), dense(30, "tanh"), dense(1), heads.Normal(scale=NOISE)])
    model.compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
    return model


tf_keras.utils.set_random_seed(1)
network = build()
history = nllfit.fit(network, x, y, epochs=1000, batch_size=N, seed=0, verbose=0)
print(f"loss {history.history['loss'][-1]:.3f}, of which the prior is {float(sum(network.losses)):.3f}")

# %% [markdown]
# ## Laplace's approximation
#
# Near the most probable weights $\hat w$, the logarithm of the posterior is nearly quadratic in $w$. So the posterior
# is nearly Normal. The inverse of its covariance is a sum of two matrices: the Fisher information $F$ of the data, and
# the inverse of the prior's covariance, $I / s^2$ with the identity matrix $I$:
#
# $$ w \sim \text{Normal}\left(\hat w, (F + I / s^2)^{-1}\right) $$
#
# `nllfit.laplace` computes this posterior after the training, in one pass over the data. It also computes the
# *evidence*: the probability of the data under the model, averaged over the prior of the weights. The evidence compares
# priors without held-out rows: the best prior has the highest evidence.

# %%
posterior = nllfit.laplace(network, x, y, layers="all", prior_scale=PRIOR)
print(f"{len(posterior.mean)} weights; log evidence {posterior.log_evidence:.1f} nats")
for scale in (0.1, 1.0, 10.0):
    evidence = nllfit.laplace(network, x, y, layers="all", prior_scale=scale).log_evidence
    print(f"prior Normal(0, {scale:4}): log evidence {evidence:7.1f} nats")

# %% [markdown]
# ## Variational layers
#
# `layers.DenseVariational` has a distribution $q$ of weights instead of fixed weights, and training brings $q$ close to
# the posterior. The loss is the negative evidence lower bound (ELBO, lesson 10) divided by $n$: the mean negative
# log-likelihood under drawn weights, plus $1/n$ times the divergence of $q$ from the prior. The argument `kl_weight` is
# this factor $1/n$. With `kl_weight="1/n"`, `nllfit.fit` inserts the number of rows.

# %%
tf_keras.utils.set_random_seed(2)
variational = tf_keras.Sequential(
    [
        layers.DenseVariational(30, "tanh", kl_weight="1/n", prior=PRIOR, seed=0),
        layers.DenseVariational(30, "tanh", kl_weight="1/n", prior=PRIOR, seed=1),
        layers.DenseVariational(1, kl_weight="1/n", prior=PRIOR, seed=2),
        heads.Normal(scale=NOISE),
    ]
)
variational.compile(tf_keras.optimizers.Adam(0.01), loss=nllfit.negative_log_likelihood)
history = nllfit.fit(variational, x, y, epochs=3000, batch_size=N, seed=0, verbose=0)
print(f"ELBO {-N * np.mean(history.history['loss'][-100:]):.1f} nats, a lower bound of the log evidence")

# %% [markdown]
# The variational network draws new weights in each call. `predict_distribution` with `num_samples=100` calls the model
# 100 times for each batch of rows and mixes the 100 distributions.
#
# ## An ensemble
#
# The ensemble has five networks. Each network begins at different random weights, so it may end near another maximum of
# the posterior:

# %%
ensemble = nllfit.Ensemble.fit(build, 5, x, y, epochs=1000, batch_size=N, seed=0)

# %% [markdown]
# ## Comparison

# %%
grid = np.linspace(-1.5, 1.5, 200)[:, None].astype("float32")
methods = {
    "most probable weights": lambda rows: nllfit.predict_distribution(network, rows),
    "Laplace": lambda rows: nllfit.predict_distribution(posterior, rows),
    "variational": lambda rows: nllfit.predict_distribution(variational, rows, num_samples=100),
    "ensemble": lambda rows: nllfit.predict_distribution(ensemble, rows),
}
predicted = {name: method(grid) for name, method in methods.items()}

# %%
# Means and two standard deviations. With the most probable weights, the band is as narrow in the gap as at the data
figure = Figure(figsize=(11, 6.4), layout="constrained")
axes = figure.subplots(2, 2, sharex=True, sharey=True)
for ax, (name, distribution) in zip(axes.flat, predicted.items(), strict=True):
    mean, deviation = np.ravel(distribution.mean()), np.ravel(distribution.stddev())
    ax.fill_between(grid[:, 0], mean - 2 * deviation, mean + 2 * deviation, alpha=0.3)
    ax.plot(grid[:, 0], mean, label="mean")
    ax.plot(grid[:, 0], np.sin(7 * grid[:, 0]), "k:", label="truth")
    ax.plot(x, y, ".", color="0.3", markersize=3)
    ax.set(title=name, ylim=(-3, 3))
figure.axes[0].legend(fontsize="small")
figure

# %%
places = {"at the data": np.concatenate([rng.uniform(-1, -0.4, [500, 1]), rng.uniform(0.4, 1, [500, 1])])}
places["in the gap"] = rng.uniform(-0.4, 0.4, [1000, 1])
places = {place: (rows.astype("float32"), outcomes(rows).astype("float32")) for place, rows in places.items()}
scores = {}
for name, method in methods.items():
    losses = [nllfit.negative_log_likelihood(y_new, method(x_new)) for x_new, y_new in places.values()]
    scores[name] = [float(np.mean(loss)) for loss in losses]
    print(f"{name:22} NLL at the data {scores[name][0]:6.2f}, in the gap {scores[name][1]:7.2f}")
assert scores["Laplace"][1] < scores["ensemble"][1] < scores["most probable weights"][1]
assert max(score[0] for score in scores.values()) < 0

# %% [markdown]
# At the data, the most probable weights and all three methods predict well. In the gap they differ:
#
# - The most probable weights are confident and wrong.
# - The band of the ensemble is a little wider than the band with the most probable weights, but still too narrow.
# - The band of Laplace's approximation is wide enough: its width is about the size of the errors.
# - The band of the variational network is too narrow, a known weakness of independent Normal weights (Foong et al., *On
#   the expressiveness of approximate inference in Bayesian neural networks*, 2020). With such weights and one hidden
#   ReLU layer, a prediction that is certain on both sides of a gap cannot be much less certain in the gap. With more
#   layers, as here, some distributions of the weights make the prediction less certain in the gap, but training may not
#   find them. The ELBO of the variational network is also hundreds of nats below the log evidence that Laplace's
#   approximation gives.
#
# | method | cost | use it for | limits |
# | --- | --- | --- | --- |
# | `nllfit.laplace` | a pass over the data | up to 2000 weights | describes one maximum, and linearises the network |
# | `DenseVariational` | longer training | small layers | with independent weights, the band in the gap is too narrow |
# | `nllfit.Ensemble` | five trainings | networks of any size | the networks may agree and still be wrong |
#
# By default, the weights of a variational layer are independent. `posterior="MultivariateNormalTriL"` gives the weights
# of a small layer a full covariance.
#
# `nllfit.evaluate` and the calibration of lesson 4 accept all of these models; give the variational network as
# `nllfit.Ensemble([variational], num_samples=100)`. Where there are no data, no method can find the truth. The methods
# can only show that the prediction is uncertain.
