"""What a long command shows on a terminal while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .history import EpochRow


@contextmanager
def counter(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal's stderr; call with what is done and in all."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from ..edge.runtime import silent_stderr

    columns = (title, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with silent_stderr():
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def training_display() -> Iterator[dict[str, Any]]:
    """Show each epoch as a line and the time left as a bar on stderr; yield train's callbacks."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), "time left", TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)

        def on_batch(done: float, epochs: int) -> None:
            progress.update(task, completed=done, total=epochs, description=f"{done:.2f} of {epochs} epochs")

        def on_epoch(row: EpochRow, epochs: int) -> None:
            console.print(
                f"epoch {row.epoch}/{epochs} ({row.phase}): loss {row.loss:.3f}, accuracy {row.accuracy:.3f}; "
                f"AUC {row.validation_auc:.4f}; {row.pictures_per_s:.3g} pictures/s",
                highlight=False,
                soft_wrap=True,
            )

        yield {"on_batch": on_batch, "on_epoch": on_epoch}
