"""The camera: MuJoCo's ray caster finds what each ray hits, and numpy shades it, on the CPU.

There are four rays per pixel. What does not move is cast once and cached. For each frame, only rays
inside the bounding cones of moving entities, seen from the camera or from a lamp, are cast again.
Rays lie in memory pixel by pixel, so a pixel is the mean of four consecutive rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.rendering.layers import MovingHits, StaticLayer
from data_prep.physics.worlds.builtin.rendering.optics import (
    SAMPLES,
    ambient,
    average,
    dot,
    focal_px,
    from_lamp,
    lens,
    pixels,
    pose,
    sky,
)
from data_prep.physics.worlds.builtin.rendering.rays import RayCaster
from data_prep.physics.worlds.builtin.rendering.shading import Shader
from data_prep.physics.worlds.builtin.scenes import Scene
from data_prep.physics.worlds.builtin.simulation import BACKDROP, FIXED, ISOLATED, MOVING, PosedModel

MIN_CACHED_FRAMES = 4  # a position of the screens that lasts for at least this many frames is cached


@dataclass(frozen=True)
class RenderedFrame:
    """One frame with its ground truth.

    Entities are given by their index in the scene, -1 is the sky.
    """

    rgb: NDArray[np.uint8]  # [H, W, 3]
    entity: NDArray[np.int32]  # [H, W]
    depth_m: NDArray[np.float32]  # [H, W], inf for the sky
    visible_px: NDArray[np.int64]  # [O], pixels of which at least one ray hits the entity
    unoccluded_px: NDArray[np.int64]  # [O], the same if nothing were in front of the entity


class RayCamera:
    """Renders the frames of one scene.

    A frame is a pure function of the scene, its trajectory and the number of the frame.
    """

    def __init__(self, scene: Scene, posed: PosedModel, video: VideoFormat) -> None:
        self._scene, self._posed, self._video = scene, posed, video
        self._model, self._data = posed.model, posed.data
        self._caster = RayCaster(self._model, self._data)
        self._entity_of = np.full(self._model.ngeom + 1, -1, np.int32)  # one more, since geom -1 is the sky
        self._entity_of[posed.geoms] = np.arange(len(scene.entities))
        self._shader = Shader(scene, self._data, self._caster, self._entity_of)
        self._objects = [index for index, entity in enumerate(scene.entities) if entity.is_object]
        self._drifts = any(scene.camera.drift_m) or any(scene.light.drift_m)
        self._lens, self._cosine = lens(video.size_px, scene.camera.fov_deg)
        self._sky = sky(scene, video.size_px)
        self._pixel_rad = 1 / focal_px(scene.camera, video)
        self._isolated_px: dict[int, int] = {}
        self._layers: dict[tuple[float, ...] | int | None, StaticLayer] = {}
        self._scripted = posed.geoms[[index for index, entity in enumerate(scene.entities) if entity.motion == "scripted"]]
        self._frames_at = Counter(posed.scripted_positions(frame) for frame in range(video.frames))

    def render(self, frame: int) -> RenderedFrame:
        """Render one frame with its ground truth."""
        self._posed.pose(frame)
        layer = self._layer = self._static_layer(frame)
        hits = self._cast_moving()
        shadow_rays, shadow_rgb = self._moving_shadows(layer)
        picture, geom = layer.picture, layer.geom
        if len(hits.rays) or len(shadow_rays):
            rgb, picture, geom = layer.rgb.copy(), picture.copy(), geom.copy()
            rgb[shadow_rays] = shadow_rgb
            view = self._rays[hits.rays]
            rgb[hits.rays] = self._shader.shade(self._eye, view, hits.geom, hits.distance_m, hits.normal, self._lamps)
            geom[hits.rays] = hits.geom
            changed = np.zeros(len(picture), bool)
            changed[hits.rays // SAMPLES] = True
            changed[shadow_rays // SAMPLES] = True
            picture[changed] = average(rgb.reshape(-1, SAMPLES, 3)[changed])
        size = self._video.size_px
        # segmentation and depth of a pixel are those of the last of its four rays
        last = slice(SAMPLES - 1, None, SAMPLES)
        depth = layer.distance_m[last] * self._cosine[last]
        is_last = hits.rays % SAMPLES == SAMPLES - 1
        depth[hits.rays[is_last] // SAMPLES] = hits.distance_m[is_last] * self._cosine[hits.rays[is_last]]
        return RenderedFrame(
            rgb=picture.reshape(size, size, 3),
            entity=self._entity_of[geom[last]].reshape(size, size),
            depth_m=depth.reshape(size, size).astype(np.float32),
            visible_px=self._visible_px(geom),
            unoccluded_px=self._unoccluded_px(hits.covered_px),
        )

    def _static_layer(self, frame: int) -> StaticLayer:
        """The cached layer of a frame.

        Screens belong to it where they rest for long, or where nothing can be cached.
        """
        positions = self._posed.scripted_positions(frame)
        is_static = self._drifts or self._frames_at[positions] >= MIN_CACHED_FRAMES
        self._model.geom_group[self._scripted] = FIXED if is_static else MOVING
        self._groups = self._model.geom_group.copy()
        self._moving = np.nonzero(self._groups == MOVING)[0]
        key = frame if self._drifts else positions if is_static else None
        if key not in self._layers:
            if self._drifts:
                self._layers.clear()
            self._layers[key] = self._render_static(frame)
        return self._layers[key]

    def _render_static(self, frame: int) -> StaticLayer:
        """Cast and light what does not move, with camera and lamps where they are at a frame."""
        scene, video = self._scene, self._video
        self._eye, axes = pose(scene.camera, frame, video)
        # einsum instead of a matrix product: BLAS would start threads, which compete with the
        # worker processes
        self._rays = np.einsum("rj,ij->ri", self._lens, axes)
        four = self._rays.reshape(-1, SAMPLES, 3)
        sums = four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3]
        self._pixel_rays = np.ascontiguousarray((sums / np.sqrt(dot(sums, sums))[:, None]).T, np.float32)
        progress = frame / max(video.frames - 1, 1)
        centre = np.asarray(scene.light.position_m) + progress * np.asarray(scene.light.drift_m)
        half = scene.light.side_m / 2
        self._lamps = [centre + np.array([sx * half, sy * half, 0.0]) for sx in (-1, 1) for sy in (-1, 1)]
        self._lamp_centre = centre
        geom, distance, normal = self._caster.cast(self._eye, self._rays, FIXED, BACKDROP)
        hit = np.nonzero(geom >= 0)[0]
        points = self._eye + distance[hit, None] * self._rays[hit]
        albedo = self._shader.albedo(geom[hit], points)
        ambient_rgb = self._sky.copy()
        ambient_rgb[hit] = albedo * ambient(scene, normal[hit])[:, None]
        lamp_rgb = np.zeros_like(ambient_rgb)
        lamp_rgb[hit] = albedo * np.float32(scene.light.diffuse / len(self._lamps))
        cosines = np.zeros((len(self._lamps), len(ambient_rgb)), np.float32)
        casters = np.nonzero(self._groups == FIXED)[0]
        directions, distances = [], []
        for number, lamp in enumerate(self._lamps):
            direction, lamp_distance, cosine = from_lamp(lamp, points, normal[hit])
            candidates = np.nonzero(self._caster.in_cones(lamp, direction.T.astype(np.float32), casters))[0]
            shadow = self._caster.in_shadow(lamp, direction[candidates], lamp_distance[candidates], (FIXED,))
            cosine[candidates[shadow]] = 0
            cosines[number, hit] = np.maximum(cosine, 0)
            directions.append(direction)
            distances.append(lamp_distance)
        lit = np.nonzero(cosines[:, hit].any(0))[0]
        from_centre, centre_distance, _ = from_lamp(centre, points[lit], normal[hit[lit]])
        rgb = ambient_rgb + lamp_rgb * cosines.sum(0)[:, None]
        self._isolated_px = {}
        return StaticLayer(
            geom=geom,
            distance_m=np.where(geom >= 0, distance, np.inf),
            ambient_rgb=ambient_rgb,
            lamp_rgb=lamp_rgb,
            cosine=cosines,
            lit_rays=hit[lit],
            from_centre=np.ascontiguousarray(from_centre.T, np.float32),
            from_lamp=np.stack([direction[lit] for direction in directions]),
            lamp_distance_m=np.stack([lamp_distance[lit] for lamp_distance in distances]),
            max_distance_m=float(centre_distance.max(initial=1.0)),
            rgb=rgb,
            picture=average(rgb.reshape(-1, SAMPLES, 3)),
        )

    def _cast_moving(self) -> MovingHits:
        covered = np.zeros(self._model.ngeom, np.int64)
        rays = self._rays_in_cones(self._moving)
        geom, distance, normal = self._caster.cast(self._eye, self._rays[rays], MOVING)
        for index in self._objects:
            own = self._posed.geoms[index]
            covered[own] = pixels(rays[geom == own])
        first = (geom >= 0) & (distance < self._layer.distance_m[rays])
        return MovingHits(rays[first], geom[first], distance[first], normal[first], covered)

    def _moving_shadows(self, layer: StaticLayer) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rays [S] to static points in the shadow of a moving entity, and their colours [S, 3]."""
        # first all rays from the centre of the lamps, with cones wide enough for every lamp; then
        # each lamp for the rest
        near = np.nonzero(
            self._caster.in_cones(
                self._lamp_centre,
                layer.from_centre,
                self._moving,
                spread_m=self._scene.light.side_m * 0.7072,
                farthest_m=layer.max_distance_m,
            )
        )[0]
        rays = layer.lit_rays[near]
        cosines = layer.cosine[:, rays]
        in_shadow = np.zeros(cosines.shape, bool)
        for number, lamp in enumerate(self._lamps):
            direction = layer.from_lamp[number, near]
            in_cone = self._caster.in_cones(lamp, direction.T.astype(np.float32), self._moving) & (cosines[number] > 0)
            candidates = np.nonzero(in_cone)[0]
            distances = layer.lamp_distance_m[number, near[candidates]]
            shadow = self._caster.in_shadow(lamp, direction[candidates], distances, (MOVING,))
            in_shadow[number, candidates[shadow]] = True
        any_shadow = in_shadow.any(0)
        remaining = np.where(in_shadow[:, any_shadow], 0, cosines[:, any_shadow]).sum(0)
        rays = rays[any_shadow]
        return rays, layer.ambient_rgb[rays] + layer.lamp_rgb[rays] * remaining[:, None]

    def _visible_px(self, geom: NDArray[np.int32]) -> NDArray[np.int64]:
        counts = np.zeros(len(self._scene.entities), np.int64)
        for index in self._objects:
            counts[index] = pixels(np.nonzero(geom == self._posed.geoms[index])[0])
        return counts

    def _unoccluded_px(self, covered_px: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = np.zeros(len(self._scene.entities), np.int64)
        for index in self._objects:
            geom = int(self._posed.geoms[index])
            if self._groups[geom] != MOVING:
                if index not in self._isolated_px:
                    self._isolated_px[index] = self._cast_isolated(geom)
                counts[index] = self._isolated_px[index]
            else:
                counts[index] = self._cast_isolated(geom) if self._overlaps(geom) else covered_px[geom]
        return counts

    def _cast_isolated(self, geom: int) -> int:
        """The number of pixels that a geom covers with nothing in front of it."""
        rays = self._rays_in_cones([geom])
        self._model.geom_group[geom] = ISOLATED
        hit, _, _ = self._caster.cast(self._eye, self._rays[rays], ISOLATED)
        self._model.geom_group[geom] = self._groups[geom]
        return pixels(rays[hit >= 0])

    def _overlaps(self, geom: int) -> bool:
        """Whether the bounding cone of another moving entity overlaps that of this geom."""
        towards = self._data.geom_xpos[self._moving] - self._eye
        distance = np.sqrt(dot(towards, towards))
        half_angle = np.arcsin(np.minimum(self._model.geom_rbound[self._moving] / distance, 1))
        own = int(np.nonzero(self._moving == geom)[0][0])
        angle = np.arccos(np.clip((towards / distance[:, None]) @ (towards[own] / distance[own]), -1, 1))
        overlap = angle < half_angle + half_angle[own]
        overlap[own] = False
        return bool(overlap.any())

    def _rays_in_cones(self, geoms: Iterable[int]) -> NDArray[np.int64]:
        """Camera rays that may hit one of these geoms.

        Pixels are taken whole, by the mean direction of their rays.
        """
        near = np.nonzero(self._caster.in_cones(self._eye, self._pixel_rays, geoms, margin_rad=0.75 * self._pixel_rad))[0]
        return (near[:, None] * SAMPLES + np.arange(SAMPLES)).ravel()
