"""Reading a Parquet file: rows without the bytes of their images, and those images by row group.

    data/train-0.parquet#12/image     column `image` of row 12; `#12/images/0` for lists of images

Reading rows leaves the bytes of images where they are: of an image column it reads the paths, or the count of nulls; only a
column of nothing but bytes is read, where it holds lists or has gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any

from curator.errors import SourceError
from curator.records import BadRow
from curator.sources.files import Tree, where

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def open_parquet(tree: Tree, path: str) -> pq.ParquetFile:
    """A Parquet file for reading by column and row group.

    Read it without threads: one of Arrow's that lets go of our file while the interpreter ends aborts the process.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(tree.open(path))
    except pa.ArrowInvalid as error:
        raise SourceError(f"{where(tree, path)} is no readable Parquet file: {str(error).splitlines()[0]}.") from None


def image_columns(schema: pa.Schema, plain: Container[str] = ()) -> dict[str, bool]:
    """The columns that hold images, and whether each holds a list of them: structs with bytes, and `plain` binary ones."""
    import pyarrow as pa

    found: dict[str, bool] = {}
    for field in schema:
        listy = pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
        kind = field.type.value_type if listy else field.type
        binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        if (binary and field.name in plain) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0):
            found[field.name] = listy
    return found


def read_parquet(tree: Tree, path: str, pictures: tuple[str, ...] = ()) -> Iterator[dict[str, Any] | BadRow]:
    """The rows of a file, images as references; `pictures` are columns that hold images even as plain bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    file = open_parquet(tree, path)
    images = image_columns(file.schema_arrow, pictures)
    number = 0
    for group in range(file.num_row_groups):
        try:
            table = file.read_row_group(group, columns=_without_image_bytes(file, group, images), use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{where(tree, path)}: row group {group} cannot be read: {error}.") from None
        for column, listy in images.items():
            if column in table.column_names:  # only where there is a picture, or how many, never its bytes
                counts = pc.list_value_length(table[column]) if listy else pc.is_valid(table[column])
                table = table.set_column(table.schema.get_field_index(column), column, counts)
        for row in _python_rows(table):
            if isinstance(row, dict):
                _name_images(row, images, f"{path}#{number}")
            yield row
            number += 1


def _python_rows(table: pa.Table) -> list[dict[str, Any] | BadRow]:
    """The rows of a table; one with a text that is not UTF-8, or a date that Python has not, is a bad row."""
    try:
        return list(table.to_pylist())
    except (ValueError, OverflowError) as error:
        if table.num_rows == 1:
            return [BadRow("unreadable-row", error=str(error))]
        return [row for number in range(table.num_rows) for row in _python_rows(table.slice(number, 1))]


def _name_images(row: dict[str, Any], images: dict[str, bool], place: str) -> None:
    """Put references in place of what says where images are: true or their number, or nothing where each row has one."""
    for column, listy in images.items():
        count = row.get(column, True)
        if listy and count is not None:
            row[column] = [f"{place}/{column}/{i}" for i in range(count)]
        else:
            row[column] = f"{place}/{column}" if count else None


def _without_image_bytes(file: pq.ParquetFile, group: int, images: dict[str, bool]) -> list[str]:
    """The leaves of a row group to read its rows by: the bytes of images are left out where something else tells which
    rows have one, another leaf of their struct or a count of no nulls."""
    meta = file.metadata.row_group(group)
    chunks = [meta.column(i) for i in range(meta.num_columns)]
    leaves = Counter(_column(chunk) for chunk in chunks)
    wanted = []
    for chunk in chunks:
        column = _column(chunk)
        if column in images and leaves[column] > 1:
            needed = not chunk.path_in_schema.endswith(".bytes")
        elif column in images and not images[column]:
            needed = not (chunk.statistics and chunk.statistics.has_null_count and chunk.statistics.null_count == 0)
        else:
            needed = True
        if needed:
            wanted.append(chunk.path_in_schema)
    return wanted


def _column(chunk: pq.ColumnChunkMetaData) -> str:
    return str(chunk.path_in_schema).partition(".")[0]


def read_parquet_images(tree: Tree, path: str, cells: list[str]) -> Iterator[tuple[str, bytes | Exception]]:
    """The images at `row/column[/index]` of one Parquet file, row group by row group.

    Only the image columns of row groups that hold a wanted row are read.
    """
    import pyarrow as pa

    file = open_parquet(tree, path)
    by_group: dict[int, list[tuple[int, str, str]]] = {}
    starts = [0]
    for group in range(file.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    for cell in cells:
        number, _, rest = cell.partition("/")
        group = next((g for g in range(file.num_row_groups) if starts[g] <= int(number) < starts[g + 1]), -1)
        by_group.setdefault(group, []).append((int(number), rest, cell))
    columns = sorted({rest.partition("/")[0] for group in by_group.values() for _, rest, _ in group})
    tree.prefer_whole(path, _column_bytes(file, columns, [g for g in by_group if g >= 0]))
    file = open_parquet(tree, path)
    for group, wanted in sorted(by_group.items()):
        if group < 0:
            yield from ((f"{path}#{cell}", SourceError(f"{path} has no row {number}")) for number, _, cell in wanted)
            continue
        try:
            table = file.read_row_group(group, columns=columns, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{where(tree, path)}: row group {group} cannot be read: {error}.") from None
        for row, rest, cell in sorted(wanted):
            column, _, index = rest.partition("/")
            value = table[column][row - starts[group]].as_py()
            value = value[int(index)] if index and value is not None else value
            data = value.get("bytes") if isinstance(value, dict) else value
            yield f"{path}#{cell}", data if isinstance(data, bytes) else SourceError(f"no image bytes at {path}#{cell}")


def _column_bytes(file: pq.ParquetFile, columns: list[str], groups: list[int]) -> int:
    total = 0
    for group in groups:
        meta = file.metadata.row_group(group)
        for i in range(meta.num_columns):
            if _column(meta.column(i)) in columns:
                total += meta.column(i).total_compressed_size
    return total
