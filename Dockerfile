# One image for all roles: `tickerplant produce`, `process`, `sink clickhouse`, `sink parquet`, `deploy`,
# `checkpoint`, `lag-exporter`.
# How it is run: docker-compose.yml, docs/containers.md, docs/kubernetes.md.

FROM ghcr.io/astral-sh/uv:0.13.0 AS uv

FROM python:3.13.9-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /src
# What we depend on changes seldom: a layer of its own. Wheels alone, each by its hash: no compiler is needed anywhere.
COPY requirements.runtime.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /opt/tickerplant \
    && uv pip sync --python /opt/tickerplant --require-hashes --only-binary :all: requirements.runtime.lock
COPY . ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv build --wheel --build-constraints requirements.lock --require-hashes --out-dir /dist . \
    && uv pip install --python /opt/tickerplant --no-deps --no-index /dist/*.whl

FROM python:3.13.9-slim-bookworm AS runtime
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tickerplant" \
      org.opencontainers.image.description="Market data from venues through Kafka into ClickHouse and Parquet" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 tickerplant \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/tickerplant --shell /usr/sbin/nologin tickerplant \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/tickerplant
COPY --from=build /opt/tickerplant /opt/tickerplant
# The home takes nothing but the note of the metrics port: all else of the file system may be read-only.
ENV PATH=/opt/tickerplant/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TICKERPLANT_LOCAL__HOME=/var/lib/tickerplant \
    TICKERPLANT_METRICS__HOST=0.0.0.0 \
    TICKERPLANT_METRICS__PORT=9400
WORKDIR /var/lib/tickerplant
USER 10001:10001
EXPOSE 9400
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["tickerplant", "health", "--live"]
ENTRYPOINT ["tickerplant"]
CMD ["--help"]
