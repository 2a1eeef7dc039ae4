# One image for every service: the first argument is the module to run, for example
#   docker run market-pipeline:0.1.0 services.ratio
# Nothing here needs BuildKit.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
# What builds a wheel is pinned with hashes too, so that nothing is fetched unchecked.
RUN python -m pip install --quiet --require-hashes -r requirements/build.txt \
 && python -m venv --without-pip /opt/market \
 && python -m pip --python /opt/market/bin/python install --quiet --require-hashes --no-deps --no-build-isolation \
      -r requirements/runtime.txt \
 && find /opt/market/lib -type d -name tests -prune -exec rm -rf {} +
COPY pyproject.toml README.md ./
COPY bench bench
COPY feed feed
COPY market market
COPY marketdata marketdata
COPY services services
COPY streaming streaming
RUN python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m pip --python /opt/market/bin/python install --quiet --no-deps --no-index /wheels/*.whl \
 && install -d -o 10001 -g 10001 /data

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/market /opt/market
# Frames that wait for Kafka are kept here: the one folder a service writes to.
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/opt/market/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOG_FORMAT=json \
    METRICS_HOST=0.0.0.0 \
    METRICS_PORT=9100 \
    SPOOL_DIR=/data/spool
USER 10001:10001
WORKDIR /data
EXPOSE 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=180s --retries=6 \
  CMD ["/opt/market/bin/python", "-m", "streaming.probe"]
ENTRYPOINT ["/opt/market/bin/python", "-m"]
CMD ["market", "--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="market-pipeline" \
      org.opencontainers.image.description="Trades to Kafka, stock/BTC ratios, candles, database: every service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
