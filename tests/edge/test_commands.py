"""The commands of the edge: rows on standard output, one line for what went wrong, a status that says which."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from facetell.edge.runtime import installed_runtimes
from facetell.tools.cli import run

FACETELL = [sys.executable, "-m", "facetell.tools.cli"]
DONE, FAILED, USAGE, SOME_FAILED = 0, 1, 2, 3
FACES = {
    "fake_astronaut_with_hoppers_face.jpg": 1,
    "fake_hopper_with_astronauts_face.jpg": 1,
    "no_face_coffee.jpg": 0,
    "enlarged.jpg": 1,
    "grey_at_the_edge.jpg": 1,
    "small_on_transparency.png": 1,
    "real_astronaut.jpg": 1,
    "real_grace_hopper.jpg": 1,
    "real_turned_by_exif.jpg": 1,
    "two_faces.jpg": 2,
}


class Scan:
    """Runs `facetell scan ...` in this process and keeps what it wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> int:
        code = run(["scan", *map(str, arguments)])
        self.out, self.err = self._capsys.readouterr()
        return code

    def rows(self, *arguments: str | Path) -> list[dict]:
        """The files' results, after checking that all went well."""
        assert self(*arguments, "--format", "jsonl") == DONE
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def scan(capsys: pytest.CaptureFixture[str]) -> Scan:
    return Scan(capsys)


@pytest.fixture
def astronaut_file(samples: Path) -> Path:
    return samples / "real_astronaut.jpg"


@pytest.fixture
def folder(tmp_path: Path, samples: Path) -> Path:
    """A folder of one picture with a face."""
    (tmp_path / "pictures").mkdir()
    shutil.copy(samples / "real_astronaut.jpg", tmp_path / "pictures" / "astronaut.jpg")
    return tmp_path / "pictures"


def in_a_process(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FACETELL, "scan", *arguments], capture_output=True, text=True, check=False, timeout=300, **options
    )


# What a scan says


def test_every_sample_gives_one_object(scan: Scan, samples: Path, bundle) -> None:
    rows = scan.rows(samples, "-q")
    assert {Path(row["path"]).name: len(row["faces"]) for row in rows} == FACES
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    for row in rows:
        assert (row["status"], row["error"]) == ("ok", None)
        assert (row["model"], row["precision"]) == (bundle.identity, "float32")
        assert row["latency_ms"] > 0
        with Image.open(row["path"]) as image:
            assert sorted((row["width"], row["height"])) == sorted(image.size)
        if row["faces"]:
            assert row["p_fake"] == max(face["p_fake"] for face in row["faces"]) == row["faces"][0]["p_fake"]
            assert row["verdict"] == row["faces"][0]["verdict"] == bundle.thresholds.verdict(row["p_fake"])
        else:
            assert (row["verdict"], row["p_fake"]) == ("no_face", None)
        for face in row["faces"]:
            x_min, y_min, x_max, y_max = face["box_xyxy"]
            assert max(x_min, 0) < min(x_max, row["width"])
            assert max(y_min, 0) < min(y_max, row["height"])
            assert 0 <= face["p_fake"] <= 1
            assert 0.5 <= face["score"] <= 1
    assert scan.err == ""


def test_csv_has_a_row_for_each_face(scan: Scan, samples: Path) -> None:
    assert scan(samples) == DONE
    rows = [Path(row["path"]).name for row in csv.DictReader(io.StringIO(scan.out))]
    assert rows == [name for name, faces in FACES.items() for _ in range(max(faces, 1))]
    assert scan.err.count("\n") == 1
    assert f"Scanned {len(FACES)} files" in scan.err
    assert "A verdict is evidence, not proof." in scan.err


def test_a_picture_turned_by_exif_scores_like_the_upright_one(scan: Scan, samples: Path) -> None:
    turned, upright = scan.rows(samples / "real_turned_by_exif.jpg", samples / "real_astronaut.jpg")
    assert turned["p_fake"] == pytest.approx(upright["p_fake"], abs=0.02)
    assert turned["faces"][0]["box_xyxy"] == pytest.approx(upright["faces"][0]["box_xyxy"], abs=3)


def test_the_same_scan_gives_the_same_scores(scan: Scan, samples: Path) -> None:
    first, second = ([row["p_fake"] for row in scan.rows(samples)] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_precision(precision: str, scan: Scan, astronaut_file: Path) -> None:
    (row,) = scan.rows(astronaut_file, "--precision", precision)
    assert row["precision"] == precision
    assert len(row["faces"]) == 1


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_runtime(runtime: str, scan: Scan, astronaut_file: Path) -> None:
    assert len(scan.rows(astronaut_file, "--runtime", runtime)) == 1


@pytest.mark.parametrize(("threshold", "verdict"), [("0", "fake"), ("p", "fake"), ("above", "real"), ("1", "real")])
def test_threshold(threshold: str, verdict: str, scan: Scan, astronaut_file: Path) -> None:
    """Fake at or above it, real below, never uncertain."""
    (row,) = scan.rows(astronaut_file)
    given = {"p": str(row["p_fake"]), "above": str(row["p_fake"] + 1e-6)}.get(threshold, threshold)
    (row,) = scan.rows(astronaut_file, "--threshold", given)
    assert row["verdict"] == row["faces"][0]["verdict"] == verdict


@pytest.mark.parametrize("pre_cropped", [(), ("--pre-cropped",)], ids=["find", "pre-cropped"])
def test_careful_is_sure_only_where_every_variation_agrees(pre_cropped, scan: Scan, samples: Path) -> None:
    name = samples / "two_faces.jpg"
    plain, careful = (
        [face for row in scan.rows(name, *pre_cropped, *how) for face in row["faces"]] for how in ([], ["--careful"])
    )
    means = [face["p_fake"] for face in careful]
    assert len(careful) == len(plain)
    assert means != [face["p_fake"] for face in plain]
    assert means == pytest.approx([face["p_fake"] for face in plain], abs=0.25)
    for threshold in means:  # a mean lies between the variations, so the threshold there parts them
        (row,) = scan.rows(name, *pre_cropped, "--careful", "--threshold", str(threshold))
        assert [face["verdict"] for face in row["faces"] if face["p_fake"] == threshold] == ["uncertain"]
        assert row["verdict"] == row["faces"][0]["verdict"]
    for threshold, verdict in (("0", "fake"), ("1", "real")):
        (row,) = scan.rows(name, *pre_cropped, "--careful", "--threshold", threshold)
        assert {face["verdict"] for face in row["faces"]} == {verdict}


@pytest.mark.parametrize("name", ["no_face_coffee.jpg", "two_faces.jpg"])
def test_pre_cropped_takes_each_picture_for_one_face(name: str, scan: Scan, samples: Path) -> None:
    (row,) = scan.rows(samples / name, "--pre-cropped")
    (face,) = row["faces"]
    assert face["box_xyxy"] == [0, 0, row["width"], row["height"]]
    assert row["verdict"] in ("real", "fake", "uncertain")


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 4000), (2, 32_766), (32_766, 2)])
@pytest.mark.parametrize("pre_cropped", [False, True], ids=["find", "pre-cropped"])
def test_pictures_of_any_shape_are_scored(pre_cropped: bool, size, scan: Scan, tmp_path: Path) -> None:
    Image.new("RGB", size, "grey").save(tmp_path / "odd.png")
    (row,) = scan.rows(tmp_path / "odd.png", *(["--pre-cropped"] if pre_cropped else []))
    assert len(row["faces"]) == pre_cropped


# Paths as they come


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_paths_from_standard_input(end: str, samples: Path) -> None:
    lines = f"{samples / 'no_face_coffee.jpg'}{end}{end}{samples / 'two_faces.jpg'}{end}"
    done = in_a_process("-", "--format", "jsonl", input=lines)
    assert done.returncode == DONE
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["no_face_coffee.jpg", "two_faces.jpg"]


def test_paths_that_end_in_nul(samples: Path, tmp_path: Path) -> None:
    shutil.copy(samples / "two_faces.jpg", tmp_path / "line\nbreak.jpg")
    paths = f"{tmp_path}/line\nbreak.jpg\0{samples / 'no_face_coffee.jpg'}\0"
    done = in_a_process("-0", "-", "--format", "jsonl", input=paths)
    assert done.returncode == DONE
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["line\nbreak.jpg", "no_face_coffee.jpg"]


def test_the_first_row_does_not_wait_for_the_last_path(samples: Path) -> None:
    with subprocess.Popen(
        [*FACETELL, "scan", "-", "-q", "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{samples / 'two_faces.jpg'}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["status"] == "ok"
        process.stdin.close()
        assert process.stdout.read() == ""


@pytest.mark.parametrize(("limit", "status"), [("0.2", "error"), ("0.27", "ok"), ("500", "ok")])
def test_the_limit_on_pixels(limit: str, status: str, scan: Scan, astronaut_file: Path) -> None:
    scan(astronaut_file, "--max-megapixels", limit, "--format", "jsonl")
    assert json.loads(scan.out)["status"] == status


@pytest.mark.parametrize("workers", [1, 3])
def test_workers(workers: int, scan: Scan, samples: Path) -> None:
    names = [Path(row["path"]).name for row in scan.rows(samples, "--workers", str(workers))]
    assert names == [Path(row["path"]).name for row in scan.rows(samples)]


ODD_NAMES = [
    *("Ünïcödé 顔 🙂.jpg", "with space.jpg", " leading.jpg", "quo'te\".jpg", "a,b;c.jpg", "-dash.jpg", "=1+1.jpg"),
    *("[x].jpg", "%s{}.jpg", "$HOME.jpg", "*.jpg", "no ending", "wrong.txt", "back\\slash.jpg"),
    *("a\u2028b.jpg", "a\x85b.jpg"),  # two lines to str.splitlines, one to a shell
]


@pytest.mark.parametrize("by_stdin", [False, True], ids=["argument", "stdin"])
def test_odd_names_are_only_names(
    by_stdin: bool, scan: Scan, astronaut_file: Path, tmp_path: Path, monkeypatch
) -> None:
    paths = [shutil.copy(astronaut_file, tmp_path / name) for name in ODD_NAMES]
    if by_stdin:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(map(str, paths)).encode())))
        paths_given = ["-"]
    else:
        paths_given = paths
    rows = scan.rows(*paths_given)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert {row["verdict"] for row in rows} == {rows[0]["verdict"]}


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 need Linux")
@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "table"])
@pytest.mark.parametrize("how", ["folder", "stdin", "output"])
def test_a_name_that_is_not_utf8_stops_nothing(format: str, how: str, folder: Path, tmp_path: Path) -> None:
    path = os.fsencode(folder) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).symlink_to(folder / "astronaut.jpg")
    output = ["-o", tmp_path / "out"] if how == "output" else []
    done = subprocess.run(
        [*FACETELL, "scan", "-" if how == "stdin" else folder, "--format", format, *output],
        input=path + b"\n" + os.fsencode(folder / "astronaut.jpg"),
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8:strict"},  # as on most desktops
    )
    assert done.returncode == DONE, done.stderr.decode()[-300:]
    text = (tmp_path / "out").read_bytes() if output else done.stdout
    assert b"caf" in text
    assert b"astronaut.jpg" in text or format == "table"  # which folds long paths


# What goes wrong


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture", "not a picture"),
        (b"", "not a picture"),
        (b"\xff\xd8\xff\xe0", "not a picture"),
        (None, "no such file"),
    ],
    ids=["text", "empty", "cut", "dangling link"],
)
def test_a_bad_file_is_a_row_and_status_3(content, reason: str, scan: Scan, folder: Path) -> None:
    if content is None:
        (folder / "bad.jpg").symlink_to(folder / "nowhere.jpg")
    else:
        (folder / "bad.jpg").write_bytes(content)
    assert scan(folder, "--format", "jsonl") == SOME_FAILED
    good, bad = (json.loads(line) for line in scan.out.splitlines())
    assert (good["status"], bad["status"], bad["verdict"]) == ("ok", "error", "error")
    assert (bad["p_fake"], bad["faces"]) == (None, [])
    assert reason in bad["error"]
    assert "1 error" in scan.err


def one_error(scan: Scan) -> str:
    assert scan.err.startswith("Error: ")
    assert scan.err.count("\n") == 1, scan.err
    assert scan.err.endswith("\n")
    return scan.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.jpg"], "missing.jpg does not exist"),
        (["pictures", "missing.jpg"], "missing.jpg does not exist"),
        (["a" * 300], "a" * 300),
        (["no\nsuch\x1b[31m.jpg"], ".jpg does not exist"),
        (["empty"], "no pictures in"),
        (["pictures", "-o", "taken.csv"], "taken.csv exists already"),
        (["pictures", "-o", "empty"], "is a folder; name a file in it"),
        (["pictures", "-o", "taken.csv/out.csv"], "cannot write"),
        (["pictures", "-o", "taken.csv/below/out.csv"], "cannot write"),
        (["pictures", "-o", "a" * 300 + ".csv"], "a" * 300),
        (["empty", "-o", "out.csv"], "no pictures in"),
        (["empty", "-o", "out.json"], "no pictures in"),
        (["pictures", "--model", "missing"], "there is no model at"),
        (["pictures", "--model", "empty"], "is not a bundle"),
        (["pictures", "--model", "taken.csv"], "is not a bundle"),
        (["pictures", "--model", "a" * 300], "a" * 300),
    ],
    ids=lambda value: " ".join(value)[:40].encode("unicode_escape").decode() if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line(arguments, reason, scan: Scan, folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    Path("taken.csv").write_text("mine")
    before = sorted(Path().rglob("*"))
    assert scan(*arguments) == FAILED
    assert reason in one_error(scan)
    assert sorted(Path().rglob("*")) == before
    assert Path("taken.csv").read_text() == "mine"


def test_a_changed_model_is_one_line_that_names_the_file(scan: Scan, folder: Path, bundle) -> None:
    from facetell.edge.bundle import DEFAULT_BUNDLE

    copy = shutil.copytree(DEFAULT_BUNDLE, folder.parent / "bundle")
    (copy / "int8.tflite").write_bytes(b"changed")
    assert scan(folder, "--model", copy) == FAILED
    assert "int8.tflite differs" in one_error(scan)


@pytest.mark.skipif("ai-edge-litert" in installed_runtimes(), reason="ai-edge-litert is installed here")
def test_a_missing_runtime_is_one_line(scan: Scan, folder: Path) -> None:
    assert scan(folder, "--runtime", "ai-edge-litert") == FAILED
    assert "pip install ai-edge-litert" in one_error(scan)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x", "--no-such-option"],
        ["x", "--threshold", "1.5"],
        ["x", "--threshold", "half"],
        ["x", "--format", "xml"],
        ["x", "--precision", "int4"],
        ["x", "-o"],
        ["x", "-o", "out.xml"],
        ["x", "--threshold", "nan"],
        ["x", "-0"],
        ["x", "--workers", "0"],
        ["x", "--max-megapixels", "0"],
        ["x", ""],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(arguments: list[str], scan: Scan) -> None:
    assert scan(*arguments) == USAGE
    assert scan.out == ""
    assert scan.err.count("Error: ") == 1


# Where results go


@pytest.mark.parametrize(
    ("options", "format"),
    [
        ([], "csv"),
        (["-o", "out.csv"], "csv"),
        (["-o", "out.json"], "json"),
        (["-o", "out.jsonl"], "jsonl"),
        (["-o", "OUT.JSONL"], "jsonl"),
        (["-o", "out.txt"], "table"),
        (["-o", "below/and/below/out.json"], "json"),
        (["-o", "out.csv", "--format", "jsonl"], "jsonl"),
        (["-o", "-"], "csv"),
        (["--format", "json"], "json"),
        (["--format", "jsonl"], "jsonl"),
        (["--format", "csv"], "csv"),
        (["--format", "table"], "table"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_formats_and_their_endings(options, format: str, scan: Scan, folder: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert scan(folder, *options) == DONE
    text = scan.out
    if "-o" in options and "-" not in options:
        assert text == ""
        text = Path(options[1]).read_text(encoding="utf-8")
    first = {"csv": "path,status,verdict", "json": "[\n{", "jsonl": '{"path": ', "table": "verdict "}[format]
    assert text.startswith(first)
    assert text.endswith("\n")
    if format == "json":
        assert len(json.loads(text)) == 1
    assert "Scanned 1 file in" in scan.err


def test_quiet_says_nothing_on_stderr(scan: Scan, folder: Path) -> None:
    assert scan(folder, "-q") == DONE
    assert scan.err == ""


def test_nothing_but_results_and_the_summary_is_written() -> None:
    """In a process of its own, for the runtime writes past Python's sys.stderr."""
    done = in_a_process(Path(__file__).parents[2] / "samples")
    assert done.returncode == DONE
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == sum(max(faces, 1) for faces in FACES.values())
    assert done.stderr.count("\n") == 1


def test_a_picture_with_broken_exif_is_scanned_without_a_warning(astronaut_file: Path, tmp_path: Path) -> None:
    with Image.open(astronaut_file) as image:
        image.save(tmp_path / "broken.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    done = in_a_process(tmp_path / "broken.jpg", "-q", "--format", "jsonl")
    assert done.returncode == DONE
    assert len(json.loads(done.stdout)["faces"]) == 1
    assert done.stderr == ""


# info


def test_info_tells_what_the_bundle_is(capsys, bundle) -> None:
    assert run(["info"]) == DONE
    out = capsys.readouterr().out
    assert bundle.identity in out
    for classifier in bundle.classifiers.values():
        assert classifier.file in out
    assert installed_runtimes()[0] in out


def test_info_of_what_is_no_bundle_is_one_line(capsys, tmp_path: Path) -> None:
    assert run(["info", str(tmp_path)]) == FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
