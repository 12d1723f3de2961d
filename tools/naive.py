"""The usual way to tell faces, for facetell bench to compare with: OpenCV, MediaPipe's solution, Keras' predict.

python -m facetell.tools.naive FILE...     goes over the files once for each line on standard input, and prints seconds
"""

from __future__ import annotations

import sys
import time
from typing import Any

import cv2
import keras
import mediapipe
import numpy as np

_SIDE_PX = 224


def main(files: list[str]) -> None:
    """Serve turns until standard input ends."""
    untrained: Any = None  # as fast as a trained one
    network = keras.applications.MobileNetV3Small(input_shape=(_SIDE_PX, _SIDE_PX, 3), weights=untrained, classes=2)
    solution: Any = mediapipe.solutions.face_detection  # pyright: ignore[reportAttributeAccessIssue]
    finder = solution.FaceDetection(model_selection=0, min_detection_confidence=0.5)
    for _ in sys.stdin:
        started = time.perf_counter()
        for file in files:
            image = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
            height, width = image.shape[:2]
            for face in finder.process(image).detections or []:
                box = face.location_data.relative_bounding_box
                x, y = max(int(box.xmin * width), 0), max(int(box.ymin * height), 0)
                crop = image[y : y + int(box.height * height), x : x + int(box.width * width)]
                batch = cv2.resize(crop, (_SIDE_PX, _SIDE_PX)).astype(np.float32)[np.newaxis]
                network.predict(batch, verbose=0)  # pyright: ignore[reportArgumentType]
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
