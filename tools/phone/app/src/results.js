// What a face result means for a picture, as edge/results.py has it. A face result is { pFake, verdict, doubt, ... }: doubt
// is null, "may_not_be_a_face", "too_small" (then pFake is null) or "not_frontal"; with one, the verdict is uncertain.

const SUSPICION = ["real", "uncertain", "fake"]; // the most suspicious last

/** Tells whether the picture's verdict may be that of this face. */
export const mayDecide = ({ doubt }) => doubt === null || doubt === "not_frontal";

/** Returns the verdict that a probability means. */
export const verdictOf = (pFake, { real, fake }) => (pFake >= fake ? "fake" : pFake <= real ? "real" : "uncertain");

/** Orders faces: those that may decide first, the most suspicious of them at the head. */
export function bySuspicion(one, other) {
  return mayDecide(other) - mayDecide(one) || rank(other) - rank(one) || other.pFake - one.pFake;
}

const rank = ({ verdict }) => SUSPICION.indexOf(verdict);
