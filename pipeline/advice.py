"""What is wrong with a data set, and what to do about it before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from ..edge.errors import printable
from ..edge.manifest import LABELS
from .leaks import MIN_PICTURES
from .page import GOOD, LOOK, MEND, Finding
from .survey import Survey, is_contradictory, is_torn

_FEW = 500
"""Of a label: with fewer, a network learns these faces by heart rather than what fakes have in common."""

_LOPSIDED = 3
_SMALL_PX = 64
"""A face of fewer pixels has lost the fine detail that gives a fake away."""

_TELLING_AUC = 0.8
_TELLING_SHARE = 0.9
_SHOWN = 3


def advise(survey: Survey) -> list[Finding]:
    """Return what every check found, what must be mended first."""
    checks = _CHECKS if survey.seen else _CHECKS[:2]
    found = [finding for check in checks for finding in check(survey)]
    return sorted(found, key=lambda finding: (MEND, LOOK, GOOD).index(finding.level))


def _labels(survey: Survey) -> Iterator[Finding]:
    unlabelled = [left.path for left in survey.left_out if left.kind == "no label"]
    if unlabelled:
        yield Finding(
            MEND,
            f"Nothing calls {_number(len(unlabelled))} real or fake; {printable(unlabelled[0])} for one.",
            "Put them below folders real/ and fake/, or list them in a csv with the columns file and label.",
        )
    both = [left for left in survey.left_out if left.kind == "both labels"]
    if both:
        yield Finding(
            MEND,
            f"Called both real and fake: {_number(len(both))}; {printable(f'{both[0].path}: {both[0].detail}')}.",
            "Decide; merge leaves them out.",
        )
    for label in LABELS:
        if not survey.count(label=label):
            yield Finding(
                MEND,
                f"There are no {label} pictures.",
                f"Folders such as {label}/, training_{label}/ or a csv say what is {label}; a detector needs both.",
            )
    if survey.seen and not unlabelled and not both and all(survey.count(label=label) for label in LABELS):
        yield Finding(GOOD, "Every picture is called real or fake, and none both.")


def _balance(survey: Survey) -> Iterator[Finding]:
    counts = {label: survey.count(label=label) for label in LABELS}
    if not all(counts.values()):
        return
    rarer, other = sorted(counts, key=lambda label: counts[label])
    if counts[other] > _LOPSIDED * counts[rarer]:
        yield Finding(
            LOOK,
            f"There are {counts[other] / counts[rarer]:.1f} times as many {other} pictures as {rarer} ones.",
            f"Training shows as many of each, the {rarer} ones over and over; more of them help most.",
        )
    else:
        yield Finding(GOOD, f"The labels are in balance: {counts['real']} real, {counts['fake']} fake.")
    if counts[rarer] < _FEW:
        yield Finding(
            LOOK,
            f"Only {counts[rarer]} {rarer} pictures.",
            f"Below some {_FEW} of a label a network learns these faces by heart: add a data set, and begin from "
            "weights that are trained (--weights RUN/model.keras).",
        )


def _splits(survey: Survey) -> Iterator[Finding]:
    if not survey.splits:
        yield Finding(
            GOOD, "No split is stated.", "facetell split draws one by group, with near-duplicates on one side."
        )
        return
    if "test" not in survey.splits:
        yield Finding(
            LOOK,
            f"The splits are {' and '.join(survey.splits)}; there is no test.",
            "Without one, every figure flatters: keep pictures back that nothing was chosen by.",
        )
    for split in survey.splits:
        lacking = [label for label in LABELS if not survey.count(label=label, split=split)]
        if lacking:
            yield Finding(MEND, f"The {split} split has no {lacking[0]} pictures.", "Give every split both labels.")
    undecided = survey.count(split="")
    if undecided:
        yield Finding(LOOK, f"{_number(undecided)} of no split beside those of one.", "facetell split decides them.")


def _sources(survey: Survey) -> Iterator[Finding]:
    of_both = [
        source
        for source in survey.sources
        if len({one.record.label for one in survey.seen if one.record.source == source}) > 1
    ]
    if len(survey.sources) > len(of_both):
        names = ", ".join(printable(source) for source in survey.sources if source not in of_both)
        yield Finding(
            LOOK,
            f"Of one label alone: {names}.",
            "A network can learn to tell the data sets instead of the fakes: add pictures of the other label that were "
            "taken and saved the same way, and measure on a data set that it never saw.",
        )


def _copies(survey: Survey) -> Iterator[Finding]:
    contradictory = sum(map(is_contradictory, survey.copies))
    torn = sum(map(is_torn, survey.copies))
    extra = sum(len(same) - 1 for same in survey.copies)
    if contradictory:
        yield Finding(
            MEND, f"The same bytes are once real and once fake: {_number(contradictory)}.", "Merge leaves them out."
        )
    if torn:
        yield Finding(
            MEND, f"The same bytes stand in two splits: {_number(torn)}.", "Merge keeps each in the later one."
        )
    if extra:
        copies = "1 copy" if extra == 1 else f"{extra} copies"
        yield Finding(LOOK, f"{copies} of other pictures, byte by byte.", "Merge keeps one of each.")
    else:
        yield Finding(GOOD, "No picture is there twice.")


def _look_alikes(survey: Survey) -> Iterator[Finding]:
    torn = sum(map(is_torn, survey.look_alikes))
    both = sum(map(is_contradictory, survey.look_alikes))
    if torn:
        yield Finding(
            MEND,
            f"{_number(torn, 'set')} of near-duplicates torn apart by the splits: what is tested on was trained on.",
            "facetell split leaves the training side out.",
        )
    if both:
        yield Finding(
            GOOD,
            f"{_number(both, 'set')} of near-duplicates with both labels: fakes beside the pictures they were made of.",
            "That is the best there is to learn from, as long as a set stays in one split; facetell split sees to it.",
        )
    alone = len(survey.look_alikes) - sum(is_torn(same) or is_contradictory(same) for same in survey.look_alikes)
    if alone:
        yield Finding(
            LOOK,
            f"{_number(alone, 'set')} of near-duplicates of one label: frames of a video, bursts, or saved again.",
            "They count as one picture, not as many; facetell split keeps each set on one side.",
        )


def _unreadable(survey: Survey) -> Iterator[Finding]:
    unreadable = [left for left in survey.left_out if left.kind == "unreadable"]
    if unreadable:
        yield Finding(
            MEND,
            f"{_number(len(unreadable))} cannot be read; {printable(f'{unreadable[0].path}: {unreadable[0].detail}')}.",
            "Fetch them again, or delete them; merge leaves them out.",
        )
    else:
        yield Finding(GOOD, "Every picture can be read.")
    if survey.videos:
        yield Finding(
            LOOK, f"{_number(survey.videos, 'video')} here, of which nothing is trained.", "Take frames out of them."
        )


def _formats(survey: Survey) -> Iterator[Finding]:
    of_label = {
        label: Counter(one.traits.format for one in survey.seen if one.record.label == label) for label in LABELS
    }
    if not all(of_label.values()):
        return
    # How often somebody is right who knows the format alone, labels weighing the same.
    shares = [{name: count / of.total() for name, count in of.items()} for of in of_label.values()]
    right = sum(max(share.get(name, 0) for share in shares) for name in set().union(*shares)) / 2
    usual = {label: of.most_common(1)[0][0] for label, of in of_label.items()}
    if right >= _TELLING_SHARE:
        yield Finding(
            MEND,
            f"The file format tells the label: real is mostly {usual['real']}, fake {usual['fake']}.",
            "A network may learn how a file was saved: save all the same way, or find others.",
        )


def _sizes(survey: Survey) -> Iterator[Finding]:
    small = sum(min(one.traits.width, one.traits.height) < _SMALL_PX for one in survey.seen)
    if small:
        yield Finding(
            LOOK,
            f"{_number(small)} with a side of fewer than {_SMALL_PX} pixels.",
            "Fine traces are lost at that size; leave them out where there are enough others.",
        )


def _telling(survey: Survey) -> Iterator[Finding]:
    if not survey.leaks:
        few = f"Fewer than {MIN_PICTURES} pictures of a label, or of too few groups"
        yield Finding(LOOK, f"{few}: nothing can be said of what gives the label away.")
        return
    telling = sorted((leak for leak in survey.leaks if leak.auc >= _TELLING_AUC), key=lambda leak: -leak.auc)
    for leak in telling[:_SHOWN]:
        name, auc = max(leak.auc_by_feature.items(), key=lambda item: item[1])
        yield Finding(
            LOOK,
            f"Size, file and light alone tell the real pictures of {printable(leak.real_source)} from the fakes of "
            f"{printable(leak.fake_source)}: AUC {leak.auc:.2f}, most of it by {name} ({auc:.2f}).",
            "A network may learn that instead of the forgery; what was saved and lit alike teaches more.",
        )
    if not telling:
        yield Finding(GOOD, "Size, file and light give little of the label away.")


_CHECKS: tuple[Callable[[Survey], Iterator[Finding]], ...] = (
    *(_labels, _unreadable),  # where there is nothing else to look at, these two
    *(_copies, _look_alikes, _balance, _splits, _sources, _formats, _sizes, _telling),
)


def _number(count: int, of: str = "picture") -> str:
    return f"{count} {of}" if count == 1 else f"{count} {of}s"
