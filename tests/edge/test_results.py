"""What a scan writes of its files: lines of JSON, one JSON array, CSV rows or a table."""

from __future__ import annotations

import csv
import io
import json

import pytest

from facetell.edge.results import CSV_COLUMNS, FileResult, write_results

from .scanned import ALL, BROKEN, CROWD, FAKE, NO_PERSON, NOBODY, ODD_NAMES, ONE, TINY, TURNED, TWO, file_of


def written(results: list[FileResult], format: str) -> str:
    """What lands in a file that was opened as scan opens it."""
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    write_results(results, format, file)
    file.seek(0)
    return file.read()


def csv_rows(results: list[FileResult]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(results, "csv"), newline="")))


# JSON


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ONE, {"path": "one.jpg", "status": "ok", "verdict": "fake", "p_fake": 0.97, "width": 640, "height": 480}),
        (ONE, {"model": "blaze 1", "precision": "int8", "rule": "fake from 0.9", "error": None}),
        (NOBODY, {"status": "ok", "verdict": "no_face", "p_fake": None, "faces": [], "width": 640}),
        (BROKEN, {"status": "error", "verdict": "error", "p_fake": None, "faces": [], "error": "no such file"}),
        (CROWD, {"verdict": "uncertain", "p_fake": 0.99, "deciding_face": 0, "too_small": 2, "doubtful": 1}),
        (NO_PERSON, {"verdict": "no_face", "p_fake": None, "deciding_face": None, "too_small": 12, "doubtful": 1}),
        (BROKEN, {"width": None, "height": None, "latency_ms": None}),
    ],
)
@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_fields(format: str, result: FileResult, expected: dict) -> None:
    parsed = json.loads(written([result], format))
    (row,) = parsed if format == "json" else [parsed]
    assert {name: row[name] for name in expected} == expected
    assert list(row) == [
        *("path", "status", "verdict", "p_fake", "faces", "deciding_face", "too_small", "doubtful", "width", "height"),
        *("model", "precision", "rule", "latency_ms", "error"),
    ]


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_faces(format: str) -> None:
    parsed = json.loads(written([CROWD], format))
    (row,) = parsed if format == "json" else [parsed]
    tiny = {"box_xyxy": [300.0, 0.0, 320.0, 20.0], "score": 0.9, "p_fake": None, "verdict": "uncertain"}
    assert row["faces"] == [
        {
            **{"box_xyxy": [50.0, 60.0, 150.0, 170.0], "score": 0.8, "p_fake": 0.99, "verdict": "uncertain"},
            **{"roll_degrees": -31.5, "doubt": "not_frontal"},
        },
        {
            **{"box_xyxy": [200.0, 0.0, 280.0, 80.0], "score": 0.7, "p_fake": 1.0, "verdict": "uncertain"},
            **{"roll_degrees": 0.0, "doubt": "may_not_be_a_face"},
        },
        *[tiny | {"roll_degrees": 0.0, "doubt": "too_small"}] * 2,
    ]


@pytest.mark.parametrize("results", [[], [ONE], ALL], ids=["none", "one", "all"])
def test_json_is_one_array_and_jsonl_one_object_a_line(results: list[FileResult]) -> None:
    paths = [result.path for result in results]
    assert [row["path"] for row in json.loads(written(results, "json"))] == paths
    lines = written(results, "jsonl").split("\n")
    assert lines.pop() == ""
    assert [json.loads(line)["path"] for line in lines] == paths


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_keeps_every_name(format: str, name: str) -> None:
    text = written([FileResult(name, "ok", "no_face"), ONE], format)
    rows = json.loads(text) if format == "json" else [json.loads(line) for line in text.splitlines()]
    assert [row["path"] for row in rows] == [name, "one.jpg"]


@pytest.mark.parametrize(("format", "lines"), [("jsonl", [1, 2, 3, 4]), ("csv", [2, 4, 5, 6]), ("table", [2, 4, 5, 6])])
def test_rows_are_written_file_by_file(format: str, lines: list[int]) -> None:
    file = io.StringIO()
    seen = []

    def results():
        for result in ALL:
            yield result
            seen.append(len(file.getvalue().splitlines()))

    write_results(results(), format, file)
    assert seen == lines


# CSV


@pytest.mark.parametrize(
    ("result", "rows"),
    [
        (
            TWO,
            [
                ("two.jpg", "ok", "fake", "0.97", *face, "0.0", "", "1", "0", "0", "")
                for face in (
                    ("1", "fake", "0.97", "0.9", "10.0", "20.5", "110.0", "130.5"),
                    ("2", "uncertain", "0.5", "0.6", "-3.0", "0.0", "40.0", "43.0"),
                )
            ],
        ),
        (
            CROWD,
            [
                ("crowd.jpg", "ok", "uncertain", "0.99", *face, "1", "2", "1", "")
                for face in (
                    ("1", "uncertain", "0.99", "0.8", "50.0", "60.0", "150.0", "170.0", "-31.5", "not_frontal"),
                    ("2", "uncertain", "1.0", "0.7", "200.0", "0.0", "280.0", "80.0", "0.0", "may_not_be_a_face"),
                    ("3", "uncertain", "", "0.9", "300.0", "0.0", "320.0", "20.0", "0.0", "too_small"),
                    ("4", "uncertain", "", "0.9", "300.0", "0.0", "320.0", "20.0", "0.0", "too_small"),
                )
            ],
        ),
        (NOBODY, [("nobody.jpg", "ok", "no_face", *[""] * 12, "0", "0", "")]),
        (BROKEN, [("broken.jpg", "error", "error", *[""] * 12, "0", "0", "no such file")]),
    ],
    ids=["two faces", "doubtful faces", "no face", "error"],
)
def test_csv_has_a_row_for_each_face_or_file(result: FileResult, rows: list[tuple[str, ...]]) -> None:
    columns = ["path", "status", "verdict", "p_fake", "face", "face_verdict", "face_p_fake", "face_score"]
    columns += ["x_min", "y_min", "x_max", "y_max", "roll_degrees", "doubt"]
    columns += ["deciding_face", "too_small", "doubtful", "error"]
    assert [tuple(row[column] for column in columns) for row in csv_rows([result])] == rows


def test_csv_columns() -> None:
    assert written(ALL, "csv").startswith(",".join(CSV_COLUMNS) + "\r\n")
    assert [row["path"] for row in csv_rows(ALL)] == ["one.jpg", "two.jpg", "two.jpg", "nobody.jpg", "broken.jpg"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=1+1.jpg", "'=1+1.jpg"),
        ("+1.jpg", "'+1.jpg"),
        ("-1.jpg", "'-1.jpg"),
        ("@SUM(A1).jpg", "'@SUM(A1).jpg"),
        ("\t=1.jpg", "'\t=1.jpg"),
        ("\r=1.jpg", "'\r=1.jpg"),
        ('=HYPERLINK("http://x","y").jpg', '\'=HYPERLINK("http://x","y").jpg'),
        ("a=1.jpg", "a=1.jpg"),
        ("folder/=1.jpg", "folder/=1.jpg"),
        ("'quoted.jpg", "'quoted.jpg"),
    ],
)
def test_csv_has_no_formulas(name: str, shown: str) -> None:
    rows = csv_rows([FileResult(name, "error", "error", error=name), ONE])
    assert [(row["path"], row["error"]) for row in rows] == [(shown, shown), ("one.jpg", "")]


@pytest.mark.parametrize(
    ("name", "shown"),
    [(name, name) for key, name in ODD_NAMES.items() if key != "not utf-8"],
    ids=[key for key in ODD_NAMES if key != "not utf-8"],
)
def test_csv_keeps_every_name(name: str, shown: str) -> None:
    assert [row["path"] for row in csv_rows([FileResult(name, "ok", "no_face"), ONE])] == [shown, "one.jpg"]


@pytest.mark.parametrize("format", ["csv", "table"])
def test_a_name_that_is_not_utf8_stops_nothing(format: str) -> None:
    text = written([FileResult(ODD_NAMES["not utf-8"], "ok", "no_face"), ONE], format)
    assert "caf" in text
    assert "one.jpg" in text


# Table


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (ONE, [["fake", "0.97", "10, 20, 110", "12", "one.jpg"]]),
        (TWO, [["fake", "0.97", "10, 20, 110", "12", "two.jpg"], ["uncertain", "0.50", "-3, 0, 43"]]),
        (
            file_of("turned.jpg", TURNED, FAKE, TINY),
            [
                ["fake", "0.97", "10, 20, 110", "12", "turned.jpg: 1 face too small to judge"],
                ["uncertain", "0.99", "50, 60, 110", "turned away or partly hidden"],
            ],
        ),
        (
            CROWD,
            [
                [
                    *("uncertain", "0.99", "50, 60, 110", "12"),
                    "crowd.jpg: turned away or partly hidden, 2 faces too small to judge, "
                    "1 detection that may not be a face",
                ]
            ],
        ),
        (NOBODY, [["no face", "12", "nobody.jpg"]]),
        (
            NO_PERSON,
            [["no face", "12", "dog.jpg: 12 faces too small to judge, 1 detection that may not be a face"]],
        ),
        (BROKEN, [["error", "broken.jpg: no such file"]]),
    ],
    ids=["one face", "two faces", "turned", "doubtful faces", "no face", "nobody to judge", "error"],
)
def test_table_rows(result: FileResult, lines: list[list[str]]) -> None:
    header, *rows = written([result], "table").splitlines()
    assert header.split() == ["verdict", "p(fake)", "face", "at", "x,", "y,", "size", "ms", "file"]
    assert [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows] == lines


def test_a_table_of_nothing_is_empty() -> None:
    assert written([], "table") == ""


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_a_table_shows_names_and_sends_no_control_codes(name: str) -> None:
    lines = written([FileResult(name, "error", "error", error=name), ONE], "table").splitlines()
    assert len(lines) == 3
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    assert lines[1].split("  ")[-1].strip() == f"{printable}: {printable}"
    assert all(line.isprintable() for line in lines)
