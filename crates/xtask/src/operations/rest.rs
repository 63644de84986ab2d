//! What services hold that have nothing to do.

use std::{fs, time::Duration};

use tokio::time::sleep;

use super::site::Site;

/// How long they rest before they are looked at.
const REST: Duration = Duration::from_secs(10);
/// The aim for each, in bytes.
const AIM: u64 = 12 << 20;
/// A key that verifies releases; nobody has its other half.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// Starts them, lets them rest, reads their memory.
///
/// # Errors
/// When one does not start.
pub async fn measure(site: Site) -> anyhow::Result<String> {
    let bus = site.bus().await?;
    fs::write(site.folder.join("hook.secret"), "a secret of more than thirty-two signs")?;
    fs::write(
        site.folder.join("hooks.toml"),
        "[github]\nforge = \"github\"\nsecret_file = \"hook.secret\"\nrepository = \"you/bot\"\n\
         branch = \"main\"\n",
    )?;
    fs::create_dir_all(site.folder.join("bot"))?;
    let nowhere = "http://127.0.0.1:9/".to_owned();
    let services = [
        ("healthcheck", vec![("HEALTHCHECK_DATA", site.path("health")), ("ALERT_WEBHOOK", nowhere)]),
        (
            "backup",
            vec![
                ("DATABASE_URL", "none".to_owned()),
                ("BACKUP_REPOSITORY", site.path("repository")),
                ("BACKUP_PASSWORD", "correct horse battery".to_owned()),
                ("BACKUP_DATA", site.path("backup")),
            ],
        ),
        (
            "webhook-deploy",
            vec![
                ("WEBHOOK_HOOKS_FILE", site.path("hooks.toml")),
                ("WEBHOOK_ADDR", format!("127.0.0.1:{}", testkit::free_port())),
            ],
        ),
        (
            "deployer",
            vec![
                ("DEPLOY_FOLDER", site.path("bot")),
                ("DEPLOY_DATA", site.path("deployer")),
                ("DEPLOY_RELEASE", site.path("bot/release.json")),
                ("DEPLOY_RELEASE_KEY", KEY.to_owned()),
            ],
        ),
    ];
    let mut running = Vec::new();
    for (name, settings) in services {
        running.push(site.service(name, &settings)?);
    }
    sleep(REST).await;
    let mut text = format!(
        "`cargo xtask operations --only rest`; {} s after the start.\n\n\
         | service | resident | its share of it | aim |\n|---|---|---|---|\n",
        REST.as_secs()
    );
    for service in &running {
        let (resident, share) = (service.process.resident()?, service.process.share()?);
        let verdict = if resident < AIM { "met" } else { "**not met**" };
        text += &format!(
            "| {} | {} | {} | below {}: {verdict} |\n",
            service.process.name,
            mebibytes(resident),
            mebibytes(share),
            mebibytes(AIM)
        );
    }
    bus.drain().await;
    Ok(text)
}

/// Bytes for people.
pub fn mebibytes(bytes: u64) -> String {
    // Far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    format!("{mebibytes:.1} MiB")
}
