"""What is counted: names, units and kinds of the currencies. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

DATA = ("prompts", "human_labels", "ai_labels")
"""What a method is given: distinct prompts and pairs read, responses labelled. A limit bounds what
it gets; it does not end the method."""
WORK = ("optimizer_steps", "tokens_generated", "tokens_scored", "tokens_trained", "flops")
"""What a method does; equal in equal runs. Reaching a limit ends the method."""
TIME = ("device_seconds", "wall_seconds")
"""What the work took on this machine. Reaching a limit ends the method, at no certain step."""
COUNTED = (*DATA, *WORK, "tokens_padding")
"""All that depends on the work alone."""

LABELS: Mapping[str, str] = {
    "prompts": "Prompts",
    "human_labels": "Human labels",
    "ai_labels": "AI labels",
    "optimizer_steps": "Steps",
    "tokens_generated": "Tokens generated",
    "tokens_scored": "Tokens scored",
    "tokens_trained": "Tokens trained",
    "tokens_padding": "Padding",
    "flops": "FLOPs",
    "device_seconds": "Device-seconds",
    "wall_seconds": "Seconds",
}


def amount(currency: str, value: float | None) -> str:
    """``1,234``, ``2.0e+14`` for FLOPs, ``12.3`` for seconds; ``–`` for what is not known."""
    if value is None:
        return "–"
    if currency == "flops":
        return f"{value:.3g}"
    return f"{value:,.1f}" if currency in TIME else f"{value:,.0f}"
