"""The repository: README's table, requirements, licences, no host names, no local paths."""

import re
import subprocess
from pathlib import Path

import pytest

from course_utils import assets
from course_utils.runner import chapters
from course_utils.runner.layout import Layout
from course_utils.runner.notebook import MACHINE_PATH
from course_utils.runner.rules import dead_links

LAYOUT = Layout.here()
ROOT = LAYOUT.root
TEXT = {".py", ".md", ".txt", ".toml", ".yml", ".yaml", ".json", ".ipynb", ".cfg", ".sh", ""}
# written in parts, so that this file does not hold them
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "anaconda" + ".org", "npmjs" + ".com")
OPTIONS = re.compile(r"^\s*--?(?:index-url|extra-index-url|find-links|trusted-host|i |f )", re.M)


def committed():
    """Text files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.splitlines()]
    return [path for path in paths if path.is_file() and path.suffix in TEXT]


def hosts(text):
    return [host for host in REGISTRIES if host in text]


def local_paths(text):
    plain = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    return [match.group() for match in MACHINE_PATH.finditer(plain)]


def in_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(chapters.BEGIN) == text.count(chapters.END) == 1
    return text.partition(chapters.BEGIN)[2].partition(chapters.END)[0]


def test_the_readme_lists_every_notebook_and_nothing_else():
    listed = chapters.kept_descriptions(in_readme())
    built = {lesson.key for lesson in LAYOUT.all_lessons() if lesson.notebook.exists()}
    assert set(listed) == built, "python -m course_utils timings --refresh-only"
    assert all(listed.values()), "a notebook has no description"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("*/README.md")))
def test_links_of_documents_lead_somewhere(path):
    assert dead_links(path.read_text(encoding="utf-8"), path.parent) == []


def test_no_file_names_a_registry():
    found = {str(p.relative_to(ROOT)): hosts(p.read_text(encoding="utf-8")) for p in committed()}
    assert {name: names for name, names in found.items() if names} == {}


def test_requirements_choose_no_index():
    for name in ("requirements.txt", "constraints.txt", "data/assets.txt"):
        assert not OPTIONS.search((ROOT / name).read_text()), name


def test_no_file_holds_a_path_of_somebodys_machine():
    # tests show such paths on purpose
    files = [p for p in committed() if "tests" not in p.relative_to(ROOT).parts]
    found = {str(p.relative_to(ROOT)): local_paths(p.read_text(encoding="utf-8")) for p in files}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_requirements_bring_no_vision_or_audio_twin_of_torch():
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml", "environment.yml"):
        text = (ROOT / name).read_text()
        assert "torchvision" not in text, name
        assert "torchaudio" not in text, name


def test_every_asset_has_a_licence():
    rows = assets.table()
    assert len(rows) >= 6
    assert [row.name for row in rows if len(row.licence) < 3] == []


def test_every_asset_that_code_names_is_known():
    known = {row.name for row in assets.table()}
    files = [p for folder in ("course_utils", "lessons") for p in (ROOT / folder).rglob("*.py")]
    named = {
        name
        for path in files
        for name in re.findall(r"assets\.path\(\s*[\"']([^\"']+)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= known


def test_what_is_forbidden_is_seen():
    assert hosts("see https://" + REGISTRIES[0] + "/simple") == [REGISTRIES[0]]
    assert local_paths("open('/home/ada/x') and base64,/home/not") == ["/home/ada"]
    assert OPTIONS.search("numpy==1\n--extra-index-url x")
    assert Path(__file__) in committed()


def test_the_data_card_counts_every_authored_set():
    card = (ROOT / "data" / "README.md").read_text()
    told = {name: int(rows) for name, rows in re.findall(r"^\| `(\w+)` \| (\d+) \|", card, re.M)}
    files = (ROOT / "data" / "authored").glob("*.jsonl")
    assert told == {path.stem: len(path.read_text().splitlines()) for path in files}
