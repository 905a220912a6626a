"""What happened: one record per request or connection, folded into bounded memory."""
