"""Who is calling and how it is proven: identities' certificates, the CA, TLS contexts, policy decisions."""
