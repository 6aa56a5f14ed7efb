//! What tests share: running journeys, what they create and do, and what they look at afterwards.

pub mod catalog;
pub mod classic;
pub mod commands;
pub mod controller;
pub mod dump;
pub mod fault_proxy;
pub mod fixtures;
pub mod gates;
pub mod journeys;
pub mod kubelet;
pub mod ledger;
pub mod lost;
pub mod machine_pools;
pub mod metrics;
pub mod record;
pub mod request;
mod results;
pub mod runtime_hooks;
pub mod second_cluster;
pub mod topology;
pub mod upgrade;
pub mod windows;
