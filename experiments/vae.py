"""How much does a latent variable improve the likelihood? A variational autoencoder of black and white digits.

    python -m experiments.vae                 # scikit-learn's digits, 8 x 8
    python -m experiments.vae --data FOLDER   # the four IDX files of MNIST or Fashion-MNIST

Expected on the digits: if the latent variable has two numbers, the evidence lower bound is about -20.4 nats per test
image, and the log-likelihood is -20.0. With `--latent 8` they are -18.4 and -17.5. A model of independent pixels has a
log-likelihood of -25.2. The run folder contains the model and figures: the latent plane, reconstructions and samples.
"""

import math

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from sklearn import datasets
from tensorflow_probability import distributions as tfd

import nllfit
from experiments import common, labelled_data
from nllfit import plots

DRAWS = 20  # the number of draws of the latent variable in one call of the decoder


def load(arguments):
    """Returns training and test images `[n, height, width]` of zeros and ones, and the labels of the test images."""
    if arguments.data is None:
        bunch = datasets.load_digits()
        (x, _), (x_test, y_test), _ = labelled_data.split(
            bunch.images / 16, bunch.target, bunch.target_names, arguments.seed
        )
    else:
        (x, _), (x_test, y_test), _ = labelled_data.idx_folder(arguments.data)
        x, x_test = x[..., 0] / 255, x_test[..., 0] / 255
    return (x >= 0.5).astype("float32"), (x_test >= 0.5).astype("float32"), y_test


def build(tools, shape, arguments):
    """Returns the encoder, the decoder, and a model that joins them.

    The head of the encoder returns a draw. The head of the decoder models the pixels.
    """
    layers, heads, size = tools.keras.layers, tools.heads, arguments.latent
    prior = tfd.MultivariateNormalDiag(tf.zeros(size))
    divergence = nllfit.KLDivergence(prior, weight=arguments.weight)
    encoder = tools.keras.Sequential(
        [
            layers.Input(shape),
            layers.Flatten(),
            layers.Dense(arguments.hidden, "relu"),
            layers.Dense(heads.Normal.params_size(size)),
            heads.Normal(size, as_tensor="sample", activity_regularizer=divergence),
        ]
    )
    decoder = tools.keras.Sequential(
        [
            layers.Input((size,)),
            layers.Dense(arguments.hidden, "relu"),
            layers.Dense(heads.Bernoulli.params_size(shape)),
            heads.Bernoulli(shape),
        ]
    )
    vae = tools.keras.Sequential([layers.Input(shape), *encoder.layers, *decoder.layers])
    vae.compile(tools.keras.optimizers.Adam(2e-3), tools.loss)
    return encoder, decoder, vae


def bounds_and_likelihoods(tools, encoder, decoder, x, num_samples):
    """Estimates the evidence lower bound and the log-likelihood of each image.

    Both estimates draw `z` from the encoder's distribution `q` and compute the ratio `p(x | z) p(z) / q(z | x)`. The
    bound is the mean of the logarithm of the ratio, also if `--weight` was not 1 in training. The log-likelihood is the
    logarithm of the mean of the ratio (importance sampling). The number of draws is `num_samples`, rounded up to a
    multiple of `DRAWS`.
    """

    @tf.function
    def log_weights(x):
        q = tools.distribution(encoder(x))
        z = q.sample(DRAWS)
        pixels = tools.distribution(decoder(tf.reshape(z, [-1, z.shape[-1]])))
        log_prob = tf.reshape(pixels.log_prob(tf.tile(x, [DRAWS, 1, 1])), [DRAWS, -1])
        prior = tfd.MultivariateNormalDiag(tf.zeros(z.shape[-1]))
        return log_prob + prior.log_prob(z) - q.log_prob(z)

    batches = np.array_split(x, max(1, len(x) // 100))
    num_calls = math.ceil(num_samples / DRAWS)
    weights = [tf.concat([log_weights(batch) for _ in range(num_calls)], 0) for batch in batches]
    bounds = np.concatenate([tf.reduce_mean(w, 0) for w in weights])
    return bounds, np.concatenate([tf.reduce_logsumexp(w, 0) - math.log(len(w)) for w in weights])


def mosaic(rows):
    """Joins images `[rows, columns, height, width]` into one image, with lines between them."""
    padded = np.pad(rows, [(0, 0), (0, 0), (0, 1), (0, 1)], constant_values=0.5)
    return np.concatenate([np.concatenate(row, 1) for row in padded], 0)


def plot_plane(tools, history, weight, encoder, decoder, x, y, path):
    """Draws the training curves, the encoder's means for the test images, and images decoded from a grid of values."""
    figure = Figure(figsize=(16, 5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    loss = "negative evidence lower bound" if weight == 1 else f"reconstruction loss + {weight:g} x divergence"
    plots.training_curves(left, history).set(title=loss, ylabel="mean loss (nats)")
    means = tools.distribution(encoder(x)).mean().numpy()
    size = means.shape[1]
    points = middle.scatter(means[:, 0], means[:, 1] if size > 1 else y, 8, y, cmap="tab10", vmin=-0.5, vmax=9.5)
    figure.colorbar(points, ax=middle, ticks=range(10), label="class (unknown to the model)")
    middle.set(title="mean codes of test images", xlabel="z[0]", ylabel="z[1]" if size > 1 else "class")
    steps = tfd.Normal(0.0, 1.0).quantile(np.linspace(0.03, 0.97, 15, dtype="float32")).numpy()
    plane = np.stack(np.meshgrid(steps, steps[::-1] if size > 1 else [0.0]), -1)
    z = np.zeros([*plane.shape[:2], size], "float32")
    z[..., :2] = plane[..., :size]
    images = tools.distribution(decoder(z.reshape(-1, size))).mean().numpy()
    right.imshow(mosaic(images.reshape(*z.shape[:2], *x.shape[1:])), cmap="gray_r")
    right.set(title="decoded grid of z[0] and z[1]" if size > 1 else "decoded values of z[0]", xticks=[], yticks=[])
    figure.savefig(path, dpi=120)


def plot_images(tools, vae, decoder, x, seed, path, count=16):
    """Draws test images, their reconstructions, and decoded samples of the prior.

    Each reconstruction uses one draw of the latent variable. Pixels are the means of the decoder's distributions.
    """
    count = min(count, len(x))
    z = np.random.default_rng(seed).normal(size=[count, decoder.input_shape[1]]).astype("float32")
    samples = tools.distribution(decoder(z)).mean().numpy()
    figure = Figure(figsize=(12, 2.6), layout="constrained")
    ax = figure.subplots()
    ax.imshow(mosaic(np.stack([x[:count], vae.predict(x[:count], verbose=0), samples])), cmap="gray_r")
    ax.set(title="test images, their reconstructions, samples", xticks=[], yticks=[])
    figure.savefig(path, dpi=150)


def main(argv=None):
    """Runs the experiment and returns its metrics."""
    parser = common.parser(__doc__, "vae")
    parser.add_argument("--data", help="a folder of IDX files (default: scikit-learn's digits)")
    parser.add_argument("--epochs", type=int, help="epochs (default: 200 on the digits, 20 on IDX files)")
    parser.add_argument("--batch-size", type=int, default=64, help="rows per step (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=64, help="units of each hidden layer (default: %(default)s)")
    parser.add_argument("--latent", type=int, default=2, help="numbers of the latent variable (default: %(default)s)")
    parser.add_argument("--weight", type=float, default=1.0, help="weight of the divergence (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=500, help="draws for both scores (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.epochs is None:
        arguments.epochs = 20 if arguments.data else 200
    common.checked(arguments, epochs=1, batch_size=1, hidden=1, latent=1, samples=1, weight=0)
    tools = common.toolkit(arguments.keras)
    x, x_test, y_test = load(arguments)
    with common.run_folder(arguments) as folder:
        tools.keras.utils.set_random_seed(arguments.seed)
        encoder, decoder, vae = build(tools, x.shape[1:], arguments)
        bar = common.progress_bar(tools.keras, f"{len(x)} images")
        options = {"batch_size": arguments.batch_size, "epochs": arguments.epochs, "seed": arguments.seed, "verbose": 0}

        def train():
            return nllfit.fit(vae, x, x, validation_data=(x_test, x_test), callbacks=[bar], **options)

        history = common.trained(vae, folder / "unfinished" / "vae.npz", train)
        by_pixel = tfd.Independent(tfd.Bernoulli(probs=x.mean(0).clip(0.5 / len(x), 1 - 0.5 / len(x))), 2)
        bounds, likelihoods = bounds_and_likelihoods(tools, encoder, decoder, x_test, arguments.samples)
        metrics = {
            "elbo": float(np.mean(bounds)),
            "log_likelihood": float(np.mean(likelihoods)),
            "independent_pixels": float(np.mean(by_pixel.log_prob(x_test))),
            "num_test": len(x_test),
        }
        plot_plane(tools, history, arguments.weight, encoder, decoder, x_test, y_test, folder / "plane.png")
        plot_images(tools, vae, decoder, x_test, arguments.seed, folder / "images.png")
        vae.save(folder / "vae.keras")
        common.write_json(folder / "metrics.json", metrics)
        for name in ("elbo", "log_likelihood", "independent_pixels"):
            print(f"{name:20}{metrics[name]:>9.3f} nats per test image")
    return metrics


if __name__ == "__main__":
    common.run(main)
