"""Calibration: maps that make a model's predicted probabilities right, found on rows that it was not trained on."""

from nllfit.calibration.temperature import TemperatureScaled, scale_temperature

__all__ = ["TemperatureScaled", "scale_temperature"]
