# syntax=docker/dockerfile:1
FROM node:24-slim AS base
WORKDIR /app
COPY package.json package-lock.json .npmrc ./

FROM base AS build
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY plugins plugins
COPY queues queues
COPY schemas schemas
COPY web web
RUN npm run build && rm -f dist/.tsbuildinfo && find dist -name '*.map' -delete

FROM base AS dependencies
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

FROM node:24-slim
LABEL org.opencontainers.image.title="StableQueue" \
      org.opencontainers.image.description="One dependable queue in front of any number of AUTOMATIC1111 / Forge Stable Diffusion servers" \
      org.opencontainers.image.licenses="MIT"
# Redis for `start` without REDIS_URL; a service of it is never started in a container. The font labels grids.
RUN apt-get update \
 && apt-get install -y --no-install-recommends redis-server fonts-dejavu-core \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o node -g node /data
WORKDIR /app
COPY package.json ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
# Without tsconfig.json the launcher neither installs nor builds.
COPY src/launch.mjs src/load.mjs src/prepare.mjs src/
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/data
# A start stores its compiled code, of a time with a server, in /app, where later ones cannot write; api and worker take it.
RUN set -e; \
    redis-server --save '' --daemonize yes --dir /tmp > /dev/null; \
    node src/launch.mjs simulator --host 127.0.0.1 --port 7860 > /dev/null & simulator=$!; \
    trap 'kill $simulator; redis-cli shutdown nosave' EXIT; \
    HOST=127.0.0.1 DATA_DIR=/tmp/first-start REDIS_URL=redis://127.0.0.1:6379 A1111_URL=http://127.0.0.1:7860 \
      node src/launch.mjs start & service=$!; \
    for second in $(seq 120); do \
      if ls dist/bundle/cli.cjs.cache/start-* > /dev/null 2>&1; then break; fi; sleep 1; \
    done; \
    kill $service; wait $service || true; \
    rm -rf /tmp/first-start; \
    ls dist/bundle/cli.cjs.cache/start-*
USER node
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(reply => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "src/launch.mjs"]
CMD ["start"]
