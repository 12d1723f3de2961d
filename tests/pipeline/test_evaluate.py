import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import read_manifest, split_sha256, write_manifest
from facetell.edge.run import PICTURES, Run, check_split
from facetell.pipeline.conditions import EVERY, MOVES
from facetell.pipeline.evaluate import PAGE, PLOTS, TABLES, evaluate, worst_mistakes
from facetell.pipeline.metrics import measure

from ..pictures import pattern, record, save, tree


@pytest.fixture
def evaluation(run: Path) -> Path:
    return run / "evaluation-test"


def test_the_report_holds_every_condition_and_source(evaluation: Path, crops: Path) -> None:
    report = json.loads((evaluation / "report.json").read_text())
    records = [known for known in read_manifest(crops) if known.split == "test"]
    assert report["split"] == "test"
    assert report["split_sha256"] == split_sha256(read_manifest(crops))
    assert report["pictures"] == len(records)
    assert list(report["results"]) == list(report["found"]) == list(EVERY)
    assert report["found"] == dict.fromkeys(EVERY, 1)
    assert all(list(by_source) == ["raw", "all"] for by_source in report["results"].values())
    assert all(metrics["real"] + metrics["fake"] == len(records) for metrics in report["results"]["clean"].values())
    assert sum(sum(row.values()) for row in report["confusion"].values()) == len(records)


def test_the_scores_are_those_the_report_measures(evaluation: Path, run: Path, crops: Path) -> None:
    report = json.loads((evaluation / "report.json").read_text())
    with (evaluation / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "source", "label", *(f"p_fake {name}" for name in EVERY)]
    assert [row["path"] for row in rows] == [known.path for known in read_manifest(crops) if known.split == "test"]
    labels = np.array([row["label"] == "fake" for row in rows])
    for condition in EVERY:
        p_fake = np.array([float(row[f"p_fake {condition}"]) for row in rows])
        again = measure(p_fake, labels, Run.read(run).thresholds)
        wanted = report["results"][condition]["all"]
        assert (again.auc, again.accuracy, again.uncertain) == (wanted["auc"], wanted["accuracy"], wanted["uncertain"])


def test_a_degraded_picture_scores_otherwise(evaluation: Path) -> None:
    with (evaluation / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for condition in EVERY[1:]:
        assert any(row["p_fake clean"] != row[f"p_fake {condition}"] for row in rows)


def test_the_page_shows_the_numbers_and_the_pictures(evaluation: Path) -> None:
    page = (evaluation / PAGE).read_text()
    report = json.loads((evaluation / "report.json").read_text())
    for condition, by_source in report["results"].items():
        counts = f"{by_source['all']['real']} / {by_source['all']['fake']}"
        assert f"<td>{condition}</td><td>all</td><td>{counts}</td>" in page
    assert report["split_sha256"][:16] in page
    assert page.count("data:image/png;base64,") == len(PLOTS) + 1  # and the training's curves
    for name in PLOTS:
        with Image.open(evaluation / name) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 200


def test_a_face_that_is_not_found_again_is_counted_and_not_measured(tmp_path: Path, run: Path, crops: Path) -> None:
    """One of the test pictures shows a pattern: cut as it is, it has a score, but nobody finds a face in it."""
    folder = shutil.copytree(crops, tmp_path / "crops")
    tested = [known.path for known in read_manifest(crops) if known.split == "test"]
    save(folder / tested[0], pattern(0, 256))
    report = evaluate(run, tmp_path / "report", crops=folder)
    share = (len(tested) - 1) / len(tested)
    assert report.found == {name: pytest.approx(share) if name in MOVES else 1 for name in EVERY}
    counts = {name: measured["all"].real + measured["all"].fake for name, measured in report.results.items()}
    assert counts == {name: len(tested) - (name in MOVES) for name in EVERY}
    with (tmp_path / "report" / "scores.csv").open(newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["path"] == tested[0])
    assert {name for name in EVERY if not row[f"p_fake {name}"]} == set(MOVES)
    page = (tmp_path / "report" / PAGE).read_text()
    assert all(f"<td>{name} ({share:.0%} found)</td><td>all</td>" in page for name in MOVES)
    assert "<td>JPEG 50</td><td>all</td>" in page


def with_manifest(crops: Path, folder: Path, of: str = "test", **changed: str) -> Path:
    """Return a copy of a crops folder that holds the real pictures of one split alone, changed."""
    for name, content in tree(crops).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    kept = [known for known in read_manifest(crops) if known.split == of and not known.is_fake]
    write_manifest(folder, [replace(known, **changed) for known in kept])
    return folder


def test_other_crops_of_one_label_are_measured_too(tmp_path: Path, run: Path, crops: Path) -> None:
    report = evaluate(run, tmp_path / "report", crops=with_manifest(crops, tmp_path / "crops"))
    assert report.results["clean"]["all"].auc is None
    assert report.results["clean"]["all"].fake == 0
    assert "<td>-</td>" in (tmp_path / "report" / PAGE).read_text()
    for name in PLOTS:
        with Image.open(tmp_path / "report" / name) as picture:
            picture.load()


def test_fakes_without_reals_are_measured_against_those_of_other_sets(tmp_path: Path, run: Path, crops: Path) -> None:
    shutil.copytree(crops, tmp_path / "crops")
    records = read_manifest(crops)
    of_one_set = [replace(known, source="generator" if known.is_fake else "photos") for known in records]
    write_manifest(tmp_path / "crops", of_one_set)
    clean = evaluate(run, tmp_path / "report", crops=tmp_path / "crops").results["clean"]
    assert list(clean) == ["generator", "photos", "generator against all real", "all"]
    assert (clean["generator"].auc, clean["photos"].auc) == (None, None)
    assert clean["generator against all real"] == clean["all"]


def test_frames_of_one_video_are_measured_together_too(tmp_path: Path, run: Path, crops: Path) -> None:
    shutil.copytree(crops, tmp_path / "crops")
    records = read_manifest(crops)
    write_manifest(tmp_path / "crops", [replace(known, group="raw/video") for known in records])
    clean = evaluate(run, tmp_path / "report", crops=tmp_path / "crops").results["clean"]
    assert list(clean) == ["raw", "raw, by group", "all", "all, by group"]
    assert (clean["raw, by group"].real, clean["raw, by group"].fake) == (1, 1)


def test_what_is_known_of_the_pictures_is_measured_apart(tmp_path: Path, run: Path, crops: Path) -> None:
    tested = [known for known in read_manifest(crops) if known.split == "test"]
    rows = [f"{known.sha256},{'young' if known.is_fake else 'old'}" for known in tested]
    (tmp_path / "ages.csv").write_text("\n".join(["sha256,age", *rows[1:]]))
    report = evaluate(run, tmp_path / "report", crops=crops, attributes=tmp_path / "ages.csv")
    first = tested[0]
    counts = {value: (of.real, of.fake) for value, of in report.attributes["age"].items()}
    fakes = sum(known.is_fake for known in tested)
    wanted = {"young": (0, fakes - first.is_fake), "old": (len(tested) - fakes - (not first.is_fake), 0)}
    wanted["unknown"] = (int(not first.is_fake), int(first.is_fake))
    assert counts == {value: of for value, of in wanted.items() if sum(of)}
    assert "| age | unknown |" in (tmp_path / "report" / TABLES).read_text()
    assert "<td>age</td><td>unknown</td>" in (tmp_path / "report" / PAGE).read_text()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("sha256,age\n00,3\n", "none of the pictures"),
        ("sha256,age\n", "none of the pictures"),
        ("path,age\na.png,3\n", "with the column sha256"),
        ("sha256\n00\n", "no column but sha256"),
    ],
)
def test_attributes_of_no_picture_are_refused(
    tmp_path: Path, run: Path, crops: Path, content: str, reason: str
) -> None:
    (tmp_path / "ages.csv").write_text(content)
    with pytest.raises(DatasetError, match=reason):
        evaluate(run, tmp_path / "report", crops=crops, attributes=tmp_path / "ages.csv")
    assert not (tmp_path / "report").exists()


def test_the_tables_hold_all_sets_of_clean_faces_and_all_faces_of_the_others(evaluation: Path) -> None:
    lines = (evaluation / TABLES).read_text().splitlines()
    sets = [tuple(line.split(" | ")[:2]) for line in lines if line.startswith("| ")][1:]
    assert sets == [("| clean", "raw"), ("| clean", "all"), *((f"| {name}", "all") for name in EVERY[1:])]


@pytest.mark.parametrize("of", ["train", "validation"])
def test_pictures_of_the_training_do_not_pass_for_new_ones(tmp_path: Path, run: Path, crops: Path, of: str) -> None:
    leaking = with_manifest(crops, tmp_path / "crops", of, split="test")
    with pytest.raises(DatasetError, match="another split than at the training"):
        evaluate(run, tmp_path / "report", crops=leaking)
    assert not (tmp_path / "report").exists()


def test_other_crops_do_not_go_over_the_runs_own_report(tmp_path: Path, run: Path, crops: Path) -> None:
    before = tree(run)
    with pytest.raises(DatasetError, match="choose a folder for their report with -o"):
        evaluate(run, crops=with_manifest(crops, tmp_path / "crops"))
    assert tree(run) == before


@pytest.mark.parametrize("standing", ["a file", "a file in it"])
def test_a_report_does_not_go_over_something_else(tmp_path: Path, run: Path, standing: str) -> None:
    thesis = tmp_path / "report" if standing == "a file" else tmp_path / "report" / "thesis.txt"
    thesis.parent.mkdir(exist_ok=True)
    thesis.write_text("mine")
    (tmp_path / "report" / "report.json").write_text("mine") if standing == "a file in it" else None
    with pytest.raises(DatasetError, match="holds something else"):
        evaluate(run, tmp_path / "report")
    assert set(tree(tmp_path).values()) == {b"mine"}


def test_only_mistakes_are_among_the_worst(tmp_path: Path) -> None:
    records = [record(f"real/{p}.png", "real") for p in (0.1, 0.5, 0.9)]
    records += [record(f"fake/{p}.png", "fake") for p in (0.9, 0.4, 0.2)]
    p_fake = np.array([0.1, 0.5, 0.9, 0.9, 0.4, 0.2])
    worst = worst_mistakes(p_fake, np.repeat([False, True], 3), records, tmp_path)
    assert [[path.stem for path, _ in half] for half in worst] == [["0.9", "0.5"], ["0.2", "0.4"]]


def test_evaluating_again_goes_over_the_report(tmp_path: Path, run: Path, evaluation: Path) -> None:
    shutil.copytree(evaluation, tmp_path / "report")
    (tmp_path / "report" / "report.json").write_text("of yesterday")
    evaluate(run, tmp_path / "report")
    assert tree(tmp_path / "report") == tree(evaluation)


def test_the_faces_of_one_picture_may_stand_apart(tmp_path: Path) -> None:
    """One face of a group photo trains, and another is excluded, for it stands in the test part as well."""
    faces = [record("real/a.png", "real", split="train"), record("real/a-1.png", "real", split="excluded")]
    faces = [replace(face, sha256="of the photo") for face in faces]
    write_manifest(tmp_path, faces, PICTURES)
    check_split(tmp_path, faces)
    with pytest.raises(DatasetError, match="1 pictures stand in another split"):
        check_split(tmp_path, [replace(faces[0], split="test")])


def test_an_empty_split_is_an_error(tmp_path: Path, run: Path, crops: Path) -> None:
    empty = with_manifest(crops, tmp_path / "crops", "train")
    with pytest.raises(DatasetError, match="no pictures in the validation split"):
        evaluate(run, tmp_path / "report", crops=empty)
    assert not (tmp_path / "report").exists()


def test_crops_of_another_size_are_an_error(tmp_path: Path, run: Path, small_crops: Path) -> None:
    with pytest.raises(DatasetError, match="crop again"):
        evaluate(run, tmp_path / "report", crops=small_crops)


def test_crops_with_another_margin_are_an_error(tmp_path: Path, run: Path, crops: Path) -> None:
    other = with_manifest(crops, tmp_path / "crops")
    described = json.loads((other / "crop.json").read_text())
    described["settings"]["margin_ratio"] = 2.0
    (other / "crop.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError, match="crop again"):
        evaluate(run, tmp_path / "report", crops=other)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no finished run"):
        evaluate(tmp_path, tmp_path / "report")


def test_a_run_of_an_earlier_version_is_to_be_trained_again(tmp_path: Path, run: Path) -> None:
    described = json.loads((run / "run.json").read_text())
    del described["shown_ratio"]
    (tmp_path / "run.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError, match="trained by an earlier facetell"):
        evaluate(tmp_path, tmp_path / "report")
