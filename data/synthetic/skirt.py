"""Skirts: a grid of points held at the waist, cut to a shape, that hangs over the legs as cloth."""

import numpy as np

from data.synthetic.accessories import ring_weights
from data.synthetic.cloth import THICKNESS, simulate
from data.synthetic.mesh import PARTS, Material, Mesh
from data.synthetic.person import Person
from data.synthetic.rig import BONE, skin
from data.synthetic.seams import nearest_seam
from data.synthetic.tights import Trunk, head_of, tights

NUM_COLUMNS = 96
ROW_HEIGHT = 0.2
SUBSTEPS = 14
SETTLE_SECONDS = 1.2
WAISTBAND = 0.36
"""Height of a skirt's waistband, in dm."""
LEG_PLACES = (0.12, 0.5, 1.0, 1.35, 2.0)
"""Where the colliders of a leg are measured: 0 is the hip, 1 the knee, 2 the ankle."""


class Skirt:
    """One skirt on one person.

    Attributes:
        mesh: the surface; `settle` and `step` give its vertices.
        hem: rest height of the hem in dm.
    """

    mesh: Mesh

    def __init__(
        self,
        person: Person,
        trunk: Trunk,
        *,
        name: str,
        part: str,
        material: Material,
        waist: float,
        hem: float,
        flare: float,
        fullness: float,
        taper: float,
        stiffness: float,
        offset: float,
        rng: np.random.Generator,
    ):
        """Cut a skirt.

        Args:
            person: who wears it.
            trunk: her outline, as `measure_trunk` gives it.
            name: of the mesh.
            part: of `PARTS`.
            material: of the fabric.
            waist: rest height of its upper edge in dm.
            hem: of its lower edge.
            flare: how much the radius grows, dm a dm of length below the hips.
            fullness: length of the cloth around over that of the outline; above 1 it falls in folds.
            taper: how much the radius shrinks from hips to hem, as a share.
            stiffness: against bending, 0 to 1.
            offset: of the waist from the skin, in dm.
            rng: draws the folds.
        """
        self.person = person
        self.hem = hem
        self.stiffness = stiffness
        # How far it twists at most, dm a dm that it hangs: narrow skirts are held by the legs.
        self.lag = 0.08 + 0.35 * flare + 0.3 * (fullness - 1)
        hips = float(head_of("upperleg01.L", person.heads)[1]) - 0.25
        count = max(8, round((waist - hem) / ROW_HEIGHT) + 1)
        heights = np.linspace(waist, hem, count)
        self.angles = np.arange(NUM_COLUMNS) * (2 * np.pi / NUM_COLUMNS)
        draped = trunk.draped(waist, hips)
        rows = np.maximum(heights, hips)
        radius = np.stack([draped.at(np.full(NUM_COLUMNS, y), self.angles) for y in rows]) + offset
        drop = np.clip((waist - heights) / max(waist - hips, 0.1), 0, 1)[:, None]
        below = np.maximum(hips + 0.6 * (waist - hips) - heights, 0)[:, None]
        radius = radius + flare * below + 0.04 * drop
        fall = np.clip((hips - heights) / max(hips - hem, 0.1), 0, 1)[:, None]
        radius = radius * (1 - taper * fall)
        depth = np.interp(rows, draped.heights, draped.depth)
        self.rest = np.stack(
            [
                radius * np.sin(self.angles),
                np.repeat(heights[:, None], NUM_COLUMNS, 1),
                depth[:, None] + radius * np.cos(self.angles),
            ],
            axis=-1,
        ).astype(np.float64)
        gather = np.clip((waist - heights) / max(0.35 * (waist - hem), 0.5), 0, 1)[:, None]
        self.full = 1 + (fullness - 1) * gather * np.ones_like(radius)
        self.folds = self._draw_folds(fullness, rng) * gather
        self._measure()
        firm = heights >= hips - 0.3
        self._hang(heights, int(firm.sum()))
        body = np.stack([draped.at(np.full(NUM_COLUMNS, y), self.angles) for y in rows[firm]]) + 0.01
        scale = (body / radius[firm])[..., None]
        axis = np.stack([0 * rows[firm], heights[firm], depth[firm]], axis=-1)[:, None]
        self.floor = axis + (self.rest[firm] - axis) * scale
        self._colliders = _leg_colliders(person)
        self.mesh = self._surface(name, part, material, waist)
        self.places = self.velocities = np.zeros(0)

    def _draw_folds(self, fullness: float, rng: np.random.Generator) -> np.ndarray:
        waves = np.zeros(NUM_COLUMNS)
        first = int(rng.integers(7, 11)) if fullness > 1.1 else int(rng.integers(4, 7))
        for number in (first, first + 1, first + 3, 2 * first - 1):
            waves += rng.uniform(0.4, 1) * np.cos(number * self.angles + rng.uniform(0, 2 * np.pi))
        return waves[None] / np.abs(waves).max() * (0.02 + 0.6 * (fullness - 1))

    def _measure(self) -> None:
        """Lengths of the cloth's threads at rest."""
        x, turned = self.rest, np.roll(self.rest, -1, axis=1)
        along = 0.5 * (self.full + np.roll(self.full, -1, axis=1))
        self.weft = np.linalg.norm(turned - x, axis=-1) * along
        self.warp = np.linalg.norm(x[1:] - x[:-1], axis=-1)
        # The cloth's own triangle, not the outline's: folds make it longer around.
        middle = 0.5 * (self.weft[1:] + self.weft[:-1])
        slant = np.abs(self.weft[1:] - self.weft[:-1]) / 2
        self.shear = np.sqrt(middle**2 + np.maximum(self.warp**2 - slant**2, 1e-6))
        self.hang = np.concatenate([np.zeros((1, NUM_COLUMNS)), np.cumsum(self.warp, axis=0)])

    def _hang(self, heights: np.ndarray, num_firm: int) -> None:
        """Which bones carry each row: those of the trunk at its height; below the hips, the pelvis."""
        bones, weights = ring_weights(self.person, heights)
        bones[num_firm:], weights[num_firm:] = BONE["root"], 0
        weights[num_firm:, 0] = 1
        self.bones, self.weights = (np.repeat(a, NUM_COLUMNS, axis=0) for a in (bones, weights))

    def _surface(self, name: str, part: str, material: Material, waist: float) -> Mesh:
        count = len(self.rest)
        index = np.arange(count * NUM_COLUMNS).reshape(count, NUM_COLUMNS)
        triangles = _corners(index, np.roll(index, -1, axis=1))
        along = np.concatenate([np.zeros((count, 1)), np.cumsum(self.weft, axis=1)], axis=1)
        quarter, half = NUM_COLUMNS // 4, NUM_COLUMNS // 2
        down = np.repeat(waist - self.hang.mean(1)[:, None], NUM_COLUMNS, 1)
        column = np.arange(NUM_COLUMNS)
        back = (column >= quarter) & (column < NUM_COLUMNS - quarter)
        right = column >= NUM_COLUMNS - quarter
        # Front and back are two panels, each measured from its middle; side seams join them.
        zero = np.where(back, along[:, half, None], np.where(right, along[:, -1, None], 0))
        start, end = along[:, :-1] - zero, along[:, 1:] - zero
        uv = np.stack([_corners(start, end), _corners(down, down)], axis=-1)
        # Sewn at both sides, and to a waistband or a bodice.
        band = np.repeat(self.hang.mean(1)[:, None], NUM_COLUMNS, 1) - (
            WAISTBAND if part == "lower" else 0.02
        )
        seams = [_corners(band, band)]
        for seam in (quarter, NUM_COLUMNS - quarter):
            seams.append(_corners(along[:, :-1] - along[:, [seam]], along[:, 1:] - along[:, [seam]]))
        return Mesh(
            name=name,
            triangles=triangles.astype(np.int32),
            uv=uv.astype(np.float32),
            material=material,
            parts=np.full(len(triangles), PARTS[part], np.uint8),
            edge=(self.hang[-1] - self.hang).reshape(-1).astype(np.float32),
            seam=nearest_seam(seams),
            blended=bool((material.texture[..., 3] < 0.99).any()),
        )

    def _carried(self, rest: np.ndarray, transforms: np.ndarray) -> np.ndarray:
        """Rows of the skirt, from the waist down, moved with the trunk alone."""
        flat = rest.reshape(-1, 3).astype(np.float32)
        moved = skin(flat, self.bones[: len(flat)], self.weights[: len(flat)], transforms)
        return moved.astype(np.float64).reshape(rest.shape)

    def _capsules(self, transforms: np.ndarray) -> np.ndarray:
        """(C, 8): two ends, two radii."""
        rows = []
        for bones, points, radii in self._colliders:
            places = [
                transforms[b, :, :3] @ p + transforms[b, :, 3] for b, p in zip(bones, points, strict=True)
            ]
            for i in range(len(places) - 1):
                rows.append([*places[i], *places[i + 1], radii[i], radii[i + 1]])
        return np.array(rows, np.float64)

    def settle(self, transforms: np.ndarray) -> np.ndarray:
        """Let it hang still in the first frame.

        Args:
            transforms: (B, 3, 4) of the bones.

        Returns:
            (V, 3) float32 vertices in the world.
        """
        x = self._carried(self.rest, transforms)
        center = x.mean(1, keepdims=True)
        away = x - center
        away[..., 1] = 0
        x[2:] += (away * self.folds[..., None])[2:]
        # Wide enough at first to have both legs inside, whatever the pose.
        length = np.linalg.norm(away, axis=-1) + 1e-9
        outward = away / length[..., None]
        ends = self._capsules(transforms)
        share = np.linspace(0, 1, 8)[:, None, None]
        points = (ends[None, :, :3] * (1 - share) + ends[None, :, 3:6] * share).reshape(-1, 3)
        radii = (ends[None, :, 6] * (1 - share[..., 0]) + ends[None, :, 7] * share[..., 0]).reshape(-1)
        for row in range(2, len(x)):
            near = np.abs(points[:, 1] - center[row, 0, 1]) < 0.7
            reach = (outward[row] @ (points[near] - center[row]).T + radii[near]).max(
                1, initial=0
            ) + 2 * THICKNESS
            x[row] += outward[row] * np.maximum(reach - length[row], 0)[:, None]
        self.places, self.velocities = x, np.zeros_like(x)
        self.before = self._state(transforms)
        for _ in range(round(SETTLE_SECONDS * 15)):
            self._advance(self.before, 1 / 15, 4.0)
        return self._vertices()

    def step(self, transforms: np.ndarray, seconds: float) -> np.ndarray:
        """Move on to the next frame.

        Args:
            transforms: (B, 3, 4) of the bones.
            seconds: since the last frame.

        Returns:
            (V, 3) float32 vertices in the world.
        """
        self._advance(self._state(transforms), seconds, 1.3)
        return self._vertices()

    def _vertices(self) -> np.ndarray:
        return self.places.reshape(-1, 3).astype(np.float32)

    def _state(self, transforms: np.ndarray) -> tuple[np.ndarray, ...]:
        carried, floor = (self._carried(rest, transforms) for rest in (self.rest, self.floor))
        return carried, self._capsules(transforms), floor

    def _advance(self, after: tuple[np.ndarray, ...], seconds: float, drag: float) -> None:
        steps = max(4, round(SUBSTEPS * seconds * 15))
        simulate(
            self.places, self.velocities, self.before[0], after[0], self.before[1], after[1],
            self.before[2], after[2],
            self.weft, self.warp, self.shear, self.hang, self.stiffness, self.lag, drag,
            steps, seconds / steps,
        )  # fmt: skip
        self.before = after


def _corners(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(T, 3) values at the triangles' corners, from (R, C) values at the left and right of each column."""
    a, b, c, d = start[:-1], end[:-1], start[1:], end[1:]
    pairs = (np.stack([a, c, b], -1), np.stack([b, c, d], -1))
    return np.concatenate([pair.reshape(-1, 3) for pair in pairs])


def _leg_colliders(person: Person) -> list[tuple[list[int], list[np.ndarray], list[float]]]:
    """For each leg the bones, rest points and radii of its chain of capsules."""
    shell = tights()
    points = shell.place(person.vertices)
    chains = []
    for side, sign in (("L", 1), ("R", -1)):
        hip, knee, ankle = (
            head_of(f"{b}.{side}", person.heads) for b in ("upperleg01", "lowerleg01", "foot")
        )
        mine = points[(shell.side == sign) & (shell.leg > 0.5)]
        bones, middles, radii = [], [], []
        for place in LEG_PLACES:
            axis = hip + (knee - hip) * place if place < 1 else knee + (ankle - knee) * (place - 1)
            slab = mine[np.abs(mine[:, 1] - max(axis[1], ankle[1] + 0.3)) < 0.2][:, [0, 2]]
            if place < 0.3:
                slab = slab[np.abs(slab[:, 0]) > 0.15]
            low, high = slab.min(0), slab.max(0)
            middle = (low + high) / 2
            bones.append(BONE[f"upperleg01.{side}"] if place <= 1 else BONE[f"lowerleg01.{side}"])
            middles.append(np.array([middle[0], axis[1], middle[1]]))
            radius = float(np.percentile(np.hypot(*(slab - middle).T), 88))
            radii.append(min(radius, (high[0] - low[0]) / 2) if place < 1 else radius)
        chains.append((bones, middles, radii))
    return chains
