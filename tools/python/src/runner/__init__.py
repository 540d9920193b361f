"""``import runner`` is ``import runner_sdk``: one module object under two names.

The package itself is ``runner_sdk``, so that it works under its own name in a project that has a ``runner.py``, which
Python then finds first under this one.
"""

import sys

import runner_sdk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner_sdk import *  # noqa: F403
    from runner_sdk import _OfflineRun as _OfflineRun

# The import system hands out what stands here when this module has run.
sys.modules[__name__] = runner_sdk
