"""Turn arrays into pictures: frame strips and curves for papers, videos and an HTML gallery. No models, no tensors."""

from worldmodel.render.curves import horizon_curve
from worldmodel.render.gallery import GalleryCard, write_gallery
from worldmodel.render.latents import PcaBasis, error_map, error_scale, fit_pca, pca_frames
from worldmodel.render.panels import side_by_side, strip
from worldmodel.render.style import save_figure, save_png

__all__ = [
    "GalleryCard",
    "PcaBasis",
    "error_map",
    "error_scale",
    "fit_pca",
    "horizon_curve",
    "pca_frames",
    "save_figure",
    "save_png",
    "side_by_side",
    "strip",
    "write_gallery",
]
