from devmesh.model.outside import OutsideNames


def test_the_most_specific_name_holds() -> None:
    names = OutsideNames(
        {"*.Example.com": ["1.1.1.1"], "*.b.example.com": ["2.2.2.2"], "a.example.com": ["3.3.3.3"]}
    )
    assert names.addresses("a.example.com") == ("3.3.3.3",)
    assert names.addresses("x.b.example.com") == ("2.2.2.2",)
    assert names.addresses("y.example.com") == ("1.1.1.1",)
    assert names.addresses("example.com") is None
