"""The program that stands for Istio's pilot-agent."""

from __future__ import annotations

import http.client

import pytest

from devmesh.runtime import pilot_agent


class Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    def read(self) -> bytes:
        return self._body


class Connection:
    """Stands for the admin interface."""

    asked: list[tuple[str, int, str, str]]
    answers: list[Answer]

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._where = (host, port)

    def request(self, method: str, path: str, headers: dict[str, str]) -> None:
        Connection.asked.append((*self._where, method, path))

    def getresponse(self) -> Answer:
        return Connection.answers.pop(0)


@pytest.fixture(autouse=True)
def admin(monkeypatch: pytest.MonkeyPatch) -> None:
    Connection.asked, Connection.answers = [], []
    monkeypatch.setattr(http.client, "HTTPConnection", Connection)
    monkeypatch.setattr(pilot_agent.time, "sleep", lambda seconds: None)


def test_a_request_prints_the_body(capfd: pytest.CaptureFixture[str]) -> None:
    Connection.answers = [Answer(200, b"LIVE")]
    assert pilot_agent.main(["request", "get", "ready"]) == 0
    assert Connection.asked == [("127.0.0.1", 15000, "GET", "/ready")]
    assert capfd.readouterr().out == "LIVE\n"


def test_the_port_can_be_given(capfd: pytest.CaptureFixture[str]) -> None:
    Connection.answers = [Answer(200, b"x\n"), Answer(200, b"x\n")]
    assert pilot_agent.main(["request", "--debug-port", "15020", "GET", "/stats"]) == 0
    assert pilot_agent.main(["request", "GET", "/stats", "--debug-port=15090"]) == 0
    assert [asked[1] for asked in Connection.asked] == [15020, 15090]


def test_a_refusal_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    Connection.answers = [Answer(404, b"invalid path\n")]
    assert pilot_agent.main(["request", "GET", "nothing"]) == 255
    assert "received unsuccessful status code 404: invalid path\n" in capfd.readouterr().err


def test_waiting_ends_with_readiness() -> None:
    Connection.answers = [Answer(503, b""), Answer(200, b"")]
    assert pilot_agent.main(["wait"]) == 0
    assert [asked[1] for asked in Connection.asked] == [15021, 15021]


def test_waiting_ends_by_itself() -> None:
    Connection.answers = [Answer(503, b"")]
    assert pilot_agent.main(["wait", "--timeoutSeconds=-1"]) == 255


@pytest.mark.parametrize("words", [[], ["proxy", "sidecar"], ["request"]])
def test_other_uses_are_told_what_there_is(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert pilot_agent.main(words) == 255
    assert "usage: pilot-agent request" in capfd.readouterr().err
