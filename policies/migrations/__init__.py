"""The revisions of the main database's schema, run by `policies.revisions`."""
