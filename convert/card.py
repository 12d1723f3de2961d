"""The model card: a Hugging Face README for a bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..edge.calibration import Thresholds
from ..edge.cut import saved_size_px
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
Not known: the model was trained elsewhere. Where pictures that it is measured on here were among those it was trained
on, the figures flatter it."""

_TERMS = """\
Accuracy at threshold is that of `fake` against `real` and `uncertain`: an uncertain fake counts as missed. Half size
and social media are pictures shrunk, to .5 and to .7 and JPEG 60, and enlarged again; blur is of 1.5 pixels. Tilted
faces are turned by 25 degrees, those on their side by 90, small ones have 64 pixels; they are found again, and only
those that are found are measured.

"""

_LIMITS = """\
- A verdict is evidence, not proof. Do not accuse, punish or publish on the strength of it alone.
- The probabilities are calibrated for pictures like the training data. For other cameras, other people and other
  generators they are a guess, and a new kind of fake may look perfectly real to the model.
- It judges faces alone: a real face in a forged scene, a false caption or a cloned voice are beyond it.
- Faces that are small, turned far away, covered, blurred or heavily filtered are hard to find and hard to judge.
- How errors are spread over ages, skin tones and sexes was not measured."""


def model_card(
    manifest: dict[str, Any],
    run: Run,
    reports: Sequence[dict[str, Any]],
    comparisons: Sequence[Comparison],
    data_notes: str,
) -> str:
    """Return MODEL_CARD.md; reports are the report.json of the run's evaluations."""
    thresholds: Thresholds = run.thresholds
    size = run.input_size_px
    trained_on = "\n".join(f"- {source}" for source in manifest["trained_on"]) or _UNKNOWN_DATA
    measured = "\n\n".join(_evaluation(report) for report in reports)
    return f"""\
{_FRONT_MATTER.format(license=json.dumps(manifest["license"]))}
# {manifest["name"]} {manifest["version"]}

Tells real faces from fake ones. {run.backbone}, {size} x {size} pixels, {_listed(list(manifest["files"]))}, for phones,
Raspberry Pis, laptops and servers. Made and read by facetell; any TFLite runtime can run it.

## Use

{_crop(manifest, run)}
Give raw RGB 0..255 to `float32.tflite` or `float16.tflite` as float32, to `int8.tflite` as uint8. The outputs are
[real, fake] as float32. {_calibration(manifest)}
{_explained(manifest)}
Fake from {thresholds.fake:.4g}, real up to {thresholds.real:.4g}, uncertain between: {thresholds.chosen_at}.

## Training data

{trained_on}

{data_notes.strip()}

License of the model: {manifest["license"]}.

## Measured

{_TERMS if measured else ""}{measured or "`facetell evaluate` was not run on this model before it was exported."}

The files against the Keras model, on the validation split ({manifest["metrics"]["float32"]["pictures"]} face crops),
at the thresholds above. {_chosen_by(run)} ms is from a crop's bytes to its scores, in one thread:

{comparison_table(comparisons)}

{_int8(manifest)}

## Limits

{_LIMITS}
"""


def _chosen_by(run: Run) -> str:
    if run.chosen_by == RESERVED:
        count = sum(number for key, number in run.pictures.items() if key.endswith(f" {RESERVED}"))
        return (
            f"{count} face crops of sources that it was not trained on chose the calibration, the thresholds and, "
            "where facetell trained it, the epoch."
        )
    return "This split chose the calibration, the thresholds and, where facetell trained it, the epoch, too."


def _explained(manifest: dict[str, Any]) -> str:
    if "explain" not in manifest:
        return ""
    return """
`explain.tflite` takes what float32.tflite takes and gives, beside the probabilities, the evidence by place (1, h, w,
kinds of fakes): log-odds whose mean over the places, for the kind where it is highest, is the score before the sigmoid.
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
        f"moved into the picture, by the line of the eyes; resize it to {size} x {size}. Faces under "
        f"{run.min_face_px:g} pixels are not judged."
    )


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _calibration(manifest: dict[str, Any]) -> str:
    if all((entry["temperature"], entry["bias"]) == (1, 0) for entry in manifest["files"].values()):
        return "They are calibrated."
    return "The calibrated p_fake is sigmoid(logit(fake) / temperature + bias), with the values in `model.json`."


def _int8(manifest: dict[str, Any]) -> str:
    tried = manifest["metrics"]["int8_rungs"]
    lines = [
        f"- {rung['rung']}: {rung['error']}"
        if "error" in rung
        else f"- {rung['rung']}: {'holds' if rung['holds'] else 'does not hold'}; on {rung['runtime']}, its worst: AUC "
        f"loss {rung['auc_loss']:+.4f}, same verdict {rung['agreement']:.2%}, mean drift {rung['mean_drift']:.4f}"
        for rung in tried
    ]
    shipped = "int8" in manifest["files"]
    head = "How int8 was made, step by step until one held" if shipped else "There is no int8 file, since none held"
    return "\n".join(
        [
            f"{head} (at most {MAX_AUC_LOSS} of AUC lost, at least {MIN_AGREEMENT:.1%} the same verdict, at most "
            f"{MAX_MEAN_DRIFT} mean drift, wherever it was run):",
            "",
            *lines,
        ]
    )


_MAX_SETS = 12
"""Of more sets, a card shows only how they do on clean crops; report.json has the rest."""


def _evaluation(report: dict[str, Any]) -> str:
    head = ("condition", "set", "real / fake", "AUC (95 %)", "EER", "accuracy at threshold")
    head += ("real called fake", "fake called real", "uncertain")
    rows = []
    for condition, by_source in report["results"].items():
        found = report["found"][condition]
        shown = condition if found == 1 else f"{condition} ({found:.0%} found)"
        for source, m in by_source.items():
            if condition != "clean" and len(by_source) > _MAX_SETS and not source.startswith("all"):
                continue
            auc = "-" if m["auc"] is None else f"{m['auc']:.3f} ({m['auc_low']:.3f}-{m['auc_high']:.3f})"
            cells = [shown, source, f"{m['real']} / {m['fake']}", auc]
            cells += [_share(m.get(name)) for name in ("eer", "accuracy_at_threshold", "real_called_fake")]
            cells += [_share(m[name]) for name in ("fake_called_real", "uncertain")]
            rows.append(cells)
    lines = [
        f"{report['split'].capitalize()} split, {report['pictures']} face crops, split sha256 "
        f"`{report['split_sha256'][:16]}` (`facetell evaluate RUN --split {report['split']}`):",
        "",
        str(Table(head, rows)),
    ]
    if any(name.endswith(", by group") for by_source in report["results"].values() for name in by_source):
        lines += ["", "By group, the mean of all faces of one label and one group, as the frames of a video."]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
