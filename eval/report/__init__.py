"""An evaluation as one page that opens offline, and films with their surprise as another."""

from eval.report.page import write_report
from eval.report.quadruplets import shown_trials
from eval.report.video_page import Drawn, FilmCard, Ranked, write_film_page

__all__ = ["Drawn", "FilmCard", "Ranked", "shown_trials", "write_film_page", "write_report"]
