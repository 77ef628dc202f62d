# syntax=docker/dockerfile:1
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install --no-deps --require-hashes -r /tmp/requirements.txt

FROM python:${PYTHON}-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=spoke.settings \
    SPOKE_ENV=production \
    LOG_FORMAT=json \
    STORAGE_DIR=/data/files \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics \
    GRANIAN_INTERFACE=wsgi \
    GRANIAN_HOST=0.0.0.0 \
    GRANIAN_PORT=8000 \
    GRANIAN_WORKERS=2 \
    GRANIAN_BLOCKING_THREADS=4 \
    GRANIAN_WEBSOCKETS=false \
    GRANIAN_RESPAWN_FAILED_WORKERS=true
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin spoke \
    && install -d -o spoke -g spoke /data /data/files /tmp/metrics
WORKDIR /app
COPY --from=dependencies /opt/venv /opt/venv
COPY . .
# Static files are hashed and compressed once, here. No value given here is in the image afterwards.
RUN SPOKE_SECRET_KEY=only-for-collectstatic-only-for-collectstatic-only-for-it \
    SPOKE_BASE_URL=https://build.invalid \
    python manage.py collectstatic --no-input --verbosity 0
USER spoke
VOLUME /data
EXPOSE 8000
# Under the name that people use: the server refuses others.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "\
import os, urllib.parse, urllib.request as web; \
host = urllib.parse.urlsplit(os.environ['SPOKE_BASE_URL']).netloc; \
url = 'http://127.0.0.1:' + os.environ['GRANIAN_PORT'] + '/health/live'; \
web.urlopen(web.Request(url, headers={'Host': host}), timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["granian", "spoke.wsgi:application"]
