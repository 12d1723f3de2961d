"""The web app on a Hugging Face Space."""

from facetell.tools.cli import run

raise SystemExit(run(["serve", "--host", "0.0.0.0", "--port", "7860"]))
