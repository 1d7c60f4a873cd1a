"""Answering over HTTP: payloads in and out, the Flask application, the gunicorn server."""
