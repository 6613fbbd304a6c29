"""What changed between two releases, row by row, and why: the stage and the reason that the verdicts give.

    difference = diff(a, b)                      # two `Tree`s
    print("\\n".join(difference.lines()))         # 12 rows added: new source 12
    difference.bump()                            # 'minor'

Rows are compared by the content hashes that every release carries; data shards are read only to name the columns in which
a row changed, and only those that hold such rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from curator.progress import counted

if TYPE_CHECKING:
    import polars as pl

    from curator.publish.tree import Tree
    from curator.release_facts import Written

Bump = Literal["major", "minor", "patch"]
ADDED, REMOVED, MOVED, CHANGED = "added", "removed", "moved", "changed"
SHOWN = 20
"""Rows that the text lists per kind; the JSON has all."""


@dataclass
class Difference:
    """`rows`: one per changed row: id, source, what, stage, reason, detail, difficulty_a, difficulty_b."""

    a: str
    b: str
    rows: pl.DataFrame
    columns_added: list[str] = field(default_factory=list)
    columns_removed: list[str] = field(default_factory=list)
    configs_added: list[str] = field(default_factory=list)
    configs_removed: list[str] = field(default_factory=list)
    same: bool = False
    """Every file is the same, by its sha256."""

    def bump(self) -> Bump:
        """Which part of a semantic version this calls for: columns or configs that went are major, rows minor."""
        if self.columns_added or self.columns_removed or self.configs_removed:
            return "major"
        return "minor" if self.rows.height or self.configs_added else "patch"

    def summary(self) -> dict[str, dict[str, int]]:
        """what -> 'stage: reason' (or just the reason) -> rows."""
        import polars as pl

        why = pl.when(pl.col("stage") == "").then(pl.col("reason")).otherwise(pl.col("stage") + ": " + pl.col("reason"))
        counted = self.rows.group_by("what", why.alias("why")).len().sort("len", "why", descending=[True, False])
        out: dict[str, dict[str, int]] = {}
        for what, reason, count in counted.iter_rows():
            out.setdefault(what, {})[reason] = count
        return {what: out[what] for what in (ADDED, REMOVED, MOVED, CHANGED) if what in out}

    def lines(self) -> list[str]:
        """The difference in a few lines, as the changelog has it."""
        out = []
        for what, names in (("added", self.columns_added), ("removed", self.columns_removed)):
            if names:
                out.append(f"columns {what}: {', '.join(names)}")
        for what, names in (("added", self.configs_added), ("removed", self.configs_removed)):
            if names:
                out.append(f"configs {what}: {', '.join(names)}")
        for what, reasons in self.summary().items():
            count = sum(reasons.values())
            why = ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
            out.append(f"{counted(count, 'row')} {what}: {why}")
        return out or ["nothing changed" if self.same else "no row changed; only what describes them did"]

    def text(self) -> str:
        """The difference for a person: the lines, then per source and difficulty, then rows."""
        import polars as pl

        out = [f"{self.a} → {self.b}", *(f"  {line}" for line in self.lines())]
        if self.rows.height:
            by_source = self.rows.group_by("source", "what").len().sort("source", "what")
            out += [
                "",
                "by source",
                *(f"  {source:<16}{what:<10}{count:>9,}" for source, what, count in by_source.iter_rows()),
            ]
            levels = self.rows.group_by("difficulty_a", "difficulty_b", "what").len().sort(pl.all())
            out += ["", "by difficulty"]
            out += [f"  {a or '-':>8} → {b or '-':<9}{what:<10}{n:>9,}" for a, b, what, n in levels.iter_rows()]
            for what in self.summary():
                mine = self.rows.filter(pl.col("what") == what)
                out += ["", f"{what}{f' (first {SHOWN} of {mine.height:,})' if mine.height > SHOWN else ''}"]
                for row in mine.head(SHOWN).iter_rows(named=True):
                    why = ": ".join(part for part in (row["stage"], row["reason"], row["detail"]) if part)
                    out.append(f"  {row['id']}  {why}")
        return "\n".join(out)

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "a": self.a,
            "b": self.b,
            "bump": self.bump(),
            "columns_added": self.columns_added,
            "columns_removed": self.columns_removed,
            "configs_added": self.configs_added,
            "configs_removed": self.configs_removed,
            "summary": self.summary(),
            "rows": list(self.rows.iter_rows(named=True)),
        }


def diff(a: Tree, b: Tree) -> Difference:
    """What a reader of `a` finds changed in `b`. The unfiltered control is not compared."""
    from curator.release_facts import configs

    columns_a, columns_b = a.manifest["columns"], b.manifest["columns"]
    kept = {name for name in columns_a if columns_b.get(name) == columns_a[name]}
    configs_a, configs_b = configs(a.manifest), configs(b.manifest)
    return Difference(
        a.name,
        b.name,
        _rows(a, b),
        columns_added=[name for name in columns_b if name not in kept],
        columns_removed=[name for name in columns_a if name not in kept],
        configs_added=[name for name in configs_b if name not in configs_a],
        configs_removed=[name for name in configs_a if name not in configs_b],
        same=a.manifest["files"] == b.manifest["files"],
    )


def _rows(a: Tree, b: Tree) -> pl.DataFrame:
    import polars as pl

    both = _places(a).join(_places(b), on="id", how="full", coalesce=True, suffix="_b")
    both = both.filter(
        pl.col("sha256").ne_missing(pl.col("sha256_b"))
        | pl.col("part").ne_missing(pl.col("part_b"))
        | pl.col("split").ne_missing(pl.col("split_b"))
    ).sort("id")
    dropped_a, dropped_b = _dropped(a), _dropped(b)
    columns = _changed_columns(a, b, both)
    out: list[dict[str, Any]] = []
    for row in both.iter_rows(named=True):
        base = {
            "id": row["id"], "source": row["source_b"] or row["source"], "detail": "",
            "difficulty_a": row["difficulty"], "difficulty_b": row["difficulty_b"],
        }  # fmt: skip
        if row["sha256"] is None:
            stage, reason = _why_added(a.manifest, dropped_a, row["id"], row["source_b"])
            base["detail"] = row["part_b"]
            out.append({**base, "what": ADDED, "stage": stage, "reason": reason})
            continue
        if row["sha256_b"] is None:
            stage, reason = _why_removed(b.manifest, dropped_b, row["id"], row["source"])
            out.append({**base, "what": REMOVED, "stage": stage, "reason": reason})
            continue
        if row["part"] != row["part_b"]:
            verdict = dropped_b.get(row["id"]) if row["part_b"] == "rest" else dropped_a.get(row["id"])
            stage, reason = verdict or ("select", "")
            now = "now selected, before: " if row["part_b"] == "selected" else ""
            base["detail"] = f"{row['part']} → {row['part_b']}"
            out.append({**base, "what": MOVED, "stage": stage, "reason": f"{now}{reason}"})
        elif row["split"] != row["split_b"]:
            base["detail"] = f"{row['split']} → {row['split_b']}"
            out.append({**base, "what": MOVED, "stage": "split", "reason": "another split"})
        if row["sha256"] != row["sha256_b"]:
            base["detail"] = ""
            out.append(
                {**base, "what": CHANGED, "stage": "", "reason": ", ".join(columns.get(row["id"], [])) or "content"}
            )
    kinds = ("id", "source", "what", "stage", "reason", "detail", "difficulty_a", "difficulty_b")
    return pl.DataFrame(out, schema=dict.fromkeys(kinds, pl.String))


def _places(tree: Tree) -> pl.DataFrame:
    import polars as pl

    return tree.hashes.filter(pl.col("part") != "control")


def _dropped(tree: Tree) -> dict[str, tuple[str, str]]:
    """id -> (stage, reason) of every row that a stage dropped; {} when the verdicts were not published."""
    import polars as pl

    verdicts = tree.side("verdicts")
    if verdicts is None or "reason" not in verdicts.columns:
        return {}
    gone = verdicts.filter(~pl.col("keep")).select("id", "stage", "reason")
    return {id: (stage, reason) for id, stage, reason in gone.iter_rows()}


def _why_added(before: Written, dropped: dict[str, tuple[str, str]], id: str, source: str) -> tuple[str, str]:
    if id in dropped:
        stage, reason = dropped[id]
        return stage, f"no longer {reason}"
    if source not in {known["name"] for known in before["sources"]}:
        return "", "new source"
    if source in before.get("withheld", {}).get("sources", {}):
        return "", "was withheld for its licence"
    return "", "new in its source"


def _why_removed(after: Written, dropped: dict[str, tuple[str, str]], id: str, source: str) -> tuple[str, str]:
    if id in dropped:
        return dropped[id]
    if source not in {known["name"] for known in after["sources"]}:
        return "", "source left out"
    if source in after.get("withheld", {}).get("sources", {}):
        return "", "withheld for its licence"
    return "", "no longer in its source"


def _changed_columns(a: Tree, b: Tree, both: pl.DataFrame) -> dict[str, list[str]]:
    """id -> the columns in which a row that is in both differs."""
    import polars as pl

    changed = both.filter(
        pl.col("sha256").is_not_null() & pl.col("sha256_b").is_not_null() & (pl.col("sha256") != pl.col("sha256_b"))
    )
    if changed.is_empty():
        return {}
    rows_a, rows_b = (_find(tree, other, changed["id"]) for tree, other in ((a, b), (b, a)))
    out: dict[str, list[str]] = {}
    for id, row in rows_b.items():
        old = rows_a.get(id, {})
        out[id] = [name for name in row if name in old and row[name] != old[name] and name not in ("split", "part")]
    return out


def _find(tree: Tree, other: Tree, ids: pl.Series) -> dict[str, dict[str, Any]]:
    """These rows of a tree; shards that the other tree has too hold none of them."""
    import polars as pl

    theirs = {facts["sha256"] for facts in other.manifest["files"].values()}
    found: dict[str, dict[str, Any]] = {}
    for name in tree.data_files(("selected", "rest")):
        if tree.manifest["files"][name]["sha256"] not in theirs:
            mine = tree.frame(name).filter(pl.col("id").is_in(ids.to_list()))
            found.update((row["id"], row) for row in mine.iter_rows(named=True))
    return found
