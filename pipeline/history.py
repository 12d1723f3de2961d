"""What each epoch of a training came to: history.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..edge.errors import DatasetError
from ..edge.files import replacing

HISTORY, CURVES = "history.csv", "curves.png"


@dataclass(frozen=True)
class EpochRow:
    """One line of history.csv."""

    epoch: int
    phase: str
    size_px: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_auc: float
    """Of the reserved pictures, where there are some (manifest.deciding)."""
    duration_s: float
    pictures_per_s: float


def best_epoch(history: Sequence[EpochRow]) -> EpochRow:
    """Return the epoch that a training keeps: of those at the last one's size, the first of the highest AUC."""
    return max((row for row in history if row.size_px == history[-1].size_px), key=lambda row: row.validation_auc)


_TYPES = {"epoch": int, "phase": str, "size_px": int}


def write_history(run_folder: Path, history: Sequence[EpochRow]) -> None:
    """Write a run's history.csv."""
    with replacing(run_folder / HISTORY) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EpochRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in history)


def read_history(run_folder: Path) -> list[EpochRow]:
    """Return a run's history; raises DatasetError when it is damaged, or was written by another version."""
    path = run_folder / HISTORY
    try:
        with path.open(newline="") as file:
            return [
                EpochRow(**{field.name: _TYPES.get(field.name, float)(row[field.name]) for field in fields(EpochRow)})
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{path} is damaged, or of another version of facetell ({error!r}); train into another folder with -o"
        ) from error
