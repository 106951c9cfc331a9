"""The command line: ``python -m course_utils list | build | run | timings | vectors | …``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from course_utils.config import MODEL_SOURCES, PROFILES
from course_utils.runner.layout import Layout, Lesson

if TYPE_CHECKING:
    from course_utils.runner.run import Outcome, Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Build, run and measure the notebooks of the course.",
)
Patterns = Annotated[
    list[str] | None, typer.Argument(help="parts of names, such as 04_llms/01; none means all")
]
Out = Annotated[Path | None, typer.Option(help="folder for what the runs leave")]


def main() -> None:
    """Run the command line."""
    app(prog_name="python -m course_utils")


def fail(sentence: str, status: int = 2) -> typer.Exit:
    """Print a sentence to stderr; raise what this returns."""
    typer.echo(sentence, err=True)
    return typer.Exit(status)


def chosen(patterns: list[str] | None) -> list[Lesson]:
    """The lessons that the patterns name; ends the program with a sentence if none."""
    try:
        return Layout.here().select(patterns or ())
    except ValueError as error:
        raise fail(str(error)) from None


@app.command("list")
def list_lessons(patterns: Patterns = None) -> None:
    """List the notebooks: name, title, measured minutes, and whether they are built."""
    from course_utils.runner import cost

    layout = Layout.here()
    stored = cost.read(layout)["lessons"]
    for lesson in chosen(patterns):
        here = stored.get(lesson.key, {}).get("this")
        minutes = f"{cost.minutes(here['seconds'])} min" if here else ""
        built = "" if lesson.notebook.exists() else "  (not built)"
        typer.echo(f"{lesson.key:44} {minutes:>8}  {lesson.title}{built}")


@app.command()
def build(
    patterns: Patterns = None,
    check: Annotated[bool, typer.Option(help="only list what is out of date")] = False,
    force: Annotated[bool, typer.Option(help="execute also what is up to date")] = False,
    draft: Annotated[
        bool, typer.Option(help="write to runs/draft; exercises may be missing")
    ] = False,
) -> None:
    """Build notebooks from lessons: those whose text, modules or data changed."""
    from course_utils.runner import build as builder
    from course_utils.runner.notebook import read_notebook

    layout, bad = Layout.here(), 0
    for lesson in chosen(patterns):
        if check:
            status = builder.state(lesson, layout, read_notebook(lesson.notebook))
            bad += status != "fresh"
            typer.echo(f"{status:6} {lesson.key}")
            continue
        typer.echo(f"…      {lesson.key}")
        done = builder.build(lesson, layout, force=force, draft=draft)
        bad += done.status == "failed"
        typer.echo(f"{done.status:6} {done.key}" + (f"\n{done.message}" if done.message else ""))
    raise typer.Exit(1 if bad else 0)


@app.command()
def run(
    patterns: Patterns = None,
    profile: Annotated[str | None, typer.Option(help="smoke, laptop or full")] = None,
    models: Annotated[str | None, typer.Option(help="bundled or hub")] = None,
    param: Annotated[list[str] | None, typer.Option(help="k=v; may be repeated")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="notebooks at a time")] = 1,
    offline: Annotated[bool, typer.Option(help="refuse connections to other machines")] = False,
    strict: Annotated[bool, typer.Option(help="a claim that does not hold is an error")] = False,
    out: Out = None,
) -> None:
    """Run notebooks with papermill; the executed copies go to --out (default: runs/)."""
    from course_utils.runner.run import Settings

    lessons = chosen(patterns)
    settings = Settings(
        parameters(profile, models, param or []), jobs=jobs, offline=offline, strict=strict
    )
    outcomes = batch(lessons, out or Layout.here().runs, settings)
    raise typer.Exit(1 if any(outcome.error for outcome in outcomes) else 0)


def parameters(profile: str | None, models: str | None, pairs: list[str]) -> dict[str, Any]:
    """What papermill puts into the parameters cell; values are read as YAML.

    >>> parameters("smoke", None, ["SEED=3", "WORD=duck"])
    {'PROFILE': 'smoke', 'SEED': 3, 'WORD': 'duck'}
    """
    import yaml

    found: dict[str, Any] = {}
    for name, value, known in (("PROFILE", profile, PROFILES), ("MODELS", models, MODEL_SOURCES)):
        if value is not None and value not in known:
            raise fail(f"--{name.lower()} must be one of {', '.join(known)}; got {value!r}")
        if value is not None:
            found[name] = value
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise fail(f"--param expects NAME=VALUE, got {pair!r}")
        found[name] = yaml.safe_load(value)
    return found


def batch(lessons: list[Lesson], out: Path, settings: Settings) -> list[Outcome]:
    """Run notebooks with live lines; print errors and the table of results."""
    from rich.console import Console

    from course_utils.runner.display import live_lines, table
    from course_utils.runner.run import progress_file, run_all, write_summary

    files = {lesson.key: progress_file(out, lesson) for lesson in lessons}
    outcomes = []
    with live_lines(files) as finish:
        for outcome in run_all(lessons, Layout.here(), out, settings):
            finish(outcome)
            outcomes.append(outcome)
    for outcome in outcomes:
        if outcome.error:
            typer.echo(f"\n{outcome.key}: {outcome.error}\nkept: {outcome.output}\n")
    Console().print(table(outcomes))
    typer.echo(f"executed notebooks and summary.json: {write_summary(outcomes, out).parent}")
    return outcomes


@app.command()
def timings(
    patterns: Patterns = None,
    avx2: Annotated[bool, typer.Option(help="measure the column without newer units")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="runs; the quickest counts")] = 1,
    refresh_only: Annotated[bool, typer.Option(help="measure nothing, rewrite the cards")] = False,
    out: Out = None,
) -> None:
    """Measure seconds and memory at laptop; write data/timings.json, cards and README table."""
    from course_utils.runner import timings as measured

    layout, failed = Layout.here(), []
    for lesson in [] if refresh_only else chosen(patterns):
        folder = out or layout.runs / "timings"
        outcome = measured.measure(lesson, layout, folder, avx2=avx2, repeats=repeats)
        if outcome.error:
            failed.append(lesson.key)
            typer.echo(f"{lesson.key}: {outcome.error}")
            continue
        measured.store(outcome, layout, avx2=avx2)
        typer.echo(f"{lesson.key:44} {outcome.seconds:7.1f} s {outcome.peak_mb:6.0f} MB")
    for name in measured.refresh(layout):
        typer.echo(f"updated {name}")
    raise typer.Exit(1 if failed else 0)


@app.command()
def vectors() -> None:
    """Embed the course's texts anew into data/vectors (about ten minutes of one core)."""
    from tqdm.std import tqdm

    from course_utils.rag import stored
    from course_utils.rag.embedding import MiniLMEmbedder

    made = stored.embed_all(MiniLMEmbedder(), stored.course_texts(), tqdm)
    stored.write_stored(made, stored.bundled_file())
    typer.echo(f"{len(made):,} vectors written to {stored.bundled_file().name}")


@app.command()
def record(
    lesson: Annotated[str, typer.Argument(help="one lesson, such as 04_llms/08")],
    seeds: Annotated[str, typer.Option(help="seeds, separated by commas")] = "0,1,2",
    profile: Annotated[str, typer.Option(help="smoke, laptop or full")] = "laptop",
    out: Out = None,
) -> None:
    """Run a lesson with several seeds; store its claims' values in data/runs."""
    from course_utils.runner.record import record as record_runs

    found, layout = chosen([lesson]), Layout.here()
    if len(found) != 1:
        raise fail(f"{lesson!r} names {len(found)} lessons: {', '.join(f.key for f in found)}")
    parameters(profile, None, [])
    numbers = [int(seed) for seed in seeds.split(",")]
    try:
        path = record_runs(found[0], layout, numbers, profile, out or layout.runs / "record")
    except RuntimeError as error:
        raise fail(str(error), 1) from None
    typer.echo(path.read_text(encoding="utf-8") + f"written: {path.relative_to(layout.root)}")


@app.command()
def assets(
    fetch: Annotated[bool, typer.Option(help="fetch and unpack what is missing")] = False,
    pin: Annotated[bool, typer.Option(help="look up the Hub's revisions (online)")] = False,
) -> None:
    """Show the models and corpora, fetch what is missing, pin Hub revisions."""
    from course_utils import assets as store

    raise typer.Exit(store.cli(fetch=fetch, pin=pin))
