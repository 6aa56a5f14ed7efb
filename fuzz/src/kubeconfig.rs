//! The kubeconfig that a Secret holds.

use instar_workload::{Kubeconfig, WorkloadClient};
use tokio::runtime::Builder;

/// What a refusal says of the text: no more than the longest name of a field, and the words around it.
const LONGEST_REFUSAL: usize = 512;

/// Of any text either a client can be made that talks to one server over TLS, or it is refused in few words.
pub fn kubeconfig(input: &[u8]) {
    match Kubeconfig::read(input) {
        Ok(read) => {
            assert!(!read.host().is_empty() && !read.host().contains('@'), "{read:?}");
            assert!(read.authorities().next().is_some(), "no authority signs for {read:?}");
            let runtime = Builder::new_current_thread().build().expect("a runtime without IO");
            // Certificates that TLS can't use are an error, and no panic.
            runtime.block_on(async { drop(WorkloadClient::new(&read)) });
        }
        Err(refusal) => {
            let refusal = refusal.to_string();
            assert!(refusal.len() < LONGEST_REFUSAL && !refusal.contains('\n'), "{refusal}");
        }
    }
}
