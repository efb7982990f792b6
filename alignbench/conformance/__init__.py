"""Does a method keep the contract? `run.conformance` tries it in a tiny world and says so.

What scikit-learn's `check_estimator` is to estimators: the real harness trains the method a dozen
times on a model of a few thousand parameters, instruments watch from outside, and each check gives
a verdict with what was seen.
"""
