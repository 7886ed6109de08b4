"""pip for another machine than this one: pip_for.py ARCH PYTHON_VERSION PIP_ARGUMENT...

pip holds what a library needs under conditions (`redis` wants async-timeout before Python 3.11.3) against the
Python that it runs on, whatever `--python-version` says. Here they are held against the first release of what is
asked for: Debian's are early ones, and what an early one needs does no harm to a later one.
"""

import sys

from pip._internal.cli.main import main
from pip._vendor.packaging import markers

_, arch, version, *arguments = sys.argv
there = markers.default_environment() | {
    "python_version": version,
    "python_full_version": f"{version}.0",
    "implementation_version": f"{version}.0",
    "platform_machine": arch,
    "sys_platform": "linux",
    "platform_system": "Linux",
}
markers.default_environment = lambda: there
sys.exit(main(arguments))
