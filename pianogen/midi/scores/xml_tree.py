"""The XML tree of a MusicXML file: its encoding, and the container of compressed MusicXML."""

import codecs
import io
import posixpath
import re
import zipfile
from xml.etree import ElementTree

from pianogen.midi.scores.errors import ScoreError
from pianogen.names import comparable
from pianogen.zip_names import ZIP_ERRORS, member_name, open_zip

MAX_XML_BYTES = 16_777_216
_SCORE_SUFFIXES = (".xml", ".musicxml")
_CONTAINER = "META-INF/container.xml"
_DECLARED_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_tree(data: bytes) -> ElementTree.Element:
    """The root of MusicXML, plain or compressed, whose tags have no namespaces.

    Raises:
        ScoreError: the data is damaged, or larger than 16,777,216 bytes when it is uncompressed.
    """
    if data.startswith(b"PK\x03\x04"):
        data = _read_container(data)
    return _parse(data)


def _parse(data: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(_decode(data).lstrip())  # an empty line before the declaration does not matter
    except (ElementTree.ParseError, UnicodeError) as error:
        raise ScoreError(f"not well-formed XML: {error}") from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def _decode(data: bytes) -> str:
    """The text of an XML file: its byte order mark decides, then the first two bytes, then the declaration, else UTF-8."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding)
    if data.startswith(b"<\0"):
        return data.decode("utf-16-le")
    if data.startswith(b"\0<"):
        return data.decode("utf-16-be")
    declared = _DECLARED_ENCODING.match(data.lstrip())
    encoding = declared[1].decode() if declared else "utf-8"
    if encoding.lower().startswith(("utf-16", "utf-32", "ucs-")):
        encoding = "utf-8"  # the declaration was kept when another program converted the file
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise ScoreError(f"the encoding {encoding} is unknown; convert the file to UTF-8") from error


def _read_container(data: bytes) -> bytes:
    """The score of compressed MusicXML: the one that META-INF/container.xml names, otherwise the only one."""
    try:
        with open_zip(io.BytesIO(data)) as archive:
            members = {_normalized(_decode_name(info)): info for info in archive.infolist() if not info.is_dir()}
            name = _root_file(_read_member(archive, members[_CONTAINER])) if _CONTAINER in members else None
            if name not in members:
                name = _only_score(list(members), name)
            return _read_member(archive, members[name])
    except ZIP_ERRORS as error:  # in memory, an OSError can only mean damaged data and not a failing disk
        raise ScoreError(f"the compressed score is damaged: {type(error).__name__}: {error}") from error


def _decode_name(info: zipfile.ZipInfo) -> str:
    """The name of a member as text: programs write UTF-8 also without declaring it."""
    name = member_name(info)
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def _normalized(path: str) -> str:
    """A path in the form in which the names of the container and of the members are compared."""
    return comparable(posixpath.normpath(path.replace("\\", "/")).lstrip("/"))


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        content = member.read(MAX_XML_BYTES + 1)
    if len(content) > MAX_XML_BYTES:
        raise ScoreError(f"{info.filename} in the compressed score has more than {MAX_XML_BYTES:,} bytes", "too_large")
    return content


def _root_file(container: bytes) -> str:
    """The path of the score: the first one that is declared as MusicXML, else the first XML file, else the first file."""
    paths = {path: file.get("media-type", "") for file in _parse(container).iter("rootfile") if (path := file.get("full-path"))}
    if not paths:
        raise ScoreError(f"{_CONTAINER} names no file")
    declared = [path for path, media_type in paths.items() if "musicxml" in media_type]
    candidates = [*declared, *(path for path in paths if path.lower().endswith(_SCORE_SUFFIXES)), *paths]
    return _normalized(candidates[0])


def _only_score(names: list[str], missing: str | None) -> str:
    """The name of the only score.

    Args:
        missing: the name in the container that no member has; None without a container.
    """
    scores = [
        name
        for name in names
        if name.lower().endswith(_SCORE_SUFFIXES)
        and not name.startswith(("META-INF/", "__MACOSX/"))
        and not posixpath.basename(name).startswith("._")  # a file that macOS writes beside others
    ]
    if len(scores) == 1:
        return scores[0]
    if missing is not None:
        found = f"the file has {len(scores)} scores, expected it or one score"
        raise ScoreError(f"{_CONTAINER} names {missing}, which is not in the file; {found}")
    raise ScoreError(f"{len(scores)} scores and no {_CONTAINER} that names one of them; expected one score")
