"""The page: photo, batch, video, webcam, history and what it all means."""

from __future__ import annotations

import base64
import html
import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from ...edge.errors import FacetellError
from ...edge.explain import MEANING
from ...edge.images import SUFFIXES, read_image
from ...edge.live import Look, Watcher, drawn
from ...edge.results import FileResult, write_results
from ...edge.runtime import silent_stderr
from ...edge.video import SUFFIXES as VIDEOS
from .history import Entry, History
from .report import Scored, report
from .scorer import Scorer, at_threshold
from .texts import DEEPFAKES, LIMITS, in_words

SAMPLES = Path(__file__).parent.parent.parent / "samples"
_SAMPLES = ("real_astronaut.jpg", "fake_hopper_with_astronauts_face.jpg", "two_faces.jpg")
_MODELS_OWN = "the model's own"
_KEEP_S = 3600  # how long downloads and shown pictures stay on the server
_LIVE_EVERY_S = 0.2
_BATCH_SHEETS = 20  # pictures of a batch that a report shows

STYLE = """
.cards {display: flex; flex-wrap: wrap; gap: .75rem}
.card {flex: 1 1 9rem; border: 1px solid var(--border-color-primary); border-radius: .75rem; padding: .75rem 1rem}
.card b {display: block; font-size: 1.6rem; line-height: 1.3}
.card span {color: var(--body-text-color-subdued); font-size: .85rem}
.real b {color: #0072b2} .fake b {color: #d55e00} .uncertain b {color: #9a7b00}
.dark .real b {color: #56b4e9} .dark .fake b {color: #ff8c42} .dark .uncertain b {color: #f0c419}
.faces {width: 100%; border-collapse: collapse; font-size: .9rem}
.faces th, .faces td {text-align: left; padding: .3rem .5rem; border-bottom: 1px solid var(--border-color-primary)}
.past {display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .75rem}
.past figure {margin: 0; border: 1px solid var(--border-color-primary); border-radius: .75rem; padding: .5rem}
.past img {width: 100%; height: 8rem; object-fit: contain}
.past figcaption {font-size: .8rem; overflow-wrap: anywhere}
#title {display: flex; justify-content: space-between; align-items: center; gap: 1rem}
#title h1 {margin: 0; font-size: 1.5rem}
#theme {border: 1px solid var(--border-color-primary); border-radius: .5rem; padding: .3rem .7rem; cursor: pointer;
  background: none; color: inherit}
@media (max-width: 40rem) {.card b {font-size: 1.25rem}}
"""

HEAD = """
<script>
function facetellTheme() {
  document.body.classList.toggle('dark');
  localStorage.setItem('facetell-theme', document.body.classList.contains('dark') ? 'dark' : 'light');
}
document.addEventListener('DOMContentLoaded', () => {
  const kept = localStorage.getItem('facetell-theme');
  if (kept) document.body.classList.toggle('dark', kept === 'dark');
});
</script>
"""

_TITLE = """
<div id="title"><div><h1>Real or fake?</h1>
<span>Every fake has a tell. Pictures are scored on this machine and deleted.</span></div>
<button id="theme" onclick="facetellTheme()" aria-label="light or dark">light / dark</button></div>
"""


def theme() -> gr.themes.Base:
    """Return a theme whose fonts are those of the reader's system, so that none is fetched."""
    fonts = ("system-ui", "sans-serif")
    return gr.themes.Soft(primary_hue="blue", font=fonts, font_mono=("ui-monospace", "monospace"))


def build_page(scorer: Scorer, history: History | None) -> gr.Blocks:
    """Return the page; without a history it has no tab for one."""
    with gr.Blocks(title="facetell", analytics_enabled=False, delete_cache=(_KEEP_S // 4, _KEEP_S)) as page:
        gr.HTML(_TITLE)
        with gr.Sidebar(label="What this is", open=False):
            gr.Markdown(DEEPFAKES)
            gr.Markdown(f"### What the tool can not tell\n\n{LIMITS}")
        with gr.Accordion("Threshold", open=False):
            own = gr.Checkbox(True, label=f"{_MODELS_OWN} two: {scorer.bundle.thresholds.chosen_at}")
            threshold = gr.Slider(0.05, 0.99, 0.5, step=0.05, label="fake from", interactive=True, visible=False)
            meaning = gr.Markdown(visible=False)
            own.change(lambda on: (gr.update(visible=not on),) * 2, own, [threshold, meaning], api_name=False)
            gr.on(
                [own.change, threshold.change],
                lambda value: _what_it_means(scorer, value),
                threshold,
                meaning,
                api_name=False,
                queue=False,
            )
        with gr.Tab("Photo"):
            _photo(scorer, history, own, threshold)
        with gr.Tab("Folder or batch"):
            _batch(scorer, history, own, threshold)
        with gr.Tab("Video"):
            _video(scorer, history)
        with gr.Tab("Webcam"):
            _webcam(scorer)
        if history:
            with gr.Tab("History") as tab:
                _history(history, tab)
        with gr.Tab("About"):
            gr.Markdown(_about(scorer))
    return page


def _photo(scorer: Scorer, history: History | None, own: gr.Checkbox, threshold: gr.Slider) -> None:
    kept = gr.State(None, time_to_live=_KEEP_S)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(label="Drop a picture here, or click", file_types=sorted(SUFFIXES), height=140)
            gr.Examples([[str(SAMPLES / name)] for name in _SAMPLES], file, label="Or try one of these")
            figures = gr.HTML()
            shares = gr.Label(label="Of the most suspicious face", visible=False)
        with gr.Column(scale=2, min_width=300):
            picture = gr.Image(label="Faces", interactive=False, visible=False, format="jpeg", buttons=["fullscreen"])
            sheet = gr.Image(
                label="Where the network looked",
                interactive=False,
                visible=False,
                format="jpeg",
                buttons=["fullscreen"],
            )
            meaning = gr.Markdown(MEANING, visible=False)
            with gr.Row():
                pdf = gr.DownloadButton("PDF report", visible=False)
                table = gr.DownloadButton("CSV", visible=False)
                data = gr.DownloadButton("JSON", visible=False)
    shown = [figures, shares, picture, sheet, meaning, pdf, table, data]

    def show(scored: Scored | None, own: bool, threshold: float) -> list[Any]:
        if scored is None:
            return [""] + [gr.update(visible=False)] * 7
        result = scored.result if own else at_threshold(scored.result, threshold)
        again = replace(scored, result=result)
        confidences = None if result.p_fake is None else {"real": 1 - result.p_fake, "fake": result.p_fake}
        return [
            _figures(result),
            gr.update(value=confidences, visible=confidences is not None),
            gr.update(value=scored.framed, visible=scored.framed is not None),
            gr.update(value=scored.sheet, visible=scored.sheet is not None),
            gr.update(visible=scored.sheet is not None),
            gr.update(value=_saved("report.pdf", report([again], scorer.bundle)), visible=result.status == "ok"),
            gr.update(value=_saved("result.csv", _written([result], "csv")), visible=result.status == "ok"),
            gr.update(value=_saved("result.json", _written([result], "json")), visible=result.status == "ok"),
        ]

    def score(path: str | None, own: bool, threshold: float) -> list[Any]:
        if path is None:
            return [None, *show(None, own, threshold)]
        scored = _scored(scorer, history, Path(path))
        return [scored, *show(scored, own, threshold)]

    file.change(score, [file, own, threshold], [kept, *shown], api_name="photo", show_progress="minimal")
    gr.on([own.change, threshold.release], show, [kept, own, threshold], shown, api_name=False)


def _batch(scorer: Scorer, history: History | None, own: gr.Checkbox, threshold: gr.Slider) -> None:
    kept = gr.State(None, time_to_live=_KEEP_S)
    with gr.Row():
        files = gr.File(label="Drop pictures here, or click", file_count="multiple", height=140)
        folder = gr.File(label="Or choose a folder", file_count="directory", height=140)
    table = gr.HTML()
    with gr.Row():
        downloads = [gr.DownloadButton(name, visible=False) for name in ("PDF report", "CSV", "JSON")]

    def show(scored: Sequence[Scored] | None, own: bool, threshold: float) -> list[Any]:
        if not scored:
            return [""] + [gr.update(visible=False)] * 3
        judged = [entry if own else replace(entry, result=at_threshold(entry.result, threshold)) for entry in scored]
        results = [entry.result for entry in judged]
        contents = {
            "report.pdf": report(judged, scorer.bundle),
            "results.csv": _written(results, "csv"),
            "results.json": _written(results, "json"),
        }
        return [
            _table_of_files(results),
            *(gr.update(value=_saved(name, content), visible=True) for name, content in contents.items()),
        ]

    def score(paths: list[str] | None, own: bool, threshold: float, progress: gr.Progress = gr.Progress()) -> list[Any]:
        pictures = [Path(path) for path in paths or [] if Path(path).suffix.lower() in SUFFIXES]
        scored = []
        for number, path in enumerate(pictures):
            progress((number, len(pictures)), desc="Scoring", unit="pictures")
            scored.append(_scored(scorer, history, path, shown=number < _BATCH_SHEETS))
        for path in map(Path, paths or []):
            path.unlink(missing_ok=True)
        return [scored, *show(scored, own, threshold)]

    shown = [table, *downloads]
    for source, name in ((files, "batch"), (folder, False)):
        source.change(score, [source, own, threshold], [kept, *shown], api_name=name)
    gr.on([own.change, threshold.release], show, [kept, own, threshold], shown, api_name=False)


def _video(scorer: Scorer, history: History | None) -> None:
    file = gr.File(label="Drop a video here, or click", file_types=sorted(VIDEOS), height=140)
    figures, faces = gr.HTML(), gr.HTML()
    video = gr.Video(label="Faces, followed", interactive=False, visible=False)
    data = gr.DownloadButton("JSON", visible=False)

    def score(path: str | None, progress: gr.Progress = gr.Progress()) -> list[Any]:
        nothing = gr.update(visible=False)
        if path is None:
            return ["", "", nothing, nothing]
        annotated = _place("annotated.webm")
        try:
            with silent_stderr():
                result = scorer.video(
                    Path(path), Path(path).name, annotated, lambda share: progress(share, desc="Watching")
                )
        except FacetellError as error:
            raise gr.Error(str(error)) from error
        finally:
            Path(path).unlink(missing_ok=True)
        if history:
            history.add(result.path, result, _first_frame(annotated))
        return [
            _figures(result),
            _table_of_faces(result),
            gr.update(value=str(annotated), visible=True) if annotated.exists() else nothing,
            gr.update(value=_saved("result.json", _written([result], "json")), visible=result.status == "ok"),
        ]

    file.change(score, file, [figures, faces, video, data], api_name="video")


def _webcam(scorer: Scorer) -> None:
    gr.Markdown("Allow the camera, then press record. Frames go to this server, are scored and are not kept.")
    watcher = gr.State(None, time_to_live=_KEEP_S)
    with gr.Row():
        camera = gr.Image(sources=["webcam"], type="filepath", image_mode=None, label="Camera", streaming=True)
        shown = gr.Image(label="Faces", interactive=False, streaming=True, format="jpeg")

    def look(path: str | None, watcher: Watcher | None) -> tuple[Any, Any]:
        if path is None:
            return None, watcher
        started = time.monotonic()
        try:
            image = read_image(Path(path), max_megapixels=4)
        except FacetellError as error:
            raise gr.Error(str(error)) from error
        finally:
            Path(path).unlink(missing_ok=True)
        with scorer.detector() as detector:
            watcher = watcher or Watcher(detector.verdict)
            faces, _ = watcher.look(started, detector.detect(image))
        latency_ms = (time.monotonic() - started) * 1000
        return drawn(Look(image, faces, [], 1000 / max(latency_ms, 1), latency_ms)), watcher

    camera.stream(
        look, [camera, watcher], [shown, watcher], stream_every=_LIVE_EVERY_S, show_progress="hidden", api_name=False
    )


def _history(history: History, tab: gr.Tab) -> None:
    with gr.Row():
        words = gr.Textbox(label="Search", placeholder="a name, a verdict, a model, a date")
        number = gr.Number(label="Entry", precision=0)
        one = gr.Button("Delete this entry")
        sure = gr.Checkbox(False, label="I am sure")
        everything = gr.Button("Delete all", variant="stop")
    entries = gr.HTML()

    def show(words: str) -> str:
        return _table_of_entries(history.search(words or ""))

    def delete(number: float | None, words: str) -> str:
        if number is None or not history.delete(int(number)):
            gr.Warning("There is no such entry; its number stands below its picture.")
        return show(words)

    def delete_all(sure: bool, words: str) -> tuple[str, bool]:
        if not sure:
            gr.Warning("Tick 'I am sure' first.")
        else:
            gr.Info(f"{history.delete_all()} entries deleted.")
        return show(words), False

    gr.on([words.change, tab.select], show, words, entries, api_name=False)
    one.click(delete, [number, words], entries, api_name=False)
    everything.click(delete_all, [sure, words], [entries, sure], api_name=False)


def _scored(scorer: Scorer, history: History | None, path: Path, *, shown: bool = True) -> Scored:
    try:
        with silent_stderr():
            scored = scorer.picture(path, path.name, shown=shown)
    finally:
        if SAMPLES not in path.parents:
            path.unlink(missing_ok=True)
    if history:
        history.add(scored.name, scored.result, scored.framed)
    return scored


def _figures(result: FileResult) -> str:
    verdict = result.verdict.replace("_", " ")
    cards = [(verdict, "verdict")]
    if result.p_fake is not None:
        cards.append((f"{result.p_fake:.1%}", "probability of a fake"))
    if result.latency_ms is not None:
        cards.append((f"{result.latency_ms:.0f} ms", "processing time"))
    drawn = "".join(
        f'<div class="card {result.verdict}"><b>{value}</b><span>{name}</span></div>' for value, name in cards
    )
    return f'<div class="cards">{drawn}</div><p>{html.escape(in_words(result))}</p>'


def _table_of_faces(result: FileResult) -> str:
    rows = "".join(
        f"<tr><td>{number}</td><td>{face.verdict}</td><td>{face.p_fake:.1%}</td>"
        f"<td>{face.start_s:.1f} to {face.end_s:.1f} s</td><td>{face.best_s:.1f} s</td></tr>"
        for number, face in enumerate(result.faces, start=1)
    )
    head = "<tr><th>face</th><th>verdict</th><th>p(fake)</th><th>seen</th><th>best at</th></tr>"
    return f'<table class="faces">{head}{rows}</table>' if rows else ""


def _table_of_files(results: Sequence[FileResult]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(result.path)}</td><td>{result.verdict.replace('_', ' ')}</td>"
        f"<td>{'' if result.p_fake is None else f'{result.p_fake:.1%}'}</td><td>{len(result.faces)}</td>"
        f"<td>{html.escape(result.error or '')}</td></tr>"
        for result in results
    )
    head = "<tr><th>file</th><th>verdict</th><th>p(fake)</th><th>faces</th><th></th></tr>"
    return f'<table class="faces">{head}{rows}</table>'


def _table_of_entries(entries: Sequence[Entry]) -> str:
    if not entries:
        return "<p>Nothing here yet.</p>"
    figures = []
    for entry in entries:
        source = base64.b64encode(entry.thumbnail or b"").decode()
        image = f'<img src="data:image/jpeg;base64,{source}" alt="">' if source else ""
        p_fake = "" if entry.p_fake is None else f" {entry.p_fake:.1%}"
        figures.append(
            f"<figure>{image}<figcaption>{entry.id}: <b>{entry.verdict.replace('_', ' ')}{p_fake}</b><br>"
            f"{html.escape(entry.name)}<br>{html.escape(entry.time)}<br>{html.escape(entry.model)}</figcaption></figure>"
        )
    return f'<div class="past">{"".join(figures)}</div>'


def _what_it_means(scorer: Scorer, threshold: float) -> str:
    rates = scorer.bundle.error_rates
    if not rates:
        return "What this means for false alarms is not known for this model."
    rate = min(rates, key=lambda rate: abs(rate.threshold - threshold))
    return (
        f"On pictures like those it was trained on, a threshold of {rate.threshold:g} calls **{rate.false_alarms:.1%} of "
        f"real faces fake**, and misses {rate.missed:.1%} of fakes."
    )


def _about(scorer: Scorer) -> str:
    bundle = scorer.bundle
    return (
        f"### The model\n\n`{bundle.identity}`, {bundle.backbone}, {bundle.input_size_px} x {bundle.input_size_px} pixels "
        f"of each face. Trained on {', '.join(bundle.trained_on)}. {bundle.license}.\n\n### Limits\n\n{LIMITS}\n\n"
        "### For programs\n\n```sh\ncurl -F file=@photo.jpg http://localhost:7860/v1/score\n```\n\n"
        "What it takes and gives is in [/v1/openapi.json](/v1/openapi.json).\n\n### Where it looked\n\n" + MEANING
    )


def _written(results: Sequence[FileResult], format: str) -> bytes:
    file = io.StringIO(newline="")
    write_results(results, format, file)
    return file.getvalue().encode("utf-8", "surrogateescape")


def _place(name: str) -> Path:
    """Return a new path where Gradio keeps its files, and deletes them."""
    return Path(tempfile.mkdtemp(prefix="facetell-")) / name


def _saved(name: str, content: bytes) -> str:
    path = _place(name)
    path.write_bytes(content)
    return str(path)


def _first_frame(video: Path) -> np.ndarray | None:
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    read, frame = capture.read()
    capture.release()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if read else None
