"""Experiments: one script a question, each run as `python -m experiments.NAME`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # an experiment prints its own lines

if sys.argv[:1] == ["-m"]:  # Python imports this package before the experiment that it runs
    from experiments import startup

    startup.begin()
