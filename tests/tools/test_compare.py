import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")

from sklearn.metrics import roc_auc_score

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import read_manifest, write_manifest
from facetell.edge.run import Run
from facetell.pipeline.train import TrainSettings, train
from facetell.tools.cli import run as facetell
from facetell.tools.compare import compare, table

from ..pictures import tree

CONDITIONS = ["clean", "JPEG 50", "half size", "blur", "social media", "tilted", "on its side", "small"]


@pytest.fixture(scope="module")
def runs(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small networks that were trained on the same crops, the fakes frames of one video, from two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(crops, folder / "crops")
    records = read_manifest(crops)
    write_manifest(folder / "crops", [replace(r, group="raw/video") if r.is_fake else r for r in records])
    for seed in (1, 2):
        train(folder / "crops", folder / f"seed-{seed}", TrainSettings("cnn", epochs=1, batch_size=8, seed=seed))
    return [folder / "seed-1", folder / "seed-2"]


@pytest.fixture(scope="module")
def compared(runs: list[Path], tmp_path_factory: pytest.TempPathFactory):
    output = tmp_path_factory.mktemp("comparison") / "all"
    return compare(runs, output, ensemble=True), output


def scores_of(run: Path) -> list[dict[str, str]]:
    with (run / "evaluation-validation" / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_run_and_their_mean_are_measured(compared, runs: list[Path]) -> None:
    rows, _ = compared
    assert [(row.name, row.backbone) for row in rows] == [
        ("seed-1", "cnn"),
        ("seed-2", "cnn"),
        ("ensemble", "mean of 2"),
    ]
    first, second = map(scores_of, runs)
    for condition in CONDITIONS:
        one, other = (np.array([float(row[f"p_fake {condition}"]) for row in rows]) for rows in (first, second))
        labels = [row["label"] == "fake" for row in first]
        for row, p_fake in zip(rows, (one, other, (one + other) / 2), strict=True):
            assert list(row.auc) == CONDITIONS
            assert list(row.auc[condition]) == ["raw", "all"]
            auc, low, high = row.auc[condition]["all"]
            assert auc == pytest.approx(roc_auc_score(labels, p_fake))
            assert low <= auc <= high


def test_size_and_time_are_those_of_the_file_a_device_gets(compared) -> None:
    (one, other, together), _ = compared
    assert 373_000 < one.size_bytes < 390_000  # 93,377 weights of 4 bytes
    assert 0 < one.latency_ms < 1000
    assert together.size_bytes == one.size_bytes + other.size_bytes
    assert together.latency_ms == one.latency_ms + other.latency_ms


def test_the_folder_holds_table_figures_and_picture(compared) -> None:
    rows, output = compared
    assert {path.name for path in output.iterdir()} == {"comparison.md", "comparison.json", "comparison.png"}
    page = (output / "comparison.md").read_text()
    for row in rows:
        auc, low, high = row.auc["clean"]["all"]
        assert f"| {row.name} | {row.backbone} | " in page
        assert f"{auc:.3f} ({low:.3f}-{high:.3f})" in page
    assert "on the validation split, 4 faces" in page
    assert [row["name"] for row in json.loads((output / "comparison.json").read_text())] == [row.name for row in rows]
    with Image.open(output / "comparison.png") as picture:
        assert min(picture.size) > 150


def test_the_command_prints_the_table(
    compared, runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert facetell(["compare", *map(str, runs), "-o", str(tmp_path / "comparison")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("| run | backbone |")
    assert "| seed-2 | cnn |" in out
    assert "ensemble" not in out
    assert "evaluating" not in err  # they were, for the comparison before


def test_runs_of_one_name_are_told_apart_by_their_folders(compared, runs: list[Path], tmp_path: Path) -> None:
    folders = [tmp_path / part / "run" for part in ("a", "b")]
    for run, folder in zip(runs, folders, strict=True):
        shutil.copytree(run, folder)
    assert [row.name for row in compare(folders, tmp_path / "comparison")] == list(map(str, folders))


@pytest.mark.parametrize(
    "changed", [{"split_sha256": "f" * 64}, {"results": {"clean": {}}}], ids=["of other crops", "of older code"]
)
def test_a_report_that_is_not_of_this_split_and_code_is_made_anew(
    changed: dict[str, Any], compared, runs: list[Path], tmp_path: Path
) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    path = run / "evaluation-validation" / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    (row,) = compare([run], tmp_path / "comparison")
    assert row.auc == compared[0][0].auc


def test_sets_of_different_names_stand_in_different_columns(compared, runs: list[Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    path = run / "evaluation-validation" / "report.json"
    report = json.loads(path.read_text())
    for by_source in report["results"].values():
        by_source["renamed"] = by_source.pop("raw")
    path.write_text(json.dumps(report))
    rows = compare([runs[1], run], tmp_path / "comparison")
    found = table(rows)
    assert found.head[2:5] == ["raw", "all", "renamed"]
    for row, cells in zip(rows, found.rows, strict=True):
        known = [row.auc["clean"].get(name) for name in found.head[2:5]]
        assert [cell[:5] for cell in cells[2:5]] == [f"{auc[0]:.3f}" if auc else "-" for auc in known]
        assert len(cells) == len(found.head)


def test_a_run_cannot_be_compared_with_itself(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="named twice"):
        compare([runs[0], runs[0].parent / "." / runs[0].name], tmp_path / "comparison")


def test_a_comparison_does_not_go_over_something_else(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match="something else"):
        compare(runs, tmp_path)
    assert tree(tmp_path) == {"thesis.txt": b"mine"}


def test_a_split_of_one_label_has_nothing_to_compare(compared, runs: list[Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    path = run / "evaluation-validation" / "report.json"
    report = json.loads(path.read_text())
    for by_source in report["results"].values():
        for metrics in by_source.values():
            metrics["auc"] = None
    path.write_text(json.dumps(report))
    with pytest.raises(DatasetError, match="one label alone"):
        compare([run], tmp_path / "comparison")
    assert not (tmp_path / "comparison").exists()


def test_runs_of_different_splits_cannot_be_compared(runs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    replace(Run.read(runs[0]), split_sha256="f" * 64).write(other)
    with pytest.raises(DatasetError, match="different pictures or splits"):
        compare([runs[0], other], tmp_path / "comparison")
    assert not (tmp_path / "comparison").exists()


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no finished run"):
        compare([tmp_path], tmp_path / "comparison")
