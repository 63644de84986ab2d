# Short names for the commands of the project; `cargo xtask --help` tells all of them.

# List these names
default:
    @just --list

# Chat with the bot on a local Discord and a local Twitch
demo *arguments:
    cargo xtask demo {{ arguments }}

# Everything that must pass
test:
    cargo xtask test

# The shape of the project
tidy:
    cargo build && cargo xtask tidy

# Latency, CPU and memory beside a bot of one process
bench:
    cargo xtask bench

# Kill, stop and cut parts under load, and count what is lost or answered twice
chaos *arguments:
    cargo xtask chaos {{ arguments }}

# Run the bot with the settings in .env
up:
    cargo build --release && target/release/vigie up

# Licences, sources and known weaknesses of the dependencies (needs cargo-deny)
deny:
    cargo deny check
