"""A data set before training: what is in it, what is wrong with it, as one page and its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np

from ..edge.errors import DatasetError, printable
from ..edge.files import check_holds_only
from ..edge.manifest import LABELS, balanced_sample
from ..edge.tables import Table
from .advice import advise
from .eda_plots import COLUMNS, label_and_split, plot_classes, plot_counts, plot_sheet, plot_sizes, plot_spread
from .leaks import leak_table
from .page import Figure, Finding, Section, write_page
from .survey import Seen, Survey, survey

PAGE = "index.html"
TABLE = "pictures.csv"
PLOTS = {
    "classes": "classes.png",
    "splits": "splits.png",
    "sources": "sources.png",
    "sizes": "sizes.png",
    "formats": "formats.png",
    "brightness": "brightness.png",
    "sharpness": "sharpness.png",
    "samples": "samples.png",
    "extremes": "extremes.png",
    "copies": "copies.png",
    "look_alikes": "near_duplicates.png",
}

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
) -> list[Finding]:
    """Write index.html, its pictures as PNG and pictures.csv of a raw folder or zip, a merged data set or crops.

    Return what was found, what must be mended first. progress is called with the pictures looked at and their number.

    Raises DatasetError when there is no picture, output holds something else, or lies in the data set.
    """
    if output.resolve().is_relative_to(dataset.resolve()):
        raise DatasetError(f"{output} lies inside {dataset} and would become part of it; choose another folder with -o")
    check_holds_only(output, {PAGE, TABLE, *PLOTS.values()})
    found = survey(dataset, progress=progress)
    if not found.seen and not found.left_out:
        raise DatasetError(f"{dataset} holds no pictures; wanted folders such as real/ and fake/ with some")
    findings = advise(found)
    found.write_csv(output / TABLE)
    write_page(
        output / PAGE,
        f"What is in {printable(dataset.resolve().name)}",
        "Looked at before anything is trained on it: what it holds, what could mislead a network, and what to mend.",
        _facts(found),
        list(_sections(found, findings, output)),
        f"facetell eda {printable(str(dataset))}",
    )
    return findings


def _facts(found: Survey) -> dict[str, str]:
    left_out = Counter(left.kind for left in found.left_out)
    facts = {
        "pictures": len(found.seen),
        "real": found.count(label="real"),
        "fake": found.count(label="fake"),
        "data sets": len(found.sources),
        "copies": sum(len(same) - 1 for same in found.copies),
        "sets of look-alikes": len(found.look_alikes),
    }
    return {name: f"{count:,}" for name, count in (facts | left_out).items()}


def _sections(found: Survey, findings: Sequence[Finding], output: Path) -> Iterator[Section]:
    plot = {name: output / file for name, file in PLOTS.items()}
    seen = found.seen
    yield Section("What was checked", findings=findings)
    if seen:
        yield Section("Balance", figures=list(_balance(found, plot)))
        plot_sheet(plot["samples"], _samples(found), found.read)
        yield Section(
            "What they look like",
            "Drawn at random, as many of each data set as there is room for.",
            figures=[Figure(plot["samples"], "Real and fake pictures drawn at random", is_wide=True)],
        )
        yield Section(
            "Size, file and light",
            "Where real and fake differ here, a network can tell them apart without a look at the forgery, and fails "
            "on other pictures.",
            figures=list(_measures(found, plot)),
            table=_measures_table(found),
        )
        yield Section(
            "What gives the label away",
            "How well real and fake are told apart by these figures alone, without a look at any face: AUC 0.5 is "
            "guessing, 1 is always right."
            if found.leaks
            else "There are too few pictures to say.",
            table=leak_table(found.leaks) if found.leaks else None,
        )
        ends = [(title, sorted(seen, key=key)[:COLUMNS]) for title, key in _EXTREMES.items()]
        plot_sheet(plot["extremes"], ends, found.read)
        words = "The darkest, brightest, least sharp and smallest pictures"
        yield Section("The odd ones", figures=[Figure(plot["extremes"], words, is_wide=True)])
    for title, name, sets in (
        ("Copies, byte by byte", "copies", found.copies),
        ("Near-duplicates", "look_alikes", found.look_alikes),
    ):
        if sets:
            yield _sets(title, plot[name], sets, found)
    if found.left_out:
        rows = [(printable(left.path), left.kind, printable(left.detail)) for left in found.left_out[:_SHOWN]]
        rest = len(found.left_out) - len(rows)
        yield Section(
            "Left out",
            f"{TABLE} lists the other {rest}, too." if rest else "",
            table=Table(("picture", "why", "more"), rows),
        )


def _balance(found: Survey, plot: dict[str, Path]) -> Iterator[Figure]:
    plot_classes(plot["classes"], found.seen)
    yield Figure(plot["classes"], "Real and fake pictures")
    if found.splits:
        undecided = {one.record.split for one in found.seen} - set(found.splits)
        names = {split: split for split in found.splits} | {split: split or "undecided" for split in undecided}
        plot_counts(plot["splits"], found.seen, lambda one: names[one.record.split], list(names.values()))
        yield Figure(plot["splits"], "Pictures of each split")
    if len(found.sources) > 1:
        plot_counts(plot["sources"], found.seen, lambda one: one.record.source, found.sources)
        yield Figure(plot["sources"], "Pictures of each data set")


def _measures(found: Survey, plot: dict[str, Path]) -> Iterator[Figure]:
    plot_sizes(plot["sizes"], found.seen)
    yield Figure(plot["sizes"], "Sizes; larger dots are more pictures")
    formats = [name for name, _ in Counter(one.traits.format for one in found.seen).most_common()]
    plot_counts(plot["formats"], found.seen, lambda one: one.traits.format, formats)
    yield Figure(plot["formats"], "File formats, by their content")
    plot_spread(plot["brightness"], found.seen, lambda one: one.traits.brightness, "brightness, 0 to 255")
    yield Figure(plot["brightness"], "Brightness")
    plot_spread(
        plot["sharpness"], found.seen, lambda one: one.traits.sharpness, "sharpness, log variance of the Laplacian"
    )
    yield Figure(plot["sharpness"], "Sharpness")


def _measures_table(found: Survey) -> Table:
    rows = []
    for source in found.sources:
        for label in LABELS:
            of = [one.traits for one in found.seen if (one.record.source, one.record.label) == (source, label)]
            if of:
                width, height, brightness, contrast, sharpness = np.median(
                    [(one.width, one.height, one.brightness, one.contrast, one.sharpness) for one in of], axis=0
                )
                counts = Counter(one.format for one in of).most_common()
                formats = ", ".join(f"{name} {count}" for name, count in counts)
                measures = (f"{width:.0f} x {height:.0f}", f"{brightness:.0f}", f"{contrast:.0f}", f"{sharpness:.1f}")
                rows.append((printable(source), label, str(len(of)), *measures, formats))
    head = ("data set", "label", "pictures", "median size", "brightness", "contrast", "sharpness", "formats")
    return Table(head, rows)


def _samples(found: Survey) -> list[tuple[str, list[Seen]]]:
    rows = []
    for label in LABELS:
        of_label = {one.record.path: one for one in found.seen if one.record.label == label}
        if of_label:
            count = min(2 * COLUMNS, len(of_label))
            chosen = Random(0).sample(balanced_sample([one.record for one in of_label.values()], count), count)
            rows.append((label.capitalize(), [of_label[record.path] for record in chosen]))
    return rows


def _sets(title: str, path: Path, sets: Sequence[Sequence[Seen]], found: Survey) -> Section:
    """Return the first pictures of the first sets, each with the number of its set."""
    number = {id(one): number for number, same in enumerate(sets, start=1) for one in same}
    shown = [one for same in sets for one in same[:_OF_A_SET]][: 3 * COLUMNS]
    plot_sheet(path, [("", shown)], found.read, lambda one: f"{number[id(one)]}: {label_and_split(one)}")
    named = sets[: number[id(shown[-1])]]
    rows = [(str(row), str(len(same)), ", ".join(_names(same[:_OF_A_SET]))) for row, same in enumerate(named, start=1)]
    words = f"{len(sets)} sets" + (f", of which {len(named)} are shown" if len(sets) > len(named) else "")
    return Section(
        title,
        f"{TABLE} lists all. Those torn between splits, then labels, come first.",
        figures=[Figure(path, words, is_wide=True)],
        table=Table(("set", "pictures", "which"), rows),
    )


def _names(same: Sequence[Seen]) -> list[str]:
    return [printable(one.record.path) for one in same]
