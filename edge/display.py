"""What a person sees of a scan while it runs and at its end; on stderr, beside the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TimeElapsedColumn
from rich.text import Text

from .errors import printable
from .results import FileResult, Tally

_REASONS = 5  # that a summary names


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed and not task.fields.get("video") else "")


class ScanDisplay:
    """A count of files, and a bar for each video at work, on a terminal."""

    def __init__(self, *, show: bool) -> None:
        """Show nothing yet, and nothing at all where stderr is no terminal."""
        console = Console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), _Speed(), TimeElapsedColumn())
        disable = not (show and console.is_terminal)
        self._progress = Progress(*columns, console=console, transient=True, disable=disable)
        self._files = self._progress.add_task("files", total=None)
        self._videos: dict[Path, TaskID] = {}

    def __enter__(self) -> ScanDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def counted(self, results: Iterable[FileResult]) -> Iterator[FileResult]:
        """Pass results on, counting them."""
        for result in results:
            yield result
            self.advance(1)
            if (task := self._videos.pop(Path(result.path), None)) is not None:
                self._progress.remove_task(task)

    def waits_for(self, what: str) -> None:
        """Show what is waited for, until a file is done."""
        self._progress.update(self._files, description=what)

    def advance(self, files: int) -> None:
        """Count some more files."""
        self._progress.update(self._files, advance=files, description="files")

    def on_video(self, path: Path, share: float) -> None:
        """Show how much of a video is done; may be called from any thread."""
        if path not in self._videos:
            self._videos[path] = self._progress.add_task(printable(path.name), total=100, video=True)
        self._progress.update(self._videos[path], completed=round(share * 100))


def summary(tally: Tally, seconds: float, before: int, failed_before: int, *, stopped: bool) -> str:
    """Return a sentence on what a scan came to, and a line for each of the most frequent reasons of failures.

    before is the number of files that an earlier scan had done, failed_before how many of them could not be read.
    """
    total = tally.verdicts.total()
    said = f"{'Stopped after' if stopped else 'Scanned'} {total} file{'s' * (total != 1)} in {seconds:.1f} s"
    if total:
        counts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in tally.verdicts.most_common())
        said += f" ({total / seconds:.3g}/s): {counts}"
    if before:
        said += f"; {before} {'was' if before == 1 else 'were'} done before"
        said += f", {failed_before} of them not read" if failed_before else ""
    lines = [f"{said}. A verdict is evidence, not proof."]
    lines += [f"  {count} not read: {printable(reason)}" for reason, count in tally.reasons.most_common(_REASONS)]
    if len(tally.reasons) > _REASONS:
        lines.append(f"  and {len(tally.reasons) - _REASONS} more reasons; the results have them all")
    return "\n".join(lines)
