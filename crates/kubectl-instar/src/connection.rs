//! The cluster and the namespace of kubectl's context, or of the flags.

use std::path::{PathBuf, absolute};

use clap::Args;
use instar::cluster;
use instar_report::Invocation;
use kube::{Api, Client, Resource, core::NamespaceResourceScope};

use crate::Error;

/// What kubectl has under the same names.
#[derive(Args, Clone, Debug, Default)]
pub struct ConnectionArgs {
    /// The namespace; the default is that of the context
    #[arg(short, long, value_name = "NAMESPACE", global = true)]
    pub(crate) namespace: Option<String>,

    /// The kubeconfig file
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig file
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,
}

impl ConnectionArgs {
    /// What of it a command names, to be pasted in another directory too.
    fn invocation(&self) -> Invocation {
        let kubeconfig = self.kubeconfig.as_ref();
        let kubeconfig = kubeconfig.map(|file| absolute(file).unwrap_or_else(|_| file.clone()));
        Invocation {
            namespace: self.namespace.clone(),
            kubeconfig: kubeconfig.map(|file| file.to_string_lossy().into_owned()),
            context: self.context.clone(),
        }
    }
}

/// A client, and the namespace that a verb is about.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// How a command is called that is to act on the same cluster and namespace.
    pub(crate) invocation: Invocation,
}

impl Connection {
    pub(crate) async fn open(args: &ConnectionArgs) -> Result<Self, Error> {
        let (client, namespace) =
            cluster::connect_in_namespace(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
        Ok(Self {
            client,
            namespace: args.namespace.clone().unwrap_or(namespace),
            invocation: args.invocation(),
        })
    }

    /// A command of this plugin that acts on the same cluster and namespace; `flags` are those of the verb.
    pub(crate) fn command(&self, verb: &str, flags: &str) -> String {
        self.invocation.command(verb, flags)
    }

    /// The same cluster, another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            client: self.client.clone(),
            namespace: namespace.to_owned(),
            invocation: self.invocation.in_namespace(namespace),
        }
    }

    /// The objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::{TcpListener, TcpStream},
        runtime::Builder,
    };

    use super::*;

    const VERSION: &str = r#"{"major":"1","minor":"35","gitVersion":"v1.35.4","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;

    /// The first line of a request, which is read to its end.
    async fn request(stream: &mut BufReader<TcpStream>) -> String {
        let mut first = String::new();
        stream.read_line(&mut first).await.unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            if line.trim().is_empty() {
                return first.trim().to_owned();
            }
        }
    }

    /// A proxy that tunnels to a server of its own, whatever host is asked for: no name is resolved here.
    async fn proxied(listener: TcpListener) -> (String, String) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let connect = request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let get = request(&mut stream).await;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{VERSION}",
            VERSION.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        (connect, get)
    }

    #[test]
    fn the_proxy_of_a_kubeconfig_is_used() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let file = tempfile::NamedTempFile::new().unwrap();
            let kubeconfig = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster:\n    \
                 server: http://api.example.invalid:6443\n    proxy-url: http://127.0.0.1:{port}\ncontexts:\n- name: c\n  \
                 context: {{cluster: c, user: c, namespace: fleet}}\nusers:\n- name: c\n  user: {{}}\n"
            );
            fs::write(file.path(), kubeconfig).unwrap();
            let args = ConnectionArgs {
                kubeconfig: Some(file.path().to_owned()),
                ..ConnectionArgs::default()
            };
            let asked = async {
                let connection = Connection::open(&args).await.unwrap();
                assert_eq!(connection.namespace, "fleet");
                connection.client.apiserver_version().await.unwrap().git_version
            };
            let ((connect, get), version) = tokio::join!(proxied(listener), asked);
            assert_eq!(connect, "CONNECT api.example.invalid:6443 HTTP/1.1");
            assert!(get.starts_with("GET /version"), "{get}");
            assert_eq!(version, "v1.35.4");
        });
    }
}
