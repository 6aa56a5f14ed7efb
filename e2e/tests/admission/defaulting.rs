//! A provider whose webhook fills in a field that its older version didn't know, at any update of a template.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use axum::{Json, Router, routing::post};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use instar_e2e::{Context, Result, kubeconfig, support::journeys::JourneyContext, wait::wait_for};
use k8s_openapi::{ByteString, api::admissionregistration::v1::MutatingWebhookConfiguration};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::{Value, json};

const GROUP: &str = "infrastructure.cluster.x-k8s.io";
const KIND: &str = "JourneyMachineTemplate";
const PLURAL: &str = "journeymachinetemplates";
const NAME: &str = "m";

/// Sorted after Instar's first webhook, as those of providers are.
const WEBHOOK: &str = "journey-provider";

/// What the webhook fills in, in `spec.template.spec`.
const DEFAULT: &str = "bootMode";

const STEP: Duration = Duration::from_mins(1);

/// The account of a provider's controller.
const CONTROLLER: &str = "system:serviceaccount:journey-system:journey-controller";

/// What the webhook adds passes with an edit of the metadata, whoever makes it, and with one of a field that may be
/// changed; what a user adds doesn't.
pub(crate) async fn by_a_provider(scene: JourneyContext) -> Result<()> {
    define(&scene).await?;
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "mutable" },
        "spec": { "mutableTemplateFields": [{ "kind": KIND, "pointers": ["/spec/template/spec/cleaning"] }] },
    });
    scene.apply_object(policy).await?;
    scene
        .apply_object(json!({
            "apiVersion": format!("{GROUP}/v1beta2"),
            "kind": KIND,
            "metadata": { "name": NAME },
            "spec": { "template": { "spec": { "image": "a", "cleaning": "metadata" } } },
        }))
        .await?;
    let handle = Handle::new();
    let webhook = serve(&scene, &handle).await?;
    let seen = judged(&scene).await;
    handle.shutdown();
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(scene.mgmt.client());
    configurations.delete(WEBHOOK, &DeleteParams::default()).await?;
    webhook.await??;
    seen
}

async fn judged(scene: &JourneyContext) -> Result<()> {
    let user = templates(scene.mgmt.client(), scene);
    let path = scene.mgmt.run().kubeconfig();
    let controller = templates(kubeconfig::client_as(&path, CONTROLLER, "system:masters").await?, scene);
    let dry_run = PatchParams::default().dry_run();
    let label = |value: &str| json!({ "metadata": { "labels": { "journey.example.org/by": value } } });

    let told = wait_for("the webhook to fill in its default", STEP, || async {
        let merged = Patch::Merge(label("nobody"));
        let template = user.patch(NAME, &dry_run, &merged).await?;
        template
            .data
            .pointer(&pointer())
            .cloned()
            .ok_or_else(|| template.data.to_string().into())
    })
    .await?;
    assert_eq!(told, json!("uefi"), "with a user's label");

    // Where nothing is refused by mistake, an addition of the user's is still seen beside the webhook's.
    let own = json!({ "spec": { "template": { "spec": { "disk": "big" } } } });
    match user.patch(NAME, &dry_run, &Patch::Merge(own)).await {
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, 403, "{}", status.message);
            let expected = "/spec/template/spec/disk would be added";
            assert!(status.message.contains(expected), "{}", status.message);
        }
        other => panic!("a user's own addition: {other:?}"),
    }
    for (who, api, patch) in [
        (
            "the field that the policy names",
            &user,
            json!({ "spec": { "template": { "spec": { "cleaning": "disabled" } } } }),
        ),
        ("a controller's label", &controller, label("controller")),
    ] {
        let template = api.patch(NAME, &dry_run, &Patch::Merge(patch)).await.context(who)?;
        assert_eq!(template.data.pointer(&pointer()), Some(&json!("uefi")), "{who}");
    }
    // Not as a dry run: what was filled in is stored, and the next edit changes nothing more.
    user.patch(NAME, &PatchParams::default(), &Patch::Merge(label("user")))
        .await?;
    let stored = user.get(NAME).await?;
    assert_eq!(stored.data.pointer(&pointer()), Some(&json!("uefi")), "what is stored");
    Ok(())
}

fn pointer() -> String {
    format!("/spec/template/spec/{DEFAULT}")
}

fn templates(client: Client, scene: &JourneyContext) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: "v1beta2".to_owned(),
        api_version: format!("{GROUP}/v1beta2"),
        kind: KIND.to_owned(),
        plural: PLURAL.to_owned(),
    };
    Api::namespaced_with(client, &scene.namespace, &resource)
}

/// Serves the provider's webhook on loopback, and has the API server ask it.
async fn serve(
    scene: &JourneyContext,
    handle: &Handle<std::net::SocketAddr>,
) -> Result<tokio::task::JoinHandle<std::io::Result<()>>> {
    let pair = scene.mgmt.certificates().issue_server(WEBHOOK)?;
    let tls = RustlsConfig::from_pem(pair.certificate.into(), pair.key.into()).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let url = format!("https://{}/", listener.local_addr()?);
    let router = Router::new().route(
        "/",
        post(|Json(review): Json<Value>| async move { Json(answer(&review)) }),
    );
    let server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle.clone());
    let serving = tokio::spawn(server.serve(router.into_make_service()));
    scene
        .apply_object(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": WEBHOOK },
            "webhooks": [{
                "name": "default.journeymachinetemplate.example.org",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {
                    "url": url,
                    "caBundle": ByteString(scene.mgmt.certificates().authority().as_bytes().to_vec()),
                },
                "rules": [{
                    "apiGroups": [GROUP],
                    "apiVersions": ["*"],
                    "operations": ["UPDATE"],
                    "resources": [PLURAL],
                }],
            }],
        }))
        .await?;
    Ok(serving)
}

fn answer(review: &Value) -> Value {
    let has = review["request"]["object"].pointer(&pointer()).is_some();
    let mut response = json!({ "uid": review["request"]["uid"], "allowed": true });
    if !has {
        let patch = json!([{ "op": "add", "path": pointer(), "value": "uefi" }]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(ByteString(patch.to_string().into_bytes()));
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
}

/// A kind of machine template whose provider refuses nothing itself.
async fn define(scene: &JourneyContext) -> Result<()> {
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let name = format!("{PLURAL}.{GROUP}");
    scene
        .apply_object(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": name, "labels": { "cluster.x-k8s.io/v1beta2": "v1beta2" } },
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": { "kind": KIND, "plural": PLURAL, "singular": KIND.to_lowercase() },
                "versions": [{
                    "name": "v1beta2",
                    "served": true,
                    "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": open } } },
                }],
            },
        }))
        .await?;
    let all = templates(scene.mgmt.client(), scene);
    wait_for(&format!("{name} to be served"), STEP, || async {
        all.list(&ListParams::default()).await?;
        Ok(())
    })
    .await
}
