//! `mgmt` as people use it: up, beside another one, killed, down. On the host, not inside.
#![allow(clippy::unwrap_used, reason = "a test program: its helpers are tests too")]

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use instar_e2e::{
    cache::Cache,
    isolation::{Isolation, NO_NAMESPACE},
    ports,
    procfs::{self, Identity, Stat},
    rundir::RunDir,
    supervisor::Supervisor,
    wait::wait_for,
};
use rustix::process::Signal;

fn mgmt(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mgmt"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(text).unwrap()
}

fn ok(arguments: &[&str]) -> String {
    let output = mgmt(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "mgmt {}: {}",
        arguments.join(" "),
        said(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = mgmt(arguments).output().unwrap();
    assert!(
        !output.status.success(),
        "mgmt {}: {}",
        arguments.join(" "),
        said(&output)
    );
    said(&output)
}

/// A cluster that is taken down also when the test fails.
struct Up {
    name: String,
    run: RunDir,
}

impl Up {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        ok(&["up", "--name", &name]);
        let run = RunDir::of(&Cache::locate().unwrap(), &name.parse().unwrap());
        Self { name, run }
    }

    fn supervisor(&self) -> Supervisor {
        Supervisor::of(&self.run).unwrap()
    }

    fn processes(&self) -> Vec<Stat> {
        procfs::descendants(self.supervisor().outer.pid)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = mgmt(&["down", "--name", &self.name]).output();
    }
}

fn network(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
}

fn listening() -> BTreeSet<u16> {
    ports::listeners()
        .unwrap()
        .into_iter()
        .map(|listener| listener.port)
        .collect()
}

/// Kills one process of a cluster; all of them must be gone, and nothing else.
async fn kill(cluster: &Up, victim: Identity) {
    let all = cluster.processes();
    // The supervisor and its seven children, at least.
    assert!(all.len() >= 8, "{all:?}");
    victim.signal(Signal::KILL).unwrap();
    wait_for("the processes to end", Duration::from_secs(10), || async {
        match all.iter().find(|stat| stat.identity.is_alive()) {
            Some(stat) => Err(format!("pid {} runs", stat.identity.pid).into()),
            None if cluster.run.is_live().unwrap() => Err("the lock is held".into()),
            None => Ok(()),
        }
    })
    .await
    .unwrap();
    assert!(refused(&["status", "--name", &cluster.name]).contains("is not running"));
    assert!(cluster.run.root().is_dir());
    ok(&["down", "--name", &cluster.name]);
    assert!(!cluster.run.root().exists());
}

#[tokio::test]
async fn two_clusters_side_by_side_and_nothing_left_of_them() {
    if let Isolation::None(why) = Isolation::available() {
        eprintln!("not tried: no namespaces here ({why})");
        return;
    }
    let before = listening();
    let second = thread::spawn(|| Up::new("second"));
    let first = Up::new("first");
    let second = second.join().unwrap();

    for cluster in [&first, &second] {
        let status: serde_json::Value =
            serde_json::from_str(&ok(&["status", "--name", &cluster.name, "-o", "json"])).unwrap();
        let processes = status["processes"].as_array().unwrap();
        assert_eq!(processes.len(), 7);
        assert!(
            processes.iter().all(|process| process["state"] == "ready"),
            "{status:#}"
        );
        for process in processes {
            let pid = u32::try_from(process["pid"].as_u64().unwrap()).unwrap();
            assert_ne!(network(pid), network(std::process::id()), "{process}");
            assert!(Path::new(process["log"].as_str().unwrap()).is_file());
        }
        let nodes = ok(&[
            "run",
            "--name",
            &cluster.name,
            "--",
            "kubectl",
            "get",
            "crd",
            "-o",
            "name",
        ]);
        assert!(nodes.contains("clusterclasses.cluster.x-k8s.io"), "{nodes}");
    }
    let ours: Vec<_> = listening()
        .difference(&before)
        .copied()
        .filter(|port| ports::ALL.contains(port))
        .collect();
    assert!(ours.is_empty(), "listening outside: {ours:?}");
    assert!(refused(&["up", "--name", &first.name]).contains("is already running"));

    kill(&first, first.supervisor().outer).await;
    assert!(second.processes().iter().all(|stat| stat.identity.is_alive()));
    kill(&second, second.supervisor().inner().unwrap()).await;
}

#[test]
fn a_taken_port_is_named_with_who_has_it() {
    // Taken by somebody else already is as good.
    let _socket = TcpListener::bind((Ipv4Addr::LOCALHOST, ports::API_SERVER));
    let name = format!("refused-{}", std::process::id());
    let output = mgmt(&["up", "--name", &name]).env(NO_NAMESPACE, "1").output().unwrap();
    assert!(!output.status.success(), "{}", said(&output));
    let text = said(&output);
    let line = text.lines().last().unwrap();
    assert!(
        line.starts_with("mgmt: port ") && line.contains("is in use by ") && line.contains("(pid "),
        "{text}"
    );
    assert!(text.contains("listen on every address of this machine"), "{text}");
}

#[test]
fn what_does_not_run_is_said_in_one_line() {
    let text = refused(&["status", "--name", "no-such-cluster"]);
    assert_eq!(
        text,
        "mgmt: the management cluster `no-such-cluster` is not running: `make up` starts one\n"
    );
    assert!(refused(&["up", "--name", "../up"]).contains("is no name of a cluster"));
}
