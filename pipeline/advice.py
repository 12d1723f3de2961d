"""What is wrong with a data set, and what to do about it before anything is trained."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from statistics import median

from ..edge.manifest import LABELS
from .leaks import MIN_PICTURES
from .page import GOOD, LOOK, MEND, Finding
from .survey import BOTH_LABELS, NO_LABEL, UNREADABLE, Survey, is_contradictory, is_torn

_FEW = 500
"""Of a label: with fewer, a network learns these faces by heart rather than what fakes have in common."""

_LOPSIDED = 3
_SMALL_PX = 64
"""A face of fewer pixels has lost the fine detail that gives a fake away."""

_TELLING_AUC = 0.7
_TELLING_SHARE = 0.9
_LEAKS_NAMED = 3
_TIGHT_SHARE = 0.8
"""Of the room around the faces of the roomiest source: with less, a source shows whose it is by its framing."""


def advise(survey: Survey) -> list[Finding]:
    """Return what every check found, what must be mended first."""
    checks = (*_OF_FILES, *_OF_PICTURES) if survey.kept else _OF_FILES
    found = [finding for check in checks for finding in check(survey)]
    return sorted(found, key=lambda finding: (MEND, LOOK, GOOD).index(finding.level))


def number_of(count: int, thing: str = "picture") -> str:
    """Return "1 picture" or "2 pictures"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _labels(survey: Survey) -> Iterator[Finding]:
    unlabelled = [left for left in survey.left_out if left.kind == NO_LABEL]
    if unlabelled:
        yield Finding(
            MEND,
            f"Nothing calls {number_of(len(unlabelled))} real or fake; {unlabelled[0].path} for one.",
            "Put them below folders real/ and fake/, or list them in a csv with the columns file and label.",
        )
    both = [left for left in survey.left_out if left.kind == BOTH_LABELS]
    if both:
        yield Finding(
            MEND,
            f"Called both real and fake: {number_of(len(both))}; {both[0].path}: {both[0].detail}.",
            "Decide; facetell merge leaves them out.",
        )
    lacking = [label for label in LABELS if not survey.count(label)]
    for label in lacking:
        yield Finding(
            MEND,
            f"There are no {label} pictures that can be used.",
            f"Folders such as {label}/, training_{label}/ or a csv say what is {label}; a detector needs both.",
        )
    if not (unlabelled or both or lacking):
        yield Finding(GOOD, "Every picture is called real or fake, and none both.")


def _unreadable(survey: Survey) -> Iterator[Finding]:
    unreadable = [left for left in survey.left_out if left.kind == UNREADABLE]
    if unreadable:
        yield Finding(
            MEND,
            f"{number_of(len(unreadable))} cannot be read; {unreadable[0].path}: {unreadable[0].detail}.",
            _left_to_merge(survey, "Fetch them again, or let facetell merge leave them out."),
        )
    else:
        yield Finding(GOOD, "Every picture can be read.")
    if survey.videos:
        yield Finding(
            LOOK, f"{number_of(survey.videos, 'video')} here, of which nothing is trained.", "Take frames out of them."
        )


def _copies(survey: Survey) -> Iterator[Finding]:
    contradictory = [same for same in survey.copies if is_contradictory(same)]
    plain = [same for same in survey.copies if not is_contradictory(same)]
    torn = sum(map(is_torn, plain))
    if contradictory:
        yield Finding(
            MEND,
            f"The same bytes are once real and once fake: {number_of(len(contradictory))}.",
            _left_to_merge(survey, "Decide; facetell merge leaves them out."),
        )
    if torn:
        yield Finding(
            MEND,
            f"The same bytes stand in two splits: {number_of(torn)}.",
            _left_to_merge(survey, "facetell merge keeps each once, in the later split."),
        )
    if plain:
        extra = sum(len(same) - 1 for same in plain)
        copies = "1 copy" if extra == 1 else f"{extra} copies"
        keeps = _left_to_merge(survey, "facetell merge keeps one of each.")
        yield Finding(LOOK, f"{copies} of other pictures, byte by byte.", keeps)
    if not survey.copies:
        yield Finding(GOOD, "No picture is there twice.")


def _look_alikes(survey: Survey) -> Iterator[Finding]:
    torn = sum(map(is_torn, survey.look_alikes))
    both = sum(is_contradictory(same) for same in survey.look_alikes)
    alone = sum(not is_torn(same) and not is_contradictory(same) for same in survey.look_alikes)
    if torn:
        yield Finding(
            MEND,
            f"{number_of(torn, 'set')} of near-duplicates torn apart by the splits.",
            "facetell split leaves the earlier side out: train before validation before test.",
        )
    if both:
        yield Finding(
            LOOK,
            f"{number_of(both, 'set')} of near-duplicates with both labels.",
            "Look at them below: fakes beside the pictures they were made of are the best there is to learn from; the "
            "same picture labelled twice is the worst.",
        )
    if alone:
        yield Finding(
            LOOK,
            f"{number_of(alone, 'set')} of near-duplicates of one label: frames of a video, bursts, or saved again.",
            "A set teaches little more than one picture would; facetell split keeps each on one side.",
        )


def _balance(survey: Survey) -> Iterator[Finding]:
    counts = {label: survey.count(label) for label in LABELS}
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
        yield Finding(
            GOOD, f"{counts['real']} real and {counts['fake']} fake pictures; training shows as many of each."
        )
    few = [f"{count} {label}" for label, count in counts.items() if count < _FEW]
    if few:
        yield Finding(
            LOOK,
            f"Only {' and '.join(few)} pictures.",
            f"Below some {_FEW} of a label a network learns these faces by heart: add a data set, and begin from "
            "weights that are trained (--weights RUN/model.keras).",
        )


def _splits(survey: Survey) -> Iterator[Finding]:
    undecided = sum(survey.count(label, "") for label in LABELS)
    if not survey.splits:
        yield Finding(
            GOOD, "No split is stated.", "facetell split draws one by group, with near-duplicates on one side."
        )
        return
    if undecided:
        yield Finding(
            LOOK, f"{number_of(undecided)} of no split beside those of one.", "facetell split draws one for them."
        )
    elif "test" not in survey.splits:
        yield Finding(
            LOOK,
            f"Stated: {' and '.join(survey.splits)}; there is no test.",
            "Without one, every figure flatters: keep pictures back that nothing was chosen by.",
        )
    for split in survey.splits:
        for label in LABELS:
            if not survey.count(label, split) and survey.count(label):
                yield Finding(MEND, f"The {split} split has no {label} pictures.", "Give every split both labels.")


def _sources(survey: Survey) -> Iterator[Finding]:
    found = {(one.record.source, one.record.label) for one in survey.kept}
    alone = [source for source in survey.sources if not {(source, label) for label in LABELS} <= found]
    if alone and len(survey.sources) > 1:
        yield Finding(
            LOOK,
            f"Of one label alone: {', '.join(alone)}.",
            "A network can learn to tell the data sets instead of the fakes: add pictures of the other label that were "
            "taken and saved the same way, and measure on a data set that it never saw.",
        )
    pictures = Counter(one.record.source for one in survey.kept)
    single = [source for source in survey.sources if pictures[source] == 1]
    if single and len(survey.sources) > 1:
        yield Finding(
            LOOK, f"Of a single picture: {', '.join(single)}.", "It can be trained on, but measures nothing: add some."
        )


def _room(survey: Survey) -> Iterator[Finding]:
    ratios: dict[str, list[float]] = defaultdict(list)
    for one in survey.kept:
        ratios[one.record.source].append(one.record.room_ratio)
    room = {source: median(of_source) for source, of_source in ratios.items()}
    tight = [source for source in survey.sources if room[source] < _TIGHT_SHARE * max(room.values())]
    if tight:
        named = ", ".join(f"{source} ({room[source]:.2f} times the face box)" for source in tight)
        yield Finding(
            LOOK,
            f"Little room around the faces: {named}; others have {max(room.values()):.2f}.",
            "Training shows the faces beside them as closely, so hair and outline are learnt from the others: take "
            "pictures with more around the face where you can.",
        )


def _formats(survey: Survey) -> Iterator[Finding]:
    of_label = {
        label: Counter(one.traits.format for one in survey.kept if one.record.label == label) for label in LABELS
    }
    if not all(of_label.values()):
        return
    # How often somebody is right who knows the format alone, labels weighing the same.
    shares = [{name: count / of.total() for name, count in of.items()} for of in of_label.values()]
    right = sum(max(share.get(name, 0) for share in shares) for name in set().union(*shares)) / 2
    if right >= _TELLING_SHARE:
        usual = {label: of.most_common(1)[0][0] for label, of in of_label.items()}
        yield Finding(
            MEND,
            f"The file format tells the label: real is mostly {usual['real']}, fake {usual['fake']}.",
            "A network may learn how a file was saved: save all the same way, or find others.",
        )


def _sizes(survey: Survey) -> Iterator[Finding]:
    small = sum(min(one.traits.width, one.traits.height) < _SMALL_PX for one in survey.kept)
    if small:
        yield Finding(
            LOOK,
            f"{number_of(small)} with a side of fewer than {_SMALL_PX} pixels.",
            "Fine traces are lost at that size; leave them out where there are enough others.",
        )


def _telling(survey: Survey) -> Iterator[Finding]:
    if not survey.leaks:
        few = f"Fewer than {MIN_PICTURES} pictures of a label, or of too few groups"
        yield Finding(LOOK, f"{few}: nothing can be said of what gives the label away.")
        return
    worst_first = sorted(survey.leaks, key=lambda leak: -leak.auc)
    for leak in worst_first[:_LEAKS_NAMED]:
        if leak.auc >= _TELLING_AUC:
            name, auc = max(leak.auc_by_feature.items(), key=lambda item: item[1])
            yield Finding(
                LOOK,
                f"Size, file and light alone tell real from fake, of {leak.real_source} against {leak.fake_source}: "
                f"AUC {leak.auc:.2f}, most of it by {name} ({auc:.2f}).",
                "A network may learn that instead of the forgery; what was saved and lit alike teaches more.",
            )
    if worst_first[0].auc < _TELLING_AUC:
        yield Finding(GOOD, f"Size, file and light tell little of the label: AUC {worst_first[0].auc:.2f} at most.")


_OF_FILES: tuple[Callable[[Survey], Iterator[Finding]], ...] = (_labels, _unreadable)
_OF_PICTURES = (_copies, _look_alikes, _balance, _splits, _sources, _room, _formats, _sizes, _telling)


def _left_to_merge(survey: Survey, what: str) -> str:
    return "Make the data set again from its raw folders." if survey.is_merged else what
