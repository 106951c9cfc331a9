"""``python -m course_utils``: the command line of the course."""

from course_utils.runner.cli import main

if __name__ == "__main__":
    main()
