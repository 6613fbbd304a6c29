"""Settings that people write in YAML (recipes, studies, training configs): every mistake is told in one line.

raw = read_yaml(Path("recipe.yaml"), "recipe")
recipe = checked(Recipe, raw, "recipe", where="recipe.yaml")    # no recipe key named 'sed'; did you mean 'seed'? …
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from curator.errors import UsageError, in_words, unknown

P = TypeVar("P", bound=BaseModel)


def parsed(text: str, what: str) -> Any:
    """The value that a YAML text stands for; `what` names the text in the error.

    Raises:
        UsageError: it is no YAML.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{what} is not YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path, kind: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; `kind` says in the errors what it should be.

    Raises:
        UsageError: no such file, or one that is not text, not YAML or no mapping.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the {kind} {path}: {why}.") from None
    raw = parsed(text, str(path))
    if not isinstance(raw, dict):
        raise UsageError(f"{path} holds no {kind}: it must be a mapping (key: value).")
    return raw


def checked(model: type[P], raw: dict[str, Any], kind: str, where: str, hint: str = "") -> P:
    """Plain data as settings. `kind` and `where` say in the errors what they are and where they stand; `hint` follows there.

    Raises:
        UsageError: the first mistake: an unknown key (the nearest is suggested) or a bad value.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            *place, key = first["loc"]
            raise unknown(f"{kind} key", str(key), _keys(model, place), f"In {where}{hint}.") from None
        raise UsageError(f"{where}: {in_words(first)}.") from None


def _keys(model: type[BaseModel], place: list[int | str]) -> list[str]:
    """The keys that there are at a place like ['score', 'cascade', 0]."""
    for part in place:
        field = model.model_fields.get(str(part))
        model = (field and _inside(field.annotation)) or model
    return list(model.model_fields)


def _inside(annotation: Any) -> type[BaseModel] | None:
    """The settings within a type: of `list[Solver] | None` it is Solver."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inside, get_args(annotation))), None)
