"""All SQL and all files of the service. Functions take a session inside their caller's transaction."""
