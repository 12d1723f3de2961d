"""The phone page's own modules, run in node."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from facetell.tools.phone.site import SITE

SOURCES = SITE.parent / "app" / "src"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

_START = """
let text = "";
for await (const piece of process.stdin) text += piece;
const given = JSON.parse(text);
const answer = (value) => console.log(JSON.stringify(value));
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const pictureOf = ({ width, height, rgb }) => {
    const bytes = Buffer.from(rgb, "base64"), data = new Uint8ClampedArray(width * height * 4).fill(255);
    for (let pixel = 0; pixel < width * height; pixel++) data.set(bytes.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
    return { width, height, data, shrink: 1 };
};
"""


def run(code: str, given: Any) -> Any:
    """Run a module that imports from "./NAME.js" and calls answer(value) once, and return the value.

    It knows what is given, base64(bytes), and pictureOf(picture(image)).
    """
    script = _START + code.replace('"./', f'"{SOURCES.as_uri()}/')
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def picture(image: np.ndarray) -> dict[str, Any]:
    """Return a (H, W, 3) uint8 RGB picture as JSON has it."""
    height, width = image.shape[:2]
    return {"width": width, "height": height, "rgb": base64.b64encode(image.tobytes()).decode()}
