"""Arrays -> pictures: strips and curves for papers, films for people. Knows no model and no tensor, keeps no state."""

from worldmodel.render.curves import horizon_curve, training_curves
from worldmodel.render.gallery import GalleryCard, write_gallery
from worldmodel.render.ink import save_figure, save_png
from worldmodel.render.latents import PcaBasis, error_map, error_reach, fit_pca, pca_frames
from worldmodel.render.panels import side_by_side, strip

__all__ = [
    "GalleryCard",
    "PcaBasis",
    "error_map",
    "error_reach",
    "fit_pca",
    "horizon_curve",
    "pca_frames",
    "save_figure",
    "save_png",
    "side_by_side",
    "strip",
    "training_curves",
    "write_gallery",
]
