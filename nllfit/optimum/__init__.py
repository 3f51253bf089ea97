"""Searches for the maximum of a function by Newton's method, and tells whether the result is a maximum.

`estimation` maximises log-likelihoods with `newton`. `training`, `inference` and `regression` have their own searches,
but they use the principal axes, Newton steps and checks of a maximum in `curvature`. All computations are in NumPy and
float64.
"""
