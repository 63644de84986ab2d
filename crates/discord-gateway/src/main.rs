//! The binary of the Discord gateway.

fn main() -> std::process::ExitCode {
    let info = service::Info { name: env!("CARGO_PKG_NAME") };
    service::main(info, discord_gateway::SETTINGS, discord_gateway::Config::read, discord_gateway::run)
}
