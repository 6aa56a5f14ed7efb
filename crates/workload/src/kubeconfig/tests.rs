use serde_json::json;

use super::*;

/// What no error may contain.
const SECRET: &str = "s3cr3t-t0ken";

fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn pem() -> (String, String) {
    let certified = rcgen::generate_simple_self_signed(vec!["c.example.org".to_owned()]).unwrap();
    (
        base64(&certified.cert.pem()),
        base64(&certified.signing_key.serialize_pem()),
    )
}

/// One as Cluster API writes it.
fn good() -> Value {
    let (certificate, key) = pem();
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": "c-admin@c",
        "contexts": [{ "name": "c-admin@c", "context": { "cluster": "c", "user": "c-admin", "namespace": "default" } }],
        "clusters": [{ "name": "c", "cluster": {
            "server": "https://10.0.0.1:6443", "certificate-authority-data": certificate,
        } }],
        "users": [{ "name": "c-admin", "user": { "client-certificate-data": certificate, "client-key-data": key } }],
    })
}

fn read(kubeconfig: &Value) -> Result<Kubeconfig, KubeconfigError> {
    Kubeconfig::read(kubeconfig.to_string().as_bytes())
}

fn with(entry: &str, field: &str, value: Value) -> Value {
    let mut kubeconfig = good();
    let list = if entry == "context" {
        "contexts".to_owned()
    } else {
        format!("{entry}s")
    };
    kubeconfig[list][0][entry][field] = value;
    kubeconfig
}

#[test]
fn what_cluster_api_writes_is_read() {
    let read = read(&good()).unwrap();
    assert_eq!(read.host(), "10.0.0.1:6443");
    assert_eq!(read.authorities.len(), 1);
    assert!(read.certificate.is_some() && read.token.is_none());
}

#[test]
fn what_is_absent_by_its_value_is_not_refused() {
    let (_, key) = pem();
    for (entry, field, value) in [
        ("cluster", "insecure-skip-tls-verify", json!(false)),
        ("cluster", "proxy-url", json!("")),
        ("cluster", "extensions", json!([{ "name": "e", "extension": {} }])),
        ("cluster", "disable-compression", json!(true)),
        (
            "cluster",
            "server",
            json!("https://rancher.example.org/k8s/clusters/c-1"),
        ),
        ("user", "token", json!(format!("{SECRET}\n"))),
        ("user", "exec", Value::Null),
        ("user", "username", json!("")),
        ("user", "client-key-data", json!(format!("{key}\n"))),
    ] {
        assert!(read(&with(entry, field, value)).is_ok(), "{entry} {field}");
    }
    let mut others = good();
    others["users"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "other", "user": { "exec": { "command": "x" } } }));
    assert!(read(&others).is_ok(), "another context's user");
}

#[test]
fn what_could_run_read_or_send_something_is_refused_by_name() {
    let command = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": SECRET });
    for (entry, field, value, says) in [
        ("user", "exec", command.clone(), "users[].user.exec runs a program"),
        (
            "user",
            "auth-provider",
            command,
            "users[].user.auth-provider runs a program",
        ),
        (
            "user",
            "tokenFile",
            json!(SECRET),
            "users[].user.tokenFile names a file",
        ),
        (
            "user",
            "client-certificate",
            json!(SECRET),
            "users[].user.client-certificate names a file",
        ),
        (
            "user",
            "client-key",
            json!(SECRET),
            "users[].user.client-key names a file",
        ),
        ("user", "username", json!(SECRET), "users[].user.username is a password"),
        ("user", "password", json!(SECRET), "users[].user.password is a password"),
        ("user", "as", json!(SECRET), "users[].user.as impersonates"),
        ("user", "as-uid", json!(SECRET), "users[].user.as-uid impersonates"),
        (
            "user",
            "as-groups",
            json!([SECRET]),
            "users[].user.as-groups impersonates",
        ),
        (
            "user",
            "as-user-extra",
            json!({ "a": [SECRET] }),
            "users[].user.as-user-extra impersonates",
        ),
        (
            "user",
            SECRET,
            json!("x"),
            "users[].user has a field that Instar doesn't know",
        ),
        (
            "cluster",
            "certificate-authority",
            json!(SECRET),
            "clusters[].cluster.certificate-authority names a file",
        ),
        (
            "cluster",
            "insecure-skip-tls-verify",
            json!(true),
            "clusters[].cluster.insecure-skip-tls-verify is true",
        ),
        (
            "cluster",
            "proxy-url",
            json!(SECRET),
            "clusters[].cluster.proxy-url sends credentials through a proxy",
        ),
        (
            "cluster",
            "tls-server-name",
            json!(SECRET),
            "clusters[].cluster.tls-server-name verifies another name",
        ),
        (
            "cluster",
            SECRET,
            json!("x"),
            "clusters[].cluster has a field that Instar doesn't know",
        ),
    ] {
        assert_refused(&with(entry, field, value), says);
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let garbage = json!(base64(SECRET));
    for (entry, field, value, says) in [
        (
            "context",
            "cluster",
            json!(SECRET),
            "clusters has no entry with the name that contexts[].context.cluster has",
        ),
        ("context", "user", Value::Null, "contexts[].context.user is missing"),
        ("cluster", "server", Value::Null, "clusters[].cluster.server is missing"),
        ("cluster", "server", json!(7), "clusters[].cluster.server is not a text"),
        (
            "cluster",
            "server",
            json!("http://10.0.0.1"),
            "clusters[].cluster.server does not begin with https://",
        ),
        (
            "cluster",
            "server",
            json!("10.0.0.1:6443"),
            "clusters[].cluster.server does not begin with https://",
        ),
        (
            "cluster",
            "server",
            json!("https://a b"),
            "clusters[].cluster.server is not a URL",
        ),
        (
            "cluster",
            "server",
            json!("https://s3cr3t-t0ken@h"),
            "clusters[].cluster.server contains a user",
        ),
        (
            "cluster",
            "server",
            json!("https://h/?s3cr3t-t0ken"),
            "clusters[].cluster.server has a query",
        ),
        (
            "cluster",
            "server",
            json!(format!("https://{}", "a".repeat(MOST_SERVER))),
            "clusters[].cluster.server is longer",
        ),
        (
            "cluster",
            "certificate-authority-data",
            Value::Null,
            "clusters[].cluster.certificate-authority-data is missing",
        ),
        (
            "cluster",
            "certificate-authority-data",
            json!(SECRET),
            "clusters[].cluster.certificate-authority-data is not base64",
        ),
        (
            "cluster",
            "certificate-authority-data",
            garbage,
            "clusters[].cluster.certificate-authority-data holds no certificate",
        ),
    ] {
        assert_refused(&with(entry, field, value), says);
    }
}

#[test]
fn credentials_that_cannot_be_used_are_named() {
    let long = "a".repeat(MOST_TOKEN + 1);
    let garbage = json!(base64(SECRET));
    for (entry, field, value, says) in [
        (
            "user",
            "client-certificate-data",
            json!(SECRET),
            "users[].user.client-certificate-data is not base64",
        ),
        (
            "user",
            "client-certificate-data",
            garbage.clone(),
            "users[].user.client-certificate-data holds no certificate",
        ),
        (
            "user",
            "client-certificate-data",
            Value::Null,
            "users[].user.client-certificate-data is missing",
        ),
        (
            "user",
            "client-key-data",
            json!(SECRET),
            "users[].user.client-key-data is not base64",
        ),
        (
            "user",
            "client-key-data",
            garbage,
            "users[].user.client-key-data holds no private key",
        ),
        (
            "user",
            "client-key-data",
            Value::Null,
            "users[].user.client-key-data is missing",
        ),
        (
            "user",
            "token",
            json!("s3cr3t-t0ken\r\nx"),
            "users[].user.token contains characters",
        ),
        ("user", "token", json!(long), "users[].user.token is longer"),
    ] {
        assert_refused(&with(entry, field, value), says);
    }
}

#[test]
fn a_context_names_one_entry_of_each_list() {
    let mut nobody = good();
    nobody["users"][0]["user"] = json!({});
    assert_refused(&nobody, "users[].user has no credentials");
    let mut twice = good();
    let user = twice["users"][0].clone();
    twice["users"].as_array_mut().unwrap().push(user);
    assert_refused(
        &twice,
        "users has several entries with the name that contexts[].context.user has",
    );
    let mut nowhere = good();
    nowhere["current-context"] = json!("");
    assert_refused(&nowhere, "current-context is missing");
}

/// A text that is no kubeconfig at all may still be a key.
#[test]
fn an_error_says_where_and_not_what() {
    let flow = format!("current-context: c\nusers: {{token:{SECRET}}}\n");
    for (text, says) in [
        (String::new(), "the kubeconfig can't be read"),
        (SECRET.to_owned(), "the kubeconfig can't be read (line 1)"),
        (flow, "the kubeconfig can't be read (line 2)"),
        (format!("users: [{SECRET}"), "the kubeconfig can't be read"),
        (format!("&a [*a, {SECRET}]"), "the kubeconfig can't be read"),
        ("a".repeat(MOST_BYTES + 1), "the kubeconfig is longer than 262144 bytes"),
    ] {
        let error = Kubeconfig::read(text.as_bytes()).unwrap_err();
        assert_silent(&error, says);
    }
    assert_silent(&Kubeconfig::read(b"\xff").unwrap_err(), "the kubeconfig is not UTF-8");
}

#[test]
fn nothing_that_opens_a_cluster_is_printed() {
    let kubeconfig = with("user", "token", json!(SECRET));
    let printed = format!("{:?}", read(&kubeconfig).unwrap());
    let key = kubeconfig["users"][0]["user"]["client-key-data"].as_str().unwrap();
    assert!(printed.contains("10.0.0.1"), "{printed}");
    assert!(!printed.contains(SECRET) && !printed.contains(key), "{printed}");
}

fn assert_refused(kubeconfig: &Value, says: &str) {
    assert_silent(&read(kubeconfig).unwrap_err(), says);
}

/// The error says so, and contains nothing of the text.
fn assert_silent(error: &KubeconfigError, says: &str) {
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    assert!(text.starts_with(says), "{text}");
    for printed in [&text, &debug] {
        assert!(
            !printed.contains(SECRET) && !printed.contains(&base64(SECRET)),
            "{printed}"
        );
    }
}
