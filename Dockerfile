# The control plane and its bridge: `docker build -t aibridge .`; docs/operations.md says how to run the image.

FROM node:22-slim AS packages
WORKDIR /aibridge
COPY package.json package-lock.json ./
# tRPC names the TypeScript compiler as a peer (30 MB), which only its types need; --legacy-peer-deps leaves it out.
RUN npm ci --omit=dev --legacy-peer-deps --ignore-scripts
RUN find node_modules -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' \) -delete

FROM node:22-slim AS build
WORKDIR /aibridge
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY shared shared
COPY client client
COPY server server
COPY web web
COPY scripts/ship-database.js scripts/ship-database.js
COPY scripts/build-page.js scripts/build-page.js
RUN node_modules/.bin/tsc -p tsconfig.build.json && node scripts/ship-database.js
RUN node scripts/build-page.js
RUN find dist -type f \( -name '*.d.ts' -o -name '*.d.cts' -o -name '*.map' \) -delete
RUN mkdir data

FROM node:22-slim
WORKDIR /aibridge
COPY package.json LICENSE ./
COPY --from=packages /aibridge/node_modules node_modules
COPY --from=build /aibridge/dist dist
# The embedded store, the admin token and the encryption key; with DATABASE_URL and the two secrets in the environment nothing is written here.
COPY --from=build --chown=node:node /aibridge/data /data
ENV NODE_ENV=production BRIDGE_DATA=/data BRIDGE_HOST=0.0.0.0 BRIDGE_PORT=4100
VOLUME /data
EXPOSE 4100
USER node
# The first start unpacks a database, which may take a second.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.BRIDGE_PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "dist/server/cli.js"]
CMD ["serve"]
