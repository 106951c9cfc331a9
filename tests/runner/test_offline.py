"""Other machines cannot be reached: in this process, in its children, in kernels."""

import http.server
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course_utils.runner.execute import environment, execute
from course_utils.runner.layout import Layout

ELSEWHERE = ("192.0.2.1", 80)  # RFC 5737: documentation only, belongs to nobody


def test_names_and_addresses_elsewhere_are_refused_here():
    with pytest.raises(OSError, match=r"'example\.invalid' was refused"):
        socket.getaddrinfo("example.invalid", 80)
    for kind in ("connect", "connect_ex"):
        with (
            socket.socket() as made,
            pytest.raises(OSError, match=r"192\.0\.2\.1.*was refused"),
        ):
            getattr(made, kind)(ELSEWHERE)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made,
        pytest.raises(OSError, match="was refused"),
    ):
        made.sendto(b"x", ELSEWHERE)


@pytest.mark.parametrize("client", ["urllib", "requests", "httpx"])
def test_libraries_are_refused_too(client):
    with pytest.raises(Exception, match="was refused"):
        if client == "urllib":
            urllib.request.urlopen("http://example.invalid/")
        else:
            pytest.importorskip(client).get("http://example.invalid/")


def test_this_machine_can_be_reached():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    with urllib.request.urlopen(f"http://localhost:{server.server_port}/") as answer:
        assert answer.status == 200
    thread.join(5)
    server.server_close()


def test_a_process_started_by_a_test_is_cut_off():
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "NetworkBlocked" in done.stderr


def test_a_kernel_is_cut_off(tmp_path):
    source = (
        "import socket\n"
        "for call in (lambda: socket.getaddrinfo('example.invalid', 80),\n"
        "             lambda: socket.create_connection(('192.0.2.1', 80), 1)):\n"
        "    try:\n"
        "        call()\n"
        "    except OSError as error:\n"
        "        print(type(error).__name__)"
    )
    book = new_notebook(cells=[new_code_cell(source)])
    for last in (False, False, True):  # two kernels starting at once may be given the same port
        try:
            execute(book, tmp_path, environment(Layout.here()))
            break
        except (AttributeError, RuntimeError):
            if last:
                raise
    assert book.cells[0].outputs[0].text == "NetworkBlocked\nNetworkBlocked\n"


def test_the_makefile_names_the_folder_absolutely(root):
    """A relative PYTHONPATH is lost in kernels, which start in the notebook's folder."""
    makefile = (root / "Makefile").read_text()
    assert "PYTHONPATH=$(CURDIR)/tests/offline" in makefile
    assert "PYTHONPATH=tests/offline" not in makefile


def test_opened_folders_are_noted(tmp_path, root):
    for name in ("used", "unused"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("a")
    report = tmp_path / "report"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import sitecustomize as s\n"
        "s.note_folders({n: sys.argv[2] + '/' + n for n in ('used', 'unused')}, sys.argv[3])\n"
        "open(sys.argv[2] + '/used/a.txt'); open(sys.argv[2] + '/used/a.txt')"
    )
    folders = [str(root / "tests" / "offline"), str(tmp_path), str(report)]
    subprocess.run([sys.executable, "-c", code, *folders], check=True)
    assert report.read_text() == "used\n"
