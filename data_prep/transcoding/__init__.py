"""Small, upright copies of videos that decode fast."""
