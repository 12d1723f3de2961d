"""A data set before training: what is in it, what is wrong with it, as one page and its pictures."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np

from ..edge.errors import DatasetError
from ..edge.files import check_ours
from ..edge.manifest import LABELS, balanced_sample
from ..edge.tables import Table
from .advice import advise, number_of
from .eda_plots import COLUMNS, label_and_split, plot_classes, plot_counts, plot_sheet, plot_sizes, plot_spread
from .leaks import leak_table
from .page import Figure, Finding, Section, write_page
from .survey import Seen, Survey, survey

PAGE = "eda.html"
TABLE = "pictures.csv"
PLOTS = (
    *("classes.png", "splits.png", "sources.png", "samples.png", "sizes.png", "formats.png", "brightness.png"),
    *("sharpness.png", "extremes.png", "copies.png", "near_duplicates.png"),
)

_SHOWN = 50  # rows of a table in the page; the csv has all
_OF_A_SET = 4
_EXTREMES = {
    "Darkest": lambda one: one.traits.brightness,
    "Brightest": lambda one: -one.traits.brightness,
    "Least sharp": lambda one: one.traits.sharpness,
    "Smallest": lambda one: one.traits.width * one.traits.height,
}


def eda(
    dataset: Path, output: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Survey, list[Finding]]:
    """Write eda.html, its pictures as PNG and pictures.csv of a raw folder or zip, a merged data set or crops.

    Return what was seen and what is to be said of it, what must be mended first. progress is called with the pictures
    looked at and their number.

    Raises DatasetError when there is no picture, output holds something else, or lies in the data set.
    """
    if output.resolve().is_relative_to(dataset.resolve()):
        raise DatasetError(f"{output} lies inside {dataset} and would become part of it; choose another folder with -o")
    check_ours(output, TABLE, {PAGE, *PLOTS})
    found = survey(dataset, progress=progress)
    if not found.seen and not found.left_out:
        of_videos = f" ({number_of(found.videos, 'video')}, whose frames it would take)" if found.videos else ""
        raise DatasetError(f"{dataset} holds no pictures{of_videos}; wanted folders such as real/ and fake/ with some")
    for name in PLOTS:  # not every data set has all
        (output / name).unlink(missing_ok=True)
    findings = advise(found)
    found.write_csv(output / TABLE)
    write_page(
        output / PAGE,
        f"What is in {dataset.resolve().name}",
        "Looked at before anything is trained on it: what it holds, what could mislead a network, and what to mend.",
        _facts(found),
        list(_sections(found, findings, output)),
        shlex.join(["facetell", "eda", str(dataset), "-o", str(output)]),
    )
    return found, findings


def _facts(found: Survey) -> dict[str, str]:
    left_out = Counter(left.kind for left in found.left_out)
    facts = {
        "real": found.count("real"),
        "fake": found.count("fake"),
        "data sets": len(found.sources),
        "copies": sum(len(same) - 1 for same in found.copies),
        "sets of look-alikes": len(found.look_alikes),
    }
    return {name: f"{count:,}" for name, count in (facts | left_out).items()}


def _sections(found: Survey, findings: Sequence[Finding], output: Path) -> Iterator[Section]:
    yield Section("What was checked", findings=findings)
    if found.kept:
        yield _balance(found, output)
        yield _samples(found, output)
        yield _measures(found, output)
        yield _leaks(found)
        yield from _extremes(found, output)
    if found.copies:
        yield _sets("Copies, byte by byte", found.copies, found, output / "copies.png")
    if found.look_alikes:
        yield _sets("Near-duplicates", found.look_alikes, found, output / "near_duplicates.png")
    if found.left_out:
        yield _left_out(found)


def _balance(found: Survey, output: Path) -> Section:
    figures = [Figure(output / "classes.png", "Real and fake pictures")]
    plot_classes(figures[0].path, found.kept)
    if found.splits:
        undecided = {one.record.split for one in found.kept} - set(found.splits)
        names = {split: split for split in found.splits} | {split: split or "undecided" for split in undecided}
        figures.append(Figure(output / "splits.png", "Pictures of each split"))
        plot_counts(figures[-1].path, found.kept, lambda one: names[one.record.split], list(names.values()))
    if len(found.sources) > 1:
        figures.append(Figure(output / "sources.png", "Pictures of each data set"))
        plot_counts(figures[-1].path, found.kept, lambda one: one.record.source, found.sources)
    return Section("Balance", figures=figures)


def _samples(found: Survey, output: Path) -> Section:
    rows = []
    for label in LABELS:
        of_label = {one.record.path: one for one in found.kept if one.record.label == label}
        if of_label:
            count = min(2 * COLUMNS, len(of_label))
            chosen = Random(0).sample(balanced_sample([one.record for one in of_label.values()], count), count)
            rows.append((label.capitalize(), [of_label[record.path] for record in chosen]))
    figure = Figure(output / "samples.png", "Real and fake pictures drawn at random", is_wide=True)
    plot_sheet(figure.path, rows, found.read, lambda one: one.record.split)
    return Section("What they look like", figures=[figure])


def _measures(found: Survey, output: Path) -> Section:
    sizes = Figure(output / "sizes.png", "Sizes; larger dots are more pictures")
    plot_sizes(sizes.path, found.kept)
    formats = Figure(output / "formats.png", "File formats, by their content")
    names = [name for name, _ in Counter(one.traits.format for one in found.kept).most_common()]
    plot_counts(formats.path, found.kept, lambda one: one.traits.format, names)
    light = Figure(output / "brightness.png", "Brightness")
    plot_spread(light.path, found.kept, lambda one: one.traits.brightness, "brightness, 0 to 255")
    sharpness = Figure(output / "sharpness.png", "Sharpness")
    title = "sharpness, log variance of the Laplacian"
    plot_spread(sharpness.path, found.kept, lambda one: one.traits.sharpness, title)
    return Section(
        "Size, file and light",
        "Where real and fake differ here, a network can tell them apart without a look at the forgery, and fails on "
        "other pictures.",
        figures=[sizes, formats, light, sharpness],
        table=_medians(found),
    )


def _medians(found: Survey) -> Table:
    rows = []
    for source in found.sources:
        for label in LABELS:
            of = [one.traits for one in found.kept if (one.record.source, one.record.label) == (source, label)]
            if of:
                width, height, brightness, contrast, sharpness = np.median(
                    [(one.width, one.height, one.brightness, one.contrast, one.sharpness) for one in of], axis=0
                )
                measures = (f"{width:.0f} x {height:.0f}", f"{brightness:.0f}", f"{contrast:.0f}", f"{sharpness:.1f}")
                counts = Counter(one.format for one in of).most_common()
                formats = ", ".join(f"{name} {count}" for name, count in counts)
                rows.append((source, label, str(len(of)), *measures, formats))
    head = ("data set", "label", "pictures", "median size", "brightness", "contrast", "sharpness", "formats")
    return Table(head, rows)


def _leaks(found: Survey) -> Section:
    title = "What gives the label away"
    if not found.leaks:
        return Section(title, "There are too few pictures to say.")
    words = (
        "How well real and fake are told apart by these figures alone, without a look at any face: AUC 0.5 is "
        "guessing, 1 is always right."
    )
    return Section(title, words, table=leak_table(found.leaks))


def _extremes(found: Survey, output: Path) -> Iterator[Section]:
    figure = Figure(output / "extremes.png", "Those at the ends", is_wide=True)
    rows = [
        (title, sorted(found.kept, key=key)[:COLUMNS])
        for title, key in _EXTREMES.items()
        if len(set(map(key, found.kept))) > 1
    ]
    if rows:
        plot_sheet(figure.path, rows, found.read)
        yield Section("The odd ones", figures=[figure])


def _sets(title: str, sets: Sequence[Sequence[Seen]], found: Survey, path: Path) -> Section:
    """Return the first pictures of the first sets, each with the number of its set."""
    number = {id(one): number for number, same in enumerate(sets, start=1) for one in same}
    shown = [one for same in sets for one in same[:_OF_A_SET]][: 3 * COLUMNS]
    plot_sheet(path, [("", shown)], found.read, lambda one: f"{number[id(one)]}: {label_and_split(one)}")
    named = sets[: number[id(shown[-1])]]
    rows = [
        (str(row), str(len(same)), ", ".join(one.record.path for one in same[:_OF_A_SET]))
        for row, same in enumerate(named, start=1)
    ]
    words = number_of(len(sets), "set") + (f", of which {len(named)} are shown" if len(sets) > len(named) else "")
    return Section(
        title,
        f"{TABLE} lists all. Those torn between splits, then labels, come first.",
        figures=[Figure(path, words, is_wide=True)],
        table=Table(("set", "pictures", "which"), rows),
    )


def _left_out(found: Survey) -> Section:
    rows = [(left.path, left.kind, left.detail) for left in found.left_out[:_SHOWN]]
    rest = len(found.left_out) - len(rows)
    words = f"{TABLE} lists the other {rest}, too." if rest else ""
    return Section("Left out", words, table=Table(("picture", "why", "more"), rows))
