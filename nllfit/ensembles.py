"""Ensembles: several models of one kind, whose distributions are mixed."""

import concurrent.futures
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from numpy.typing import ArrayLike

from nllfit.data import as_rows
from nllfit.families.arguments import as_count
from nllfit.families.center import central_value
from nllfit.families.mixture import equal_mixture
from nllfit.kerases import Model, keras_of, output_like, with_mask
from nllfit.prediction import joined_origins, origin_of
from nllfit.training import fit

tfd = tfp.distributions

__all__ = ["Ensemble", "load_model", "new_folder"]


class Ensemble:
    """Models that differ in their weights, called like one of them: the mixture of their distributions in equal parts.

    `p(y | x) = sum_m p_m(y | x) / M`: for classes the mean of the members' probabilities, for real numbers a mixture
    whose variance is the mean of the members' variances (the noise that they see) plus the variance of their means
    (what they do not agree on).

    `predict_distribution` and `evaluate` take an ensemble, and so does everything in `nllfit.calibration`. Called, it
    returns what its members return: in tf_keras the distribution, in Keras 3 the prediction that carries it.

    Args:
      models: at least one model, all of one Keras, whose heads have the same family and event.

    Attributes:
      models: the members, a tuple.

    Raises:
      TypeError: if a member is no Keras model, or when the ensemble is called, if it does not end in a head.
      ValueError: if there is no member, if they are of two Kerases, or if their heads differ in family or event.

    Example:
      >>> ensemble = Ensemble([model, tf_keras.models.clone_model(model)])
      >>> ensemble(x).event_shape, predict_distribution(ensemble, x).mean().shape
      (TensorShape([1]), TensorShape([4, 1]))

    Source: Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation using deep
    ensembles, 2017.
    """

    def __init__(self, models: Sequence[Model]):
        if not isinstance(models, Iterable):
            raise TypeError(f"`models` is a {type(models).__name__}: give a list of models.")
        self.models = tuple(models)
        if not self.models:
            raise ValueError("`models` is empty: give at least one model.")
        kerases = [keras_of(model).__name__ for model in self.models]
        if len(set(kerases)) > 1:
            raise ValueError(f"`models` are of {' and '.join(sorted(set(kerases)))}: give models of one Keras.")
        for heads in zip(*map(_families, self.models), strict=False):
            _check_alike(heads)

    @classmethod
    def fit(
        cls,
        build: Callable[[], Model],
        n: int,
        x: Any,
        y: ArrayLike | None = None,
        *,
        seed: int | None = None,
        callbacks: Callable[[], list] | None = None,
        **arguments: Any,
    ) -> "Ensemble":
        """Trains `n` members in parallel threads, at most four more than there are cores, and 32 at most.

        Each member starts from other weights and sees the rows in another order. `nllfit.fit` trains each one on all
        rows; `member.history` is its `History`.

        Args:
          build: makes a compiled model, with other first weights in each call.
          n: the number of members, at least 1.
          x, y: arrays, or a `tf.data.Dataset`, as `nllfit.fit` takes them.
          seed: fixes the first weights and the order of the rows: those of member `i` by `seed + i`. Like Keras's
            `set_random_seed`, it seeds Python's, NumPy's and TensorFlow's global generators.
          callbacks: makes the callbacks of one member. A callback has the state of one model, so that members cannot
            share it.
          **arguments: of `nllfit.fit`, for every member; `verbose` is 0.

        Returns:
          The ensemble of the trained members.

        Raises:
          ValueError: for an `n` that is no count, a list of callbacks, and as `nllfit.fit` and the constructor.

        Example:
          >>> def build():
          ...     model = tf_keras.Sequential([tf_keras.layers.Dense(2), nllfit.heads.Normal()])
          ...     model.compile("sgd", nllfit.negative_log_likelihood)
          ...     return model
          >>> len(Ensemble.fit(build, 2, x, y, epochs=1, seed=0).models)
          2
        """
        n = as_count("n", n, 1)
        if callbacks is not None and not callable(callbacks):
            raise ValueError(
                "`callbacks` is no function, and members cannot share a callback: give a function that makes them, "
                "such as `lambda: [keras.callbacks.EarlyStopping()]`."
            )
        seed = as_count("seed", seed, 0, optional=True)
        if not callable(build) or hasattr(build, "get_weights"):  # a model is callable, too
            raise ValueError(f"`build` is a {type(build).__name__}: give a function that makes a compiled model.")
        members, seeds = [], [None if seed is None else seed + i for i in range(n)]
        for member_seed in seeds:
            if member_seed is not None:
                tf_keras.utils.set_random_seed(member_seed)
            members.append(_with_weights(build(), x))
        ensemble = cls(members)
        if len(set(map(id, members))) < n:
            raise ValueError("`build` returned one model twice: let it make a new one in each call.")

        def train(model, member_seed):
            own = None if callbacks is None else callbacks()
            return fit(model, x, y, seed=member_seed, callbacks=own, **{"verbose": 0} | arguments)

        # While some threads wait for Python's lock, the compiled programs of the others keep the cores busy.
        with concurrent.futures.ThreadPoolExecutor(min(n, (os.cpu_count() or 1) + 4, 32)) as threads:
            tuple(threads.map(train, members, seeds))
        return ensemble

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The mixture at inputs `x`, in the form that the members return; for several outputs, in their structure."""

        def mixed(*outputs):
            distribution = _mixture(*map(origin_of, outputs))
            return output_like(outputs[0], distribution, central_value(distribution))

        return tf.nest.map_structure(mixed, *[model(x, training=training) for model in self.models])

    def predict_distribution(self, x: Any, batch_size: int = 32) -> Any:
        """The mixture of every row, in one pass over the data: what `nllfit.predict_distribution` returns."""

        def mixed(*origins):
            return with_mask(_mixture(*origins), origins[0].mask)

        return tf.nest.map_structure(mixed, *joined_origins(self.models, x, batch_size))

    def save(self, folder: str | os.PathLike) -> None:
        """Writes each member to a `.keras` file of a new or empty folder.

        Raises:
          ValueError: if the folder holds something, which would be overwritten or taken for a member.
        """
        folder = new_folder(folder)
        for i, model in enumerate(self.models):
            model.save(folder / f"member-{i:03}.keras")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Ensemble":
        """The ensemble that `save` wrote, in any process; in Keras's safe mode, which runs no code of a file's.

        Raises:
          ValueError: if there is no such folder, no `.keras` file in it, or a broken one.
        """
        files = sorted(pathlib.Path(folder).glob("*.keras"))
        if not files:
            raise ValueError(f"`folder` {folder} holds no .keras file: name one that `Ensemble.save` wrote.")
        return cls([load_model(path) for path in files])


def new_folder(folder: str | os.PathLike) -> pathlib.Path:
    """A folder, made if it is not there; a `ValueError` if it holds something, which could be taken for ours."""
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"`folder` {folder} holds something already: name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def load_model(path: pathlib.Path) -> Model:
    """The model of a `.keras` file of either Keras, in its safe mode; a `ValueError` if the file is damaged."""
    try:
        return _keras_of_file(path).models.load_model(path)
    except (KeyError, OSError, RuntimeError, json.JSONDecodeError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no whole .keras file: save it again. ({type(error).__name__}: {error})") from error


def _with_weights(model, x):
    """The model with its first weights made: threads that made them would take random numbers from one another."""
    keras_of(model)
    if not model.built:
        batch = x.element_spec if isinstance(x, tf.data.Dataset) else tf.nest.map_structure(np.asarray, as_rows(x))
        inputs = batch[0] if isinstance(x, tf.data.Dataset) and isinstance(batch, tuple) else batch
        specs = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), inputs)
        tf.function(lambda inputs: model(inputs, training=False)).get_concrete_function(specs)
    return model


def _families(model):
    """The families of a model's heads, as far as it has made them."""
    return [layer.family for layer in model._flatten_layers() if hasattr(layer, "family")]


def _check_alike(families):
    other = next((family for family in families if family != families[0]), None)
    if other is not None:
        raise ValueError(
            f"A member's head has the family {families[0]!r}, another's {other!r}: give members that differ in their "
            f"weights alone."
        )


def _mixture(*origins):
    _check_alike([origin.family for origin in origins])
    params, shared = zip(*[(origin.params, origin.shared) for origin in origins], strict=True)
    family = origins[0].family
    try:
        return equal_mixture(family, params, shared)
    except tf.errors.InvalidArgumentError:  # a row without parameters, as of inputs that are NaN, fails no other
        return equal_mixture(family.holding({"validate_args": False}), params, shared)


def _keras_of_file(path):
    """The Keras that wrote a file, with the heads for it."""
    with zipfile.ZipFile(path) as archive:
        version = json.loads(archive.read("metadata.json"))["keras_version"]
    if version.startswith("2."):
        return tf_keras
    import keras

    import nllfit.keras3  # noqa: F401 - its heads have to be known

    return keras
