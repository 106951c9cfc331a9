"""Build, run, time and record the notebooks: ``python -m course_utils --help``."""
