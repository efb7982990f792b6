"""The results of a run: reading, writing and showing them. Imports no torch."""

from alignbench.results.render import render_table
from alignbench.results.schema import load, save

__all__ = ["load", "render_table", "save"]
