"""Latent variables: from a mixture to a variational autoencoder."""

# %% [markdown]
# # 10. Latent variables: from a mixture to a VAE
#
# A *latent variable* $z$ is an unrecorded cause of an outcome: the kind of a customer, the shape of a written digit. A
# model with a latent variable specifies the distribution of $z$ and how an outcome depends on it. The likelihood of an
# outcome averages over all values of $z$:
#
# $$ p(y) = \int p(z) \, p(y \mid z) \, dz $$
#
# If $z$ has a few values, the integral is a sum, and the model is a mixture. If everything is linear and Normal, the
# integral has a formula, and the model is factor analysis. Otherwise we bound it, and the model is a variational
# autoencoder.

# %%
import numpy as np
import tensorflow as tf
import tf_keras
from matplotlib.figure import Figure
from sklearn import datasets, decomposition
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit import heads

tf_keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## A latent class
#
# Two kinds of customers spend around 20 and around 60 euros, and the kind was not recorded. The sum over the two kinds
# is the likelihood of a mixture, which `maximum_likelihood` maximises.

# %%
kind = rng.random(500) < 0.3
spent = np.where(kind, rng.normal(60, 8, 500), rng.normal(20, 5, 500))
fit = nllfit.maximum_likelihood(nllfit.MixtureFamily("Normal", 2), spent)
print("weights", np.round(fit.distribution.mixture_distribution.probs_parameter(), 2))
print("means  ", np.round(fit.distribution.components_distribution.mean(), 1))

# %% [markdown]
# After the fit, Bayes's rule gives the probability of each kind for a customer, $p(z \mid y)$. This probability is
# exact, because there are only two values of $z$ to sum over.
#
# ## A latent number, and a bound
#
# Let $z$ be two numbers, each with the prior $\mathrm{Normal}(0, 1)$. A network, the *decoder*, maps $z$ to the
# distribution of $y$, thirteen chemical properties of a wine. The integral over all $z$ then has no formula. So a
# second network, the *encoder*, infers $z$ from $y$, as a distribution $q(z \mid y)$. For every such $q$
#
# $$ \log p(y) \;\ge\; \mathbb{E}_{q}\left[\log p(y \mid z)\right] - \mathrm{KL}\left(q(z \mid y) \,\|\, p(z)\right) $$
#
# The right side is the *evidence lower bound*. One draw from $q$ estimates its first term, and the second term has a
# formula. Only two arguments of a head are new:
#
# - `as_tensor="sample"`: the head passes a draw to the next layer instead of the mean. The gradient flows through it.
# - `activity_regularizer=nllfit.KLDivergence(prior)`: the head adds the mean divergence of its rows to the loss.

# %%
prior = tfd.MultivariateNormalDiag(tf.zeros(2))


def autoencoder(encoder, decoder):
    """A model whose loss is the negative evidence lower bound; its layers around the latent variable are given."""
    latent = heads.MultivariateNormalTriL(2, as_tensor="sample", activity_regularizer=nllfit.KLDivergence(prior))
    model = tf_keras.Sequential([*encoder, tf_keras.layers.Dense(latent.params_size()), latent, *decoder])
    model.compile(tf_keras.optimizers.Adam(0.005), nllfit.negative_log_likelihood)
    return model


wine = datasets.load_wine().data
wine = ((wine - wine.mean(0)) / wine.std(0)).astype("float32")
size = wine.shape[1]
linear = autoencoder([tf_keras.layers.Input([size])], [tf_keras.layers.Dense(size), heads.Normal(size, shared="scale")])
history = nllfit.fit(linear, wine, wine, batch_size=len(wine), epochs=4000, verbose=0, seed=0)

# %% [markdown]
# Encoder and decoder are linear here. Then the integral has a formula: the model is *factor analysis*, which
# scikit-learn fits by another algorithm. Here the bound reaches the log-likelihood, because $q$ can be the true
# $p(z \mid y)$.

# %%
analysis = decomposition.FactorAnalysis(2, svd_method="lapack").fit(wine)
bound = -np.mean(history.history["loss"][-200:])
print(f"evidence lower bound {bound:.2f}, factor analysis {analysis.score(wine):.2f} nats a wine")
assert abs(bound - analysis.score(wine)) < 0.05

# %% [markdown]
# ## A variational autoencoder
#
# Let the two networks have hidden layers, and the outcomes be the 64 pixels of handwritten digits, black or white. Now
# the integral has no formula. The bound and the program stay the same.

# %%
digits = datasets.load_digits()
images = (digits.images >= 8).astype("float32")
train, test, labels = images[:1400], images[1400:], digits.target[1400:]
layers = tf_keras.layers
vae = autoencoder(
    [layers.Input((8, 8)), layers.Flatten(), layers.Dense(64, "relu")],
    [layers.Dense(64, "relu"), layers.Dense(64), heads.Bernoulli((8, 8))],
)
history = nllfit.fit(vae, train, train, validation_data=(test, test), epochs=120, batch_size=64, verbose=0, seed=0)
print(f"negative bound of test digits: {np.mean(history.history['val_loss'][-5:]):.1f} nats")
by_pixel = tfd.Independent(tfd.Bernoulli(probs=train.mean(0).clip(0.001, 0.999)), 2)
print(f"independent pixels:            {-np.mean(by_pixel.log_prob(test)):.1f} nats")

# %%
# Left: the codes of test digits; the encoder was not given labels. Right: the decoder's images of a grid of codes
encode = tf_keras.Sequential(vae.layers[:4])
decode = tf_keras.Sequential(vae.layers[4:])
codes = encode(test).mean().numpy()
steps = tfd.Normal(0.0, 1.0).quantile(np.linspace(0.05, 0.95, 12, dtype="float32")).numpy()
grid = np.stack(np.meshgrid(steps, steps[::-1]), -1).reshape(-1, 2)
decoded = decode(grid).mean().numpy().reshape(12, 12, 8, 8)
decoded = np.pad(decoded, [(0, 0), (0, 0), (1, 1), (1, 1)])
figure = Figure(figsize=(11, 4.8), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
points = left.scatter(codes[:, 0], codes[:, 1], 8, labels, cmap="tab10", vmin=-0.5, vmax=9.5)
figure.colorbar(points, ax=left, ticks=range(10), label="digit")
left.set(xlabel="z[0]", ylabel="z[1]")
right.imshow(decoded.transpose(0, 2, 1, 3).reshape(120, 120), cmap="gray_r")
right.set(xticks=[], yticks=[], xlabel="z[0]", ylabel="z[1]")
figure

# %% [markdown]
# ## From the bound to the likelihood
#
# Each pass through the model draws again. `predict_distribution(vae, x, num_samples=100)` makes 100 passes and returns
# the mixture of their distributions, for each image. Its mean is a better reconstruction than that of a single pass.
#
# The bound is not the likelihood. *Importance sampling* estimates the integral, with the encoder's distribution as a
# proposal: $p(y) \approx \frac{1}{S} \sum_s p(y \mid z_s) \, p(z_s) / q(z_s \mid y)$. The gap to the bound shows how
# far $q$ is from the true $p(z \mid y)$.

# %%
reconstruction = nllfit.predict_distribution(vae, test, num_samples=100)
errors = [np.mean((np.asarray(mean) - test) ** 2) for mean in (vae.predict(test, verbose=0), reconstruction.mean())]
print(f"squared error of a pixel: {errors[0]:.3f} from one pass, {errors[1]:.3f} from 100")
q = encode(test)
z = q.sample(300)
log_prob = tf.stack([decode(draw).log_prob(test) for draw in z])
weights = log_prob + prior.log_prob(z) - q.log_prob(z)
likelihood = tf.reduce_mean(tf.reduce_logsumexp(weights, 0) - np.log(len(z)))
print(f"log-likelihood {likelihood:.1f}, evidence lower bound {tf.reduce_mean(weights):.1f} nats a digit")
assert tf.reduce_mean(weights) < likelihood

# %% [markdown]
# ## What to choose
#
# | the latent variable | use | the likelihood is |
# | --- | --- | --- |
# | a class | `MixtureFamily`, `heads.Mixture` | exact |
# | numbers, everything linear | factor analysis, or the linear model above | exact, or its bound |
# | numbers, a network | a head with `as_tensor="sample"` and `nllfit.KLDivergence` | bounded |
# | classes inside a network | the same with the family `RelaxedOneHotCategorical` | bounded |
#
# If the divergence falls to 0, the decoder ignores $z$: the encoder then says nothing about $y$. Let `weight` grow from
# 0 to 1 by a schedule. With a fixed `weight` above 1 (a *beta-VAE*) the codes are simpler and the images less sharp. A
# prior may also be learned: give a family. [How to](../how-to.md#latent-variables-and-priors) has programs, and `python
# -m experiments.vae` runs this lesson on MNIST.
