import json
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

from facetell.edge.manifest import read_manifest
from facetell.tools import cli

from ..pictures import SAMPLES, pattern, save, tree, warm_weights, write_portraits

# MediaPipe's metadata writer leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")


@pytest.fixture(scope="module")
def training(work: Path, crops: Path) -> list[str]:
    """One epoch from weights under which pictures differ, so that there are verdicts for int8 to keep."""
    weights = work / "warm.weights.h5"
    if not weights.exists():
        warm_weights(weights, crops, 224)
    return ["--weights", str(weights), "--epochs", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, training: list[str]) -> Path:
    """The run that one call of facetell pipeline makes of 24 portraits."""
    folder = tmp_path_factory.mktemp("pipeline")
    write_portraits(folder / "raw")
    output = folder / "run"
    assert cli.run(["pipeline", str(folder / "raw"), "-o", str(output), *training]) == 0
    return output


def test_one_call_goes_from_raw_folders_to_a_bundle(run: Path) -> None:
    made = set(tree(run))
    assert made >= {
        *("dataset/manifest.csv", "crops/manifest.csv", "crops/skipped.csv", "model.keras", "history.csv", "run.json"),
        *("evaluation-test/report.html", "evaluation-test/scores.csv"),
        *("bundle/model.json", "bundle/float32.tflite", "bundle/int8.tflite", "bundle/MODEL_CARD.md"),
    }
    assert [name for name in made if "partial" in name and not name.endswith(".jsonl")] == []


def test_the_stages_agree_on_the_pictures(run: Path) -> None:
    assert len(read_manifest(run / "dataset")) == 25
    assert len(read_manifest(run / "crops")) == 24
    assert sum(json.loads((run / "run.json").read_text())["pictures"].values()) == 24


def test_scan_works_with_the_bundle(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [str(SAMPLES / name) for name in ("real_astronaut.jpg", "no_face_coffee.jpg")]
    assert cli.run(["scan", "--model", str(run / "bundle"), "--format", "jsonl", *pictures]) == 0
    face, none = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (face["status"], len(face["faces"])) == ("ok", 1)
    assert face["model"].startswith("run ")
    assert 0 <= face["p_fake"] <= 1
    assert none["verdict"] == "no_face"


def test_the_same_call_again_changes_nothing(
    run: Path, training: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(run)
    assert cli.run(["pipeline", str(run.parent / "raw"), "-o", str(run), *training]) == 0
    assert "Done." in capsys.readouterr().out
    assert tree(run) == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--epochs", "2"], "training epochs was 1, is 2"),
        (["--pre-cropped"], "settings pre_cropped was False, is True"),
        (["more"], "holds another merge"),
    ],
    ids=["epochs", "pre-cropped", "raw"],
)
def test_another_call_does_not_go_over_it(
    run: Path, training: list[str], changed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(run.parent / "more" / "real" / "new.png", pattern(1))
    before = tree(run)
    raw = str(run.parent / "raw")
    options = [str(run.parent / word) if word == "more" else word for word in changed]
    assert cli.run(["pipeline", raw, "-o", str(run), *training, *options]) == 1
    assert said in capsys.readouterr().err
    assert tree(run) == before


def test_an_unreadable_picture_is_status_3_and_a_lost_bundle_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_portraits(tmp_path / "raw")
    (tmp_path / "raw" / "training_real" / "text.jpg").write_text("no picture")
    run, training = tmp_path / "run", ["--backbone", "cnn", "--epochs", "1"]
    assert cli.run(["pipeline", str(tmp_path / "raw"), "-o", str(run), *training]) == 3
    assert json.loads((run / "run.json").read_text())["backbone"] == "cnn"
    (run / "bundle").rename(tmp_path / "bundle")
    before = tree(run)
    capsys.readouterr()
    assert cli.run(["pipeline", str(tmp_path / "raw"), "-o", str(run), *training]) == 3
    assert "nothing was changed" in capsys.readouterr().out
    after = tree(run)
    trained = {name for name in before if not name.startswith("evaluation-")}
    assert {name: after[name] for name in trained} == {name: before[name] for name in trained}
    assert "bundle/model.json" in after


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-o", "run"], 2, "name at least one RAW"),
        (["nowhere", "-o", "run"], 1, "nowhere does not exist"),
        (["raw", "-o", "run"], 1, "no real pictures found"),
    ],
    ids=["no raw", "no such folder", "no pictures"],
)
def test_without_data_it_says_so_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    assert cli.run(["pipeline", *arguments]) == code
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
