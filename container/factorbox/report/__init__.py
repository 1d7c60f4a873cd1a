"""The report of a job: a page for people and its numbers for programs."""
