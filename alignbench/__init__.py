"""alignbench: fair comparison of alignment methods under one starting model, data and budget."""

__version__ = "0.1.0"
