//! Without a rule nothing changes, and everything is written down.

use std::time::Duration;

use futures::{StreamExt, pin_mut};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        fault_proxy::{DryRun, Record, Verb},
        journeys::JourneyContext,
    },
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;

use crate::clients::{Line, map};

const SOON: Duration = Duration::from_mins(2);

pub(crate) async fn without_a_rule(scene: JourneyContext) -> Result<()> {
    let line = Line::start(&scene).await?;
    let made = line.create("one").await?;
    let tried = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    line.maps.create(&tried, &map("two")).await?;
    let old = made.resource_version().context("no resourceVersion")?;
    let patch = |value: &str| json!({ "metadata": { "resourceVersion": old }, "data": { "key": value } });
    let parameters = PatchParams::default();
    let patched = line
        .maps
        .patch("one", &parameters, &Patch::Merge(patch("first")))
        .await?;
    let conflict = line
        .maps
        .patch("one", &parameters, &Patch::Merge(patch("second")))
        .await;
    assert!(
        matches!(&conflict, Err(kube::Error::Api(status)) if status.is_conflict()),
        "{conflict:?}"
    );
    line.maps.replace("one", &PostParams::default(), &patched).await?;
    let list = line.maps.list(&ListParams::default()).await?;
    assert_eq!(list.items.len(), 1);
    let from = list.metadata.resource_version.context("no resourceVersion")?;
    {
        let events = line.maps.watch(&WatchParams::default(), &from).await?;
        pin_mut!(events);
        line.maps.delete("one", &DeleteParams::default()).await?;
        // The API server sends it at once; a proxy that kept it until the end would keep it long.
        let event = tokio::time::timeout(SOON, events.next())
            .await?
            .context("the watch ended")??;
        assert!(matches!(event, WatchEvent::Deleted(_)), "{event:?}");
        let open = line.proxy.records();
        assert!(
            open.iter()
                .any(|record| record.request.verb == Verb::Watch && record.ended.is_none())
        );
    }
    let over = |record: &Record| record.request.verb == Verb::Watch && record.ended.is_some();
    line.proxy.wait_for_record("watch that is over", SOON, over).await?;

    let nodes = Api::<Node>::all(line.client.clone()).list(&ListParams::default()).await;
    let Err(kube::Error::Api(forbidden)) = nodes else {
        panic!("the account of the journey may list nodes: {nodes:?}")
    };
    let who = format!("User \"system:serviceaccount:{}:journey\"", scene.namespace);
    assert!(forbidden.message.contains(&who), "{}", forbidden.message);

    let expected = [
        (1, Verb::Create, "configmaps", Some("one"), DryRun::No, 201),
        (2, Verb::Create, "configmaps", Some("two"), DryRun::All, 201),
        (3, Verb::Patch, "configmaps", Some("one"), DryRun::No, 200),
        (4, Verb::Patch, "configmaps", Some("one"), DryRun::No, 409),
        (5, Verb::Update, "configmaps", Some("one"), DryRun::No, 200),
        (6, Verb::List, "configmaps", None, DryRun::No, 200),
        (7, Verb::Watch, "configmaps", None, DryRun::No, 200),
        (8, Verb::Delete, "configmaps", Some("one"), DryRun::No, 200),
        (9, Verb::List, "nodes", None, DryRun::No, 403),
    ];
    let records = line.proxy.records();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            assert_eq!(record.server, record.client, "{record:?}");
            assert_eq!(record.fault, None);
            let request = &record.request;
            let status = record.server.map_or(0, |status| status.as_u16());
            (
                record.number,
                request.verb,
                request.resource.as_str(),
                request.name.as_deref(),
                request.dry_run,
                status,
            )
        })
        .collect();
    assert_eq!(told, expected);
    assert_eq!(records[0].request.namespace.as_deref(), Some(scene.namespace.as_str()));
    let committed = records.iter().filter(|record| record.is_committed());
    assert_eq!(committed.map(|record| record.number).collect::<Vec<_>>(), [1, 3, 5, 8]);
    assert_eq!(line.proxy.writes().len(), 6);
    ends(line).await?;
    say(format!("faults: transparent points={} violations=0", expected.len()));
    Ok(())
}

/// Stopped, it closes what is open and takes nothing more.
async fn ends(line: Line) -> Result<()> {
    let events = line.maps.watch(&WatchParams::default(), "0").await?;
    pin_mut!(events);
    line.proxy.stop().await?;
    let rest = tokio::time::timeout(SOON, events.collect::<Vec<_>>()).await?;
    assert!(
        rest.iter().all(|event| !matches!(event, Ok(WatchEvent::Error(_)))),
        "{rest:?}"
    );
    let refused = line.maps.get_opt("one").await;
    assert!(
        matches!(&refused, Err(error) if !matches!(error, kube::Error::Api(_))),
        "{refused:?}"
    );
    Ok(())
}
