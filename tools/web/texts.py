"""What the page and its reports say to people, in one place."""

from __future__ import annotations

from ...edge.results import DOUBTS, FileResult, not_judged

LIMITS = (
    "A verdict is evidence, not proof. The network knows the kinds of fakes it was trained on; what another program "
    "made, it often takes for real. Small, blurred, filtered or heavily made-up faces mislead it, and some real faces "
    "are called fake. It looks at faces alone: it can not tell whether a picture is staged, old, out of context or "
    "described wrongly. Never accuse anybody because of it; look for the source of the picture."
)

DEEPFAKES = """
### What deepfakes are

Pictures and videos of people in which a program has put another face, moved the lips to other words, or invented a
person who does not exist. Three families matter here:

- **Face swaps**: one person's face in another's video.
- **Invented faces**: generators such as StyleGAN or diffusion models draw people from nothing.
- **Edits**: make-up filters, ageing, other expressions. This tool is not trained on these.

### What gives them away

Mostly what no eye sees: traces of the generator in fine detail, edges where a face was pasted, blur that does not fit
its surroundings. Saving a picture again, shrinking it or sending it through a messenger wipes out some of that.
"""

UNCERTAIN = "Uncertain: the score lies between what real and what fake faces usually get. Ask for a better picture."
NO_FACE = (
    "No face that can be judged was found, so nothing can be said. Faces that are very small or covered are missed."
)


def in_words(result: FileResult) -> str:
    """Return a verdict as a sentence for people who know nothing of scores."""
    if result.verdict == "error":
        return f"It could not be read: {result.error}."
    left_out = f" Not counted: {not_judged(result)}." if not_judged(result) else ""
    if result.deciding_face is None:
        return f"{NO_FACE}{left_out}"
    deciding = sum(face.may_decide for face in result.faces)
    faces = f" The most suspicious of {deciding} faces decides.{left_out}" if deciding > 1 else left_out
    doubt = result.faces[result.deciding_face].doubt
    if doubt:
        return f"Uncertain: the face is {DOUBTS[doubt]}. Ask for a better picture.{faces}"
    if result.verdict == "uncertain":
        return f"{UNCERTAIN}{faces}"
    looks = "Looks fake" if result.verdict == "fake" else "Looks real"
    return f"{looks}: the probability of a fake is {result.p_fake:.1%}.{faces}"
