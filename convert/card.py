"""The model card: a Hugging Face README for a bundle, of about two screens."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..edge.bundle import PRECISIONS
from ..edge.cut import saved_size_px
from ..edge.errors import DatasetError
from ..edge.manifest import RESERVED
from ..edge.run import Run
from ..edge.tables import Table
from .verify import MAX_AUC_LOSS, MAX_MEAN_DRIFT, MIN_AGREEMENT, Comparison, comparison_table

NOTICE = """\
face_detector.tflite is the BlazeFace short-range model of MediaPipe
(mediapipe/modules/face_detection/face_detection_short_range.tflite, unchanged).
Copyright The MediaPipe Authors, licensed under the Apache License, Version 2.0:
https://www.apache.org/licenses/LICENSE-2.0
"""

MIN_FACES = 20
"""A source of fewer measured faces is named, but its figures would be a matter of luck."""

_FRONT_MATTER = """\
---
library_name: tflite
pipeline_tag: image-classification
license: other
license_name: {license}
tags: [deepfake-detection, face-forgery-detection, tflite, int8, on-device]
---
"""

_UNKNOWN_DATA = """\
What the model was trained on is not known: it was trained elsewhere. If pictures that it is measured on here were among
its training data, the figures flatter it."""

_LIMITS = """\
- A verdict is evidence, not proof. Do not accuse, punish or publish on the strength of it alone.
- Expect more errors on cameras, people and generators that are not listed above; a new kind of fake may look perfectly
  real to the model.
- It judges only faces: it cannot see a forged scene, a false caption or a cloned voice.
- Faces that are small, turned far away, covered, blurred or heavily filtered are hard to find and hard to judge."""


@dataclass(frozen=True)
class Source:
    """What a source of pictures is."""

    kind: str
    """A few words: the generator, or where the photos come from."""
    terms: str


@dataclass(frozen=True)
class CardSettings:
    """What a bundle says of itself beyond what the run knows."""

    name: str
    license: str = "the terms of its training data"
    data_notes: str = "Whoever trained this model should say here what the pictures are and what their terms allow."
    """Markdown: the training data, its terms, how groups of people were told apart."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """By name."""


def read_sources(path: Path) -> dict[str, Source]:
    """Read a csv with the columns source, kind and terms; raises DatasetError when it is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"source", "kind", "terms"}.issubset(reader.fieldnames or ()):
                raise KeyError
            return {row["source"]: Source(row["kind"] or "", row["terms"] or "") for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise DatasetError(
            f"{path} cannot be read; wanted a csv in UTF-8 with the columns source, kind and terms"
        ) from error


def model_card(
    manifest: dict[str, Any],
    run: Run,
    reports: Sequence[dict[str, Any]],
    comparisons: Sequence[Comparison],
    settings: CardSettings,
) -> str:
    """Return MODEL_CARD.md; reports are the report.json of the run's evaluations."""
    thresholds, size = run.thresholds, run.input_size_px
    return f"""\
{_FRONT_MATTER.format(license=json.dumps(manifest["license"]))}
# {manifest["name"]} {manifest["version"]}

Tells real faces from fake ones. {run.backbone}, {size} x {size} pixels, {_listed(list(manifest["files"]))}, for phones,
Raspberry Pis, laptops and servers. Made and read by facetell; any TFLite runtime can run it.

## Use

{_crop(manifest, run)}
Give any of the files raw RGB 0..255 as float32. The outputs are [real, fake] as float32. {_calibration(manifest)}
{_explained(manifest)}
Fake from {thresholds.fake:.4g}, real up to {thresholds.real:.4g}, uncertain between: {thresholds.chosen_at}.

## Training data and how well it does

{_by_source(run, reports, settings.sources)}

{_terms(run, settings.sources)}{settings.data_notes.strip()}

License of the model: {manifest["license"]}.

{_by_attribute(reports)}## The files

Compared with the Keras model on the validation split ({manifest["metrics"]["float32"]["pictures"]} face crops), at the
thresholds above. {_chosen_by(run)} ms is
from a crop's bytes to its scores, in one thread; the files of a runtime were measured in turns:

{comparison_table(comparisons)}

{_gate(manifest)}

## Limits

{_LIMITS}
"""


def _by_source(run: Run, reports: Sequence[dict[str, Any]], sources: Mapping[str, Source]) -> str:
    """Return one table of what it was trained on and how it does on each source."""
    trained = _trained_on(run)
    if not trained:
        return _UNKNOWN_DATA
    rows, measured = {}, set[str]()
    for report in sorted(reports, key=lambda report: _ORDER.index(report["split"])):
        clean = report["results"]["clean"]
        for name, own in clean.items():
            if name in rows or name == "all" or name.endswith((", by group", " against all real")):
                continue
            measured.add(name)
            if own["real"] + own["fake"] >= MIN_FACES:
                rows[name] = _row(name, report, sources, trained)
    few = sorted(({*trained} & measured) - {*rows})
    unmeasured = sorted({*trained} - measured)
    rows |= {
        f"all, {report['split']}": _row("all", report, sources, trained)
        for report in reports
        if report["split"] in (RESERVED, "test")
    }
    head = ("source", "kind", "trained on, real / fake", "split", "measured, real / fake", "AUC", "found at 1 %")
    head += ("reals called fake", "fakes called real", "uncertain")
    lines = [str(Table(head, list(rows.values()))), _HOW_TO_READ] if rows else [_NOT_EVALUATED]
    if any(report["split"] == RESERVED for report in reports):
        lines[-1] = f"{_STARRED} {lines[-1]}"
    for words, names in ((f"with fewer than {MIN_FACES} faces to measure", few), ("not measured", unmeasured)):
        if names:
            lines.append(f"Trained on, {words}: {', '.join(f'`{name}` ({trained[name]})' for name in names)}.")
    return "\n\n".join(lines)


_ORDER = (RESERVED, "test", "validation", "train")
_NOT_EVALUATED = "`facetell evaluate` was not run on this model before it was exported."
_STARRED = "Sources marked * were not trained on."
_HOW_TO_READ = """\
*Found at 1 %* is the share of fakes that score above all but 1 % of the real faces. Fakes of a source without real
faces are compared with all real faces of their split."""


def _row(name: str, report: dict[str, Any], sources: Mapping[str, Source], trained: Mapping[str, str]) -> list[str]:
    clean = report["results"]["clean"]
    own, against = clean[name], clean.get(f"{name} against all real", clean[name])
    left_out = "*" if report["split"] == RESERVED else ""
    auc = (
        "-" if against["auc"] is None else f"{against['auc']:.3f} ({against['auc_low']:.3f}-{against['auc_high']:.3f})"
    )
    return [
        f"{name}{left_out}" if name == "all" else f"`{name}`{left_out}",
        sources[name].kind if name in sources else "",
        trained.get(name, ""),
        report["split"],
        f"{own['real']} / {own['fake']}",
        auc,
        *(_share(of) for of in (against.get("found_at_1"), own["real_called_fake"], own["fake_called_real"])),
        _share(own["uncertain"]),
    ]


def _trained_on(run: Run) -> dict[str, str]:
    """Return 'real / fake' by source."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for key, number in run.pictures.items():
        source, label, split = key.rsplit(" ", 2)
        if split == "train":
            counts[source][label] = number
    return {source: f"{of.get('real', 0)} / {of.get('fake', 0)}" for source, of in sorted(counts.items())}


def _terms(run: Run, sources: Mapping[str, Source]) -> str:
    """Return the terms of the sources, each with the names of those it covers."""
    used = {key.rsplit(" ", 2)[0] for key in run.pictures}
    by_terms: dict[str, list[str]] = defaultdict(list)
    for name in sorted(used & sources.keys()):
        by_terms[sources[name].terms].append(f"`{name}`")
    lines = [f"- {terms}: {', '.join(names)}" for terms, names in by_terms.items()]
    return "\n".join(["Terms of the pictures:", "", *lines, "", ""]) if lines else ""


def _by_attribute(reports: Sequence[dict[str, Any]]) -> str:
    """Return a section on how errors are spread over people, of the evaluations that know something of them."""
    known = [report for report in reports if report.get("attributes")]
    known = [report for report in known if report["split"] in (RESERVED, "test")] or known
    if not known:
        return "How errors are spread over ages, skin tones and sexes was not measured.\n\n"
    rows = [
        [attribute, value, report["split"], f"{m['real']} / {m['fake']}"]
        + [_share(m[name]) for name in ("real_called_fake", "fake_called_real", "uncertain")]
        for report in known
        for attribute, by_value in report["attributes"].items()
        for value, m in by_value.items()
        if min(m["real"], m["fake"]) >= MIN_FACES
    ]
    head = ("group", "", "split", "real / fake", "reals called fake", "fakes called real", "uncertain")
    return f"## Errors by group of people\n\n{Table(head, rows)}\n\n"


def _chosen_by(run: Run) -> str:
    if run.chosen_by == RESERVED:
        count = sum(number for key, number in run.pictures.items() if key.endswith(f" {RESERVED}"))
        return (
            f"{count} face crops of sources that it was not trained on chose the calibration and, where facetell "
            "trained it, the epoch; together with this split they chose the thresholds."
        )
    return "This split chose the calibration, the thresholds and, where facetell trained it, the epoch, too."


def _explained(manifest: dict[str, Any]) -> str:
    if "explain" not in manifest:
        return ""
    return """
`explain.tflite` takes what float32.tflite takes. It gives the probabilities and the evidence by place (1, h, w, 1):
log-odds of a fake whose mean over the places is the score before the sigmoid.
"""


def _crop(manifest: dict[str, Any], run: Run) -> str:
    size = run.input_size_px
    if run.pre_cropped:
        stored = saved_size_px(size)
        return (
            f"The pictures are face crops already: resize the middle square to {stored} x {stored} and take the "
            f"{size} x {size} at its centre."
        )
    return (
        f"Find the face with `{manifest['face']['file']}` (BlazeFace short range) in a look at the whole picture and, "
        f"where that is not sure, in closer ones; turn the square {run.margin_ratio} times the longer side of its box, "
        f"moved into the picture, by the line of the eyes; resize it to {size} x {size}; where it is larger than "
        f"{run.shown_ratio} times the longer side, enlarge that much of its centre to {size} x {size}. Faces under "
        f"{run.min_face_px:g} pixels are not judged."
    )


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _calibration(manifest: dict[str, Any]) -> str:
    if all((entry["temperature"], entry["bias"]) == (1, 0) for entry in manifest["files"].values()):
        return "They are calibrated."
    return "The calibrated p_fake is sigmoid(logit(fake) / temperature + bias), with the values in `model.json`."


def _gate(manifest: dict[str, Any]) -> str:
    missing = [precision for precision in PRECISIONS if precision not in manifest["files"]]
    return "\n".join(
        [
            f"A file is only kept if, on every runtime, AUC differs by at most {MAX_AUC_LOSS}, at least "
            f"{MIN_AGREEMENT:.1%} of the faces get the same verdict, and p_fake differs by at most {MAX_MEAN_DRIFT} on "
            "average.",
            *(f"There is no {precision} file: it could not be made smaller and as good." for precision in missing),
        ]
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
