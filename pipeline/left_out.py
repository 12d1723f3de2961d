"""How a recipe does on sources that its training never saw: train without them, fold by fold, and measure them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from ..edge.calibration import Thresholds
from ..edge.errors import DatasetError
from ..edge.manifest import LABELS, RESERVED, Record, read_manifest, without_sources
from ..edge.run import MODEL_FILE
from ..edge.tables import Table, write_csv
from .backbones import load_model
from .conditions import score_condition
from .metrics import found_at
from .train import TrainSettings, train

TABLE = "left-out.csv"
CONDITIONS_MEASURED = ("clean", "JPEG 50", "half size", "social media", "tilted")
FALSE_ALARMS = (0.01, 0.05)
MIN_FACES = 20
"""A source of fewer faces stands in the table, but not in the mean and the worst: its AUC is a matter of luck."""

_FOLD_NAME = re.compile(r"[\w-]+")  # it names a folder


@dataclass(frozen=True)
class Row:
    """One label of one source that was left out, under one condition."""

    fold: str
    condition: str
    source: str
    label: str
    faces: int
    found: float
    """Share of the faces that the finder was sure of; the rest of the row is about these."""
    auc: float
    """Against all left-out faces of the other label in the fold."""
    found_at_1: float
    """Of fakes: share above the score that 1 % of the fold's left-out real faces reach; of reals: 0."""
    found_at_5: float
    wrong: float
    """Share called real of fakes, fake of reals, at the thresholds that the training chose."""
    decided: float
    """Share called real or fake."""


def read_folds(path: Path, records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Return the sources that each fold leaves out, from a csv with the columns fold and source.

    Raises DatasetError when it cannot be read, names no source of the records, names one twice, gives a fold a name
    that no folder can have, or leaves a fold without a label to measure, train, validate or choose thresholds with.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read; wanted a csv in UTF-8 with the columns fold and source") from error
    named = [((row.get("fold") or "").strip(), (row.get("source") or "").strip()) for row in rows]
    if not all(fold and source for fold, source in named) or not named:
        raise DatasetError(f"{path} is not a list of folds; wanted the columns fold and source, and both in every line")
    known = {record.source for record in records}
    if unknown := sorted({source for _, source in named} - known):
        raise DatasetError(f"{path} names {', '.join(unknown)}; the crops have {', '.join(sorted(known))}")
    if twice := [source for source, times in Counter(source for _, source in named).items() if times > 1]:
        raise DatasetError(f"{path} names {twice[0]} twice; wanted each source in one fold")
    folds = {fold: tuple(source for other, source in named if other == fold) for fold, _ in named}
    for fold, sources in folds.items():
        if not _FOLD_NAME.fullmatch(fold):
            raise DatasetError(f"{path}: a fold cannot be called {fold!r}; use letters, digits, - and _")
        kept = without_sources(records, sources)
        uses = {
            "measure": set(records).difference(kept),
            "train with": [record for record in kept if record.split == "train"],
            "validate with": [record for record in kept if record.split == "validation"],
        }
        if any(record.split == RESERVED for record in records):
            uses["choose thresholds by, of those reserved"] = [record for record in kept if record.split == RESERVED]
        for use, chosen in uses.items():
            if missing := set(LABELS) - {record.label for record in chosen}:
                raise DatasetError(f"fold {fold} of {path} leaves no {min(missing)} pictures to {use}")
    return folds


def left_out(
    crops: Path,
    folds: dict[str, tuple[str, ...]],
    output: Path,
    settings: TrainSettings,
    *,
    progress: Callable[[str, str], None] = lambda fold, step: None,
    **callbacks: Any,
) -> list[Row]:
    """Train one network for each fold without its sources, in output/FOLD, and write output/left-out.csv.

    A killed run goes on where it was. progress is called with each fold and step, callbacks are train's. Raises what
    train raises.
    """
    records = read_manifest(crops)
    rows: list[Row] = []
    for fold, sources in folds.items():
        progress(fold, "training")
        run = train(crops, output / fold, replace(settings, leave_out=sources), **callbacks)
        model = load_model(output / fold / MODEL_FILE)
        chosen = [record for record in records if record.source in sources]
        for condition in CONDITIONS_MEASURED:
            progress(fold, condition)
            raw = score_condition(model.predict_on_batch, crops, chosen, condition)
            rows += _rows(fold, condition, chosen, run.calibration.apply(raw), run.thresholds)
    head = list(asdict(rows[0]))
    write_csv(output / TABLE, head, [list(asdict(row).values()) for row in rows])
    return rows


def _rows(
    fold: str, condition: str, records: Sequence[Record], p_fake: np.ndarray, thresholds: Thresholds
) -> list[Row]:
    is_fake = np.array([record.is_fake for record in records])
    source = np.array([record.source for record in records])
    found = ~np.isnan(p_fake)
    rows = []
    for name in np.unique(source):
        for label in LABELS:
            of_label = is_fake == (label == "fake")
            own, other = (source == name) & of_label, ~of_label & found
            if not own.any():
                continue
            scores, others = p_fake[own & found], p_fake[other]
            if len(scores) and len(others):
                both = np.concatenate([scores, others])
                truth = np.arange(len(both)) < len(scores)
                auc = float(roc_auc_score(truth, both))
                auc = auc if label == "fake" else 1 - auc
                at = [found_at(both, truth, share) for share in FALSE_ALARMS]
            else:
                auc, at = float("nan"), [float("nan")] * 2
            called_fake, called_real = scores >= thresholds.fake, scores <= thresholds.real
            wrong = called_real if label == "fake" else called_fake
            rows.append(
                Row(
                    fold=fold,
                    condition=condition,
                    source=str(name),
                    label=label,
                    faces=int(own.sum()),
                    found=float(found[own].mean()),
                    auc=auc,
                    found_at_1=at[0] if label == "fake" else 0.0,
                    found_at_5=at[1] if label == "fake" else 0.0,
                    wrong=float(wrong.mean()) if len(scores) else float("nan"),
                    decided=float((called_fake | called_real).mean()) if len(scores) else float("nan"),
                )
            )
    return rows


def summaries(rows: Sequence[Row]) -> Table:
    """Return, by condition, the mean and the worst AUC of the sources of fakes of which MIN_FACES faces were found."""
    lines = []
    for condition in dict.fromkeys(row.condition for row in rows):
        of_fakes = [row for row in rows if (row.condition, row.label) == (condition, "fake")]
        counted = [row for row in of_fakes if round(row.found * row.faces) >= MIN_FACES and not np.isnan(row.auc)]
        if counted:
            worst = min(counted, key=lambda row: row.auc)
            mean = np.mean([row.auc for row in counted])
            lines.append([condition, str(len(counted)), f"{mean:.3f}", f"{worst.auc:.3f}", worst.source])
        else:
            lines.append([condition, "0", "-", "-", "-"])
    return Table(("condition", "sources", "mean AUC", "worst AUC", "worst source"), lines)


def left_out_table(rows: Sequence[Row]) -> Table:
    """Return a line for each source and label, the worst first: AUC by condition, and what the thresholds do."""
    by_key: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        by_key.setdefault((row.source, row.label), {})[row.condition] = row
    conditions = list(dict.fromkeys(row.condition for row in rows))
    head = ("source", "label", "faces", "fold", *(f"AUC {name}" for name in conditions))
    head += ("found at 1 %", "found at 5 %", "called wrongly", "decided")
    lines = []
    for (source, label), of in sorted(by_key.items(), key=lambda item: (item[0][1], item[1]["clean"].auc)):
        clean = of["clean"]
        at = [f"{clean.found_at_1:.0%}", f"{clean.found_at_5:.0%}"] if label == "fake" else ["", ""]
        aucs = [f"{of[name].auc:.3f}" for name in conditions]
        lines.append(
            [source, label, str(clean.faces), clean.fold, *aucs, *at, f"{clean.wrong:.1%}", f"{clean.decided:.0%}"]
        )
    return Table(head, lines)
