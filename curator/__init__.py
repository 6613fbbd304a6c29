"""Medical question sets in, published training sets out; the same verbs as on the command line.

import curator
result = curator.build(curator.load_recipe("phantom"))
result.release                      # a folder for datasets.load_dataset
curator.push(result.release, "ORG/NAME")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curator.builds import Runtime
    from curator.pipeline import Result
    from curator.pipeline import run as build
    from curator.publish.hub import push
    from curator.recipe import Recipe, load_recipe
    from curator.records import Record, Verdict
    from curator.sources import all_sources as sources

__all__ = ["Recipe", "Record", "Result", "Runtime", "Verdict", "__version__", "build", "load_recipe", "push", "sources"]
_HOMES = {
    "Recipe": "recipe", "Record": "records", "Result": "pipeline", "Runtime": "builds", "Verdict": "records",
    "build": "pipeline:run", "load_recipe": "recipe", "push": "publish.hub", "sources": "sources:all_sources",
}  # fmt: skip


__version__: str


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # Late, so that `curator --help` and `import curator` cost no more than they use.
    if name == "__version__":
        from importlib.metadata import version

        return version("medvl-curator")
    if name not in _HOMES:
        raise AttributeError(f"module 'curator' has no attribute {name!r}")
    import importlib

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"curator.{module}"), attribute or name)
