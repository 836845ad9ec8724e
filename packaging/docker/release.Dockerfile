# The image of a released program. `cargo xtask dist` puts this file and the program into one archive per processor:
#
#   docker build --tag sessionwatch - < sessionwatch-VERSION-container-amd64.tar.gz
#
# It behaves like the image of packaging/docker/Dockerfile, which compiles the program. This one is larger, because the
# program needs a C library.
FROM debian:stable-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65532 -g 65532 /var/lib/sessionwatch
COPY --chmod=755 sessionwatch /sessionwatch
USER 65532:65532
WORKDIR /var/lib/sessionwatch
VOLUME /var/lib/sessionwatch
EXPOSE 9797
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sessionwatch"]
# Inside of a container, only this address can be reached from outside.
CMD ["serve", "--listen", "0.0.0.0:9797"]
