"""Evaluation of predicted distributions: proper scores and calibration on rows with known outcomes."""

from nllfit.evaluation.comparison import ScoreComparison, compare_scores
from nllfit.evaluation.evaluations import Evaluation, evaluate

__all__ = ["Evaluation", "ScoreComparison", "compare_scores", "evaluate"]
