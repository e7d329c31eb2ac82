# kafkascope-proxy as an image. Built from the root of the workspace:
#
#   docker build -f deploy/proxy.Dockerfile -t registry.example/kafkascope-proxy:0.1.0 .
#
# Our tests do not build this: they have no container runtime. They run the same commands outside of one.
FROM rust:1.95.0-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist -p kafkascope-proxy

FROM debian:trixie-slim
# To know a collector that is spoken to by TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/dist/kafkascope-proxy /usr/local/bin/
# It needs no privilege.
USER 65532:65532
EXPOSE 9600 19092
ENTRYPOINT ["/usr/local/bin/kafkascope-proxy"]
