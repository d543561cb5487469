# One image for the API and the workers; which one it is, its command says.
FROM node:22-slim AS page
WORKDIR /app
COPY . .
RUN apt-get update && apt-get install -y --no-install-recommends make && make graphiql

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 patchbay && mkdir /data && chown patchbay /data
WORKDIR /app
COPY requirements.lock .
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY --from=page /app .
RUN .venv/bin/python -m compileall -q channels delivery gateway models resolvers schema
USER patchbay
ENV PATCHBAY_HOST=0.0.0.0 PATCHBAY_DATA_DIR=/data PATCHBAY_LOG_FORMAT=json PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/app/patchbay"]
CMD ["serve"]
