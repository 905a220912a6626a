"""Who is who: the certificate authority in memory, certificates and the TLS contexts made of them."""
