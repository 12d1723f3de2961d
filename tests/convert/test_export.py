"""What export writes: the files, what they take and give, what the manifest says; and when it writes nothing."""

import hashlib
import json
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

from facetell.convert.card import CardSettings
from facetell.convert.export import export, from_run
from facetell.convert.metadata import with_metadata
from facetell.convert.verify import score_bundle
from facetell.edge.bundle import PRECISIONS, load_bundle
from facetell.edge.calibration import Calibration, Thresholds
from facetell.edge.cut import centre
from facetell.edge.errors import DatasetError, FacetellError, ModelError
from facetell.edge.images import read_image
from facetell.edge.manifest import Record, read_manifest, select
from facetell.edge.run import Run
from facetell.edge.runtime import TFLiteModel
from facetell.tools.cli import run as facetell

from ..pictures import tree

# MediaPipe's metadata writer leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

FILES = {
    *("model.json", "float32.tflite", "float16.tflite", "int8.tflite", "explain.tflite", "face_detector.tflite"),
    *("labels.txt", "MODEL_CARD.md", "NOTICE"),
}


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
        "min_face_px": 48,
        "margin_ratio": 1.5,
        "shown_ratio": 1.3,
        "pre_cropped": False,
    }
    known = Run.read(run)
    assert (manifest["format"], manifest["name"], manifest["license"]) == (4, "tiny", "for tests")
    assert manifest["input"] == {"size": 224, "color": "RGB", "range": [0, 255]}
    assert Thresholds(**manifest["thresholds"]) == known.thresholds
    assert manifest["created_with"] == known.versions
    assert manifest["trained_on"] == [
        f"raw ({known.pictures['raw fake train']} fake, {known.pictures['raw real train']} real)"
    ]


def test_a_network_that_was_trained_here_is_calibrated(exported: Path, run: Path) -> None:
    assert Run.read(run).calibration == Calibration()
    for classifier in load_bundle(exported).classifiers.values():
        assert classifier.calibration == Calibration()


def test_the_folder_loads_as_a_zip_too(tmp_path: Path, exported: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "tiny"), "zip", exported)
    assert load_bundle(Path(packed)).identity == load_bundle(exported).identity


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_labels_can_be_unzipped_from_the_model(exported: Path, precision: str) -> None:
    with zipfile.ZipFile(exported / f"{precision}.tflite") as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").split() == [b"real", b"fake"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_raw_pixels_go_in_and_two_probabilities_come_out(exported: Path, precision: str) -> None:
    from tensorflow.lite.python.interpreter import Interpreter

    interpreter = Interpreter(str(exported / f"{precision}.tflite"))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["dtype"], given["dtype"]) == (np.float32, np.float32)
    assert (tuple(taken["shape"]), tuple(given["shape"])) == ((1, 224, 224, 3), (1, 2))
    assert tuple(taken["shape_signature"]) == (1, 224, 224, 3)  # a browser takes nothing else
    model = TFLiteModel((exported / f"{precision}.tflite").read_bytes())
    (both,) = model.run(np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8))
    assert both.shape == (1, 2)
    assert both.sum() == pytest.approx(1, abs=0.01)


def test_each_file_is_smaller_than_the_more_exact_one(exported: Path) -> None:
    sizes = [(exported / f"{precision}.tflite").stat().st_size for precision in PRECISIONS]
    assert sizes[1] <= 0.52 * sizes[0]
    assert sizes[2] <= 0.8 * sizes[1]


def test_files_that_do_not_hold_are_left_out(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("facetell.convert.verify.MAX_MEAN_DRIFT", 1e-6)
    assert facetell(["export", str(run), "-o", str(tmp_path / "bundle")]) == 3
    manifest, said = json.loads((tmp_path / "bundle" / "model.json").read_text()), capsys.readouterr().err
    for precision in ("float16", "int8"):
        assert f"No {precision} file" in said
        assert not (tmp_path / "bundle" / f"{precision}.tflite").exists()
        assert precision not in manifest["files"]
        assert max(row["mean_drift"] for row in manifest["metrics"][precision]["measured"]) > 1e-6
        assert f"There is no {precision} file" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert load_bundle(tmp_path / "bundle").classifier().precision == "float32"


@pytest.mark.parametrize(("precision", "code"), [("float32", 1), ("float16", 3), ("int8", 3)])
def test_a_file_that_no_runtime_can_score_is_left_out_unless_it_is_float32(
    precision: str, code: int, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(bundle: Path, crops: Path, records: list[Record], file: str, *place: object) -> np.ndarray:
        if file == precision:
            raise ModelError("gone")
        return score_bundle(bundle, crops, records, file)

    monkeypatch.setattr("facetell.convert.export.score_bundle", scores)
    assert facetell(["export", str(run), "-o", str(tmp_path / "bundle")]) == code
    if code == 3:
        assert set(load_bundle(tmp_path / "bundle").classifiers) == set(PRECISIONS) - {precision}
    else:
        assert not (tmp_path / "bundle").exists()


def test_an_int8_that_saves_nothing_is_left_out(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("facetell.convert.export.quantize", lambda float32: float32)
    assert facetell(["export", str(run), "-o", str(tmp_path / "bundle")]) == 3
    assert "without int8: int8 is no smaller than float16" in capsys.readouterr().err
    assert "There is no int8 file" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_mediapipe_tasks_opens_the_files_and_scores_alike(exported: Path, crops: Path, precision: str) -> None:
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    content = (exported / f"{precision}.tflite").read_bytes()
    options = ImageClassifierOptions(BaseOptions(model_asset_buffer=content))
    with ImageClassifier.create_from_options(options) as classifier:
        for known in select(read_manifest(crops), "test"):
            face = np.ascontiguousarray(centre(read_image(crops / known.path), 224))
            found = classifier.classify(Image(ImageFormat.SRGB, face)).classifications[0].categories
            by_label = {category.category_name: category.score for category in found}
            ((real, fake),) = TFLiteModel(content).run(face[np.newaxis])[0]
            assert by_label == pytest.approx({"real": real, "fake": fake}, abs=1e-3)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """The bundle of the same run elsewhere, whose evaluation is of other crops."""
    folder = tmp_path_factory.mktemp("again")
    copy = shutil.copytree(run, folder / "run")
    report = json.loads((copy / "evaluation-test" / "report.json").read_text())
    (copy / "evaluation-test" / "report.json").write_text(json.dumps(report | {"split_sha256": "of other crops"}))
    export(from_run(copy), folder / "bundle", CardSettings("tiny", license="for tests"))
    return folder / "bundle"


def test_the_same_run_exports_to_the_same_bytes(exported: Path, again: Path) -> None:
    for file in sorted(FILES - {"model.json", "MODEL_CARD.md"}):  # those two hold milliseconds
        assert (again / file).read_bytes() == (exported / file).read_bytes(), file


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
        export(from_run(run), output, CardSettings("tiny"))
    assert tree(tmp_path) == before


def test_a_failed_export_leaves_nothing(tmp_path: Path, run: Path, crops: Path) -> None:
    damaged = tmp_path / "crops"
    shutil.copytree(crops, damaged)
    (damaged / select(read_manifest(crops), "validation")[0].path).unlink()
    with pytest.raises(FacetellError):
        export(from_run(run, damaged), tmp_path / "new" / "bundle", CardSettings("tiny"))
    assert not (tmp_path / "new").exists()


def test_a_report_on_other_crops_does_not_enter_the_card(again: Path) -> None:
    assert "was not run on this model before" in (again / "MODEL_CARD.md").read_text()


def test_a_run_that_is_not_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no finished run"):
        from_run(tmp_path)


def test_crops_that_were_cut_otherwise_are_refused(tmp_path: Path, run: Path, crops: Path) -> None:
    other = shutil.copytree(crops, tmp_path / "crops")
    settings = json.loads((other / "crop.json").read_text())
    settings["settings"]["margin_ratio"] = 1.3
    (other / "crop.json").write_text(json.dumps(settings))
    with pytest.raises(DatasetError, match=r"margin_ratio 1\.3, the model wants 1\.5"):
        from_run(run, other)
