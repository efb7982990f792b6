"""Experiment trackers: the curves of a run where users look at theirs. Nothing depends on them."""
