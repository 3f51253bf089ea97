"""One recipe for every table: an ensemble of five networks, of which all that is chosen is chosen on training rows.

Networks are tried, one member each, on the first four fifths of the training rows; the fifth that is held out tells
which is better. All are two layers of swish units. *Smooth* sees the standardised inputs; *steep*, for targets that
jump, sees them cut into bins, too. Ten times the weight decay, *strong*, is for outcomes that are mostly noise, where
the better of the two is too sure. A
Normal head trains on beta-NLL, which learns the mean everywhere; the *free* table takes mixtures of five Normals,
trained on the negative log-likelihood, where they are better on the rows held out. These also tell by what factor to
widen or narrow the predicted scales: a network is surer of rows it has seen, and its test NLL explodes where it is too
sure. Then five members of the best are trained on all training rows.

A row in `n` may be unlike all that was seen, where n are held out: with that probability the target is from a Normal
with the mean and the spread of all training rows. Without it one row of a table can cost a hundred nats.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from sklearn.preprocessing import StandardScaler
from tensorflow_probability import distributions as tfd

import nllfit

__all__ = ["Network", "fit_ensembles"]

MEMBERS, TRIED_MEMBERS, COMPONENTS, BINS = 5, 1, 5, 20
DECAYS = {"weak": 50, "strong": 500}  # divided by the number of rows: a prior counts the less, the more rows there are
FLOOR = {"scale": 1e-3}  # of the target's spread
SPREADS = np.geomspace(0.7, 4, 36)


@dataclasses.dataclass(frozen=True)
class Network:
    """Two hidden layers, and how they see the inputs."""

    units: int
    binned: bool

    def build(self, keras, head, loss, num_inputs, weight_decay, num_steps):
        """A compiled model; the rate of its optimizer falls to zero over all steps."""
        hidden = [keras.layers.Dense(self.units, "swish") for _ in range(2)]
        dense = keras.layers.Dense(head.family.params_size)
        model = keras.Sequential([keras.layers.Input([num_inputs]), *hidden, dense, head])
        rate = keras.optimizers.schedules.CosineDecay(0.01, num_steps)
        model.compile(keras.optimizers.AdamW(rate, weight_decay), loss)
        return model


NETWORKS = {"smooth": Network(50, binned=False), "steep": Network(100, binned=True)}
FORMS = {
    "normal": lambda heads: heads.Normal(floor=FLOOR),
    "mixture": lambda heads: heads.Mixture("Normal", COMPONENTS, floor=FLOOR),
}


def fit_ensembles(tools, x, y, seed):
    """What is predicted from new inputs, by table, `"normal"` and `"free"`, and the name of what was chosen for it."""
    cut = len(x) * 4 // 5
    tried = {}

    def best(keys):
        for key in keys:
            predictor = Predictor(tools, *key, x[:cut], y[:cut], TRIED_MEMBERS, seed)
            mixture = predictor.mixture(x[cut:])
            tried[key] = best_spread(functools.partial(predictor.in_units, mixture), y[cut:])
        return min(tried, key=lambda key: tried[key][0])

    normal = best((network, "weak", "normal") for network in NETWORKS)
    if tried[normal][1] > 1:  # it learned rows by heart
        normal = best([(normal[0], "strong", "normal")])
    chosen = {"normal": normal, "free": best([(*normal[:2], "mixture")])}
    fitted = {key: Predictor(tools, *key, x, y, MEMBERS, seed) for key in set(chosen.values())}
    return {
        table: (
            functools.partial(fitted[key], spread=tried[key][1]),
            f"{' '.join(key)}, scales x {tried[key][1]:.2f}",
        )
        for table, key in chosen.items()
    }


class Predictor:
    """An ensemble of one network, from inputs to the distribution of outcomes, both in their own units."""

    def __init__(self, tools, network, decay, form, x, y, num_members, seed):
        self.tools, self.network = tools, NETWORKS[network]
        self.scaler, self.bins, self.range = StandardScaler().fit(x), Bins(x), (x.min(axis=0), x.max(axis=0))
        self.loc, self.unit = y.mean(), y.std()
        self.doubt = 5 / len(x)  # a fifth of the rows is held out
        inputs, outcomes = self.seen(x), ((y - self.loc) / self.unit).astype("float32")
        self.ends = outcomes.min(), outcomes.max()  # one of hundreds of members may run away for one row
        batch_size = 2 ** round((np.log2(len(x)) + 1) / 2)
        epochs = round(900 / np.cbrt(len(x)))
        num_steps = epochs * -(-len(x) // batch_size)
        loss = tools.losses.BetaNLL() if form == "normal" else tools.loss

        def build():
            head, weight_decay = FORMS[form](tools.heads), DECAYS[decay] / len(x)
            return self.network.build(tools.keras, head, loss, inputs.shape[1], weight_decay, num_steps)

        self.ensemble = nllfit.Ensemble.fit(
            build,
            num_members,
            inputs,
            outcomes,
            batch_size=batch_size,
            epochs=epochs,
            seed=seed,
            compile="xla",  # it is compiled for a network once, and used for hundreds
        )

    def __call__(self, x, spread=1.0):
        return self.in_units(self.mixture(x), spread)

    def seen(self, x):
        """The inputs as the network sees them: none lies outside of what was trained on."""
        x = np.clip(x, *self.range)
        parts = [self.scaler.transform(x), *([self.bins(x)] if self.network.binned else [])]
        return np.concatenate(parts, axis=1).astype("float32")

    def mixture(self, x):
        """The mixture of Normals that the ensemble predicts, of standardised outcomes in the range of those it saw."""
        mixture = self.tools.distribution(self.ensemble(self.seen(x)))
        normal = mixture.components_distribution.distribution
        low, high = self.ends
        within = tfd.Normal(tf.clip_by_value(normal.loc, low, high), tf.minimum(normal.scale, high - low))
        return tfd.MixtureSameFamily(mixture.mixture_distribution, tfd.Independent(within, 1))

    def in_units(self, mixture, spread):
        """The mixture in the outcome's unit, the scale of each Normal times `spread`, with doubt."""
        return doubted(rescaled(mixture, self.loc, self.unit, spread), self.loc, self.unit, self.doubt)


def rescaled(mixture, loc, unit, spread):
    """A mixture of Normals in the target's unit, the scale of each times `spread`, in float64."""
    logits, normal = mixture.mixture_distribution.logits, mixture.components_distribution.distribution
    locs, scales = tf.cast(normal.loc, tf.float64), tf.cast(normal.scale, tf.float64)
    components = tfd.Independent(tfd.Normal(loc + unit * locs, unit * spread * scales), 1)
    return tfd.MixtureSameFamily(tfd.Categorical(tf.cast(logits, tf.float64)), components)


def doubted(mixture, loc, scale, doubt):
    """A mixture of Normals, to which one of that location and scale is added with the probability `doubt`."""
    logits, normal = mixture.mixture_distribution.logits, mixture.components_distribution.distribution
    known = tf.nn.log_softmax(logits) + np.log1p(-doubt)
    logits = tf.concat([known, tf.fill([len(logits), 1], tf.constant(np.log(doubt), tf.float64))], 1)
    one = tf.ones_like(normal.loc[:, :1])
    wider = tfd.Normal(tf.concat([normal.loc, loc * one], 1), tf.concat([normal.scale, scale * one], 1))
    return tfd.MixtureSameFamily(tfd.Categorical(logits), tfd.Independent(wider, 1))


def best_spread(predicted, y):
    """The lowest mean negative log-likelihood of rows held out, and the factor of the scales that reaches it."""
    losses = [np.mean(nllfit.negative_log_likelihood(y, predicted(spread))) for spread in SPREADS]
    best = int(np.argmin(losses))
    return losses[best], SPREADS[best]


class Bins:
    """How far a number is through each of the bins that the quantiles of its column make: 0 below one, 1 above.

    Source: Gorishniy, Rubachev and Babenko, On embeddings for numerical features in tabular deep learning, 2022.
    """

    def __init__(self, x):
        edges = np.quantile(x, np.linspace(0, 1, BINS + 1), axis=0)
        self.low, self.width = edges[:-1], np.diff(edges, axis=0)

    def __call__(self, x):
        above = x[:, None] - self.low
        filled = np.clip(above / np.where(self.width, self.width, 1.0), 0, 1)
        return np.where(self.width, filled, above >= 0).reshape(len(x), -1)
