//! One process of a cluster: its log, its life, its end.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::{process::Command, sync::watch, time::timeout};

use crate::{procfs::Identity, progress::say};

/// The variable that tells a test program that it runs inside the namespaces, and in which cluster.
/// The programs of a cluster don't get it.
pub const INSIDE: &str = "INSTAR_E2E_INSIDE";

/// How long a process has to end by itself: what Kubernetes gives a pod.
const GRACE: Duration = Duration::from_secs(30);

/// What a process is started with.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its name, for people and for its log file.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What is added to the environment.
    pub environment: Vec<(String, OsString)>,
    /// Where its output goes, after what an earlier start left there.
    pub log: PathBuf,
}

/// A process that was started. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    identity: Identity,
    log: PathBuf,
    /// Set before we end it ourselves, so that only surprises are reported.
    expected: Arc<AtomicBool>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts a process that lives no longer than this one.
    pub async fn start(launch: Launch) -> Result<Self> {
        // A process dies with the *thread* that started it (PR_SET_PDEATHSIG); the threads of
        // the runtime's workers live as long as the runtime, those of a test do not.
        tokio::spawn(async move { Self::start_here(launch) }).await?
    }

    fn start_here(launch: Launch) -> Result<Self> {
        let Launch {
            name,
            program,
            arguments,
            environment,
            log,
        } = launch;
        let mut output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        writeln!(output, "--- {} {}", program.display(), arguments.join(" "))?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program)
            .args(arguments)
            .envs(environment)
            .env_remove(INSIDE)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let identity = child
            .id()
            .and_then(Identity::of)
            .with_context(|| format!("{name} ended at once"))?;
        let (sender, exit) = watch::channel(None);
        let expected = Arc::new(AtomicBool::new(false));
        let process = Self {
            name,
            identity,
            log,
            expected: Arc::clone(&expected),
            exit,
        };
        let (title, log) = (process.title(), process.log.clone());
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                if !expected.load(Ordering::SeqCst) {
                    say(format!(
                        "{title} ended by itself ({status}); its log: {}",
                        log.display()
                    ));
                }
                sender.send_replace(Some(status));
            }
        });
        Ok(process)
    }

    fn title(&self) -> String {
        format!("{} (pid {})", self.name, self.identity.pid)
    }

    /// Which process it is.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Fails if it has ended, with the end of its log.
    pub fn check_runs(&self) -> Result<()> {
        if let Some(status) = *self.exit.borrow() {
            bail!(
                "{} ended ({status}). The end of {}:\n{}",
                self.title(),
                self.log.display(),
                last_lines(&self.log, 15)
            );
        }
        Ok(())
    }

    /// Asks it to end, and ends it if it takes too long.
    pub async fn stop(&mut self) -> Result<()> {
        self.end(Signal::TERM).await
    }

    /// Ends it without asking.
    pub async fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL).await
    }

    async fn end(&mut self, signal: Signal) -> Result<()> {
        self.expected.store(true, Ordering::SeqCst);
        for signal in [signal, Signal::KILL] {
            if self.exit.borrow().is_some() {
                return Ok(());
            }
            // Fails if it has just ended, which the wait below finds out.
            let _ = self.identity.signal(signal);
            if timeout(GRACE, self.exit.wait_for(Option::is_some)).await.is_ok() {
                return Ok(());
            }
        }
        bail!("{} did not end, even when killed", self.title())
    }
}

/// A journey that fails in the middle leaves nothing behind that holds a port of the next one.
impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.borrow().is_none() {
            self.expected.store(true, Ordering::SeqCst);
            // Fails if it has just ended.
            let _ = self.identity.signal(Signal::KILL);
        }
    }
}

/// The last lines of a file, without those that are empty.
#[must_use]
pub fn last_lines(path: &Path, count: usize) -> String {
    const ENOUGH: u64 = 64 << 10;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = fs::metadata(path)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let mut last = VecDeque::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if last.len() == count {
            last.pop_front();
        }
        last.push_back(line);
    }
    Vec::from(last).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::wait_for;

    fn shell(dir: &Path, script: &str) -> Launch {
        Launch {
            name: "shell".to_owned(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("GREETING".to_owned(), "hello".into())],
            log: dir.join("shell.log"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_end_is_reported_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(shell(dir.path(), "echo $GREETING; exit 3"))
            .await
            .unwrap();
        let error = wait_for("the end", Duration::from_secs(5), || async {
            process.check_runs().err().ok_or_else(|| "it runs".into())
        });
        let error = error.await.unwrap().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("hello"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn stops() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(shell(dir.path(), "sleep 100")).await.unwrap();
        process.check_runs().unwrap();
        process.stop().await.unwrap();
        assert!(!process.identity().is_alive());
    }
}
