"""A tree that is redrawn in place at the bottom of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignbench.terminal.snapshot import Snapshot
from alignbench.terminal.text import encodable
from alignbench.terminal.tree import tree_lines

if TYPE_CHECKING:
    from rich.console import Console, Group


class LiveTree:
    """Draws snapshots over one another; lines printed on the console meanwhile stay above them."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self.console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def start(self, first: Snapshot) -> None:
        """Begin with this state."""
        self._live.start()
        self.draw(first)

    def draw(self, snapshot: Snapshot) -> None:
        """Show this state, in all the room there is but the last line and column."""
        width, height = self.console.size
        self._live.update(self._rendered(snapshot, width - 1, max(2, height - 1)), refresh=True)

    def stop(self, last: Snapshot) -> None:
        """Leave this state on the terminal, without the notes: those follow in full."""
        bare = last.model_copy(update={"notes": ()})
        self.draw(bare)
        self._live.stop()

    def _rendered(self, snapshot: Snapshot, width: int, height: int) -> Group:
        from rich.console import Group
        from rich.text import Text

        return Group(
            *(
                Text(
                    encodable(line.text, self.console.encoding),
                    style=line.style,
                    no_wrap=True,
                    overflow="crop",
                )
                for line in tree_lines(snapshot, width, height)
            )
        )
