"""What a scan writes: the same facts as lines of JSON, one JSON array, CSV rows or a table."""

from __future__ import annotations

import csv
import io
import json

import pytest

from facetell.edge.results import CSV_COLUMNS, FORMATS, FaceResult, FileResult, write_results

FAKE = FaceResult((10.0, 20.5, 110.0, 130.5), 0.9, 0.97, "fake")
UNSURE = FaceResult((-3.0, 0.0, 40.0, 43.0), 0.6, 0.5, "uncertain")
ABOUT = {
    "width": 640,
    "height": 480,
    "model": "blaze 1",
    "precision": "int8",
    "rule": "fake from 0.9",
    "latency_ms": 12.34,
}

ONE = FileResult("one.jpg", "ok", "fake", 0.97, [FAKE], **ABOUT)
TWO = FileResult("two.jpg", "ok", "fake", 0.97, [FAKE, UNSURE], **ABOUT)
NOBODY = FileResult("nobody.jpg", "ok", "no_face", **ABOUT)
BROKEN = FileResult("broken.jpg", "error", "error", error="no such file")
ALL = [ONE, TWO, NOBODY, BROKEN]

ODD_NAMES = {
    "newline": "a\nb.jpg",
    "return": "a\rb.jpg",
    "tab": "a\tb.jpg",
    "escape": "\x1b[31mred\x1b[0m.jpg",
    "bell": "a\x07.jpg",
    "turned around": "a\u202egpj.exe",
    "quotes": "a\"b'c,d;e.jpg",
    "markup": "[bold red]a[/].jpg",
    "emoji code": "a:warning:.jpg",
    "backslash": "a\\",
    "unicode": "Ünïcödé 顔.jpg",
    "not utf-8": "caf\udce9.jpg",
}


def written(results: list[FileResult], format: str) -> str:
    """What lands in a file that was opened as scan opens it."""
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    write_results(results, format, file)
    file.seek(0)
    return file.read()


def csv_rows(results: list[FileResult]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(results, "csv"), newline="")))


@pytest.mark.parametrize("format", FORMATS)
def test_verdicts_are_counted(format: str) -> None:
    tally = write_results(iter(ALL), format, io.StringIO())
    assert tally.verdicts == {"fake": 2, "no_face": 1, "error": 1}
    assert tally.reasons == {"no such file": 1}


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    refused = [FileResult(name, "error", "error", error=f"{name} pixels are too many") for name in ("48 x 32", "9 x 9")]
    assert write_results(refused, "jsonl", io.StringIO()).reasons == {"… x … pixels are too many": 2}


# JSON


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ONE, {"path": "one.jpg", "status": "ok", "verdict": "fake", "p_fake": 0.97, "width": 640, "height": 480}),
        (ONE, {"model": "blaze 1", "precision": "int8", "rule": "fake from 0.9", "error": None}),
        (NOBODY, {"status": "ok", "verdict": "no_face", "p_fake": None, "faces": [], "width": 640}),
        (BROKEN, {"status": "error", "verdict": "error", "p_fake": None, "faces": [], "error": "no such file"}),
        (BROKEN, {"width": None, "height": None, "latency_ms": None}),
    ],
)
@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_fields(format: str, result: FileResult, expected: dict) -> None:
    parsed = json.loads(written([result], format))
    (row,) = parsed if format == "json" else [parsed]
    assert {name: row[name] for name in expected} == expected
    assert list(row) == [
        *("path", "status", "verdict", "p_fake", "faces", "width", "height"),
        *("model", "precision", "rule", "latency_ms", "error"),
    ]


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_faces(format: str) -> None:
    parsed = json.loads(written([TWO], format))
    (row,) = parsed if format == "json" else [parsed]
    assert row["faces"] == [
        {"box_xyxy": [10.0, 20.5, 110.0, 130.5], "score": 0.9, "p_fake": 0.97, "verdict": "fake"},
        {"box_xyxy": [-3.0, 0.0, 40.0, 43.0], "score": 0.6, "p_fake": 0.5, "verdict": "uncertain"},
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
        (ONE, [("one.jpg", "ok", "fake", "0.97", "1", "fake", "0.97", "0.9", "10.0", "20.5", "110.0", "130.5", "")]),
        (
            TWO,
            [
                ("two.jpg", "ok", "fake", "0.97", "1", "fake", "0.97", "0.9", "10.0", "20.5", "110.0", "130.5", ""),
                ("two.jpg", "ok", "fake", "0.97", "2", "uncertain", "0.5", "0.6", "-3.0", "0.0", "40.0", "43.0", ""),
            ],
        ),
        (NOBODY, [("nobody.jpg", "ok", "no_face", *[""] * 10)]),
        (BROKEN, [("broken.jpg", "error", "error", *[""] * 9, "no such file")]),
    ],
    ids=["one face", "two faces", "no face", "error"],
)
def test_csv_has_a_row_for_each_face_or_file(result: FileResult, rows: list[tuple[str, ...]]) -> None:
    columns = ["path", "status", "verdict", "p_fake", "face", "face_verdict", "face_p_fake", "face_score"]
    columns += ["x_min", "y_min", "x_max", "y_max", "error"]
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
        (NOBODY, [["no face", "12", "nobody.jpg"]]),
        (BROKEN, [["error", "broken.jpg: no such file"]]),
    ],
    ids=["one face", "two faces", "no face", "error"],
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
