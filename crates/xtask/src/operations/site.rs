//! A NATS server with its streams, and services beside it, each a process with a log in one folder.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use bus::{Bus, Options};
use protocol::{
    VERSION,
    control::{BackupOrder, BackupReply, BackupRequest, BackupStatus, Job},
};
use testkit::free_port;
use tokio::time::{Instant, sleep, timeout};

use crate::{parts, paths, process::Process};

/// How long the backup may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long its longest job may take.
const JOB_LIMIT: Duration = Duration::from_secs(600);
/// Between two looks.
pub const POLL: Duration = Duration::from_millis(20);

/// What runs, and where.
pub struct Site {
    /// Where logs and data are; emptied at the next run.
    pub folder: PathBuf,
    binaries: PathBuf,
    nats_server: PathBuf,
    port: u16,
    nats: Option<Process>,
    provision: Option<Process>,
}

/// A service that runs.
pub struct Service {
    /// Its process.
    pub process: Process,
    /// Where its probes and pages are.
    pub url: String,
}

impl Site {
    /// Starts NATS, with all streams.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, binaries: &Path, nats_server: &Path) -> anyhow::Result<Self> {
        let folder = paths::target().join("operations").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        let port = free_port();
        fs::write(folder.join("nats.conf"), parts::nats_config(port, &folder))?;
        let nats = Some(nats(nats_server, &folder)?);
        let (binaries, nats_server) = (binaries.to_owned(), nats_server.to_owned());
        let mut site = Self { folder, binaries, nats_server, port, nats, provision: None };
        site.provision()?;
        Ok(site)
    }

    /// Has all streams made, now and whenever NATS comes back.
    ///
    /// # Errors
    /// When that cannot be started.
    pub fn provision(&mut self) -> anyhow::Result<()> {
        let (program, words) = (self.binary("vigie"), ["provision", "--stay"]);
        let url = [("NATS_URL", self.url())];
        self.provision = Some(Process::start("provision", &program, &words, &url, &self.folder)?);
        Ok(())
    }

    /// Kills NATS and starts it again with nothing on its disk; nobody makes the streams.
    ///
    /// # Errors
    /// When it cannot be emptied, or started.
    pub fn empty_nats(&mut self) -> anyhow::Result<()> {
        self.provision = None;
        self.kill_nats();
        fs::remove_dir_all(parts::nats_data(&self.folder)).context("the data of NATS cannot be removed")?;
        self.resume_nats()
    }

    /// Kills NATS.
    pub fn kill_nats(&mut self) {
        self.nats = None;
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn resume_nats(&mut self) -> anyhow::Result<()> {
        self.nats = Some(nats(&self.nats_server, &self.folder)?);
        Ok(())
    }

    /// A connection, once all streams are there.
    ///
    /// # Errors
    /// When there is none.
    pub async fn bus(&self) -> anyhow::Result<Bus> {
        let bus = Bus::connect(Options { url: self.url(), name: "operations".to_owned() }).await?;
        let whole = async {
            while !bus::missing(&bus).await.is_empty() {
                sleep(POLL).await;
            }
        };
        timeout(parts::READY_LIMIT, whole).await.context("the streams were not made")?;
        Ok(bus)
    }

    fn url(&self) -> String {
        format!("nats://{}", self.nats_address())
    }

    /// Where NATS listens.
    pub fn nats_address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The path of a binary.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// A path in the folder.
    pub fn path(&self, below: &str) -> String {
        self.folder.join(below).display().to_string()
    }

    /// Starts a service with these settings.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn service(&self, name: &str, settings: &[(&str, String)]) -> anyhow::Result<Service> {
        self.wrapped(name, &[], settings)
    }

    /// The same as the last word of another command.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub fn wrapped(
        &self,
        name: &str,
        wrapper: &[&str],
        settings: &[(&str, String)],
    ) -> anyhow::Result<Service> {
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{address}");
        let mut variables = vec![
            ("NATS_URL", self.url()),
            ("VIGIE_HTTP_ADDR", address),
            ("VIGIE_INSTANCE", format!("{name}-1")),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ];
        variables.extend(settings.iter().cloned());
        let binary = self.binary(name);
        anyhow::ensure!(binary.is_file(), "there is no {}; is it built?", paths::shown(&binary));
        let process = match wrapper {
            [] => Process::start(name, &binary, &[], &variables, &self.folder)?,
            [program, words @ ..] => {
                let last = binary.display().to_string();
                let words: Vec<&str> = words.iter().copied().chain([last.as_str()]).collect();
                Process::start(name, Path::new(program), &words, &variables, &self.folder)?
            }
        };
        Ok(Service { process, url })
    }
}

fn nats(server: &Path, folder: &Path) -> anyhow::Result<Process> {
    let config = folder.join("nats.conf").display().to_string();
    let one_thread = [("GOMAXPROCS", "1".to_owned())];
    Process::start("nats-server", server, &["--config", &config], &one_thread, folder)
}

/// Has the backup do something, and waits for its end; looks meanwhile.
///
/// # Errors
/// When it is refused, or not over in time. That it failed is told with the job.
pub async fn job(bus: &Bus, order: BackupOrder, mut look: impl FnMut()) -> anyhow::Result<Job> {
    let id = match ask(bus, order).await? {
        BackupReply::Accepted { job } => job,
        other => anyhow::bail!("the backup did not begin: {other:?}"),
    };
    let began = Instant::now();
    loop {
        look();
        if let BackupReply::Status(status) = ask(bus, BackupOrder::Status).await?
            && let BackupStatus { job: Some(job), .. } = *status
            && job.id == id
            && job.end.is_some()
        {
            return Ok(job);
        }
        anyhow::ensure!(began.elapsed() < JOB_LIMIT, "{id} was not over in time");
        sleep(POLL).await;
    }
}

async fn ask(bus: &Bus, order: BackupOrder) -> anyhow::Result<BackupReply> {
    let request = BackupRequest { v: VERSION, by: "operations".to_owned(), order };
    Ok(bus.command("backup", &request, ANSWER_LIMIT).await?.reply)
}
