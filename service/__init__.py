"""The server: submissions, wishes and results over REST. Imports neither torch nor ray."""
