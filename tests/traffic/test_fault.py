from devmesh.snapshot.route import Fault
from devmesh.traffic.fault import abort_for, delay_for


def test_a_delay_hits_its_share() -> None:
    fault = Fault(delay=7.0, delay_percent=10.0)
    assert [delay_for(fault, draw) for draw in (0.0, 0.0999, 0.1, 0.99)] == [7.0, 7.0, 0.0, 0.0]


def test_an_abort_hits_its_share() -> None:
    fault = Fault(abort_status=500, abort_percent=50.0)
    assert [abort_for(fault, draw) for draw in (0.49, 0.5)] == [(500, None), None]


def test_nothing_happens_without_a_share() -> None:
    fault = Fault(delay=1.0, abort_status=500)
    assert delay_for(fault, 0.0) == 0.0
    assert abort_for(fault, 0.0) is None


def test_all_is_all() -> None:
    fault = Fault(delay=1.0, delay_percent=100.0, abort_status=418, abort_percent=100.0)
    assert delay_for(fault, 0.999_999) == 1.0
    assert abort_for(fault, 0.999_999) == (418, None)


def test_a_grpc_abort_is_a_200() -> None:
    assert abort_for(Fault(abort_grpc_status=14, abort_percent=100.0), 0.0) == (200, 14)
