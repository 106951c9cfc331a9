"""The set-up from a bare clone: repairs what is half done, repeats nothing, fails in a sentence."""

import importlib.util
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup(monkeypatch, tmp_path):
    """tools/setup.py on an empty folder, with every command recorded and none run."""
    spec = importlib.util.spec_from_file_location("course_setup", ROOT / "tools" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "course-environment")
    module.VENV.mkdir()
    module.commands = []
    module.failing = ()

    def works(command):
        module.commands.append(command)
        return not any(word in command for word in module.failing)

    def run(command, what):
        if not works(command):
            raise module.SetupError(f"{what} failed")

    monkeypatch.setattr(module, "works", works)
    monkeypatch.setattr(module, "run", run)
    return module


def said(module, *words):
    return any(all(word in command for word in words) for command in module.commands)


@pytest.mark.parametrize(
    ("version", "good"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)]
)
def test_only_tested_pythons_are_accepted(setup, monkeypatch, version, good):
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    if good:
        setup.check_python()
        return
    with pytest.raises(setup.SetupError, match=r"3\.11 to 3\.13.*make lab PYTHON="):
        setup.check_python()


def test_a_second_set_up_installs_nothing(setup):
    setup.install()
    assert said(setup, "install", "-r", "requirements.txt")
    setup.commands.clear()
    setup.install()
    assert not said(setup, "install")


def test_changed_pins_are_installed(setup):
    setup.install()
    (setup.ROOT / "constraints.txt").write_text("numpy==1.0")
    setup.commands.clear()
    setup.install()
    assert said(setup, "install", "-r", "requirements.txt")


def test_a_package_that_was_removed_is_installed_again(setup):
    setup.install()
    setup.failing = ("papermill",)  # the smoke test names it
    setup.commands.clear()
    setup.install()
    assert said(setup, "install", "-r", "requirements.txt")


def test_an_interrupted_install_leaves_no_mark(setup):
    setup.failing = ("requirements.txt",)
    with pytest.raises(setup.SetupError, match=r"installing requirements\.txt failed"):
        setup.install()
    assert not setup.STAMP.exists()


def test_a_failed_update_removes_the_old_mark(setup):
    setup.install()
    (setup.ROOT / "requirements.txt").write_text("changed")
    setup.failing = ("requirements.txt",)
    with pytest.raises(setup.SetupError):
        setup.install()
    assert not setup.STAMP.exists()


def test_torch_comes_from_pip_when_uv_cannot_reach_its_index(setup):
    setup.failing = ("-c", "--torch-backend=auto")  # not installed yet, index unreachable
    setup.install_torch()
    assert setup.commands[-1][-1] == setup.TORCH
    assert "--torch-backend=auto" not in setup.commands[-1]


def test_an_installed_torch_is_kept(setup):
    setup.install_torch()
    assert len(setup.commands) == 1
    assert "import torch" in setup.commands[0][-1]


def test_a_broken_environment_is_made_again(setup, monkeypatch):
    (setup.VENV / "broken").touch()
    setup.failing = ("pip",)
    made = []
    monkeypatch.setattr(setup.venv, "create", lambda path, with_pip: made.append(path))
    setup.make_venv()
    assert made == [setup.VENV]
    assert not (setup.VENV / "broken").exists()


def test_a_failing_step_is_one_sentence_and_an_exit_status(capfd):
    spec = importlib.util.spec_from_file_location("course_setup", ROOT / "tools" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(module.SetupError, match=r"counting failed \(exit status 3; .*again"):
        module.run([sys.executable, "-c", "raise SystemExit(3)"], "counting")
    assert not module.works(["no-such-program-anywhere"])


def test_binder_and_conda_describe_the_same_environment():
    def packages(path):
        dependencies = yaml.safe_load(path.read_text())["dependencies"]
        *conda, pip = dependencies
        return conda, [line.replace("../", "").replace("-e ..", "-e .") for line in pip["pip"]]

    assert packages(ROOT / "environment.yml") == packages(ROOT / "binder" / "environment.yml")


def test_torch_has_one_version_everywhere():
    pinned = "torch==2.13.0"
    assert pinned in (ROOT / "tools" / "setup.py").read_text()
    assert pinned in (ROOT / "constraints.txt").read_text().splitlines()
    assert pinned in (ROOT / "environment.yml").read_text()
    requirements = (ROOT / "requirements.txt").read_text().splitlines()
    assert not any(line.startswith("torch") for line in requirements)


def test_every_requirement_is_exact_and_its_constraint_says_the_same():
    def pins(name):
        lines = (ROOT / name).read_text().splitlines()
        found = [line.partition("==") for line in lines if line and not line.startswith("#")]
        assert all(equals for _, equals, _ in found)
        return {name.lower().replace("_", "-"): version for name, _, version in found}

    constraints = pins("constraints.txt")
    for name, version in pins("requirements.txt").items():
        assert constraints[name] == version, name
