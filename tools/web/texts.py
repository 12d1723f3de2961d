"""What the page and its reports say to people, in one place."""

from __future__ import annotations

from ...edge.results import FaceResult, FileResult

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
NO_FACE = "No face was found, so nothing can be said. A face should be at least a tenth of the picture's longer side."


FACE_FOR_SURE = 0.75
"""The finder's score below which what it takes for a face is often none: of a dog, a puppet, a drawing."""


def in_doubt(face: FaceResult) -> str:
    """Return how sure the finder is of a face."""
    return f"only {face.score:.0%} sure that this is a face"


def in_words(result: FileResult) -> str:
    """Return a verdict as a sentence for people who know nothing of scores."""
    faces = f" The most suspicious of {len(result.faces)} faces decides." if len(result.faces) > 1 else ""
    if result.faces and result.faces[0].score < FACE_FOR_SURE:
        faces += f" The finder of faces is {in_doubt(result.faces[0])}."
    if result.verdict == "error":
        return f"It could not be read: {result.error}."
    if result.verdict == "no_face":
        return NO_FACE
    if result.verdict == "uncertain":
        return f"{UNCERTAIN}{faces}"
    looks = "Looks fake" if result.verdict == "fake" else "Looks real"
    return f"{looks}: the probability of a fake is {result.p_fake:.1%}.{faces}"
