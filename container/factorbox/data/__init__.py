"""Interactions: reading them from files, coding their ids, holding them in rows."""
