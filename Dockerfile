# syntax=docker/dockerfile:1
# docker build -t spandrel .
# docker run -p 127.0.0.1:16686:16686 -p 127.0.0.1:4317:4317 -p 127.0.0.1:4318:4318 -v spandrel:/data spandrel

FROM node:22-bookworm-slim AS ui
WORKDIR /build/ui
COPY ui/package.json ui/package-lock.json ui/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY ui/ ./
RUN npm run build

FROM rust:1.95-bookworm AS binary
# Rust's image brings git and a C++20 compiler; libclang makes the bindings to RocksDB.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
COPY --from=ui /build/ui/dist ui/dist
# The mounts outlive the image: RocksDB is compiled for the first image, not for each.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/root/.cache/spandrel \
    --mount=type=cache,target=/build/target \
    SPANDREL_PROFILE=release scripts/rocksdb.sh \
    && cargo build --locked --release \
    && install -D target/release/spandrel /out/spandrel

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin spandrel \
    && install -d -o spandrel -g spandrel -m 750 /data
COPY --from=binary /out/spandrel /usr/bin/spandrel
COPY LICENSE /usr/share/doc/spandrel/LICENSE

# A container's loopback is its own: without these nobody could reach it. What the ports are
# published to is decided by `docker run -p`. The grace ends before `docker stop` loses patience (10 s).
ENV SPANDREL_DATA_DIR=/data \
    SPANDREL_HTTP_ADDR=0.0.0.0:16686 \
    SPANDREL_OTLP_GRPC_ADDR=0.0.0.0:4317 \
    SPANDREL_OTLP_HTTP_ADDR=0.0.0.0:4318 \
    SPANDREL_REQUIRE_AUTH=true \
    SPANDREL_SHUTDOWN_GRACE=8s
# These addresses reach beyond the container, so every port asks for a key. The first one:
#   docker exec CONTAINER spandrel keys create --role admin
USER 10001:10001
VOLUME /data
EXPOSE 16686 4317 4318

# Bash speaks TCP by itself, so the image needs no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/16686 && printf 'GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200'"]

ENTRYPOINT ["/usr/bin/spandrel"]
CMD ["serve"]
