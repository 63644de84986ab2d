# A forge of the trials: git over ssh, as GitHub and Gitea have it.
FROM debian:trixie-slim
RUN set -eu; apt-get -q update; \
    apt-get -q install -y --no-install-recommends git openssh-server; \
    rm -rf /var/lib/apt/lists/*; mkdir -p /run/sshd
# An account without a password is locked for ssh; one whose password nobody can type is not.
RUN useradd --create-home --shell /usr/bin/git-shell --password '*' git; install -d -o git -g git /srv/git
CMD ["/usr/sbin/sshd", "-D", "-e", "-h", "/keys/host", "-o", "AuthorizedKeysFile=/keys/author.pub /keys/bot.pub", \
     "-o", "StrictModes=no", "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no"]
