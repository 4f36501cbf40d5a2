"""Colours of points on surfaces: texture, ambient light, lamps with shadows, and highlights."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from data_prep.physics.worlds.builtin.rendering.optics import ambient, dot, from_lamp
from data_prep.physics.worlds.builtin.rendering.rays import RayCaster
from data_prep.physics.worlds.builtin.rendering.textures import darkening
from data_prep.physics.worlds.builtin.scenes import Scene
from data_prep.physics.worlds.builtin.simulation import FIXED, MOVING

GLOSS = 40  # exponent of the highlight (Blinn-Phong)


class Shader:
    """Shades points of one scene, in its state at the time of the call."""

    def __init__(self, scene: Scene, data: mujoco.MjData, caster: RayCaster, entity_of: NDArray[np.int32]) -> None:
        """entity_of: the index of the entity of each geom."""
        entities = [scene.entities[index] for index in entity_of[:-1]]
        self._scene, self._data, self._caster = scene, data, caster
        self._colour = np.array([entity.colour_rgb for entity in entities], np.float32)
        self._textures = [entity.texture for entity in entities]
        self._is_glossy = np.array([entity.motion == "free" for entity in entities])

    def shade(
        self,
        eye: NDArray[np.float64],
        view: NDArray[np.float64],
        geom: NDArray[np.int32],
        distance_m: NDArray[np.float64],
        normal: NDArray[np.float64],
        lamps: list[NDArray[np.float64]],
    ) -> NDArray[np.float32]:
        """Colours [M, 3] of the points where unit rays [M, 3] from the eye hit these geoms [M]."""
        light = self._scene.light
        points = eye + distance_m[:, None] * view
        albedo = self.albedo(geom, points)
        diffuse = np.zeros(len(view), np.float32)
        highlight = np.zeros(len(view), np.float32)
        for lamp in lamps:
            direction, lamp_distance, cosine = from_lamp(lamp, points, normal)
            is_lit = cosine > 0
            facing = np.nonzero(is_lit)[0]
            is_lit[facing] = ~self._caster.in_shadow(lamp, direction[facing], lamp_distance[facing], (FIXED, MOVING))
            half = -(direction + view)
            half /= np.sqrt(dot(half, half))[:, None]
            diffuse += np.where(is_lit, cosine, 0) / len(lamps)
            highlight += np.where(is_lit, np.maximum(dot(half, normal), 0) ** GLOSS, 0) / len(lamps)
        colour = albedo * (ambient(self._scene, normal) + np.float32(light.diffuse) * diffuse)[:, None]
        gloss = (np.float32(light.specular) * np.where(self._is_glossy[geom], highlight, 0))[:, None]
        return colour + gloss * (1 - colour)  # a highlight moves the colour towards white and never beyond

    def albedo(self, geom: NDArray[np.int32], points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Colours [M, 3] of the surfaces of these geoms at these points, in white light."""
        colour = self._colour[geom]
        for number in np.unique(geom):
            texture = self._textures[number]
            if texture is None:
                continue
            own = np.nonzero(geom == number)[0]
            x, y, z = (points[own] - self._data.geom_xpos[number]).T
            rotation = self._data.geom_xmat[number].reshape(3, 3)
            # written out, since a matrix product may round a row differently depending on its
            # position among the rows
            local = np.stack([x * rotation[0, i] + y * rotation[1, i] + z * rotation[2, i] for i in range(3)], axis=1)
            darkened = darkening(texture.pattern, local, texture.per_m)
            colour[own] *= (1 - np.float32(texture.amount) * darkened)[:, None]
        return colour
