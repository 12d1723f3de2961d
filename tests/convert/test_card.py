import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

from facetell.convert.card import model_card
from facetell.edge.run import Run

# MediaPipe's metadata writer leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")


@pytest.fixture
def card(exported: Path) -> str:
    return (exported / "MODEL_CARD.md").read_text()


@pytest.fixture
def manifest(exported: Path) -> dict:
    return json.loads((exported / "model.json").read_text())


def test_the_card_begins_with_front_matter(card: str) -> None:
    opening, front_matter, _ = card.split("---\n", 2)
    keys = [line.partition(":")[0] for line in front_matter.splitlines()]
    assert opening == ""
    assert {"library_name", "pipeline_tag", "license", "tags"} <= set(keys)


def test_the_card_names_the_model_and_how_to_use_it(card: str, manifest: dict) -> None:
    assert f"# tiny {manifest['version']}" in card
    assert "224 x 224" in card
    assert "1.5 times the longer side" in card
    assert "Faces under 48 pixels are not judged" in card
    assert f"Fake from {manifest['thresholds']['fake']:.4g}, real up to {manifest['thresholds']['real']:.4g}" in card


def test_the_card_names_what_it_was_trained_on_and_the_terms(card: str, manifest: dict) -> None:
    assert f"- {manifest['trained_on'][0]}" in card
    assert "Two portraits, turned." in card
    assert "License of the model: for tests." in card


def test_the_card_holds_the_numbers_of_the_evaluation(card: str, run: Path) -> None:
    report = json.loads((run / "evaluation-test" / "report.json").read_text())
    assert report["split_sha256"][:16] in card
    for condition, by_source in report["results"].items():
        for source, m in by_source.items():
            auc = f"{m['auc']:.3f} ({m['auc_low']:.3f}-{m['auc_high']:.3f})"
            at_threshold = f"{m['eer']:.1%} | {m['accuracy_at_threshold']:.1%}"
            assert f"| {condition} | {source} | {m['real']} / {m['fake']} | {auc} | {at_threshold} |" in card


def test_the_card_says_where_the_thresholds_come_from(card: str, manifest: dict, run: Path) -> None:
    assert "This split chose the calibration, the thresholds" in card
    known = Run.read(run)
    reserved = replace(known, pictures=known.pictures | {"new real reserved": 30, "new fake reserved": 12})
    made = model_card(manifest, reserved, [], [], "")
    assert "42 face crops of sources that it was not trained on chose the calibration" in made
    assert "This split chose" not in made


def test_the_card_holds_how_the_files_differ_from_keras(card: str, manifest: dict) -> None:
    for precision in manifest["files"]:
        for row in manifest["metrics"][precision]["measured"]:
            where = f"| {precision} | {row['runtime']} | {row['processor']} |"
            assert f"{where} {row['auc']:.4f} | {row['auc_loss']:+.4f} |" in card


def test_the_card_tells_how_int8_was_made(card: str, manifest: dict) -> None:
    assert manifest["metrics"]["int8_rungs"]
    for rung in manifest["metrics"]["int8_rungs"]:
        assert f"- {rung['rung']}: {'holds' if rung['holds'] else 'does not hold'}; on {rung['runtime']}" in card


@pytest.mark.parametrize("limit", ["evidence, not proof", "faces alone", "was not measured", "calibrated for pictures"])
def test_the_card_states_its_limits(card: str, limit: str) -> None:
    assert limit in card.partition("## Limits")[2].replace("\n  ", " ")


def test_a_model_that_was_not_evaluated_says_so(manifest: dict, run: Path) -> None:
    assert "was not run on this model before" in model_card(manifest, Run.read(run), [], [], "")


def test_a_model_of_face_crops_is_used_without_a_face_finder(card: str, manifest: dict, run: Path) -> None:
    pre_cropped = model_card(manifest, replace(Run.read(run), pre_cropped=True), [], [], "")
    assert "face_detector.tflite" in card
    assert "face_detector.tflite" not in pre_cropped
    assert "resize the middle square to 256 x 256" in pre_cropped


def test_a_condition_under_which_faces_are_lost_says_how_many_are_found(manifest: dict, run: Path) -> None:
    report = json.loads((run / "evaluation-test" / "report.json").read_text())
    report["found"]["tilted"] = 0.75
    card = model_card(manifest, Run.read(run), [report], [], "")
    assert "| tilted (75% found) | all |" in card
    assert "| on its side | all |" in card


def test_a_set_of_one_label_has_a_dash_for_its_auc(manifest: dict, run: Path) -> None:
    report = json.loads((run / "evaluation-test" / "report.json").read_text())
    nothing = dict.fromkeys(("auc", "auc_low", "auc_high", "eer", "fake_called_real"))
    report["results"]["clean"]["raw"] |= nothing | {"fake": 0}
    card = model_card(manifest, Run.read(run), [report], [], "")
    assert f"| clean | raw | {report['results']['clean']['raw']['real']} / 0 | - |" in card
