"""The budget of a method: limits in one or more currencies."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alignbench.metering.currencies import TIME, WORK

Limit = Annotated[float, Field(gt=0)]


class Budget(BaseModel):
    """At least one limit. Work and time limits end the method; data limits bound what it is given.

    The first work or time limit to be reached ends the method at the next optimizer step.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    optimizer_steps: Limit | None = None
    prompts: Limit | None = None
    human_labels: Limit | None = None
    ai_labels: Limit | None = None
    tokens_generated: Limit | None = None
    tokens_scored: Limit | None = None
    tokens_trained: Limit | None = None
    flops: Limit | None = None
    device_hours: Limit | None = None
    wall_hours: Limit | None = None

    @model_validator(mode="after")
    def _something_is_limited(self) -> Budget:
        if not self.limits():
            raise ValueError(
                f"a budget needs at least one of: {', '.join(type(self).model_fields)}"
            )
        return self

    def limits(self) -> dict[str, float]:
        """Limits by the meter's currency names, hours as seconds."""
        given = {name: value for name, value in self if value is not None}
        return {
            name.replace("_hours", "_seconds"): value * 3600 if name.endswith("_hours") else value
            for name, value in given.items()
        }

    def ends(self) -> bool:
        """Whether a limit of it can end a method."""
        return any(currency in self.limits() for currency in (*WORK, *TIME))

    @classmethod
    def combined(cls, shared: Budget | None, own: Budget | None) -> Budget | None:
        """A row's budget: its own limits over the shared ones, currency by currency."""
        if shared is None or own is None:
            return own or shared
        return cls.model_validate(
            {**shared.model_dump(exclude_none=True), **own.model_dump(exclude_none=True)}
        )
