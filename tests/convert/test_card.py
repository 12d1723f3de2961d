import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

from facetell.convert.card import CardSettings, Source, model_card, read_sources
from facetell.edge.errors import DatasetError
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
    (trained_on,) = manifest["trained_on"]
    assert trained_on.startswith("raw (")
    assert "Trained on, with fewer than 20 faces to measure: `raw` (" in card
    assert "Sources marked *" not in card
    assert "Two portraits, turned." in card
    assert "License of the model: for tests." in card


def numbers(real: int, fake: int, **changed: float | None) -> dict[str, float | None]:
    """What report.json says of a set, as far as the card reads it."""
    both = {"auc": 0.8, "auc_low": 0.75, "auc_high": 0.85, "found_at_1": 0.4} if real and fake else {}
    of_real = {"real_called_fake": 0.01} if real else {}
    of_fake = {"fake_called_real": 0.02} if fake else {}
    nothing = dict.fromkeys(("auc", "auc_low", "auc_high", "found_at_1", "real_called_fake", "fake_called_real"))
    return nothing | {"real": real, "fake": fake, "uncertain": 0.3} | both | of_real | of_fake | changed


def report(split: str, **sets: dict[str, float | None]) -> dict[str, Any]:
    clean = {name.replace("_against_all_real", " against all real"): of for name, of in sets.items()}
    return {"split": split, "results": {"clean": clean}}


TEST = report(
    "test",
    swaps=numbers(30, 20),
    photos=numbers(70, 0),
    gan=numbers(0, 25),
    rare=numbers(0, 19),
    gan_against_all_real=numbers(100, 25, auc=0.9, found_at_1=0.5),
    allsorts=numbers(30, 30),
    all=numbers(100, 64),
)
RESERVED = report("reserved", webcams=numbers(40, 0), all=numbers(40, 0))
VALIDATION = report("validation", swaps=numbers(90, 90, auc=0.7), clips=numbers(50, 50), all=numbers(140, 140))
TRAINED = {"swaps real train": 300, "swaps fake train": 200, "rare fake train": 8, "webcams real reserved": 40}
TRAINED |= {"elsewhere real train": 70}


@pytest.mark.parametrize(
    "row",
    [
        "| `swaps` | faces swapped | 300 / 200 | test | 30 / 20 | 0.800 (0.750-0.850) | 40.0% | 1.0% | 2.0% | 30.0% |",
        "| `photos` |  |  | test | 70 / 0 | - | - | 1.0% | - | 30.0% |",
        "| `gan` | of 2019 |  | test | 0 / 25 | 0.900 (0.750-0.850) | 50.0% | - | 2.0% | 30.0% |",
        "| `webcams`* |  |  | reserved | 40 / 0 | - | - | 1.0% | - | 30.0% |",
        "| `clips` |  |  | validation | 50 / 50 | 0.800 (0.750-0.850) | 40.0% | 1.0% | 2.0% | 30.0% |",
        "| all |  |  | test | 100 / 64 | 0.800 (0.750-0.850) | 40.0% | 1.0% | 2.0% | 30.0% |",
        "| all* |  |  | reserved | 40 / 0 | - | - | 1.0% | - | 30.0% |",
        "| `allsorts` |  |  | test | 30 / 30 |",
        "Sources marked * were not trained on.",
        "fewer than 20 faces to measure: `rare` (0 / 8).",
        "Trained on, not measured: `elsewhere` (70 / 0).",
        "- MIT: `rare`, `swaps`\n",
        "How errors are spread over ages, skin tones and sexes was not measured.",
    ],
)
def test_one_table_says_how_each_source_does(manifest: dict, run: Path, row: str) -> None:
    known = replace(Run.read(run), pictures=TRAINED)
    sources = {"swaps": Source("faces swapped", "MIT"), "gan": Source("of 2019", "CC0"), "rare": Source("", "MIT")}
    card = model_card(manifest, known, [TEST, VALIDATION, RESERVED], [], CardSettings("tiny", sources=sources))
    assert row in card
    assert "CC0" not in card  # it has no part in this model
    assert card.count("`swaps`") == 2


def test_errors_by_group_of_people_are_told_where_they_are_known(manifest: dict, run: Path) -> None:
    of_ages = TEST | {
        "attributes": {"age": {"under 18": numbers(30, 20), "60 and more": numbers(20, 40), "unknown": numbers(9, 9)}}
    }
    card = model_card(manifest, Run.read(run), [of_ages], [], CardSettings("tiny"))
    assert "| age | under 18 | test | 30 / 20 | 1.0% | 2.0% | 30.0% |" in card
    assert "| age | unknown |" not in card
    assert "| age | 60 and more | test | 20 / 40 | 1.0% | 2.0% | 30.0% |" in card
    assert "was not measured" not in card


@pytest.mark.parametrize("content", [b"source,kind\na,b\n", b"source,kind\n", b"\xff\xfe", None])
def test_a_list_of_sources_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "sources.csv"
    if content:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match="columns source, kind and terms"):
        read_sources(path)


def test_a_list_of_sources_is_read(tmp_path: Path) -> None:
    (tmp_path / "sources.csv").write_text("source,kind,terms\nraw,portraits,MIT\n")
    assert read_sources(tmp_path / "sources.csv") == {"raw": Source("portraits", "MIT")}


def test_the_card_says_where_the_thresholds_come_from(card: str, manifest: dict, run: Path) -> None:
    assert "This split chose the calibration, the thresholds" in card
    known = Run.read(run)
    reserved = replace(known, pictures=known.pictures | {"new real reserved": 30, "new fake reserved": 12})
    made = model_card(manifest, reserved, [], [], CardSettings("tiny"))
    assert "42 face crops of sources that it was not trained on chose the calibration" in made
    assert "together with this split they chose the thresholds" in made
    assert "This split chose" not in made


def test_the_card_holds_how_the_files_differ_from_keras(card: str, manifest: dict) -> None:
    for precision in manifest["files"]:
        for row in manifest["metrics"][precision]["measured"]:
            where = f"| {precision} | {row['runtime']} | {row['processor']} |"
            assert f"{where} {row['auc']:.4f} | {row['auc_loss']:+.4f} |" in card


def test_the_card_tells_what_a_file_must_hold_and_which_is_missing(card: str, manifest: dict, run: Path) -> None:
    assert "at least 98.5% of the faces get the same verdict" in card
    assert "There is no" not in card
    manifest = manifest | {"files": {name: file for name, file in manifest["files"].items() if name != "int8"}}
    less = model_card(manifest, Run.read(run), [], [], CardSettings("tiny"))
    assert "There is no int8 file" in less


@pytest.mark.parametrize("limit", ["evidence, not proof", "only faces", "not listed above"])
def test_the_card_states_its_limits(card: str, limit: str) -> None:
    assert limit in card.partition("## Limits")[2].replace("\n  ", " ")


def test_a_model_that_was_not_evaluated_says_so(manifest: dict, run: Path) -> None:
    assert "was not run on this model before" in model_card(manifest, Run.read(run), [], [], CardSettings("tiny"))


def test_a_model_of_face_crops_is_used_without_a_face_finder(card: str, manifest: dict, run: Path) -> None:
    pre_cropped = model_card(manifest, replace(Run.read(run), pre_cropped=True), [], [], CardSettings("tiny"))
    assert "face_detector.tflite" in card
    assert "face_detector.tflite" not in pre_cropped
    assert "resize the middle square to 256 x 256" in pre_cropped
