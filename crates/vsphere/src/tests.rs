use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use instar_preflight::workload::{Missing, Presence};
use k8s_openapi::ByteString;
use rcgen::CertifiedKey;
use rustls::{ServerConfig, crypto::ring};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{Address, Credentials, Identity, LookError, Thumbprint, VCenter, WantedImage, look, look::look_within};

const PASSWORD: &str = "ve<ry&secret";

/// A server that keeps what it was asked.
struct Server {
    vcenter: VCenter,
    asked: Arc<Mutex<Vec<String>>>,
}

/// The code that means no answer at all, and an open connection.
const SILENCE: u16 = 0;

/// What is answered to a request: code, further headers, body.
type Respond = fn(&str) -> (u16, &'static str, String);

impl Server {
    async fn start(respond: Respond) -> Self {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["vc".to_owned()]).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let thumbprint = Thumbprint::parse(&"0".repeat(40)).unwrap().of(cert.der());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                drop(tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    while let Some(request) = request(&mut stream).await {
                        let (code, headers, body) = respond(&request);
                        seen.lock().unwrap().push(request);
                        if code == SILENCE {
                            return std::future::pending().await;
                        }
                        let length = body.len();
                        let answer = format!("HTTP/1.1 {code} x\r\n{headers}content-length: {length}\r\n\r\n{body}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }));
            }
        }));
        let identity = Identity::Secret("s".to_owned());
        let vcenter = VCenter {
            address,
            thumbprint,
            identity,
        };
        Self { vcenter, asked }
    }

    async fn look(&self, image: &str, datacenter: &str) -> Result<Presence, LookError> {
        let wanted = WantedImage {
            image: image.to_owned(),
            datacenter: datacenter.to_owned(),
        };
        let found = look(&self.vcenter, &credentials(), &BTreeSet::from([wanted])).await?;
        Ok(found.into_values().next().unwrap())
    }

    /// The names of the calls, and whether each had the session's cookie.
    fn calls(&self) -> Vec<(String, bool)> {
        let asked = self.asked.lock().unwrap();
        let name = |request: &String| {
            let (_, body) = request.split_once("<Body><").unwrap();
            let has_cookie = request.contains("cookie: vmware_soap_session=\"1\"\r\n");
            (body.split(' ').next().unwrap().to_owned(), has_cookie)
        };
        asked.iter().map(name).collect()
    }
}

fn credentials() -> Credentials {
    let data = [("username", "u"), ("password", PASSWORD)];
    let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
    Credentials::read(Some(&data.into())).unwrap()
}

async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.unwrap().parse().unwrap() {
            return Some(text);
        }
    }
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
}

fn fault(kind: &str) -> String {
    envelope(
        &format!(
            "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>no, {PASSWORD}</faultstring><detail>\
         <{kind}Fault xmlns=\"urn:vim25\" xsi:type=\"{kind}\"/></detail></soapenv:Fault>"
        )
        .replace("ve<ry&secret", "ve&lt;ry&amp;secret"),
    )
}

/// A vCenter with one datacenter and two VM templates.
fn vcenter(request: &str) -> (u16, &'static str, String) {
    let reference = |name: &str| format!("<returnval type=\"{}\">{name}</returnval>", kind(name));
    let objects = |objects: &[(&str, &str)], rest: &str| {
        let object = |(id, name): &(&str, &str)| {
            format!(
                "<objects><obj type=\"{}\">{id}</obj><propSet><name>name</name><val xsi:type=\"xsd:string\">{name}</val>\
                 </propSet></objects>",
                kind(id)
            )
        };
        let objects: String = objects.iter().map(object).collect();
        format!("<returnval>{rest}{objects}</returnval>")
    };
    let has = |text: &str| request.contains(text);
    let body = if has("<RetrieveServiceContent ") {
        "<r><returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
         <propertyCollector type=\"PropertyCollector\">pc</propertyCollector><viewManager type=\"ViewManager\">vm\
         </viewManager><sessionManager type=\"SessionManager\">sm</sessionManager><searchIndex \
         type=\"SearchIndex\">si</searchIndex></returnval></r>"
            .to_owned()
    } else if has("<Login ") {
        let is_right = has("<userName>u</userName><password>ve&lt;ry&amp;secret</password>");
        if !is_right {
            return (500, "", fault("InvalidLogin"));
        }
        let cookie = "set-cookie: vmware_soap_session=\"1\"; Path=/; Secure\r\n";
        return (200, cookie, envelope("<LoginResponse/>"));
    } else if has("<inventoryPath>DC0/vm/a-v1.34.3</inventoryPath>") {
        format!("<r>{}</r>", reference("vm-1"))
    } else if has("<inventoryPath>DC0/vm</inventoryPath>") {
        format!("<r>{}</r>", reference("group-v3"))
    } else if has("<inventoryPath>DC0</inventoryPath>") {
        format!("<r>{}</r>", reference("datacenter-2"))
    } else if has("<FindChild ") && has("<name>a-v1.34.3</name>") {
        format!("<r>{}</r>", reference("vm-1"))
    } else if has("<CreateContainerView ") && has("<type>Datacenter</type>") {
        format!("<r>{}</r>", reference("view-d"))
    } else if has("<CreateContainerView ") {
        format!("<r>{}</r>", reference("view-v"))
    } else if has("<obj type=\"ContainerView\">view-d</obj>") {
        format!("<r>{}</r>", objects(&[("datacenter-2", "DC0")], ""))
    } else if has("<pathSet>vmFolder</pathSet>") {
        "<r><returnval><objects><obj type=\"Datacenter\">datacenter-2</obj><propSet><name>vmFolder</name><val \
         type=\"Folder\" xsi:type=\"ManagedObjectReference\">group-v3</val></propSet></objects></returnval></r>"
            .to_owned()
    } else if has("<obj type=\"VirtualMachine\">vm-9</obj>") {
        return (500, "", fault("ManagedObjectNotFound"));
    } else if has("<token>") {
        let more = [
            ("vm-2", "a-v1.35.4"),
            ("vm-3", "twice"),
            ("vm-4", "twice"),
            ("vm-5", "ve&lt;ry&amp;secret"),
        ];
        format!("<r>{}</r>", objects(&more, ""))
    } else if has("<RetrievePropertiesEx ") {
        format!("<r>{}</r>", objects(&[("vm-1", "a-v1.34.3")], "<token>0</token>"))
    } else {
        "<r/>".to_owned()
    };
    (200, "", envelope(&body))
}

fn kind(id: &str) -> &'static str {
    match id.split('-').next().unwrap() {
        "vm" => "VirtualMachine",
        "datacenter" => "Datacenter",
        "view" => "ContainerView",
        _ => "Folder",
    }
}

/// The search was given up while an answer was to come: that connection takes no further call.
#[tokio::test]
async fn a_session_of_a_slow_vcenter_is_logged_out_of() {
    let server = Server::start(|request| {
        if request.contains("<FindByInventoryPath ") {
            (SILENCE, "", String::new())
        } else {
            vcenter(request)
        }
    })
    .await;
    let wanted = BTreeSet::from([WantedImage {
        image: "/DC0/vm/a-v1.34.3".to_owned(),
        datacenter: String::new(),
    }]);
    let found = look_within(&server.vcenter, &credentials(), &wanted, Duration::from_millis(500)).await;
    assert!(matches!(found, Err(LookError::TooSlow { .. })), "{found:?}");
    let calls = server.calls();
    assert_eq!(calls.last(), Some(&("Logout".to_owned(), true)), "{calls:?}");
}

#[tokio::test]
async fn a_vm_template_is_found_by_each_of_its_names_or_what_is_near_is_told() {
    let server = Server::start(vcenter).await;
    let missing = |below: Option<&str>, near: &[&str]| {
        Presence::Missing(Missing {
            below: below.map(str::to_owned),
            near: near.iter().map(|name| (*name).to_owned()).collect(),
        })
    };
    let several = "2 VMs have that name: name its path".to_owned();
    for (image, datacenter, presence) in [
        ("/DC0/vm/a-v1.34.3", "", Presence::There),
        (
            "/DC0/vm/a-v1.36.0",
            "",
            missing(Some("/DC0/vm"), &["a-v1.34.3", "a-v1.35.4"]),
        ),
        ("/DC0/vm/lost/a-v1.34.3", "", missing(Some("/DC0/vm"), &[])),
        ("/DC0/VMs/a-v1.34.3", "", missing(Some("/DC0"), &[])),
        ("/DC0/vm", "", missing(Some("/DC0/vm"), &[])),
        ("./a-v1.34.3", "*", Presence::There),
        (
            "templates/a-v1.34.3",
            "DC0",
            missing(Some("the VM folder of datacenter DC0"), &[]),
        ),
        ("a-v1.35.4", "DC0", Presence::There),
        ("a-v1.36.0", "/DC0", missing(None, &["a-v1.34.3", "a-v1.35.4"])),
        // What the server was sent isn't told, though it is near.
        ("ve<ry&secre", "", missing(None, &[])),
        ("twice", "", Presence::Unclear(several)),
        (
            "a",
            "DC1",
            Presence::Unclear("there is no datacenter \"DC1\"".to_owned()),
        ),
        ("VirtualMachine:vm-1", "", Presence::There),
        ("VirtualMachine:vm-9", "", missing(None, &[])),
        ("4216f9e7-1a2b-3c4d-5e6f-0123456789ab", "", missing(None, &[])),
    ] {
        assert_eq!(
            server.look(image, datacenter).await,
            Ok(presence),
            "{image} in {datacenter}"
        );
    }
}

#[tokio::test]
async fn what_a_list_that_was_not_read_to_its_end_has_not_is_not_missing() {
    let vms: Respond = |request| {
        if request.contains("<token>") {
            (200, "", envelope("<r><returnval><token>0</token></returnval></r>"))
        } else {
            vcenter(request)
        }
    };
    let datacenters: Respond = |request| {
        if request.contains("<token>") || request.contains("<obj type=\"ContainerView\">view-d</obj>") {
            (200, "", envelope("<r><returnval><token>0</token></returnval></r>"))
        } else {
            vcenter(request)
        }
    };
    for (respond, why) in [
        (
            vms,
            "not all names of the datacenter's VMs were read (at most 20000, in 40 answers): name its path",
        ),
        (
            datacenters,
            "not all names of the vCenter's datacenters were read: name the path of the VM template",
        ),
    ] {
        let server = Server::start(respond).await;
        let unclear = Presence::Unclear(why.to_owned());
        assert_eq!(server.look("a-v1.36.0", "DC0").await, Ok(unclear));
    }
}

#[tokio::test]
async fn a_look_is_one_session_that_is_logged_out_of() {
    let server = Server::start(vcenter).await;
    assert_eq!(server.look("/DC0/vm/a-v1.34.3", "").await, Ok(Presence::There));
    let call = |name: &str, has_session| (name.to_owned(), has_session);
    assert_eq!(
        server.calls(),
        [
            call("RetrieveServiceContent", false),
            call("Login", false),
            call("FindByInventoryPath", true),
            call("Logout", true),
        ]
    );
}

#[tokio::test]
async fn a_server_with_another_certificate_is_sent_nothing() {
    let mut server = Server::start(vcenter).await;
    let right = server.vcenter.thumbprint.clone();
    let wrong = Thumbprint::parse(&"AB".repeat(20)).unwrap();
    server.vcenter.thumbprint = wrong.clone();
    let error = server.look("/DC0/vm/a", "").await.unwrap_err();
    let host = server.vcenter.address.to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "the certificate of {host} has the thumbprint {right}, and spec.thumbprint of the VSphereCluster is {wrong}, so \
             no credentials were sent: see whether it is the right server, and set its thumbprint there"
        )
    );
    assert_eq!(server.calls(), []);
    assert!(!error.is_of_dead_server());
}

#[tokio::test]
async fn what_a_server_says_is_not_repeated() {
    let refuses: Respond = |request| {
        if request.contains("<Login ") {
            (500, "", fault("InvalidLogin"))
        } else {
            vcenter(request)
        }
    };
    let redirects: Respond = |_| (302, "location: https://127.0.0.1:1/sdk\r\n", PASSWORD.to_owned());
    let garbles: Respond = |_| (200, "", format!("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;{PASSWORD}</a>"));
    let floods: Respond = |_| (200, "", "x".repeat(3 * 1024 * 1024));
    let other: Respond = |_| (500, "", fault("SystemError"));
    for (respond, text) in [
        (refuses, "refused the login: correct the Secret"),
        (
            redirects,
            "answered RetrieveServiceContent with a redirect, which is not followed: name the vCenter itself",
        ),
        (other, "answered RetrieveServiceContent with HTTP 500"),
    ] {
        let server = Server::start(respond).await;
        let error = server.look("/DC0/vm/a", "").await.unwrap_err();
        assert_eq!(error.to_string(), format!("{} {text}", server.vcenter.address));
    }
    for (respond, why) in [(garbles, "can't be read"), (floods, "is too long")] {
        let server = Server::start(respond).await;
        let error = server.look("/DC0/vm/a", "").await.unwrap_err();
        let host = &server.vcenter.address;
        assert_eq!(
            error.to_string(),
            format!("the answer of {host} to RetrieveServiceContent {why}")
        );
    }
}

#[tokio::test]
async fn nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::start(vcenter).await;
    server.vcenter.address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    drop(listener);
    let error = server.look("/DC0/vm/a", "").await.unwrap_err();
    assert!(error.is_of_dead_server(), "{error}");
    let host = &server.vcenter.address;
    assert!(
        error.to_string().starts_with(&format!("{host} can't be reached: ")),
        "{error}"
    );
}
