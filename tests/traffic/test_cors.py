from devmesh.snapshot.match import Exact, Prefix
from devmesh.snapshot.route import Cors
from devmesh.traffic.cors import preflight, response
from devmesh.traffic.routing import RequestHead

CORS = Cors(
    origins=(Exact("https://a.example"), Prefix("https://b.")),
    methods="GET,POST",
    headers="x-one,x-two",
    expose="x-three",
    max_age="60",
    credentials=True,
)


def asks(origin: str, method: str = "OPTIONS", wanted: str = "GET") -> RequestHead:
    headers = {"origin": origin, "access-control-request-method": wanted}
    return RequestHead(method, "/", "a", "http", {k: v for k, v in headers.items() if v})


def test_a_preflight_of_an_allowed_origin_is_answered() -> None:
    assert preflight(CORS, asks("https://b.example")) == [
        ("access-control-allow-origin", "https://b.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "x-one,x-two"),
        ("access-control-max-age", "60"),
        ("access-control-expose-headers", "x-three"),
    ]


def test_what_is_no_preflight_goes_on() -> None:
    assert preflight(CORS, asks("https://a.example", "GET")) is None
    assert preflight(CORS, asks("", "OPTIONS")) is None
    assert preflight(CORS, asks("https://a.example", wanted="")) is None


def test_a_preflight_of_another_origin_goes_on_unless_it_is_to_be_ignored() -> None:
    assert preflight(CORS, asks("https://evil.example")) is None
    ignoring = Cors(methods="GET", credentials=True, forward_unmatched=False)
    assert preflight(ignoring, asks("https://evil.example")) == [("access-control-allow-methods", "GET")]


def test_responses_to_allowed_origins_say_so() -> None:
    assert response(CORS, "https://a.example") == [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-three"),
    ]
    assert response(CORS, "https://evil.example") == []
    assert response(CORS, None) == []
