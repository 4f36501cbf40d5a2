"""Seeing without a graphics card: MuJoCo's CPU ray caster finds what each ray hits, numpy shades it.

Four rays a pixel. What stands still is cast once and kept; only rays inside the bounding cones of moving things, seen
from the camera or from a lamp, are cast again. Rays lie in memory pixel by pixel, so a pixel is the mean of four rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.rendering.optics import SAMPLES, ambient, average, dot, focal_px, from_lamp, lens, pixels, pose, sky
from data_prep.physics.rendering.rays import RayCaster
from data_prep.physics.rendering.textures import darkening
from data_prep.physics.scenes import Format, Scene
from data_prep.physics.world import ALONE, BACKDROP, FIXED, MOVING, Puppets

GLOSS = 40
LONG_FRAMES = 4  # a screen that rests so long is worth caching


@dataclass
class View:
    """One frame: what a viewer sees, and what only the truth knows. Ids are indices of the scene's things, -1 for sky."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    thing: NDArray[np.int32]  # [H, W]
    depth_m: NDArray[np.float32]  # [H, W], inf for sky
    visible_px: NDArray[np.int64]  # [O], pixels of which at least one ray hits the thing
    unoccluded_px: NDArray[np.int64]  # [O], the same if nothing stood before it


@dataclass
class _Still:
    """What stands still, seen and lit, for one pose of camera and lamps. R rays, L lamps."""

    geom: NDArray[np.int32]  # [R], -1 for sky
    distance_m: NDArray[np.float64]  # [R], inf for sky
    dim: NDArray[np.float32]  # [R, 3], in ambient light alone
    gain: NDArray[np.float32]  # [R, 3], what one full lamp adds
    lit: NDArray[np.float32]  # [L, R], cosine towards each lamp, 0 in shadow
    points: NDArray[np.int64]  # [K], the rays whose points some lamp reaches
    from_middle: NDArray[np.float32]  # [3, K], unit directions to them from the middle of the lamps
    from_lamp: NDArray[np.float64]  # [L, K, 3]
    reach_m: NDArray[np.float64]  # [L, K]
    farthest_m: float  # of them all, from the middle
    rgb: NDArray[np.float32]  # [R, 3]
    picture: NDArray[np.uint8]  # [P, 3]


class RayCamera:
    """Takes the frames of one scene. `see(frame)` is a pure function of the scene, its track and the frame."""

    def __init__(self, scene: Scene, puppets: Puppets, film: Format) -> None:
        self._scene, self._puppets, self._film = scene, puppets, film
        self._model, self._data = puppets.model, puppets.data
        self._caster = RayCaster(self._model, self._data)
        self._thing_of = np.full(self._model.ngeom + 1, -1, np.int32)  # one more: geom -1 is the sky
        self._thing_of[puppets.geoms] = np.arange(len(scene.things))
        self._objects = [index for index, thing in enumerate(scene.things) if thing.object]
        self._colour = np.array([scene.things[self._thing_of[g]].colour_rgb for g in range(self._model.ngeom)], np.float32)
        self._glossy = np.array([scene.things[self._thing_of[g]].motion == "free" for g in range(self._model.ngeom)])
        self._drifts = any(scene.camera.drift_m) or any(scene.light.drift_m)
        self._lens, self._cosine = lens(film.size_px, scene.camera.fov_deg)
        self._sky = sky(scene, film.size_px)
        self._pixel_rad = 1 / focal_px(scene.camera, film)
        self._alone_px: dict[int, int] = {}
        self._stills: dict[tuple[float, ...] | int | None, _Still] = {}
        self._scripted = puppets.geoms[[index for index, thing in enumerate(scene.things) if thing.motion == "scripted"]]
        self._lasting = Counter(puppets.script(frame) for frame in range(film.frames))

    def see(self, frame: int) -> View:
        """Pose the scene at a frame and look."""
        self._puppets.pose(frame)
        still = self._still = self._settle(frame)
        rays, geom, distance, normal, met = self._look_at_moving()
        dark_rays, dark_rgb = self._darken_shadows(still)
        picture, hit = still.picture, still.geom
        if len(rays) or len(dark_rays):
            rgb, picture, hit = still.rgb.copy(), picture.copy(), hit.copy()
            rgb[dark_rays] = dark_rgb
            rgb[rays] = self._shade(rays, geom, distance, normal)
            hit[rays] = geom
            changed = np.zeros(len(picture), bool)
            changed[rays // SAMPLES] = True
            changed[dark_rays // SAMPLES] = True
            picture[changed] = average(rgb.reshape(-1, SAMPLES, 3)[changed])
        size = self._film.size_px
        # the last of a pixel's four rays speaks for it in segmentation and depth
        speaker = slice(SAMPLES - 1, None, SAMPLES)
        depth = still.distance_m[speaker] * self._cosine[speaker]
        chosen = rays % SAMPLES == SAMPLES - 1
        depth[rays[chosen] // SAMPLES] = distance[chosen] * self._cosine[rays[chosen]]
        return View(
            rgb=picture.reshape(size, size, 3),
            thing=self._thing_of[hit[speaker]].reshape(size, size),
            depth_m=depth.reshape(size, size).astype(np.float32),
            visible_px=self._visible(hit),
            unoccluded_px=self._unoccluded(met),
        )

    def _settle(self, frame: int) -> _Still:
        """What stands still at a frame: screens too where they rest for long, or where all is cast anew anyhow."""
        script = self._puppets.script(frame)
        rests = self._drifts or self._lasting[script] >= LONG_FRAMES
        self._model.geom_group[self._scripted] = FIXED if rests else MOVING
        self._home_group = self._model.geom_group.copy()
        self._moving = np.nonzero(self._home_group == MOVING)[0]
        key = frame if self._drifts else script if rests else None
        if key not in self._stills:
            if self._drifts:
                self._stills.clear()
            self._stills[key] = self._stand(frame)
        return self._stills[key]

    def _stand(self, frame: int) -> _Still:
        """Cast and light what stands still, as it looks from where camera and lamps are at a frame."""
        scene, film = self._scene, self._film
        self._eye, axes = pose(scene.camera, frame, film)
        # not a matrix product: BLAS would wake threads that then spin beside the workers
        self._rays = np.einsum("rj,ij->ri", self._lens, axes)
        four = self._rays.reshape(-1, SAMPLES, 3)
        middles = four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3]
        self._middles = np.ascontiguousarray((middles / np.sqrt(dot(middles, middles))[:, None]).T, np.float32)
        along = frame / max(film.frames - 1, 1)
        centre = np.asarray(scene.light.position_m) + along * np.asarray(scene.light.drift_m)
        half = scene.light.side_m / 2
        self._lamps = [centre + np.array([sx * half, sy * half, 0.0]) for sx in (-1, 1) for sy in (-1, 1)]
        geom, distance, normal = self._caster.cast(self._eye, self._rays, FIXED, BACKDROP)
        seen = np.nonzero(geom >= 0)[0]
        points = self._eye + distance[seen, None] * self._rays[seen]
        albedo = self._albedo(geom[seen], points)
        dim = self._sky.copy()
        dim[seen] = albedo * ambient(scene, normal[seen])[:, None]
        gain = np.zeros_like(dim)
        gain[seen] = albedo * np.float32(scene.light.diffuse / len(self._lamps))
        lit = np.zeros((len(self._lamps), len(dim)), np.float32)
        casters = np.nonzero(self._home_group == FIXED)[0]
        directions, reaches = [], []
        for number, lamp in enumerate(self._lamps):
            direction, reach, cosine = from_lamp(lamp, points, normal[seen])
            asked = np.nonzero(self._caster.in_cones(lamp, direction.T.astype(np.float32), casters))[0]
            shadow = self._caster.in_shadow(lamp, direction[asked], reach[asked], (FIXED,))
            cosine[asked[shadow]] = 0
            lit[number, seen] = np.maximum(cosine, 0)
            directions.append(direction)
            reaches.append(reach)
        open_ = np.nonzero(lit[:, seen].any(0))[0]
        from_middle, far, _ = from_lamp(centre, points[open_], normal[seen[open_]])
        self._middle = centre
        rgb = dim + gain * lit.sum(0)[:, None]
        self._alone_px = {}
        return _Still(
            geom=geom,
            distance_m=np.where(geom >= 0, distance, np.inf),
            dim=dim,
            gain=gain,
            lit=lit,
            points=seen[open_],
            from_middle=np.ascontiguousarray(from_middle.T, np.float32),
            from_lamp=np.stack([direction[open_] for direction in directions]),
            reach_m=np.stack([reach[open_] for reach in reaches]),
            farthest_m=float(far.max(initial=1.0)),
            rgb=rgb,
            picture=average(rgb.reshape(-1, SAMPLES, 3)),
        )

    def _look_at_moving(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Rays that meet a moving thing before anything that stands still: their numbers, geoms, distances, normals.

        Last comes how many pixels each geom [G] covers among moving things alone.
        """
        met = np.zeros(self._model.ngeom, np.int64)
        rays = self._seen_in_cones(self._moving)
        geom, distance, normal = self._caster.cast(self._eye, self._rays[rays], MOVING)
        for index in self._objects:
            mine = self._puppets.geoms[index]
            met[mine] = pixels(rays[geom == mine])
        first = (geom >= 0) & (distance < self._still.distance_m[rays])
        return rays[first], geom[first], distance[first], normal[first], met

    def _darken_shadows(self, still: _Still) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rays to still points that a moving thing now shades, and their colours."""
        # first the rays from the lamps' middle, for cones wide enough for every lamp; then each lamp for those left
        near = np.nonzero(
            self._caster.in_cones(
                self._middle,
                still.from_middle,
                self._moving,
                spread_m=self._scene.light.side_m * 0.7072,
                farthest_m=still.farthest_m,
            )
        )[0]
        rays = still.points[near]
        lit = still.lit[:, rays]
        dark = np.zeros(lit.shape, bool)
        for number, lamp in enumerate(self._lamps):
            direction = still.from_lamp[number, near]
            inside = self._caster.in_cones(lamp, direction.T.astype(np.float32), self._moving) & (lit[number] > 0)
            asked = np.nonzero(inside)[0]
            shadow = self._caster.in_shadow(lamp, direction[asked], still.reach_m[number, near[asked]], (MOVING,))
            dark[number, asked[shadow]] = True
        shaded = dark.any(0)
        left = np.where(dark[:, shaded], 0, lit[:, shaded]).sum(0)
        rays = rays[shaded]
        return rays, still.dim[rays] + still.gain[rays] * left[:, None]

    def _shade(
        self, rays: NDArray[np.int64], geom: NDArray[np.int32], distance: NDArray[np.float64], normal: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        light = self._scene.light
        view = self._rays[rays]
        points = self._eye + distance[:, None] * view
        albedo = self._albedo(geom, points)
        lit = np.zeros(len(rays), np.float32)
        shine = np.zeros(len(rays), np.float32)
        for lamp in self._lamps:
            direction, reach, cosine = from_lamp(lamp, points, normal)
            open_ = cosine > 0
            facing = np.nonzero(open_)[0]
            open_[facing] = ~self._caster.in_shadow(lamp, direction[facing], reach[facing], (FIXED, MOVING))
            half = -(direction + view)
            half /= np.sqrt(dot(half, half))[:, None]
            lit += np.where(open_, cosine, 0) / len(self._lamps)
            shine += np.where(open_, np.maximum(dot(half, normal), 0) ** GLOSS, 0) / len(self._lamps)
        colour = albedo * (ambient(self._scene, normal) + np.float32(light.diffuse) * lit)[:, None]
        gloss = (np.float32(light.specular) * np.where(self._glossy[geom], shine, 0))[:, None]
        return colour + gloss * (1 - colour)  # a highlight goes towards white and never past it

    def _albedo(self, geom: NDArray[np.int32], points: NDArray[np.float64]) -> NDArray[np.float32]:
        colour = self._colour[geom]
        for number in np.unique(geom):
            texture = self._scene.things[self._thing_of[number]].texture
            if texture is None:
                continue
            mine = np.nonzero(geom == number)[0]
            x, y, z = (points[mine] - self._data.geom_xpos[number]).T
            turn = self._data.geom_xmat[number].reshape(3, 3)
            # written out: a matrix product may round a row by where it stands among the others
            local = np.stack([x * turn[0, axis] + y * turn[1, axis] + z * turn[2, axis] for axis in range(3)], axis=1)
            dark = darkening(texture.pattern, local, texture.per_m)
            colour[mine] *= (1 - np.float32(texture.amount) * dark)[:, None]
        return colour

    def _visible(self, hit: NDArray[np.int32]) -> NDArray[np.int64]:
        counts = np.zeros(len(self._scene.things), np.int64)
        for index in self._objects:
            counts[index] = pixels(np.nonzero(hit == self._puppets.geoms[index])[0])
        return counts

    def _unoccluded(self, met: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = np.zeros(len(self._scene.things), np.int64)
        for index in self._objects:
            geom = int(self._puppets.geoms[index])
            if self._home_group[geom] != MOVING:
                if index not in self._alone_px:
                    self._alone_px[index] = self._alone(geom)
                counts[index] = self._alone_px[index]
            else:
                counts[index] = self._alone(geom) if self._overlapped(geom) else met[geom]
        return counts

    def _alone(self, geom: int) -> int:
        """Pixels a geom would cover with nothing before it."""
        rays = self._seen_in_cones([geom])
        self._model.geom_group[geom] = ALONE
        hit, _, _ = self._caster.cast(self._eye, self._rays[rays], ALONE)
        self._model.geom_group[geom] = self._home_group[geom]
        return pixels(rays[hit >= 0])

    def _overlapped(self, geom: int) -> bool:
        """Whether another moving thing's bounding cone meets this one's."""
        towards = self._data.geom_xpos[self._moving] - self._eye
        reach = np.sqrt(dot(towards, towards))
        width = np.arcsin(np.minimum(self._model.geom_rbound[self._moving] / reach, 1))
        mine = int(np.nonzero(self._moving == geom)[0][0])
        between = np.arccos(np.clip((towards / reach[:, None]) @ (towards[mine] / reach[mine]), -1, 1))
        meets = between < width + width[mine]
        meets[mine] = False
        return bool(meets.any())

    def _seen_in_cones(self, geoms: Iterable[int]) -> NDArray[np.int64]:
        """Camera rays that may meet one of these geoms: whole pixels, judged by their middles."""
        near = np.nonzero(self._caster.in_cones(self._eye, self._middles, geoms, margin_rad=0.75 * self._pixel_rad))[0]
        return (near[:, None] * SAMPLES + np.arange(SAMPLES)).ravel()
