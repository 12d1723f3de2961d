"""The page: photo, batch, video, webcam, history and what it all means."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ...edge.errors import FacetellError
from ...edge.explain import MEANING
from ...edge.images import SUFFIXES, read_image
from ...edge.live import Look, Watcher, drawn
from ...edge.video import SUFFIXES as VIDEOS
from .history import History
from .pieces import (
    EMPTY,
    figures_of,
    inline_picture,
    links,
    pictures_of,
    table_of_entries,
    table_of_files,
    title_of,
    video_of,
)
from .rest import ScoreOut
from .scorer import Scored, Scorer, as_jpeg
from .shown import Shown
from .texts import DEEPFAKES, LIMITS
from .uploads import SAMPLES, only_uploads, uploaded

# At each event Gradio would make a pandas table of the last 10,000.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))

_SAMPLES = ("real_astronaut.jpg", "fake_hopper_with_astronauts_face.jpg", "two_faces.jpg")
_KEEP_S = 3600  # how long the page remembers what it shows
_THRESHOLD = "Threshold of photos and batches: the model's own"
_MIDDLE = 0.5
_LIVE_EVERY_S = 0.2
_FRAME_MEGAPIXELS = 4
_BATCH_PICTURES = 20  # of a batch, that its report shows
# The page's own events give HTML. Uploads come as they are: Gradio's preprocessing leaves an empty file of each.
_PRIVATE: Any = {"preprocess": False, "api_visibility": "private"}


@dataclass
class _Page:
    """What all tabs share."""

    scorer: Scorer
    shown: Shown
    history: History | None
    threshold: gr.State
    """The one threshold that was chosen, or None for the model's own two."""

    def score(self, file: dict[str, Any], *, shown: bool = True) -> Scored:
        """Score an upload and delete it."""
        with uploaded(file) as (path, name):
            scored = self.scorer.picture(path, name, shown=shown)
        self.remember(scored)
        return scored

    def remember(self, scored: Scored) -> None:
        """Put what was scored into the history, if there is one; where that fails, the verdict is told all the same."""
        if self.history:
            try:
                self.history.add(scored.name, scored.result, scored.framed())
            except FacetellError as error:
                gr.Warning(str(error))


def build_page(scorer: Scorer, shown: Shown, history: History | None, *, phone: bool = False) -> gr.Blocks:
    """Return the page; without a history it has no tab for one, and with phone a link to the phone page."""
    gr.set_static_paths([SAMPLES])  # they are shown from where they are
    with gr.Blocks(title="facetell", analytics_enabled=False) as blocks:
        _programs(scorer)  # first, so that its name is free
        gr.HTML(title_of(_what_is_kept(history), phone=phone), padding=False)
        with gr.Sidebar(label="What this is", open=False):
            gr.Markdown(DEEPFAKES)
            gr.Markdown(f"### What the tool can not tell\n\n{LIMITS}")
        page = _Page(scorer, shown, history, gr.State(None))
        with gr.Accordion(_THRESHOLD, open=False) as accordion:
            _threshold(page, accordion)
        with gr.Tab("Photo"):
            _photo(page)
        with gr.Tab("Folder/batch"):
            _batch(page)
        with gr.Tab("Video"):
            _video(page)
        with gr.Tab("Webcam"):
            _webcam(page)
        if history:
            with gr.Tab("History") as tab:
                _history(history, tab)
        with gr.Tab("About"):
            gr.Markdown(_about(scorer))
    only_uploads(blocks)
    return blocks


def _programs(scorer: Scorer) -> None:
    """Add the one function that programs may call; those of the page give HTML, and are private."""

    def score(file: dict[str, Any]) -> dict[str, Any]:
        """Say of every face in a picture whether it is real or fake: as POST /v1/score, without the path."""
        with uploaded(file) as (path, name):
            result = scorer.picture(path, name, shown=False).result
        if result.status != "ok":
            raise gr.Error(str(result.error), print_exception=False)
        return ScoreOut.of(result).model_dump(exclude={"path"})  # clients would take what has a path for a file

    # Components, though nobody sees them: they let in nothing but uploads. gr.api would hand on any path it is given.
    file, said = gr.File(visible=False, label="file"), gr.JSON(visible=False, label="score")
    file.upload(score, file, said, api_name="score", preprocess=False)


def _threshold(page: _Page, accordion: gr.Accordion) -> None:
    thresholds = page.scorer.bundle.thresholds
    own = gr.Checkbox(True, label="The model's own two: fake from one, real up to the other, uncertain between")
    gr.Markdown(f"Fake from {thresholds.fake:.3g}, real up to {thresholds.real:.3g}: {thresholds.chosen_at}.")
    slider = gr.Slider(
        0.05, 0.99, _MIDDLE, step=0.01, label="Or one of yours: fake from", interactive=True, visible=False
    )
    meaning = gr.Markdown(visible=False)

    def choose(own: bool, value: float | None) -> list[Any]:
        value = _MIDDLE if value is None else value  # the box beside it was emptied
        label = _THRESHOLD if own else f"Threshold of photos and batches: fake from {value:g}"
        words = gr.update(value=_what_it_means(page.scorer, value), visible=not own)
        return [None if own else value, gr.update(label=label), gr.update(visible=not own), words]

    gr.on(
        [own.change, slider.input],
        choose,
        [own, slider],
        [page.threshold, accordion, slider, meaning],
        trigger_mode="always_last",
        api_visibility="private",
    )


def _photo(page: _Page) -> None:
    name = gr.State("", time_to_live=_KEEP_S)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(show_label=False, file_types=sorted(SUFFIXES), height=150)
            gr.Examples([[str(SAMPLES / name)] for name in _SAMPLES], file, label="Or try one of these")
            figures = gr.HTML(padding=False)
        with gr.Column(scale=2, min_width=300):
            pictures = gr.HTML(EMPTY, padding=False)

    def show(name: str, threshold: float | None) -> list[str]:
        batch = page.shown.batch(name, threshold)
        return [figures_of(batch[0].result), pictures_of(batch[0], name, threshold)] if batch else ["", EMPTY]

    def score(upload: dict[str, Any] | None, threshold: float | None) -> list[str]:
        name = page.shown.keep([page.score(upload)]) if upload else ""
        return [name, *show(name, threshold)]

    outputs = [name, figures, pictures]
    file.change(score, [file, page.threshold], outputs, show_progress="minimal", api_name="photo", **_PRIVATE)
    page.threshold.change(show, [name, page.threshold], [figures, pictures], api_visibility="private")


def _batch(page: _Page) -> None:
    name = gr.State("", time_to_live=_KEEP_S)
    with gr.Row():
        files = gr.File(label="Pictures", file_count="multiple", file_types=sorted(SUFFIXES), height=150)
        folder = gr.File(label="Or a folder", file_count="directory", height=150)
    table = gr.HTML(padding=False)

    def show(name: str, threshold: float | None, left_out: Sequence[str] = ()) -> str:
        batch = page.shown.batch(name, threshold)
        if not batch and not left_out:
            return ""
        return links(name, threshold) + table_of_files([scored.result for scored in batch], left_out)

    def score(
        uploads: list[dict[str, Any]] | None, threshold: float | None, progress: gr.Progress = gr.Progress()
    ) -> list[str]:
        by_name = sorted(uploads or [], key=_name_of)
        pictures = [file for file in by_name if Path(_name_of(file)).suffix.lower() in SUFFIXES]
        left_out = [_name_of(file) for file in by_name if file not in pictures]
        scored = []
        with ExitStack() as stack:
            for file in uploads or []:  # all of them go, whatever happens
                stack.enter_context(uploaded(file))
            for number, file in enumerate(pictures):
                progress((number, len(pictures)), desc="Scoring", unit="pictures")
                scored.append(page.score(file, shown=number < _BATCH_PICTURES))
        name = page.shown.keep(scored) if scored else ""
        return [name, show(name, threshold, left_out)]

    for source in (files, folder):
        source.change(score, [source, page.threshold], [name, table], **_PRIVATE)
    page.threshold.change(show, [name, page.threshold], table, api_visibility="private")


def _name_of(file: dict[str, Any]) -> str:
    return file.get("orig_name") or Path(file["path"]).name


def _video(page: _Page) -> None:
    file = gr.File(show_label=False, file_types=sorted(VIDEOS), height=150)
    figures, shown = gr.HTML(padding=False), gr.HTML(padding=False)

    def score(upload: dict[str, Any] | None, progress: gr.Progress = gr.Progress()) -> list[str]:
        if upload is None:
            return ["", ""]

        def tell(share: float) -> None:
            progress(share, desc="Watching")

        with uploaded(upload) as (path, name):
            scored = page.scorer.video(path, name, tell)
        page.remember(scored)
        return [figures_of(scored.result), video_of(scored, page.shown.keep([scored]))]

    file.change(score, file, [figures, shown], concurrency_limit=1, **_PRIVATE)


def _webcam(page: _Page) -> None:
    gr.Markdown("Allow the camera, then press record. Frames go to this server, are scored and are not kept.")
    watcher = gr.State(None, time_to_live=_KEEP_S)
    with gr.Row():
        with gr.Column(min_width=300):
            camera = gr.Image(sources=["webcam"], label="Camera", streaming=True)
        with gr.Column(min_width=300):
            shown = gr.HTML(padding=False)

    def look(frame: dict[str, Any] | None, last: tuple[Watcher, float] | None) -> tuple[str, Any]:
        if frame is None:
            return "", last
        started = time.monotonic()
        try:
            image = read_image(_content(frame), max_megapixels=_FRAME_MEGAPIXELS)
        except (FacetellError, ValueError) as error:
            raise gr.Error(f"not a frame of a camera: {error}", print_exception=False) from error
        with page.scorer.detector() as detector:
            watcher, before = last or (Watcher(detector.verdict), started)
            faces, _ = watcher.look(started, detector.detect(image))
        latency_ms = (time.monotonic() - started) * 1000
        picture = drawn(Look(image, faces, [], 1 / max(started - before, 1e-3) if last else 0.0, latency_ms))
        return inline_picture(as_jpeg(picture), "the camera's picture with its faces framed"), (watcher, started)

    camera.stream(
        look,
        [camera, watcher],
        [shown, watcher],
        stream_every=_LIVE_EVERY_S,
        show_progress="hidden",
        **_PRIVATE,
    )


def _content(frame: dict[str, Any]) -> bytes:
    """Return the file that a frame has within it, as browsers send it; raises ValueError where it has none."""
    kind, _, content = (frame.get("url") or "").partition(";base64,")
    if not kind.startswith("data:image/"):
        raise ValueError("wanted it as base64, with no path and no address")
    return base64.b64decode(content, validate=True)


def _history(history: History, tab: gr.Tab) -> None:
    words = gr.Textbox(label="Search", placeholder="a name, a verdict, a model, a date", max_lines=1)
    entries = gr.HTML(padding=False)
    with gr.Accordion("Delete", open=False), gr.Row():
        with gr.Column(min_width=300):
            number = gr.Number(None, label="The entry of this number", precision=0)
            one = gr.Button("Delete this entry")
        with gr.Column(min_width=300):
            sure = gr.Checkbox(False, label="I am sure", container=True)
            everything = gr.Button("Delete all", variant="stop")

    def show(words: str) -> str:
        return table_of_entries(history.search(words or ""), words or "")

    def delete(number: float | None, words: str) -> tuple[str, None]:
        if number is None or not 0 < number < 2**53 or not history.delete(int(number)):
            gr.Warning("There is no such entry; its number stands below its picture.")
        else:
            gr.Info(f"Entry {number:.0f} deleted.")
        return show(words), None

    def delete_all(sure: bool, words: str) -> tuple[str, bool]:
        if not sure:
            gr.Warning("Tick 'I am sure' first.")
        else:
            gr.Info(f"{history.delete_all()} entries deleted.")
        return show(words), False

    gr.on([words.change, tab.select], show, words, entries, api_visibility="private")
    one.click(delete, [number, words], [entries, number], api_visibility="private")
    everything.click(delete_all, [sure, words], [entries, sure], api_visibility="private")


def _what_is_kept(history: History | None) -> str:
    if history is None:
        return "Pictures are scored on this server and deleted."
    days = "" if history.keep_days is None else f" for {history.keep_days:g} days"
    return f"Pictures are scored on this server and deleted; thumbnails and verdicts are kept{days}."


def _what_it_means(scorer: Scorer, threshold: float) -> str:
    rates = scorer.bundle.error_rates
    if not rates:
        return "What this means for false alarms is not known for this model."
    rate = min(rates, key=lambda rate: abs(rate.threshold - threshold))
    return (
        f"On pictures like those it was trained on, a threshold of {rate.threshold:g} calls "
        f"**{rate.false_alarms:.1%} of real faces fake**, and misses {rate.missed:.1%} of fakes."
    )


def _about(scorer: Scorer) -> str:
    bundle = scorer.bundle
    return (
        f"### The model\n\n`{bundle.identity}`, {bundle.backbone}, {bundle.input_size_px} x {bundle.input_size_px} "
        f"pixels of each face. Trained on {', '.join(bundle.trained_on)}. License: {bundle.license}.\n\n"
        f"### Limits\n\n{LIMITS}\n\n"
        "### For programs\n\nSend a picture to `/v1/score` here: `curl -F file=@photo.jpg ADDRESS/v1/score`. "
        "What it takes and gives is in [/v1/openapi.json](/v1/openapi.json).\n\n### Where it looked\n\n" + MEANING
    )
