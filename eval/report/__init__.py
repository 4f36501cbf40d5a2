"""An evaluation as one page that opens offline, and films with their surprise as another."""

from eval.report.page import write_report
from eval.report.single import FilmCard, Ranked, write_film_page

__all__ = ["FilmCard", "Ranked", "write_film_page", "write_report"]
