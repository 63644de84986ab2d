//! The command line of the project's own commands. Each command is a module of the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, chaos, conformance, demo, nats, operations, schema, test, tidy};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and chat with the bot on a local Discord and a local Twitch
    Demo(demo::Options),
    /// Run everything that must pass, or with --compose the stack on a Docker engine
    Test(test::Options),
    /// Hold the shape of the project: crate table, module docs, file sizes, settings, links
    Tidy,
    /// Write docs/schema/*.json from the code
    Schema(schema::Options),
    /// Let other people's Discord and Twitch clients judge the sandbox
    Conformance(conformance::Options),
    /// Measure latency, CPU and memory beside a bot of one process
    Bench(bench::Options),
    /// Kill, stop and cut parts under load, and count what is lost or answered twice
    Chaos(chaos::Options),
    /// Measure how soon a fault is known, how long backups take, and what services hold at rest
    Operations(operations::Options),
    /// Find or fetch nats-server and print its path
    Nats,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Tidy => tidy::run(),
        Command::Schema(options) => schema::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Chaos(options) => chaos::run(&options),
        Command::Operations(options) => operations::run(&options),
        Command::Nats => nats::print(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            xtask::shell::complain(&format!("error: {reason:#}"));
            ExitCode::FAILURE
        }
    }
}
