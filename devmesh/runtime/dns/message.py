"""DNS packets (RFC 1035, RFC 6891), as far as a server of addresses needs them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

A, CNAME, SOA, PTR, AAAA, SRV, OPT, ANY = 1, 5, 6, 12, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
HEADER_SIZE = 12
MAX_SIZE = 65535
_SMALLEST_UDP = 512  # what a client without EDNS takes
_LARGEST_UDP = 4096
_HEADER = struct.Struct("!HHHHHH")
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_QUESTION_POINTER = b"\xc0\x0c"  # the question's name, which begins right after the header
_DO = 0x8000


class MalformedQuery(ValueError):
    """A packet that is no query. `answerable` is its header, if it has one that FORMERR may be said to."""

    def __init__(self, reason: str, answerable: bytes | None = None) -> None:
        super().__init__(reason)
        self.answerable = answerable


@dataclass(frozen=True, slots=True)
class Query:
    """One question, and what the asker can take.

    `name` is in lower case, without the final dot; None where a label holds a dot or is no ASCII, so
    that it can't be a name of ours. `question` is the question as it came, for the answer and for
    comparing answers of others.
    """

    id: int
    name: str | None
    type: int
    klass: int
    opcode: int
    recursion: bool
    question: bytes
    udp_size: int
    edns: bool
    dnssec: bool


@dataclass(frozen=True, slots=True)
class Record:
    """`name` None is the question's."""

    type: int
    data: bytes
    name: str | None = None
    ttl: int = 30


def parse(packet: bytes) -> Query:
    """Read a query.

    Raises:
        MalformedQuery: It has no header, is an answer, or its question can't be read.
    """
    if len(packet) < HEADER_SIZE:
        raise MalformedQuery("shorter than a header")
    identity, flags, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
    if flags & _QR:
        raise MalformedQuery("an answer")
    header = packet[:HEADER_SIZE]
    opcode = flags >> 11 & 0xF
    if opcode != 0:
        return Query(identity, None, 0, 0, opcode, False, b"", _SMALLEST_UDP, False, False)
    if questions != 1 or answers or authorities:
        raise MalformedQuery("not exactly one question", header)
    labels, end = _labels(packet, header)
    if end + 4 > len(packet):
        raise MalformedQuery("the question is cut off", header)
    kind, klass = struct.unpack_from("!HH", packet, end)
    size, edns, dnssec = _read_edns(packet, end + 4, additional)
    recursion = bool(flags & _RD)
    question = packet[HEADER_SIZE : end + 4]
    return Query(identity, _name(labels), kind, klass, opcode, recursion, question, size, edns, dnssec)


def _labels(packet: bytes, header: bytes) -> tuple[list[bytes], int]:
    labels: list[bytes] = []
    offset = HEADER_SIZE
    while True:
        if offset >= len(packet):
            raise MalformedQuery("the name is cut off", header)
        length = packet[offset]
        if length == 0:
            return labels, offset + 1
        if length > 63:
            raise MalformedQuery("a compressed name in a question", header)
        labels.append(packet[offset + 1 : offset + 1 + length])
        offset += 1 + length
        if offset - HEADER_SIZE > 254:
            raise MalformedQuery("the name is longer than 255 bytes", header)


def _name(labels: Sequence[bytes]) -> str | None:
    if any(b"." in label or not label.isascii() for label in labels):
        return None
    return b".".join(labels).decode("ascii").lower()


def _read_edns(packet: bytes, offset: int, count: int) -> tuple[int, bool, bool]:
    """Return (what UDP may carry, EDNS was there, DNSSEC is wanted); anything odd counts as no EDNS."""
    if count == 1 and offset + 11 <= len(packet) and packet[offset] == 0:
        kind, size, _, flags, _ = struct.unpack_from("!HHHHH", packet, offset + 1)
        if kind == OPT:
            return min(max(size, _SMALLEST_UDP), _LARGEST_UDP), True, bool(flags & _DO)
    return _SMALLEST_UDP, False, False


def answer(
    query: Query,
    code: int,
    records: Sequence[Record] = (),
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    limit: int,
    authoritative: bool = True,
) -> bytes:
    """Write an answer of at most `limit` bytes; what does not fit makes it a truncated one, without records.

    Additional records are left out first: nobody depends on them.
    """
    packet = _assemble(query, code, records, authority, additional, authoritative)
    if len(packet) > limit and additional:
        packet = _assemble(query, code, records, authority, (), authoritative)
    if len(packet) > limit:
        packet = _assemble(query, code, (), (), (), authoritative, truncated=True)
    return packet


def _assemble(
    query: Query,
    code: int,
    records: Sequence[Record],
    authority: Sequence[Record],
    additional: Sequence[Record],
    authoritative: bool,
    *,
    truncated: bool = False,
) -> bytes:
    flags = _QR | _RA | query.opcode << 11 | code
    flags |= (_RD if query.recursion else 0) | (_AA if authoritative else 0) | (_TC if truncated else 0)
    sections = [*records, *authority, *additional]
    extra = len(additional) + (1 if query.edns else 0)
    counts = (1 if query.question else 0, len(records), len(authority), extra)
    parts = [_HEADER.pack(query.id, flags, *counts), query.question]
    for record in sections:
        name = _QUESTION_POINTER if record.name is None else pack_name(record.name)
        parts.append(name + struct.pack("!HHIH", record.type, IN, record.ttl, len(record.data)) + record.data)
    if query.edns:
        parts.append(struct.pack("!BHHIH", 0, OPT, _LARGEST_UDP, 0, 0))
    return b"".join(parts)


def format_error(header: bytes) -> bytes:
    """Write FORMERR to a query of which only the header could be read."""
    identity, flags, *_ = _HEADER.unpack(header)
    return _HEADER.pack(identity, _QR | _RA | flags & (_RD | 0x7800) | FORMERR, 0, 0, 0, 0)


def pack_name(name: str) -> bytes:
    """Write a name, uncompressed."""
    labels = [label.encode("ascii", "replace")[:63] for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def address_record(address: str, name: str | None = None) -> Record:
    """Make an A or AAAA record."""
    parsed = ipaddress.ip_address(address)
    return Record(A if parsed.version == 4 else AAAA, parsed.packed, name)


def name_record(target: str) -> Record:
    """Make a PTR record."""
    return Record(PTR, pack_name(target))


def alias_record(target: str) -> Record:
    """Make a CNAME record."""
    return Record(CNAME, pack_name(target))


def service_record(port: int, target: str) -> Record:
    """Make an SRV record (RFC 2782); priority and weight as CoreDNS gives them to a lone target."""
    return Record(SRV, struct.pack("!HHH", 0, 100, port) + pack_name(target))


def authority_record(zone: str) -> Record:
    """Make the SOA record that says how long "there is none" is good for (RFC 2308)."""
    names = pack_name(f"ns.dns.{zone}") + pack_name(f"hostmaster.{zone}")
    return Record(SOA, names + struct.pack("!IIIII", 1, 7200, 1800, 86400, 5), zone, ttl=5)


def ask_for(name: str, query: Query) -> tuple[bytes, Query]:
    """Write a query for `name` of the same type as `query`'s; return it, and what `parse` makes of it."""
    question = pack_name(name) + struct.pack("!HH", query.type, IN)
    return _HEADER.pack(query.id, _RD, 1, 0, 0, 0) + question, replace(query, name=name, question=question)


def records_of(packet: bytes) -> list[Record]:
    """Read the addresses and aliases in an answer; what can't be read ends the list."""
    count = int.from_bytes(packet[6:8], "big")
    found: list[Record] = []
    try:
        offset = _expand(packet, HEADER_SIZE)[1] + 4
        for _ in range(count):
            name, offset = _expand(packet, offset)
            kind, _, ttl, size = struct.unpack_from("!HHIH", packet, offset)
            offset += 10
            if kind in (A, AAAA):
                found.append(Record(kind, packet[offset : offset + size], name, ttl))
            elif kind == CNAME:
                found.append(Record(kind, pack_name(_expand(packet, offset)[0]), name, ttl))
            offset += size
    except (struct.error, IndexError, UnicodeError, ValueError):
        pass
    return found


def _expand(packet: bytes, offset: int) -> tuple[str, int]:
    """Read a name that may be compressed; return it, and where it ends."""
    labels: list[str] = []
    end = 0
    for _ in range(128):  # more labels than a name can have: a loop of pointers
        length = packet[offset]
        if length >= 0xC0:
            end = end or offset + 2
            offset = int.from_bytes(packet[offset : offset + 2], "big") & 0x3FFF
        elif length:
            labels.append(packet[offset + 1 : offset + 1 + length].decode("ascii"))
            offset += 1 + length
        else:
            return ".".join(labels), end or offset + 1
    raise ValueError("a name without an end")


def code_of(packet: bytes) -> int:
    """Return an answer's code (NOERROR, NXDOMAIN ...)."""
    return packet[3] & 0xF


def is_truncated(packet: bytes) -> bool:
    return bool(packet[2] & 0x02)


def with_id(packet: bytes, identity: int) -> bytes:
    """Return the same packet under another id."""
    return struct.pack("!H", identity) + packet[2:]


def answers_to(packet: bytes, identity: int, question: bytes) -> bool:
    """Tell whether a packet is an answer to this very question (names compare without case)."""
    if len(packet) < HEADER_SIZE + len(question) or not packet[2] & 0x80:
        return False
    echoed = packet[HEADER_SIZE : HEADER_SIZE + len(question)]
    return packet[:2] == struct.pack("!H", identity) and echoed.lower() == question.lower()
