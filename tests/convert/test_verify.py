"""What verify measures, keeps and refuses: every file on every runtime against the Keras model."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

from facetell.convert.verify import (
    Comparison,
    Place,
    compare,
    comparison_table,
    find_places,
    keras_row,
    score_bundle,
    verify,
    with_latencies,
)
from facetell.edge.bundle import Bundle, load_bundle
from facetell.edge.calibration import Thresholds
from facetell.edge.errors import DatasetError, ModelError
from facetell.edge.images import read_image
from facetell.edge.manifest import read_manifest, select
from facetell.edge.run import Run
from facetell.edge.runtime import installed_runtimes
from facetell.tools.cli import run as facetell

from ..pictures import tree

# MediaPipe's metadata writer leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")


@pytest.fixture(scope="session")
def comparisons(exported: Path, crops: Path) -> list[Comparison]:
    return verify(exported, crops)


def test_verify_compares_every_file_on_every_runtime_with_keras(comparisons: list[Comparison]) -> None:
    runtimes = [name.split()[0] for name in installed_runtimes()]
    wanted = [(precision, runtime) for runtime in runtimes for precision in ("float32", "float16", "int8")]
    assert [(c.file, c.runtime.split()[0]) for c in comparisons] == [("keras", "keras"), *wanted]


@pytest.mark.parametrize(("precision", "drift"), [("float32", 1e-4), ("float16", 5e-3), ("int8", 0.02)])
def test_the_files_say_what_keras_says(comparisons: list[Comparison], precision: str, drift: float) -> None:
    rows = [comparison for comparison in comparisons if comparison.file == precision]
    assert len(rows) == len(installed_runtimes())
    for row in rows:
        assert row.holds
        assert row.mean_drift < drift
        assert row.processor
        assert row.latency_ms
        assert row.latency_ms > 0


def test_verify_keeps_table_scores_and_plot_in_the_run(comparisons: list[Comparison], run: Path, crops: Path) -> None:
    folder = run / "verification-validation"
    assert (folder / "table.md").read_text() == f"{comparison_table(comparisons)}\n"
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [known.path for known in select(read_manifest(crops), "validation")]
    assert len(rows[0]) == 2 + len(comparisons)
    assert read_image(folder / "scores.png").shape[2] == 3


def test_the_bundle_carries_what_export_measured(exported: Path, comparisons: list[Comparison]) -> None:
    metrics = json.loads((exported / "model.json").read_text())["metrics"]
    for precision in ("float32", "float16", "int8"):
        assert (metrics[precision]["split"], metrics[precision]["pictures"]) == ("validation", 4)
        again = [comparison for comparison in comparisons if comparison.file == precision]
        for noted, comparison in zip(metrics[precision]["measured"], again, strict=True):
            assert (noted["runtime"], noted["agreement"]) == (comparison.runtime, comparison.agreement)
            assert noted["max_drift"] == pytest.approx(comparison.max_drift, abs=1e-4)
            assert noted["latency_ms"] > 0


def test_a_sample_is_measured_against_the_gate_and_put_into_the_card(
    tmp_path: Path,
    exported: Path,
    run: Path,
    crops: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("facetell.convert.verify.MAX_MEAN_DRIFT", -1.0)
    bundle = shutil.copytree(exported, tmp_path / "bundle")
    before = (bundle / "MODEL_CARD.md").read_text().rstrip()
    runtimes = len(installed_runtimes())
    arguments = ["verify", str(bundle), str(crops), "--sample", "2", "-o", str(tmp_path / "out"), "--card"]
    arguments += ["--run", str(run), "--precision", "int8"]
    for strict, status in (([], 0), (["--strict"], 1)):
        assert facetell([*arguments, *strict]) == status
        said = capsys.readouterr()
        assert "is not as good as the reference" in said.err
        assert len((tmp_path / "out" / "scores.csv").read_text().splitlines()) == 3
        assert [line.split(" | ")[0] for line in said.out.splitlines()[2:]] == ["| keras", *["| int8"] * runtimes]
        card = (bundle / "MODEL_CARD.md").read_text()
        assert card.startswith(before)
        assert card.count("## Verified") == 1
        assert card.rstrip().splitlines()[-1] == said.out.rstrip().splitlines()[-1]


def test_the_file_gives_the_scores_of_the_evaluation(exported: Path, run: Path, crops: Path) -> None:
    with (run / "evaluation-test" / "scores.csv").open(newline="") as file:
        wanted = {row["path"]: float(row["p_fake clean"]) for row in csv.DictReader(file)}
    records = select(read_manifest(crops), "test")
    scores = score_bundle(exported, crops, records, "float32")
    assert dict(zip((known.path for known in records), scores, strict=True)) == pytest.approx(wanted, abs=1e-4)
    assert np.ptp(scores) > 1e-3


def test_verify_with_the_run_of_another_bundle_is_an_error(
    tmp_path: Path, exported: Path, run: Path, crops: Path
) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("bundle", "verification-*"))
    known = Run.read(run)
    replace(known, thresholds=replace(known.thresholds, fake=0.99)).write(other)
    with pytest.raises(DatasetError, match="was not exported from"):
        verify(exported, crops, run_folder=other)
    assert not (other / "verification-validation").exists()


def test_pythons_with_the_same_runtime_are_told_apart() -> None:
    places = [str(place) for place in find_places([(sys.executable,)] * 3)]
    assert len(set(places)) == len(places)
    assert sys.executable not in "".join(places)


def test_each_row_has_the_latency_of_its_file_in_its_place(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Place((python,), "r", "1", python) for python in ("here", "there", "nowhere")]
    rows = [
        Comparison(file, "r 1", place.processor, 0.9, 0, 1, 0, 0, 1) for place in places for file in ("int8", "float32")
    ]
    rows = [keras_row(np.array([0.0, 1.0]), np.array([False, True]), 1), *rows]

    def latencies(files: list[Path], runtime: str, python: tuple[str]) -> list[float]:
        if python == ("nowhere",):
            raise ModelError("gone")
        return [len(python[0]) + {"float32.tflite": 0.1, "int8.tflite": 0.2}[file.name] for file in files]

    monkeypatch.setattr("facetell.convert.verify.latencies_ms", latencies)
    said: list[str] = []
    timed = with_latencies(rows, exported, load_bundle(exported), places, said.append)
    assert [row.latency_ms for row in timed] == [None, 4.2, 4.1, 5.2, 5.1, None, None]
    assert [row.file for row in timed] == [row.file for row in rows]
    assert "latency cannot be measured: gone" in said


def test_verify_of_a_run_that_is_none_is_an_error(tmp_path: Path, exported: Path, crops: Path) -> None:
    with pytest.raises(DatasetError, match="no finished run"):
        verify(exported, crops, run_folder=tmp_path)


def test_scoring_a_folder_that_is_no_bundle_fails(tmp_path: Path, crops: Path) -> None:
    with pytest.raises(ModelError, match="not a bundle"):
        score_bundle(tmp_path, crops, select(read_manifest(crops), "test"), "float32")


HOLDS = Comparison(
    "int8", "r 1", "p", auc=0.9, auc_loss=0.005, agreement=0.985, mean_drift=0.02, max_drift=1, size_bytes=1
)


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"auc_loss": -0.005}, True),
        ({"auc_loss": 0.0051}, False),
        ({"auc_loss": -0.0051}, False),
        ({"agreement": 0.9849}, False),
        ({"mean_drift": 0.0201}, False),
    ],
)
def test_a_file_holds_when_it_is_as_good_as_the_reference(change: dict[str, float], holds: bool) -> None:
    assert replace(HOLDS, **change).holds == holds


def test_a_comparison_counts_what_differs(bundle: Bundle) -> None:
    bundle = replace(bundle, thresholds=Thresholds(real=0.3, fake=0.7, chosen_at="by hand"))
    reference, other = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0.1, 0.2, 0.5, 0.6])
    place = Place(("python",), "some-runtime", "1.0", "a processor")
    found = compare("float32", place, other, reference, np.array([False, True, False, True]), bundle)
    assert (found.auc, found.auc_loss, found.agreement) == (0.75, 0, 0.5)
    assert (found.mean_drift, found.max_drift) == pytest.approx((0.15, 0.3))
    size = f"{bundle.classifiers['float32'].size_bytes / 1e6:.2f}"
    assert str(comparison_table([replace(found, latency_ms=1.5)])).splitlines()[-1] == (
        f"| float32 | some-runtime 1.0 | a processor | 0.7500 | +0.0000 | 50.00% | 0.1500 | 0.300 | {size} | 1.50 |"
    )


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (["no-such-python"], "no-such-python cannot be started"),
        ([sys.executable, "-c", "raise SystemExit('not here')"], "not here"),
        (["echo", "welcome to this machine"], "wanted JSON"),
        ([sys.executable, "-c", 'print(\'{"processor": "x", "runtimes": {}}\')'], "has no TFLite runtime"),
    ],
)
def test_a_python_without_facetell_is_an_error(python: list[str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        find_places([python])


def test_a_packed_bundle_is_to_be_unpacked_first(tmp_path: Path, exported: Path, crops: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "tiny"), "zip", exported)
    with pytest.raises(ModelError, match="unzip it"):
        verify(Path(packed), crops)


def test_a_signed_bundle_keeps_its_card(tmp_path: Path, exported: Path, crops: Path) -> None:
    bundle = shutil.copytree(exported, tmp_path / "bundle")
    (bundle / "model.sig").write_text("a signature")
    before = tree(bundle)
    with pytest.raises(ModelError, match="is signed"):
        verify(bundle, crops, card=True)
    assert tree(bundle) == before
