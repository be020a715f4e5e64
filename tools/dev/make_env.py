"""Makes the environment of `make demo` and `make test`: virtual environment, packages, ourselves.

    python3 tools/dev/make_env.py VENV CONSTRAINTS
    python3 tools/dev/make_env.py --beside FOLDER PACKAGE CONSTRAINTS

The second puts one package, without what it needs, into a folder for PYTHONPATH.
Needs Python and a package index, nothing else. Fetches uv into .uv/ and lets
it do the work, ten times as fast as pip. Exit status: 0 done, 2 refused, with
the reason on stderr. Written for old Pythons too, so that they are told.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 12)
UV_FOLDER = Path('.uv')
# transformers 4.57 has other neighbours than 5; opencv: see overrides.txt.
WANTED = ['-e', '.[mm,test]', 'opencv-python-headless']


class SetupError(Exception):
    """Error that ends the set-up; the message says what to do."""


def run(command: list) -> None:
    """Runs a command, its output on the terminal."""
    line = ' '.join(map(str, command))
    print(f'+ {line}', flush=True)
    if subprocess.call([str(part) for part in command]):
        raise SetupError(
            f'this failed, the lines above say why:\n  {line}\n'
            'Nothing is marked as ready. If it was the network, run make again: '
            'what has arrived is kept.'
        )


def version_of(python: str) -> tuple:
    """(major, minor) of a Python, or (0, 0) if it does not start."""
    code = 'import sys; print(sys.version_info[0], sys.version_info[1])'
    try:
        found = subprocess.check_output([python, '-c', code], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    return tuple(map(int, found.split()))


def choose_python() -> str:
    """Returns this Python if it is recent enough, otherwise another one of this machine.

    Raises:
        SetupError: none is 3.10 or newer.
    """
    others = filter(None, map(shutil.which, ('python3.12', 'python3.11', 'python3.10')))
    candidates = [sys.executable, *others]
    for python in candidates:
        if OLDEST <= version_of(python) <= NEWEST:
            return python
    here = '{}.{}'.format(*sys.version_info[:2])
    if sys.version_info[:2] > NEWEST:
        print(f'Python {here} is newer than what we test with (3.10 to 3.12); trying it.')
        return sys.executable
    raise SetupError(
        f'found Python {here}, need 3.10, 3.11 or 3.12. If you have one under another '
        'name: make PYTHON=/path/to/python3.11 ...'
    )


def uv_command(python: str) -> list:
    """Returns the command that runs uv, fetched into UV_FOLDER if it is not there.

    Raises:
        SetupError: this Python has no way to install anything, and there is no uv.
    """
    uv = UV_FOLDER / 'bin/uv'
    if starts(uv):
        return [uv]
    shutil.rmtree(UV_FOLDER, ignore_errors=True)
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    # A Debian Python without python3-venv fails here; its pip may still be there.
    if subprocess.call([python, '-m', 'venv', str(UV_FOLDER)], **quiet) == 0:
        run([UV_FOLDER / 'bin/python', '-m', 'pip', 'install', '--quiet', 'uv'])
    elif subprocess.call([python, '-m', 'pip', '--version'], **quiet) == 0:
        run([python, '-m', 'pip', 'install', '--quiet', '--target', UV_FOLDER, 'uv'])
    elif shutil.which('uv'):
        return ['uv']
    else:
        raise SetupError(
            f'{python} has neither venv nor pip, and there is no uv. Install one of them; '
            'on Debian and Ubuntu: apt-get install python3-venv'
        )
    return [uv]


def starts(uv: Path) -> bool:
    """Returns whether this uv runs; one from another machine would not."""
    try:
        return subprocess.call([str(uv), '--version'], stdout=subprocess.DEVNULL) == 0
    except OSError:
        return False


def use_settings_of_pip(python: str) -> None:
    """Passes pip's mirror settings on to uv, which does not read pip's files."""
    names = {
        'index-url': 'UV_DEFAULT_INDEX',
        'cert': 'SSL_CERT_FILE',
        'trusted-host': 'UV_INSECURE_HOST',
    }
    shown = subprocess.run(
        [python, '-m', 'pip', 'config', 'list'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout.decode()
    for name, value in re.findall(r"^[^.\n]+\.([\w-]+)='(.*)'$", shown, re.MULTILINE):
        if name in names:
            os.environ.setdefault(names[name], value)


def prepare(python: str) -> list:
    """Sets the surroundings; gives the way to call uv."""
    for name in ('PIP_USER', 'PIP_TARGET', 'PIP_PREFIX', 'VIRTUAL_ENV'):
        os.environ.pop(name, None)  # each would send packages elsewhere
    os.environ.setdefault('UV_HTTP_TIMEOUT', '120')  # seconds; torch is a large file
    uv = uv_command(python)
    use_settings_of_pip(str(UV_FOLDER / 'bin/python') if UV_FOLDER.exists() else python)
    return uv


def beside(folder: str, package: str, constraints: str) -> None:
    """Installs one package alone into a folder."""
    python = choose_python()
    where = ['--python', python, '--target', folder, '--no-deps', '--constraint', constraints]
    run([*prepare(python), 'pip', 'install', '--quiet', *where, package])


def main(venv: str, constraints: str) -> None:
    """Makes ``venv`` or brings it up to date."""
    python = choose_python()
    uv = prepare(python)
    inside = Path(venv) / 'bin/python'
    if version_of(str(inside)) < OLDEST:  # not there, or its Python is gone
        print('The first time, this downloads about 3 GB, most of it torch.')
        run([*uv, 'venv', '--quiet', '--clear', '--python', python, venv])
    limits = ['--constraint', constraints, '--overrides', 'tools/dev/overrides.txt']
    run([*uv, 'pip', 'install', '--python', inside, *limits, *WANTED])


if __name__ == '__main__':
    try:
        if sys.argv[1:2] == ['--beside']:
            beside(*sys.argv[2:])
        else:
            main(*sys.argv[1:])
    except SetupError as error:
        print(f'set-up: {error}', file=sys.stderr)
        sys.exit(2)
