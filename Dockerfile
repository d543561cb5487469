# One image for the API and the workers; which one it is, its command says. It has no HEALTHCHECK because a worker need not
# listen: compose.yaml says how to ask each.
FROM node:22-slim AS page
RUN apt-get update && apt-get install -y --no-install-recommends make tini
WORKDIR /app
COPY .npmrc Makefile package.json package-lock.json ./
RUN make graphiql

FROM python:3.13-slim
# As the first process of a container Python would not hear SIGTERM until it has started, nor a second one.
COPY --from=page /usr/bin/tini-static /usr/local/bin/tini
RUN useradd --no-create-home --uid 10001 patchbay && install -d -o patchbay -m 700 /data
WORKDIR /app
COPY requirements.lock .
RUN python -m venv --without-pip .venv && \
    pip --python .venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY --from=page /app/gateway/static/vendor gateway/static/vendor
COPY . .
RUN .venv/bin/python -m compileall -q channels delivery gateway models resolvers schema
USER patchbay
ENV PATH=/app:$PATH PATCHBAY_HOST=0.0.0.0 PATCHBAY_DATA_DIR=/data PATCHBAY_LOG_FORMAT=json PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["tini", "--", "patchbay"]
CMD ["serve"]
