"""Running, judging, reporting and comparing."""
