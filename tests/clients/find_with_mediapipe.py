"""Prints the faces that the pipeline's MediaPipe finds in patches, as JSON: for each patch [[points, score], ...].

Runs where MediaPipe is installed and facetell can be imported: python find_with_mediapipe.py PATCHES.npy
"""

import json
import sys

import numpy as np

from facetell.pipeline.crop import mediapipe_detect

detect = mediapipe_detect()
print(json.dumps([[(points.tolist(), score) for points, score in detect(patch)] for patch in np.load(sys.argv[1])]))
