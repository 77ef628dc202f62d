"""Reading versions out of archives that strangers made, and writing archives. Pure but for streams.

Nothing is unpacked onto a disk. Every entry is named, counted and measured before its content is kept,
and no more is decompressed than the limit. Tar is read here and not by `tarfile`, which believes the
sizes that a header states, takes memory for them, and has had patterns that a header could stall.
"""

import gzip
import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from registry.files import MAX_FILE_BYTES, MAX_FILES, Problem, path_problem, set_problems

# Folders are entries too; more than that is no version of 1,000 files.
MAX_ENTRIES = 10 * MAX_FILES
MAX_NAMED = 100  # entries named in one refusal
MAX_TAR_HEADER = 65_536
MAX_RECORDS = 256  # of an extended header; what tar programs write has a dozen
MAX_ZIP_DIRECTORY = 4 * 1024 * 1024
BLOCK = 512
GZIP, ZIP = b"\x1f\x8b", b"PK"
_PAX, _PAX_GLOBAL, _LONG_NAME, _FOLDER = b"x", b"g", b"L", b"5"
_FILES = (b"0", b"\x00")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"K": "a link with a long name",
}


class ArchiveRefused(ValueError):
    """The archive cannot be taken. `problems` are the entries at fault; None is the archive itself."""

    def __init__(self, problems: list[tuple[str | None, Problem]]) -> None:
        self.problems = problems
        super().__init__(problems[0][1].detail)


class ArchiveTooLarge(ValueError):
    """The archive unpacks to more than `limit` bytes; `entry` is where that was noticed."""

    def __init__(self, limit: int, entry: str | None) -> None:
        self.limit, self.entry = limit, entry
        place = f" at {entry}" if entry else ""
        super().__init__(f"The archive unpacks to more than {limit} bytes{place}.")


@dataclass(frozen=True)
class Entry:
    """A file of an archive."""

    path: str
    content: bytes


def _refusal(entry: str | None, code: str, detail: str) -> ArchiveRefused:
    return ArchiveRefused([(None if entry is None else printable(entry), Problem(code, detail))])


def _invalid(detail: str) -> ArchiveRefused:
    return _refusal(None, "invalid_archive", detail)


def printable(name: str) -> str:
    """A name from an archive as it can be shown: bounded, without control characters."""
    shown = name.encode("utf-8", "backslashreplace").decode()[:256]
    return "".join(char if char.isprintable() else "\ufffd" for char in shown)


def read_archive(stream: IO[bytes], *, limit: int) -> list[Entry]:
    """The files of a tar.gz or zip, told apart by how it begins, with paths that may be stored.

    `limit` bounds the bytes of all files together. The stream is read once, and sought only if it is a
    zip. Raises ArchiveRefused with each entry at fault, and ArchiveTooLarge.
    """
    start = stream.read(2)
    stream.seek(0)
    if start == GZIP:
        return _checked(_tar_entries(_Inflated(stream, limit), limit))
    if start == ZIP:
        return _checked(_zip_entries(stream, limit))
    raise _invalid("This is neither a tar.gz nor a zip.")


def _checked(entries: Iterable[tuple[str, bytes | Problem]]) -> list[Entry]:
    """The entries, unless some cannot be stored or cannot stand beside another."""
    files: list[Entry] = []
    problems: list[tuple[str | None, Problem]] = []
    for number, (name, content) in enumerate(entries, start=1):
        if number > MAX_FILES:
            raise _refusal(None, "too_many_files", f"A version has at most {MAX_FILES} files.")
        path = _relative(name)
        problem = content if isinstance(content, Problem) else path_problem(path)
        if problem is not None:
            problems.append((printable(name), problem))
        elif isinstance(content, bytes):
            files.append(Entry(path, content))
        if len(problems) >= MAX_NAMED:
            break
    if not problems:
        clashes = set_problems([file.path for file in files])
        named = sorted(clashes)[:MAX_NAMED]
        problems += [(printable(files[at].path), clashes[at]) for at in named]
    if problems:
        raise ArchiveRefused(problems)
    return files


def _relative(name: str) -> str:
    # What `tar -C folder .` writes.
    while name.startswith("./"):
        name = name[2:]
    return name


def _too_large() -> Problem:
    return Problem("file_too_large", f"A file has at most {MAX_FILE_BYTES} bytes.")


class _Inflated:
    """The inside of a gzip stream, never more of it than the limit and what tar adds to files."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._inflater = zlib.decompressobj(wbits=31)
        self._left = limit + MAX_ENTRIES * 3 * BLOCK
        self._buffer = bytearray()

    def read(self, size: int, entry: str | None = None) -> bytes:
        """The next `size` bytes, fewer at the end. Raises ArchiveTooLarge and ArchiveRefused."""
        while len(self._buffer) < size and self._fill(entry):
            pass
        chunk = bytes(self._buffer[:size])
        del self._buffer[:size]
        return chunk

    def _fill(self, entry: str | None) -> bool:
        if self._inflater.eof:
            return False
        packed = self._inflater.unconsumed_tail or self._stream.read(65_536)
        if not packed:
            raise _invalid("The archive is cut off.")
        try:
            chunk = self._inflater.decompress(packed, 262_144)
        except zlib.error as exc:
            raise _invalid("The archive is damaged: it cannot be decompressed.") from exc
        self._left -= len(chunk)
        if self._left < 0:
            raise ArchiveTooLarge(self._limit, entry)
        self._buffer += chunk
        return True

    def finish(self) -> None:
        """Reads to the end, so that the checksum is compared. Raises as `read` does."""
        while self.read(65_536):
            pass
        if self._inflater.unused_data or self._stream.read(1):
            raise _invalid("Something follows after the end of the archive.")


def _tar_entries(stream: _Inflated, limit: int) -> Iterator[tuple[str, bytes | Problem]]:
    long_name: str | None = None
    pax: dict[str, str] = {}
    total = entries = 0
    while header := _tar_header(stream):
        entries += 1
        if entries > MAX_ENTRIES:
            raise _refusal(None, "too_many_files", f"An archive has at most {MAX_ENTRIES} entries.")
        kind = header[156:157]
        name = pax.get("path") or long_name or _tar_name(header)
        size = _decimal(pax["size"], name) if "size" in pax else _tar_number(header[124:136], name)
        if kind in (_PAX, _PAX_GLOBAL, _LONG_NAME):
            content = _tar_metadata(stream, size, name)
            if kind == _LONG_NAME:
                long_name = _text(content.rstrip(b"\x00"))
            elif kind == _PAX:
                pax = _pax_records(content, name)
            continue
        long_name, sparse, pax = None, any(key.startswith("GNU.sparse") for key in pax), {}
        if kind == _FOLDER or (kind in _FILES and name.endswith("/")):
            _tar_content(stream, min(size, MAX_TAR_HEADER), name)
        elif kind not in _FILES or sparse:
            what = "a sparse file" if sparse else _KINDS.get(kind, "of an unknown kind")
            yield (
                name,
                Problem("unsupported_entry", f"An archive holds only files; this is {what}."),
            )
            return
        elif size > MAX_FILE_BYTES:
            yield name, _too_large()
            return
        else:
            total += size
            if total > limit:
                raise ArchiveTooLarge(limit, printable(name))
            yield name, _tar_content(stream, size, name)
    stream.finish()


def _tar_header(stream: _Inflated) -> bytes | None:
    """The next header; None at the end mark."""
    header = stream.read(BLOCK)
    if len(header) < BLOCK:
        raise _invalid("The archive is cut off.")
    if header == bytes(BLOCK):
        return None
    stated = _tar_number(header[148:156], "")
    if stated != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise _invalid("The archive is damaged: a header's checksum is wrong.")
    return header


def _tar_number(field: bytes, name: str) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \x00") or b"0"
    if not re.fullmatch(rb"[0-7]+", text):
        raise _refusal(name or None, "invalid_archive", "A number in a header is none.")
    return int(text, 8)


def _decimal(text: str, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise _refusal(name, "invalid_archive", "A number in a header is none.")
    return int(text)


def _tar_name(header: bytes) -> str:
    name = header[:100].split(b"\x00", 1)[0]
    prefix = header[345:500].split(b"\x00", 1)[0] if header[257:263] == b"ustar\x00" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _tar_content(stream: _Inflated, size: int, name: str) -> bytes:
    padded = -(-size // BLOCK) * BLOCK
    content = stream.read(padded, printable(name))
    if len(content) < padded:
        raise _refusal(name, "invalid_archive", "The archive is cut off in this entry.")
    return content[:size]


def _tar_metadata(stream: _Inflated, size: int, name: str) -> bytes:
    if size > MAX_TAR_HEADER:
        raise _refusal(name, "invalid_archive", f"A header has at most {MAX_TAR_HEADER} bytes.")
    return _tar_content(stream, size, name)


def _pax_records(content: bytes, name: str) -> dict[str, str]:
    """The records of an extended header: each a length, a space, key=value, a line's end."""
    records: dict[str, str] = {}
    at = 0
    for _ in range(MAX_RECORDS + 1):
        if at == len(content):
            return records
        length, space, _ = content[at : at + 20].partition(b" ")
        end = at + (int(length) if space and length.isdigit() else 0)
        record = content[at + len(length) + 1 : end]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals or not record.endswith(b"\n") or len(content) < end:
            raise _refusal(name, "invalid_archive", "An extended header cannot be read.")
        records[_text(key)] = _text(value)
        at = end
    raise _refusal(name, "invalid_archive", f"A header has at most {MAX_RECORDS} records.")


DAMAGED = (zipfile.BadZipFile, EOFError, zlib.error, struct.error, NotImplementedError)


def _zip_entries(stream: IO[bytes], limit: int) -> Iterator[tuple[str, bytes | Problem]]:
    _check_zip_directory(stream)
    try:
        with zipfile.ZipFile(stream) as archive:
            yield from _zip_contents(archive, limit)
    except (ArchiveRefused, ArchiveTooLarge):
        raise
    # A ValueError: places in the file that cannot be, such as one before its beginning.
    except (*DAMAGED, ValueError) as exc:
        raise _invalid(f"The archive is damaged or cut off: {printable(str(exc))}.") from exc


def _check_zip_directory(stream: IO[bytes]) -> None:
    """Bounds the table of contents, which `zipfile` takes into memory whole, and where it lies.

    `zipfile` reckons places in the file from it and seeks there, also before the file's beginning.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - 65_535 - 22 - 20))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise _invalid("The archive is cut off: its table of contents is missing.")
    if b"PK\x06\x07" in tail[max(0, at - 20) : at] or tail[at + 12 : at + 16] == b"\xff" * 4:
        raise _invalid("The archive is a zip64, which nothing of this size has to be.")
    directory, offset = struct.unpack("<II", tail[at + 12 : at + 20])
    if directory > MAX_ZIP_DIRECTORY:
        raise _refusal(None, "too_many_files", f"A version has at most {MAX_FILES} files.")
    if directory + offset > size - len(tail) + at:
        raise _invalid("The archive is damaged: its table of contents lies outside of it.")
    stream.seek(0)


def _zip_contents(archive: zipfile.ZipFile, limit: int) -> Iterator[tuple[str, bytes | Problem]]:
    total = 0
    for info in archive.infolist():
        name = info.orig_filename
        # Not is_dir(), which takes it that a name is not empty.
        if info.filename.endswith("/") and not info.file_size:
            continue
        problem = _zip_problem(info)
        if problem is not None:
            yield name, problem
            continue
        with archive.open(info) as file:
            content = file.read(MAX_FILE_BYTES + 1)
        total += len(content)
        if total > limit:
            raise ArchiveTooLarge(limit, printable(name))
        yield name, content if len(content) <= MAX_FILE_BYTES else _too_large()


def _zip_problem(info: zipfile.ZipInfo) -> Problem | None:
    mode = info.external_attr >> 16
    if info.flag_bits & 0x1:
        return Problem("unsupported_entry", "This entry is encrypted.")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return Problem(
            "unsupported_entry", "An archive holds only files; this is a link or device."
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Problem(
            "unsupported_entry", "Entries are stored or deflated, not compressed otherwise."
        )
    return _too_large() if info.file_size > MAX_FILE_BYTES else None


def write_tar_gz(files: Iterable[Entry], out: IO[bytes]) -> None:
    """The files as tar.gz: equal files in equal order give equal bytes."""
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in files:
            info = tarfile.TarInfo(file.path)
            info.size, info.mode = len(file.content), 0o644
            archive.addfile(info, io.BytesIO(file.content))


def write_zip(files: Iterable[Entry], out: IO[bytes]) -> None:
    """The files as zip: equal files in equal order give equal bytes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for file in files:
            info = zipfile.ZipInfo(file.path, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, file.content)
