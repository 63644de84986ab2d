//! A service that does nothing, for the tests of `vigie up`: it has a service's real lifecycle, probes
//! and exit codes. `STAND_IN` chooses one that cannot use its settings or does not end when asked.

use std::process::ExitCode;

use service::{Context, Info, Setting, Settings};

static SETTINGS: &[Setting] = &[Setting {
    name: "STAND_IN",
    default: Some("good"),
    expected: "good or stubborn",
    help: "how it behaves",
    secret: false,
}];

fn read(settings: &mut Settings) -> bool {
    settings.parse("STAND_IN", |text| match text {
        "good" => Ok(false),
        "stubborn" => Ok(true),
        _ => Err(String::new()),
    })
}

async fn work(context: Context, stubborn: bool) -> anyhow::Result<()> {
    context.health.component("work").up();
    context.shutdown.cancelled().await;
    if stubborn {
        std::future::pending::<()>().await;
    }
    Ok(())
}

fn main() -> ExitCode {
    service::main(Info { name: "stand-in" }, SETTINGS, read, work)
}
