# kafkascope-probe as an image. Built from the root of the workspace:
#
#   docker build -f deploy/probe.Dockerfile -t registry.example/kafkascope-probe:0.1.0 .
#
# Our tests do not build this: they have no container runtime. They run the same commands outside of one.
FROM rust:1.95.0-trixie AS build
WORKDIR /src
COPY . .
# The tools that compile kernel programs: set-up says what is missing, and the build embeds what it can.
RUN cargo xtask setup --only bpf
RUN cargo build --locked --profile dist -p kafkascope-probe --bin kafkascope-probe

FROM debian:trixie-slim
# To know a collector that is spoken to by TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/dist/kafkascope-probe /usr/local/bin/
# Capabilities are given to root. Which ones it needs is in deploy/kubernetes/probe.yaml.
USER 0:0
EXPOSE 9601
ENTRYPOINT ["/usr/local/bin/kafkascope-probe"]
