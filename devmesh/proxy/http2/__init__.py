"""HTTP/2 (RFC 9113), both roles, over the reactor's connections.

A *wire* is one connection: it reads and writes frames, keeps both directions' windows and watches what the
peer does with them. Its *streams* are what an exchange sees: on the server's side each answers one exchange
(`devmesh.proxy.exchange.Downstream`), on the client's side each carries one try (`Carrier`).

Memory is bounded by windows: what an exchange cannot pass on is not credited, so its peer stops sending.
"""
