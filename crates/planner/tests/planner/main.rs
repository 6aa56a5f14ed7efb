//! The planner in a simulated world, in named scenarios, and in tables of what it waits for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is missing"
)]

mod addons;
mod canary;
mod catalogs;
mod completed;
mod failure;
mod hosted;
mod involved_object;
mod left;
mod life;
mod machine_pools;
mod machine_pools_back;
mod paused_rollout;
mod pinned;
mod progress;
mod properties;
mod provisioning;
mod restart;
mod restart_worlds;
mod retire;
mod rollout;
mod scenarios;
mod stuck;
mod templates;
mod topology;
mod verification;
mod violations;
mod waiting;
mod way_back;
mod way_back_addons;
mod way_back_etcd;
mod way_back_table;
mod world;
