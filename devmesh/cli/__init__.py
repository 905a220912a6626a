"""The command line: clients of the API; offline verbs call the parts themselves."""
