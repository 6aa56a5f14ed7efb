//! The ports of a cluster. They are fixed: it has a network namespace of its own.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context, Result, bail};

/// etcd, for kube-apiserver.
pub const ETCD: u16 = 2379;
/// etcd, for its (absent) peers.
pub const ETCD_PEERS: u16 = 2380;
/// kube-apiserver.
pub const API_SERVER: u16 = 6443;
/// kube-controller-manager.
pub const CONTROLLER_MANAGER: u16 = 10257;
/// The webhooks of Cluster API's core.
pub const CORE_WEBHOOKS: u16 = 9449;
/// The webhooks of the bootstrap provider.
pub const BOOTSTRAP_WEBHOOKS: u16 = 9444;
/// The webhooks of the control plane provider.
pub const CONTROL_PLANE_WEBHOOKS: u16 = 9445;
/// The webhooks of the infrastructure provider.
pub const INFRASTRUCTURE_WEBHOOKS: u16 = 9446;
/// The health of Cluster API's core.
pub const CORE_HEALTH: u16 = 9459;
/// The health of the bootstrap provider.
pub const BOOTSTRAP_HEALTH: u16 = 9454;
/// The health of the control plane provider.
pub const CONTROL_PLANE_HEALTH: u16 = 9455;
/// The health of the infrastructure provider.
pub const INFRASTRUCTURE_HEALTH: u16 = 9456;
/// The state of the simulated workload clusters.
pub const SIMULATION: u16 = 19000;
/// The API server of the first simulated workload cluster; the next ones follow.
pub const FIRST_WORKLOAD: u16 = 20000;
/// The webhooks of Cluster API Provider vSphere.
pub const VSPHERE_WEBHOOKS: u16 = 9447;
/// The health of Cluster API Provider vSphere.
pub const VSPHERE_HEALTH: u16 = 9457;
/// A webhook server without webhooks, which the vCenter simulator opens. It takes no other port.
pub const SIMULATOR_WEBHOOKS: u16 = 9443;
/// The health of the vCenter simulator.
pub const SIMULATOR_HEALTH: u16 = 9453;
/// Instar's webhooks.
pub const WEBHOOK: u16 = 9460;
/// The health of Instar's admission server.
pub const WEBHOOK_HEALTH: u16 = 9461;
/// The health of Instar's controller.
pub const CONTROLLER_HEALTH: u16 = 9462;
/// The health of one more controller, which a test starts beside the first.
pub const SECOND_CONTROLLER_HEALTH: u16 = 9463;
/// The health of one more admission server.
pub const SECOND_WEBHOOK_HEALTH: u16 = 9464;

/// etcd of the cluster that a test moves to.
pub const SECOND_ETCD: u16 = 12379;
/// The same, for its (absent) peers.
pub const SECOND_ETCD_PEERS: u16 = 12380;
/// kube-apiserver of the cluster that a test moves to.
pub const SECOND_API_SERVER: u16 = 16443;
/// The webhooks of Cluster API's core there, which nothing calls.
pub const SECOND_CORE_WEBHOOKS: u16 = 19449;
/// The health of Cluster API's core there.
pub const SECOND_CORE_HEALTH: u16 = 19459;
/// Instar's webhooks there.
pub const SECOND_WEBHOOK: u16 = 19460;

/// All that must be free before a cluster starts.
pub const ALL: [u16; 29] = [
    ETCD,
    ETCD_PEERS,
    API_SERVER,
    CONTROLLER_MANAGER,
    CORE_WEBHOOKS,
    BOOTSTRAP_WEBHOOKS,
    CONTROL_PLANE_WEBHOOKS,
    INFRASTRUCTURE_WEBHOOKS,
    CORE_HEALTH,
    BOOTSTRAP_HEALTH,
    CONTROL_PLANE_HEALTH,
    INFRASTRUCTURE_HEALTH,
    VSPHERE_WEBHOOKS,
    VSPHERE_HEALTH,
    SIMULATOR_WEBHOOKS,
    SIMULATOR_HEALTH,
    SIMULATION,
    FIRST_WORKLOAD,
    WEBHOOK,
    WEBHOOK_HEALTH,
    CONTROLLER_HEALTH,
    SECOND_CONTROLLER_HEALTH,
    SECOND_WEBHOOK_HEALTH,
    SECOND_ETCD,
    SECOND_ETCD_PEERS,
    SECOND_API_SERVER,
    SECOND_CORE_WEBHOOKS,
    SECOND_CORE_HEALTH,
    SECOND_WEBHOOK,
];

/// A socket that listens in this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its port.
    pub port: u16,
    inode: u64,
}

impl Listener {
    /// Who holds it, as `name (pid 12)`; none where that process belongs to somebody else.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        let socket = format!("socket:[{}]", self.inode);
        let processes = fs::read_dir("/proc").ok()?.flatten();
        for process in processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
            let Ok(files) = fs::read_dir(process.path().join("fd")) else {
                continue;
            };
            if files
                .flatten()
                .any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(&socket)))
            {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some(format!(
                    "{} (pid {})",
                    name.trim(),
                    process.file_name().to_string_lossy()
                ));
            }
        }
        None
    }
}

/// Every TCP socket that listens in this network namespace.
pub fn listeners() -> Result<Vec<Listener>> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel without IPv6 has no second table.
        let Ok(text) = fs::read_to_string(table) else { continue };
        found.extend(text.lines().skip(1).filter_map(parse));
    }
    Ok(found)
}

/// A line is `sl local_address rem_address st ... inode`, addresses are in hexadecimal.
fn parse(line: &str) -> Option<Listener> {
    const LISTEN: &str = "0A";
    let columns: Vec<_> = line.split_whitespace().collect();
    if *columns.get(3)? != LISTEN {
        return None;
    }
    let (_, port) = columns.get(1)?.rsplit_once(':')?;
    Some(Listener {
        port: u16::from_str_radix(port, 16).ok()?,
        inode: columns.get(9)?.parse().ok()?,
    })
}

/// Refuses where a port of ours is taken, naming the port and who holds it.
pub fn check_free() -> Result<()> {
    if let Some(taken) = listeners()?.into_iter().find(|listener| ALL.contains(&listener.port)) {
        let owner = taken.owner().unwrap_or_else(|| "a process of another user".to_owned());
        bail!(
            "port {} is in use by {owner}, and without a network namespace a management cluster needs it: \
             stop that process (`make down` if it is another management cluster), or run as root",
            taken.port
        );
    }
    Ok(())
}

/// Whether somebody accepts connections at a port on loopback.
pub async fn accepts(port: u16) -> Result<()> {
    tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("connecting to 127.0.0.1:{port}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_owner_of_a_port() {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listeners()
            .unwrap()
            .into_iter()
            .find(|listener| listener.port == port)
            .unwrap();
        let owner = found.owner().unwrap();
        assert!(owner.contains(&format!("(pid {})", std::process::id())), "{owner}");
    }

    #[test]
    fn a_connection_is_no_listener() {
        let line = "0: 0100007F:18EB 0100007F:0001 01 00000000:00000000 00:00000000 00000000 0 0 4711 1";
        assert_eq!(parse(line), None);
        let listening = parse(&line.replace(" 01 ", " 0A ")).unwrap();
        assert_eq!(
            listening,
            Listener {
                port: 0x18EB,
                inode: 4711
            }
        );
    }
}
