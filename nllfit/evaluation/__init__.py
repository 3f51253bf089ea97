"""Evaluation of predicted distributions: proper scores and calibration on rows with known outcomes."""

from nllfit.evaluation.class_scores import ClassScores, class_scores
from nllfit.evaluation.comparison import ScoreComparison, compare_scores
from nllfit.evaluation.evaluations import Evaluation, evaluate

__all__ = ["ClassScores", "Evaluation", "ScoreComparison", "class_scores", "compare_scores", "evaluate"]
