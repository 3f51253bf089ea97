"""Searches for the maximum of a function by Newton's method, and tells whether the result is a maximum.

`estimation` maximises log-likelihoods with `newton`. `training`, `regression` and `bayes` have their own searches, and
`inference` checks a maximum without a search. All these packages use functions of `curvature`, which compute principal
axes and Newton steps and check a maximum. `training` and `inference` also use `corners`. All computations are in NumPy
and float64.
"""
