"""The result of `regression`, which combines a coefficient table with tests, predictions and diagnostics."""

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model
from nllfit.cdf_and_quantiles import quantile
from nllfit.families.law import elements_of
from nllfit.regression.coefficient_search import Objective
from nllfit.regression.designs import INTERCEPT
from nllfit.regression.diagnostics import Diagnostics
from nllfit.regression.family_and_main_parameter import CUTPOINTS, natural_values
from nllfit.regression.formula_outcomes import Outcome
from nllfit.regression.hypotheses import Hypotheses
from nllfit.regression.predictions import Predictions
from nllfit.regression.sandwich_covariance import sandwich

__all__ = ["Regression"]

_KINDS = {"information": "observed information", "sandwich": "sandwich", "cluster": "sandwich, {} clusters"}


class Regression(Hypotheses, Predictions, Diagnostics):
    """A regression that was fitted by maximum likelihood. `regression` returns it.

    The coefficients of the main parameter have the names of their columns. Coefficients of other parameters are named
    `parameter: column`, and coefficients of classes `label: column`. For a parameter without a formula, such as
    `scale`, the table shows the value of the parameter. The delta method gives the standard error of this value.

    Attributes:
      model: the fitted Keras model; `inputs(data)` returns its inputs.
      family: the family of the model's head.
      formula, names, estimates, covariance, kind, ratios, label, converged, message, log_likelihood, num_observations,
        num_parameters: see `CoefficientTable`.
      outcome: the name, values and labels of the outcomes.
    """

    def __init__(
        self,
        formula: str,
        model: Model,
        objective: Objective,
        outcome: Outcome,
        labels: tuple[str, ...],
        coefficients: np.ndarray,
        names: list[list[str]],
        clusters: np.ndarray | None,
        kind: str,
        fault: str | None,
    ):
        self.formula, self.model, self.objective = formula, model, objective
        self.family, self.predictors, self.outcome, self.labels = (
            objective.family,
            objective.predictors,
            outcome,
            labels,
        )
        self.label, self.log_likelihood = self.family.name, -objective.value(coefficients)
        self.num_observations, self.num_parameters = float(objective.weights.sum()), len(coefficients)
        self.converged, self.message = fault is None, fault or "the coefficients are a maximum of the likelihood"
        self.kind = _KINDS[kind].format(0 if clusters is None else clusters.max() + 1)
        self._coefficients = coefficients
        self._root = np.full([len(coefficients)] * 2, np.nan)
        if self.converged:
            bread = np.linalg.inv(objective.local(coefficients)[1])  # for coefficients of `objective.basis`
            if kind == "information":
                covariance = bread
            else:
                covariance = sandwich(bread, objective.scores(coefficients), objective.weights, clusters)
            variances, axes = np.linalg.eigh(covariance)
            self._root = objective.basis[1] @ axes * np.sqrt(np.maximum(variances, 0.0))
        self._name(names)

    def _name(self, blocks):
        """Sets the names, estimates, covariance, ratios and terms of the table.

        `blocks` contains, for each predictor, the names of its coefficients.
        """
        names: list[str] = []
        ratios: list[bool] = []
        terms: dict[str, list[int]] = {}
        jacobian = np.eye(len(self._coefficients))
        natural, is_ratio = self._natural_values_and_ratios()
        estimates = self._coefficients.copy()
        for index, (predictor, block_names) in enumerate(zip(self.predictors, blocks, strict=True)):
            first, size = len(names), predictor.free
            names += block_names
            if predictor.is_constant:
                _, values, natural_jacobian = natural[predictor.parameter]
                block = slice(first, first + size)
                estimates[block], jacobian[block, block] = values, natural_jacobian[:, list(predictor.indices)]
                ratios += [False] * size
                continue
            columns = predictor.design.names
            ratios += [is_ratio[place] for place in predictor.indices for _ in columns]
            for term, places in predictor.design.terms.items():
                key = INTERCEPT if term == "1" else term
                key = key if not index else f"{predictor.parameter}: {key}"
                terms[key] = [first + j * len(columns) + place for j in range(size) for place in places]
        self.names, self.ratios, self.estimates = names, np.array(ratios), estimates
        self.terms = {term: places for term, places in terms.items() if places}
        self.covariance = jacobian @ self._root @ self._root.T @ jacobian.T

    def _natural_values_and_ratios(self):
        """Returns a dict of the parameters at the first row, and a boolean array `[params_size]`.

        The dict contains, for each parameter, the name of its reported form (such as `probs` for `logits`), its values
        in this form, and their Jacobian with respect to the linear predictors. The array is true for each linear
        predictor whose coefficients are logarithms of ratios. If such a linear predictor grows by 1, one of the
        following numbers is multiplied by `e`:

        - the reported value `p` of the parameter, or its odds `p / (1 - p)`;
        - the odds of a class relative to the first class, for the logits of classes;
        - the odds of an outcome above a given class, for the `loc` of ordered classes;
        - the median outcome `m`, or its odds `m / (1 - m)`, for a `loc` such as that of a LogNormal.
        """
        vector = tf.constant(self.numbers()[0])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(vector)
            values = {name: tf.reshape(v, [-1]) for name, v in natural_values(self.family, vector).items()}
        natural = {}
        for name, (natural_name, value) in zip(self.family.parameter_names, values.items(), strict=True):
            jacobian = tape.jacobian(value, vector, experimental_use_pfor=False)
            natural[name] = natural_name, value.numpy(), jacobian.numpy()
        is_log = np.zeros(len(vector), bool)
        at_0 = {n: v.numpy() for n, v in natural_values(self.family, tf.zeros_like(vector)).items()}
        at_1 = {n: v.numpy() for n, v in natural_values(self.family, tf.ones_like(vector)).items()}
        for predictor, natural_name in ((p, natural[p.parameter][0]) for p in self.predictors):
            low, high = np.ravel(at_0[natural_name]), np.ravel(at_1[natural_name])
            is_log[list(predictor.indices)] = (
                bool(predictor.classes)
                or (low.size == predictor.size and _are_ratios_e(low, high))
                or (natural_name == "loc" and CUTPOINTS in at_0 and low == 0 and high == 1)
                or (natural_name == "loc" and CUTPOINTS not in at_0 and _are_ratios_e(*self._medians(predictor)))
            )
        return natural, is_log

    def _medians(self, predictor):
        """Returns two median outcomes, `[2]`.

        For the first median, all linear predictors are 0. For the second median, the linear predictors with the indices
        `predictor.indices` are 1, and all others are 0.

        Both medians are NaN if outcomes may be negative, or if the family has no CDF.
        """
        numbers = np.zeros([2, self.family.params_size])
        numbers[1, list(predictor.indices)] = 1.0
        distribution = self.family.distribution(tf.constant(numbers))
        try:
            if np.any(elements_of(distribution).ends()[0] < 0):  # a ratio of medians would have no meaning
                return np.full(2, np.nan)
            return np.asarray(quantile(distribution, 0.5))
        except NotImplementedError:  # the family has no CDF
            return np.full(2, np.nan)

    def _observed(self):
        weights = self.objective.weights
        return np.column_stack([self.objective.y.reshape([len(weights), -1]), weights])[weights > 0]


def _are_ratios_e(low, high):
    """Whether in every element, the ratio `high / low` or the ratio of the odds of `high` and `low` is `e`."""
    with np.errstate(all="ignore"):
        return bool(np.all(np.isclose(high / low, np.e) | np.isclose(high / (1 - high) * (1 - low) / low, np.e)))
