"""A linear variational autoencoder reaches the maximum likelihood of factor analysis."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from sklearn import datasets, decomposition
from tensorflow_probability import distributions as tfd

import nllfit
from tests.keras_versions import KITS

STEPS = 900


def table(load):
    x = load().data
    x = np.delete(x, [4, 5], 1) if load is datasets.load_diabetes else x  # without two nearly collinear columns
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def trained(kit, x, k, **scale):
    """A linear encoder to a Normal vector of size `k`, and a linear decoder to independent Normals of the columns."""
    kit.keras.utils.set_random_seed(0)
    layers, size = kit.keras.layers, kit.heads.MultivariateNormalTriL.params_size(k)
    divergence = nllfit.KLDivergence(tfd.MultivariateNormalDiag(tf.zeros(k)))
    latent = kit.heads.MultivariateNormalTriL(k, as_tensor="sample", activity_regularizer=divergence)
    head = kit.heads.Normal(x.shape[1], **scale)
    model = kit.keras.Sequential(
        [layers.Input(x.shape[1:]), layers.Dense(size), latent, layers.Dense(x.shape[1]), head]
    )
    rate = kit.keras.optimizers.schedules.CosineDecay(0.05, STEPS)
    model.compile(kit.keras.optimizers.Adam(rate), kit.loss)
    nllfit.fit(model, x, x, batch_size=len(x), epochs=STEPS, verbose=0, seed=0, compile="graph")
    return model


def bound_and_likelihood(kit, model, x):
    """The evidence lower bound and the log-likelihood per row, in closed form for this linear Normal model."""
    q = kit.distribution(model.layers[1](model.layers[0](x)))
    mean, cov = (np.asarray(part, np.float64) for part in (q.mean(), q.covariance()))
    kernel, bias = (np.asarray(weight, np.float64) for weight in model.layers[2].get_weights())
    scale = kit.distribution(model.layers[3](mean.astype(np.float32) @ model.layers[2].get_weights()[0])).stddev()
    scale = np.asarray(scale[0], np.float64)
    log_prob = scipy.stats.norm(mean @ kernel + bias, scale).logpdf(x).sum(1)
    spread = np.einsum("ki,nkl,li,i->n", kernel, cov, kernel, 1 / scale**2) / 2
    k = mean.shape[1]
    divergence = 0.5 * (np.trace(cov, axis1=1, axis2=2) + np.sum(mean**2, 1) - k - np.linalg.slogdet(cov)[1])
    marginal = scipy.stats.multivariate_normal(bias, kernel.T @ kernel + np.diag(scale**2))
    return np.mean(log_prob - spread - divergence), np.mean(marginal.logpdf(x))


TABLES = {"diabetes": (datasets.load_diabetes, 2), "iris": (datasets.load_iris, 1)}


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "kit"), [("diabetes", KITS[1]), ("iris", KITS[0])], ids=TABLES)
def test_a_linear_vae_matches_factor_analysis(name, kit):
    load, k = TABLES[name]
    x = table(load)
    best = decomposition.FactorAnalysis(k, tol=1e-4, max_iter=1000, svd_method="lapack").fit(x).score(x)
    bound, likelihood = bound_and_likelihood(kit, trained(kit, x, k, shared="scale"), x)
    assert bound <= likelihood <= best + 1e-4
    assert bound > best - 0.02


@pytest.mark.thorough
def test_a_linear_vae_with_one_scale_matches_probabilistic_pca():
    x = table(datasets.load_wine)
    pca = decomposition.PCA(2).fit(x)
    kit = KITS[1]
    model = trained(kit, x, 2, scale=float(np.sqrt(pca.noise_variance_)))
    bound, likelihood = bound_and_likelihood(kit, model, x)
    assert bound <= likelihood <= pca.score(x) + 1e-3  # scikit-learn's PCA divides by n - 1, so it misses the maximum
    assert bound > pca.score(x) - 0.02
