"""Prints what MediaPipe Tasks says of RGB pictures in a .npy file, as JSON: [[real, fake], ...].

Runs where MediaPipe is installed and facetell is not: python score_with_mediapipe.py MODEL.tflite PICTURES.npy
"""

import json
import sys

import numpy as np
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

options = ImageClassifierOptions(BaseOptions(model_asset_path=sys.argv[1]))
with ImageClassifier.create_from_options(options) as classifier:
    scores = []
    for picture in np.load(sys.argv[2]):
        found = classifier.classify(Image(ImageFormat.SRGB, np.ascontiguousarray(picture))).classifications[0]
        by_label = {category.category_name: category.score for category in found.categories}
        scores.append([by_label["real"], by_label["fake"]])
print(json.dumps(scores))
