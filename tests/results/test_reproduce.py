from __future__ import annotations

from alignbench.leaderboard.texts import problem_of
from alignbench.results.reproduce import UNKNOWN_SETTINGS, commands

RECIPE = {"name": "tiny", "profile": "cpu", "methods": {"ppo": {}, "dpo": {}}, "seeds": [0, 1]}
RUN = "alignbench run recipes/tiny.yaml --profile cpu --methods ppo,dpo --seeds 0,1"


def test_the_commands_and_what_they_cannot_know() -> None:
    assert commands(RECIPE) == [RUN, UNKNOWN_SETTINGS]
    assert UNKNOWN_SETTINGS.startswith("# and every --set")  # pasted into a shell, it does nothing
    assert problem_of(UNKNOWN_SETTINGS) is None  # an entry may hold it


def test_places_of_this_machine_are_for_the_reader_to_fill_in() -> None:
    local = {**RECIPE, "data": {"path": "/home/me/pairs.jsonl"}, "model": {"path": "org/name"}}
    assert commands(local, "abc+changes") == [
        "git checkout abc",
        f"{RUN} --set data.path=PATH",
        UNKNOWN_SETTINGS,
    ]
