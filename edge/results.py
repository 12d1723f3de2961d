"""What a scan says of each file, and how it is written: JSONL, JSON, CSV or a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

from .calibration import Verdict
from .errors import SourceError, printable
from .faces import Box
from .tables import spreadsheet_safe

_ROW_START = b'{"path": "'
_SUSPICION = ("real", "uncertain", "fake")  # the most suspicious last

Doubt = Literal["may_not_be_a_face", "too_small", "not_frontal"]

DOUBTS: dict[Doubt, str] = {
    "may_not_be_a_face": "may not be a face",
    "too_small": "too small to judge",
    "not_frontal": "turned away or partly hidden",
}
"""Why a face is not judged like others, in words. The first that applies is given."""

DECIDING: tuple[Doubt | None, ...] = (None, "not_frontal")
"""With no other doubt may a face decide a file's verdict."""

FileVerdict = Literal[Verdict, "no_face", "error"]
Status = Literal["ok", "error"]

FORMATS = ("table", "csv", "json", "jsonl")
VERDICTS = get_args(FileVerdict)
COLOURS = {"real": "blue", "fake": "bold dark_orange", "uncertain": "yellow", "no_face": "dim", "error": "red"}

CSV_COLUMNS = (
    *("path", "status", "verdict", "p_fake", "face", "face_verdict", "face_p_fake", "face_score"),
    *("x_min", "y_min", "x_max", "y_max", "roll_degrees", "doubt", "start_s", "end_s", "best_s", "frames"),
    *("deciding_face", "too_small", "doubtful"),
    *("width", "height", "duration_s", "fps", "model", "precision", "rule", "latency_ms", "error"),
)
"""face and deciding_face count from 1."""


@dataclass(frozen=True)
class FaceResult:
    """One face: box in pixels, the finder's score, calibrated probability of a fake, verdict."""

    box_xyxy: Box
    score: float
    p_fake: float | None
    """None where the face is too small to judge."""
    verdict: Verdict
    roll_degrees: float = 0.0
    """How far the face is turned clockwise; it is turned upright by as much before it is scored."""
    doubt: Doubt | None = None
    """Where there is one, the verdict is uncertain."""

    def __str__(self) -> str:
        """Return verdict, score, doubt and box in a line."""
        p_fake = "" if self.p_fake is None else f", p_fake {self.p_fake:.2f}"
        doubt = f" ({DOUBTS[self.doubt]})" if self.doubt else ""
        x_min, y_min, x_max, y_max = self.box_xyxy
        return f"{self.verdict}{p_fake}{doubt}, x {x_min:.0f} to {x_max:.0f}, y {y_min:.0f} to {y_max:.0f}"

    @property
    def may_decide(self) -> bool:
        """Whether a file's verdict may be that of this face."""
        return self.doubt in DECIDING

    def scaled(self, factor: float) -> FaceResult:
        """Return the same face in a picture that is enlarged by factor."""
        x_min, y_min, x_max, y_max = (edge * factor for edge in self.box_xyxy)
        return replace(self, box_xyxy=(x_min, y_min, x_max, y_max))


@dataclass(frozen=True, kw_only=True)
class TrackResult(FaceResult):
    """One face of a video: p_fake and verdict over all frames it was seen in, the rest in the best of them."""

    start_s: float
    end_s: float
    best_s: float
    frames: int


def suspicion(face: FaceResult) -> tuple[bool, int, float]:
    """Return what is higher the more suspicious a face is, and lowest for those that may not decide."""
    return face.may_decide, _SUSPICION.index(face.verdict), -1 if face.p_fake is None else face.p_fake


def decided(faces: Iterable[FaceResult]) -> dict[str, Any]:
    """Return what a FileResult says of its faces, the most suspicious first, and by the first of them."""
    ordered = sorted(faces, key=suspicion, reverse=True)
    decides = bool(ordered) and ordered[0].may_decide
    doubts = Counter(face.doubt for face in ordered)
    return {
        "verdict": ordered[0].verdict if decides else "no_face",
        "p_fake": ordered[0].p_fake if decides else None,
        "faces": ordered,
        "deciding_face": 0 if decides else None,
        "too_small": doubts["too_small"],
        "doubtful": doubts["may_not_be_a_face"],
    }


@dataclass(frozen=True)
class FileResult:
    """One file: status ok or error, and the verdict of its most suspicious face, no_face, or error with a reason."""

    path: str
    """Empty for bytes, PIL images and arrays."""
    status: Status
    verdict: FileVerdict
    p_fake: float | None = None
    faces: Sequence[FaceResult] = ()
    """Those that may decide first, the most suspicious of them at the head."""
    deciding_face: int | None = None
    """Index of the face whose verdict is the file's; None where no face may decide."""
    too_small: int = 0
    """Faces that are too small to judge."""
    doubtful: int = 0
    """Faces that may not be faces."""
    width: int | None = None
    height: int | None = None
    model: str = ""
    precision: str = ""
    rule: str = ""
    """What besides the model decides: the thresholds, and whether careful or pre-cropped."""
    latency_ms: float | None = None
    error: str | None = None

    def __str__(self) -> str:
        """Return a line about the file, and one for each face."""
        count = len(self.faces)
        shown = [self.verdict.replace("_", " "), self.error, f"{count} face{'s' * (count > 1)}" if count else None]
        head = f"{self.path or 'picture'}: {', '.join(filter(None, shown))}"
        return "\n  ".join([head, *map(str, self.faces)])

    def to_dict(self) -> dict[str, Any]:
        """Return the row of a JSONL file."""
        return asdict(self)


def not_judged(result: FileResult) -> str:
    """Return how many faces of a file may not decide, and why, in words; empty where all may."""
    small, doubtful = result.too_small, result.doubtful
    counts = [f"{small} face{'s' * (small > 1)} too small to judge"] if small else []
    if doubtful:
        counts.append(
            f"{doubtful} detection{'s' * (doubtful > 1)} that may not be {'faces' if doubtful > 1 else 'a face'}"
        )
    return ", ".join(counts)


@dataclass(frozen=True, kw_only=True)
class VideoResult(FileResult):
    """One video: its faces are TrackResults, and an error beside status ok says what is missing of it."""

    duration_s: float
    fps: float
    """Frames a second that were looked at."""


@dataclass(frozen=True)
class Tally:
    """What came of some files."""

    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why files could not be read; an ellipsis stands for any number."""

    def add(self, verdict: str, error: str | None) -> str | None:
        """Count one more and return the reason it counts for; of a verdict other than error, error is none."""
        self.verdicts[verdict] += 1
        if verdict != "error" or not error:
            return None
        reason = re.sub(r"\b\d+\b", "…", error)
        self.reasons[reason] += 1
        return reason


def write_results(results: Iterable[FileResult], format: str, file: TextIO) -> Tally:
    """Write results in one of FORMATS and return their tally.

    CSV, JSONL and a table, which is for people, grow with every file, in one piece each; JSON is one array.
    """
    write = {"table": _write_table, "csv": _write_csv, "json": _write_json, "jsonl": _write_jsonl}[format]
    tally = Tally()

    def counted() -> Iterable[FileResult]:
        for result in results:
            yield result
            tally.add(result.verdict, result.error)

    write(counted(), file)
    return tally


def finished(file: Path, signed: Mapping[str, Any]) -> tuple[set[int], int]:
    """Return the hash() of every path that a JSONL file has a row of, and how many rows are errors.

    A row that a kill left torn is cut off. Hashes, as the paths of a million files fill a small machine's memory.
    Raises SourceError when the file cannot be read or holds anything else, or a row was not made as signed says; fps
    is asked of videos alone.
    """
    known: set[int] = set()
    failed = 0
    try:
        with file.open("r+b") as rows:
            for line in rows:
                if not line.endswith(b"\n"):
                    if line[: len(_ROW_START)] != _ROW_START[: len(line)]:
                        raise ValueError("no row of ours")
                    rows.truncate(rows.tell() - len(line))
                    break
                row = json.loads(line)
                asked = {name: now for name, now in signed.items() if name != "fps" or name in row}
                changed = [f"{name} was {row[name]}, is {now}" for name, now in asked.items() if row[name] != now]
                if changed:
                    raise SourceError(f"{file} was made otherwise ({', '.join(changed)}); choose another with -o")
                known.add(hash(row["path"]))
                failed += row["status"] == "error"
    except OSError as error:
        raise SourceError(f"cannot go on with {file}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{file} holds what is no result of a scan; choose another with -o") from error
    return known, failed


def _write_table(results: Iterable[FileResult], file: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, soft_wrap=True, highlight=False)
    head = f"{'verdict':<9}  p(fake)  {'face at x, y, size':<27}     ms  file\n"
    for result in results:
        lines = Text(head)
        latency = "" if result.latency_ms is None else f"{result.latency_ms:.0f}"
        name, notes = printable(result.path), [result.error, not_judged(result)]
        # There may be a hundred faces that do not decide: they are counted behind the file's name.
        deciding = [face for face in result.faces if face.may_decide]
        rows = [
            (face.verdict, f"{face.p_fake:.2f}", _place(face), face.doubt and DOUBTS[face.doubt]) for face in deciding
        ]
        for verdict, p_fake, place, doubt in rows or [(result.verdict, "", "", None)]:
            said = ", ".join(printable(note) for note in (doubt, *notes) if note)
            last = ": ".join(part for part in (name, said) if part)
            lines.append(f"{verdict.replace('_', ' '):<9}", COLOURS[verdict])
            lines.append(f"  {p_fake:>7}  {place:<27}  {latency:>5}  {last}".rstrip() + "\n")
            latency, name, notes = "", "", []
        console.print(lines, end="")
        head = ""


def _write_jsonl(results: Iterable[FileResult], file: TextIO) -> None:
    for result in results:
        file.write(json.dumps(result.to_dict()) + "\n")
        file.flush()


def _write_json(results: Iterable[FileResult], file: TextIO) -> None:
    separator = "[\n"
    for result in results:
        file.write(separator + json.dumps(result.to_dict()))
        separator = ",\n"
    file.write("\n]\n" if separator == ",\n" else "[]\n")


def _write_csv(results: Iterable[FileResult], file: TextIO) -> None:
    head = True
    for result in results:
        rows = io.StringIO()
        writer = csv.DictWriter(rows, CSV_COLUMNS)
        if head:
            writer.writeheader()
            head = False
        values = result.to_dict()
        faces = values.pop("faces")
        if result.deciding_face is not None:
            values["deciding_face"] = result.deciding_face + 1
        values |= {name: spreadsheet_safe(values[name] or "") for name in ("path", "error", "model", "rule")}
        for number, face in enumerate(faces, start=1):
            box = dict(zip(("x_min", "y_min", "x_max", "y_max"), face.pop("box_xyxy"), strict=True))
            of_face = {f"face_{name}": face.pop(name) for name in ("verdict", "p_fake", "score")}
            writer.writerow(values | {"face": number} | of_face | box | face)
        if not faces:
            writer.writerow(values)
        file.write(rows.getvalue())
        file.flush()


def _place(face: FaceResult) -> str:
    x_min, y_min, x_max, y_max = face.box_xyxy
    place = f"{x_min:.0f}, {y_min:.0f}, {max(x_max - x_min, y_max - y_min):.0f}"
    return f"{place}, {face.start_s:.0f}-{face.end_s:.0f} s" if isinstance(face, TrackResult) else place
