"""Starting this package's own long-lived processes without the rest of the project.

Importing `spoke` loads the Celery application; a guardian needs 20 MB less without it, and must
start whatever state the project's code is in.
"""

import sys
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
START = """\
import sys, types
package = types.ModuleType("spoke")
package.__path__ = [sys.argv.pop(1)]
sys.modules["spoke"] = package
from spoke.devservers.{module} import main
main()
"""


def standalone(module: str) -> list[str]:
    """The command that runs `main()` of a module here; its own arguments follow."""
    return [sys.executable, "-c", START.format(module=module), str(PACKAGE_ROOT / "spoke")]
