"""The contenders of `speed`. Each builds the same network and returns a function that trains it for some epochs.

The arguments of a contender are the hidden layers (`"cnn"` for two convolutions), the shape of an input, the number of
classes, the rows `x`, the labels `y` and the batch size. The Keras contenders also take `source`, the form of the data.
All contenders minimise the crossentropy with Adam at the learning rate 0.001, and shuffle the data in each epoch.
`bernoulli` measures the cost of a head, and `scoring` the time of predictions and evaluations.
"""

import functools
import itertools

import numpy as np

__all__ = ["bernoulli", "jax", "keras", "nllfit", "nllfit_keras3", "scoring", "tf_keras", "torch"]


@functools.cache
def _seed(k):
    """Seeds Keras once per process. Seeding clears TensorFlow's cache of kernels, which takes time to fill again."""
    k.utils.set_random_seed(0)


def _model(k, hidden, shape, classes):
    _seed(k)
    layers = [k.layers.Dense(units, activation="relu") for units in (hidden if hidden != "cnn" else ())]
    if hidden == "cnn":
        for filters in (16, 32):
            layers += [k.layers.Conv2D(filters, 3, activation="relu"), k.layers.MaxPool2D()]
        layers.append(k.layers.Flatten())
    model = k.Sequential([k.layers.Input(shape), *layers, k.layers.Dense(classes)])
    model.compile(k.optimizers.Adam(1e-3), k.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _data(k, x, y, batch, source):
    """Returns the arguments of `fit` with the data: arrays, a `tf.data.Dataset`, or a Keras `Sequence`."""
    if source == "arrays":
        return {"x": x, "y": y, "batch_size": batch}
    if source == "dataset":
        import tensorflow as tf

        rows = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(10_000)
        return {"x": rows.batch(batch, drop_remainder=True)}

    class Batches(k.utils.Sequence):
        def __len__(self):
            return len(x) // batch

        def __getitem__(self, i):
            rows = slice(i * batch, (i + 1) * batch)
            return x[rows], y[rows]

    return {"x": Batches()}


def _each_epoch(k, held_out, path):
    """Returns arguments for `fit`: held-out rows, which `fit` evaluates after each epoch, and a callback.

    If `path` is None, the callback keeps the best weights. Otherwise it writes the model to `path` after each epoch. If
    `held_out` is None, the result is empty.
    """
    if held_out is None:
        return {}
    if path is None:
        callback = k.callbacks.EarlyStopping(patience=1000, restore_best_weights=True)
    else:
        callback = k.callbacks.ModelCheckpoint(path)
    return {"validation_data": held_out, "callbacks": [callback]}


def tf_keras(hidden, shape, classes, x, y, batch, source="arrays"):
    """Trains with `model.fit` of tf_keras."""
    import tf_keras as k

    model, data = _model(k, hidden, shape, classes), _data(k, x, y, batch, source)

    def train(epochs, held_out=None, path=None):
        model.fit(**data, epochs=epochs, verbose=0, **_each_epoch(k, held_out, path))

    return train


def keras(hidden, shape, classes, x, y, batch, source="arrays"):
    """Trains with `model.fit` of Keras 3."""
    import keras as k

    model, data = _model(k, hidden, shape, classes), _data(k, x, y, batch, source)

    def train(epochs, held_out=None, path=None):
        model.fit(**data, epochs=epochs, verbose=0, **_each_epoch(k, held_out, path))

    return train


def nllfit(hidden, shape, classes, x, y, batch, source="arrays"):
    """Trains a tf_keras model with `nllfit.fit`."""
    import tf_keras as k

    from nllfit import fit

    model, data = _model(k, hidden, shape, classes), _data(k, x, y, batch, source)

    def train(epochs, held_out=None, path=None):
        fit(model, **data, epochs=epochs, verbose=0, **_each_epoch(k, held_out, path))

    return train


def nllfit_keras3(hidden, shape, classes, x, y, batch, source="arrays"):
    """Trains a Keras 3 model with `nllfit.fit`."""
    import keras as k

    from nllfit import fit

    model, data = _model(k, hidden, shape, classes), _data(k, x, y, batch, source)

    def train(epochs, held_out=None, path=None):
        fit(model, **data, epochs=epochs, verbose=0, **_each_epoch(k, held_out, path))

    return train


def bernoulli(head, x, y, batch):
    """Trains on binary labels with `nllfit.fit`.

    If `head` is true, the model has a Bernoulli head, and the loss is `negative_log_likelihood`. Otherwise the model
    has no head, and the loss is Keras's binary crossentropy.
    """
    import tf_keras as k

    from nllfit import fit, heads, negative_log_likelihood

    _seed(k)
    layers = [k.layers.Input(x.shape[1:]), k.layers.Dense(256, activation="relu"), k.layers.Dense(1)]
    model = k.Sequential([*layers, heads.Bernoulli()] if head else layers)
    model.compile(k.optimizers.Adam(1e-3), negative_log_likelihood if head else k.losses.BinaryCrossentropy(True))
    return lambda epochs: fit(model, x, y, batch_size=batch, epochs=epochs, verbose=0, compile="xla")


def scoring(contender, x, y, batch):
    """Returns two functions for a 16-64-2 network: one predicts all rows, the other evaluates them.

    The name of the contender selects `nllfit` or Keras, and the version of Keras.
    """
    import importlib

    from nllfit import evaluate, keras3, losses, predict_distribution
    from nllfit import heads as heads2

    in_keras3 = contender in ("keras", "nllfit_keras3")
    k = importlib.import_module("keras" if in_keras3 else "tf_keras")
    _seed(k)
    heads = keras3.heads if in_keras3 else heads2
    model = k.Sequential([k.layers.Input(x.shape[1:]), k.layers.Dense(64, "relu"), k.layers.Dense(2), heads.Normal()])
    model.compile(k.optimizers.Adam(), keras3.NegativeLogLikelihood() if in_keras3 else losses.NegativeLogLikelihood())
    if contender.startswith("nllfit"):
        return lambda: predict_distribution(model, x, batch), lambda: evaluate(model, x, y, batch_size=batch)
    arguments = {"batch_size": batch, "verbose": 0}
    return lambda: model.predict(x, **arguments), lambda: model.evaluate(x, y, **arguments)


def torch(hidden, shape, classes, x, y, batch):
    """Trains with a plain PyTorch loop."""
    import torch as t
    from torch import nn

    t.manual_seed(0)
    if hidden == "cnn":
        channels = ((1, 16), (16, 32))
        layers = [m for i, o in channels for m in (nn.Conv2d(i, o, 3), nn.ReLU(), nn.MaxPool2d(2))]
        layers += [nn.Flatten(), nn.Linear(32 * 5 * 5, classes)]
        x = np.moveaxis(x, -1, 1).copy()
    else:
        sizes = (*shape, *hidden)
        layers = [m for i, o in itertools.pairwise(sizes) for m in (nn.Linear(i, o), nn.ReLU())]
        layers.append(nn.Linear(hidden[-1], classes))
    model = nn.Sequential(*layers)
    optimizer = t.optim.Adam(model.parameters(), 1e-3)
    x, y = t.from_numpy(x), t.from_numpy(y)

    def train(epochs):
        for _ in range(epochs):
            order, total = t.randperm(len(x)), 0.0
            for rows in order.split(batch):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                total += loss.detach()
            float(total)

    return train


@functools.cache
def _jax_epoch():
    """Returns the functions `epoch` and `loss` of a dense network. `jit` compiles them once for each shape."""
    import jax as j
    from jax import numpy as jnp

    def loss(weights, x, y):
        for kernel, bias in weights[:-1]:
            x = j.nn.relu(x @ kernel + bias)
        logits = j.nn.log_softmax(x @ weights[-1][0] + weights[-1][1])
        return -jnp.take_along_axis(logits, y[:, None], 1).mean()

    @j.jit
    def epoch(state, order, x, y):
        def step(state, rows):
            weights, m, v, t = state
            value, gradient = j.value_and_grad(loss)(weights, x[rows], y[rows])
            t = t + 1
            rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            m = j.tree.map(lambda m, g: m + (g - m) * 0.1, m, gradient)
            v = j.tree.map(lambda v, g: v + (g * g - v) * 0.001, v, gradient)
            weights = j.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
            return (weights, m, v, t), value

        state, losses = j.lax.scan(step, state, order)
        return state, losses.mean()

    return epoch, j.jit(loss)


def jax(hidden, shape, classes, x, y, batch):
    """Trains with JAX. Each epoch is one `lax.scan` over whole batches; the remaining rows are left out."""
    import jax as j
    from jax import numpy as jnp

    rng = np.random.default_rng(0)
    sizes = (*shape, *hidden, classes)
    weights = [
        (jnp.asarray(rng.normal(size=(i, o)) * (2 / (i + o)) ** 0.5, jnp.float32), jnp.zeros(o))
        for i, o in itertools.pairwise(sizes)
    ]
    x, y = jnp.asarray(x), jnp.asarray(y)
    zeros = j.tree.map(jnp.zeros_like, weights)
    state = weights, zeros, zeros, jnp.zeros(())
    epoch, loss = _jax_epoch()

    def train(epochs, held_out=None):
        nonlocal state
        least, best = np.inf, state
        for _ in range(epochs):
            order = rng.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch).astype("int32")
            state, value = epoch(state, order, x, y)
            float(value)
            if held_out is not None and (now := float(loss(state[0], *held_out))) < least:
                least, best = now, state
        state = state if held_out is None else best

    return train
