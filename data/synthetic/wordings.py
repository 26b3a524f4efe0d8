"""The motions' labels, and sentences that describe them.

Left and right are the person's own: when she faces the viewer and steps to her left, she moves to the right
of the picture.
"""

from collections.abc import Sequence

import numpy as np

SIDED_MOTIONS = {
    "step": (
        (
            "steps to {p} {s}",
            "takes a step to {p} {s}",
            "moves toward {p} {s} side",
            "moves to {p} {s}",
            "takes a side step to the {s}",
            "shifts over to {p} {s} side",
            "walks sideways to {p} {s}",
            "goes one step toward {p} {s} side",
            "steps aside to {p} {s}",
            "sidesteps toward {p} {s}",
            "makes a step toward {p} {s}",
        ),
        (
            "moves one step to {p} {s} side",
            "goes to {p} {s} with a side step",
            "shifts one step toward {p} {s}",
        ),
    ),
    "turn": (
        (
            "turns to {p} {s} and back",
            "turns {s} and returns to the front",
            "rotates to {p} {s} and comes back",
            "turns toward {p} {s} side, and back again",
            "swings round to {p} {s} and back",
            "shows {p} side by turning to the {s}, and returns",
            "turns {p} body to the {s} and back to the front",
            "makes a turn to {p} {s} and returns",
            "looks to {p} {s}, turning the whole body, and comes back",
            "rotates toward {p} {s} side and returns to the front",
            "pivots to {p} {s} and back",
        ),
        (
            "makes a turn toward {p} {s} side and comes back",
            "rotates {p} body to the {s} and back",
            "turns to the {s} side and returns",
        ),
    ),
    "raise_arm": (
        (
            "raises {p} {s} arm",
            "lifts {p} {s} arm",
            "puts {p} {s} arm up",
            "raises {p} {s} hand",
            "lifts {p} {s} hand up high",
            "brings {p} {s} arm up",
            "holds {p} {s} arm up in the air",
            "stretches {p} {s} arm upward",
            "moves {p} {s} arm up",
            "reaches up with {p} {s} hand",
            "waves with {p} {s} arm held up",
        ),
        (
            "lifts the {s} arm up in the air",
            "brings {p} {s} hand up high",
            "reaches up with the {s} arm",
        ),
    ),
    "hand_on_hip": (
        (
            "puts {p} {s} hand on {p} hip",
            "places {p} {s} hand on {p} hip",
            "rests {p} {s} hand on {p} hip",
            "lays {p} {s} hand on the hip",
            "brings {p} {s} hand to {p} hip",
            "sets {p} {s} hand on the hip",
            "poses with {p} {s} hand on {p} hip",
            "moves {p} {s} hand to the hip",
            "bends {p} {s} arm and puts the hand on the hip",
            "stands with {p} {s} hand on {p} hip",
            "holds {p} hip with {p} {s} hand",
        ),
        (
            "brings the {s} hand to rest on {p} hip",
            "places the {s} hand on the hip and poses",
            "bends {p} {s} arm, hand on {p} hip",
        ),
    ),
}

UNSIDED_MOTIONS = {
    "stand_sway": (
        (
            "stands and sways",
            "stands still and sways a little",
            "sways from side to side",
            "shifts {p} weight from one leg to the other",
            "stays in place, swaying",
            "stands there and moves only a little",
            "rocks gently from side to side",
            "stands in place and shifts {p} weight",
            "poses in place with a slight sway",
            "sways {p} hips while standing",
            "remains standing and sways",
        ),
        (
            "stays standing and rocks from side to side",
            "sways a little in place",
            "stands and shifts {p} weight from side to side",
        ),
    ),
    "walk_forward": (
        (
            "walks forward",
            "walks toward the viewer",
            "walks toward the camera",
            "comes closer",
            "takes a few steps forward",
            "moves forward",
            "comes toward the viewer",
            "walks to the front",
            "steps forward, toward the camera",
            "approaches the camera",
            "strides forward",
        ),
        (
            "comes forward a few steps",
            "moves toward the camera",
            "approaches the viewer",
        ),
    ),
    "turn_around": (
        (
            "turns around",
            "turns around and shows {p} back",
            "shows {p} back",
            "turns {p} back to the viewer",
            "turns to show the back of the outfit",
            "rotates until {p} back is seen",
            "spins around to show {p} back",
            "makes a half turn",
            "turns away from the camera",
            "turns all the way to the back",
            "faces away from the viewer",
        ),
        (
            "rotates to show {p} back",
            "makes a half turn away from the viewer",
            "turns around to show the back",
        ),
    ),
    "hands_on_hips": (
        (
            "puts both hands on {p} hips",
            "places {p} hands on {p} hips",
            "rests both hands on {p} hips",
            "lays {p} hands on {p} hips",
            "brings both hands to {p} hips",
            "sets {p} hands on the hips",
            "poses with {p} hands on {p} hips",
            "moves both hands to the hips",
            "bends both arms and puts the hands on the hips",
            "stands with both hands on {p} hips",
            "holds {p} hips with both hands",
        ),
        (
            "brings {p} hands to rest on the hips",
            "places both hands on the hips and poses",
            "bends both arms, hands on {p} hips",
        ),
    ),
}


def _expand() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    names = {
        "step": "step_{s}",
        "turn": "turn_{s}",
        "raise_arm": "raise_{s}_arm",
        "hand_on_hip": "{s}_hand_on_hip",
    }
    wordings: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = dict(UNSIDED_MOTIONS)
    for kind, (train, test) in SIDED_MOTIONS.items():
        for side in ("left", "right"):
            wordings[names[kind].format(s=side)] = (
                tuple(w.replace("{s}", side) for w in train),
                tuple(w.replace("{s}", side) for w in test),
            )
    return dict(sorted(wordings.items()))


WORDINGS = _expand()
"""Label -> (wordings for training, wordings kept for test); `{p}` stands for her, his or their."""

MOTIONS = tuple(WORDINGS)
"""All labels of single motions."""

SUBJECTS = {
    "woman": (
        ("She", "her"),
        ("The woman", "her"),
        ("This lady", "her"),
        ("The lady", "her"),
        ("This woman", "her"),
    ),
    "man": (
        ("He", "his"),
        ("The man", "his"),
        ("This man", "his"),
        ("The gentleman", "his"),
        ("This guy", "his"),
    ),
    "either": (("The model", "their"), ("The person", "their"), ("This person", "their")),
}
PRONOUNS = {"her": "she", "his": "he", "their": "the model"}
MANNERS = ("calmly", "gently", "smoothly", "gracefully", "now", "simply")
JOININGS = (
    "{S} {a} and then {b}.",
    "{S} {a}, then {b}.",
    "First {q} {a}, then {q} {b}.",
    "{S} {a} before {q} {b}.",
    "{S} {a}; after that, {q} {b}.",
    "After {q} {a}, {q} {b}.",
)


def sample_wording(
    motions: Sequence[str], rng: np.random.Generator, split: str = "train", gender: str | None = None
) -> str:
    """Draw a sentence for one motion or for a sequence of two.

    Args:
        motions: one or two labels of `MOTIONS`, in the order in which they happen.
        rng: what is drawn from.
        split: "train" draws from the wordings for training, "test" only from those kept for test.
        gender: "woman" or "man" for subjects that fit, "either" for ones that say neither; None draws woman
            or man.

    Returns:
        One sentence, such as "This lady moves toward her right side.".
    """
    assert split in ("train", "test"), split
    assert 1 <= len(motions) <= 2, motions
    gender = gender or ("woman", "man")[rng.integers(2)]
    subjects = SUBJECTS[gender] if rng.random() < 0.7 else SUBJECTS["either"]
    subject, possessive = subjects[rng.integers(len(subjects))]
    predicates = []
    for motion in motions:
        choices = WORDINGS[motion][split == "test"]
        predicates.append(choices[rng.integers(len(choices))].replace("{p}", possessive))
    if len(motions) == 1:
        manner = MANNERS[rng.integers(len(MANNERS))] + " " if rng.random() < 0.25 else ""
        return f"{subject} {manner}{predicates[0]}."
    joining = JOININGS[rng.integers(len(JOININGS))]
    text = joining.format(S=subject, q=PRONOUNS[possessive], a=predicates[0], b=predicates[1])
    return text[0].upper() + text[1:]
