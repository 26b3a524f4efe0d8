"""Maps from one pose of a limb to another: chains of segments, each stretched along and scaled across."""

import dataclasses

import numpy as np

SMALLEST_SEGMENT = 0.04  # torso lengths: a limb that points at the viewer still has a direction and a length


@dataclasses.dataclass(frozen=True)
class Chain:
    """A limb as points joined by straight segments.

    Attributes:
        starts: (n, 2) pixels.
        along: (n, 2) unit vectors from a segment's start to its end.
        lengths: (n,) pixels, above 0.
    """

    starts: np.ndarray
    along: np.ndarray
    lengths: np.ndarray

    @classmethod
    def through(cls, points: np.ndarray, body_length: float) -> "Chain":
        """Join (n + 1, 2) points; one without a length takes the direction before it (downward at first)."""
        starts = np.asarray(points[:-1], np.float32)
        vectors = np.diff(points, axis=0)
        lengths = np.hypot(vectors[:, 0], vectors[:, 1])
        along = np.empty_like(vectors)
        direction = np.array([0.0, 1.0])
        for i, (vector, length) in enumerate(zip(vectors, lengths, strict=True)):
            if length > 1e-3 * body_length:
                direction = vector / length
            along[i] = direction
        smallest = SMALLEST_SEGMENT * body_length
        return cls(starts, along.astype(np.float32), np.maximum(lengths, smallest).astype(np.float32))

    @property
    def across(self) -> np.ndarray:
        """(n, 2) unit vectors, to the viewer's right of a segment that points down."""
        return np.stack([self.along[:, 1], -self.along[:, 0]], axis=1)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where pixels are in a chain's own terms; n segments, any shape of pixels.

    Attributes:
        along: (n, ...) pixels from each segment's start.
        across: (n, ...) pixels off each segment's line.
        distance: (n, ...) pixels to each segment.
    """

    along: np.ndarray
    across: np.ndarray
    distance: np.ndarray

    def weights(self, temperature: float) -> np.ndarray:
        """(n, ...) softmin over the segments' distances; `temperature` in pixels."""
        weights = np.exp((self.distance.min(axis=0) - self.distance) / temperature)
        return weights / weights.sum(axis=0)

    def position(self, chain: Chain, weights: np.ndarray) -> np.ndarray:
        """Place along the chain: 0 at its start, 1 where its first segment ends, and so on; also outside."""
        position = np.zeros_like(self.along[0])
        last = len(chain.lengths) - 1
        for i, length in enumerate(chain.lengths):
            share = self.along[i] / length
            position += weights[i] * (i + np.clip(share, None if i == 0 else 0, None if i == last else 1))
        return position

    def offset(self, weights: np.ndarray) -> np.ndarray:
        """Pixels off the chain, blended over its segments."""
        return np.einsum("n...,n...->...", weights, self.across)


def locate(chain: Chain, x: np.ndarray, y: np.ndarray) -> Place:
    """Express pixels (float32 arrays of one shape) in a chain's terms."""
    extra = (1,) * x.ndim

    def spread(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, *extra)

    dx, dy = x - spread(chain.starts[:, 0]), y - spread(chain.starts[:, 1])
    ex, ey = spread(chain.along[:, 0]), spread(chain.along[:, 1])
    along, across = dx * ex + dy * ey, dx * ey - dy * ex
    beyond = along - np.clip(along, 0, spread(chain.lengths))
    return Place(along, across, np.sqrt(beyond**2 + across**2))


def carry(
    place: Place,
    here: Chain,
    there: Chain,
    weights: np.ndarray,
    scale: float,
    shift: np.ndarray | None = None,
    flip: bool = False,
    round_joints: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of one pose to where they lie in another.

    Along a segment distances are stretched with it; across it and beyond its ends they change by `scale`
    only, since a foreshortened arm is as thick as ever.

    Args:
        place: the pixels in terms of `here`.
        here: the chain in the pose the pixels are of.
        there: the chain in the other pose.
        weights: (n, ...) of the segments, summing to 1.
        scale: size of the person there over the size here.
        shift: (...) extra pixels across, there.
        round_joints: whether the wedge outside a bend opens and closes with it, so that a straight elbow's
            pixels are not stretched around a bent one's corner.
        flip: whether what was on one side of the chain lies on the other side there.

    Returns:
        x and y there, float32.
    """
    x, y = np.zeros_like(place.along[0]), np.zeros_like(place.along[0])
    across_there = there.across
    last = len(here.lengths) - 1
    for i in range(last + 1):
        inside = np.clip(place.along[i], 0, here.lengths[i])
        beyond, across = place.along[i] - inside, place.across[i]
        if round_joints and i < last:
            beyond, across = _bend(beyond, across, 1, *_bends(here, there, i, flip))
        if round_joints and i > 0:
            beyond, across = _bend(beyond, across, -1, *_bends(here, there, i - 1, flip))
        along = inside * (there.lengths[i] / here.lengths[i]) + beyond * np.float32(scale)
        across = across * np.float32(-scale if flip else scale)
        if shift is not None:
            across = across + shift
        x += weights[i] * (there.starts[i, 0] + along * there.along[i, 0] + across * across_there[i, 0])
        y += weights[i] * (there.starts[i, 1] + along * there.along[i, 1] + across * across_there[i, 1])
    return x, y


def _bends(here: Chain, there: Chain, joint: int, flip: bool) -> tuple[float, float]:
    """Angles by which a joint is bent here and, at most half as much again, to the same side there."""
    bends = []
    for chain in (here, there):
        (ax, ay), (bx, by) = chain.along[joint], chain.along[joint + 1]
        bends.append(float(np.arctan2(ax * by - ay * bx, ax * bx + ay * by)))
    bend = bends[0]
    share = (-bends[1] if flip else bends[1]) / bend if abs(bend) > 1e-3 else 1.0
    return bend, bend * float(np.clip(share, 0, 1.5))


def _bend(
    beyond: np.ndarray, across: np.ndarray, end: int, bend: float, bend_there: float
) -> tuple[np.ndarray, np.ndarray]:
    """Turn pixels beyond a joint about it, as if its bend were `bend_there`.

    Angles count from straight across on the outside of the bend. Up to `bend` lies the wedge that the bend
    opens, which is widened or closed; what follows is beside the next segment and turns with it.

    Args:
        beyond: (...) pixels beyond the segment, positive at its end, negative at its start.
        across: (...) pixels off its line.
        end: 1 for the joint at its end, -1 for that at its start.
        bend: radians.
        bend_there: radians, of the same sign or 0.
    """
    where = beyond * end > 0
    if bend == bend_there or not where.any():
        return beyond, across
    outside = 1.0 if bend > 0 else -1.0
    radius = np.hypot(beyond[where], across[where])
    angle = np.arctan2(np.abs(beyond[where]), outside * across[where])
    share = np.float32(bend_there / bend)
    angle = np.where(angle < abs(bend), share * angle, angle + np.float32(abs(bend_there) - abs(bend)))
    beyond, across = beyond.copy(), across.copy()
    beyond[where] = end * radius * np.sin(angle)
    across[where] = outside * radius * np.cos(angle)
    return beyond, across
