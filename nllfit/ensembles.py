"""Ensembles: the equal mixture of the distributions that several models predict."""

import concurrent.futures
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from numpy.typing import ArrayLike

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import trace_call
from nllfit.data_checks import as_rows, specs_of_rows
from nllfit.families.arguments import as_count
from nllfit.families.head_base import Head
from nllfit.families.law import law_of
from nllfit.head_outputs import output_like
from nllfit.model_inputs import float_dtype, inputs_of
from nllfit.prediction import check_same_family, joined_origins, mixture_of_origins, origin_of
from nllfit.saved_models import load_model, new_folder
from nllfit.training import fit

tfd = tfp.distributions

__all__ = ["Ensemble"]

_CONFIG = "ensemble.json"


class Ensemble:
    """The equal mixture of several models' distributions. `ensemble(x)` works like `model(x)`.

    `p(y | x) = sum_m p_m(y | x) / M` for `M` members. For classes, this is the mean of the members' probabilities. For
    real numbers, the variance of the mixture is the mean of the members' variances (the noise) plus the variance of
    the members' means (the disagreement).

    `predict_distribution`, `evaluate` and all of `nllfit.calibration` take an ensemble. A call returns the mixture in
    the form in which a member returns its distribution: in Keras 3 as the attribute `distribution` of a tensor.

    A model that draws random numbers (a head with `as_tensor="sample"`, uncertain weights, Monte Carlo dropout) may be
    the only member: `Ensemble([model], num_samples=100)` is the mixture of the distributions from 100 calls of the
    model.

    Args:
      models: at least one model, all of one Keras version. Their heads have the same family and event shape.
      num_samples: how often each member is called for a prediction; by default once.

    Attributes:
      models: the members, a tuple.
      num_samples: how often each member is called.

    Raises:
      TypeError: if `models` is not a list or another iterable, or a member is not a Keras model. A call of the
        ensemble raises this error if a member does not end in a head.
      ValueError: if one of these is true:
        - `num_samples` is not an integer of at least 1, or there is no member.
        - The members are of two Keras versions, or some compute in float32 and others in float64.
        - The members' heads differ in number, family or event shape.

    Example:
      >>> ensemble = Ensemble([model, tf_keras.models.clone_model(model)])
      >>> ensemble(x).event_shape, predict_distribution(ensemble, x).mean().shape
      (TensorShape([1]), TensorShape([4, 1]))

    Source: Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation using deep
    ensembles, 2017.
    """

    def __init__(self, models: Sequence[Model], num_samples: int = 1):
        self.num_samples = as_count("num_samples", num_samples, 1)
        if not isinstance(models, Iterable):
            raise TypeError(f"`models` is a {type(models).__name__}: give a list of models.")
        self.models = tuple(models)
        if not self.models:
            raise ValueError("`models` is empty: give at least one model.")
        versions = {adapter_of(model).keras.__name__ for model in self.models}
        if len(versions) > 1:
            raise ValueError(f"`models` are of {' and '.join(sorted(versions))}: give models of one Keras.")
        dtypes = set(map(float_dtype, self.models))
        if len(dtypes) > 1:
            raise ValueError(f"`models` compute in {' and '.join(sorted(dtypes))}: give models of one dtype.")
        families = list(map(_families, self.models))
        counts = sorted(set(map(len, families)))
        if len(counts) > 1:
            raise ValueError(
                f"One member has {counts[0]} heads, another {counts[-1]}: give members with the same heads."
            )
        for heads in zip(*families, strict=True):
            check_same_family(heads)

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
        """Trains `n` members in parallel, in `min(n, cores + 4, 32)` threads.

        `nllfit.fit` trains each member on all rows, and sets `member.history` to the `History` of the training. Members
        differ in their initial weights and in the order in which they see the rows.

        Args:
          build: a function that returns a new compiled model in each call, with random initial weights.
          n: the number of members, at least 1.
          x, y: arrays, or a `tf.data.Dataset`, as `nllfit.fit` takes them, but no generator, because a generator
            can be read only once.
          seed: `seed + i` fixes the initial weights of member `i` and the order of its rows. The global generators
            of Python, NumPy and TensorFlow are also seeded, as by Keras's `set_random_seed`. The largest `seed` is
            `2**32 - n`.
          callbacks: a function that returns a new list of callbacks for each member. Members cannot share a callback,
            because a callback has the state of one model.
          **arguments: further arguments of `nllfit.fit`, for every member. `verbose` is 0 by default.

        Returns:
          The ensemble of the trained members.

        Raises:
          ValueError: if one of these is true:
            - `n` is not a positive integer, or `seed` is out of range.
            - `callbacks` is a list, or `x` or `validation_data` is a generator.
            - `build` is not a function, or it returns the same model twice.

            `nllfit.fit` and the constructor of `Ensemble` raise further errors.

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
                "`callbacks` is not a function, and members cannot share a callback: give a function that makes them, "
                "such as `lambda: [keras.callbacks.EarlyStopping()]`."
            )
        seed = as_count("seed", seed, 0, True, highest=2**32 - n)  # NumPy's largest seed is 2**32 - 1
        if not callable(build) or hasattr(build, "get_weights"):  # a model is also callable
            raise ValueError(f"`build` is a {type(build).__name__}: give a function that makes a compiled model.")
        _refuse_generators(x=x, validation_data=arguments.get("validation_data"))
        members, seeds = [], [None if seed is None else seed + i for i in range(n)]
        for member_seed in seeds:
            if member_seed is not None:
                tf_keras.utils.set_random_seed(member_seed)
            members.append(_with_weights(build(), x))
        ensemble = cls(members)
        if len(set(map(id, members))) < n:
            raise ValueError("`build` returned the same model twice: make a new one in each call.")

        def train(model, member_seed):
            member_callbacks = None if callbacks is None else callbacks()
            return fit(model, x, y, seed=member_seed, callbacks=member_callbacks, **{"verbose": 0} | arguments)

        # More threads than cores, because some threads wait for Python's lock while others run compiled code.
        with concurrent.futures.ThreadPoolExecutor(min(n, (os.cpu_count() or 1) + 4, 32)) as threads:
            tuple(threads.map(train, members, seeds))
        return ensemble

    @property
    def output_names(self) -> list[str]:
        """The names of the members' outputs, as in Keras."""
        return self.models[0].output_names

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Returns the mixture at inputs `x`, in the form of a member's output.

        If the members have several outputs, returns a mixture for each output.
        """

        def mixed(*outputs):
            distribution = mixture_of_origins(*map(origin_of, outputs))
            return output_like(outputs[0], distribution, law_of(distribution).central_value())

        calls = [model for model in self.models for _ in range(self.num_samples)]
        return tf.nest.map_structure(mixed, *[model(x, training=training) for model in calls])

    def predict_distribution(self, x: Any, batch_size: int = 32) -> Any:
        """Returns the mixtures of all rows. For the arguments, see `nllfit.predict_distribution`."""
        origins = joined_origins(self.models, x, batch_size, self.num_samples)
        return tf.nest.map_structure(mixture_of_origins, *origins)

    def save(self, folder: str | os.PathLike) -> None:
        """Writes each member to a `.keras` file in a new or empty folder.

        Raises:
          ValueError: if the folder is not empty.
        """
        with new_folder(folder) as path:
            for i, model in enumerate(self.models):
                model.save(path / f"member-{i:03}.keras")
            if self.num_samples > 1:
                (path / _CONFIG).write_text(json.dumps({"num_samples": self.num_samples}))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Ensemble":
        """Reads an ensemble that `save` wrote, in Keras's safe mode, which runs no code from a file.

        Raises:
          ValueError: if the folder does not exist, has no file of a member, or contains a damaged file.
        """
        # The pattern is not `*.keras`, because the folder of a calibrated model contains `model.keras`. An ensemble of
        # this file would predict without the calibration.
        files = sorted(pathlib.Path(folder).glob("member-*.keras"))
        if not files:
            raise ValueError(
                f"`folder` {folder} holds no .keras file of a member: name a folder that `Ensemble.save` wrote."
            )
        config = pathlib.Path(folder) / _CONFIG
        try:
            num_samples = json.loads(config.read_text())["num_samples"] if config.exists() else 1
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{config} is damaged: make it {{"num_samples": n}}, or save the ensemble again.'
            ) from error
        return cls([load_model(path) for path in files], num_samples)


def _refuse_generators(**data):
    for name, values in data.items():
        if isinstance(values, Iterator):
            raise ValueError(
                f"`{name}` is a {type(values).__name__}, which can be read only once, and each member reads all rows: "
                f"give arrays or a `tf.data.Dataset`, such as `tf.data.Dataset.from_generator` makes."
            )


def _with_weights(model, x):
    """Builds the model in this thread, so that a seed determines its initial weights.

    If several threads built models, they would draw from one global generator in an order that differs between runs.
    """
    adapter_of(model)  # raises a `TypeError` if `model` is not a Keras model
    if not model.built:
        is_dataset = isinstance(x, tf.data.Dataset)
        inputs = inputs_of(x.element_spec) if is_dataset else tf.nest.map_structure(np.asarray, as_rows(x))
        trace_call(model, specs_of_rows(inputs))
    return model


def _families(model):
    return [layer.family for layer in adapter_of(model).layers if isinstance(layer, Head)]
