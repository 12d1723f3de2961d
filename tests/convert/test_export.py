import csv
import hashlib
import json
import shutil
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

from facetell.convert.export import ExportSettings, export, from_run
from facetell.convert.ladder import RUNGS
from facetell.convert.metadata import with_metadata
from facetell.convert.verify import Comparison, Place, compare, comparison_table, find_places, score_bundle, verify
from facetell.edge.bundle import Bundle, load_bundle
from facetell.edge.calibration import Calibration, Thresholds
from facetell.edge.errors import DatasetError, FacetellError, ModelError
from facetell.edge.faces import centre
from facetell.edge.images import read_image
from facetell.edge.manifest import Record, read_manifest
from facetell.edge.run import Run
from facetell.edge.runtime import TFLiteModel, installed_runtimes
from facetell.tools.cli import run as facetell

from ..pictures import tree

# MediaPipe's metadata writer leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

FILES = {
    *("model.json", "float32.tflite", "float16.tflite", "int8.tflite", "face_detector.tflite"),
    *("labels.txt", "MODEL_CARD.md", "NOTICE"),
}


def in_split(crops: Path, split: str) -> list[Record]:
    return [known for known in read_manifest(crops) if known.split == split]


def test_a_bundle_holds_these_files(exported: Path) -> None:
    assert set(tree(exported)) == FILES
    assert (exported / "labels.txt").read_text().split() == ["real", "fake"]
    assert "Apache License" in (exported / "NOTICE").read_text()


def test_the_manifest_is_true_of_its_files(exported: Path, run: Path) -> None:
    manifest = json.loads((exported / "model.json").read_text())
    for entry in manifest["files"].values():
        content = (exported / entry["file"]).read_bytes()
        assert (entry["sha256"], entry["size_bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    finder = (exported / manifest["face"]["file"]).read_bytes()
    assert manifest["face"] == {
        "file": "face_detector.tflite",
        "sha256": hashlib.sha256(finder).hexdigest(),
        "min_score": 0.5,
        "margin_ratio": 1.0,
        "pre_cropped": False,
    }
    known = Run.read(run)
    assert (manifest["format"], manifest["name"], manifest["license"]) == (1, "tiny", "for tests")
    assert manifest["input"] == {"size": 224, "color": "RGB", "range": [0, 255]}
    assert Thresholds(**manifest["thresholds"]) == known.thresholds
    assert manifest["created_with"] == known.versions
    assert manifest["trained_on"] == [
        f"raw ({known.pictures['raw fake train']} fake, {known.pictures['raw real train']} real)"
    ]


def test_the_calibration_is_inside_the_files(exported: Path, run: Path) -> None:
    assert Run.read(run).calibration != Calibration()
    for classifier in load_bundle(exported).classifiers.values():
        assert classifier.calibration == Calibration()


def test_the_folder_loads_as_a_zip_too(tmp_path: Path, exported: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "tiny"), "zip", exported)
    assert load_bundle(Path(packed)).identity == load_bundle(exported).identity


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_labels_can_be_unzipped_from_the_model(exported: Path, precision: str) -> None:
    with zipfile.ZipFile(exported / f"{precision}.tflite") as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").split() == [b"real", b"fake"]


@pytest.mark.parametrize(("precision", "dtype"), [("float32", np.float32), ("float16", np.float32), ("int8", np.uint8)])
def test_raw_pixels_go_in_and_two_probabilities_come_out(exported: Path, precision: str, dtype: type) -> None:
    from tensorflow.lite.python.interpreter import Interpreter

    interpreter = Interpreter(str(exported / f"{precision}.tflite"))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["dtype"], given["dtype"]) == (dtype, np.float32)
    assert (tuple(taken["shape"]), tuple(given["shape"])) == ((1, 224, 224, 3), (1, 2))
    assert tuple(taken["shape_signature"]) == (1, 224, 224, 3)  # a browser takes nothing else
    if precision == "int8":
        assert taken["quantization"] == (1, 0)  # a pixel's value is the tensor's
    model = TFLiteModel((exported / f"{precision}.tflite").read_bytes())
    (both,) = model.run(np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8))
    assert both.shape == (1, 2)
    assert both.sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("precision", "at_most_mb"), [("float32", 3.8), ("float16", 1.95), ("int8", 1.25)])
def test_the_files_are_small(exported: Path, precision: str, at_most_mb: float) -> None:
    assert (exported / f"{precision}.tflite").stat().st_size <= at_most_mb * 1e6


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
    assert (folder / "table.md").read_text().splitlines() == comparison_table(comparisons)
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [known.path for known in in_split(crops, "validation")]
    assert len(rows[0]) == 2 + len(comparisons)
    assert read_image(folder / "scores.png").shape[2] == 3


def test_a_sample_is_verified_where_all_would_take_too_long(tmp_path: Path, exported: Path, crops: Path) -> None:
    verify(exported, crops, sample=2, output=tmp_path)
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 3


def test_the_bundle_carries_what_export_measured(exported: Path, comparisons: list[Comparison]) -> None:
    metrics = json.loads((exported / "model.json").read_text())["metrics"]
    for precision in ("float32", "float16", "int8"):
        assert (metrics[precision]["split"], metrics[precision]["pictures"]) == ("validation", 4)
        again = [comparison for comparison in comparisons if comparison.file == precision]
        for noted, comparison in zip(metrics[precision]["measured"], again, strict=True):
            assert (noted["runtime"], noted["agreement"]) == (comparison.runtime, comparison.agreement)
            assert noted["max_drift"] == pytest.approx(comparison.max_drift, abs=1e-4)


def test_the_manifest_names_the_rung_that_shipped(exported: Path) -> None:
    manifest = json.loads((exported / "model.json").read_text())
    *fallen, held = manifest["metrics"]["int8_rungs"]
    assert manifest["files"]["int8"]["rung"] == held["rung"]
    assert held["holds"]
    assert not any(rung["holds"] for rung in fallen)


def test_int8_that_does_not_hold_is_left_out(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("facetell.convert.verify.MAX_MEAN_DRIFT", 1e-5)
    monkeypatch.setattr("facetell.convert.ladder.FINE_TUNE_PICTURES", 32)
    assert facetell(["export", str(run), "-o", str(tmp_path / "bundle")]) == 3
    assert "No int8 file" in capsys.readouterr().err
    assert not (tmp_path / "bundle" / "int8.tflite").exists()
    manifest = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert "int8" not in manifest["files"]
    assert [rung["holds"] for rung in manifest["metrics"]["int8_rungs"]] == [False] * len(RUNGS)
    assert "There is no int8 file" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert load_bundle(tmp_path / "bundle").classifier().precision == "float32"


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 1)])
def test_strict_turns_the_gate_into_the_exit_code(
    exported: Path,
    crops: Path,
    tmp_path: Path,
    strict: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("facetell.convert.verify.MAX_MEAN_DRIFT", -1.0)
    arguments = ["verify", str(exported), str(crops), "--sample", "2", "-o", str(tmp_path), *strict]
    assert facetell(arguments) == code
    assert "is not as good as the reference" in capsys.readouterr().err


def test_the_table_goes_into_the_model_card_once(tmp_path: Path, exported: Path, crops: Path) -> None:
    bundle = shutil.copytree(exported, tmp_path / "bundle")
    before = (bundle / "MODEL_CARD.md").read_text().rstrip()
    comparisons = [verify(bundle, crops, sample=2, card=True) for _ in range(2)]
    card = (bundle / "MODEL_CARD.md").read_text()
    assert card.startswith(before)
    assert card.count("## Verified") == 1
    assert card.rstrip().splitlines()[-1] == comparison_table(comparisons[-1])[-1]


def test_scan_gives_the_scores_of_the_evaluation(exported: Path, run: Path, crops: Path) -> None:
    with (run / "evaluation-test" / "scores.csv").open(newline="") as file:
        wanted = {row["path"]: float(row["p_fake clean"]) for row in csv.DictReader(file)}
    records = in_split(crops, "test")
    scanned = score_bundle(exported, crops, records, "float32")
    assert dict(zip((known.path for known in records), scanned, strict=True)) == pytest.approx(wanted, abs=1e-4)
    assert np.ptp(scanned) > 1e-3


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_mediapipe_tasks_opens_the_files_and_scores_alike(exported: Path, crops: Path, precision: str) -> None:
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    content = (exported / f"{precision}.tflite").read_bytes()
    options = ImageClassifierOptions(BaseOptions(model_asset_buffer=content))
    with ImageClassifier.create_from_options(options) as classifier:
        for known in in_split(crops, "test"):
            face = np.ascontiguousarray(centre(read_image(crops / known.path), 224))
            found = classifier.classify(Image(ImageFormat.SRGB, face)).classifications[0].categories
            by_label = {category.category_name: category.score for category in found}
            ((real, fake),) = TFLiteModel(content).run(face[np.newaxis])[0]
            assert by_label == pytest.approx({"real": real, "fake": fake}, abs=1e-3 if precision == "float32" else 0.03)


def test_the_same_run_exports_to_the_same_bytes(tmp_path: Path, exported: Path, run: Path) -> None:
    export(from_run(run), tmp_path / "again", ExportSettings("tiny", license="for tests"))
    for file in sorted(FILES - {"model.json", "MODEL_CARD.md"}):  # those two hold milliseconds
        assert (tmp_path / "again" / file).read_bytes() == (exported / file).read_bytes(), file


def test_the_metadata_do_not_change_by_the_clock(exported: Path) -> None:
    with zipfile.ZipFile(exported / "float32.tflite") as archive:
        start_of_zip = archive.infolist()[0].header_offset
    content = (exported / "float32.tflite").read_bytes()[:start_of_zip]
    first = with_metadata(content, "tiny", "for tests")
    time.sleep(2.1)  # a zip tells times two seconds apart
    assert with_metadata(content, "tiny", "for tests") == first


@pytest.mark.parametrize("standing", ["a file in it", "a file"])
def test_nothing_is_written_over_something_else(tmp_path: Path, run: Path, standing: str) -> None:
    output = tmp_path / "bundle"
    (output / "thesis.txt" if standing == "a file in it" else output).parent.mkdir(exist_ok=True)
    (output / "thesis.txt" if standing == "a file in it" else output).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(DatasetError, match="exists already"):
        export(from_run(run), output, ExportSettings("tiny"))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_failed_export_leaves_nothing(tmp_path: Path, run: Path, crops: Path, split: str) -> None:
    damaged = tmp_path / "crops"
    shutil.copytree(crops, damaged)
    (damaged / in_split(crops, split)[0].path).unlink()
    with pytest.raises(FacetellError):
        export(from_run(run, damaged), tmp_path / "new" / "bundle", ExportSettings("tiny"))
    assert not (tmp_path / "new").exists()


def test_a_report_on_other_crops_does_not_enter_the_card(tmp_path: Path, run: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    report = json.loads((copy / "evaluation-test" / "report.json").read_text())
    (copy / "evaluation-test" / "report.json").write_text(json.dumps(report | {"split_sha256": "of other crops"}))
    export(from_run(copy), tmp_path / "bundle", ExportSettings("tiny"))
    assert "was not run on this model before" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


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


def test_two_pythons_with_the_same_runtime_are_told_apart() -> None:
    places = [str(place) for place in find_places([(sys.executable,), (sys.executable,)])]
    assert len(set(places)) == len(places)


def test_verify_of_a_run_that_is_none_is_an_error(tmp_path: Path, exported: Path, crops: Path) -> None:
    with pytest.raises(DatasetError, match="no finished run"):
        verify(exported, crops, run_folder=tmp_path)


def test_a_run_that_is_not_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no finished run"):
        from_run(tmp_path)


def test_scoring_a_folder_that_is_no_bundle_fails(tmp_path: Path, crops: Path) -> None:
    with pytest.raises(ModelError, match="not a bundle"):
        score_bundle(tmp_path, crops, in_split(crops, "test"), "float32")


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
    found = compare("float32", place, other, reference, np.array([False, True, False, True]), bundle, 1.5)
    assert (found.auc, found.auc_loss, found.agreement) == (0.75, 0, 0.5)
    assert (found.mean_drift, found.max_drift) == pytest.approx((0.15, 0.3))
    size = f"{bundle.classifiers['float32'].size_bytes / 1e6:.2f}"
    assert comparison_table([found])[-1] == (
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


def test_crops_that_were_cut_otherwise_are_refused(tmp_path: Path, run: Path, crops: Path) -> None:
    other = shutil.copytree(crops, tmp_path / "crops")
    settings = json.loads((other / "crop.json").read_text())
    settings["settings"]["margin_ratio"] = 1.3
    (other / "crop.json").write_text(json.dumps(settings))
    with pytest.raises(DatasetError, match=r"at 1\.3 times the face box"):
        from_run(run, other)
