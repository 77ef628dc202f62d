"""Spoke. Its Celery application is loaded with the package, so that web processes enqueue to it."""

from spoke.celery import app as celery_app

__all__ = ["celery_app"]
