from dataclasses import replace
from pathlib import Path

import pytest

from facetell.edge.errors import DatasetError
from facetell.pipeline.history import HISTORY, EpochRow, best_epoch, read_history, write_history

ROWS = [
    EpochRow(1, "head", 160, 1e-3, 0.69, 0.5, 0.7, 0.5, 0.51, 12.5, 120.25),
    EpochRow(2, "whole", 224, 1e-7, 1 / 3, 0.75, 0.4, 0.8, 0.9, 20.0, 80.0),
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_history(tmp_path, ROWS)
    assert read_history(tmp_path) == ROWS


@pytest.mark.parametrize(
    ("found", "put", "said"),
    [
        ("size_px", "width", "KeyError"),  # of another version
        (",160,", ",large,", "ValueError"),
        (",160,0.001", "", "damaged"),
    ],
)
def test_a_history_that_cannot_be_gone_on_from_is_one_line(found: str, put: str, said: str, tmp_path: Path) -> None:
    write_history(tmp_path, ROWS)
    text = (tmp_path / HISTORY).read_text()
    assert found in text
    (tmp_path / HISTORY).write_text(text.replace(found, put))
    with pytest.raises(DatasetError, match=said):
        read_history(tmp_path)


def test_a_missing_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"history\.csv"):
        read_history(tmp_path)


@pytest.mark.parametrize(
    ("sizes", "aucs", "best"),
    [
        ([224], [0.6], 1),
        ([224, 224, 224], [0.6, 0.8, 0.7], 2),
        ([224, 224], [0.7, 0.7], 1),
        ([160, 160, 224, 224], [0.9, 0.95, 0.7, 0.8], 4),  # what was shown small is not kept
    ],
)
def test_the_best_epoch_is_one_at_the_last_ones_size(sizes: list[int], aucs: list[float], best: int) -> None:
    rows = [
        replace(ROWS[0], epoch=number, size_px=size, validation_auc=auc)
        for number, (size, auc) in enumerate(zip(sizes, aucs, strict=True), start=1)
    ]
    assert best_epoch(rows).epoch == best
