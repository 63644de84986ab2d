//! A service that does nothing, for the tests of `vigie up`: it has a service's real lifecycle, probes
//! and exit codes. `STAND_IN` chooses one that cannot use its settings, does not end when asked, or is told to
//! start again at once.

use std::process::ExitCode;

use service::{Context, Info, Setting, Settings};

static SETTINGS: &[Setting] = &[Setting {
    name: "STAND_IN",
    default: Some("good"),
    expected: "good, stubborn or fickle",
    help: "how it behaves",
    secret: false,
}];

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Manner {
    #[default]
    Good,
    Stubborn,
    Fickle,
}

fn read(settings: &mut Settings) -> Manner {
    settings.parse("STAND_IN", |text| match text {
        "good" => Ok(Manner::Good),
        "stubborn" => Ok(Manner::Stubborn),
        "fickle" => Ok(Manner::Fickle),
        _ => Err(String::new()),
    })
}

async fn work(context: Context, manner: Manner) -> anyhow::Result<()> {
    context.health.component("work").up();
    if manner == Manner::Fickle {
        context.start_again_when(std::future::ready(true));
    }
    context.shutdown.cancelled().await;
    if manner == Manner::Stubborn {
        std::future::pending::<()>().await;
    }
    Ok(())
}

fn main() -> ExitCode {
    service::main(Info { name: "stand-in" }, SETTINGS, read, work)
}
