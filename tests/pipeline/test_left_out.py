"""Whole sources left out of training, fold by fold, and measured: on tiny data, from the command line on."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from sklearn.metrics import roc_auc_score

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import read_manifest
from facetell.edge.run import Run
from facetell.edge.scoring import score_crops
from facetell.pipeline.left_out import CONDITIONS_MEASURED, Row, left_out_table, read_folds, summaries
from facetell.tools.cli import run as facetell

from ..pictures import record, tree
from .runs import relabelled

SOURCES = {"a": ("real", "fake"), "stock": ("real",), "gan": ("fake",), "b": ("real", "fake")}
FOLDS = {"first": ("a",), "second": ("stock", "gan")}


@pytest.fixture(scope="module")
def four_sources(tmp_path_factory: pytest.TempPathFactory, small_crops: Path) -> Path:
    """small_crops, whose reals are of a, b and stock in turn, and whose fakes of a, b and gan."""
    turn: Counter[str] = Counter()

    def named(label: str) -> str:
        turn[label] += 1
        return {"real": ("a", "b", "stock"), "fake": ("a", "b", "gan")}[label][turn[label] % 3]

    return relabelled(
        small_crops,
        tmp_path_factory.mktemp("left-out") / "crops",
        lambda known: replace(known, source=named(known.label), room_ratio=1.0),
    )


def write_folds(folder: Path) -> Path:
    lines = [f"{fold},{source}" for fold, sources in FOLDS.items() for source in sources]
    (folder / "folds.csv").write_text("\n".join(["fold,source", *lines]))
    return folder / "folds.csv"


def measure(crops: Path) -> int:
    words = ["left-out", crops, "--folds", crops.parent / "folds.csv", "-o", crops.parent / "measured"]
    return facetell([*map(str, words), "--backbone", "cnn", "--epochs", "1"])


@pytest.fixture(scope="module")
def measured(four_sources: Path) -> Path:
    """What the command left, called once."""
    write_folds(four_sources.parent)
    assert measure(four_sources) == 0
    return four_sources.parent / "measured"


def rows_of(measured: Path) -> list[dict[str, str]]:
    with (measured / "left-out.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_a_row_for_every_source_label_and_condition(measured: Path, four_sources: Path) -> None:
    rows = rows_of(measured)
    left_out = {fold: set(sources) for fold, sources in FOLDS.items()}
    wanted = Counter(
        (fold, condition, known.source, known.label)
        for known in read_manifest(four_sources)
        for fold, sources in left_out.items()
        for condition in CONDITIONS_MEASURED
        if known.source in sources
    )
    assert CONDITIONS_MEASURED == ("clean", "JPEG 50", "half size", "social media", "tilted")
    assert {(r["fold"], r["condition"], r["source"], r["label"]): int(r["faces"]) for r in rows} == wanted
    assert len(rows) == len(wanted) == 4 * len(CONDITIONS_MEASURED)


def test_nothing_of_a_fold_is_trained_or_chosen_by(measured: Path) -> None:
    for fold, sources in FOLDS.items():
        run = Run.read(measured / fold)
        assert run.arguments["leave_out"] == list(sources)
        assert {key.split(" ")[0] for key in run.pictures} == set(SOURCES) - set(sources)


@pytest.mark.parametrize("fold", FOLDS)
def test_the_figures_are_those_of_the_folds_network_on_its_left_out_sources(
    fold: str, measured: Path, four_sources: Path
) -> None:
    run = Run.read(measured / fold)
    model: Any = keras.saving.load_model(measured / fold / "model.keras")
    chosen = [known for known in read_manifest(four_sources) if known.source in FOLDS[fold]]
    p_fake = run.calibration.apply(score_crops(model.predict_on_batch, four_sources, chosen))
    is_fake = np.array([known.is_fake for known in chosen])
    auc = roc_auc_score(is_fake, p_fake)
    rows = {row["label"]: row for row in rows_of(measured) if (row["fold"], row["condition"]) == (fold, "clean")}
    for label, of_label in (("real", ~is_fake), ("fake", is_fake)):
        verdicts = Counter(map(run.thresholds.verdict, p_fake[of_label]))
        wrong = verdicts["fake" if label == "real" else "real"]
        row = rows[label]
        assert float(row["auc"]) == pytest.approx(auc, abs=1e-6)
        assert float(row["found"]) == 1
        assert float(row["wrong"]) == pytest.approx(wrong / of_label.sum())
        assert float(row["decided"]) == pytest.approx(1 - verdicts["uncertain"] / of_label.sum())


def test_a_second_call_trains_nothing_and_says_the_same(
    measured: Path, four_sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(measured)
    assert measure(four_sources) == 0
    assert tree(measured) == before
    out, err = capsys.readouterr()
    assert "epoch 1/1" not in err
    head, _, *lines = out.partition("\n\n")[0].splitlines()
    assert head.startswith("| source | label | faces | fold | AUC clean | AUC JPEG 50 |")
    assert {tuple(line.strip("| ").split(" | ")[:2]) for line in lines} == {
        (source, label) for source, labels in SOURCES.items() if source != "b" for label in labels
    }


def test_a_lost_fold_is_trained_again(measured: Path, four_sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows_of(measured)
    (measured / "second").rename(measured.parent / "lost")
    assert measure(four_sources) == 0
    assert capsys.readouterr().err.count("epoch 1/1") == 1
    assert rows_of(measured) == before


RECORDS = [
    record(f"{source}{label}{number}.png", label, source=source, split=split)
    for source, labels in SOURCES.items()
    for label in labels
    for number, split in enumerate(("train", "validation"))
]

FOLD_FILES: dict[str, tuple[str | bytes, str]] = {
    # what stands in folds.csv -> what is said of it
    "a source that is not there": ("fold,source\none,a\none,elsewhere\n", "names elsewhere; the crops have a, b, gan"),
    "a source in two folds": ("fold,source\none,a\ntwo,a\n", "names a twice"),
    "a line twice": ("fold,source\none,a\none,a\n", "names a twice"),
    "a fold without fakes": ("fold,source\none,a\ntwo,stock\n", "fold two .* leaves no fake pictures to measure"),
    "a fold without reals": ("fold,source\none,gan\n", "fold one .* leaves no real pictures to measure"),
    "nothing to train with": (
        "fold,source\none,a\none,b\none,gan\n",
        "fold one .* leaves no fake pictures to train with",
    ),
    "other columns": ("source,part\na,one\n", "wanted the columns fold and source"),
    "no columns": ("one,a\ntwo,b\n", "wanted the columns fold and source"),
    "half a line": ("fold,source\none\n", "wanted the columns fold and source, and both in every line"),
    "no fold": ("fold,source\n,a\n", "wanted the columns fold and source, and both in every line"),
    "no lines": ("fold,source\n", "is not a list of folds"),
    "nothing": ("", "is not a list of folds"),
    "not UTF-8": ("fold,source\none,\xe9t\xe9\n".encode("latin-1"), "cannot be read; wanted a csv in UTF-8"),
    "a null byte": (b"fold,source\none,\0\n", "cannot be read|names"),
    "a fold outside of the output": ("fold,source\n../one,a\n", "a fold cannot be called '../one'"),
    "a fold that is a path": ("fold,source\n/tmp/one,a\n", "a fold cannot be called '/tmp/one'"),
}


@pytest.mark.parametrize(("content", "said"), FOLD_FILES.values(), ids=FOLD_FILES)
def test_folds_that_cannot_be_measured_are_one_sentence(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=said) as raised:
        read_folds(path, RECORDS)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "Error(" not in str(raised.value)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"b": "test", "gan": "test"}, "leaves no fake pictures to train with"),
        ({"b": "train", "gan": "train"}, "leaves no fake pictures to validate with"),
        ({"a": "reserved", "stock": "reserved"}, "leaves no fake pictures to choose thresholds by, of those reserved"),
    ],
)
def test_a_fold_that_leaves_too_little_is_refused_at_once(tmp_path: Path, splits: dict[str, str], said: str) -> None:
    records = [replace(record, split=splits.get(record.source, record.split)) for record in RECORDS]
    (tmp_path / "folds.csv").write_text("fold,source\none,a\n")
    with pytest.raises(DatasetError, match=f"fold one .* {said}"):
        read_folds(tmp_path / "folds.csv", records)


def test_folds_are_read_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    """With a byte order mark, Windows' line ends, blanks, an empty line and another column; in any order."""
    lines = ["fold,source,note", "one, stock ,x", "two,a,", "", "one,gan,"]
    (tmp_path / "folds.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert read_folds(tmp_path / "folds.csv", RECORDS) == {"one": ("stock", "gan"), "two": ("a",)}


def test_bad_folds_are_told_before_anything_is_trained(tmp_path: Path, four_sources: Path) -> None:
    (tmp_path / "folds.csv").write_text("fold,source\none,a\ntwo,elsewhere\n")
    words = ["left-out", four_sources, "--folds", tmp_path / "folds.csv", "-o", tmp_path / "measured"]
    assert facetell([*map(str, words)]) == 1
    assert facetell([*map(str, words[:2]), "--folds", str(tmp_path / "no.csv"), "-o", str(tmp_path / "measured")]) == 2
    assert not (tmp_path / "measured").exists()


def row(source: str, label: str, faces: int, auc: float, condition: str = "clean", found: float = 1.0) -> Row:
    return Row("one", condition, source, label, faces, found, auc, 0.25, 0.5, 0.125, 0.75)


def test_mean_and_worst_are_of_the_sources_of_fakes_with_enough_faces() -> None:
    rows = [
        *(row("gan", "fake", 200, 0.9), row("swap", "fake", 20, 0.6), row("photos", "real", 200, 0.1)),
        *(row("few", "fake", 19, 0.2), row("unseen", "fake", 100, 0.3, found=0.1), row("lost", "fake", 50, np.nan)),
        row("gan", "fake", 10, 0.5, "tilted"),
    ]
    assert summaries(rows).rows == [["clean", "2", "0.750", "0.600", "swap"], ["tilted", "0", "-", "-", "-"]]


def test_the_table_has_the_worst_fakes_first_and_then_the_worst_reals() -> None:
    rows = [
        *(row("photos", "real", 200, 0.7), row("gan", "fake", 200, 0.9), row("swap", "fake", 20, 0.6)),
        *(row("gan", "fake", 200, 0.8, "tilted"), row("swap", "fake", 20, np.nan, "tilted")),
        row("photos", "real", 200, 0.5, "tilted"),
    ]
    table = left_out_table(rows)
    assert list(table.head) == [
        *("source", "label", "faces", "fold", "AUC clean", "AUC tilted"),
        *("found at 1 %", "found at 5 %", "called wrongly", "decided"),
    ]
    assert [line[:6] for line in table.rows] == [
        ["swap", "fake", "20", "one", "0.600", "nan"],
        ["gan", "fake", "200", "one", "0.900", "0.800"],
        ["photos", "real", "200", "one", "0.700", "0.500"],
    ]
    assert [line[6:] for line in table.rows] == [["25%", "50%", "12.5%", "75%"]] * 2 + [["", "", "12.5%", "75%"]]
