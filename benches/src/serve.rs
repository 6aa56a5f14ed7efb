//! The server that is measured: the real one, in a world that stands still.

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::Result;
use instar_serve::{Metrics, Options, Readiness};
use tokio_util::sync::CancellationToken;

use crate::decide;

pub(crate) fn run(cert_dir: PathBuf) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let metrics = Metrics::default();
        let app = decide::app(&metrics)?;
        let options = Options {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            health_port: 0,
            cert_dir,
            ..Options::default()
        };
        let running =
            instar_serve::start(app, options, metrics, Readiness::default(), CancellationToken::new()).await?;
        println!("{}", running.tls_addr());
        Ok(running.stopped().await?)
    })
}
