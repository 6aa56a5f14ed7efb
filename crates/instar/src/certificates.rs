//! The flags of `instar controller` about the certificates of the admission server.

use clap::{Args, ValueEnum};
use instar_controller::{WebhookCertificates, WebhookConfiguration, webhook_host};
use instar_webhooks::configuration::{MUTATING, MUTATING_FIRST, VALIDATING};

#[derive(Debug, Args)]
pub(crate) struct CertificateArgs {
    /// Who keeps the certificates of the admission server
    #[arg(
        long = "webhook-certificates",
        value_name = "WHO",
        value_enum,
        default_value_t,
        requires_if("self-signed", "extension_service")
    )]
    who: Certificates,

    /// The Secret, in the namespace of the Lease, in which a self-signed CA is kept with its key; no pod mounts it
    #[arg(long = "webhook-ca-secret", value_name = "NAME", default_value = "instar-webhook-ca")]
    ca_secret: String,

    /// A further DNS name or IP address of the admission server in a self-signed certificate; may be repeated
    #[arg(long = "webhook-host", value_name = "HOST", value_parser = webhook_host)]
    hosts: Vec<String>,

    /// For how many seconds a self-signed certificate is valid, and its CA for ten times as long; each is renewed after two
    /// thirds of that
    #[arg(
        long = "webhook-certificate-seconds",
        value_name = "SECONDS",
        default_value_t = A_YEAR,
        value_parser = clap::value_parser!(u32).range(60..=LONGEST)
    )]
    seconds: u32,
}

const A_YEAR: u32 = 31_536_000;

/// Ten years; with a CA of a hundred.
const LONGEST: i64 = 315_360_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Certificates {
    /// Cert-manager, or whoever else writes the Secret and the CA bundles of the webhook configurations
    #[default]
    External,
    /// The controller that leads, in the Secret that --extension-ca-secret names
    SelfSigned,
}

impl CertificateArgs {
    /// What the controller keeps, if anything. `service` and `secret` are those of the Runtime Hooks: it is one server.
    pub(crate) fn kept(
        &self,
        namespace: &str,
        service: Option<&String>,
        secret: Option<&String>,
    ) -> Option<WebhookCertificates> {
        match self.who {
            Certificates::External => None,
            Certificates::SelfSigned => Some(WebhookCertificates {
                namespace: namespace.to_owned(),
                service: service?.clone(),
                secret: secret?.clone(),
                authority_secret: self.ca_secret.clone(),
                hosts: self.hosts.clone(),
                configurations: vec![
                    WebhookConfiguration::Mutating(MUTATING_FIRST.to_owned()),
                    WebhookConfiguration::Mutating(MUTATING.to_owned()),
                    WebhookConfiguration::Validating(VALIDATING.to_owned()),
                ],
                seconds: self.seconds,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: CertificateArgs,
        #[arg(long)]
        extension_service: Option<String>,
    }

    #[test]
    fn nothing_is_kept_without_the_switch() {
        let cli = Cli::try_parse_from(["c", "--extension-service=s"]).unwrap();
        let secret = "x".to_owned();
        assert_eq!(cli.args.kept("n", cli.extension_service.as_ref(), Some(&secret)), None);
    }

    #[test]
    fn the_switch_takes_the_service_of_the_server() {
        assert!(Cli::try_parse_from(["c", "--webhook-certificates=self-signed"]).is_err());
        let cli = Cli::try_parse_from([
            "c",
            "--webhook-certificates=self-signed",
            "--extension-service=s",
            "--webhook-host=Instar.example.org",
            "--webhook-host=10.0.0.1",
        ]);
        let cli = cli.unwrap();
        let secret = "x".to_owned();
        let kept = cli
            .args
            .kept("n", cli.extension_service.as_ref(), Some(&secret))
            .unwrap();
        assert_eq!(kept.secret, "x");
        assert_eq!(kept.hosts, ["instar.example.org", "10.0.0.1"]);
        assert_eq!(kept.seconds, 31_536_000);
        assert!(Cli::try_parse_from(["c", "--webhook-host=https://a"]).is_err());
        assert!(Cli::try_parse_from(["c", "--webhook-certificate-seconds=59"]).is_err());
    }
}
