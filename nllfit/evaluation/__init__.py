"""Evaluation of predicted distributions by proper scores and calibration."""

from nllfit.evaluation.class_scores import ClassScores, class_scores
from nllfit.evaluation.evaluations import Evaluation, evaluate
from nllfit.evaluation.score_comparison import ScoreComparison, compare_scores

__all__ = ["ClassScores", "Evaluation", "ScoreComparison", "class_scores", "compare_scores", "evaluate"]
