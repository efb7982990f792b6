"""The gate: is a fresh run worse than a published one, beyond what chance explains?"""

from alignbench.gate.check import Outcome, compare_entries
from alignbench.gate.samples import Finding
from alignbench.gate.tolerance import Tolerances

__all__ = ["Finding", "Outcome", "Tolerances", "compare_entries"]
