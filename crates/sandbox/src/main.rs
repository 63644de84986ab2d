//! The `sandbox` binary; see [`sandbox::cli`].

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use sandbox::cli::{self, Args};
use tracing_subscriber::{
    Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let level = std::env::var("LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match std::env::var("LOG_FORMAT").as_deref() {
        Ok("json") => lines.json().flatten_event(true).boxed(),
        _ => lines.compact().boxed(),
    };
    tracing_subscriber::registry().with(lines).with(level.unwrap_or(LevelFilter::INFO)).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(cli::run(args)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
