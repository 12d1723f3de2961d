"""How the page looks: its style, and results as HTML."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Sequence

from gradio.themes import Base, Soft

from ...edge.explain import MEANING
from ...edge.results import DOUBTS, FileResult, TrackResult, not_judged
from .history import Entry
from .scorer import Scored
from .texts import in_words

STYLE = """
.cards {display: flex; flex-wrap: wrap; gap: .75rem}
.cards, .bars {max-width: 32rem}
.card {flex: 1 1 7rem; border: 1px solid var(--border-color-primary); border-radius: .75rem; padding: .75rem 1rem}
.card b {display: block; font-size: 1.6rem; line-height: 1.3}
.card:first-child {flex-basis: 100%} .card:first-child b {font-size: 2rem}
.card span, .empty, figcaption {font-size: .85rem; opacity: .75}
.empty {display: grid; place-items: center; min-height: 18rem; padding: 2rem; text-align: center;
  border: 2px dashed var(--border-color-primary); border-radius: .75rem}
.real b {color: #0072b2} .fake b {color: #d55e00} .uncertain b {color: #9a7b00}
.dark .real b {color: #56b4e9} .dark .fake b {color: #ff8c42} .dark .uncertain b {color: #f0c419}
.bars {margin: .75rem 0}
.bar {display: grid; grid-template-columns: 3rem 1fr 3.5rem; gap: .5rem; align-items: center; font-size: .9rem}
.bar span:last-child {text-align: right; font-variant-numeric: tabular-nums}
.bar i {display: block; height: .6rem; border-radius: .3rem}
.bar > i {background: var(--border-color-primary); overflow: hidden}
.bar.real i i {background: #0072b2} .bar.fake i i {background: #d55e00}
.dark .bar.real i i {background: #56b4e9} .dark .bar.fake i i {background: #ff8c42}
.wide {overflow-x: auto; margin: .75rem 0}
.prose .faces {width: 100%; border: 0; border-collapse: collapse; font-size: .9rem}
.prose .faces tr {border: 0}
.prose .faces th, .prose .faces td {text-align: left; padding: .4rem .6rem; white-space: nowrap;
  border: 0; border-bottom: 1px solid var(--border-color-primary)}
.prose .faces .name {white-space: normal; overflow-wrap: anywhere; min-width: 8rem} .faces small {opacity: .75}
.pictures figure {margin: 0 0 1rem} .pictures img {width: 100%; border-radius: .75rem}
.video {max-width: 100%; max-height: 70vh; border-radius: .75rem}
.links {display: flex; gap: .75rem; margin: .5rem 0; flex-wrap: wrap}
.links a {border: 1px solid var(--border-color-primary); border-radius: .5rem; padding: .4rem .9rem;
  text-decoration: none; color: inherit}
.past {display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .75rem}
.past figure {margin: 0; border: 1px solid var(--border-color-primary); border-radius: .75rem; padding: .5rem}
.past img {width: 100%; height: 8rem; object-fit: contain}
.past figcaption {overflow-wrap: anywhere}
#title {display: flex; justify-content: space-between; align-items: center; gap: 1rem}
#title h1 {margin: 0; font-size: 1.5rem}
#theme {border: 1px solid var(--border-color-primary); border-radius: .5rem; padding: .3rem .7rem; cursor: pointer;
  background: none; color: inherit; font-size: .9rem; white-space: nowrap}
@media (max-width: 40rem) {.card b {font-size: 1.25rem} .past {grid-template-columns: 1fr 1fr}
  .empty, #theme span {display: none}}
"""

HEAD = """
<script>
function facetellTheme() {
  document.body.classList.toggle('dark');
  localStorage.setItem('facetell-theme', document.body.classList.contains('dark') ? 'dark' : 'light');
}
</script>
"""

ON_LOAD = """
() => {
  const kept = localStorage.getItem('facetell-theme');
  if (kept) document.body.classList.toggle('dark', kept === 'dark');
}
"""
"""Gradio chooses a theme by the reader's system first."""


def title_of(kept: str, *, phone: bool) -> str:
    """Return the head of the page; kept says what becomes of pictures, and phone whether the phone page is there."""
    beside = ' On a phone or with private pictures: <a href="phone/">the page that sends nothing</a>.' if phone else ""
    return f"""
<div id="title"><div><h1>Real or fake?</h1>
<span>Every fake has a tell. {html.escape(kept)}{beside}</span></div>
<button id="theme" onclick="facetellTheme()" aria-label="light or dark">◐<span> light / dark</span></button></div>
"""


EMPTY = """
<div class="empty">Here each face will be framed with its verdict,<br>beside what the network saw in it.</div>
"""


def theme() -> Base:
    """Return a theme whose fonts are those of the reader's system, so that none is fetched."""
    fonts = ("system-ui", "sans-serif")
    return Soft(primary_hue="blue", font=fonts, font_mono=("ui-monospace", "monospace"))


def figures_of(result: FileResult) -> str:
    """Return verdict, probability and processing time as cards, with both classes' shares and a sentence."""
    verdict = result.verdict.replace("_", " ")
    cards = [(verdict, "verdict", result.verdict)]
    if result.p_fake is not None:
        cards.append((f"{result.p_fake:.1%}", "probability of a fake", result.verdict))
    if result.latency_ms is not None:
        cards.append((f"{result.latency_ms:.0f} ms", "processing time", ""))
    drawn = "".join(f'<div class="card {kind}"><b>{value}</b><span>{name}</span></div>' for value, name, kind in cards)
    return f'<div class="cards">{drawn}</div>{_bars(result.p_fake)}<p>{html.escape(in_words(result))}</p>'


def _bars(p_fake: float | None) -> str:
    """Return how probable real and fake are, as two bars."""
    if p_fake is None:
        return ""
    rows = "".join(
        f'<div class="bar {name}" role="img" aria-label="{name} {share:.1%}"><span>{name}</span>'
        f'<i><i style="width: {share:.1%}"></i></i><span>{share:.1%}</span></div>'
        for name, share in (("real", 1 - p_fake), ("fake", p_fake))
    )
    return f'<div class="bars">{rows}</div>'


def pictures_of(scored: Scored, name: str, threshold: float | None) -> str:
    """Return the picture with its faces framed, where the network looked, and links to the files, of a batch of one."""
    at = _query(threshold)
    parts = [("faces", "The picture with its faces framed" if scored.result.faces else "The picture", _frames(scored))]
    if scored.evidence:
        parts.append(("sheet", "Where the network looked, a row for each face", MEANING))
    if scored.picture_jpeg is None:
        parts = []
    figures = "".join(
        f'<figure><a href="/shown/{name}/0/{part}.jpg{at}" target="_blank"><img src="/shown/{name}/0/{part}.jpg{at}" '
        f'alt="{title}"></a><figcaption>{title}. {words}</figcaption></figure>'
        for part, title, words in parts
    )
    return f'<div class="pictures">{figures}</div>{links(name, threshold)}'


def _frames(scored: Scored) -> str:
    """Return what the thinner and the dashed frames of a picture mean, where it has some."""
    thin = f"Thin frames: {DOUBTS['too_small']}. " if scored.result.too_small else ""
    return thin + (f"Dashed frames: {DOUBTS['may_not_be_a_face']}. " if scored.result.doubtful else "")


def links(name: str, threshold: float | None) -> str:
    """Return links to the PDF, CSV and JSON of a batch."""
    at, kinds = _query(threshold), (("pdf", "PDF report"), ("csv", "CSV"), ("json", "JSON"))
    parts = "".join(f'<a href="/shown/{name}/result.{kind}{at}" download>{title}</a>' for kind, title in kinds)
    return f'<div class="links">{parts}</div>'


def _query(threshold: float | None) -> str:
    return "" if threshold is None else f"?threshold={threshold:g}"


def video_of(scored: Scored, name: str) -> str:
    """Return a video with its faces framed, a table of them, and links to the files, of a batch of one."""
    if scored.video_webm is None:
        return ""
    video = f'<video class="video" controls src="/shown/{name}/faces.webm"></video>'
    return f"{video}{_table_of_faces(scored.result)}{links(name, None)}"


def _table_of_faces(result: FileResult) -> str:
    faces = [face for face in result.faces if isinstance(face, TrackResult)]
    rows = "".join(
        f"<tr><td>{number}</td><td>{face.verdict}{f', {DOUBTS[face.doubt]}' if face.doubt else ''}</td>"
        f"<td>{'' if face.p_fake is None else f'{face.p_fake:.1%}'}</td>"
        f"<td>{face.start_s:.1f} to {face.end_s:.1f} s</td><td>{face.best_s:.1f} s</td></tr>"
        for number, face in enumerate(faces, start=1)
    )
    head = "<tr><th>face</th><th>verdict</th><th>p(fake)</th><th>seen</th><th>best at</th></tr>"
    return f'<div class="wide"><table class="faces">{head}{rows}</table></div>' if rows else ""


def table_of_files(results: Sequence[FileResult], left_out: Sequence[str] = ()) -> str:
    """Return what came of the files of a batch, then the files, then the names of what was left out."""
    counts = Counter(result.verdict.replace("_", " ") for result in results)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    names = f"<p>No pictures, left out: {html.escape(', '.join(left_out))}</p>" if left_out else ""
    rows = "".join(
        f'<tr><td class="name">{html.escape(result.path)}{_small(result.error)}</td>'
        f'<td class="{result.verdict}">{result.verdict.replace("_", " ")}</td>'
        f"<td>{'' if result.p_fake is None else f'{result.p_fake:.1%}'}</td>"
        f"<td>{sum(face.may_decide for face in result.faces)}{_small(not_judged(result))}</td></tr>"
        for result in results
    )
    head = "<tr><th>file</th><th>verdict</th><th>p(fake)</th><th>faces</th></tr>"
    return f'<p>{said}</p><div class="wide"><table class="faces">{head}{rows}</table></div>{names}'


def _small(words: str | None) -> str:
    return f"<br><small>{html.escape(words)}</small>" if words else ""


def inline_picture(jpeg: bytes, words: str) -> str:
    """Return a picture that is kept nowhere but in the page."""
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{html.escape(words)}">'


def table_of_entries(entries: Sequence[Entry], words: str) -> str:
    """Return thumbnails with what was said of each, of a search for words."""
    if not entries:
        return f"<p>Nothing matches {html.escape(words)}.</p>" if words else "<p>Nothing here yet.</p>"
    figures = []
    for entry in entries:
        image = inline_picture(entry.thumbnail, "") if entry.thumbnail else ""
        p_fake = "" if entry.p_fake is None else f" {entry.p_fake:.1%}"
        minute = entry.time[:16].replace("T", " ")
        figures.append(
            f"<figure>{image}<figcaption>{entry.id}: <b>{entry.verdict.replace('_', ' ')}{p_fake}</b><br>"
            f"{html.escape(entry.name)}<br>{html.escape(minute)} UTC<br>{html.escape(entry.model)}"
            "</figcaption></figure>"
        )
    return f'<div class="past">{"".join(figures)}</div>'
