"""Packets: any bytes can be read or refused, and what is written another implementation reads."""

from __future__ import annotations

import contextlib

import pytest
from dnslib import RR, DNSRecord
from hypothesis import example, given, strategies

from devmesh.runtime.dns import message
from devmesh.runtime.dns.directory import Directory
from devmesh.runtime.dns.message import MalformedQuery

from .conftest import MESH, question, read

LABEL = strategies.binary(min_size=1, max_size=63)
NAMES = strategies.lists(LABEL, max_size=3).map(
    lambda labels: b"".join(bytes([len(x)]) + x for x in labels) + b"\0"
)


def packet(name: bytes, *, flags: int = 0x0100, tail: bytes = b"", extra: int = 0) -> bytes:
    head = bytes([0x12, 0x34]) + flags.to_bytes(2, "big") + bytes([0, 1, 0, 0, 0, 0, 0, extra])
    return head + name + bytes([0, 1, 0, 1]) + tail


@given(strategies.binary(max_size=600))
@example(b"\xff" * 12)
@example(packet(b"\x3f" + b"a" * 63) + b"")
@example(packet(b"\xc0\x0c"))
@example(packet(b"\1a\0", tail=b"\0\0\x29\xff\xff\0\0\x80\0\0\0", extra=1))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        query = message.parse(data)
    except MalformedQuery as error:
        if error.answerable is not None:
            read(message.format_error(error.answerable))
        return
    read(message.answer(query, message.SERVFAIL, limit=512))


@given(NAMES, strategies.integers(0, 255), strategies.booleans())
def test_any_name_is_answered_or_passed_on(name: bytes, kind: int, edns: bool) -> None:
    data = packet(name, tail=b"\0\0\x29\x04\xd0\0\0\0\0\0\0" if edns else b"", extra=int(edns))
    query = message.parse(data)
    assert query.id == 0x1234
    if query.name is None:
        return
    found = Directory(MESH).answer(query.name, kind, "default")
    if found is not None:
        reply = message.answer(query, found.code, found.records, found.authority, limit=query.udp_size)
        assert len(reply) <= query.udp_size
        assert message.answers_to(reply, query.id, query.question)
        read(reply)


def test_a_dot_inside_a_label_does_not_make_it_two() -> None:
    assert message.parse(packet(b"\x0freviews.default\0")).name is None


def test_a_compressed_name_is_no_question() -> None:
    with pytest.raises(MalformedQuery, match="compressed"):
        message.parse(packet(b"\xc0" + b"a" * 192 + b"\0"))


def test_case_is_kept_in_the_echo_of_the_question() -> None:
    query = message.parse(question("ReViEwS"))
    assert query.name == "reviews"
    assert str(read(message.answer(query, 0, limit=512)).q.qname) == "ReViEwS."


def test_what_does_not_fit_is_truncated() -> None:
    query = message.parse(question("reviews"))
    records = [message.address_record(f"10.0.0.{number}") for number in range(200)]

    reply = read(message.answer(query, 0, records, limit=query.udp_size))

    assert (reply.header.tc, reply.rr) == (1, [])
    assert len(read(message.answer(query, 0, records, limit=message.MAX_SIZE)).rr) == 200


def test_additional_records_go_first() -> None:
    query = message.parse(question("reviews"))
    records = [message.address_record(f"10.0.0.{number}") for number in range(20)]
    extra = [message.address_record(f"10.0.1.{number}", "x") for number in range(20)]

    reply = read(message.answer(query, 0, records, additional=extra, limit=512))

    assert (reply.header.tc, len(reply.rr), reply.ar) == (0, 20, [])


def test_edns_lets_udp_carry_more() -> None:
    asked = DNSRecord.question("reviews")
    asked.add_ar(edns(1232))
    query = message.parse(asked.pack())
    assert query.udp_size == 1232
    assert len(read(message.answer(query, 0, limit=query.udp_size)).ar) == 1


def edns(size: int) -> object:
    from dnslib import EDNS0

    return EDNS0(udp_len=size)


@pytest.mark.parametrize("opcode", [1, 2, 4, 5])
def test_other_operations_are_known_as_such(opcode: int) -> None:
    assert message.parse(packet(b"\1a\0", flags=opcode << 11)).opcode == opcode


def test_an_answer_is_no_query() -> None:
    with pytest.raises(MalformedQuery) as refused:
        message.parse(packet(b"\1a\0", flags=0x8000))
    assert refused.value.answerable is None  # else two servers could talk for ever


@given(strategies.binary(max_size=80), strategies.integers(0, 0xFFFF))
def test_only_the_same_question_is_answered(data: bytes, identity: int) -> None:
    query = message.parse(question("reviews"))
    mine = message.answer(query, 0, limit=512)
    assert message.answers_to(mine, query.id, query.question)
    assert not message.answers_to(mine, query.id ^ 1, query.question)
    with contextlib.suppress(MalformedQuery):
        assert not message.answers_to(data, identity, query.question)


@given(strategies.binary(max_size=300))
@example(bytes(7) + b"\x09" + bytes(4) + b"\xc0\x0c" * 20)
def test_answers_of_others_are_read_as_far_as_they_go(data: bytes) -> None:
    message.records_of(data)


def test_compressed_answers_are_read() -> None:
    asked = DNSRecord.question("www.example.net")
    reply = asked.reply()
    reply.add_answer(*RR.fromZone("www.example.net 60 CNAME a.example.net\na.example.net 60 A 192.0.2.1"))

    records = message.records_of(bytes(reply.pack()))

    assert records == [
        message.Record(message.CNAME, message.pack_name("a.example.net"), "www.example.net", 60),
        message.Record(message.A, bytes([192, 0, 2, 1]), "a.example.net", 60),
    ]
