//! The Twitch gateway as a process.

fn main() -> std::process::ExitCode {
    service::main(
        service::Info { name: env!("CARGO_PKG_NAME") },
        twitch_gateway::SETTINGS,
        twitch_gateway::Config::read,
        twitch_gateway::run,
    )
}
