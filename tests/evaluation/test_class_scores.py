"""Scores of each class, compared with scikit-learn's."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.evaluation.class_probabilities import class_log_probs

RNG = np.random.default_rng(0)
LABELS = RNG.integers(3, size=80)
LOGITS = np.round(RNG.normal(size=[80, 3]) + np.eye(3)[LABELS], 1)  # with ties


def test_class_scores_match_scikit_learn():
    evaluation = nllfit.evaluate(tfd.Categorical(LOGITS), y=LABELS)
    found = nllfit.class_scores(evaluation, ["ape", "bear of the north", "cat"])
    assert len({len(line) for line in found.summary().splitlines()[:4]}) == 1  # the columns are aligned
    probabilities = evaluation.probabilities
    for k in range(3):
        np.testing.assert_allclose(found.auc[k], roc_auc_score(k == LABELS, probabilities[:, k]), rtol=1e-12)
        precision = average_precision_score(k == LABELS, probabilities[:, k])
        np.testing.assert_allclose(found.average_precision[k], precision, rtol=1e-12)
        np.testing.assert_allclose(found.nll[k], evaluation.scores["nll"][k == LABELS].mean(), rtol=1e-9)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(LABELS, probabilities.argmax(1)))
    np.testing.assert_allclose(found.counts @ found.nll / 80, evaluation.nll, rtol=1e-9)
    assert "bear" in found.summary().splitlines()[2]


def test_class_scores_of_one_hot_rows_and_events_match_scikit_learn(rng):
    logits = LOGITS + 1e-3 * rng.normal(size=LOGITS.shape)  # without this noise, rounding would decide ties
    rows = nllfit.class_scores(nllfit.evaluate(tfd.OneHotCategorical(logits), y=np.eye(3)[LABELS]))
    labels = nllfit.class_scores(nllfit.evaluate(tfd.Categorical(logits), y=LABELS))
    np.testing.assert_allclose(rows.auc, labels.auc)
    assert rows.names == ("0", "1", "2")
    of_steps = tfd.OneHotCategorical(logits.reshape(20, 4, 3))
    steps = nllfit.class_scores(nllfit.evaluate(of_steps, y=np.eye(3)[LABELS].reshape(20, 4, 3)))
    np.testing.assert_array_equal(steps.confusion, rows.confusion)
    events = tfd.Independent(tfd.Bernoulli(LOGITS[:, :1]), 1)
    found = nllfit.class_scores(nllfit.evaluate(events, y=(LABELS[:, None] == 0) * 1.0))
    np.testing.assert_allclose(found.auc, roc_auc_score(LABELS == 0, LOGITS[:, 0]), rtol=1e-12)


def test_a_class_without_rows_has_nan_scores():
    found = nllfit.class_scores(nllfit.evaluate(tfd.Categorical(LOGITS), y=np.minimum(LABELS, 1)))
    assert np.isnan([found.auc[2], found.average_precision[2], found.nll[2]]).all()


def test_an_outcome_whose_probability_underflows_has_a_finite_loss():
    distribution = tfd.Categorical(logits=[[1000.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = nllfit.class_scores(nllfit.evaluate(distribution, y=[1, 1, 0]))
    loss = np.log1p(np.exp(-1))
    np.testing.assert_allclose(found.nll, [loss, (1000 + loss) / 2], rtol=1e-6)  # rounding of float32


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="`evaluation` is of outcomes that are not classes"):
        nllfit.class_scores(nllfit.evaluate(tfd.Normal(np.zeros(3), 1.0), y=[0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="`names` has 2 names, but there are 3 classes"):
        nllfit.class_scores(nllfit.evaluate(tfd.Categorical(LOGITS), y=LABELS), ["a", "b"])


def test_class_probabilities_of_a_mixture_are_the_weighted_means_of_its_components():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1.0, 2.0], 5)
    labels, answers = rng.normal(size=[5, 2, 3]), rng.normal(size=[5, 2, 4])  # 3 classes, and 4 yes-or-no answers
    answered = tfd.Independent(tfd.Bernoulli(logits=tf.constant(answers)), 1)
    mixtures = [
        tfd.MixtureSameFamily(tfd.Categorical(probs=shares), components)
        for components in (tfd.Categorical(logits=labels), answered)
    ]
    found = [np.exp(class_log_probs(mixture)) for mixture in mixtures]
    np.testing.assert_allclose(found[0], np.einsum("nm,nmc->nc", shares, special.softmax(labels, -1)), rtol=1e-12)
    yes = np.einsum("nm,nma->na", shares, special.expit(answers))
    np.testing.assert_allclose(found[1], np.stack([1 - yes, yes], -1), rtol=1e-12)
    one = tfd.MixtureSameFamily(tfd.Categorical(probs=shares[0]), tfd.Categorical(logits=labels[:2]))  # for all rows
    expected = np.einsum("m,nmc->nc", shares[0], special.softmax(labels[:2], -1))
    np.testing.assert_allclose(np.exp(class_log_probs(one)), expected, rtol=1e-12)
