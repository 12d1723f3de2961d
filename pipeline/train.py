"""Training: first the head, then the whole network; an epoch at a time, each resumable."""

from __future__ import annotations

import platform
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from ..edge.calibration import Calibration
from ..edge.crops import read_crop_settings
from ..edge.errors import DatasetError
from ..edge.files import claim_folder, replacing
from ..edge.manifest import Record, deciding, read_manifest, select, split_sha256, without_sources, write_manifest
from ..edge.run import MODEL_FILE, PICTURES, RUN_FILE, Run
from ..edge.scoring import calibrate, score_crops
from .backbones import (
    BACKBONE_LAYER,
    BACKBONES,
    build_network,
    default_weights,
    detector,
    load_model,
    seed_dropout,
    speed_up,
)
from .batches import CropCache, TrainingBatches, kinds_of_fakes, shrink
from .history import CURVES, EpochRow, read_history, write_history
from .kinds import scale_kinds, temper_kinds
from .plots import plot_history

H5_FILE = "model.weights.h5"
"""The weights alone, for load_weights of a detector of as many kinds; Keras 3 reads no whole MobileNetV3 from HDF5."""

_PLAN = "train.json"
_CHECKPOINTS = "checkpoints"
_BEST = "best.keras"
_PACKAGES = ("tensorflow", "keras", "mediapipe", "numpy", "scipy", "opencv-python-headless", "pillow", "facetell")
_WARMUP_SHARE = 0.05
_SMALL_SCALE = 5 / 7
_KIND_WEIGHT = 0.3


@dataclass(frozen=True)
class TrainSettings:
    """How a detector is trained."""

    backbone: str = "mobilenet_v3_small"
    """One of backbones.BACKBONES."""
    weights: str | None = None
    """imagenet, none or a file; None for the backbone's default."""
    epochs: int | None = None
    """None for default_epochs of the training pictures."""
    head_epochs: int = 1
    """Epochs at the start in which only the head learns."""
    open_layers: int | None = None
    """How many of the backbone's last layers learn after that; None for all."""
    head_l2: float = 0.0
    """Factor of the L2 penalty on the head's weights."""
    batch_size: int = 32
    learning_rate: float = 1e-3
    """Peak for the whole network; warm-up, then cosine to zero."""
    weight_decay: float = 0.01
    seed: int = 0
    self_blend_share: float = 0.25
    """Of the fakes shown, how many give way to real faces blended into themselves."""
    leave_out: tuple[str, ...] = ()
    """Sources that take no part, to see how the detector does on sources that it has never seen."""


def train(
    crops: Path,
    output: Path,
    settings: TrainSettings,
    *,
    h5: bool = False,
    on_batch: Callable[[float, int], None] = lambda done, epochs: None,
    on_epoch: Callable[[EpochRow, int], None] = lambda row, epochs: None,
) -> Run:
    """Train a detector on the train split of a crops folder and write the run's folder.

    The best epoch at full size by AUC, its kinds of fakes scaled and calibrated, becomes model.keras; run.json has the
    thresholds. The reserved pictures choose epoch and calibration, or else the validation split; both choose the
    thresholds.

    A killed training goes on from its last whole epoch when it is called again with the same settings. A finished one
    is returned as it is. The callbacks get the epochs done, or the last one's row, and their number.

    Raises DatasetError when a split lacks a label, a source to be left out is not there, or output holds another run.
    """
    records = read_manifest(crops)
    known = _known(records, settings.leave_out)
    training, validation = select(known, "train"), deciding(known)
    crop_settings = read_crop_settings(crops)
    size_px = crop_settings.input_size_px
    epochs = settings.epochs or default_epochs(len(training))
    settings = replace(settings, epochs=epochs, weights=settings.weights or default_weights(settings.backbone))
    plan = {"training": asdict(settings), "crops": asdict(crop_settings), "split_sha256": split_sha256(records)}
    # Before the folder is claimed: a typo in weights must leave nothing behind.
    kinds = len(kinds_of_fakes(training, settings.self_blend_share))
    new_model = None if (output / _PLAN).exists() else _new_model(settings, kinds)
    claim_folder(output, _PLAN, plan, beside=("dataset", "crops"))
    if (output / RUN_FILE).exists():
        shutil.rmtree(output / _CHECKPOINTS, ignore_errors=True)  # a kill may have left them
        if h5:
            _save(load_model(output / MODEL_FILE).save_weights, output / H5_FILE)
        return Run.read(output)
    model, history = _resume(output) or (new_model or _new_model(settings, kinds), [])
    speed_up(model)
    at_size = cache(partial(detector, model))
    training_crops = CropCache(crops, training)
    labels = np.array([record.is_fake for record in validation])
    for epoch in range(len(history), epochs):
        started = time.monotonic()
        shown_px = training_size_px(size_px, epoch, epochs) if BACKBONES[settings.backbone].any_size else size_px
        batches = TrainingBatches(
            training_crops,
            size_px,
            shown_px,
            settings.batch_size,
            settings.seed,
            epoch,
            settings.self_blend_share,
        )
        seed_dropout(model, settings.seed, epoch)
        if epoch in (0, settings.head_epochs):
            _compile(model, settings, epoch, steps=len(batches) * (epochs - epoch))
        loss, accuracy = _fit_epoch(model, batches, lambda share, before=epoch: on_batch(before + share, epochs))
        duration_s = time.monotonic() - started
        used = at_size(shown_px)
        p_fake = score_crops(used.predict_on_batch, crops, validation, partial(shrink, side_px=shown_px))
        row = EpochRow(
            epoch=epoch + 1,
            phase="head" if epoch < settings.head_epochs else "whole",
            size_px=shown_px,
            learning_rate=float(model.optimizer.learning_rate),
            loss=loss,
            accuracy=accuracy,
            validation_loss=float(log_loss(labels, p_fake, labels=[False, True])),
            validation_accuracy=float(accuracy_score(labels, p_fake >= 0.5)),
            validation_auc=float(roc_auc_score(labels, p_fake)),
            duration_s=round(duration_s, 2),
            pictures_per_s=round(batches.pictures / duration_s, 2),
        )
        best = max((earlier.validation_auc for earlier in history if earlier.size_px == size_px), default=-1)
        if shown_px == size_px and row.validation_auc > best:
            _save(used.save, output / _CHECKPOINTS / _BEST)
        history.append(row)
        write_history(output, history)
        _save_checkpoint(model, output, row.epoch)
        on_epoch(row, epochs)
    return _finish(crops, output, records, settings, history, h5)


def _known(records: list[Record], sources: Sequence[str]) -> list[Record]:
    """Return records without those of some sources; raises DatasetError when one is not there, or a label is lost."""
    names = {record.source for record in records}
    if unknown := set(sources) - names:
        raise DatasetError(
            f"there is no source {', '.join(sorted(unknown))} to leave out; wanted one of {', '.join(sorted(names))}"
        )
    known = without_sources(records, sources)
    if lost := {record.label for record in records} - {record.label for record in known}:
        raise DatasetError(f"without {', '.join(sources)} there are no {min(lost)} pictures; leave out fewer sources")
    return known


def default_epochs(pictures: int) -> int:
    """Return how many epochs show the network about 380,000 pictures, at least 12 and at most 30.

    On 16,000 pictures, 24 epochs gave a validation AUC of .938 and 12 gave .910 (docs/default-model.md).
    """
    return min(max(round(380_000 / pictures), 12), 30)


def training_size_px(size_px: int, epoch: int, epochs: int) -> int:
    """Return the side of the pictures shown in an epoch, counted from 0: smaller in the first two thirds.

    Validation pictures are shown likewise. Progressive resizing (Tan and Le 2021, arXiv:2104.00298): most is learnt
    from small pictures in less time, and the last epochs get the network used to the size it will see. Sizes are
    multiples of 32, as strides halve them.
    """
    return round(size_px * _SMALL_SCALE / 32) * 32 if epoch < epochs * 2 // 3 else size_px


def _fit_epoch(model: keras.Model, batches: TrainingBatches, on_share: Callable[[float], None]) -> tuple[float, float]:
    """Train for one epoch and return the cross-entropy and accuracy of p_fake, on augmented pictures."""
    display: Any = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: on_share((batch + 1) / len(batches))
    )
    quiet: Any = 0  # Keras' own hint says str
    history = model.fit(batches, verbose=quiet, shuffle=False, callbacks=[display]).history
    return history["p_fake_loss"][0], history["p_fake_accuracy"][0]


def _new_model(settings: TrainSettings, kinds: int) -> keras.Model:
    keras.utils.set_random_seed(settings.seed)
    model = build_network(settings.weights, settings.backbone, settings.head_l2, kinds)
    layers = len(model.get_layer(BACKBONE_LAYER).layers)
    if settings.open_layers is not None and settings.open_layers > layers:
        raise DatasetError(f"{settings.backbone} has {layers} layers; {settings.open_layers} of them cannot be opened")
    return model


def _resume(output: Path) -> tuple[keras.Model, list[EpochRow]] | None:
    """Return the model and history of the last whole epoch, if there is one."""
    newest = max((output / _CHECKPOINTS).glob("epoch-*.keras"), default=None)
    if newest is None:
        return None
    return load_model(newest), read_history(output)[: int(newest.stem.removeprefix("epoch-"))]


def _compile(model: keras.Model, settings: TrainSettings, epoch: int, steps: int) -> None:
    """Set what learns from this epoch on, with a fresh optimizer."""
    head_only = epoch < settings.head_epochs
    backbone = model.get_layer(BACKBONE_LAYER)
    backbone.trainable = not head_only
    if settings.open_layers is not None:
        for layer in backbone.layers[: -settings.open_layers]:
            layer.trainable = False
    warmup_steps = max(1, round(steps * _WARMUP_SHARE))
    rate: Any = (
        settings.learning_rate
        if head_only
        else keras.optimizers.schedules.CosineDecay(
            settings.learning_rate / 100,
            decay_steps=max(1, steps - warmup_steps),
            warmup_target=settings.learning_rate,
            warmup_steps=warmup_steps,
        )
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay),
        {
            "p_fake": keras.losses.BinaryCrossentropy(),  # smoothed labels would blur who is sure from who is not
            "kind": keras.losses.CategoricalCrossentropy(),
        },
        loss_weights={"p_fake": 1.0, "kind": _KIND_WEIGHT},
        metrics={"p_fake": ["accuracy"]},
        jit_compile=False,  # pyright: ignore[reportArgumentType]  # seven times slower on a CPU
    )


def _save(save: Callable[[Path], None], path: Path) -> None:
    with replacing(path) as partial:
        whole = partial.with_name(partial.name + "".join(path.suffixes))  # Keras insists on the ending
        try:
            save(whole)
            whole.rename(partial)
        finally:
            whole.unlink(missing_ok=True)


def _save_checkpoint(model: keras.Model, output: Path, epoch: int) -> None:
    # After the history: a kill between the two repeats this epoch from the checkpoint before.
    earlier = list((output / _CHECKPOINTS).glob("epoch-*.keras"))
    _save(model.save, output / _CHECKPOINTS / f"epoch-{epoch:04}.keras")
    for path in earlier:
        path.unlink()


def _finish(
    crops: Path,
    output: Path,
    records: list[Record],
    settings: TrainSettings,
    history: list[EpochRow],
    h5: bool,
) -> Run:
    """Scale and calibrate the best model, draw the curves and write run.json."""
    crop_settings = read_crop_settings(crops)
    known = without_sources(records, settings.leave_out)
    validation, size_px = deciding(known), crop_settings.input_size_px
    model = detector(load_model(output / _CHECKPOINTS / _BEST), size_px)
    kinds = kinds_of_fakes(select(known, "train"), settings.self_blend_share)
    scale_kinds(model, kinds, crops, select(known, "validation"))
    temper_kinds(model, crops, validation)
    _save(model.save, output / MODEL_FILE)
    raw, calibration, thresholds = calibrate(model.predict_on_batch, crops, known, Calibration())
    if h5:
        _save(model.save_weights, output / H5_FILE)
    plot_history(history, output / CURVES)
    run = Run(
        backbone=settings.backbone,
        crops=str(crops.resolve()),
        split_sha256=split_sha256(records),
        input_size_px=crop_settings.input_size_px,
        margin_ratio=crop_settings.margin_ratio,
        shown_ratio=crop_settings.shown_ratio,
        min_face_px=crop_settings.min_face_px,
        pre_cropped=crop_settings.pre_cropped,
        calibration=calibration,
        thresholds=thresholds,
        validation_auc=float(roc_auc_score([record.is_fake for record in validation], raw)),
        pictures=dict(sorted(Counter(f"{r.source} {r.label} {r.split}" for r in known).items())),
        arguments=asdict(settings),
        versions={"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
    )
    write_manifest(output, records, PICTURES)
    run.write(output)
    shutil.rmtree(output / _CHECKPOINTS)
    return run
