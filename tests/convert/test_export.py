import csv
import hashlib
import json
import shutil
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

from facetell.convert.export import ExportSettings, balanced_sample, export
from facetell.convert.metadata import with_metadata
from facetell.convert.verify import Comparison, compare, comparison_table, score_bundle, verify
from facetell.edge.bundle import load_bundle
from facetell.edge.calibration import Thresholds
from facetell.edge.errors import DatasetError, FacetellError, ModelError
from facetell.edge.faces import centre
from facetell.edge.images import read_image
from facetell.edge.manifest import Record, read_manifest
from facetell.edge.run import Run
from facetell.edge.runtime import TFLiteModel, installed_runtimes

from ..pictures import record, tree

# MediaPipe's metadata writer leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

FILES = {
    *("model.json", "float32.tflite", "int8.tflite", "face_detector.tflite"),
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


def test_the_float_file_has_the_runs_calibration_and_int8_its_own(exported: Path, run: Path) -> None:
    bundle = load_bundle(exported)
    assert bundle.classifier("float32").calibration == Run.read(run).calibration
    assert bundle.classifier("int8").calibration != Run.read(run).calibration


def test_the_folder_loads_as_a_zip_too(tmp_path: Path, exported: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "tiny"), "zip", exported)
    assert load_bundle(Path(packed)).identity == load_bundle(exported).identity


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_labels_can_be_unzipped_from_the_model(exported: Path, precision: str) -> None:
    with zipfile.ZipFile(exported / f"{precision}.tflite") as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").split() == [b"real", b"fake"]


@pytest.mark.parametrize(("precision", "dtype"), [("float32", np.float32), ("int8", np.uint8)])
def test_raw_pixels_go_in_and_two_probabilities_come_out(exported: Path, precision: str, dtype: type) -> None:
    from tensorflow.lite.python.interpreter import Interpreter

    interpreter = Interpreter(str(exported / f"{precision}.tflite"))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["dtype"], given["dtype"]) == (dtype, dtype)
    assert (tuple(taken["shape"]), tuple(given["shape"])) == ((1, 224, 224, 3), (1, 2))
    if precision == "int8":
        assert taken["quantization"] == pytest.approx((1, 0), abs=0.01)  # a pixel's value is the tensor's
    model = TFLiteModel((exported / f"{precision}.tflite").read_bytes())
    (both,) = model.run(np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8))
    assert both.shape == (1, 2)
    assert both.sum() == pytest.approx(1, abs=0.01)


def test_the_int8_file_is_a_third_of_the_float_one(exported: Path) -> None:
    float32, int8 = ((exported / f"{precision}.tflite").stat().st_size for precision in ("float32", "int8"))
    assert int8 < float32 / 3


@pytest.fixture(scope="session")
def comparisons(exported: Path, crops: Path) -> dict[str, Comparison]:
    return {comparison.name: comparison for comparison in verify(exported, crops)}


def test_verify_compares_every_file_on_every_runtime_with_keras(comparisons: dict[str, Comparison]) -> None:
    files = [f"{precision}, {runtime}" for precision in ("float32", "int8") for runtime in installed_runtimes()]
    assert list(comparisons) == ["keras", *files]


def test_the_float_file_says_what_keras_says(comparisons: dict[str, Comparison]) -> None:
    for name, comparison in comparisons.items():
        if name.startswith("float32"):
            assert comparison.max_drift < 1e-4
            assert (comparison.agreement, comparison.auc_loss) == (1, 0)


def test_the_int8_file_says_nearly_the_same(comparisons: dict[str, Comparison]) -> None:
    for name, comparison in comparisons.items():
        if name.startswith("int8"):
            assert comparison.mean_drift < 0.1


def test_the_bundle_carries_what_export_measured(exported: Path, comparisons: dict[str, Comparison]) -> None:
    metrics = json.loads((exported / "model.json").read_text())["metrics"]
    for precision in ("float32", "int8"):
        again = comparisons[f"{precision}, {installed_runtimes()[0]}"]
        assert metrics[precision]["max_drift"] == pytest.approx(again.max_drift, abs=1e-4)
        assert (metrics[precision]["split"], metrics[precision]["pictures"]) == ("validation", 4)


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


def test_the_same_run_exports_to_the_same_model(tmp_path: Path, exported: Path, run: Path) -> None:
    export(run, tmp_path / "again", ExportSettings("tiny", license="for tests"))
    assert (tmp_path / "again" / "float32.tflite").read_bytes() == (exported / "float32.tflite").read_bytes()


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
        export(run, output, ExportSettings("tiny"))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_failed_export_leaves_nothing(tmp_path: Path, run: Path, crops: Path, split: str) -> None:
    damaged = tmp_path / "crops"
    shutil.copytree(crops, damaged)
    (damaged / in_split(crops, split)[0].path).unlink()
    with pytest.raises(FacetellError):
        export(run, tmp_path / "new" / "bundle", ExportSettings("tiny"), crops=damaged)
    assert not (tmp_path / "new").exists()


def test_a_report_on_other_crops_does_not_enter_the_card(tmp_path: Path, run: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    report = json.loads((copy / "evaluation-test" / "report.json").read_text())
    (copy / "evaluation-test" / "report.json").write_text(json.dumps(report | {"split_sha256": "of other crops"}))
    export(copy, tmp_path / "bundle", ExportSettings("tiny"))
    assert "before it was evaluated" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


def test_verify_of_a_run_that_is_none_is_an_error(tmp_path: Path, exported: Path, crops: Path) -> None:
    with pytest.raises(DatasetError, match="no finished run"):
        verify(exported, crops, run_folder=tmp_path)


def test_a_run_that_is_not_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no finished run"):
        export(tmp_path, tmp_path / "bundle", ExportSettings("tiny"))


def test_scoring_a_folder_that_is_no_bundle_fails(tmp_path: Path, crops: Path) -> None:
    with pytest.raises(ModelError, match="not a bundle"):
        score_bundle(tmp_path, crops, in_split(crops, "test"), "float32")


def test_a_sample_takes_as_many_of_each_source_and_label() -> None:
    sizes = {("a", "real"): 50, ("a", "fake"): 20, ("b", "real"): 3, ("b", "fake"): 20}
    records = [
        record(f"{source}{label}{number}", label, source=source)
        for (source, label), size in sizes.items()
        for number in range(size)
    ]
    chosen = balanced_sample(records, 40)
    assert Counter((known.source, known.label) for known in chosen) == {
        ("a", "real"): 10,
        ("a", "fake"): 10,
        ("b", "real"): 3,
        ("b", "fake"): 10,
    }
    assert len({known.path for known in chosen}) == len(chosen)
    assert chosen == balanced_sample(records, 40)
    assert chosen != balanced_sample(records, 40, seed=1)
    assert len(balanced_sample(records, 1000)) == len(records)


def test_a_comparison_counts_what_differs() -> None:
    thresholds = Thresholds(real=0.3, fake=0.7, chosen_at="by hand")
    reference, other = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0.1, 0.2, 0.5, 0.6])
    found = compare("other", other, reference, np.array([False, True, False, True]), thresholds, 1_500_000)
    assert (found.auc, found.auc_loss, found.agreement) == (0.75, 0, 0.5)
    assert (found.mean_drift, found.max_drift) == pytest.approx((0.15, 0.3))
    assert comparison_table([found])[-1] == "| other | 0.7500 | +0.0000 | 50.00% | 0.15000 | 0.3000 | 0.0% | 1.50 |"
