"""Latent variables: from a mixture to a variational autoencoder."""

# %% [markdown]
# # 10. Latent variables: from a mixture to a VAE
#
# A *latent variable* $z$ is an unrecorded cause of an outcome. Examples are the group to which a customer belongs,
# and the slant of handwriting. A model with a latent variable specifies the distribution of $z$, and how an outcome
# $y$ depends on $z$. The likelihood of an outcome averages over all values of $z$:
#
# $$ p(y) = \int p(z) \, p(y \mid z) \, dz $$
#
# This lesson shows three cases:
#
# - $z$ has a few values. The integral is a sum, and the model is a mixture.
# - $y$ depends linearly on $z$, and all distributions are Normal. The integral has a formula, and the model is factor
#   analysis.
# - $y$ depends on $z$ through a network. The integral has no formula, so we use a lower bound. The model is a
#   variational autoencoder.

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
# One kind of customers spends around 20 euros and another kind around 60 euros. The kind was not recorded. The
# likelihood of each outcome is a sum over the two kinds, and `maximum_likelihood` maximises the product of these sums.

# %%
kind = rng.random(500) < 0.3
spent = np.where(kind, rng.normal(60, 8, 500), rng.normal(20, 5, 500))
fit = nllfit.maximum_likelihood(nllfit.MixtureFamily("Normal", 2), spent)
print("weights", np.round(fit.distribution.mixture_distribution.probs_parameter(), 2))
print("means  ", np.round(fit.distribution.components_distribution.mean(), 1))

# %% [markdown]
# After the fit, Bayes's rule gives $p(z \mid y)$: the probability of each kind for a customer who spent $y$. No
# approximation is needed, because the sum has only two terms.
#
# ## A latent number, and a bound
#
# Let $z$ be two numbers, each with the prior $\mathrm{Normal}(0, 1)$. A network, the *decoder*, maps $z$ to the
# distribution of $y$, thirteen chemical properties of a wine. In general, the integral over all $z$ then has no
# formula. So a second network, the *encoder*, infers $z$ from $y$, as a distribution $q(z \mid y)$. For every such $q$
#
# $$ \log p(y) \;\ge\; \mathbb{E}_{q}\left[\log p(y \mid z)\right] - \mathrm{KL}\left(q(z \mid y) \,\|\, p(z)\right) $$
#
# The right side is the *evidence lower bound*. Its first term is a mean over draws of $z$ from $q$; one draw is enough
# to estimate it. Its second term is the *Kullback-Leibler divergence* of $q$ from the prior. The divergence measures
# how different two distributions are, and for Normals it has a formula. The head of the latent variable needs two
# arguments:
#
# - `as_tensor="sample"`: the head passes a draw, not the mean, to the next layer. The gradient flows through the draw.
# - `activity_regularizer=nllfit.KLDivergence(prior)`: the head adds a term to the loss. It is the
#   divergence of the head's distribution from the prior, averaged over the rows.

# %%
prior = tfd.MultivariateNormalDiag(tf.zeros(2))


def autoencoder(encoder, decoder):
    """A model whose loss is the negative evidence lower bound. The arguments are lists of layers."""
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
# In this first model, the decoder is linear, so the integral has a formula. The model is *factor analysis*, which
# scikit-learn fits with another algorithm. The true $p(z \mid y)$ is a Normal whose mean is linear in $y$, and a linear
# encoder can represent it. So after training, the bound is nearly equal to the log-likelihood.

# %%
analysis = decomposition.FactorAnalysis(2, svd_method="lapack").fit(wine)
bound = -np.mean(history.history["loss"][-200:])
print(f"evidence lower bound {bound:.2f}, factor analysis {analysis.score(wine):.2f} nats a wine")
assert abs(bound - analysis.score(wine)) < 0.05

# %% [markdown]
# ## A variational autoencoder
#
# In the second model, encoder and decoder have hidden layers, and an outcome is the 64 pixels of a handwritten digit,
# each black or white. Now the integral has no formula. The bound and the function `autoencoder` stay the same. The mean
# of $q(z \mid y)$ is called the *code* of $y$.

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
# Left: codes of test digits, coloured by label. (Labels are not used in training.) Right: images that the decoder makes
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
# Each call of the model draws a new $z$ for each image. `predict_distribution(vae, x, num_samples=100)` calls the model
# 100 times and returns, for each image, the mixture of the 100 distributions. The mean of the mixture is a better
# reconstruction than the mean of one call.
#
# The bound is lower than the log-likelihood. *Importance sampling* estimates the likelihood, with $S$ draws $z_1,
# \ldots, z_S$ from $q(z \mid y)$: $p(y) \approx \frac{1}{S} \sum_s p(y \mid z_s) \, p(z_s) / q(z_s \mid y)$. The
# difference between log-likelihood and bound shows how far $q$ is from the true $p(z \mid y)$.

# %%
reconstruction = nllfit.predict_distribution(vae, test, num_samples=100)
errors = [np.mean((np.asarray(mean) - test) ** 2) for mean in (vae.predict(test, verbose=0), reconstruction.mean())]
print(f"squared error of a pixel: {errors[0]:.3f} from one pass, {errors[1]:.3f} from 100")
q = encode(test)
z = q.sample(100)
log_prob = tf.stack([decode(draw).log_prob(test) for draw in z])
log_weights = log_prob + prior.log_prob(z) - q.log_prob(z)
bound = tf.reduce_mean(log_weights)
log_likelihood = tf.reduce_mean(tf.reduce_logsumexp(log_weights, 0) - np.log(len(z)))
print(f"log-likelihood {log_likelihood:.1f}, evidence lower bound {bound:.1f} nats a digit")
assert bound < log_likelihood

# %% [markdown]
# ## What to choose
#
# | the latent variable | use | the likelihood is |
# | --- | --- | --- |
# | a class | `MixtureFamily`, `heads.Mixture` | exact |
# | numbers, with a linear model | scikit-learn's `FactorAnalysis` | exact |
# | numbers, with a network | a head with `as_tensor="sample"` and `nllfit.KLDivergence` | replaced by a lower bound |
# | classes inside a network | the same, with the family `RelaxedOneHotCategorical` | replaced by a lower bound |
#
# - If the divergence falls to 0 during training, $q$ is the prior for every outcome, and the decoder ignores $z$. To
#   avoid this, let the `weight` of `KLDivergence` be a schedule: the weight then grows from 0 to 1 during training.
# - With a fixed `weight` above 1 (a *beta-VAE*), the codes are simpler, but the images are less sharp.
# - To learn the prior, give `KLDivergence` a family instead of a distribution.
#
# [Latent variables and priors](../latent-variables.md) has a program with a schedule and a learned prior.
# `python -m experiments.vae --data FOLDER` trains a variational autoencoder on MNIST.
