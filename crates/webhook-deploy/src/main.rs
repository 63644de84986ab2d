//! The binary that faces the internet; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let info = service::Info { name: env!("CARGO_PKG_NAME") };
    service::main(info, webhook_deploy::SETTINGS, webhook_deploy::Config::read, webhook_deploy::run)
}
