import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.calibration import FALSE_ALARM_SHARE, Thresholds
from facetell.edge.conditions import CONDITIONS, THRESHOLD_CONDITIONS
from facetell.edge.crops import CropSettings, network_view
from facetell.edge.cut import centre, crop_face, face_square
from facetell.edge.detector import Detector
from facetell.edge.manifest import LABELS, Record
from facetell.edge.scoring import calibrate, score_crops

from ..pictures import pattern, record, save

SIZE_PX = 32


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """60 real crops and 60 fake, brighter ones."""
    folder = tmp_path_factory.mktemp("crops")
    records = [record(f"{label}/{i}.png", label, split="validation") for label in ("real", "fake") for i in range(60)]
    for seed, known in enumerate(records):
        save(folder / known.path, pattern(seed, SIZE_PX) // 2 + (100 if known.is_fake else 0))
    settings = CropSettings(input_size_px=SIZE_PX)
    (folder / "crop.json").write_text(json.dumps({"settings": asdict(settings)}))
    return folder, records


def sharpness_too(images: np.ndarray) -> np.ndarray:
    """A detector of bright pictures that also takes the soft ones for fakes, as some do."""
    brightness, detail = images.mean(axis=(1, 2, 3)), np.abs(np.diff(images, axis=1)).mean(axis=(1, 2, 3))
    return (1 / (1 + np.exp(-(brightness - 130) / 15 + (detail - 25) / 3)))[:, np.newaxis]


def test_thresholds_keep_their_promise_for_reserved_sources_and_those_of_the_validation_split(crops) -> None:
    folder, records = crops
    score = {
        known.path: score for known, score in zip(records, score_crops(sharpness_too, folder, records), strict=True)
    }
    of_label = {
        label: sorted((known for known in records if known.label == label), key=lambda known: score[known.path])
        for label in LABELS
    }
    # the reals of the reserved source score low, those of the validation split high
    reserved = [replace(known, source="new", split="reserved") for of in of_label.values() for known in of[:30]]
    known_ones = [replace(known, source="old", split="validation") for of in of_label.values() for known in of[30:]]
    raw, calibration, both = calibrate(sharpness_too, folder, reserved + known_ones)
    alone = calibrate(sharpness_too, folder, reserved)
    assert raw == pytest.approx([score[known.path] for known in reserved])
    assert calibration == alone[1]
    assert both.fake > alone[2].fake
    assert both.real == alone[2].real
    assert "fake reserved and validation faces" in both.chosen_at


def test_thresholds_keep_their_promise_under_every_condition_they_are_set_for(crops) -> None:
    folder, records = crops
    is_fake = np.array([known.is_fake for known in records])
    raw, calibration, thresholds = calibrate(sharpness_too, folder, records)
    assert raw == pytest.approx(score_crops(sharpness_too, folder, records))

    def false_alarms(name: str, at: Thresholds) -> float:
        p_fake = calibration.apply(score_crops(sharpness_too, folder, records, CONDITIONS[name]))
        return float(np.mean(p_fake[~is_fake] >= at.fake))

    shares = {name: false_alarms(name, thresholds) for name in CONDITIONS}
    assert set(THRESHOLD_CONDITIONS) == {"clean", "JPEG 50", "half size"}
    assert all(shares[name] <= FALSE_ALARM_SHARE for name in THRESHOLD_CONDITIONS)
    assert shares["blur"] > FALSE_ALARM_SHARE  # which they are not set for
    clean_alone = Thresholds(0.5, float(np.quantile(calibration.apply(raw)[~is_fake], 0.99)), "by hand")
    assert false_alarms("half size", clean_alone) > 2 * FALSE_ALARM_SHARE  # so it takes more than clean ones


# A stored crop gives the view that a scan of the photo gives


@pytest.mark.parametrize(("margin_ratio", "shown_ratio"), [(1.5, 1.3), (1.5, 1.0), (2.0, 2.0)])
@pytest.mark.parametrize("reach", [2.0, 0.7, 0.5], ids=["room", "little room", "tight"])
def test_a_stored_crop_gives_the_view_of_a_scan(
    margin_ratio: float, shown_ratio: float, reach: float, astronaut: np.ndarray, bundle: Bundle
) -> None:
    """reach is how far the picture goes on all sides from the middle of the face, of the face's side."""
    x, y, side = 230, 115, 100
    half = min(round(reach * side), 115)
    image = np.ascontiguousarray(astronaut[y - half : y + half, x - half : x + half])
    box = (half - side / 2, half - side / 2, half + side / 2, half + side / 2)
    settings = CropSettings(margin_ratio=margin_ratio, shown_ratio=shown_ratio)
    bundle = replace(bundle, margin_ratio=margin_ratio, shown_ratio=shown_ratio)
    stored = crop_face(image, box, size_px=256, margin_ratio=margin_ratio, surround_ratio=256 / 224)
    room_ratio = face_square(image, box, margin_ratio=margin_ratio).side_px / side
    known = replace(record("real/0.png", "real"), room_ratio=room_ratio)
    seen = network_view(stored, known, settings)
    assert np.abs(seen.astype(int) - Detector(bundle).crop(image, box)).max() <= 1
    assert np.array_equal(seen, centre(stored, 224)) == (room_ratio <= shown_ratio)
    if room_ratio == margin_ratio:  # a crop alone does not say that it is tighter
        assert np.array_equal(seen, Detector(bundle, pre_cropped=True).crop(stored, (0, 0, 256, 256)))
